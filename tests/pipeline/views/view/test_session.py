"""Marks, undo and numbers: what a page asks for, without a browser."""

import csv
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import facer
from facer.pipeline.views.report.folder import page_name
from facer.pipeline.views.view.config import ViewConfig
from facer.pipeline.views.view.lanes import clip_lanes, person_lanes
from facer.pipeline.views.view.pages import clip_data, clip_page, index_data, index_page
from facer.pipeline.views.view.session import ViewSession
from facer.stages.summary.config import SummaryConfig
from facer.storage import FeatureStore, Provenance, Record
from facer.storage.errors import FacerError
from facer.storage.schema import AU_NAMES
from facer.storage.study.marks import read_marks

A, B, C = (page_name(clip_id) for clip_id in ("P1_calm", "P1_joke", "P2_calm"))
DESIGN = "{participant}_{condition}"


@pytest.fixture
def store(make_store, clip_of):
    clips = {"P1_calm": clip_of(60, ((10, 20),)), "P1_joke": clip_of(40, seed=1),
             "P2_calm": clip_of(30, ((0, 28),), seed=2), "P2_lost": "broken"}  # fmt: skip
    return make_store(clips)


@pytest.fixture
def opened(store):
    """``opened(**settings)``: a session on the store."""

    def make(windows=None, baseline=None, **settings):
        settings = {"who": "anna", "design": DESIGN, **settings}
        return ViewSession(
            ViewConfig(store.path, **settings), SummaryConfig(windows or {}, baseline)
        )

    return make


def rows(path, separator=","):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def test_a_mark_is_on_the_disk_and_summarise_reads_it(store, opened, tmp_path):
    session = opened()
    marks = session.config.marks_file
    assert marks == tmp_path / "marks.csv"
    found = session.mark({"name": A, "first": 3, "last": 7, "mark": "hand over\n face"})
    (row,) = rows(marks)
    assert (row["clip_id"], row["mark"], row["who"]) == ("P1_calm", "hand over face", "anna")
    assert found["marks"] == [row]
    clip, before = store.read("P1_calm"), facer.summarise(store, DESIGN, grid=None).clips
    after = facer.summarise(store, DESIGN, marks=marks)
    kept = np.ones(60, bool)
    kept[3:8] = False
    weights = np.diff(clip.timestamp_s, append=2 * clip.timestamp_s[-1] - clip.timestamp_s[-2])
    marked = after.clips.set_index("clip_id")["marked_s"]["P1_calm"]
    assert marked == pytest.approx(weights[3:8].sum(), rel=0.05)
    frames = after.summary.set_index(["clip_id", "feature"])["n_frames"]["P1_calm", "au12"]
    assert frames == (clip.valid & kept).sum()
    assert len(before) == len(after.clips)


