"""facer extract-audio: one store for a folder's sound, however it is run."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import facer
from facer.cli import facer as command
from facer.pipeline.features.guarded.guard import GuardedAudio
from facer.pipeline.views.report.folder import page_name
from facer.stages.features.audio.reader import AudioReader
from facer.storage.errors import FacerError
from tests import sounds

COMMON = ("--workers", "1")


@pytest.fixture
def folder(tmp_path: Path, make_video) -> Path:
    """Videos with sound, one without, a sound alone, a sound beside its video, and no video."""
    place = tmp_path / "clips"
    sounds.write(place / "a.mkv", [(0, sounds.noise(1.0, seed=1))])
    sounds.write(place / "deep" / "late.mp4", [(0.5, sounds.noise(1.0, 44100))], 44100, "aac")
    sounds.write(place / "alone.wav", [(0, sounds.noise(0.5))], picture_s=None)
    sounds.write(place / "a.wav", [(0, sounds.noise(0.3))], picture_s=None)
    make_video("clips/silent.mp4")
    (place / "bad.mp4").write_bytes(b"no video")
    return place


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.stdout, result.stderr


def test_a_folder_becomes_a_store_and_the_same_command_does_what_is_missing(folder, tmp_path):
    store = tmp_path / "audio.zarr"
    code, out, err = run("extract-audio", folder, "-o", store, *COMMON, "--json")
    assert code == 3
    assert "a.wav" in err
    *clips, summary = map(json.loads, out.splitlines())
    assert {clip["clip_id"]: clip["status"] for clip in clips} == {
        "a": "ok", "deep/late": "ok", "alone": "ok", "silent": "no_sound", "bad": "failed",
    }  # fmt: skip
    assert summary["clips"] == {"ok": 3, "no_sound": 1, "failed": 1}
    opened = facer.open_store(store)
    reasons = {record.clip_id: record.reason for record in opened.records}
    assert reasons["silent"] == "no sound: the file has no sound stream"
    assert "not a file that can be decoded" in reasons["bad"]
    late = opened["deep/late"]
    assert late.timestamp_s[late.valid][0] == pytest.approx(0.5, abs=0.05)
    assert opened.feature_names[:2] == ("mel00", "mel01")
    assert opened["silent"].n_frames == 0

    code, out, _ = run("extract-audio", folder, "-o", store, *COMMON)
    assert code == 3
    assert "5 of them were there already" in out
    assert "3 clips with sound, 1 without, 1 failed" in out
    (folder / "a.mkv").replace(folder / "b.mkv")
    code, out, _ = run("extract-audio", folder, "-o", store, *COMMON)
    assert {"a", "b"} <= set(facer.open_store(store).clip_ids)  # a.wav is a clip of its own now


def test_nothing_of_a_store_of_sound_speaks_of_faces(folder, tmp_path):
    store = facer.extract_audio(folder, tmp_path / "audio.zarr", workers=1)
    _, out, _ = run("status", store.path, "a")
    assert "with sound" in out
    assert "face" not in out
    run("report", store.path, "-o", tmp_path / "report")
    page = tmp_path / "report" / "clips" / f"{page_name('a')}.html"
    assert "with sound" in page.read_text("utf-8")
    assert "no face" not in page.read_text("utf-8")
    with pytest.raises(FacerError, match="found none of the columns that a picture shows"):
        facer.picture(store, "a", tmp_path / "a.png")
    with pytest.raises(FacerError, match="found a store of sound"):
        facer.annotate(store, "a", tmp_path / "a.mp4", videos=folder)


def test_status_verify_and_export_know_a_store_of_sound(folder, tmp_path):
    (folder / "bad.mp4").unlink()
    store = facer.extract_audio(folder, tmp_path / "audio.zarr", workers=1)
    found = json.loads(run("status", store.path, "--json")[1])
    assert found["no_sound"] == 1
    assert found["frames_with_sound"] == sum(record.n_valid for record in store.records)
    assert "no_face" not in found
    out = run("status", store.path)[1]
    assert "without sound   1 clips" in out
    assert "logmel of sound at 16000 Hz, windows of 25 ms, one every 10 ms" in out
    code, out, _ = run("verify", store.path, "--videos", folder, "--json")
    assert code == 0
    assert json.loads(out)["videos"] == {"changed": [], "gone": [], "without_record": []}
    facer.export(store, tmp_path / "a.csv")
    assert "mel63" in (tmp_path / "a.csv").read_text().splitlines()[0]
    text, _ = facer.methods(store)
    assert "logmel" in text
    assert "ace" not in text.replace("facer", "").replace("Facer", "")


def test_a_store_is_the_same_however_many_workers_and_in_whatever_order(folder, tmp_path):
    (folder / "bad.mp4").unlink()
    one = facer.extract_audio(folder, tmp_path / "1.zarr", workers=1)
    two = facer.extract_audio(folder, tmp_path / "2.zarr", workers=2, part_size=1)
    assert one.clip_ids == two.clip_ids
    for clip_id in one.clip_ids:
        a, b = one[clip_id], two[clip_id]
        np.testing.assert_array_equal(a.features, b.features)
        np.testing.assert_array_equal(a.timestamp_s, b.timestamp_s)


def test_faces_and_sounds_do_not_mix(folder, tmp_path):
    store = facer.extract_audio(folder, tmp_path / "a.zarr", workers=1)
    with pytest.raises(FacerError, match="the store and this run differ in"):
        facer.extract_audio(folder, store, workers=1, bands=40)
    with pytest.raises(FacerError, match="found a store of sound, expected one of faces"):
        facer.extract(folder, store, workers=1)


def test_a_place_without_sound_or_video(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FacerError, match=r"no video and no sound found; .*\.wav"):
        facer.extract_audio(tmp_path, tmp_path / "a.zarr")


def test_the_guarded_process_gives_the_same_bit_by_bit(folder):
    for name in ("a.mkv", "deep/late.mp4"):
        with AudioReader(folder / name, 16000) as plain, GuardedAudio(folder / name, 16000) as kept:
            for ours, theirs in zip(plain, kept, strict=True):
                assert ours.start == theirs.start
                np.testing.assert_array_equal(ours.samples, theirs.samples)
            assert plain.problem == kept.problem
            assert plain.n_decoded == kept.n_decoded


def test_a_decoder_that_crashes_costs_a_clip(tmp_path, faulty_decoder):
    place = tmp_path / "clips"
    for name in ("good", "once", "crash", "noisy"):
        sounds.write(place / f"{name}.mkv", [(0, sounds.noise(4.0))])
    store = facer.extract_audio(place, tmp_path / "a.zarr", workers=1)
    statuses = {record.clip_id: record.status for record in store.records}
    assert statuses == {"crash": "failed", "good": "ok", "noisy": "ok", "once": "ok"}
    assert "crashed twice (signal 11)" in store.record("crash").reason
    np.testing.assert_array_equal(store["once"].features, store["good"].features)
