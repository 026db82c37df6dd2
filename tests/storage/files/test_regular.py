"""Only regular files are opened, whatever lies at a path, and whenever it changes."""

import os

import pytest

from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"12")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    for name in ("a.mp4", "link.mp4"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"12"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/dev/zero", "a device, expected a video"),
        ("/dev/full", "a device, expected a video"),
        ("/proc/self", "a folder, expected a video"),
        ("nothing", "a link to nothing"),
        ("x.mp4", "cannot be opened"),  # a link to itself
    ],
)
def test_what_a_link_leads_to_decides(tmp_path, target, message):
    (tmp_path / "x.mp4").symlink_to(target)
    with pytest.raises(FacerError, match=rf"^x\.mp4: {message}"):
        open_regular(tmp_path / "x.mp4")


def test_what_is_not_there(tmp_path):
    with pytest.raises(FacerError, match=r"^x\.mp4: no such file, expected a video$"):
        open_regular(tmp_path / "x.mp4")
    with pytest.raises(FacerError, match="no name of a file"):
        open_regular(tmp_path / "x\0.mp4")


def test_a_file_that_becomes_a_fifo_before_it_is_opened_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.mp4"
    os.mkfifo(path)
    (tmp_path / "file").touch()
    before = (tmp_path / "file").stat()
    closed: list[int] = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda file: (closed.append(file), close(file)))
    monkeypatch.setattr(type(path), "stat", lambda *_, **__: before)
    with pytest.raises(FacerError, match=r"x\.mp4: a pipe \(FIFO\), expected a video"):
        open_regular(path)
    assert len(closed) == 1
