"""REC: aligned crops become the 26 numbers of a frame."""

from facer.stages.features.rec.loading import load

__all__ = ["load"]
