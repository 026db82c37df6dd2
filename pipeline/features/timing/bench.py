"""How fast this machine extracts, and how long a whole folder would take."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np

from facer.pipeline.features.config import BenchConfig
from facer.pipeline.features.guarded.guard import ask
from facer.pipeline.features.timing.bench_model import (
    CORES,
    CORES_A_GPU,
    GPUS,
    FrameCost,
    Rate,
    predict,
    predict_gpus,
)
from facer.pipeline.features.timing.bench_steps import StepTimes, measure_steps
from facer.pipeline.views.video import write_video
from facer.stages.common.cores import cpu_count
from facer.stages.features.decode.folder import find_videos
from facer.stages.synthesis.plan import SynthesisConfig, plan_clips
from facer.stages.synthesis.render import render
from facer.storage.errors import FacerError
from facer.storage.schema import mean_rate_hz

ASSUMPTIONS = (
    "a frame costs what the measured ones cost: decoding depends on size and codec, REC on how "
    "many frames have a face",
    "all cores are free, and as fast together as one alone; start-up, about 2 s, is left out",
    "the disk gives the videos as fast as they are decoded",
)
"""What every estimate takes for granted."""

_OWN_CLIP = SynthesisConfig(
    n_clips=1, min_frames=150, max_frames=150, fps=30.0, width_px=640, height_px=360
)
_NAMES = {"detect": "detect, follow", "rec": "REC"}
_SAMPLE = 50  # videos of a folder whose headers are read


@dataclass(frozen=True)
class Estimate:
    """What an extraction of many clips would take on this machine."""

    clips: int
    frames: int
    workers: int  # one a core
    seconds: float
    frames_from: str  # where the number of frames comes from


@dataclass(frozen=True)
class Bench:
    """What was measured, and what follows from it."""

    video: str
    fps: float
    face_share: float  # of the video's frames, in [0, 1]
    times: StepTimes
    estimate: Estimate

    @property
    def cost(self) -> FrameCost:
        """What a frame costs in each process."""
        times = self.times
        beside_s = times.beside_ms / 1e3
        frames = max(1.0, self.estimate.frames / self.estimate.clips)
        networks_s = times.ms_per_frame["rec"] / 1e3
        return FrameCost(
            beside_s, self.total_ms / 1e3 - beside_s, networks_s, times.driver_ms / 1e3 / frames
        )

    @property
    def scaling(self) -> dict[str, dict[int, Rate]]:
        """Predicted rates by number of cores, a worker on each, and of GPUs."""
        return {
            "cores": {n: predict(self.cost, n, n) for n in CORES},
            "gpus": {n: predict_gpus(self.cost, n, n * CORES_A_GPU) for n in GPUS},
        }

    @property
    def total_ms(self) -> float:
        """Milliseconds that a frame costs one core in all."""
        return sum(self.times.ms_per_frame.values())

    def to_json(self) -> dict[str, Any]:
        """As ``facer bench --json`` prints it."""
        times = self.times
        steps = {
            name: {"ms_per_frame": ms, "frames_per_s": 1e3 / ms if ms else None}
            for name, ms in times.ms_per_frame.items()
        }
        return {
            "video": self.video, "width_px": times.width_px, "height_px": times.height_px,
            "fps": self.fps, "face_share": self.face_share, "frames_measured": times.frames,
            "threads": 1, "precision": times.precision, "steps": steps,
            "ms_per_frame": self.total_ms, "frames_per_s": 1e3 / self.total_ms,
            "decode_beside_ms": times.beside_ms, "driver_ms_per_clip": times.driver_ms,
            "scaling": {
                kind: {str(n): vars(rate) for n, rate in rates.items()}
                for kind, rates in self.scaling.items()
            },
            "estimate": {**vars(self.estimate), "assumptions": list(ASSUMPTIONS)},
        }  # fmt: skip

    def as_text(self) -> str:
        """As ``facer bench`` prints it."""
        times, estimate = self.times, self.estimate
        rows = {
            **{_NAMES.get(k, k): v for k, v in times.ms_per_frame.items()},
            "all": self.total_ms,
        }
        return "\n".join(
            [
                f"{self.video}: {times.width_px}x{times.height_px}, {self.face_share:.0%} of its "
                f"frames with a face; {times.frames} frames measured on one thread of the CPU, "
                f"in {times.precision}",
                f"{'':16} ms a frame  share   frames/s",
                *(
                    f"{name:16} {ms:10.2f}  {ms / self.total_ms:5.0%}  {_rate(ms):>9}"
                    for name, ms in rows.items()
                ),
                f"{estimate.clips:,} clips, {short_count(estimate.frames)} frames: "
                f"{duration(estimate.seconds)} on this machine with {estimate.workers} worker(s)",
                f"predicted frames/s, a worker a core: {_listed(self.scaling['cores'])}",
                f"at most, by number of GPUs with {CORES_A_GPU} cores each, REC's time left out: "
                f"{_listed(self.scaling['gpus'])}",
                f"frames by {estimate.frames_from}; assumed:",
                *(f"  - {assumption}" for assumption in ASSUMPTIONS),
            ]
        )


def _listed(rates: Mapping[int, Rate]) -> str:
    return ", ".join(f"{n}: {rate.frames_per_s:,.0f}" for n, rate in rates.items())


def _rate(ms: float) -> str:
    return f"{1e3 / ms:,.0f}" if ms else "-"


def short_count(count: int) -> str:
    """A number of frames, short.

    >>> short_count(950), short_count(75_200), short_count(7_520_100)
    ('950', '75 k', '7.5 M')
    """
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:,.0f} k" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def duration(seconds: float) -> str:
    """A time in the two largest units that matter.

    >>> duration(8.2), duration(170), duration(18_620), duration(200_000)
    ('8 s', '3 min', '5 h 10 min', '2 d 7 h')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


