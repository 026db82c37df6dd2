"""What a detector is worth: labelled faces, a teacher's faces on clips, and its false faces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from facer.stages.detection.config import EvaluationConfig, SceneConfig
from facer.stages.detection.data.people import read_people, read_people_clips
from facer.stages.detection.data.scenes import compose
from facer.stages.detection.data.sources import Sources, list_videos, read_scenes, video_frames
from facer.stages.detection.data.teacher import Labelled, Teacher
from facer.stages.detection.measure import Detect, false_line, measure, people_table
from facer.stages.features.config import STARTER_SIZE_PX, STARTER_THRESHOLD, DetectorConfig
from facer.stages.features.detect import load
from facer.stages.features.faces import iou, point_distance_px
from facer.storage.schema import F32, U8

MATCH_IOU = 0.5
MATCH_POINTS = 0.2  # of the teacher's distance between the eyes
BUCKETS_PX = (0, 24, 48, 96, 10_000)


@dataclass(frozen=True)
class Score:
    """Counts over the frames of one clip or one kind of image.

    A teacher's face is found when a face has IoU >= 0.5 with it or its five points lie within
    20 % of the distance between the eyes, on average.
    """

    name: str
    frames: int
    faces: int  # the teacher's
    found: int
    frames_with_face: int  # frames in which the teacher finds a face ...
    frames_hit: int  # ... and the detector finds one of them
    false: int  # faces that match none of the teacher's, doubtful ones included
    points_error: float  # mean five-point distance of found faces / distance between the eyes

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

    def to_json(self) -> dict[str, str | int | float]:
        """Counts and shares as plain values."""
        shares = ("recall", "frame_recall", "false_per_frame")
        return {**asdict(self), **{name: getattr(self, name) for name in shares}}


def load_detector(
    model: str, longest_px: int = STARTER_SIZE_PX, threshold: float = STARTER_THRESHOLD
) -> Detect:
    """A detector (name or path) as stage one runs it on key frames: the frame's longer side
    shrunk to ``longest_px``.
    """
    detector = load(DetectorConfig(model, longest_px, threshold))

    def detect(frame: U8) -> tuple[F32, F32]:
        faces = detector.detect([frame])[0]
        return np.column_stack([faces.bbox_px, faces.score]), faces.keypoints_px

    return detect


class Tally:
    """Counts what a detector finds, frame by frame."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames = self.faces = self.found = self.with_face = self.hit = self.false = 0
        self.errors: list[float] = []

    def add(self, truth: Labelled, boxes: F32, points: F32) -> None:
        """One frame: the teacher's faces and the detector's (n, 5), (n, 5, 2)."""
        overlap = iou(truth.bbox_px[:, None], boxes[:, :4])
        eyes_px = np.linalg.norm(truth.keypoints_px[:, 1] - truth.keypoints_px[:, 0], axis=1)
        far_px = point_distance_px(truth.keypoints_px[:, None], points)
        gap = far_px / np.maximum(eyes_px, 1e-6)[:, None]
        match = (overlap >= MATCH_IOU) | (gap <= MATCH_POINTS)
        sure = ~truth.ignore
        hits = match[sure].any(axis=1)
        for row in np.flatnonzero(sure):
            if match[row].any():
                self.errors.append(float(np.where(match[row], gap[row], np.inf).min()))
        self.frames += 1
        self.faces += int(sure.sum())
        self.found += int(hits.sum())
        self.with_face += bool(sure.any())
        self.hit += bool(hits.any())
        self.false += int((~match.any(axis=0)).sum())

    def score(self) -> Score:
        """The counts so far."""
        error = float(np.mean(self.errors)) if self.errors else float("nan")
        return Score(
            self.name,
            self.frames,
            self.faces,
            self.found,
            self.with_face,
            self.hit,
            self.false,
            error,
        )


def evaluate(config: EvaluationConfig) -> Iterator[str]:
    """Markdown tables of all that a detector is measured on, one after another."""
    usual = DetectorConfig(config.detector, score=config.threshold)
    detect = load_detector(config.detector, usual.size_px, usual.threshold)
    if config.people is not None:
        yield people_table(
            measure(
                f"photographs, {config.split}", read_people(config.people, config.split), detect
            )
        )
    if config.people_clips is not None:
        frames = read_people_clips(config.people_clips, config.split)
        yield people_table(measure(f"frames of clips, {config.split}", frames, detect))
    if config.clips is not None and config.teacher is not None:
        judge = Teacher(config.teacher)
        scores = [score_clip(video, judge, detect) for video in list_videos(config.clips)]
        yield as_table([*scores, together(scores)])
    if config.scenes is not None:
        images = read_scenes(config.scenes, config.held_out_scenes, validation=True)
        score = score_images("scenes kept from training", images, detect)
        yield false_line(score.name, score.false, score.frames)


def score_clip(path: Path, teacher: Teacher, detect: Detect) -> Score:
    """Every frame of a video."""
    tally = Tally(path.name)
    for frame in video_frames(path):
        tally.add(teacher.detect(frame), *detect(frame))
    return tally.score()


def together(scores: Sequence[Score]) -> Score:
    """The sum of scores; the points' error is the mean over found faces."""
    found = sum(score.found for score in scores)
    errors = sum(score.points_error * score.found for score in scores if score.found)
    return Score(
        name="all clips",
        frames=sum(score.frames for score in scores),
        faces=sum(score.faces for score in scores),
        found=found,
        frames_with_face=sum(score.frames_with_face for score in scores),
        frames_hit=sum(score.frames_hit for score in scores),
        false=sum(score.false for score in scores),
        points_error=errors / found if found else float("nan"),
    )


def score_images(name: str, images: Iterable[U8], detect: Detect) -> Score:
    """Images without faces: everything found is false."""
    tally = Tally(name)
    none = np.zeros(0, np.float32)
    for image in images:
        truth = Labelled(image, none.reshape(0, 4), none.reshape(0, 5, 2), np.zeros(0, np.bool_))
        tally.add(truth, *detect(image))
    return tally.score()


def score_composed(sources: Sources, detect: Detect, count: int, seed: int = 0) -> list[Score]:
    """Made-up images of 192 x 320, one score for each range of face size in pixels.

    The false faces of an image are counted in the first score.
    """
    tallies = [Tally(f"{low}-{high} px") for low, high in pairwise(BUCKETS_PX)]
    for number in range(count):
        made = compose(np.random.default_rng([seed, number]), sources, SceneConfig(), 192, 320)
        boxes, points = detect(made.image)
        size = np.sqrt((made.bbox_px[:, 2:] - made.bbox_px[:, :2]).prod(axis=1))
        matched = (iou(made.bbox_px[:, None], boxes[:, :4]) >= MATCH_IOU).any(axis=0)
        for place, tally in enumerate(tallies):
            inside = (size >= BUCKETS_PX[place]) & (size < BUCKETS_PX[place + 1])
            kept = np.ones(len(boxes), np.bool_) if place == 0 else matched
            truth = Labelled(made.image, made.bbox_px, made.keypoints_px, made.ignore | ~inside)
            tally.add(truth, boxes[kept], points[kept])
    return [tally.score() for tally in tallies]


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
