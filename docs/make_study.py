"""Make docs/study/summary.csv: what ``facer summarise`` writes of a study that nobody took part in.

    python docs/make_study.py docs/study

Twelve people, two conditions, made-up curves: after two seconds the jokes bring a smile. One clip
failed, one person smiles already at rest, one is hidden for most of the time.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from facer.pipeline.summary.output import summarise_to_folder
from facer.pipeline.summary.summarise import study
from facer.stages.summary.config import SummaryConfig
from facer.storage import ClipFeatures, FeatureStore, Provenance, Record

NAMES = ("valence", "happiness", "au12")
RATE_HZ, SECONDS, ONSET_S = 25, 6, 2


def make(folder: Path) -> None:
    """Write summary.csv into a folder."""
    rng = np.random.default_rng(20)
    with tempfile.TemporaryDirectory() as place:
        made = Provenance("made up", "0" * 64, "made up", "0" * 64)
        store = FeatureStore.create(f"{place}/study.zarr", made, feature_names=NAMES)
        people = [(f"P{p:02d}", rng.normal(0, 0.06)) for p in range(1, 13)]
        clips = [_clip(person, own, c, rng) for person, own in people for c in ("joke", "news")]
        failed = Record("P13_joke", "failed", 0, reason="P13_joke.mp4: not a video")
        store.write_part([*clips, (failed, None)])
        config = SummaryConfig(windows={"after": (ONSET_S, SECONDS)}, baseline=(0, ONSET_S))
        stats = Path(place) / "stats"
        summarise_to_folder(study(store, config, "{participant}_{condition}"), stats, "csv")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stats / "summary.csv", folder / "summary.csv")


def _clip(
    person: str, own: float, condition: str, rng: np.random.Generator
) -> tuple[Record, ClipFeatures]:
    times = np.arange(RATE_HZ * SECONDS) / RATE_HZ
    rise = 1 / (1 + np.exp(-4 * (times - ONSET_S - 0.8)))
    gain = 0.45 if condition == "joke" else 0.05
    rest = 0.62 if person == "P04" else 0.12
    smile = np.clip(rest + own + gain * rise + rng.normal(0, 0.03, len(times)), 0, 1)
    valid = rng.random(len(times)) > 0.03
    if (person, condition) == ("P09", "news"):
        valid[int(2.4 * RATE_HZ) :] = False
    values = np.stack([smile - 0.2, 0.8 * smile, smile], axis=1).astype(np.float32)
    values[~valid] = np.nan
    nothing = np.where(valid, 0.9, np.nan).astype(np.float32)
    boxes = np.where(valid[:, None], np.float32([100, 60, 220, 210]), np.nan).astype(np.float32)
    points = np.where(valid[:, None, None], np.ones((5, 2), np.float32), np.nan)
    arrays = ClipFeatures(
        values, times, valid, nothing, boxes, points.astype(np.float32), valid.astype(np.int16)
    )
    name = f"{person}_{condition}"
    return Record(name, "ok", len(times), n_valid=int(valid.sum()), fps=RATE_HZ), arrays


if __name__ == "__main__":
    make(Path(sys.argv[1]))
