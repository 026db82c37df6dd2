"""Small clips made from photographs, with known intensities, for the demo and the tests."""

from facer.stages.synthesis.plan import EMOTIONS, ClipPlan, SynthesisConfig, plan_clips
from facer.stages.synthesis.render import render
from facer.stages.synthesis.write import LIMITS, write_clip, write_clips

__all__ = [
    "EMOTIONS",
    "LIMITS",
    "ClipPlan",
    "SynthesisConfig",
    "plan_clips",
    "render",
    "write_clip",
    "write_clips",
]
