"""What each clip will show and how intense it is: decided before a pixel is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facer.stages.synthesis.photographs import FACES
from facer.storage.labels.challenges import Split
from facer.storage.schema import F64

EMOTIONS: Mapping[str, Mapping[str, float]] = {
    "amusement": {"smile": 1.0, "jaw": 0.3},
    "surprise": {"brow_raise": 1.0, "jaw": 0.8, "round": 1.0},
    "sadness": {"frown": 1.0, "brow_sad": 1.0},
}
"""Amounts of the warp's actions at full strength of each emotion."""

SPLITS: tuple[Split, ...] = ("train", "train", "test", "train", "val", "test", "train")
"""Splits of seven clips in turn: four train, one val, two test."""

_FIRST_TURN: Mapping[Split, int] = {"train": 0, "val": 7, "test": 12}


@dataclass(frozen=True)
class SynthesisConfig:
    """The demo's clips; the same config gives the same clips, pixel for pixel before coding."""

    n_clips: int = 28
    min_frames: int = 32
    max_frames: int = 48
    fps: float = 15.0
    width_px: int = 384  # sides are even, as video codecs want them
    height_px: int = 288
    seed: int = 0


@dataclass(frozen=True)
class PlannedEvent:
    """One emotion that comes, stays and goes; times in seconds from the clip's start."""

    emotion: str
    peak: float  # strength at its apex, 0 to 1
    start_s: float
    rise_s: float
    hold_s: float
    fall_s: float

    def strength(self, time_s: F64) -> F64:
        """Strength at each time: smooth rise to ``peak``, apex, smooth fall, else 0."""
        up = (time_s - self.start_s) / self.rise_s
        down = (self.start_s + self.rise_s + self.hold_s + self.fall_s - time_s) / self.fall_s
        x = np.clip(np.minimum(up, down), 0, 1)
        return np.asarray(self.peak * x * x * (3 - 2 * x))


@dataclass(frozen=True)
class Motion:
    """A quantity that sways slowly: ``mean + amplitude sin(2 pi (t / period_s + phase))``."""

    mean: float
    amplitude: float
    period_s: float
    phase: float

    def at(self, time_s: float) -> float:
        """Value at a time."""
        turn = time_s / self.period_s + self.phase
        return self.mean + self.amplitude * math.sin(2 * math.pi * turn)


@dataclass(frozen=True)
class ClipPlan:
    """Everything that :func:`facer.stages.synthesis.render.render` needs for one clip."""

    clip_id: str
    split: Split
    face: str
    mirrored: bool
    n_frames: int
    fps: float
    width_px: int
    height_px: int
    events: tuple[PlannedEvent, ...]
    pan_x: Motion  # of the face from the middle of the frame, in units of the face
    pan_y: Motion
    size_px: Motion  # of the face's unit in the frame
    roll_deg: Motion
    light: Motion  # factor on brightness
    slope_x: Motion  # brighter right than left, as a share
    slope_y: Motion
    noise: float  # standard deviation in grey levels
    noise_seed: int

    @property
    def timestamp_s(self) -> F64:
        """Time of each frame, (n_frames,)."""
        return np.arange(self.n_frames) / self.fps

    def strengths(self) -> F64:
        """Strength of each of :data:`EMOTIONS` in each frame, (n_frames, E), in [0, 1]."""
        strengths = np.zeros((self.n_frames, len(EMOTIONS)))
        for event in self.events:
            column = strengths[:, list(EMOTIONS).index(event.emotion)]
            np.maximum(column, event.strength(self.timestamp_s), out=column)
        return strengths

    def intensities(self) -> dict[str, float]:
        """The clip's labels: for each emotion its largest strength over the frames."""
        return dict(zip(EMOTIONS, self.strengths().max(axis=0).tolist(), strict=True))


def plan_clips(config: SynthesisConfig) -> tuple[ClipPlan, ...]:
    """Plans of all clips, in the order of their ids.

    Splits follow :data:`SPLITS`. Within a split the faces take turns, and so do the kinds of
    clip: nothing shown, then each emotion; five faces and four kinds meet in every
    combination. Half of the clips show a second, weaker emotion before or after. Held-out
    clips are other clips of the same people; some show an emotion that training clips of
    that person did not show.
    """
    rng = np.random.default_rng(config.seed)
    kinds = (None, *EMOTIONS)
    turns = dict(_FIRST_TURN)
    plans = []
    for index in range(config.n_clips):
        split = SPLITS[index % len(SPLITS)]
        turn = turns[split]
        turns[split] += 1
        face, kind = FACES[turn % len(FACES)].name, kinds[turn % len(kinds)]
        plans.append(_plan_clip(config, rng, f"{index + 1:02d}-{face}", split, face, kind))
    return tuple(plans)


def _plan_clip(
    config: SynthesisConfig, rng: np.random.Generator, clip_id: str, split: Split, face: str,
    main: str | None,
) -> ClipPlan:  # fmt: skip
    n_frames = int(rng.integers(config.min_frames, config.max_frames + 1))
    return ClipPlan(
        clip_id=clip_id, split=split, face=face, mirrored=bool(rng.random() < 0.5),
        n_frames=n_frames, fps=config.fps, width_px=config.width_px, height_px=config.height_px,
        events=_plan_events(rng, n_frames / config.fps, main),
        pan_x=_sway(rng, (-0.15, 0.15), 0.25), pan_y=_sway(rng, (-0.05, 0.15), 0.12),
        size_px=_sway(rng, (0.21 * config.height_px, 0.25 * config.height_px), 4.0),
        roll_deg=_sway(rng, (-5.0, 5.0), 5.0), light=_sway(rng, (0.75, 1.05), 0.1),
        slope_x=_sway(rng, (-0.15, 0.15), 0.1), slope_y=_sway(rng, (-0.1, 0.1), 0.05),
        noise=float(rng.uniform(1.0, 4.0)), noise_seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _sway(rng: np.random.Generator, mean: tuple[float, float], amplitude: float) -> Motion:
    return Motion(
        mean=float(rng.uniform(*mean)), amplitude=amplitude * float(rng.uniform(0.4, 1.0)),
        period_s=float(rng.uniform(2.5, 5.0)), phase=float(rng.random()),
    )  # fmt: skip


def _plan_events(
    rng: np.random.Generator, duration_s: float, main: str | None
) -> tuple[PlannedEvent, ...]:
    """The main emotion, and for half of the clips a weaker one in the other half of the time."""
    shown = [] if main is None else [(main, (0.5, 1.0))]
    if rng.random() < 0.5:
        others = [emotion for emotion in EMOTIONS if emotion != main]
        shown.append((others[int(rng.integers(len(others)))], (0.15, 0.4)))
    part_s = duration_s / max(len(shown), 1)
    order = rng.permutation(len(shown)).tolist()
    return tuple(
        _plan_event(rng, place * part_s, part_s, emotion, peak)
        for place, (emotion, peak) in zip(order, shown, strict=True)
    )


def _plan_event(
    rng: np.random.Generator, from_s: float, part_s: float, emotion: str,
    peak: tuple[float, float],
) -> PlannedEvent:  # fmt: skip
    """An event whose apex lies inside a part of the clip; its fall may last longer."""
    rise, hold, fall = (
        part_s * float(rng.uniform(low, high))
        for low, high in ((0.12, 0.25), (0.3, 0.5), (0.12, 0.25))
    )
    start = from_s + float(rng.uniform(0, part_s - rise - hold))
    return PlannedEvent(emotion, float(rng.uniform(*peak)), start, rise, hold, fall)
