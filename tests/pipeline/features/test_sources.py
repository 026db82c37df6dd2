"""Videos of a folder and behind a URL: the same ids, and a change that is noticed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import fsspec
import pytest

from facer.pipeline.features import fingerprints, sources
from facer.pipeline.features.fingerprints import Reading, changed, fingerprint
from facer.pipeline.features.sources import open_videos
from facer.storage.errors import FacerError, PlaceError
from facer.storage.schema import Record

KINDS = {"device": "a device", "fifo": "a pipe (FIFO)", "socket": "a socket", "folder": "a folder"}
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


def is_changed(place: str, path: str, record: Record) -> bool:
    (source,) = [source for source in open_videos(place).find() if source.path == path]
    return bool(changed(open_videos(place), [(source, record)], lambda *_: None))


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
    def open_video(path: Path, stride: int) -> Iterator[Any]:
        seen.append(path)
        assert path.name == "two [x].avi"
        yield path.read_bytes()

    reading = Reading(open_videos(place), open_video)
    with reading.open(Path("a/two [x].avi"), 1) as data:
        assert data == b"22"
    found = reading.fingerprints["a/two [x].avi"]
    assert found == fingerprint(open_videos(place), "a/two [x].avi")
    assert found.sha256 == hashlib.sha256(b"22").hexdigest()
    assert seen[0].exists() == (not place.startswith("memory"))  # a copy does not stay


def test_a_video_that_is_gone(place: str) -> None:
    reading = Reading(open_videos(place), lambda path, *_: path.open())
    with pytest.raises((FacerError, OSError)), reading.open(Path("gone.mp4"), 1, 1):
        pass
    assert fingerprint(open_videos(place), "gone.mp4") is None


def test_a_folder_that_is_gone_is_no_fault_of_a_clip(tmp_path: Path) -> None:
    reading = Reading(open_videos(tmp_path / "unmounted"), lambda path, *_: path.open())
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

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "open", refuse)
    with pytest.raises(FacerError, match=r"x\.mp4: cannot be read from"), videos.local("x.mp4"):
        pass
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "ls", refuse)
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


@pytest.mark.parametrize("year", [1901, 2400])
def test_a_time_beyond_what_a_record_holds_is_cut(place: str, year: int) -> None:
    time_ns = int((year - 1970) * 365.2425 * 86400) * 10**9
    if "://" in place:
        found = sources._mtime_ns({"mtime": time_ns / 1e9})
    else:
        os.utime(f"{place}/b.mp4", ns=(time_ns, time_ns))
        found = open_videos(place).stat("b.mp4")[1]
        assert open_videos(place).find()[-1].mtime_ns == found
    assert -(2**63) < found < 2**63
    assert (found < 0) == (year == 1901)


def test_a_new_time_alone_is_no_change(place: str) -> None:
    record = record_of(place, "b.mp4")
    assert not is_changed(place, "b.mp4", record)
    write(place, {"b.mp4": FILES["b.mp4"]})
    if not place.startswith("memory"):
        os.utime(f"{place}/b.mp4", ns=(1, 1))
    assert record_of(place, "b.mp4").source_mtime_ns != record.source_mtime_ns
    assert not is_changed(place, "b.mp4", record)


@pytest.mark.parametrize("data", [b"x", b"longer"])
def test_other_content_is_a_change(place: str, data: bytes) -> None:
    record = record_of(place, "b.mp4")
    write(place, {"b.mp4": data})
    if not place.startswith("memory"):
        os.utime(f"{place}/b.mp4", ns=(1, 1))
    assert is_changed(place, "b.mp4", record)
    unknown = Record("x", "ok", 1)  # imported: nobody knows what it was made from
    assert not is_changed(place, "b.mp4", unknown)


def test_many_videos_with_a_new_time_are_compared_at_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{n}.mp4": bytes([n]) for n in range(9)}
    write(str(tmp_path), files)
    known = [
        (source, replace(record_of(str(tmp_path), source.path), source_mtime_ns=1))
        for source in open_videos(tmp_path).find()
    ]
    (tmp_path / "7.mp4").write_bytes(b"x")
    (tmp_path / "8.mp4").unlink()
    together = Barrier(2, timeout=30)
    plain, alone = fingerprints.sha256_of, iter([True])

    def met(file: Any, size: int) -> str:
        if next(alone, False) or together.n_waiting:  # the first waits for a second one
            together.wait()
        return plain(file, size)

    monkeypatch.setattr(fingerprints, "sha256_of", met)
    heard: list[tuple[int, int]] = []
    other = changed(open_videos(tmp_path), known, lambda *count: heard.append(count))
    assert other == {"7"}
    assert heard == [(done, 9) for done in range(1, 10)]


def test_only_what_a_video_was_when_it_was_opened_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"12345")
    found = open_videos(tmp_path)
    with found.open("x.mp4") as file:
        assert fingerprints.sha256_of(file, 3) == hashlib.sha256(b"123").hexdigest()


def test_a_file_that_is_too_large_is_the_clips_fault(tmp_path: Path) -> None:
    with (tmp_path / "x.mp4").open("wb") as file:
        file.truncate(fingerprints.MAX_BYTES + 1)  # without taking room
    reading = Reading(open_videos(tmp_path), lambda path, *_: path.open())
    message = r"x\.mp4: 1,099,511,627,777 bytes, expected a video of at most"
    with pytest.raises(FacerError, match=message), reading.open(Path("x.mp4"), 1, 1):
        pass


def test_a_local_url_is_a_folder(tmp_path: Path) -> None:
    write(str(tmp_path), FILES)
    found = open_videos(f"file://{tmp_path}")
    assert isinstance(found, sources.FolderVideos)
    assert {source.path for source in found.find()} == set(IDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_at_once(
    odd_file: Callable[[str], Path], kind: str
) -> None:
    path = odd_file(kind)
    opened: list[Path] = []
    reading = Reading(open_videos(path.parent), lambda path, *_: opened.append(path))  # type: ignore[arg-type, var-annotated]
    with (
        pytest.raises(
            FacerError, match=rf"^{path.name}: {re.escape(KINDS[kind])}, expected a video$"
        ),
        reading.open(Path(path.name), 1, 1),
    ):
        pass
    assert not opened
    assert fingerprint(open_videos(path.parent), path.name) is None
