"""A crop pack whose ``train`` part is split once more: a fifth of it becomes ``val``.

What is trained on the new ``train`` part can be scored on the new ``val`` part, which has chosen
nothing of how REC is trained. Near copies (correlation of the grey crops, 28 px, above 0.965)
stay together; which group goes where is drawn from a hash of its first image.

    python docs/make_holdout.py PACK.h5 holdout.h5
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import cv2
import h5py
import numpy as np

from facer.pipeline.runtime.progress import log
from facer.storage.schema import I64

SIDE_PX = 28
SAME = 0.965
FIFTHS = 5


def groups_of(jpegs: list[bytes]) -> I64:
    """For each image the first image that it is, over others, a near copy of."""
    greys = [cv2.imdecode(np.frombuffer(j, np.uint8), cv2.IMREAD_GRAYSCALE) for j in jpegs]
    small = [cv2.resize(g, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for g in greys]
    x = np.stack(small).reshape(len(small), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    first = np.arange(len(x))
    for start in range(0, len(x), 512):
        near = np.argwhere(x[start : start + 512] @ x.T > SAME)
        for row, other in near[near[:, 1] > near[:, 0] + start]:
            a, b = first[row + start], first[other]
            first[first == max(a, b)] = min(a, b)
    return first


def main() -> None:
    """Copy the rows of ``train``, with their new split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with h5py.File(arguments.pack) as pack, h5py.File(arguments.output, "w") as output:
        rows = np.flatnonzero(pack["split"].asstr()[:] == "train")
        jpegs = [bytes(j) for j in pack["jpeg"][:][rows]]
        groups = groups_of(jpegs)
        hashes = {g: hashlib.sha256(jpegs[g]).digest()[0] for g in set(groups.tolist())}
        split = ["val" if hashes[g] % FIFTHS == 0 else "train" for g in groups.tolist()]
        output.attrs.update(pack.attrs)
        for name, column in pack.items():
            if name != "split":
                output.create_dataset(name, data=column[:][rows], dtype=column.dtype)
        output.create_dataset("split", data=split, dtype=h5py.string_dtype())
    log(f"{len(rows)} images in {len(hashes)} groups, of which {split.count('val')} are val")


if __name__ == "__main__":
    main()
