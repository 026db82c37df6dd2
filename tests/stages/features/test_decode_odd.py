"""Odd but legal videos give every frame with its time; disguised files are refused."""

import contextlib
import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from facer.stages.features.decode import container
from facer.stages.features.decode.folder import find_videos
from facer.stages.features.decode.frames import VideoReader
from facer.storage.errors import FacerError


@pytest.fixture
def write(tmp_path):
    """``write(name, n, size, codec, pixels, times_ms, format)``: n frames, the bar 4 px a frame."""

    def make(name, n=10, size=(64, 48), codec="libx264", pixels="yuv420p", times_ms=None,
             container=None):  # fmt: skip
        path = tmp_path / name
        base = Fraction(1, 1000) if times_ms else Fraction(1, 25)
        with av.open(str(path), "w", format=container) as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = pixels
            stream.time_base = stream.codec_context.time_base = base
            file.start_encoding()  # the header, even where no frame follows
            for index in range(n):
                image = np.full((size[1], size[0], 3), 60, np.uint8)
                image[:, 4 * index : 4 * index + 4] = 250
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
                frame.pts = times_ms[index] if times_ms else index
                frame.time_base = base
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        return path

    return make


def read(path, stride=1):
    with VideoReader(path, stride) as reader:
        frames = list(reader)
    return frames, reader.problem


EVEN = np.arange(10) / 25
ODD: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "vp8.webm": {"codec": "libvpx"},
    "10 bit.mp4": {"pixels": "yuv420p10le"},
    "grey.mp4": {"pixels": "gray"},
    "16 bit grey.mkv": {"codec": "ffv1", "pixels": "gray16le"},
    "alpha.webm": {"codec": "libvpx-vp9", "pixels": "yuva420p"},
    "alpha.mov": {"codec": "png", "pixels": "rgba"},
    "16x16.mp4": {"size": (16, 16)},
    "odd size.mp4": {"size": (63, 47), "pixels": "yuv444p"},
    "animation.gif": {"codec": "gif", "pixels": "rgb8"},
    "old.wmv": {"codec": "wmv2"},
    "broadcast.ts": {},
    "program.mpg": {"codec": "mpeg2video"},
    "-dash.mp4": {},
    "http:x [1] %02d ä.mp4": {},
}


