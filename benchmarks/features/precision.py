"""How far apart two stores of the same videos are, as one in float32 and one in bfloat16.

    facer extract VIDEO_DIR -o float32.zarr --precision float32
    facer extract VIDEO_DIR -o bf16.zarr --precision bf16
    python -m benchmarks.features.precision float32.zarr bf16.zarr

Prints how many frames have a face in which, how far their five points are apart, as a share of the
distance between the eyes, and for each column the mean and largest difference beside the column's
own standard deviation within a clip.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.shared import parser_of
from facer.storage import FeatureStore

FAR = 0.1  # of a feature


def main() -> None:
    """Print both tables."""
    parser = parser_of(__doc__)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    given = parser.parse_args()
    one, other = FeatureStore.open(given.one), FeatureStore.open(given.other)
    names = one.feature_names
    apart, spread, points = [], [], []
    n_one = n_other = far_frames = far_clips = 0
    for clip_id in one.clip_ids:
        if "failed" in {store.record(clip_id).status for store in (one, other)}:
            continue
        a, b = one.read(clip_id), other.read(clip_id)
        both = a.valid & b.valid
        n_one, n_other = n_one + int(a.valid.sum()), n_other + int(b.valid.sum())
        if not both.any():
            continue
        apart.append(np.abs(a.features - b.features)[both])
        spread.append(a.features[both].std(axis=0))
        far = int((apart[-1].max(axis=1) > FAR).sum())
        far_frames, far_clips = far_frames + far, far_clips + (far > 0)
        eyes = np.linalg.norm(a.keypoints_px[both, 0] - a.keypoints_px[both, 1], axis=-1)
        moved = np.linalg.norm(a.keypoints_px - b.keypoints_px, axis=-1)[both].mean(axis=1)
        points.append(moved / eyes)
    differences, moved = np.concatenate(apart), np.concatenate(points)
    print(f"{len(differences)} frames of {len(apart)} clips with a face in both, "
          f"{n_one} and {n_other}")  # fmt: skip
    print(f"points: {moved.mean():.4f} of the distance between the eyes, {moved.max():.3f} at most")
    print(f"features: {differences.mean():.4f}; {far_frames} frames of {far_clips} clips have one "
          f"that differs by more than {FAR}")  # fmt: skip
    print("| column | mean | largest | its own spread |\n|---|---|---|---|")
    for name, column, own in zip(names, differences.T, np.mean(spread, axis=0), strict=True):
        print(f"| {name} | {column.mean():.4f} | {column.max():.3f} | {own:.3f} |")


if __name__ == "__main__":
    main()
