"""The demo's folder of clips and its label file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import cv2

from facer.stages.synthesis.plan import EMOTIONS, ClipPlan, SynthesisConfig, plan_clips
from facer.stages.synthesis.render import render
from facer.storage.errors import FacerError, one_line
from facer.storage.files.atomic import write_atomic, written_aside
from facer.storage.files.cells import safe_cell

LIMITS = (
    "These clips are warped photographs of five people, made to show that the pipeline runs "
    "and that a signal can be learnt. Held-out clips are other clips of the same people, and "
    "their labels are the strengths of the warps: the scores say nothing about real faces."
)
"""What every report on these clips has to say."""


def write_clips(config: SynthesisConfig, folder: Path) -> Path:
    """Write ``folder/clips/<clip id>.mp4`` and ``folder/labels.csv``; return the label file.

    The label file has the columns ``clip_id``, ``split`` and one for each emotion
    (:meth:`ClipPlan.intensities`). Raises ``FacerError`` when the folder cannot be written
    or OpenCV has no mpeg4 encoder.
    """
    clips = folder / "clips"
    try:
        clips.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FacerError(
            f"{clips}: cannot be made ({one_line(error)}); choose a folder that can be written"
        ) from error
    plans = plan_clips(config)
    for plan in plans:
        write_clip(plan, clips / f"{plan.clip_id}.mp4")
    return _write_labels(plans, folder / "labels.csv")


def write_clip(plan: ClipPlan, path: Path) -> None:
    """Render a clip into an mpeg4 file of ``plan.fps``; it appears whole or not at all."""
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    with written_aside(path) as aside:
        video = cv2.VideoWriter(str(aside), codec, plan.fps, (plan.width_px, plan.height_px))
        if not video.isOpened():
            raise FacerError(
                f"{path}: OpenCV could not open it for mpeg4 video; check that the folder can be "
                "written and that opencv-python came from its wheel, with ffmpeg inside"
            )
        try:
            for frame in render(plan):
                video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        finally:
            video.release()


def _write_labels(plans: tuple[ClipPlan, ...], path: Path) -> Path:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(("clip_id", "split", *EMOTIONS))
    for plan in plans:
        intensities = plan.intensities()
        values = (f"{intensities[emotion]:.4f}" for emotion in EMOTIONS)
        table.writerow((safe_cell(plan.clip_id), plan.split, *values))
    write_atomic(path, text.getvalue())
    return path
