"""Memory of training on a face and a long, wide sound stream, by where the sequences lie.

    python -m benchmarks.intensity.streams_memory [--clips 60] [--more 4]
        [--caches memory half disk]

Clips of 10.8 s in the mean: 26 columns at 30 Hz, and 1,024 at 50 Hz joined to them (``--with``,
``mean``), as wav2vec 2.0 gives them. Each training (facernet, one epoch, t 480) runs in its own
process, on some clips and on ``--more`` times as many; the figure is the process's peak of private
memory (VmHWM) above that of a process which only imports facer. A cache in memory grows with the
clips; ``disk`` must not. The printed ratios are of one run: growth of each cache, and of the
last against the first for the larger set.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import shared
from facer.storage import FEATURE_NAMES
from facer.storage.parts import Entry

CLIPS_A_PART = 10
SOUND_COLUMNS = 1024


def entries(clips: int, rate_hz: int, columns: int) -> Iterator[Entry]:
    """Yield clips of random features at a rate."""
    for index, n in enumerate(shared.clip_lengths(clips, rate_hz).tolist()):
        values = np.random.default_rng(index).standard_normal((n, columns), dtype=np.float32)
        yield shared.made_clip(f"clip-{index:05d}", values, rate_hz)


def write_labels(path: Path, clips: int) -> None:
    """Write a label a clip, three in four of train."""
    random = np.random.default_rng(0)
    rows = [
        f"clip-{i:05d},{'val' if i % 4 == 3 else 'train'},{random.random():.3f}\n"
        for i in range(clips)
    ]
    path.write_text("clip_id,split,joy\n" + "".join(rows))


def train(folder: Path, clips: int, cache: str) -> tuple[int, float]:
    """Return this process's peak memory and the seconds of a training in it."""
    import torch

    import facer.pipeline.intensity.train

    torch.set_num_threads(1)
    seconds = 0.0
    if cache != "nothing":
        run = folder / f"run-{clips}-{cache}-{time.time_ns()}"
        _, (seconds, _) = shared.timed(
            lambda: facer.train_head(
                folder / "face.zarr", folder / f"labels-{clips}.csv", run, cache=cache, epochs=1,
                with_={"sound": folder / "sound.zarr"}, dense=8, hidden_size=32, batch_size=8,
            )
        )  # fmt: skip
    return shared.peak_bytes(), float(seconds)


def main() -> None:
    """Print the peaks and their ratios."""
    parser = shared.parser_of(__doc__, clips=60, more=4)
    parser.add_argument("--caches", nargs="+", default=["memory", "half", "disk"])
    shared.add_dir(parser)
    options = parser.parse_args()
    few, many = options.clips, options.clips * options.more
    with shared.scratch(options.dir) as folder:
        names = tuple(f"w{i:04d}" for i in range(SOUND_COLUMNS))
        for place, rate_hz, columns in (("face", 30, FEATURE_NAMES), ("sound", 50, names)):
            clips = entries(many, rate_hz, len(columns))
            shared.write_store(folder / f"{place}.zarr", clips, columns, CLIPS_A_PART)
        for clips in (few, many):
            write_labels(folder / f"labels-{clips}.csv", clips)
        base, _ = shared.in_a_process(train, folder, few, "nothing")
        peaks = {}
        for cache in options.caches:
            found = [shared.in_a_process(train, folder, clips, cache) for clips in (few, many)]
            peaks[cache] = [(peak - base) / shared.MIB for peak, _ in found]
            small, large = peaks[cache]
            print(
                f"{cache}: {small:.0f} MiB for {few} clips, {large:.0f} MiB for {many}: "
                f"{large - small:+.0f} MiB ({large / small:.2f} times), "
                f"{found[1][1]:.1f} s",
                flush=True,
            )
        first, last = options.caches[0], options.caches[-1]
        share = peaks[last][1] / peaks[first][1]
        print(f"for {many} clips {last} takes {share:.2f} of the memory that {first} takes")


if __name__ == "__main__":
    main()
