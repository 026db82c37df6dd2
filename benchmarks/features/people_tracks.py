"""Who is followed in clips of people who turn, hide, leave and return, and where nobody is seen.

    python -m benchmarks.features.people_tracks PEOPLE_CLIPS [--split val] [--store FEATURES.zarr]

PEOPLE_CLIPS holds clips.csv, frames.csv and faces.csv (see facer.stages.detection.data.people);
`facer extract --face track` runs on the clips of the split as a user runs it. On the labelled
frames a line for each clip then says in how many of those with a sure face one was measured,
whether it lies on a labelled face, how large the leaps of the face between labelled frames are, and
how many of the frames in which no detector sees a face are invalid.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.shared import extract_command, parser_of, scratch
from facer.stages.detection.config import Split
from facer.stages.detection.data.people import Picture, is_in, read_people_clips
from facer.stages.detection.measure import matches, share_interval
from facer.storage import FeatureStore


def extract(folder: Path, split: Split, store: Path) -> None:
    """Extract the clips of a split."""
    with scratch() as videos:
        with (folder / "clips.csv").open(newline="") as file:
            names = [row["file"] for row in csv.DictReader(file)]
        for name in names:
            if is_in(name, split):
                shutil.copy(folder / name, videos)
        subprocess.run(extract_command(videos, store, "--workers", 1), check=True)


def tell(name: str, store: FeatureStore, pictures: list[Picture]) -> tuple[int, ...]:
    """Print a clip's line; its counts (sure, measured, right, empty, invalid)."""
    clip = store.read(Path(name).stem)
    sure = measured = right = empty = invalid = 0
    for picture in pictures:
        row = int(picture.name.rsplit(" ", 1)[1])
        faces, valid = picture.labelled, bool(clip.valid[row])
        if len(faces.bbox_px) == 0:
            empty, invalid = empty + 1, invalid + (not valid)
        if (~faces.ignore).any():
            sure, measured = sure + 1, measured + valid
            found = matches(faces.bbox_px, clip.bbox_px[[row]], clip.keypoints_px[[row]])
            right += valid and bool(found.any())
    print(f"{name:26} {sure:5} {measured:9} {right:6} {empty:6} {invalid:8}")
    return sure, measured, right, empty, invalid


def main() -> None:
    """Extract, compare, print."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="val", choices=get_args(Split))
    parser.add_argument("--store", type=Path, help="one that is there already")
    args = parser.parse_args()
    with scratch() as folder:
        path = args.store or folder / "features.zarr"
        if not path.exists():
            extract(args.folder, args.split, path)
        store = FeatureStore.open(path)
        clips: dict[str, list[Picture]] = defaultdict(list)
        for picture in read_people_clips(args.folder, args.split):
            clips[picture.source].append(picture)
        print(f"{'clip':26} {'sure':>5} measured  right  empty  invalid")
        rows = np.array([tell(name, store, found) for name, found in sorted(clips.items())])
    sure, measured, right, empty, invalid = (int(n) for n in rows.sum(axis=0))
    for what, hits, count in (
        ("frames with a sure face in which a face was measured", measured, sure),
        ("the same, on a labelled face", right, sure),
        ("frames without a face that are invalid", invalid, empty),
    ):
        low, high = share_interval(hits, count)
        share = hits / count if count else float("nan")
        print(f"{what}: {hits} of {count}, {share:.3f} (95 % {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    sys.exit(main())