class _Folder(NamedTuple):
    clips: int
    frames: int
    typical: Path  # the video of median length
    note: str


def bench(config: BenchConfig) -> Bench:
    """Measure one thread with facer's defaults on the CPU, and estimate.

    ``FacerError`` for a video that cannot be decoded, and for a folder without any.
    """
    folder = None if config.folder is None else _look_into(config.folder)
    with _video(config, folder) as (name, path):
        times = measure_steps(path, config.limit_s, config.precision)
    rate_hz = mean_rate_hz(times.clip.timestamp_s)
    fps = _OWN_CLIP.fps if math.isnan(rate_hz) else rate_hz
    if folder is None:
        clips = config.clips
        frames = round(clips * config.seconds_per_clip * fps)
        note = f"{config.seconds_per_clip:g} s a clip at the {fps:.3g} frames/s of the video"
    else:
        clips, frames, _, note = folder
    workers = min(cpu_count(), clips)
    estimate = Estimate(clips, frames, workers, 0.0, note)
    found = Bench(name, fps, float(times.clip.valid.mean()), times, estimate)
    seconds = frames / predict(found.cost, workers, cpu_count()).frames_per_s
    return replace(found, estimate=replace(estimate, seconds=seconds))


@contextmanager
def _video(config: BenchConfig, folder: _Folder | None) -> Iterator[tuple[str, Path]]:
    """Name and path of the video to measure: the user's, a typical one, or one made here."""
    path = config.video or (folder.typical if folder is not None else None)
    if path is not None:
        yield str(path), path
        return
    with tempfile.TemporaryDirectory(prefix="facer-") as scratch:
        path = Path(scratch) / "made.mp4"
        (plan,) = plan_clips(_OWN_CLIP)
        write_video(path, zip(plan.timestamp_s.tolist(), render(plan), strict=True))
        yield "a clip made by facer", path


def _look_into(folder: Path) -> _Folder:
    """Clips of a folder, and their frames by the headers of some of them, evenly spaced."""
    paths = [path for _, path in find_videos(folder)]
    rows = np.unique(np.linspace(0, len(paths) - 1, min(_SAMPLE, len(paths))).astype(int))
    read = {paths[row]: frames for row in rows if (frames := ask("header_frames", paths[row]))}
    if not read:
        raise FacerError(f"{folder}: none of {len(rows)} of its videos tells how long it is")
    typical = {frames: path for path, frames in read.items()}[median_low(read.values())]
    frames = round(len(paths) * sum(read.values()) / len(read))
    note = f"the headers of {len(read)} of {len(paths)} videos"
    return _Folder(len(paths), frames, typical, note)
