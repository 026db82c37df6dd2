"""What a detector finds among labelled faces of people, by pose, size, light and skin tone.

A face counts when it is sure and its box is at least 1/16 as high as the picture's longer side.
It is found when the mean of a detection's five points lies in its box and the two boxes' heights
differ by less than a factor of two. The points' error is the mean distance of the five, over the
distance between the eyes or 0.4 of the box's height, whichever is larger, since in profile the
eyes nearly coincide; it is given once more over the faces whose points two labelling detectors put
in the same places, since those of others are one detector's guess. A detection is false when it is
on no labelled face, sure or doubtful.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from facer.stages.affect.groups import SKIN_TONES, skin_tone
from facer.stages.detection.data.people import Picture
from facer.stages.features.align import align
from facer.stages.features.faces import point_distance_px
from facer.storage.schema import F32, U8, Bools

SMALLEST, SMALL, LARGE = 1 / 16, 1 / 8, 1 / 2  # of the picture's longer side
TILTED_DEGREES = 25.0
DARK = 60.0  # mean of the box, of 255
HEIGHTS = 2.0  # factor by which heights differ at most
CONFIDENCE = 0.95
GROUPS = (
    "all", "frontal", "three-quarter", "profile", "tilted", "small", "large", "dark",
    *(f"{tone} skin{size}" for size in ("", ", not small") for tone in SKIN_TONES),
)  # fmt: skip
Detect = Callable[[U8], tuple[F32, F32]]
"""RGB image -> boxes with score (n, 5) and points (n, 5, 2), in its pixels."""
Interval = tuple[float, float]


@dataclass
class FaceGroup:
    """Faces of one kind: for each whether it was found, and the points' error of those found."""

    found: list[bool] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    agreed: list[bool] = field(default_factory=list)  # of each error: two detectors agree

    def to_json(self) -> dict[str, Any]:
        """Share and error with their intervals; None for those of no face."""
        hits, count = sum(self.found), len(self.found)
        known = [error for error, agreed in zip(self.errors, self.agreed, strict=True) if agreed]
        return {
            "n": count, "found": hits, "recall": hits / count if count else None,
            "recall_95": share_interval(hits, count),
            "points_error": float(np.mean(self.errors)) if self.errors else None,
            "points_error_95": mean_interval(self.errors),
            "points_error_median": float(np.median(self.errors)) if self.errors else None,
            "agreed": len(known),
            "points_error_agreed": float(np.mean(known)) if known else None,
            "points_error_agreed_95": mean_interval(known),
        }  # fmt: skip


@dataclass
class Measured:
    """Everything that was counted over a set of pictures."""

    name: str
    groups: dict[str, FaceGroup] = field(
        default_factory=lambda: {name: FaceGroup() for name in GROUPS}
    )
    pictures: int = 0
    false: int = 0

    def add(self, picture: Picture, boxes: F32, points: F32) -> None:
        """Count one picture, given what the detector finds: boxes (m, 4 or 5), points (m, 5, 2)."""
        truth = picture.labelled
        match = matches(truth.bbox_px, boxes, points)
        self.pictures += 1
        self.false += int((~match.any(axis=0)).sum())
        for row, names in enumerate(_kinds(picture)):
            for name in names:
                self.groups[name].found.append(bool(match[row].any()))
                if match[row].any():
                    error = points_error(
                        truth.bbox_px[row], truth.keypoints_px[row], points[match[row]]
                    )
                    self.groups[name].errors.append(float(error.min()))
                    self.groups[name].agreed.append(bool(picture.agreed[row]))

    def to_json(self) -> dict[str, Any]:
        """As ``facer evaluate-detector --json`` has it: shares, errors, and their intervals."""
        return {
            "pictures": self.pictures, "false": self.false,
            "false_per_picture": self.false / max(self.pictures, 1),
            "false_per_picture_95": rate_interval(self.false, self.pictures),
            "faces": {name: group.to_json() for name, group in self.groups.items()},
        }  # fmt: skip


def measure(name: str, pictures: Iterable[Picture], detect: Detect) -> Measured:
    """What ``detect`` finds in pictures."""
    measured = Measured(name)
    for picture in pictures:
        measured.add(picture, *detect(picture.labelled.image))
    return measured


def matches(truth: F32, boxes: F32, points: F32) -> Bools:
    """Whether each labelled box (n, 4) and each detection are the same face: (n, m)."""
    centre = points.mean(axis=1)[None]
    inside = ((centre >= truth[:, None, :2]) & (centre <= truth[:, None, 2:])).all(axis=2)
    mine, its = boxes[None, :, 3] - boxes[None, :, 1], (truth[:, 3] - truth[:, 1])[:, None]
    return np.asarray(inside & (mine < HEIGHTS * its) & (its < HEIGHTS * mine), np.bool_)


