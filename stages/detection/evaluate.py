"""What a detector is worth: labelled faces, a teacher's faces on clips, and its false faces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facer.stages.detection.config import EvaluationConfig, Split
from facer.stages.detection.data.people import Picture, overlap, read_people, read_people_clips
from facer.stages.detection.data.sources import list_videos, read_scenes, video_frames
from facer.stages.detection.data.teacher import Labelled, Teacher, without_faces
from facer.stages.detection.measure import (
    Detect,
    Measured,
    false_line,
    measure,
    people_table,
    rate_interval,
)
from facer.stages.detection.start import splits_of_weights
from facer.stages.features.config import DetectorConfig
from facer.stages.features.detect import load, model_path
from facer.stages.features.faces import Detector, iou, point_distance_px
from facer.storage.errors import FacerError, named
from facer.storage.schema import F32, U8

MATCH_IOU = 0.5
MATCH_POINTS = 0.2  # of the teacher's distance between the eyes


@dataclass
class Score:
    """Counts over the frames of one clip or one kind of image.

    A teacher's face is found when a face has IoU >= 0.5 with it or its five points lie within
    20 % of the distance between the eyes, on average.
    """

    name: str
    frames: int = 0
    faces: int = 0  # the teacher's
    found: int = 0
    frames_with_face: int = 0  # frames in which the teacher finds a face ...
    frames_hit: int = 0  # ... and the detector finds one of them
    false: int = 0  # faces that match none of the teacher's, doubtful ones included
    errors: list[float] = field(default_factory=list, repr=False)
    """Mean five-point distance of each face found / distance between the eyes."""

    def add(self, truth: Labelled, boxes: F32, points: F32) -> None:
        """Count one frame: the teacher's faces and the detector's (n, 5), (n, 5, 2)."""
        overlap = iou(truth.bbox_px[:, None], boxes[:, :4])
        eyes_px = np.linalg.norm(truth.keypoints_px[:, 1] - truth.keypoints_px[:, 0], axis=1)
        far_px = point_distance_px(truth.keypoints_px[:, None], points)
        gap = far_px / np.maximum(eyes_px, 1e-6)[:, None]
        match = (overlap >= MATCH_IOU) | (gap <= MATCH_POINTS)
        sure = ~truth.ignore
        hit = sure & match.any(axis=1)
        self.errors += np.where(match[hit], gap[hit], np.inf).min(axis=1, initial=np.inf).tolist()
        self.frames += 1
        self.faces += int(sure.sum())
        self.found += int(hit.sum())
        self.frames_with_face += bool(sure.any())
        self.frames_hit += bool(hit.any())
        self.false += int((~match.any(axis=0)).sum())

    @property
    def recall(self) -> float:
        """Share of the teacher's faces that were found; nan without faces."""
        return self.found / self.faces if self.faces else float("nan")

    @property
    def frame_recall(self) -> float:
        """Share of the teacher's frames with a face in which one of them was found."""
        return self.frames_hit / self.frames_with_face if self.frames_with_face else float("nan")

    @property
    def false_per_frame(self) -> float:
        """False faces in a frame."""
        return self.false / max(self.frames, 1)

    @property
    def points_error(self) -> float:
        """Mean error of the points of faces that were found; nan without any."""
        return float(np.mean(self.errors)) if self.errors else float("nan")

    def to_json(self) -> dict[str, str | int | float]:
        """Counts and shares as plain values."""
        counts = {name: value for name, value in vars(self).items() if name != "errors"}
        shares = ("points_error", "recall", "frame_recall", "false_per_frame")
        return {**counts, **{name: getattr(self, name) for name in shares}}


def load_detector(config: DetectorConfig) -> Detect:
    """A detector as stage one runs it on key frames, which are shrunk to its size."""
    return as_detect(load(config))


def as_detect(detector: Detector) -> Detect:
    """A detector as :func:`~facer.stages.detection.measure.measure` asks it."""

    def detect(frame: U8) -> tuple[F32, F32]:
        faces = detector.detect([frame])[0]
        return np.column_stack([faces.bbox_px, faces.score]), faces.keypoints_px

    return detect


