"""Broken videos through ``facer extract``: nothing may end the run, hang it or be lost.

    python -m benchmarks.features.fuzz_decoder [--mutants 500] [--seed 0]

Small synthetic clips of a dozen containers and codecs are damaged in seeded ways: flipped bits,
cut ends, blocks removed, doubled and exchanged, numbers of the header replaced by absurd ones.
All mutants are extracted in one run, under facer's own limits of memory and time for each. Prints
what became of them; the exit code is 1 when a mutant has no record, when the run ends in another
way than with 0 or 3, or when a mutant takes longer than the limit that a frame has.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.shared import encode, extract_command, parser_of, scratch
from facer.pipeline.features.guarded import process
from facer.storage import FeatureStore
from facer.storage.schema import Record

SIZE = (64, 48)  # width, height
# name: codec, pixel format
CLIPS = {
    "h264.mp4": ("libx264", "yuv420p"), "h264.mkv": ("libx264", "yuv420p"),
    "h264.ts": ("libx264", "yuv420p"), "mpeg4.mp4": ("mpeg4", "yuv420p"),
    "mpeg4.avi": ("mpeg4", "yuv420p"), "mjpeg.avi": ("mjpeg", "yuvj420p"),
    "vp8.webm": ("libvpx", "yuv420p"), "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "ffv1.mkv": ("ffv1", "yuv420p"), "rgba.mov": ("png", "rgba"), "qtrle.mov": ("qtrle", "argb"),
    "gif.gif": ("gif", "rgb8"), "flv1.flv": ("flv1", "yuv420p"), "wmv2.wmv": ("wmv2", "yuv420p"),
    "mpeg2.mpg": ("mpeg2video", "yuv420p"),
}  # fmt: skip
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ATOMS = (b"mvhd", b"tkhd", b"mdhd", b"stts", b"ctts", b"stsz", b"stsc", b"stco", b"elst", b"stsd")


def make_clips(folder: Path, frames: int = 8) -> list[Path]:
    """One small clip of every kind."""
    noise = np.random.default_rng(0).integers(0, 255, (frames, SIZE[1], SIZE[0], 3), np.uint8)
    for name, (codec, pixel_format) in CLIPS.items():
        encode(folder / name, noise, codec, pixel_format, 25)
    return [folder / name for name in CLIPS]


def flip_bits(data: bytearray, random: np.random.Generator) -> None:
    """Flip 1 to 64 bits anywhere."""
    for place in random.integers(0, 8 * len(data), 2 ** int(random.integers(0, 7))):
        data[place // 8] ^= 1 << (place % 8)


def flip_header_bits(data: bytearray, random: np.random.Generator) -> None:
    """Flip a few bits in the first or last kilobyte, where headers and tables are."""
    reach = min(1024, len(data))
    start = 0 if random.random() < 0.5 else len(data) - reach
    for place in random.integers(0, 8 * reach, int(random.integers(1, 9))):
        data[start + place // 8] ^= 1 << (place % 8)


def cut(data: bytearray, random: np.random.Generator) -> None:
    """End the file somewhere."""
    del data[int(random.integers(1, len(data))) :]


def move_block(data: bytearray, random: np.random.Generator) -> None:
    """Remove, double or overwrite a block."""
    start, to = (int(i) for i in random.integers(0, len(data), 2))
    block = data[start : start + int(random.integers(1, 256))]
    kind = random.integers(3)
    if kind == 0:
        del data[start : start + len(block)]
    elif kind == 1:
        data[to:to] = block
    else:
        data[to : to + len(block)] = block


def lie(data: bytearray, random: np.random.Generator) -> None:
    """Replace a number in the first or last 2 kB by an extreme one."""
    reach = min(2048, len(data) - 4)
    start = 0 if random.random() < 0.5 else len(data) - reach - 4
    place = start + int(random.integers(0, reach))
    struct.pack_into(random.choice(["<I", ">I"]), data, place, int(random.choice(EXTREMES)))


def lie_about_size(data: bytearray, random: np.random.Generator) -> None:
    """Replace every 64 and 48 that looks like the width or height by an absurd one."""
    formats = [">H", "<H", ">I", "<I"]
    for value in SIZE:
        absurd = int(random.choice([0, 1, 4096, 16384, 32767, 65535]))
        for kind in formats:
            data[:] = data.replace(struct.pack(kind, value), struct.pack(kind, absurd))


def lie_in_a_table(data: bytearray, random: np.random.Generator) -> None:
    """Replace a number of an mp4's tables: durations, counts, sizes, offsets."""
    places = [found.start() for found in re.finditer(b"|".join(ATOMS), data)]
    if not places:
        return lie(data, random)
    place = int(random.choice(places)) + 4 + 4 * int(random.integers(0, 12))
    if place + 4 <= len(data):
        struct.pack_into(">I", data, place, int(random.choice(EXTREMES)))
    return None


Mutation = Callable[[bytearray, np.random.Generator], None]
MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, flip_header_bits, cut, move_block, lie, lie_about_size, lie_in_a_table,
)  # fmt: skip


def mutants(clips: list[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(name, content) of damaged clips; every clip and every kind of damage in turn."""
    contents = [clip.read_bytes() for clip in clips]
    for index in range(count):
        random = np.random.default_rng([seed, index])
        clip = clips[index % len(clips)]
        data = bytearray(contents[index % len(clips)])
        mutation = MUTATIONS[(index // len(clips)) % len(MUTATIONS)]
        mutation(data, random)
        if random.random() < 0.3 and len(data) > 8:
            flip_bits(data, random)
        yield f"{index:05}-{mutation.__name__}-{clip.name}", bytes(data)


def outcome(record: Record) -> str:
    """What became of a mutant, without numbers and names."""
    reason = record.reason.removeprefix(record.source)
    return re.sub(r"[-\d.]+", "N", f"{record.status}: {reason}" if reason else record.status)


def main() -> None:
    """Extract mutants and print what came of them."""
    options = parser_of(__doc__, mutants=500, seed=0, workers=2).parse_args()
    with scratch() as place:
        originals, folder, store = (place / name for name in ("clips", "mutants", "s.zarr"))
        originals.mkdir()
        folder.mkdir()
        for name, data in mutants(make_clips(originals), options.mutants, options.seed):
            (folder / name).write_bytes(data)
        started = perf_counter()
        command = extract_command(folder, store, "--workers", options.workers)
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        seconds = perf_counter() - started
        records = FeatureStore.open(store).records
    counts = Counter(outcome(record) for record in records)
    for text, count in counts.most_common():
        print(f"{count:6}  {text}")
    slowest = max(records, key=lambda record: record.seconds)
    print(f"{len(records)} of {options.mutants} mutants have a record (all of them)")
    print(f"exit code {code} (0 or 3), {seconds:.0f} s")
    print(f"slowest {slowest.seconds:.1f} s: {slowest.source}")
    whole = len(records) == options.mutants and code in (0, 3)
    sys.exit(not whole or slowest.seconds > process.FRAME_TIMEOUT_S)


if __name__ == "__main__":
    main()