def points_error(box: F32, truth: F32, found: F32) -> F32:
    """Error of points found (m, 5, 2) for a face's box (4,) and points (5, 2): (m,)."""
    unit = max(float(np.linalg.norm(truth[1] - truth[0])), 0.4 * float(box[3] - box[1]))
    return np.asarray(point_distance_px(truth, found) / unit, np.float32)


def height_share(picture: Picture, row: int) -> float | None:
    """A face's height as a share of the picture's longer side; None for one that does not count."""
    labelled = picture.labelled
    share = float(np.subtract(*labelled.bbox_px[row, [3, 1]])) / max(labelled.image.shape[:2])
    return None if labelled.ignore[row] or share < SMALLEST else share


def _kinds(picture: Picture) -> list[list[str]]:
    """The groups of every face of a picture; none for a face that does not count."""
    image, labelled = picture.labelled.image, picture.labelled
    kinds: list[list[str]] = []
    for row, box in enumerate(labelled.bbox_px):
        share = height_share(picture, row)
        if share is None:
            kinds.append([])
            continue
        more = {
            "tilted": abs(picture.roll[row]) > TILTED_DEGREES,
            "small": share < SMALL,
            "large": share > LARGE,
            "dark": _brightness(image, box) < DARK,
        }
        tone = _skin_tone(image, labelled.keypoints_px[row])
        if tone is not None and picture.yaw_class[row] != "profile":  # which hides a cheek
            more |= {f"{tone} skin": True, f"{tone} skin, not small": share >= SMALL}
        kinds.append([
            "all", picture.yaw_class[row], *(name for name, is_it in more.items() if is_it),
        ])  # fmt: skip
    return kinds


def _skin_tone(image: U8, keypoints_px: F32) -> str | None:
    """Of the cheeks, as the picture shows them; None where it is grey or the points are unknown."""
    if image.ndim == 2 or not np.isfinite(keypoints_px).all():
        return None
    return skin_tone(align(image, keypoints_px[None])[0])


def _brightness(image: U8, box: F32) -> float:
    x1, y1, x2, y2 = np.round(box).astype(int).clip(0)
    part = image[y1:y2, x1:x2]
    return float(part.mean()) if part.size else 255.0


def share_interval(hits: int, count: int) -> Interval:
    """95 % interval of a share (Wilson 1927), faces taken as independent; nan without faces."""
    if count == 0:
        return float("nan"), float("nan")
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    centre = (hits + z * z / 2) / (count + z * z)
    reach = z * float(np.sqrt(hits * (count - hits) / count + z * z / 4)) / (count + z * z)
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def rate_interval(events: int, count: int) -> Interval:
    """95 % interval of events a picture (Garwood 1936), events taken as independent."""
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.chi2.ppf(tail, 2 * events)) / 2 if events else 0.0
    return low / max(count, 1), float(stats.chi2.ppf(1 - tail, 2 * events + 2)) / 2 / max(count, 1)


def mean_interval(values: Sequence[float]) -> Interval:
    """95 % interval of a mean (Student's t); nan below two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return float(np.mean(values)) - reach, float(np.mean(values)) + reach


def people_table(measured: Measured) -> str:
    """A Markdown table with a row for each kind of face, and a line about false faces."""
    rows = [
        f"| {measured.name} | n | found | 95 % interval | points | 95 % interval | median "
        "| agreed: n | points | 95 % interval |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, group in measured.groups.items():
        found = group.to_json()
        recall, error, agreed = (
            f"{_number(found[key])} | {_span(found[f'{key}_95'])}"
            for key in ("recall", "points_error", "points_error_agreed")
        )
        median = _number(found["points_error_median"])
        rows.append(
            f"| {name} | {found['n']} | {recall} | {error} | {median} "
            f"| {found['agreed']} | {agreed} |"
        )
    return "\n".join([*rows, "", false_line(measured.name, measured.false, measured.pictures)])


def false_line(name: str, false: int, pictures: int) -> str:
    """How many false faces there are in a picture."""
    span = _span(rate_interval(false, pictures))
    return (
        f"{name}: {false} false faces in {pictures}: {false / max(pictures, 1):.3f} each ({span})"
    )


def _span(interval: Interval) -> str:
    return "-" if np.isnan(interval[0]) else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
