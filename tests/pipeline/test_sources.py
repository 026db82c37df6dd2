"""Videos of a folder and behind a URL: the same ids, and a change that is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest

from facer.pipeline.sources import PlaceError, Reading, changed, fingerprint, open_videos
from facer.storage.errors import FacerError
from facer.storage.schema import Record

FILES = {"a/one.mp4": b"1", "a/two [x].avi": b"22", "b.mp4": b"3", "b.mov": b"4", "note.txt": b""}
IDS = {"a/one": "a/one.mp4", "a/two [x]": "a/two [x].avi", "b.mov": "b.mov", "b.mp4": "b.mp4"}


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder or URL with the same files."""
    if request.param == "folder":
        write(str(tmp_path / "videos"), FILES)
        return str(tmp_path / "videos")
    url = f"memory://{tmp_path.name}/videos"
    write(url, FILES | {".hidden/x.mp4": b"", ".x.mp4": b""})
    return url


def write(place: str, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        with fsspec.open(f"{place}/{name}", "wb", auto_mkdir=True) as file:
            file.write(data)


def record_of(place: str, path: str) -> Record:
    found = fingerprint(open_videos(place), path)
    assert found is not None
    return Record(
        "x", "ok", 1, source_size=found.size, source_mtime_ns=found.mtime_ns,
        source_sha256=found.sha256,
    )  # fmt: skip


def test_every_place_has_the_same_ids(place: str) -> None:
    found = open_videos(place).find()
    assert {source.clip_id: source.path for source in found} == IDS
    assert {source.path: source.size for source in found} == {
        name: len(data) for name, data in FILES.items() if name != "note.txt"
    }
    assert all(source.mtime_ns > 10**18 for source in found)


def test_one_video_stands_for_itself(place: str) -> None:
    (source,) = open_videos(f"{place}/a/one.mp4").find()
    assert (source.clip_id, source.path) == ("one", "one.mp4")
    assert open_videos(f"{place}/a/one.mp4").stat("one.mp4")[0] == 1


def test_a_place_without_videos(place: str) -> None:
    with pytest.raises(FacerError, match=r"nowhere: no such folder|nowhere: no video found"):
        open_videos(f"{place}/nowhere").find()


def test_a_kind_of_place_that_nobody_knows() -> None:
    with pytest.raises(FacerError, match="nokind://x: cannot be opened: Protocol not known"):
        open_videos("nokind://x")


def test_a_video_is_read_as_a_local_file(place: str) -> None:
    seen = []

    @contextmanager
    def open_video(path: Path, stride: int, threads: int) -> Iterator[Any]:
        seen.append(path)
        assert path.name == "two [x].avi"
        yield path.read_bytes()

    reading = Reading(open_videos(place), open_video)
    with reading.open(Path("a/two [x].avi"), 1, 1) as data:
        assert data == b"22"
    found = reading.fingerprints["a/two [x].avi"]
    assert found == fingerprint(open_videos(place), "a/two [x].avi")
    assert found.sha256 == hashlib.sha256(b"22").hexdigest()
    assert seen[0].exists() == (not place.startswith("memory"))  # a copy does not stay


def test_a_video_that_is_gone(place: str) -> None:
    reading = Reading(open_videos(place), lambda path, *_: path.open())  # type: ignore[arg-type]
    with pytest.raises((FacerError, OSError)), reading.open(Path("gone.mp4"), 1, 1):
        pass
    assert fingerprint(open_videos(place), "gone.mp4") is None


def test_a_folder_that_is_gone_is_no_fault_of_a_clip(tmp_path: Path) -> None:
    reading = Reading(open_videos(tmp_path / "unmounted"), lambda path, *_: path.open())  # type: ignore[arg-type]
    with (
        pytest.raises(PlaceError, match="unmounted: the videos cannot be read: No such file"),
        reading.open(Path("x.mp4"), 1, 1),
    ):
        pass


def test_videos_that_vanish_while_one_is_read_are_no_fault_of_it(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"1")
    with (
        pytest.raises(PlaceError, match="is empty now, the videos are gone"),
        open_videos(tmp_path).local("x.mp4") as path,
    ):
        path.unlink()


def test_a_folder_of_some_clips_that_was_removed_is_their_fault(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"1")
    with open_videos(tmp_path).local("removed/y.mp4") as path:
        assert not path.exists()


def test_a_url_that_refuses_everything_is_no_fault_of_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory://{tmp_path.name}"
    write(url, {"x.mp4": b"1"})
    videos = open_videos(url)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("the token has expired")

    monkeypatch.setattr(type(videos._fs), "open", refuse)
    with pytest.raises(FacerError, match=r"x\.mp4: cannot be read from"), videos.local("x.mp4"):
        pass
    monkeypatch.setattr(type(videos._fs), "ls", refuse)
    with pytest.raises(PlaceError, match="token has expired"), videos.local("x.mp4"):
        pass


def test_no_room_for_a_copy_is_no_fault_of_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory://{tmp_path.name}"
    write(url, {"x.mp4": b"1"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with (
        pytest.raises(PlaceError, match=r"x\.mp4: cannot be fetched: .*No space left"),
        open_videos(url).local("x.mp4"),
    ):
        pass


def test_a_new_time_alone_is_no_change(place: str) -> None:
    record = record_of(place, "b.mp4")
    (source,) = [s for s in open_videos(place).find() if s.path == "b.mp4"]
    assert not changed(open_videos(place), source, record)
    write(place, {"b.mp4": FILES["b.mp4"]})
    if not place.startswith("memory"):
        os.utime(f"{place}/b.mp4", ns=(1, 1))
    (touched,) = [s for s in open_videos(place).find() if s.path == "b.mp4"]
    assert touched.mtime_ns != record.source_mtime_ns
    assert not changed(open_videos(place), touched, record)


@pytest.mark.parametrize("data", [b"x", b"longer"])
def test_other_content_is_a_change(place: str, data: bytes) -> None:
    record = record_of(place, "b.mp4")
    write(place, {"b.mp4": data})
    if not place.startswith("memory"):
        os.utime(f"{place}/b.mp4", ns=(1, 1))
    (source,) = [s for s in open_videos(place).find() if s.path == "b.mp4"]
    assert changed(open_videos(place), source, record)
    unknown = Record("x", "ok", 1)  # imported: nobody knows what it was made from
    assert not changed(open_videos(place), source, unknown)
