"""Where one core's time goes while clips are extracted, and how little it could be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.shared import product_flops, timed
from facer.pipeline.features.timing.bench_steps import write_seconds
from facer.stages.detection.config import NetworkConfig
from facer.stages.detection.network import DetectorNet
from facer.stages.detection.refiner.network import PointsNet
from facer.stages.features import detect
from facer.stages.features import extractor as extract
from facer.stages.features.align import CROP_PX
from facer.stages.features.config import STARTER_SIZE_PX, ExtractConfig, Precision
from facer.stages.features.decode.frames import VideoReader
from facer.stages.features.extractor import Extractor
from facer.stages.features.looks import RefiningDetector
from facer.stages.features.rec.torch_rec import load_network
from facer.stages.features.rec.weights import weights_path
from facer.stages.features.refine import POINTS_PX


@dataclass
class Watch:
    """Time spent in a function."""

    seconds: float = 0.0
    items: int = 0  # images, where it takes a batch of them

    def on(self, owner: object, name: str, count: Callable[[Any], int] = len) -> None:
        """Time all calls from now on; ``count`` says how many images a first argument is."""
        function = getattr(owner, name)

        def watched(*arguments):  # type: ignore[no-untyped-def]
            result, (wall, _) = timed(function, *arguments)
            self.seconds += wall
            self.items += count(arguments[0]) if isinstance(arguments[0], Sized) else 1
            return result

        setattr(owner, name, watched)


def step_table(clips: list[Path], precision: Precision) -> str:
    """Milliseconds a frame of each step of an extractor on one thread, and how few they could be.

    The limit of decoding is libav without conversion to RGB; of a network, its multiplications
    and additions at the rate of a large matrix product of that precision on the same core. The
    clips are extracted once before, since oneDNN prepares for every new number of frames.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    extractor = Extractor(ExtractConfig(device="cpu", precision=precision), threads=1)
    detector = extractor.detector
    assert isinstance(detector, RefiningDetector)
    frames = sum(r.sequences[0].clip.n_frames for r in extractor.run(clips))
    resize, found, again, refined, rec_, aligned, measured = (Watch() for _ in range(7))
    resize.on(detect, "_shrunk")
    found.on(detector._detector, "detect")
    again.on(detector, "_look_again")
    refined.on(detector.refiner, "refine")
    rec_.on(extractor.rec, "predict", lambda crops: len(crops[0]))
    aligned.on(extract, "cut_all")
    measured.on(extract, "quality")
    decode_s = timed(_decode, clips)[1][0]
    done, (seconds, _) = timed(lambda: [r.sequences[0].clip for r in extractor.run(clips)])
    rest_s = seconds - decode_s - found.seconds - again.seconds - refined.seconds
    rest_s -= rec_.seconds + aligned.seconds + measured.seconds
    peak = product_flops("bfloat16" if precision == "bf16" else "float32")
    nets = _flops_of_networks()
    rows = [
        ("decode", decode_s, timed(libav_pass, clips)[1][0]),
        ("resize for the detector", resize.seconds, None),
        ("detect", found.seconds - resize.seconds, nets["detect"] * found.items / peak),
        ("look again", again.seconds, None),
        ("points", refined.seconds, nets["points"] * refined.items / peak),
        ("align", aligned.seconds, None),
        ("quality", measured.seconds, None),
        ("REC", rec_.seconds, nets["REC"] * rec_.items / peak),
        ("write", write_seconds(extractor, done[-1]) * frames, None),
        ("the rest", rest_s, None),
    ]
    return "\n".join([
        *_lines(rows, frames),
        f"  detector on {found.items / frames:.0%} of the frames, points model on "
        f"{refined.items / frames:.0%}; a large {precision} product: {peak / 1e9:.0f} GFLOP/s",
    ])  # fmt: skip


def _flops_of_networks() -> dict[str, float]:
    """Operations of each network on one image."""
    height = STARTER_SIZE_PX * 9 // 16
    return {
        "detect": _flops(DetectorNet(NetworkConfig()), height, STARTER_SIZE_PX),
        "points": _flops(PointsNet(), POINTS_PX, POINTS_PX),
        "REC": _flops(load_network(weights_path("rec-small"))[0], CROP_PX, CROP_PX),
    }


def _lines(rows: Sequence[tuple[str, float, float | None]], frames: int) -> Iterator[str]:
    """The table of (step, seconds, least seconds)."""
    total = sum(seconds for _, seconds, _ in rows)
    yield f"  {'':24} {'ms':>6} {'share':>6} {'limit':>6}"
    for name, seconds, limit in rows:
        at_best = "" if limit is None else f"{1e3 * limit / frames:6.2f}"
        yield f"  {name:24} {1e3 * seconds / frames:6.2f} {seconds / total:6.0%} {at_best}"
    yield f"  {'sum':24} {1e3 * total / frames:6.2f} a frame and core"


def _decode(clips: list[Path]) -> None:
    for clip in clips:
        with VideoReader(clip) as reader:
            for _ in reader:
                pass


def libav_pass(clips: list[Path]) -> None:
    """Decode clips by libav alone, without conversion to RGB, on one thread."""
    for clip in clips:
        with av.open(str(clip)) as container:
            container.streams.video[0].thread_type = "NONE"
            for _ in container.decode(video=0):
                pass


def _flops(net: torch.nn.Module, height: int, width: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(torch.zeros(1, 3, height, width))
    return float(counter.get_total_flops())
