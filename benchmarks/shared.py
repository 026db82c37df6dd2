"""What benchmarks have in common: options, clocks, processes of their own, clips and stores."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeVar

import numpy as np

from facer.storage import FEATURE_NAMES, FeatureStore, Provenance
from facer.storage.exchange.tools import imported
from facer.storage.parts import Entry
from facer.storage.schema import F32, F64, I64, U8

MIB = 2**20
T = TypeVar("T")


def parser_of(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A parser that is described by a module's first line, with an option for each default."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser


def add_dir(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option ``--dir``, for :func:`scratch`."""
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary folder)")


@contextmanager
def scratch(place: Path | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def timed(call: Callable[..., T], *arguments: Any) -> tuple[T, F64]:
    """What a call returns, and its seconds by the clock and of all cores, (2,)."""
    wall, core = perf_counter(), process_time()
    result = call(*arguments)
    return result, np.array([perf_counter() - wall, process_time() - core])


def product_flops(dtype: str = "float32", clock: int = 0, side: int = 2048) -> float:
    """Multiplications and additions a second of a large matrix product: what cores do at best.

    ``clock`` 0 is time that passes, 1 that of the processor.
    """
    import torch

    a = torch.randn(side, side).to(getattr(torch, dtype))
    return 2 * side**3 / min(timed(torch.matmul, a, a)[1][clock] for _ in range(5))


def in_a_process(function: Callable[..., T], *arguments: Any) -> T:
    """Call a module's function in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_bytes() -> int:
    """The most memory that this process has used since it was started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def extract_command(videos: Path, store: Path, *options: object) -> list[str]:
    """The command line of ``facer extract``."""
    line = [sys.executable, "-m", "facer", "extract", videos, "-o", store, *options]
    return list(map(str, line))


def extract(videos: Path, store: Path, *options: object) -> float:
    """Seconds of ``facer extract`` in a process of its own, everything included."""
    started = perf_counter()
    subprocess.run(extract_command(videos, store, *options), check=True, capture_output=True)
    return perf_counter() - started


def repeat(clips: Sequence[Path], copies: int, folder: Path) -> None:
    """Fill a new folder with clips, each so many times under other names."""
    folder.mkdir()
    for number in range(copies):
        for clip in clips:
            (folder / f"{number:03}_{clip.name}").symlink_to(clip.resolve())


def encode(
    path: Path, images: Iterable[U8], codec: str, pixel_format: str, rate: int, **options: str
) -> None:
    """Write RGB images (H, W, 3) as a video."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pixel_format
        for index, image in enumerate(images):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def clip_lengths(clips: int, rate_hz: float = 30) -> I64:
    """Frames of clips as long as those of Hume-Reaction, (C,): 2.5 to 17 s, mean 10.8 s."""
    share = np.random.default_rng(1).beta(2.29, 1.71, clips)
    return np.round((2.5 + 14.5 * share) * rate_hz).astype(np.int64)


def curves(random: np.random.Generator, frames: int, step: float = 0.2) -> F32:
    """Columns that move like probabilities over time, (frames, 26)."""
    steps = random.standard_normal((frames, len(FEATURE_NAMES))).cumsum(axis=0)
    return (1 / (1 + np.exp(-steps * step))).astype(np.float32)


def made_clip(clip_id: str, features: F32, rate_hz: float = 30, **extras: Any) -> Entry:
    """A clip of features (T, F) at a frame rate, with a face in every frame that is ``valid``."""
    valid = extras.pop("valid", np.ones(len(features), np.bool_))
    return imported.clip(clip_id, features, np.arange(len(features)) / rate_hz, valid, extras)


def write_store(
    path: Path, clips: Iterable[Entry], names: tuple[str, ...] = FEATURE_NAMES, part_size: int = 50
) -> FeatureStore:
    """Write a store of synthetic clips, so many a part."""
    provenance = Provenance("none", "", "synthetic", "")
    store = FeatureStore.create(path, provenance, feature_names=names)
    entries = iter(clips)
    while part := list(islice(entries, part_size)):
        store.write_part(part)
    return store