@dataclass(frozen=True)
class DetectorEvaluation:
    """What a detector was measured on; None where there was nothing to measure it on."""

    detector: str
    people: Measured | None  # photographs
    people_clips: Measured | None  # frames of clips
    clips: tuple[Score, ...]  # against a teacher, one after another
    scenes: Score | None  # photographs without faces
    trained_on: bool = False  # the people's sources, or some: no measure of other people

    @property
    def tables(self) -> tuple[str, ...]:
        """All of it in Markdown."""
        people = [people_table(one) for one in (self.people, self.people_clips) if one is not None]
        clips = [as_table([*self.clips, together(self.clips)])] if self.clips else []
        scenes = self.scenes
        false = [] if scenes is None else [false_line(scenes.name, scenes.false, scenes.frames)]
        seen = f"{self.detector} was trained on sources of these people: expect less of others."
        return (*people, *([seen] if people and self.trained_on else []), *clips, *false)

    def to_json(self) -> dict[str, Any]:
        """As ``facer evaluate-detector --json`` prints it."""
        scenes = self.scenes
        return {
            "detector": self.detector,
            "trained_on": self.trained_on,
            "people": self.people and self.people.to_json(),
            "people_clips": self.people_clips and self.people_clips.to_json(),
            "clips": [score.to_json() for score in self.clips],
            "all_clips": together(self.clips).to_json() if self.clips else None,
            "scenes": None if scenes is None else {
                "pictures": scenes.frames, "false": scenes.false,
                "false_per_picture": scenes.false_per_frame,
                "false_per_picture_95": rate_interval(scenes.false, scenes.frames),
            },
        }  # fmt: skip


def evaluate(config: EvaluationConfig) -> DetectorEvaluation:
    """Measure a detector on all that the configuration names."""
    detect = load_detector(DetectorConfig(config.detector, score=config.threshold))
    people = people_clips = scenes = None
    clips: tuple[Score, ...] = ()
    if config.people is not None:
        pictures = read_people(config.people, config.split)
        people = _measured("photographs", config.people, config.split, pictures, detect)
    if config.people_clips is not None:
        frames = read_people_clips(config.people_clips, config.split)
        people_clips = _measured(
            "frames of clips", config.people_clips, config.split, frames, detect
        )
    if config.clips is not None and config.teacher is not None:
        judge = Teacher(config.teacher)
        clips = tuple(score_clip(video, judge, detect) for video in list_videos(config.clips))
    if config.scenes is not None:
        images = read_scenes(config.scenes, config.held_out_scenes, validation=True)
        scenes = score_images("scenes kept from training", images, detect)
    seen = splits_of_weights(model_path(config.detector))
    trained_on = any(overlap(split, config.split) for split in seen)
    return DetectorEvaluation(config.detector, people, people_clips, clips, scenes, trained_on)


def _measured(
    what: str, folder: Path, split: Split, pictures: Iterable[Picture], detect: Detect
) -> Measured:
    measured = measure(f"{what}, {split}", pictures, detect)
    if not measured.pictures:
        raise FacerError(
            f"{folder}: found no {what} of the {split} split, expected some; sources that facer "
            f"does not know are in train ({named('split')} train)"
        )
    return measured


def score_clip(path: Path, teacher: Teacher, detect: Detect) -> Score:
    """Every frame of a video."""
    score = Score(path.name)
    for frame in video_frames(path):
        score.add(teacher.detect(frame), *detect(frame))
    return score


def together(scores: Sequence[Score]) -> Score:
    """The sum of scores."""
    total = Score("all clips")
    for score in scores:
        for name, value in vars(score).items():
            if name != "name":
                setattr(total, name, getattr(total, name) + value)
    return total


def score_images(name: str, images: Iterable[U8], detect: Detect) -> Score:
    """Images without faces: everything found is false."""
    score = Score(name)
    for image in images:
        score.add(without_faces(image), *detect(image))
    return score


def as_table(scores: Sequence[Score]) -> str:
    """A Markdown table with a row for each score."""
    rows = ["| set | frames | faces | found | recall | frames hit | points error | false/frame |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for s in scores:
        shares = f"{_percent(s.recall)} | {_percent(s.frame_recall)} | {_percent(s.points_error)}"
        counts = f"{s.frames} | {s.faces} | {s.found}"
        rows.append(f"| {s.name} | {counts} | {shares} | {s.false_per_frame:.3f} |")
    return "\n".join(rows)


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"
