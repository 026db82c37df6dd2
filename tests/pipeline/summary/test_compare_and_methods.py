"""Two stores side by side, and the paragraph of a paper."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facer
from facer.pipeline.views.compare_page import compare_page
from facer.storage import ClipFeatures, FeatureStore
from facer.storage.errors import FacerError
from tests.support import told

RATE = np.arange(200) / 25.0
WAVE = 0.5 + 0.3 * np.sin(RATE * 2)


@pytest.fixture
def two(study_store):
    early, late = 0.5 + 0.3 * np.sin((RATE + 0.2) * 2), np.arange(200) >= 150
    a = study_store({"x": (RATE, {"au12": WAVE}), "y": (RATE, {"au12": WAVE}, ~late),
                     "z": None, "only": (RATE, {})}, "a.zarr")  # fmt: skip
    b = study_store({"x": (RATE, {"au12": WAVE + 0.1}), "y": (RATE, {"au12": early}),
                     "z": (RATE, {}), "other": (RATE, {})}, "b.zarr")  # fmt: skip
    return a, b


def test_columns_and_clips_of_two_stores(two):
    found = facer.compare(*two)
    au12 = next(row for row in found.columns if row["feature"] == "au12")
    assert (au12["clips"], au12["frames"]) == (2, 350)
    constant = next(row for row in found.columns if row["feature"] == "au01")
    assert constant["distance"] == pytest.approx(0, abs=1e-7)
    assert np.isnan(constant["correlation"])
    assert [row["clip_id"] for row in found.clips] == ["z", "y", "x"]
    y, x = found.clips[1:]
    assert (y["only_a_s"], y["only_b_s"]) == (0, pytest.approx(2))
    assert (x["both_s"], x["farthest"]) == (pytest.approx(8), "au12")
    assert (found.only_a, found.only_b) == (("only",), ("other",))


@pytest.mark.parametrize(("unit", "offset"), [(1, 1e6), (1e-6, 0), (1, -5000)])
def test_numbers_of_any_size_are_compared(study_store, unit, offset):
    """Seen: a correlation of 1 of columns that are 1234.567 throughout, and wrong or none of
    columns that are large beside how much they vary, or small."""
    curves = [WAVE, WAVE + 0.1 * np.cos(RATE * 9)]
    stores = []
    for curve, name in zip(curves, ("a.zarr", "b.zarr"), strict=True):
        columns = {"au12": offset + unit * curve, "au01": 1234.567}
        stores.append(study_store(dict.fromkeys("xyz", (RATE, columns)), name))
    rows = {row["feature"]: row for row in facer.compare(*stores).columns}
    one, other = (np.float32(offset + unit * curve).astype(np.float64) for curve in curves)
    rho = pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-6)
    assert (rows["au12"]["correlation"], rows["au12"]["correlation_median"]) == (rho, rho)
    assert rows["au12"]["sd_difference"] == pytest.approx((other - one).std(), rel=1e-6)
    assert rows["au12"]["mean_a"] == pytest.approx(one.mean())
    assert np.isnan(rows["au01"]["correlation"])
    assert rows["au01"]["distance"] == 0


def test_a_lag_is_by_how_much_b_comes_later(study_store):
    shifted = 0.5 + 0.3 * np.sin((RATE - 0.2) * 2)
    stores = [study_store({"x": (RATE, {"au12": curve})}, name)
              for name, curve in (("a.zarr", WAVE), ("b.zarr", shifted))]  # fmt: skip
    assert [row["lag_s"] for row in facer.compare(*stores).columns if row["feature"] == "au12"] == [
        pytest.approx(0.2)
    ]
    assert facer.compare(*stores).frames["columns"].shape == (26, 11)


@pytest.mark.parametrize(
    ("curve", "later_s", "lag_s"),
    [(lambda t: t / 10, 0.2, 0), (lambda t: np.sin(t * 2), 1.4, np.nan), (np.sin, 0.96, 0.96)],
)
def test_a_lag_that_the_search_does_not_reach_is_not_known(study_store, curve, later_s, lag_s):
    """Seen: -1 s of curves that only rise, and 1 s of any lag beyond."""
    stores = [study_store({"x": (RATE, {"au12": curve(t)})}, name)
              for name, t in (("a.zarr", RATE), ("b.zarr", RATE - later_s))]  # fmt: skip
    row = next(r for r in facer.compare(*stores).columns if r["feature"] == "au12")
    assert row["lag_s"] == pytest.approx(lag_s, nan_ok=True)


def test_a_cell_without_a_value_is_left_out_of_its_column_alone(study_store):
    holed = WAVE.copy()
    holed[20] = np.nan
    shifted = 0.5 + 0.3 * np.sin((RATE - 0.2) * 2)
    stores = [study_store({"x": (RATE, {"au12": curve})}, name)
              for name, curve in (("a.zarr", holed), ("b.zarr", shifted))]  # fmt: skip
    row = next(row for row in facer.compare(*stores).columns if row["feature"] == "au12")
    assert row["lag_s"] == pytest.approx(0.2)
    known = np.isfinite(holed)
    rho = np.corrcoef(holed[known], shifted[known])[0, 1]
    assert row["correlation_median"] == pytest.approx(rho, abs=1e-5)


def test_frames_join_by_time(study_store):
    a = study_store({"x": (RATE, {"au12": WAVE})}, "a.zarr")
    b = study_store({"x": (RATE[::2], {"au12": WAVE[::2]})}, "b.zarr")
    row = next(r for r in facer.compare(a, b).columns if r["feature"] == "au12")
    assert row["frames"] == 100
    for clip in (facer.compare(a, b).clips[0], facer.compare(b, a).clips[0]):
        assert clip["both_s"] == pytest.approx(8)
        assert clip["distance"] == pytest.approx(0, abs=1e-7)


def test_the_command_writes_a_folder(two, tmp_path, capsys):
    out, _ = told(capsys, "compare", *two, "-o", tmp_path / "apart", "--json")
    assert json.loads(out)["clips"][0]["both_s"] is None
    assert {p.name for p in (tmp_path / "apart").iterdir()} == {
        "columns.csv", "clips.csv", "compare.json", "index.html",
    }  # fmt: skip
    out, _ = told(capsys, "compare", *two)
    assert "clips, the worst first (3):\n  z: failed in A, ok in B\n  y: only A 0.0 s, only" in out


def test_the_page_says_how_many_rows_it_leaves_out(two, tmp_path, monkeypatch):
    monkeypatch.setattr("facer.pipeline.views.compare_page._ROWS", 1)
    found = facer.compare(two[0], two[1], tmp_path / "c")
    page = (tmp_path / "c" / "index.html").read_text()
    assert f"{len(found.clips) - 1} more rows are in the csv" in page


def test_the_page_fits_a_phone_and_shows_what_can_be_seen(two, tmp_path, study_store):
    """Seen: clips that failed in both stores took the places of those with faces to show."""
    a, b = (study_store({"x": (RATE, {}, late < RATE), "z": None}, name)
            for late, name in ((1, "c.zarr"), (2, "d.zarr")))  # fmt: skip
    page = compare_page(facer.compare(a, b), tmp_path, 1)
    assert '<meta name="viewport"' in page
    assert "color-scheme:light dark" in page
    assert "<h3>x</h3>" in page
    assert "<h3>z</h3>" not in page
    assert "<dt>lag_s</dt><dd>how much later b is" in page
    one_failed = compare_page(facer.compare(*two), tmp_path, 9)
    assert "<h3>z</h3>" in one_failed


def test_no_zero_is_less_than_nothing(study_store, capsys):
    """Seen: a difference of -0.000."""
    a, b = (study_store({"x": (RATE, {"au12": WAVE - less})}, name)
            for less, name in ((0, "a.zarr"), (1e-4, "b.zarr")))  # fmt: skip
    out, _ = told(capsys, "compare", a, b)
    row = next(line.split() for line in out.splitlines() if line.startswith("au12"))
    assert row[4:6] == ["0.000", "0.000"]
    assert "<td>-0.000</td>" not in compare_page(facer.compare(a, b), None, 0)


def test_a_clip_that_could_be_several_is_listed_on_its_side(study_store):
    a, b = (study_store(dict.fromkeys(clips.split(), (RATE, {})), name)
            for name, clips in (("a.zarr", "a z"), ("b.zarr", "z p/a q/a")))  # fmt: skip
    found = facer.compare(a, b)
    assert ([row["clip_id"] for row in found.clips], found.only_a, found.only_b) == (
        ["z"], ("a",), ("p/a", "q/a"),
    )  # fmt: skip


def test_stores_without_a_common_clip_are_refused(study_store):
    stores = [study_store({name: (RATE, {})}, f"{name}.zarr") for name in "ab"]
    with pytest.raises(FacerError, match="found no common clip"):
        facer.compare(*stores)


def test_the_paragraph_says_what_is_stored(two, tmp_path, capsys):
    told(capsys, "summarise", two[0], "-o", tmp_path / "s", "--window", "after=1:4",
         "--baseline", "0:1", "--min-valid", ".705", "--threshold", "au12=.4", code=3)  # fmt: skip
    text, bibtex = facer.methods(two[0], tmp_path / "s")
    for said in (
        "Of 4 clips, 1 could not be read", "after (1 to 4 s)", "less than 70.5%",
        "median from 0 to 1 s", "0.4 for au12", "2000 resamples", "SHA-256 dddddddddddd",
    ):  # fmt: skip
        assert said in text
    citation = (Path(facer.__file__).parent / "CITATION.cff").read_text()
    for word in ("Kollias", "Psaroudakis", "Arsenos", "Theofilou", "FaceRNET"):
        assert word in citation
        assert word in bibtex
    with pytest.raises(FacerError, match="found no summary there"):
        facer.methods(two[0], tmp_path)
    assert set(json.loads(told(capsys, "methods", two[0], "--json")[0])) == {"text", "bibtex"}


def test_the_paragraph_says_who_was_drawn_and_what_was_left_out(study_store, tmp_path):
    """Seen: participants of a design that names none, and nothing of marks and excluded clips."""
    store = study_store({"P1_a": (RATE, {}), "P2_a": (RATE, {}), "P3_a": (RATE, {})})
    (tmp_path / "m.csv").write_text("clip_id,start_s,stop_s,mark\nP1_a,0,1,hand\nP2_a,,,hand\n")
    facer.summarise(store, output=tmp_path / "s", marks=tmp_path / "m.csv",
                    baseline="0:2", scale="logit")  # fmt: skip
    text, _ = facer.methods(store, tmp_path / "s")
    for said in (
        "intervals over clips", "are of 3 clips, of which 1 were excluded",
        "marked by eye was left out", "difference to it, for probabilities of the",
    ):  # fmt: skip
        assert said in text
    facer.summarise(store, "{participant}_{condition}", output=tmp_path / "s")
    text, _ = facer.methods(store, tmp_path / "s")
    assert "intervals over participants" in text
    assert "marked" not in text


def test_the_paragraph_says_what_windows_count_from(study_store, tmp_path):
    store = study_store({"P1_a": (RATE, {}), "P2_a": (RATE, {}), "P3_a": (RATE, {})})
    design, events = tmp_path / "d.csv", tmp_path / "e.csv"
    design.write_text("clip_id,onset_s\nP1_a,1\nP2_a,\nP3_a,1\n")
    left_out = tmp_path / "l.csv"
    left_out.write_text("clip_id,onset_s,exclude\nP1_a,1,\nP2_a,,1\nP3_a,1,\nP4_a,,\n")
    events.write_text("clip_id,onset_s,trial_type\nP3_a,0.5,x\nP3_a,1.5,x\n")
    for given, said in (
        ({}, "after (0 to 1 s), in seconds from the beginning of the video, every"),
        ({"design": design}, "from the onset of the stimulus (2 clips) or the beginning of the "),
        ({"design": left_out}, "in seconds from the onset of the stimulus, every"),
        ({"design": design, "events": events}, "from each event (1 clips) or the onset of the "),
    ):
        facer.summarise(store, output=tmp_path / "s", windows={"after": (0, 1)}, **given)
        assert said in facer.methods(store, tmp_path / "s")[0]


def test_a_network_of_a_card_is_not_said_to_be_ours(study_store):
    cards = {"rec emonet sha256": "e" * 64, "rec emonet card_sha256": "c" * 64}
    text, bibtex = facer.methods(study_store({"x": (RATE, {})}, "card.zarr", **cards))
    assert "the network emonet (SHA-256 eeeeeeeeeeee), its crops and outputs as its model" in text
    for absent in ("Kollias", "arcface-112", "e" * 64, "c" * 64):
        assert absent not in text + bibtex
    both = study_store({"x": (RATE, {})}, "both.zarr", **cards, **{"rec rec sha256": "f" * 64})
    text, bibtex = facer.methods(both)
    assert "extractor rec (SHA-256 ffffffffffff), a network after Kollias" in text
    assert ("the network emonet" in text, "Kollias" in bibtex) == (True, True)


def test_tables_of_another_store_do_not_stand_in_its_paragraph(two, study_store, tmp_path):
    facer.summarise(two[0], output=tmp_path / "s")
    late = np.arange(200) >= 150
    clips: Any = {"x": (RATE, {}), "y": (RATE, {}, ~late), "z": None, "only": (RATE, {})}
    grown = study_store({**clips, "w": (RATE, {})}, "grown.zarr")
    strided = study_store(clips, "strided.zarr", stride=2)
    for other in (two[1], grown, strided):
        with pytest.raises(FacerError, match="found tables of other clips or features"):
            facer.methods(other, tmp_path / "s")


@pytest.mark.parametrize(
    "changed",
    [{"settings": 5}, {"store": {"contents_sha256": 5}},
     {"settings": {"windows": {"w": [1, 2, 3]}}}, {"settings": {"baseline": "x"}},
     {"settings": {"min_valid": "x"}}, {"thresholds": {"au12": "x"}}, {"thresholds": 1}],
)  # fmt: skip
def test_settings_of_a_stranger_are_told_in_a_line(two, tmp_path, changed):
    facer.summarise(two[0], output=tmp_path / "s")
    path = tmp_path / "s" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(FacerError, match=r"settings\.json: .*not a config that facer summarise"):
        facer.methods(two[0], tmp_path / "s")


def test_an_import_names_its_tool(study_store):
    store = study_store({"x": (RATE, {})}, imported="openface-2", au_scale="intensity 0 to 5")
    text, _ = facer.methods(store)
    assert "measured with openface-2" in text
    assert "intensity 0 to 5" in text
    units = facer.summarise(store).columns
    au12 = units[(units.table == "feature") & (units.column == "au12")].iloc[0]
    assert (au12.unit, au12.high, au12.threshold) == ("intensity", 5, 1)


@pytest.mark.parametrize("tool", ["openface", "pyfeat", "facereader", "imotions"])
def test_an_import_of_another_tool_is_compared_by_clip_and_column(study_store, tmp_path, tool):
    """The other tool saw the same smile, half a second shorter, and calls its columns its own."""
    store = study_store({"P1_joke": (RATE, {"au12": WAVE, "happiness": WAVE})}, "a.zarr")
    logs, end = tmp_path / "logs", 188
    logs.mkdir()
    write = {"openface": _openface, "pyfeat": _pyfeat, "facereader": _facereader,
             "imotions": _imotions}[tool]  # fmt: skip
    write(logs, end)
    facer.import_(tool, logs, tmp_path / "b.zarr", fps=25 if tool == "pyfeat" else None)
    found = facer.compare(store, tmp_path / "b.zarr")
    assert found.settings["features"] == [
        name for name in ("happiness", "au12") if tool != "openface" or name == "au12"
    ]
    au12 = next(row for row in found.columns if row["feature"] == "au12")
    assert (au12["frames"], au12["correlation"]) == (end, pytest.approx(1, abs=1e-4))
    scale = 5 if tool == "openface" else 1
    assert au12["mean_b"] == pytest.approx(scale * WAVE[:end].mean(), abs=1e-3)
    assert found.clips[0]["only_a_s"] == pytest.approx(0.48)


def _openface(folder, end):
    rows = [f"{i + 1},{t:.3f},0.9,{int(i < end)},{5 * w:.4f}"
            for i, (t, w) in enumerate(zip(RATE, WAVE, strict=True))]  # fmt: skip
    text = "\n".join(["frame,timestamp,confidence,success,AU12_r", *rows])
    (folder / "P1_joke.csv").write_text(text)


def _pyfeat(folder, end):
    rows = [f"1,2,10,20,{0.9 if i < end else ''},{w:.4f},{w:.4f},v/P1_joke.mp4,{i}"
            for i, w in enumerate(WAVE)]  # fmt: skip
    head = "FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,AU12,happiness,input,frame"
    (folder / "fex.csv").write_text("\n".join([head, *rows]))


def _facereader(folder, end):
    rows = [
        f"00:00:{t:06.3f}\t" + (f"{w:.4f}\t{w:.4f}" if i < end else "FIND_FAILED\tFIND_FAILED")
        for i, (t, w) in enumerate(zip(RATE, WAVE, strict=True))
    ]
    head = "Video Time\tHappy\tAction Unit 12 - Lip Corner Puller"
    (folder / "P1_joke_detailed.txt").write_text("\n".join(["Face Model:\tGeneral", head, *rows]))


def _imotions(folder, end):
    rows = [f"{1000 * t:.1f},AFFDEX,{i},{100 * w if i < end else ''},{100 * w if i < end else ''}"
            for i, (t, w) in enumerate(zip(RATE, WAVE, strict=True))]  # fmt: skip
    head = "Timestamp,EventSource,SampleNumber,Joy,Smile"
    (folder / "P1_joke.csv").write_text("\n".join(["#Version,10", head, *rows]))


def test_the_page_shows_faces_that_only_one_saw(tmp_path, make_video, face_frames, capsys):
    """The same clip twice; b is told that it saw no face from its 7th frame on."""
    make_video("videos/sub/<one>.mp4", face_frames(12))
    videos = tmp_path / "videos"
    a = facer.extract(videos, tmp_path / "a.zarr", workers=1)
    record, clip = a.record("sub/<one>"), a.read("sub/<one>")
    assert clip.valid.all()
    hidden = np.arange(12) >= 6
    arrays = {name: values.copy() for name, values in vars(clip).items() if values is not None}
    arrays["valid"][hidden] = False
    for name in ("features", "det_score", "bbox_px", "keypoints_px", "quality"):
        arrays[name][hidden] = np.nan
    b = FeatureStore.create(tmp_path / "b.zarr", a.provenance, weak_features=a.weak_features)
    b.write_part([(replace(record, n_valid=6), ClipFeatures(**arrays))])
    for n, (one, other, name) in enumerate(((a, b, "a"), (b, a, "b"))):
        out = tmp_path / f"apart-{n}"
        told(capsys, "compare", one.path, other.path, "-o", out, "--videos", videos)
        page = (out / "index.html").read_text()
        assert f"Only {name} saw a face in 6 frame(s)." in page
        assert page.count("data:image/jpeg;base64,") == 6
        assert "sub/&lt;one&gt;" in page
        assert "<one>" not in page
    with pytest.raises(FacerError, match="videos: expected output beside it"):
        facer.compare(a, b, videos=videos)
    nowhere = facer.compare(a, b, tmp_path / "no", videos=tmp_path)
    assert nowhere.clips[0]["only_a_s"] > 0
    assert "found no video" in (tmp_path / "no" / "index.html").read_text()
