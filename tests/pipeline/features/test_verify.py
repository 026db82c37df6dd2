"""facer verify, as a user sees it: what is told, what is dropped, what comes again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import facer
from facer.pipeline.features.config import VerifyConfig
from facer.pipeline.features.inspect.status import store_status
from facer.pipeline.features.inspect.verify import verify
from facer.pipeline.runtime.progress import PlainProgress
from facer.storage import ClipFeatures, FeatureStore, Provenance, Record
from facer.storage.errors import FacerError
from tests.support import outcome, some


def entry(clip_id, frames=4, **values):
    nan = np.full(frames, np.nan, np.float32)
    clip = ClipFeatures(
        np.zeros((frames, 26), np.float32), np.arange(frames) / 25, np.ones(frames, np.bool_), nan,
        np.zeros((frames, 4), np.float32), np.zeros((frames, 5, 2), np.float32),
        np.ones(frames, np.int16),
    )  # fmt: skip
    return Record(clip_id, "ok", frames, n_valid=frames, source=f"{clip_id}.mp4", **values), clip


@pytest.fixture
def store(tmp_path):
    """Two parts; the second has b again and c, whose chunk is damaged."""
    made = FeatureStore.create(tmp_path / "s.zarr", Provenance("d", "", "r", ""))
    made.write_part([entry("a"), entry("b")])
    part = made.write_part([entry("b", 5), entry("c", source_size=99, source_sha256="0")])
    chunk = tmp_path / "s.zarr" / "parts" / part / "features/c/0/0"
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    return made


def test_it_tells_and_repairs(store, capsys):
    code, out, _ = outcome(capsys, "verify", store.path)
    assert code == 1
    assert "whole    1 clips" in out
    assert "damaged clips (2):\n  b\n  c\n" in out
    assert "features/c/0/0: broken part: this chunk is damaged" in out
    assert set(store.parts) == set(FeatureStore.open(store.path).parts)  # nothing was dropped
    code, out, _ = outcome(capsys, "verify", store.path, "--repair", "--json")
    found = json.loads(out)
    assert code == 1
    assert found["clips"] == {"a": "whole", "b": "damaged", "c": "damaged"}
    assert len(found["dropped"]) == 1
    assert (found["to_extract_again"], found["back_to_earlier_record"]) == (["c"], ["b"])
    code, out, _ = outcome(capsys, "verify", store.path, "--json", "--jobs", 2)
    assert code == 0
    assert json.loads(out)["clips"] == {"a": "whole", "b": "whole"}
    assert FeatureStore.open(store.path).record("b").n_frames == 4


def test_a_damaged_record_leaves_the_other_parts_and_is_said(store, capsys):
    path = Path(store.path) / "parts" / store.record("c").part / "zarr.json"
    path.write_text(path.read_text().replace('"stop":9', '"stop":8'))
    code, out, err = outcome(capsys, "status", store.path)
    assert code == 0
    assert "2 clips, 8 frames" in out
    assert "damaged parts (1):" in out
    assert err.startswith("facer: warning:")
    assert len(err.splitlines()) == 1
    assert "chunks and videos were not looked at; look: facer verify" in out
    assert len(store_status(FeatureStore.open(store.path)).to_json()["damaged_parts"]) == 1
    assert verify(VerifyConfig(store.path, 1)).to_json()["clips"]["c"] == "damaged"


def test_names_are_printed_as_they_are_and_nothing_more(tmp_path, capsys):
    store = FeatureStore.create(tmp_path / "s.zarr", Provenance("d\x1b[1m", "", "r", ""))
    bad = "\x1b[31mred\nwhole    9 clips"
    store.write_part([(Record(bad, "failed", 0, "why\nfacer: fine\x07"), None), entry("a\u202e")])
    for command in ("status", "verify"):
        _, out, err = outcome(capsys, command, store.path)
        assert "\x1b" not in out + err
        assert "\u202e" not in out
        assert "\nwhole" not in out
        assert "\nfacer: fine" not in out
    _, out, _ = outcome(capsys, "status", store.path, "--json")
    assert json.loads(out)["failures"] == {bad: "why\nfacer: fine\x07"}


def test_videos_are_compared(store, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a", "new", "c"):
        (folder / f"{name}.mp4").write_bytes(b"video")
    stat = (folder / "a.mp4").stat()
    record, clip = entry("a")
    same = replace(record, source_size=stat.st_size, source_mtime_ns=stat.st_mtime_ns)
    store.write_part([(same, clip)])
    found = some(verify(VerifyConfig(store.path, 1, folder)).videos)
    assert (found.changed, found.gone, found.without_record) == (("c",), ("b",), ("new",))


def test_only_who_asks_for_progress_is_told_of_it(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(PlainProgress, "interval_s", 0.0)
    video = tmp_path / "videos" / "a.mp4"
    video.parent.mkdir()
    video.write_bytes(b"video")
    record, clip = entry("a", source_size=5, source_mtime_ns=1, source_sha256="0")
    store.write_part([(record, clip)])
    assert some(facer.verify(store, videos=video.parent).videos).changed == ("a",)
    assert not capsys.readouterr().err
    facer.verify(store, videos=video.parent, progress=True)
    assert "1/1 videos compared" in capsys.readouterr().err


def test_jobs_are_checked():
    with pytest.raises(FacerError, match="jobs: found 0"):
        VerifyConfig("x", 0)
