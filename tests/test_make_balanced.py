"""The recipe that raises rare expressions: by their shares, and nothing else moves."""

import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from facer.stages.affect.metrics import EXPRESSION_COLUMNS
from facer.stages.features.rec.loading import load
from tests.support import script

RECIPE = Path(__file__).parents[1] / "docs" / "make_balanced.py"
COUNTS = {"train": (40, 10, 10, 10, 10, 10, 10), "val": (1,) * 7}


@pytest.fixture
def pack(tmp_path):
    """100 labelled crops of training, of which 40 are neutral, and 7 of val."""
    path = tmp_path / "pack.h5"
    crops = np.random.default_rng(0).integers(0, 256, (107, 112, 112), dtype=np.uint8)
    labels = np.concatenate([np.repeat(np.arange(7), counts) for counts in COUNTS.values()])
    with h5py.File(path, "w") as file:
        jpegs = file.create_dataset("jpeg", (107,), h5py.vlen_dtype(np.uint8))
        for row, crop in enumerate(crops):
            jpegs[row] = np.frombuffer(cv2.imencode(".jpg", crop)[1].tobytes(), np.uint8)
        file["split"] = [split for split, counts in COUNTS.items() for _ in range(sum(counts))]
        file["expression_votes"] = np.eye(7, dtype=np.uint8)[labels]
        file["expression_label"] = labels.astype(np.int8)
        file["au"] = np.full((107, 17), np.nan, np.float16)
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["make_balanced.py", *map(str, arguments)])
    script(RECIPE).main()


def test_logits_move_by_the_logarithm_of_the_shares(pack, tmp_path, monkeypatch):
    out = tmp_path / "balanced.safetensors"
    run(monkeypatch, pack, "--rec", "rec-small", "--strength", 0.5, "-o", out)
    crops = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    before, after = (load(name, "cpu").predict(crops) for name in ("rec-small", str(out)))
    moved = np.log(after[:, EXPRESSION_COLUMNS]) - np.log(before[:, EXPRESSION_COLUMNS])
    expected = -0.5 * np.log([0.4] + [0.1] * 6)
    np.testing.assert_allclose(moved - moved[:, :1], [expected - expected[0]] * 3, atol=1e-4)
    others = np.ones(after.shape[1], bool)
    others[EXPRESSION_COLUMNS] = False
    np.testing.assert_array_equal(after[:, others], before[:, others])


def test_without_an_output_every_strength_is_scored(pack, monkeypatch, capsys):
    run(monkeypatch, pack, "--rec", "rec-small")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in lines] == [
        "0.00", "0.05", "0.10", "0.15", "0.20", "0.30", "0.40", "0.50",
    ]  # fmt: skip
    assert all(line.endswith("n 7") for line in lines)