@pytest.mark.parametrize("name", ODD)
def test_every_frame_of_an_odd_video_comes_with_its_time(write, name):
    options = ODD[name]
    frames, problem = read(write(name, **options))
    width, height = options.get("size", (64, 48))
    assert [f.image.shape for f in frames] == [(height, width, 3)] * 10
    np.testing.assert_allclose([f.timestamp_s for f in frames], EVEN, atol=2e-3)
    n_visible = width // 4
    columns = [int(f.image[height // 2].mean(-1).argmax()) // 4 for f in frames[:n_visible]]
    assert columns == list(range(10))[:n_visible]
    assert problem == ""


@pytest.mark.parametrize("n", [1, 2])
def test_very_short_videos(write, n):
    frames, problem = read(write("short.mp4", n))
    assert [f.timestamp_s for f in frames] == [0.0, 0.04][:n]
    assert problem == ""


def test_8k(write):
    frames, _ = read(write("8k.mkv", 2, (7680, 4320), "mjpeg", "yuvj420p"))
    assert [f.image.shape for f in frames] == [(4320, 7680, 3)] * 2


def test_a_frame_of_absurd_size_is_refused(write, monkeypatch):
    monkeypatch.setattr(container, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(FacerError, match=r"huge\.mkv: frames of 64x48 px, expected at most"):
        VideoReader(write("huge.mkv"))


def test_a_video_that_changes_its_size_is_scaled_to_the_first(write, tmp_path):
    parts = [write("a.ts", container="h264"), write("b.ts", size=(640, 480), container="h264")]
    path = tmp_path / "grows.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, _ = read(path)
    assert [f.image.shape for f in frames] == [(48, 64, 3)] * 20


@pytest.mark.parametrize(
    ("name", "options"),
    [("zero.mkv", {"codec": "mpeg4"}), ("zero.avi", {"codec": "mpeg4"}), ("zero.mp4", {})],
)
def test_a_video_without_frames_gives_none(write, name, options):
    with contextlib.suppress(FacerError):  # where the header says so already
        frames, _ = read(write(name, 0, **options))
        assert frames == []


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        sound.sample_rate = 16000
        file.mux(stream.encode(sound))
        file.mux(stream.encode(None))
    with pytest.raises(FacerError, match=r"sound\.mp4: .* expected a whole file with a picture"):
        VideoReader(path)


UNEVEN_MS = [0, 40, 80, 200, 210, 220, 500, 540, 580, 1000]


@pytest.mark.parametrize("name", ["variable.mp4", "variable.mkv"])
def test_a_variable_frame_rate_keeps_its_times(write, name):
    frames, problem = read(write(name, times_ms=UNEVEN_MS))
    found = [f.timestamp_s for f in frames]
    np.testing.assert_allclose(found, np.array(UNEVEN_MS) / 1000, atol=1e-3)
    assert problem == ""


def test_times_that_start_late_or_below_zero_count_from_the_first_frame(write):
    late = write("late.mkv", times_ms=[5000 + 40 * i for i in range(10)])
    below = write("below.mkv", times_ms=[-200 + 40 * i for i in range(10)])
    for path in (late, below):
        frames, problem = read(path)
        np.testing.assert_allclose([f.timestamp_s for f in frames], EVEN, atol=1e-3)
        assert problem == ""


@pytest.mark.parametrize(("stride", "expected"), [(1, EVEN), (3, EVEN[::3])])
def test_missing_times_are_filled_in_by_the_frame_rate(write, stride, expected):
    path = write("raw.ts", container="h264")  # a bare stream carries no times
    frames, _ = read(path, stride)
    np.testing.assert_allclose([f.timestamp_s for f in frames], expected, atol=1e-6)


DISGUISED = {
    "text": b"not a video",
    "HLS playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.ts\n#EXT-X-ENDLIST\n",
    "list of files": b"ffconcat version 1.0\nfile other.ts\n",
    "list of URLs": b"ffconcat version 1.0\nfile http://127.0.0.1:9/other.ts\n",
    "PNG picture": cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes(),
    "JPEG picture": cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes(),
}


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
@pytest.mark.parametrize("kind", DISGUISED)
def test_a_disguised_file_reads_no_other(write, tmp_path, kind, suffix):
    write("other.ts")
    path = tmp_path / f"disguised{suffix}"
    path.write_bytes(DISGUISED[kind])
    with pytest.raises(FacerError, match=rf"disguised\{suffix}: not a video"):
        VideoReader(path)


def test_a_pointer_of_git_lfs_is_called_so(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 9\n")
    with pytest.raises(FacerError, match=r"a.mp4: a Git LFS pointer, .*; run: git lfs pull"):
        VideoReader(path)


def test_a_playlist_under_its_own_name_is_refused_too(write, tmp_path):
    write("other.ts")
    path = tmp_path / "list.m3u8"
    path.write_bytes(DISGUISED["HLS playlist"])
    with pytest.raises(FacerError, match="not a video"):
        VideoReader(path)


def names(folder):
    return [clip_id for clip_id, _ in find_videos(folder)]


def touch(folder, *paths):
    for name in paths:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_links_to_files_and_folders_are_followed_wherever_they_point(tmp_path):
    touch(tmp_path, "videos/a.mp4", "elsewhere/b.mp4", "elsewhere/deep/c.mp4")
    folder = tmp_path / "videos"
    (folder / "link.mp4").symlink_to(folder / "a.mp4")
    (folder / "outside.mp4").symlink_to(tmp_path / "elsewhere" / "b.mp4")
    (folder / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert names(folder) == ["a", "link", "more/b", "more/deep/c", "outside"]
    (tmp_path / "other name").symlink_to(folder)
    assert names(tmp_path / "other name") == names(folder)


def test_loops_of_links_end(tmp_path):
    touch(tmp_path, "videos/a.mp4", "videos/deep/b.mp4")
    folder = tmp_path / "videos"
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    (folder / "self.mp4").symlink_to(folder / "self.mp4")
    assert names(folder) == ["a", "deep/b", "self"]


def test_a_link_to_nothing_is_a_clip_that_fails(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "no such file")
    ((clip_id, path),) = find_videos(tmp_path)
    assert clip_id == "gone"
    with pytest.raises(FacerError, match=r"gone\.mp4: a link to nothing"):
        VideoReader(path)


def test_hidden_files_and_folders_of_videos_are_no_clips(tmp_path):
    touch(tmp_path, "a.mp4", ".hidden.mp4", ".trash/b.mp4", "folder.mp4/c.mp4")
    assert names(tmp_path) == ["a", "folder.mp4/c"]


def test_what_is_called_a_video_and_is_no_file_fails_as_a_clip(tmp_path):
    touch(tmp_path, "a.mp4", "folder.mp4/notes.txt")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "ring.mp4").symlink_to(tmp_path)
    assert names(tmp_path) == ["a", "device", "folder", "pipe", "ring"]


def test_ids_differ_even_where_a_stem_is_anothers_name(tmp_path):
    touch(tmp_path, "c.mp4", "c.avi", "c.mp4.mkv", "x/c.mp4", "C.webm", "d.MP4")
    assert names(tmp_path) == ["C", "c.avi", "c.mp4", "c.mp4.mkv", "d", "x/c"]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "private/b.mp4")
    real = os.scandir

    def scandir(path):
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(FacerError, match=r"private: cannot be listed \(Permission denied\)"):
        find_videos(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(write, tmp_path, monkeypatch):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    write("cafe.mp4").rename(path)
    for read_it in (VideoReader, lambda path: find_videos(path.parent)):
        with pytest.raises(FacerError, match=r"caf\\udce9\.mp4': the name is not UTF-8; rename it"):
            read_it(path)
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")  # then any name may be one
    with pytest.raises(FacerError, match=r"set PYTHONUTF8=1 \(here: ascii\)"):
        find_videos(tmp_path)