def test_marks_go_where_they_were_to_go_from_any_folder(opened, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    session = opened(marks=Path("mine.csv"))
    monkeypatch.chdir("elsewhere")
    session.mark({"name": A, "first": 3, "last": 7, "mark": "hand"})
    assert len(rows(tmp_path / "mine.csv")) == 1
    assert not list(Path().iterdir())


@pytest.mark.parametrize(("first", "last"), [(0, 0), (59, 59), (0, 59), (11, 12)])
def test_a_mark_covers_exactly_its_frames(store, opened, first, last):
    from facer.storage.study.marks import unmarked

    session = opened()
    session.mark({"name": A, "first": first, "last": last, "mark": "x"})
    kept = unmarked(session.notes.marked()["P1_calm"], store.read("P1_calm").timestamp_s, ())
    expected = np.ones(60, bool)
    expected[first : last + 1] = False
    assert (kept == expected).all()


def test_undo_takes_back_mark_removal_and_click_in_turn(opened):
    session = opened()
    session.mark({"name": A, "first": 3, "last": 7, "mark": "x"})
    session.mark({"name": B, "first": None, "mark": "poor picture"})
    session.point({"name": A, "time_s": 1.0, "x_px": 20, "y_px": 30})
    (row,) = session.notes_of(A)["marks"]
    session.remove({"name": A, "row": row})
    assert session.notes_of(A)["marks"] == []
    assert session.undo({"name": A})["marks"] == [row]
    assert session.undo({"name": A})["points"] == []
    assert session.undo({"name": B})["out"] == ""
    assert session.undo({"name": A})["undoable"] == 0
    assert rows(session.config.marks_file) == []
    with pytest.raises(FacerError, match="nothing to undo"):
        session.undo({"name": A})


def test_pages_name_the_files_that_are_written(opened):
    session = opened()
    assert f"<code>{session.config.marks_file}</code>" in index_page(session)
    page = clip_page(session, A)
    assert f"<code>{session.config.marks_file}</code>" in page
    assert f"--faces {session.config.faces_file}</code>" in page


def test_a_clip_left_out_is_no_longer_next(opened):
    session = opened()
    worst = session.order[1:]  # the first one failed
    assert worst == ["P2_calm", "P1_calm", "P1_joke"]
    assert f'id="after" href="{A}.html"' in clip_page(session, C)
    session.mark({"name": A, "first": None, "mark": "poor picture"})
    assert f'id="after" href="{B}.html"' in clip_page(session, C)
    assert session.notes_of(A)["out"] == "poor picture"
    assert clip_lanes(session, A, {"feature": "au12"})["ours"]["status"] == "excluded"


def test_what_others_write_into_the_file_is_kept(store, opened):
    session = opened()
    file = session.config.marks_file
    file.write_text('clip_id;start_s;stop_s;mark;colour\nP1_joke.mp4;0,200;0,500;"=odd";red\n')
    assert [row["mark"] for row in session.notes_of(B)["marks"]] == ["=odd"]
    session.mark({"name": A, "first": 3, "last": 7, "mark": "=1+1"})
    first, second = rows(file, ";")
    assert (first["colour"], first["start_s"], first["mark"]) == ("red", "0,200", "'=odd")
    assert (second["colour"], second["mark"]) == ("", "'=1+1")
    (german,) = read_marks(file, store.clip_ids, store.feature_names)["P1_joke"]
    assert (german.start_s, german.stop_s) == (0.2, 0.5)
    session.mark({"name": B, "first": 3, "last": 7, "mark": "also"})
    assert [row["mark"] for row in session.notes_of(B)["marks"]] == ["=odd", "also"]
    session.undo({"name": B})
    assert session.undo({"name": A})["marks"] == []
    (row,) = session.notes_of(B)["marks"]
    assert session.remove({"name": B, "row": row})["marks"] == []


def test_columns_that_summarise_knows_by_another_spelling_are_no_new_ones(store, opened):
    file = opened().config.marks_file
    file.write_text("Clip ID,start s,Stop-S,Mark\nP1_joke,0.2,0.5,odd\n")
    session = opened()
    session.mark({"name": A, "first": 3, "last": 7, "mark": "x"})
    assert [row["start_s"] for row in rows(file)] != ["0.2", ""]
    clips = facer.summarise(store, marks=file).clips.set_index("clip_id")
    assert clips.status["P1_calm"] == "ok"
    assert clips.marked_s["P1_calm"] == pytest.approx(0.2, abs=0.05)
    file.write_text("Clip ID,clip_id,start_s,stop_s\na,b,1,2\n")
    with pytest.raises(FacerError, match="column 'clip_id' twice"):
        session.mark({"name": A, "first": 3, "last": 7, "mark": "x"})


def test_what_is_no_text_of_a_table_leaves_it_readable(opened):
    session = opened(who="J\udcfcrgen")
    found = session.mark({"name": A, "first": 3, "last": 7, "mark": "a\0b\ud800"})
    assert [(row["mark"], row["who"]) for row in found["marks"]] == [("a b?", "J?rgen")]


@pytest.mark.parametrize("clip_id", ["P1\r/joke", "a\rb", "new\nline", 'a,"b'])
def test_a_clip_of_any_name_is_marked(make_store, clip_of, clip_id):
    store = make_store({clip_id: clip_of(20), "other": clip_of(20)})
    session = ViewSession(ViewConfig(store.path, who=""), SummaryConfig())
    session.mark({"name": page_name(clip_id), "first": 3, "last": 7, "mark": "x"})
    clips = facer.summarise(store, marks=session.config.marks_file).clips
    assert (clips.marked_s > 0).tolist() == (clips.clip_id == clip_id).tolist()


def test_a_linked_file_stays_a_link_and_keeps_its_permissions(opened, tmp_path):
    shared, link = tmp_path / "lab" / "shared.csv", tmp_path / "marks.csv"
    shared.parent.mkdir()
    link.symlink_to(shared)
    session = opened()
    session.mark({"name": A, "first": 3, "last": 7, "mark": "x"})
    shared.chmod(0o660)
    session.mark({"name": A, "first": 9, "last": 9, "mark": "y"})
    assert link.is_symlink()
    assert [row["mark"] for row in rows(shared)] == ["x", "y"]
    assert stat.S_IMODE(shared.stat().st_mode) == 0o660
    assert (shared.parent / ".shared.csv.lock").exists()


def test_the_lock_of_another_user_is_waited_for(opened, tmp_path, monkeypatch):
    session = opened()
    session.mark({"name": A, "first": 3, "last": 7, "mark": "x"})
    really = os.open

    def open_(path, flags, *rest, **more):
        if str(path).endswith(".lock") and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return really(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_)
    assert len(session.mark({"name": A, "first": 3, "last": 7, "mark": "y"})["marks"]) == 2


def test_marks_and_faces_are_two_files(opened, tmp_path):
    with pytest.raises(FacerError, match="is the file of the marks"):
        opened(marks=tmp_path / "a.csv", faces=tmp_path / "x/../a.csv")


_ADD_ROWS = """
import sys
from pathlib import Path
from facer.storage.study.journal import Journal
journal = Journal(Path(sys.argv[1]), ["clip_id", "note"])
for i in range(30):
    journal.add({"clip_id": "c", "note": f"{sys.argv[2]}{i}"})
"""


def test_views_that_write_the_same_file_at_once_lose_no_row(tmp_path):
    path = tmp_path / "new" / "marks.csv"
    views = [subprocess.Popen([sys.executable, "-c", _ADD_ROWS, path, who]) for who in "abc"]
    assert [view.wait(timeout=60) for view in views] == [0, 0, 0]
    found = [row["note"] for row in rows(path)]
    assert sorted(found) == sorted(f"{who}{i}" for who in "abc" for i in range(30))


def test_a_row_that_somebody_took_away_cannot_be_undone(opened):
    session = opened()
    session.mark({"name": A, "first": 3, "last": 7, "mark": "x"})
    session.config.marks_file.unlink()
    assert session.notes_of(A)["marks"] == []
    with pytest.raises(FacerError, match="no longer"):
        session.undo({"name": A})
    assert session.notes_of(A)["undoable"] == 0


def test_a_file_that_is_no_table_of_marks_is_told_before_it_is_touched(opened):
    file = opened().config.marks_file
    file.write_text("a,b\n1,2\n")
    with pytest.raises(FacerError, match="expected clip_id"):
        opened()
    assert file.read_text() == "a,b\n1,2\n"


def test_a_full_disk_leaves_the_marks_as_they_were(opened, full_disk):
    session = opened()
    session.mark({"name": A, "first": 3, "last": 7, "mark": "x"})
    before = session.config.marks_file.read_bytes()
    with full_disk(1), pytest.raises(FacerError, match="No space"):
        session.mark({"name": B, "first": 3, "last": 7, "mark": "y"})
    with full_disk(1), pytest.raises(FacerError, match="No space"):
        session.undo({"name": A})
    assert session.config.marks_file.read_bytes() == before
    assert session.notes_of(B)["undoable"] == 1
    left = {path.name for path in session.config.marks_file.parent.iterdir()}
    assert {name for name in left if "marks" in name} == {"marks.csv", ".marks.csv.lock"}


def test_a_lane_has_the_numbers_of_summarise(store, opened):
    windows, baseline = {"early": (0.2, 1.0), "late": (1.0, 2.0)}, (0.0, 0.2)
    session = opened(windows, baseline)
    session.mark({"name": A, "first": 30, "last": 33, "mark": "x", "feature": "au12"})
    stats = facer.summarise(
        store, DESIGN, windows=windows, baseline=baseline, marks=session.config.marks_file,
        thresholds={"au12": 0.3},
    ).summary.set_index(["clip_id", "window", "feature"])  # fmt: skip
    lane = clip_lanes(session, A, {"feature": "au12", "threshold": "0.3"})["ours"]
    assert [w["name"] for w in lane["windows"]] == ["early", "late"]
    for window in lane["windows"]:
        row = stats.loc["P1_calm", window["name"], "au12"]
        for name in ("seen_s", "seen_share", "share", "mean", "peak", "episodes", "latency_s"):
            value = float("nan") if window[name] is None else window[name]
            assert value == pytest.approx(row[name], abs=1e-6, nan_ok=True), name
        assert window["flag"] == row["baseline_flag"]
    changed = clip_lanes(session, A, {"feature": "au12", "windows": "w=0:1", "baseline": ""})[
        "ours"
    ]
    assert [(w["name"], w["baseline"]) for w in changed["windows"]] == [("w", None)]
    assert changed["threshold"] == 0.5


@pytest.mark.parametrize(
    "query",
    [{"feature": "au99"}, {}, {"feature": "au12", "threshold": "x"},
     {"feature": "au12", "threshold": "nan"}, {"feature": "au12", "windows": "x"},
     {"feature": "au12", "windows": "a=2:1"}, {"feature": "au12", "baseline": "1"}],
)  # fmt: skip
def test_a_lane_that_cannot_be_is_told(opened, query):
    with pytest.raises(FacerError):
        clip_lanes(opened(), A, query)


def test_the_clips_of_a_person_stand_together(opened):
    session = opened()
    found = person_lanes(session, A, {"feature": "valence"})
    assert [lane["condition"] for lane in found["lanes"]] == ["calm", "joke"]
    assert [lane["here"] for lane in found["lanes"]] == [True, False]
    assert [lane["status"] for lane in person_lanes(session, C, {"feature": "au12"})["lanes"]] == [
        "ok", "failed",
    ]  # fmt: skip
    assert person_lanes(opened(design=None), A, {"feature": "valence"})["lanes"] == []


def test_a_clip_that_was_extracted_again_is_shown_anew(store, opened, clip_of):
    session = opened()
    clip_page(session, A)
    assert session.read("P1_calm")[0].n_frames == 60
    again = FeatureStore.open(store.path)
    again.write_part([(replace(store.record("P1_calm"), n_frames=50, n_valid=50), clip_of(50))])
    clip_page(session, A)
    assert session.read("P1_calm")[0].n_frames == 50
    with pytest.raises(FacerError, match="reload the page"):
        session.mark({"name": A, "first": 3, "last": 7, "frames": 60, "mark": "x"})
    session.mark({"name": A, "first": 3, "last": 7, "frames": 50, "mark": "x"})


def test_a_store_that_is_away_for_a_while_is_told_and_comes_back(store, opened, tmp_path):
    session = opened()
    away = (tmp_path / "s.zarr").rename(tmp_path / "away.zarr")
    for ask in (clip_page, clip_data):
        with pytest.raises(FacerError, match="the store is gone"):
            ask(session, A)
    away.rename(tmp_path / "s.zarr")
    assert "P1_calm" in clip_page(session, A)


def test_a_second_store_is_drawn_beside_the_first(store, opened, tmp_path):
    other = FeatureStore.create(tmp_path / "other.zarr", store.provenance)
    clip = store.read("P1_calm")
    half = replace(clip, features=(clip.features / 2).astype(np.float32))
    other.write_part([(store.record("P1_calm"), half)])
    session = opened(against=other.path)
    found = clip_lanes(session, A, {"feature": "au12"})
    ours, theirs = (found[key]["windows"][0]["mean"] for key in ("ours", "theirs"))
    assert theirs == pytest.approx(ours / 2, abs=1e-5)
    assert clip_lanes(session, B, {"feature": "au12"})["theirs"] is None
    assert '"theirs":{' in clip_data(session, A)
    assert '"theirs":{' not in clip_data(session, B)


def test_a_second_store_of_other_clips_is_refused(opened, make_store, clip_of, tmp_path):
    other = FeatureStore.create(tmp_path / "o.zarr", Provenance("d", "d" * 64, "r", "r" * 64),
                                feature_names=AU_NAMES)  # fmt: skip
    other.write_part([(Record("else", "failed", 0, "x"), None)])
    with pytest.raises(FacerError, match="no common clip"):
        opened(against=other.path)


@pytest.mark.parametrize(
    "change",
    [{"x_px": "1"}, {"x_px": float("inf")}, {"y_px": -1}, {"time_s": None}, {"x_px": True}],
)
def test_a_click_outside_the_frame_is_refused(opened, change):
    session = opened()
    with pytest.raises(FacerError):
        session.point({"name": A, "time_s": 1.0, "x_px": 2, "y_px": 3, **change})
    assert not session.config.faces_file.exists()


def test_a_clip_without_times_and_one_that_is_not_there_are_told(opened):
    session = opened()
    with pytest.raises(FacerError, match="no frames to show"):
        clip_page(session, page_name("P2_lost"))
    with pytest.raises(FacerError, match="no such clip"):
        clip_data(session, "../../x")


def test_a_store_of_sound_is_viewed(tmp_path, clip_of):
    clip = clip_of(20)
    silent = replace(clip, valid=np.zeros(20, bool), features=np.full_like(clip.features, np.nan))
    made = Provenance("", "", "logmel", "", settings={"modality": "audio", "rate_hz": 16000})
    store = FeatureStore.create(tmp_path / "sound.zarr", made)
    store.write_part([(Record("loud", "ok", 20, fps=25.0, n_valid=20), clip),
                      (Record("still", "no_sound", 20, fps=25.0), silent)])  # fmt: skip
    session = ViewSession(ViewConfig(store.path, who=""), SummaryConfig())
    page, data = index_page(session), index_data(session)
    assert "<dt>without sound</dt><dd>1</dd>" in page
    assert '<option value="ok">with sound</option>' in page
    assert '"status":[1,0]' in data
    assert '"sound":true' in data
    page, data = (made(session, page_name("loud")) for made in (clip_page, clip_data))
    assert '"counted":"sound","measured":"sound"' in data  # no "faces 0"
    assert "track" not in page
