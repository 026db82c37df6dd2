"""Folders as they come: every video gets a record, whatever it is and whatever it does."""

import hashlib
import importlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facer.cli import facer
from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import extract_folder
from facer.pipeline.features.guarded import process
from facer.stages.features.config import ExtractConfig
from facer.stages.features.decode.frames import VideoReader
from facer.storage import FeatureStore
from facer.storage.errors import FacerError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def fuzz():
    """The benchmark that damages videos, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module("benchmarks.features.fuzz_decoder")


def extract(folder, store, **options):
    extract_folder(ExtractRunConfig(folder, str(store), **{"workers": 1, **options}))
    return {record.clip_id: record for record in FeatureStore.open(store).records}


@pytest.fixture(params=["serial", "local", "scheduler"])
def where(request, faulty_decoder, new_cluster):
    """Options that say where the work is done; the decoder is faulty there."""
    if request.param != "scheduler":
        yield {"workers": 1 if request.param == "serial" else 2}
        return
    with new_cluster(0) as cluster:
        for _ in range(2):
            cluster.add_worker(f"import sys; sys.path.insert(0, {str(faulty_decoder)!r})")
        yield {"workers": None, "scheduler": cluster.address}


def test_clips_that_crash_the_decoder_are_recorded_and_the_run_goes_on(
    make_video, face_frames, where, tmp_path
):
    plain = make_video("videos/a.mp4", face_frames(9))
    for name in ("crash", "greedy", "killed", "once", "z"):
        plain.with_stem(name).write_bytes(plain.read_bytes())
    found = extract(tmp_path / "videos", tmp_path / "s.zarr", **where)
    failed = {name for name, record in found.items() if record.status == "failed"}
    assert failed == {"crash", "greedy", "killed"}
    assert found["crash"].reason == (
        "crash.mp4: the decoder crashed twice (signal 11), after 5 frames"
    )
    assert "killed, perhaps for want of memory" in found["killed"].reason
    assert "need more memory" in found["greedy"].reason
    assert [found[name].n_frames for name in ("a", "once", "z")] == [9, 9, 9]
    store = FeatureStore.open(tmp_path / "s.zarr")
    for name in ("once", "z"):
        np.testing.assert_array_equal(store.read(name).features, store.read("a").features)


def test_a_clip_that_hangs_the_decoder_is_recorded_and_the_run_goes_on(
    make_video, faulty_decoder, tmp_path, monkeypatch
):
    for name in ("a", "hang", "z"):
        make_video(f"videos/{name}.mp4", 9)
    monkeypatch.setattr(process, "FRAME_TIMEOUT_S", 5.0)
    found = extract(tmp_path / "videos", tmp_path / "s.zarr")
    assert found["hang"].reason == "hang.mp4: no frame for 5 s, given up"
    assert [found[name].n_frames for name in ("a", "z")] == [9, 9]


def test_damaged_videos_end_no_run_and_are_all_accounted_for(fuzz, tmp_path):
    (tmp_path / "videos").mkdir()
    clips = fuzz.make_clips(tmp_path)
    expected = set()
    for name, data in fuzz.mutants(clips, 90, seed=3):
        (tmp_path / "videos" / name).write_bytes(data)
        expected.add(name.rpartition(".")[0])
    found = extract(tmp_path / "videos", tmp_path / "s.zarr", extract=ExtractConfig(stride=4))
    assert set(found) == expected
    statuses = Counter(record.status for record in found.values())
    assert statuses["failed"] >= 5  # some are beyond repair
    assert statuses["no_face"] + statuses["ok"] >= 30  # and some are not
    assert all(record.reason for record in found.values() if record.status == "failed")
    assert all(record.n_frames for record in found.values() if record.status != "failed")


def decoded(path):
    """What decoding a video gives, in short."""
    digest = hashlib.sha256()
    try:
        with VideoReader(path) as reader:
            for frame in reader:
                digest.update(f"{frame.timestamp_s} {frame.image.shape}".encode())
                digest.update(frame.image.tobytes())
        return digest.hexdigest() + reader.problem
    except FacerError as error:
        return str(error)


def decoded_alone(path):
    """The same, in a process that has decoded nothing before."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(here, decoded(path).encode())
        os._exit(0)
    os.close(here)
    with open(there) as pipe:  # noqa: PTH123 - a file descriptor
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def test_no_frame_shows_what_was_decoded_before(fuzz, tmp_path):
    (tmp_path / "videos").mkdir()
    clips = fuzz.make_clips(tmp_path)
    paths = list(clips)
    for name, data in fuzz.mutants(clips, 45, seed=11):
        paths.append(tmp_path / "videos" / name)
        paths[-1].write_bytes(data)
    code = (
        "import runpy, sys; from pathlib import Path; "
        "names = runpy.run_path(sys.argv[1]); alone = sys.argv[2] == 'alone'; "
        "read = names['decoded_alone' if alone else 'decoded']; "
        "print(*(read(Path(path)) for path in sys.argv[3:]), sep='\\n')"
    )

    def run(how, order):
        command = [sys.executable, "-c", code, __file__, how, *map(str, order)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        return dict(zip(order, found.stdout.splitlines(), strict=True))

    alone = run("alone", paths)
    assert len(set(alone.values())) > 30
    assert run("in turn", paths) == alone
    assert run("in turn", paths[::-1]) == alone


def test_the_store_of_a_folder_is_the_stores_of_its_clips(make_video, face_frames, fuzz, tmp_path):
    make_video("videos/person.mp4", face_frames(6))
    (clip, *_) = fuzz.make_clips(tmp_path)
    for name, data in [*fuzz.mutants([clip], 7, seed=5)]:
        (tmp_path / "videos" / name).write_bytes(data)
    extract(tmp_path / "videos", tmp_path / "all.zarr")
    together = FeatureStore.open(tmp_path / "all.zarr")
    for record in together.records:
        extract(tmp_path / "videos" / record.source, tmp_path / f"{record.clip_id}.zarr")
        alone = FeatureStore.open(tmp_path / f"{record.clip_id}.zarr")
        (one,) = alone.records
        assert (one.status, one.reason, one.n_frames) == (
            record.status, record.reason, record.n_frames,
        )  # fmt: skip
        if record.status != "failed":
            a, b = together.read(record.clip_id), alone.read(record.clip_id)
            for name in ("features", "timestamp_s", "valid", "bbox_px", "keypoints_px", "n_faces"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_names_and_shapes_of_every_kind(make_video, face_frames, tmp_path):
    names = ["-dash", "--help", "with space", "odd [1] {2} %02d", "größe 漢字", "http:x", "a'b\"c"]
    for name in names:
        make_video(f"-videos/{name}.mp4", 2)
    make_video("-videos/one frame.mp4", face_frames(1))
    make_video("-videos/speck.mp4", 2, size=(16, 16))
    make_video("-videos/strip.avi", 2, codec="MJPG", size=(1200, 20))
    make_video("-videos/sub/-dash.mp4", 3)
    make_video("-videos/twin.mp4", 2)
    make_video("-videos/twin.avi", 3, codec="MJPG")
    (tmp_path / "-videos" / "gone.mp4").symlink_to(tmp_path / "nothing")
    (tmp_path / "-videos" / "text.mp4").write_text("not a video")
    found = extract(tmp_path / "-videos", tmp_path / "s.zarr")
    frames = {clip_id: record.n_frames for clip_id, record in found.items()}
    assert frames == dict.fromkeys(names, 2) | {
        "one frame": 1, "speck": 2, "strip": 2, "sub/-dash": 3, "twin.mp4": 2, "twin.avi": 3,
        "gone": 0, "text": 0,
    }  # fmt: skip
    assert found["one frame"].status == "ok"
    assert "a link to nothing" in found["gone"].reason
    assert "not a video" in found["text"].reason


def test_a_folder_whose_name_begins_with_a_dash(make_video, tmp_path, monkeypatch):
    make_video("-dir/-clip.mp4", 2)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(facer, ["extract", "-o", "s.zarr", "--workers", "1", "--", "-dir"])
    assert done.exit_code == 0, done.output
    assert FeatureStore.open("s.zarr").clip_ids == ("-clip",)


def test_a_playlist_in_disguise_brings_nothing_in(make_video, tmp_path):
    make_video("secret.mp4", 5)
    make_video("videos/a.mp4", 5)
    lists = {
        "concat": "ffconcat version 1.0\nfile ../secret.mp4\n",
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n../secret.mp4\n",
    }
    for name, text in lists.items():
        (tmp_path / "videos" / f"{name}.mp4").write_text(text)
    found = extract(tmp_path / "videos", tmp_path / "s.zarr")
    frames = {clip_id: record.n_frames for clip_id, record in found.items()}
    assert frames == {"a": 5, "concat": 0, "hls": 0}
