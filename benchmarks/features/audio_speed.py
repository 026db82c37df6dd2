"""How many seconds of sound a second of one core's time turns into a store of features.

Real clips with sound, each several times, go through the whole of ``facer extract-audio`` with one
worker: guarded decoding, resampling, features, store. What counts is processor time of both
processes, without starting them; beside it stands decoding and resampling alone.

    python -m benchmarks.features.audio_speed [--clips FOLDER] [--features logmel] [--copies 10]
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import process_time

import numpy as np

from benchmarks.shared import parser_of, repeat, scratch
from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import extract_folder
from facer.pipeline.features.guarded.guard import close_idle
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.audio.reader import AudioReader
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.files.videos import CLIP_SUFFIXES

CLIPS = Path(__file__).parents[3] / "shared" / "data"
RATE_HZ = 16000


def with_sound(folder: Path) -> Iterator[Path]:
    """Clips below a folder that have sound."""
    for path in sorted(folder.rglob("*clips*/*")):
        if path.suffix.lower() in CLIP_SUFFIXES:
            with suppress(FacerError), AudioReader(path, RATE_HZ) as reader:
                if any(True for _ in reader):
                    yield path


def processor_s() -> float:
    """Processor time so far, of this process and of the decoders that have ended."""
    close_idle()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def extract(clips: list[Path], copies: int, features: str) -> tuple[float, float]:
    """Seconds of sound in the store, and of processor time that it took."""
    with scratch() as place:
        folder = place / "clips"
        repeat(clips, copies, folder)
        store = str(place / "audio.zarr")
        before = processor_s()
        extract_folder(ExtractRunConfig(folder, store, AudioConfig(features), workers=1))
        spent = processor_s() - before
        records = FeatureStore.open(store).records
    return float(np.nansum([record.n_valid / record.fps for record in records])), spent


def decode(clips: list[Path], copies: int) -> tuple[float, float]:
    """Seconds of sound, and of processor time, of decoding and resampling alone."""
    before, samples = processor_s(), 0
    for path in clips * copies:
        with AudioReader(path, RATE_HZ) as reader:
            samples += sum(len(block.samples) for block in reader)
    return samples / RATE_HZ, processor_s() - before


def main() -> None:
    """Print the ratio."""
    options = parser_of(__doc__, clips=CLIPS, features="logmel", copies=10).parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    clips = list(with_sound(options.clips))
    if not clips:
        raise SystemExit(f"{options.clips}: no clips with sound")
    _, start_s = extract(clips[:1], 1, options.features)
    sound_s, spent_s = extract(clips, options.copies, options.features)
    decoded_s, alone_s = decode(clips, options.copies)
    print(f"{len(clips)} clips x {options.copies}, {sound_s:.0f} s of sound, {options.features}")
    print(f"extract-audio  {sound_s / (spent_s - start_s):6.0f} x real time a core")
    print(f"decoding alone {decoded_s / alone_s:6.0f} x real time a core")


if __name__ == "__main__":
    main()
