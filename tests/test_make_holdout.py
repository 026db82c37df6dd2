"""The recipe that holds out a fifth of a crop pack: only training rows, near copies together."""

import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from facer.stages.affect.datasets.packs import read_pack
from tests.support import script

RECIPE = Path(__file__).parents[1] / "docs" / "make_holdout.py"


@pytest.fixture
def pack(tmp_path):
    """100 crops of training, each twice, the second time brighter; 20 of val."""
    rng = np.random.default_rng(0)
    path = tmp_path / "pack.h5"
    small = rng.integers(20, 200, (110, 14, 14), dtype=np.uint8)
    crops = [cv2.resize(s, (112, 112), interpolation=cv2.INTER_CUBIC) for s in small]
    both = [c for pair in zip(crops, [c + np.uint8(20) for c in crops], strict=True) for c in pair]
    with h5py.File(path, "w") as file:
        jpegs = file.create_dataset("jpeg", (220,), h5py.vlen_dtype(np.uint8))
        for row, crop in enumerate(both):
            jpegs[row] = np.frombuffer(cv2.imencode(".jpg", crop)[1].tobytes(), np.uint8)
        file["split"] = ["train"] * 200 + ["val"] * 20
        file["expression_votes"] = np.eye(7, dtype=np.uint8)[np.arange(220) // 2 % 7]
        file["expression_label"] = (np.arange(220) // 2 % 7).astype(np.int8)
        file["au"] = np.full((220, 17), np.nan, np.float16)
        file["name"] = [f"{row // 2}" for row in range(220)]
    return path


def test_a_fifth_is_held_out_and_near_copies_stay_together(pack, tmp_path, monkeypatch):
    out = tmp_path / "holdout.h5"
    monkeypatch.setattr(sys, "argv", ["make_holdout.py", str(pack), str(out)])
    script(RECIPE).main()
    with h5py.File(out) as file:
        split, name = file["split"].asstr()[:], file["name"].asstr()[:]
        assert (file["expression_label"][:] == np.arange(200) // 2 % 7).all()
    assert len(split) == 200  # none of val
    train, val = (set(name[split == part].tolist()) for part in ("train", "val"))
    assert not train & val
    assert 8 <= len(val) <= 36
    assert len(read_pack(out, "val").indices) == 2 * len(val)
