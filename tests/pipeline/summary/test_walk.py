"""A lab's walk: a folder of 25 videos, one of them broken, to its tables in two commands."""

from __future__ import annotations

import csv
import math
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from facer.stages.summary.units import units
from facer.storage import FeatureStore
from tests.support import script, told

WINDOW = (0.1, 0.7)
_VARIABLE_MS = (0, 40, 60, 150, 190, 210, 250, 400, 440, 500, 540, 640)


@pytest.fixture
def videos(make_video, face_frames, tmp_path):
    """P00 to P11 in two conditions at 25 Hz, one of them at 5 Hz, one of a variable rate; a cut."""
    frames = face_frames(12)
    usual = make_video("videos/P00_joke.mp4", frames, fps=25.0)
    for person in range(12):
        for condition in ("joke", "news"):
            target = usual.parent / f"P{person:02d}_{condition}.mp4"
            if target != usual:
                shutil.copyfile(usual, target)
    make_video("videos/P01_joke.mp4", frames[:5], fps=5.0)
    write_variable(usual.parent / "P02_joke.mp4", frames)
    (usual.parent / "P12_joke.mp4").write_bytes(usual.read_bytes()[:900])
    return usual.parent


def write_variable(path, frames):
    """A video whose frames are shown at uneven times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time_ms in zip(frames, _VARIABLE_MS, strict=True):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def rows(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plain(clip, values, threshold):
    """Mean, share and seen seconds of a window, frame by frame."""
    times, (start, stop) = clip.timestamp_s.tolist(), WINDOW
    steps = sorted(b - a for a, b in pairwise(times))
    half = len(steps) // 2
    step = steps[half] if len(steps) % 2 else (steps[half - 1] + steps[half]) / 2
    total = mean = above = 0.0
    for i, t in enumerate(times):
        before = t - times[i - 1] if i else step
        after = times[i + 1] - t if i + 1 < len(times) else step
        weight = min((before + after) / 2, 1.5 * step)
        if start <= t < stop and clip.valid[i]:
            total += weight
            mean += weight * float(values[i])
            above += weight * (float(values[i]) > threshold)
    return mean / total, above / total, min(total, stop - start)


def test_a_folder_of_videos_becomes_its_tables_in_two_commands(videos, tmp_path, capsys):
    store, stats = tmp_path / "features.zarr", tmp_path / "stats"
    told(capsys, "extract", videos, "-o", store, "--workers", "1", code=3)
    told(capsys, "summarise", store, "-o", stats, "--design", "{participant}_{condition}",
         "--window", f"after={WINDOW[0]}:{WINDOW[1]}", "--grid", "5", "--min-valid", "0.1",
         code=3)  # fmt: skip
    names = {path.stem for path in videos.iterdir()}
    assert len(names) == 25
    for table in ("clips", "summary", "episodes", "series"):
        assert {row["clip_id"] for row in rows(stats / f"{table}.csv")} == names, table
    assert {row["participant"] for row in rows(stats / "wide.csv")} == {name[:3] for name in names}
    broken = [row for row in rows(stats / "summary.csv") if row["clip_id"] == "P12_joke"]
    assert {(row["status"], row["mean"]) for row in broken} == {("failed", "")}
    assert "P12_joke" in {row["clip_id"] for row in rows(stats / "left_out.csv")}
    opened = FeatureStore.open(store)
    meant = dict(zip(opened.feature_names, units(opened.feature_names, {}), strict=True))
    clips = {name: opened[name] for name in names - {"P12_joke"}}
    assert clips["P01_joke"].timestamp_s.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert clips["P02_joke"].timestamp_s.tolist() == pytest.approx(np.array(_VARIABLE_MS) / 1000)
    compared = 0
    for row in rows(stats / "summary.csv"):
        if row["status"] != "ok" or not row["mean"]:
            continue
        clip, unit = clips[row["clip_id"]], meant[row["feature"]]
        expected = plain(clip, clip[row["feature"]], unit.threshold)
        found = [float(row[name]) for name in ("mean", "share", "seen_s")]
        assert found == pytest.approx(expected, abs=1e-6), row["clip_id"]
        compared += 1
    assert compared > 500


SHIPPED = Path(__file__).parents[3] / "docs" / "study"


def test_the_shipped_summary_is_what_facer_writes(tmp_path, monkeypatch):
    """docs/study.md: the csv beside the lines of R, made by docs/make_study.py."""
    script(SHIPPED.parent / "make_study.py").make(tmp_path)
    found, expected = rows(tmp_path / "summary.csv"), rows(SHIPPED / "summary.csv")
    assert [list(row) for row in found] == [list(row) for row in expected]
    for one, other in zip(found, expected, strict=True):
        for name, value in one.items():
            if value and other[name] and _is_number(value):
                assert float(value) == pytest.approx(float(other[name]), abs=1e-5), name
            else:
                assert value == other[name]


def test_the_lines_of_r_find_what_they_name():
    """``subset(...)`` leaves all participants who were seen; the effect is what was put in."""
    table = rows(SHIPPED / "summary.csv")
    smile = [row for row in table if (row["feature"], row["window"], row["status"]) == (
        "au12", "after", "ok")]  # fmt: skip
    assert len({row["participant"] for row in smile}) == 12
    used = [row for row in smile if row["mean_bc"]]
    by = {c: [float(r["mean_bc"]) for r in used if r["condition"] == c] for c in ("joke", "news")}
    assert np.mean(by["joke"]) - np.mean(by["news"]) > 0.2
    assert {row["baseline_flag"] for row in smile} >= {"", "expressive"}
    assert any(row["status"] == "failed" for row in table)
    assert all(float(row["seen_s"]) > 0 for row in used)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
