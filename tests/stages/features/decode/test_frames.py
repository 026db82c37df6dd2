"""Decoding: every frame, its time, upright; odd files are named, never fatal."""

from pathlib import Path

import numpy as np
import pytest

from facer.stages.features.decode.folder import find_videos
from facer.stages.features.decode.frames import VideoReader
from facer.storage.errors import FacerError

# frames that decoding gives, whatever the header says (data/README.md of the shared clips)
DECODED = {
    "asl_yes.mkv": 65, "face_noface_vfr_hevc.mov": 169, "no_face_animation.mp4": 95,
    "portrait_rot90.mp4": 72, "single_face.mp4": 72, "two_people.gif": 56,
    "two_people_mpeg4.avi": 56, "webcam_cfr_h264_twin.mp4": 250, "webcam_vfr_vp8.webm": 256,
}  # fmt: skip


def read(path, stride=1):
    with VideoReader(path, stride) as reader:
        frames = list(reader)
    return frames, reader


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v")]
)
def test_every_frame_comes_in_order_with_its_time(make_video, name, codec):
    frames, reader = read(make_video(name, 12, 25.0, codec))
    assert [f.frame_index for f in frames] == list(range(12))
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.arange(12) / 25, atol=2e-3)
    assert frames[0].image.shape == (64, 96, 3)
    assert frames[0].image.dtype == np.uint8
    bars = [int(f.image[32].mean(-1).argmax()) // 4 for f in frames]
    assert bars == list(range(12))
    assert reader.problem == ""


def test_channels_are_rgb(make_video):
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 0] = 200
    frames, _ = read(make_video(frames=[red] * 3))
    assert frames[0].image[..., 0].mean() > 150 > 60 > frames[0].image[..., 2].mean()


def test_stride_keeps_every_nth_frame_and_its_number(make_video):
    frames, _ = read(make_video(frames=10), stride=3)
    assert [f.frame_index for f in frames] == [0, 3, 6, 9]
    times = np.array([0, 3, 6, 9]) / 25
    np.testing.assert_allclose([f.timestamp_s for f in frames], times, atol=2e-3)


def test_a_broken_tail_keeps_what_was_decoded_and_says_so(make_video):
    path = make_video("a.avi", 40, codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, reader = read(path)
    assert 5 < len(frames) < 40
    assert "of the 40 frames" in reader.problem


def test_text_named_mp4_is_refused_in_one_line(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(FacerError, match=r"notes\.mp4: not a video"):
        VideoReader(path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(FacerError, match="empty file"):
        VideoReader(tmp_path / "empty.mp4")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FacerError, match="no such file"):
        VideoReader(tmp_path / "none.mp4")


def test_ids_are_paths_without_extension_and_never_clash(tmp_path):
    for name in ("b.mp4", "train/a.mp4", "val/a.webm", "c.mp4", "c.avi", "odd [1] ä.mp4", "x.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    ids = [clip_id for clip_id, _ in find_videos(tmp_path)]
    assert ids == ["b", "c.avi", "c.mp4", "odd [1] ä", "train/a", "val/a"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no such folder"),
        ("missing.MP4", "no such file, expected a video or a folder"),
        ("empty", "no video found"),
        ("file", "a file, expected a folder"),
    ],
)
def test_a_folder_without_videos_is_refused(tmp_path, what, message):
    path = tmp_path / what
    if what == "empty":
        path.mkdir()
    if what == "file":
        path.touch()
    with pytest.raises(FacerError, match=message):
        find_videos(path)


@pytest.mark.shared
@pytest.mark.parametrize("name", DECODED)
def test_real_clips_give_every_frame(shared: Path, name):
    frames, _ = read(shared / "clips" / name)
    assert len(frames) == DECODED[name]
    assert np.all(np.diff([f.timestamp_s for f in frames]) > 0)


@pytest.mark.shared
def test_rotation_metadata_is_honoured(shared: Path):
    frames, _ = read(shared / "clips" / "portrait_rot90.mp4")
    assert frames[0].image.shape == (360, 202, 3)


@pytest.mark.shared
def test_variable_frame_rate_keeps_the_gaps(shared: Path):
    frames, _ = read(shared / "clips" / "webcam_vfr_vp8.webm")
    steps = np.diff([f.timestamp_s for f in frames])
    assert steps.max() > 1.9 * np.median(steps)


@pytest.mark.parametrize(
    ("names", "told", "gaps"),
    [
        (("00001", "00002", "00003"), "-pattern_type glob -i 'a/*.jpg' ", False),
        (("00001", "00002", "00009"), "-pattern_type glob -i 'a/*.jpg' ", True),
        (("f8", "f9", "f10"), "-start_number 8 -i 'a/f%d.jpg' ", False),
    ],
)
def test_numbered_pictures_are_told_with_their_order_and_gaps(tmp_path, names, told, gaps):
    (tmp_path / "a").mkdir()
    for name in names:
        (tmp_path / "a" / f"{name}.jpg").touch()
    (tmp_path / "call.zoom").touch()
    (tmp_path / "phone.3gpp").touch()
    notes: list[str] = []
    assert [name for name, _ in find_videos(tmp_path, notes.append)] == ["phone"]
    unread, pictures = notes
    assert "1 file(s) ending in .zoom are not read (call.zoom); convert them with what" in unread
    assert told in pictures
    assert ("some numbers are missing" in pictures) == gaps
