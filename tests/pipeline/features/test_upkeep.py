"""What a nightly job asks: is the store well, why did a clip fail, and may its parts be merged."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import run as run_process

import numpy as np
import pytest

import facer
from facer.pipeline.features.guarded.seen import libav_view
from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record
from facer.storage.errors import FacerError
from tests.support import told


@pytest.fixture
def store(tmp_path):
    """Four parts of a clip each; two of the clips failed."""
    made = FeatureStore.create(tmp_path / "s.zarr", Provenance("d", "0" * 64, "r", "1" * 64))
    for name in ("a", "b"):
        arrays = ClipFeatures(
            np.zeros((3, len(FEATURE_NAMES)), np.float32), np.arange(3) / 25, np.ones(3, bool),
            np.ones(3, np.float32), np.ones((3, 4), np.float32), np.ones((3, 5, 2), np.float32),
            np.ones(3, np.int16),
        )  # fmt: skip
        made.write_part(
            [(Record(name, "ok", 3, n_valid=3, fps=25.0, source=f"{name}.mp4"), arrays)]
        )
    for name in ("cut", "lost"):
        made.write_part([(Record(name, "failed", 0, "no moov", source=f"{name}.mp4"), None)])
    return made


@pytest.mark.parametrize(
    ("most", "healthy"), [("2", True), ("1", False), ("50%", True), ("49.9%", False), ("0", False)]
)
def test_a_store_with_more_failures_than_allowed_is_not_healthy(store, capsys, most, healthy):
    out, _ = told(capsys, "health", store.path, "--max-failed", most, "--json", code=not healthy)
    found = json.loads(out)
    assert (found["healthy"], found["clips"], found["failed"]) == (healthy, 4, 2)
    assert facer.health(store.path, max_failed=most).healthy == healthy
    if most.isdecimal():  # as its documentation says; it was refused as no text
        assert facer.health(store.path, max_failed=int(most)).healthy == healthy
    assert bool(found["problems"]) != healthy


def test_a_store_to_which_nothing_was_added_is_told(store, capsys, monkeypatch):
    told(capsys, "health", store.path, "--max-age", "0.5")
    for hours, message in ((30, "30.0 hours ago, expected at most 26"), (-9, "hours from now")):
        day = datetime.now(UTC) - timedelta(hours=hours)
        monkeypatch.setattr(
            "facer.pipeline.features.inspect.health.written_at", lambda _, day=day: day
        )
        out, _ = told(capsys, "health", store.path, "--max-age", "26", code=1)
        assert "not healthy" in out
        assert message in out
    assert facer.health(store).healthy  # nobody asked


def test_an_empty_and_a_damaged_store_are_told(store, tmp_path, capsys):
    empty = FeatureStore.create(tmp_path / "e.zarr", store.provenance)
    assert facer.health(empty, max_age=1).problems == ("it has no clip yet",)
    assert facer.health(empty, max_failed="5%").healthy
    part = store.record("cut").part
    store.objects.put(f"parts/{part}/zarr.json", b"{}")
    out, _ = told(capsys, "health", store.path, code=1)
    assert f"parts/{part}: broken part" in out
    out, _ = told(capsys, "health", tmp_path / "no.zarr", "--json", code=1)
    assert "found nothing there" in json.loads(out)["error"]
    _, err = told(capsys, "health", store.path, "--max-failed", "5 %", code=2)
    assert "--max-failed: found '5 %', expected a number of clips, or a share such as 5%" in err


def test_health_does_without_torch(store):
    code = (
        "import sys, facer; facer.health(sys.argv[1]); facer.compact(sys.argv[1]); "
        "facer.status(sys.argv[1]); sys.exit('torch' in sys.modules)"
    )
    run_process([sys.executable, "-c", code, store.path], check=True)


def test_compact_says_what_it_did(store, capsys):
    out, _ = told(capsys, "compact", store.path)
    assert out == f"{store.path}: 4 clips in 1 part, of 4; 0 earlier records dropped\n"
    out, _ = told(capsys, "compact", store.path, "--json")
    assert json.loads(out)["parts_before"] == 1
    told(capsys, "verify", store.path)
    told(capsys, "compact", store.path, "--part-mb", "0.1", code=2)


@pytest.fixture
def videos(tmp_path, make_video, face_frames):
    """A whole video, one whose end is missing, and one that is no video."""
    whole = make_video("videos/a.mp4", face_frames(12))
    (whole.parent / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (whole.parent / "page.mp4").write_text("<!doctype html>")
    return whole.parent


def test_libav_says_container_streams_and_what_it_complains_of(videos):
    whole, cut, page = (libav_view(videos / f"{n}.mp4", lambda: None) for n in ("a", "cut", "page"))
    assert "mp4" in whole["container"]["format"]
    stream = whole["streams"][whole["read"]]
    assert (stream["type"], stream["width_px"] > 0, whole["frames"]) == ("video", True, 12)
    assert whole["all_frames"]
    assert (whole["error"], whole["log"]) == ("", [])
    assert "moov atom not found" in "".join(cut["log"])
    assert "Invalid data found" in cut["error"]
    assert page["begins_with"] == "<!doctype html>"
    assert (page["container"], page["streams"]) == (None, [])


def test_status_of_a_clip_says_what_libav_sees(store, videos, capsys):
    out, _ = told(capsys, "status", store.path, "cut", "--videos", videos)
    assert "cut: failed: no moov" in out
    assert "moov atom not found" in out
    found = json.loads(told(capsys, "status", store.path, "a", "--videos", videos, "--json")[0])
    assert (found["status"], found["libav"]["frames"]) == ("ok", 12)
    assert facer.status(store.path, "a").seen is None
    assert "found no video 'lost.mp4'" in facer.status(store, "lost", videos=videos).note
    with pytest.raises(FacerError, match="found no clip 'q'"):
        facer.status(store, "q")
    told(capsys, "status", store.path, "--videos", videos, code=2)


@pytest.mark.parametrize("source", ["../s.zarr/zarr.json", "/etc/hosts"])
def test_a_source_that_leads_out_of_the_folder_is_not_opened(store, videos, source):
    store.write_part([(Record("x", "failed", 0, "no", source=source), None)])
    for place in (Path(videos), "memory://videos"):
        assert "lies outside" in facer.status(store, "x", videos=place).note


def test_the_report_has_a_page_of_a_failed_clip(store, videos, tmp_path):
    (videos / "b.mp4").write_bytes((videos / "a.mp4").read_bytes())
    store.write_part([(Record("<p>", "failed", 0, "no <moov>", source="cut.mp4"), None)])
    facer.report(store, tmp_path / "look", videos=videos, clips="worst:1")
    pages = {p.read_text() for p in (tmp_path / "look" / "clips").glob("*.html")}
    page = next(text for text in pages if "no &lt;moov&gt;" in text)
    assert "moov atom not found" in page
    assert "<p>" not in page.split("</header>")[0].split("<h1>")[1]
    assert any("found no video" in text for text in pages)  # lost.mp4
