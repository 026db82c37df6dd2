"""Stage one over a folder: what is written, what is skipped, what is survived."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from facer.pipeline.features import extract as module
from facer.pipeline.features import kinds, plan
from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import extract_folder
from facer.pipeline.features.inspect.status import store_status
from facer.pipeline.features.part import extract_part
from facer.pipeline.runtime.processes import ProcessExecutor, WorkerDiedError
from facer.pipeline.runtime.progress import PlainProgress, Progress
from facer.stages.common.cores import cpu_count
from facer.stages.features.config import DetectorConfig, ExtractConfig
from facer.stages.features.decode.frames import VideoReader
from facer.stages.features.extractor import Extractor
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from tests.support import some


@pytest.fixture
def videos(make_video, face_frames, tmp_path):
    """Three good clips, one without a face, one that is text."""
    make_video("videos/a/one.mp4", face_frames(12))
    make_video("videos/b/one.mp4", face_frames(9, 0.9, empty=(3, 4)))
    make_video("videos/two faces [1].avi", face_frames(5), codec="MJPG")
    make_video("videos/no face.mp4", 7)
    (tmp_path / "videos" / "text.mp4").write_text("not a video")
    return tmp_path / "videos"


def run(videos, store, **options):
    return extract_folder(ExtractRunConfig(videos, str(store), workers=1, **options))


def test_every_video_gets_a_record(videos, tmp_path):
    summary = run(videos, tmp_path / "s.zarr")
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert store.clip_ids == ("a/one", "b/one", "no face", "text", "two faces [1]")
    status = {r.clip_id: r.status for r in store.records}
    assert status == {
        "a/one": "ok",
        "b/one": "ok",
        "two faces [1]": "ok",
        "no face": "no_face",
        "text": "failed",
    }
    assert [r.clip_id for r in summary.failed] == ["text"]
    assert "not a video" in store.record("text").reason
    record = store.record("a/one")
    assert (record.n_frames, record.n_valid) == (12, 12)
    assert (record.width_px, record.height_px) == (320, 240)
    assert record.fps == pytest.approx(25, rel=1e-3)
    assert record.source == "a/one.mp4"
    assert len(record.source_sha256) == 64


def test_frames_without_a_face_are_rows_of_nan(videos, tmp_path):
    run(videos, tmp_path / "s.zarr")
    clip = FeatureStore.open(tmp_path / "s.zarr").read("b/one")
    assert np.flatnonzero(~clip.valid).tolist() == [3, 4]
    assert np.isnan(clip.features[3:5]).all()
    assert np.isfinite(clip.features[clip.valid]).all()
    assert clip.n_faces[3:5].tolist() == [0, 0]
    inside = clip.keypoints_px[clip.valid]
    assert ((inside >= 0) & (inside <= [320, 240])).all()


def test_the_embedding_is_stored_when_asked_for(videos, tmp_path):
    run(videos, tmp_path / "plain.zarr")
    run(videos, tmp_path / "s.zarr", extract=ExtractConfig(embedding=True))
    store = FeatureStore.open(tmp_path / "s.zarr")
    clip, plain = store.read("b/one"), FeatureStore.open(tmp_path / "plain.zarr").read("b/one")
    assert plain.embedding is None
    np.testing.assert_array_equal(clip.features, plain.features)
    embedding = some(clip.embedding)
    assert embedding.shape == (clip.n_frames, 256)
    np.testing.assert_array_equal(np.isnan(embedding).all(1), ~clip.valid)
    with pytest.raises(FacerError, match=r"differ in settings embedding \(store: 256"):
        run(videos, tmp_path / "s.zarr")


def test_the_same_command_again_does_nothing(videos, tmp_path, monkeypatch):
    run(videos, tmp_path / "s.zarr")
    monkeypatch.setattr(module, "extract_part", pytest.fail)
    again = run(videos, tmp_path / "s.zarr")
    assert again.n_done_before == again.n_clips == 5
    assert again.new_frames == 0


def test_only_what_is_missing_is_done(videos, make_video, face_frames, tmp_path):
    run(videos, tmp_path / "s.zarr")
    make_video("videos/new.mp4", face_frames(3))
    summary = run(videos, tmp_path / "s.zarr")
    assert (summary.n_done_before, summary.new_frames) == (5, 3)


def test_failed_clips_are_tried_again_when_asked(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "text.mp4").write_text("no video")
    (first,) = run(tmp_path / "videos", tmp_path / "s.zarr").failed
    (same,) = run(tmp_path / "videos", tmp_path / "s.zarr").failed
    assert same.part == first.part
    (again,) = run(tmp_path / "videos", tmp_path / "s.zarr", retry_failed=True).failed
    assert again.part > first.part


class Notes(Progress):
    def __init__(self):
        self.texts = []
        self.counts = []

    def compared(self, done, total):
        self.counts.append((done, total))

    def note(self, text):
        self.texts.append(text)


def run_changed(videos, store, changed):
    notes = Notes()
    config = ExtractRunConfig(videos, str(store), workers=1, changed=changed)
    return extract_folder(config, notes), notes.texts


def test_videos_with_a_new_time_are_compared_and_counted(videos, tmp_path):
    run(videos, tmp_path / "s.zarr")
    for video in (videos / "a" / "one.mp4", videos / "no face.mp4"):
        os.utime(video, (1, 1))
    notes = Notes()
    extract_folder(ExtractRunConfig(videos, str(tmp_path / "s.zarr"), workers=1), notes)
    assert notes.counts == [(1, 2), (2, 2)]


def test_a_video_that_was_only_touched_is_no_other_one(videos, tmp_path):
    run(videos, tmp_path / "s.zarr")
    os.utime(videos / "a" / "one.mp4", (1, 1))
    shutil.copy(videos / "no face.mp4", videos / "copy.mp4")
    (videos / "copy.mp4").replace(videos / "no face.mp4")
    summary, notes = run_changed(videos, tmp_path / "s.zarr", "error")
    assert (summary.new_frames, notes) == (0, [])


def test_a_video_that_changed_is_noticed(videos, make_video, face_frames, tmp_path):
    store = FeatureStore.open(run(videos, tmp_path / "s.zarr").store)
    before = store.records
    make_video("videos/a/one.mp4", face_frames(7))
    make_video("videos/no face.mp4", face_frames(4))

    _, notes = run_changed(videos, store.path, "keep")
    store.refresh()
    assert store.records == before
    (note,) = notes
    assert "2 video(s) changed since they were extracted (a/one, no face); their features" in note
    assert "--changed re-extract" in note

    with pytest.raises(FacerError, match=r"2 video\(s\) changed .*; use changed re-extract, or"):
        run_changed(videos, store.path, "error")
    store.refresh()
    assert store.records == before

    summary, (note,) = run_changed(videos, store.path, "re-extract")
    assert note.endswith("(a/one, no face); extracting them again")
    assert (summary.n_done_before, summary.new_frames) == (3, 11)
    store.refresh()
    assert store.record("a/one").n_frames == store.read("a/one").n_frames == 7
    assert len(store.records) == 5
    assert run_changed(videos, store.path, "error")[1] == []  # nothing is different now


def test_a_video_that_broke_off_and_changed_is_tried_again(make_video, tmp_path):
    whole = make_video("videos/half.avi", 40, codec="MJPG")
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    (record,) = run(tmp_path / "videos", tmp_path / "s.zarr").records
    assert "of the 40 frames" in record.reason
    assert run_changed(tmp_path / "videos", tmp_path / "s.zarr", "keep")[1] == []
    whole.write_bytes(data)
    summary, (note,) = run_changed(tmp_path / "videos", tmp_path / "s.zarr", "keep")
    assert "(half); trying them again" in note
    assert (summary.records[0].n_frames, summary.records[0].reason) == (40, "")


def test_a_failed_video_that_changed_or_can_be_read_is_tried_again(
    make_video, face_frames, tmp_path
):
    """Seen: its features are kept, of which there are none, and exit code 3 every night."""
    (videos := tmp_path / "videos").mkdir()
    (videos / "text.mp4").write_text("no video")
    (videos / "later.mp4").symlink_to(tmp_path / "not-yet.mp4")
    assert len(run(videos, tmp_path / "s.zarr").failed) == 2
    summary, notes = run_changed(videos, tmp_path / "s.zarr", "error")
    assert (len(summary.failed), summary.n_done_before, notes) == (2, 2, [])
    make_video("videos/text.mp4", face_frames(4))
    make_video("not-yet.mp4", face_frames(4))
    summary, (note,) = run_changed(videos, tmp_path / "s.zarr", "error")
    assert "2 video(s) that failed or broke off have changed (later, text); trying them" in note
    assert (summary.failed, summary.new_frames) == ((), 8)


def test_videos_that_still_grow_are_left_and_deleted_ones_are_told(
    make_video, face_frames, tmp_path
):
    for name in ("old", "new"):
        make_video(f"videos/{name}.mp4", face_frames(4))
    os.utime(tmp_path / "videos" / "old.mp4", (1, 1))
    os.utime(tmp_path / "videos" / "new.mp4", (time.time() + 60, time.time() + 60))
    notes = Notes()
    store = FeatureStore.open(run(tmp_path / "videos", tmp_path / "s.zarr", settle_s=600).store)
    config = ExtractRunConfig(tmp_path / "videos", store.path, workers=1, settle_s=600)
    summary = extract_folder(replace(config, gone="drop"), notes)
    assert store.clip_ids == ("old",)
    assert (summary.n_clips, summary.missing) == (1, ())
    (note,) = notes.texts  # and it is not gone
    assert "1 video(s) were written to less than 600 s ago (new); they are left" in note
    (tmp_path / "videos" / "old.mp4").unlink()
    extract_folder(config, notes)
    assert "1 clip(s) have no video in" in notes.texts[2]
    assert "(old); they are kept; --gone drop" in notes.texts[2]
    single = replace(config, video_dir=tmp_path / "videos" / "new.mp4", gone="drop")
    assert extract_folder(single).n_clips == 0  # one video says nothing of the others
    store.refresh()
    assert store.clip_ids == ("old",)
    extract_folder(replace(config, gone="drop"), notes)
    store.refresh()
    assert list(store.clip_ids) == []
    assert "(old); they were taken out" in notes.texts[-1]
    for wrong in ({"settle_s": -1}, {"gone": "forget"}):
        with pytest.raises(FacerError, match=r"(settle: found -1|gone: found 'forget'), exp"):
            replace(config, **wrong)


def test_a_video_of_a_clock_that_is_years_ahead_is_not_left_for_ever(make_video, tmp_path):
    path = make_video("videos/a.mp4", 2)
    os.utime(path, (time.time() + 1e9, time.time() + 1e9))
    summary = run(path.parent, tmp_path / "s.zarr", settle_s=600)
    assert [record.clip_id for record in summary.records] == ["a"]


def test_what_to_do_with_changed_videos_is_one_of_three():
    with pytest.raises(FacerError, match="changed: found 'skip', expected one of keep, re-ext"):
        ExtractRunConfig("videos", "s.zarr", changed="skip")  # type: ignore[arg-type]


def test_batches_and_parts_never_change_a_feature(videos, tmp_path):
    run(videos, tmp_path / "one.zarr", extract=ExtractConfig(batch_size=1), part_size=1)
    run(videos, tmp_path / "many.zarr", extract=ExtractConfig(batch_size=64))
    one, many = (FeatureStore.open(tmp_path / name) for name in ("one.zarr", "many.zarr"))
    for clip_id in ("a/one", "b/one", "no face", "two faces [1]"):
        a, b = one.read(clip_id), many.read(clip_id)
        np.testing.assert_allclose(a.features, b.features, atol=1e-5)
        np.testing.assert_allclose(a.keypoints_px, b.keypoints_px, atol=1e-2)
        np.testing.assert_array_equal(a.timestamp_s, b.timestamp_s)


@pytest.mark.parametrize("decoders", [2, 3, 9])
def test_several_decoders_never_change_a_feature(videos, tmp_path, decoders):
    run(videos, tmp_path / "a.zarr")
    several = ExtractConfig(batch_size=3, decoders=decoders)
    run(videos, tmp_path / "b.zarr", extract=several, part_size=5)
    one, other = FeatureStore.open(tmp_path / "a.zarr"), FeatureStore.open(tmp_path / "b.zarr")
    assert one.clip_ids == other.clip_ids
    for record in one.records:
        assert other.record(record.clip_id).reason == record.reason
        if record.status != "failed":
            a, b = one.read(record.clip_id), other.read(record.clip_id)
            np.testing.assert_allclose(a.features, b.features, atol=1e-5)
            np.testing.assert_array_equal(a.timestamp_s, b.timestamp_s)
            np.testing.assert_array_equal(a.bbox_px, b.bbox_px)


def test_as_many_videos_are_open_as_there_are_decoders(videos, monkeypatch):
    open_now, most = set(), []

    class Counting(VideoReader):
        def __enter__(self):
            open_now.add(self)
            most.append(len(open_now))
            return super().__enter__()

        def __exit__(self, *error):
            open_now.discard(self)
            return super().__exit__(*error)

    paths = [path for path in sorted(videos.rglob("*")) if path.suffix in (".mp4", ".avi")]
    extractor = Extractor(ExtractConfig(device="cpu", batch_size=4, decoders=3))
    assert len(list(extractor.run(paths, open_video=Counting))) == 5
    assert max(most) == 3
    assert not open_now


def test_a_gpu_has_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "on_gpu", lambda _: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def usual(device, **options):
        extract = ExtractConfig(device=device)
        return plan.usual_workers(ExtractRunConfig(tmp_path, "s", extract, **options))

    assert (usual("cuda"), usual("auto"), usual("cuda:1")) == (2, 2, 1)
    assert usual("cuda", scheduler="tcp://host:1") == cpu_count()


def test_one_process_has_the_threads_that_the_environment_says(videos, tmp_path, monkeypatch):
    used = set()

    def spied(task, **options):
        used.add(task.threads)
        return extract_part(task, **options)

    monkeypatch.setattr(module, "extract_part", spied)
    for said, path in (("3", "three.zarr"), ("", "all.zarr")):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        run(videos, tmp_path / path)
        assert used == {int(said or cpu_count())}
        used.clear()
    three, usual = (FeatureStore.open(tmp_path / f"{name}.zarr") for name in ("three", "all"))
    for clip_id in ("a/one", "b/one"):
        np.testing.assert_array_equal(three.read(clip_id).features, usual.read(clip_id).features)


def test_workers_that_die_while_models_are_loaded_are_a_line(videos, tmp_path, monkeypatch):
    dead = lambda _, __, items: [(item, WorkerDiedError()) for item in items]  # noqa: E731
    monkeypatch.setattr(ProcessExecutor, "map", dead)
    with pytest.raises(FacerError, match=r"loading the models: .*out of memory.*or use workers 1"):
        extract_folder(ExtractRunConfig(videos, str(tmp_path / "s.zarr"), workers=2))


def test_workers_that_die_of_every_clip_end_the_run(videos, tmp_path, monkeypatch):
    """Seen: a limit of memory below what models take had each clip of a folder recorded as failed,
    after four deaths each.
    """
    real, dead = ProcessExecutor.map, []

    def dying(self, function, items):
        if function is not extract_part:
            yield from real(self, function, items)
        for item in items if function is extract_part else ():
            dead.append(item)
            yield item, WorkerDiedError()

    monkeypatch.setattr(ProcessExecutor, "map", dying)
    with pytest.raises(FacerError, match="die of whatever they are given, 4 times out of 4"):
        extract_folder(ExtractRunConfig(videos, str(tmp_path / "s.zarr"), workers=2))
    assert len(dead) == 4


def test_workers_never_change_a_feature(videos, tmp_path):
    run(videos, tmp_path / "one.zarr")
    summary = extract_folder(ExtractRunConfig(videos, str(tmp_path / "two.zarr"), workers=2))
    assert len(summary.records) == 5
    one, two = (FeatureStore.open(tmp_path / name) for name in ("one.zarr", "two.zarr"))
    for clip_id in ("a/one", "b/one", "no face", "two faces [1]"):
        a, b = one.read(clip_id).features, two.read(clip_id).features
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_store_of_other_weights_is_refused(videos, tmp_path, monkeypatch):
    run(videos, tmp_path / "s.zarr")
    with pytest.raises(FacerError, match=r"differ in face_policy \(store: track, run: largest\)"):
        run(videos, tmp_path / "s.zarr", extract=ExtractConfig(face="largest"))


def test_an_interrupt_keeps_finished_clips_and_resume_equals_one_run(videos, tmp_path, monkeypatch):
    run(videos, tmp_path / "whole.zarr")
    real = Extractor.run
    left = iter(range(2))

    def interrupted(self, *args):
        for result in real(self, *args):
            if next(left, None) is None:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(Extractor, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(videos, tmp_path / "s.zarr")
    assert len(FeatureStore.open(tmp_path / "s.zarr").clip_ids) == 2
    monkeypatch.setattr(Extractor, "run", real)
    assert run(videos, tmp_path / "s.zarr").n_done_before == 2
    whole, resumed = (FeatureStore.open(tmp_path / n) for n in ("whole.zarr", "s.zarr"))
    assert whole.clip_ids == resumed.clip_ids
    np.testing.assert_array_equal(whole.read("b/one").features, resumed.read("b/one").features)


def test_a_clip_that_breaks_its_part_is_tried_alone_then_recorded(videos, tmp_path, monkeypatch):
    real = Extractor.run

    def breaking(self, paths, *args):
        if any("two faces" in path.name for path in paths):
            raise RuntimeError("no such luck")
        return real(self, paths, *args)

    monkeypatch.setattr(Extractor, "run", breaking)
    summary = run(videos, tmp_path / "s.zarr")
    reasons = {r.clip_id: r.reason for r in summary.failed}
    assert set(reasons) == {"text", "two faces [1]"}
    assert reasons["two faces [1]"] == "RuntimeError: no such luck"


def test_clips_that_a_part_committed_before_it_broke_are_counted(videos, tmp_path, monkeypatch):
    real = Extractor.run

    def breaking(self, paths, *args):
        for path, result in zip(paths, real(self, paths, *args), strict=True):
            if "two faces" in path.name:
                raise RuntimeError("no such luck")
            yield result

    monkeypatch.setattr(Extractor, "run", breaking)
    monkeypatch.setattr(module, "_PARTS_EACH", 1)
    told = PlainProgress()
    config = ExtractRunConfig(videos, str(tmp_path / "s.zarr"), workers=1)
    summary = extract_folder(config, told)
    assert (told.n_new, told.n_failed) == (5, 2)
    assert summary.new_frames == sum(r.n_frames for r in summary.records) == told.n_committed > 0


def test_a_place_that_cannot_be_written_is_named(videos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FacerError, match="file"):
        run(videos, tmp_path / "file" / "s.zarr")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FacerError, match=r"~/s\.zarr: found ~, which is a home folder to a shell"):
        run(videos, "~/s.zarr")  # of --output=~/s.zarr, which no shell expands, or a config file
    assert not os.path.lexists("~")
    monkeypatch.chdir(videos)
    for paths in (("", tmp_path / "s.zarr"), (videos, "")):  # of "$VIDEOS", where that is not set
        with pytest.raises(FacerError, match="found an empty path, expected one"):
            run(*paths)


def test_a_store_that_cannot_be_added_to_is_told_before_the_first_frame(
    videos, tmp_path, monkeypatch
):
    """Seen: a part of 32 clips was computed, and lost, before the first write told of it."""
    run(videos / "a", tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / "parts").rename(tmp_path / "away")
    (tmp_path / "s.zarr" / "parts").write_text("a file, as root may write into any folder")
    monkeypatch.setattr(module, "extract_part", pytest.fail)
    with pytest.raises(FacerError, match=r"s.zarr/parts.*: cannot write"):
        run(videos, tmp_path / "s.zarr")


def test_truncated_video_keeps_its_frames_and_a_note(make_video, face_frames, tmp_path):
    path = make_video("videos/cut.avi", face_frames(40), codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    summary = run(tmp_path / "videos", tmp_path / "s.zarr")
    (record,) = summary.records
    assert record.status == "ok"
    assert 10 < record.n_frames < 40
    assert "of the 40 frames" in record.reason


@pytest.mark.shared
@pytest.mark.parametrize("name", ["single_face.mp4", "portrait_rot90.mp4", "no_face_animation.mp4"])
def test_real_clips(shared, tmp_path, name):
    (tmp_path / "videos").mkdir()
    shutil.copy(shared / "clips" / name, tmp_path / "videos")
    (record,) = run(tmp_path / "videos", tmp_path / "s.zarr").records
    if name == "no_face_animation.mp4":
        assert record.status == "no_face"
        return
    assert record.n_valid >= 0.95 * record.n_frames
    points = FeatureStore.open(tmp_path / "s.zarr").read(record.clip_id).keypoints_px
    upright = points[:, 3:, 1].mean(1) > points[:, :2, 1].mean(1)
    assert upright[np.isfinite(points).all((1, 2))].all()


@pytest.mark.shared
def test_two_people_are_two_sequences(shared, tmp_path):
    (tmp_path / "videos").mkdir()
    shutil.copy(shared / "clips" / "two_people_mpeg4.avi", tmp_path / "videos")
    run(tmp_path / "videos", tmp_path / "s.zarr", extract=ExtractConfig(face="all"))
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert store.clip_ids == ("two_people_mpeg4#0", "two_people_mpeg4#1")
    first, second = (store.read(clip_id) for clip_id in store.clip_ids)
    both = first.valid & second.valid
    assert both.mean() > 0.95
    middles = [(c.bbox_px[both, 0] + c.bbox_px[both, 2]) / 2 for c in (first, second)]
    assert np.ptp(np.sign(middles[0] - middles[1])) == 0  # nobody took the other's place
    assert all(record.track_switches == 0 for record in store.records)


def test_two_faces_side_by_side_are_two_sequences(make_video, face_frames, tmp_path):
    wide = [np.concatenate([one, one[:, ::-1]], axis=1) for one in face_frames(8, 0.9)]
    make_video("videos/pair.mp4", wide)
    run(tmp_path / "videos", tmp_path / "s.zarr", extract=ExtractConfig(face="all"))
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert store.clip_ids == ("pair#0", "pair#1")
    assert [record.n_valid for record in store.records] == [8, 8]
    assert store_status(store).to_json().items() >= {"clips": 2, "videos": 1, "ok": 2}.items()
    middles = [store.read(clip_id).bbox_px[:, [0, 2]].mean() for clip_id in store.clip_ids]
    assert min(middles) < 320 < max(middles)


def test_clips_that_a_worker_wrote_elsewhere_are_missed(videos, tmp_path, monkeypatch):
    def lost(task, **_):
        return ()

    monkeypatch.setattr(module, "extract_part", lost)
    summary = run(videos, tmp_path / "s.zarr")
    assert len(summary.missing) == summary.n_clips == 5


def test_weights_are_named_by_a_path_that_holds_on_every_host(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.onnx").touch()
    config = ExtractConfig(DetectorConfig("own.onnx"), rec="rec-small", device="cpu")
    found = kinds.located(config, cluster=False)
    assert isinstance(found, ExtractConfig)
    assert found.detector.model == str(tmp_path / "own.onnx")
    assert found.recs == ("rec-small",)


def test_a_smile_raises_happiness_and_au12(shared, tmp_path):
    (tmp_path / "videos").mkdir()
    shutil.copy(shared / "clips" / "single_face.mp4", tmp_path / "videos")
    run(tmp_path / "videos", tmp_path / "s.zarr")
    store = FeatureStore.open(tmp_path / "s.zarr")
    features = store.read("single_face").features
    for name in ("happiness", "au12", "valence"):
        column = features[:, store.feature_names.index(name)]
        ends = max(np.nanmean(column[:12]), column[-1])  # neutral; the last smile ends late
        assert np.nanmean(column[24:66]) > ends + 0.2, name


def told(videos, store, **extract):
    notes = Notes()
    extract_folder(ExtractRunConfig(videos, str(store), ExtractConfig(**extract), workers=1), notes)
    return FeatureStore.open(store).provenance.settings.get("precision", "float32"), notes.texts


def test_a_new_store_is_in_what_is_fast_here_and_stays_in_it(make_video, tmp_path, monkeypatch):
    videos, store = make_video("videos/a.mp4", 3).parent, tmp_path / "s.zarr"
    monkeypatch.setattr(kinds, "native_bf16", lambda _: True)
    assert told(videos, store) == ("bf16", [])
    make_video("videos/b.mp4", 3)
    monkeypatch.setattr(kinds, "native_bf16", lambda _: False)
    precision, (emulated,) = told(videos, store)
    assert precision == "bf16"
    assert "s.zarr: in bfloat16, which this machine has to emulate" in emulated
    assert len(FeatureStore.open(store)) == 2
    with pytest.raises(FacerError, match=r"settings precision \(store: bf16, run: float32\)"):
        told(videos, store, precision="float32")
    precision, (no_amx,) = told(videos, tmp_path / "new.zarr")
    assert precision == "float32"
    assert "in float32, as this machine has no fast bfloat16" in no_amx
    monkeypatch.setattr(kinds, "native_bf16", lambda _: True)
    assert told(videos, tmp_path / "new.zarr") == ("float32", [])  # as it was made
    assert told(videos, tmp_path / "asked.zarr", precision="float32") == ("float32", [])


def test_bf16_is_the_same_in_any_order_batch_and_run(videos, make_video, face_frames, tmp_path):
    run(videos, tmp_path / "one.zarr", extract=ExtractConfig(precision="bf16"))
    odd = ExtractConfig(precision="bf16", batch_size=5, decoders=3)
    apart = tmp_path / "apart"
    shutil.copytree(videos, apart)
    (apart / "a" / "one.mp4").rename(tmp_path / "later.mp4")
    extract_folder(
        ExtractRunConfig(apart, str(tmp_path / "many.zarr"), odd, workers=2, part_size=2)
    )
    (tmp_path / "later.mp4").rename(apart / "a" / "one.mp4")
    run(apart, tmp_path / "many.zarr", extract=ExtractConfig(batch_size=7))
    one, many = (FeatureStore.open(tmp_path / name) for name in ("one.zarr", "many.zarr"))
    assert one.clip_ids == many.clip_ids
    for record in one.records:
        if record.status != "failed":
            a, b = one.read(record.clip_id), many.read(record.clip_id)
            np.testing.assert_array_equal(a.features, b.features)
            np.testing.assert_array_equal(a.keypoints_px, b.keypoints_px)


@pytest.fixture
def two_faces(make_video, face_frames, tmp_path):
    """A clip with a large face at the left and the same smaller at the right; another clip."""
    large, small = face_frames(8, 1.0), face_frames(8, 0.75)
    frames = [np.concatenate([a, b], axis=1) for a, b in zip(large, small, strict=True)]
    make_video("videos/two.mp4", frames)
    make_video("videos/one.mp4", face_frames(6))
    return tmp_path / "videos"


def test_the_face_that_somebody_pointed_at_is_followed(two_faces, tmp_path):
    run(two_faces, tmp_path / "s.zarr")
    before = FeatureStore.open(tmp_path / "s.zarr")
    clip, one = before.read("two"), before.record("one")
    assert (clip.bbox_px[:, 2] < 330).all()
    assert clip.n_faces.tolist() == [2] * 8

    run(two_faces, tmp_path / "all.zarr", extract=ExtractConfig(face="all"))
    small = FeatureStore.open(tmp_path / "all.zarr").read("two#1")
    x, y = (small.bbox_px[4, :2] + small.bbox_px[4, 2:]) / 2
    faces, head = tmp_path / "faces.csv", "clip_id,time_s,x_px,y_px\n"
    faces.write_text(f"{head}two,{small.timestamp_s[4]},{x},{y}\ngone,1,2,3\n")

    notes = Notes()
    config = ExtractRunConfig(two_faces, str(tmp_path / "s.zarr"), workers=1, faces=faces)
    assert extract_folder(config, notes).new_frames == 8
    assert any("1 of its clips are not in" in note and "gone" in note for note in notes.texts)
    after = FeatureStore.open(tmp_path / "s.zarr")
    np.testing.assert_array_equal(after.read("two").bbox_px, small.bbox_px)
    np.testing.assert_allclose(after.read("two").features, small.features, atol=1e-5)
    assert after.record("one") == one
    assert extract_folder(config).new_frames == 0  # it is done
    assert run(two_faces, tmp_path / "s.zarr").new_frames == 0  # and stays
    faces.write_text(f"{head}one,0.1,319,1\n")
    assert extract_folder(config).new_frames == 8 + 6  # the one is taken back, the other is new
    last = FeatureStore.open(tmp_path / "s.zarr")
    np.testing.assert_allclose(last.read("two").features, clip.features, atol=1e-5)
    record = last.record("one")
    assert record.status == "ok"
    assert record.reason == "found no face where one was pointed at: 0.1 s (319, 1)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file, expected faces of facer view, .* leave faces out"),
        ("a,b\n1,2\n", "expected clip_id, time_s"),
        ("clip_id,time_s,x_px,y_px\none,x,1,1\n", "expected a number"),
        ("clip_id,time_s,x_px,y_px\none,1,,1\n", "a place in the frame"),
        ("clip_id,time_s,x_px,y_px\none,1,-5,1\n", "a place in the frame"),
    ],
)
def test_faces_that_are_no_places_are_refused(make_video, tmp_path, text, message):
    make_video("videos/one.mp4", 2)
    if text is not None:
        (tmp_path / "faces.csv").write_text(text)
    with pytest.raises(FacerError, match=message):
        run(tmp_path / "videos", tmp_path / "s.zarr", faces=tmp_path / "faces.csv")


def test_pointing_goes_with_tracks_alone(tmp_path):
    with pytest.raises(FacerError, match="found face all, expected track"):
        run(tmp_path, tmp_path / "s.zarr", faces=tmp_path / "f.csv",
            extract=ExtractConfig(face="all"))  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_frames_that_repeat_the_one_before_have_its_features(
    make_video, face_frames, tmp_path, precision
):
    images = face_frames(7, empty=(2, 3))
    counts = [1, 3, 2, 1, 1, 9, 2]  # the two without a face are alike
    make_video("videos/once.avi", images, codec="FFV1")
    again = [image for image, n in zip(images, counts, strict=True) for _ in range(n)]
    make_video("videos/again.avi", again, codec="FFV1")
    extract = ExtractConfig(precision=precision, batch_size=4)
    run(tmp_path / "videos", tmp_path / "s.zarr", extract=extract)
    store = FeatureStore.open(tmp_path / "s.zarr")
    once, twice = store.read("once"), store.read("again")
    rows = np.repeat(np.arange(7), counts)
    for name in ("features", "valid", "keypoints_px", "bbox_px", "quality", "n_faces"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name)[rows])
    assert (np.diff(twice.timestamp_s) > 0).all()
    assert len(twice.timestamp_s) == 19


def test_a_frame_that_repeats_another_is_looked_at_once(make_video, face_frames, monkeypatch):
    seen = []
    extractor = Extractor(ExtractConfig(device="cpu", batch_size=4, detect_every=1))
    detect = extractor.detector.detect
    monkeypatch.setattr(
        extractor.detector, "detect", lambda images: seen.extend(images) or detect(images)
    )
    images = [image for image in face_frames(3) for _ in range(5)]
    frames: list[int] = []
    (result,) = extractor.run([make_video("a.avi", images, codec="FFV1")], frames.append)
    assert len(seen) == 3
    assert sum(frames) == result.sequences[0].clip.n_frames == 15


HANDS_OUT = """
import sys
import time
from pathlib import Path
from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import extract_folder
from facer.stages.features.config import ExtractConfig
extract = ExtractConfig(device="cpu", batch_size=4)
extract_folder(ExtractRunConfig(Path(sys.argv[1]), sys.argv[2], extract, workers=2))
print(sorted({"torch", "onnxruntime", "insightface"} & {*sys.modules}))
"""


def test_the_process_that_hands_out_parts_loads_no_models(make_video, tmp_path):
    videos = [make_video(f"videos/{name}.mp4", 3) for name in "ab"]
    command = [sys.executable, "-c", HANDS_OUT, str(videos[0].parent), str(tmp_path / "s.zarr")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
    assert FeatureStore.open(tmp_path / "s.zarr").clip_ids == ("a", "b")
