"""An annotated video has its source's frames and times, the face marked, and its measurements."""

from pathlib import Path

import av
import numpy as np
import pytest

from facer.pipeline.views.annotate import annotate_clip, mark_face
from facer.pipeline.views.clip_picture import draw_clip
from facer.pipeline.views.footage import find_video
from facer.pipeline.views.video import write_video
from facer.stages.features.decode.frames import VideoReader
from facer.storage import FEATURE_NAMES, ClipFeatures, FacerError, FeatureStore, Provenance, Record
from facer.storage.schema import Status

BOX = (20.0, 10.0, 60.0, 50.0)
POINTS = ((30.0, 25.0), (50.0, 25.0), (40.0, 32.0), (33.0, 42.0), (47.0, 42.0))
YELLOW, BLUE = (240, 228, 66), (86, 180, 233)
SIZE = (96, 64)


def frames_of(path, stride=1):
    with VideoReader(path, stride) as reader:
        return list(reader)


def features_for(path, stride=1, empty=()):
    """What an extraction could have found: a face at BOX but in the rows ``empty``."""
    times = np.array([frame.timestamp_s for frame in frames_of(path, stride)])
    n = len(times)
    valid = ~np.isin(np.arange(n), empty)

    def rows(value):
        result = np.full((n, *np.shape(value)), np.nan, np.float32)
        result[valid] = value
        return result

    return ClipFeatures(
        features=rows(np.full(len(FEATURE_NAMES), 0.5)),
        timestamp_s=times,
        valid=valid,
        det_score=rows(0.9),
        bbox_px=rows(BOX),
        keypoints_px=rows(POINTS),
        n_faces=valid.astype(np.int16),
    )


@pytest.fixture
def store(tmp_path):
    """``store(path, clip)``: a store of one clip, whose video is ``path``."""

    def make(path, clip, source=None, size=0):
        opened = FeatureStore.create(tmp_path / "s.zarr", Provenance("d", "0", "r", "0"))
        n_valid = int(clip.valid.sum())
        status: Status = "ok" if n_valid else "no_face"
        record = Record(
            path.stem, status, clip.n_frames, n_valid=n_valid, source_size=size,
            source=path.name if source is None else source,
        )  # fmt: skip
        opened.write_part([(record, clip)])
        return opened

    return make


@pytest.fixture
def uneven_video(tmp_path):
    """A grey video of 12 frames at uneven times."""
    path = tmp_path / "videos" / "clip.mp4"
    times = np.cumsum([0, 0.04, 0.04, 0.12, 0.03, 0.05, 0.2, 0.04, 0.04, 0.04, 0.07, 0.04])
    image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    write_video(path, ((float(time), image) for time in times))
    return path


def near(image, color, tolerance=60):
    """Where an image has about this colour (H, W)."""
    return np.abs(image.astype(int) - color).max(axis=2) < tolerance


@pytest.mark.parametrize("stride", [1, 3, 5])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_frames_and_times_are_those_of_the_source(store, uneven_video, tmp_path, stride, suffix):
    opened = store(uneven_video, features_for(uneven_video, stride))
    out = tmp_path / f"out{suffix}"
    heard = []
    no_sound = annotate_clip(
        opened, "clip", uneven_video.parent, out, lambda *done: heard.append(done)
    )
    assert no_sound == ""
    source, drawn = frames_of(uneven_video), frames_of(out)
    assert len(drawn) == len(source) == 12
    np.testing.assert_allclose(
        [frame.timestamp_s for frame in drawn],
        [frame.timestamp_s for frame in source],
        atol=1e-3 if suffix == ".webm" else 1e-4,
    )
    assert heard[-1] == (len(range(0, 12, stride)),) * 2
    assert len(heard) == 12


def test_the_face_is_marked_where_it_is_and_only_there(store, uneven_video, tmp_path):
    opened = store(uneven_video, features_for(uneven_video, empty=(2, 3)))
    annotate_clip(opened, "clip", uneven_video.parent, tmp_path / "out.mp4")
    drawn = [frame.image for frame in frames_of(tmp_path / "out.mp4")]
    top = (drawn[0].shape[0] - SIZE[1]) // 2
    for index, image in enumerate(drawn):
        video = image[top : top + SIZE[1], : SIZE[0]]
        if index in (2, 3):
            assert np.abs(video.astype(int) - 90).max() < 25
        else:
            y, x = np.nonzero(near(video, YELLOW))
            corners = (x.min(), y.min(), x.max(), y.max())
            np.testing.assert_allclose(corners, BOX, atol=2)


def test_held_frames_show_the_face_measured_last(store, uneven_video, tmp_path):
    opened = store(uneven_video, features_for(uneven_video, 5, empty=(1,)))
    annotate_clip(opened, "clip", uneven_video.parent, tmp_path / "out.mp4")
    marked = [near(frame.image, YELLOW)[:, :90].any() for frame in frames_of(tmp_path / "out.mp4")]
    assert marked == [True] * 5 + [False] * 5 + [True] * 2


def test_marks_leave_the_image_and_what_is_not_finite_alone():
    image = np.zeros((64, 96, 3), np.uint8)
    points = np.array(POINTS, np.float32)
    points[2] = np.nan
    marked = mark_face(image, np.full(4, np.nan, np.float32), points)
    assert not image.any()
    assert not near(marked, YELLOW).any()
    blue = near(marked, BLUE, 10)
    assert [bool(blue[int(y), int(x)]) for x, y in POINTS] == [True, True, False, True, True]
    far = mark_face(image, np.array([-1e9, -5, 1e9, 30], np.float32), points + 1e9)
    assert far.shape == image.shape


def test_another_video_than_the_extracted_one_is_refused(store, uneven_video, make_video, tmp_path):
    opened = store(uneven_video, features_for(uneven_video))
    make_video("other/clip.mp4", 12)
    out = tmp_path / "out.mp4"
    with pytest.raises(FacerError, match="row 4 of 12 of the store has no frame at its time"):
        annotate_clip(opened, "clip", tmp_path / "other", out)
    make_video("other/clip.mp4", 1)
    with pytest.raises(FacerError, match="expected the video that was extracted"):
        annotate_clip(opened, "clip", tmp_path / "other", out)
    assert not out.exists()


@pytest.mark.parametrize("draw", [annotate_clip, draw_clip])
def test_an_imported_clip_has_no_video(store, make_video, tmp_path, draw):
    """Seen: "a folder, expected a video"."""
    video = make_video("clip.mp4", 5)
    opened = store(video, features_for(video), source="")
    with pytest.raises(FacerError, match="its features were imported, so no video"):
        draw(opened, "clip", tmp_path, tmp_path / "out.mp4")


def test_another_video_of_the_same_length_is_refused(store, make_video, tmp_path):
    """Seen: pictures of somebody else's face beside the values, where names were alike."""
    video = make_video("clip.mp4", 5)
    opened = store(video, features_for(video), size=video.stat().st_size)
    other = make_video("other/clip.mp4", [np.full((64, 96, 3), 30 * i, np.uint8) for i in range(5)])
    assert [frame.timestamp_s for frame in frames_of(other)] == [
        frame.timestamp_s for frame in frames_of(video)
    ]
    for draw in (annotate_clip, draw_clip):
        out = tmp_path / ("out.mp4" if draw is annotate_clip else "out.png")
        draw(opened, "clip", tmp_path, out)
        out.unlink()
        with pytest.raises(FacerError, match="it is not the video that was extracted"):
            draw(opened, "clip", tmp_path / "other", out)
        assert not out.exists()
    with pytest.raises(FacerError, match="it is not the video that was extracted"):
        find_video(opened.record("clip"), tmp_path / "other")


@pytest.mark.parametrize("source", ["../outside.mp4", "/etc/passwd", "a\0.mp4"])
def test_the_path_never_leaves_the_folder(store, uneven_video, tmp_path, source):
    opened = store(uneven_video, features_for(uneven_video), source)
    (tmp_path / "outside.mp4").write_bytes(uneven_video.read_bytes())
    with pytest.raises(FacerError, match=r"lies outside|can name no file"):
        annotate_clip(opened, "clip", uneven_video.parent, tmp_path / "out.mp4")


def test_links_of_the_folder_lead_to_videos_as_extraction_reads_them(store, uneven_video, tmp_path):
    folder = tmp_path / "chosen"
    folder.mkdir()
    (folder / "clip.mp4").symlink_to(uneven_video)
    opened = store(uneven_video, features_for(uneven_video))
    annotate_clip(opened, "clip", folder, tmp_path / "out.mp4")
    before = uneven_video.read_bytes()
    for own in (folder / "clip.mp4", uneven_video):
        with pytest.raises(FacerError, match="is the video of a clip"):
            annotate_clip(opened, "clip", folder, own)
    assert uneven_video.read_bytes() == before
    (folder / "clip.mp4").unlink()
    (folder / "clip.mp4").symlink_to("clip.mp4")
    with pytest.raises(FacerError, match=r"found no video 'clip\.mp4' in"):
        annotate_clip(opened, "clip", folder, tmp_path / "out.mp4")


def test_a_missing_video_and_those_of_the_store_are_refused(store, uneven_video, tmp_path):
    opened = store(uneven_video, features_for(uneven_video))
    before = uneven_video.read_bytes()
    other = uneven_video.with_name("other.mp4")
    other.write_bytes(before)
    opened.write_part([(Record("other", "failed", 0, "broken", source="other.mp4"), None)])
    for video in (uneven_video, other, uneven_video.parent / "../videos/other.mp4"):
        with pytest.raises(FacerError, match="is the video of a clip of the store"):
            annotate_clip(opened, "clip", uneven_video.parent, video)
        assert video.read_bytes() == before
    with pytest.raises(FacerError, match=r"found no video 'clip\.mp4' in"):
        annotate_clip(opened, "clip", tmp_path, tmp_path / "out.mp4")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "codec"),
    [("portrait_rot90.mp4", ""), ("webcam_vfr_vp8.webm", ""), ("two_people.gif", ""),
     ("single_face.mp4", "mp3"), ("face_noface_vfr_hevc.mov", "aac")],
)  # fmt: skip
def test_real_clips_keep_their_frames_times_size_and_sound(
    store, shared: Path, tmp_path, name, codec
):
    path = shared / "clips" / name
    opened = store(path, features_for(path))
    no_sound = annotate_clip(opened, path.stem, path.parent, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        found = [s.codec_context.codec.canonical_name for s in container.streams.audio]
    assert found == ([codec] if codec else [])
    assert no_sound == ""
    source, drawn = frames_of(path), frames_of(tmp_path / "out.mp4")
    assert len(source) == len(drawn)
    before, after = ([frame.timestamp_s for frame in frames] for frames in (source, drawn))
    np.testing.assert_allclose(before, after, atol=5e-4)
    height, width = source[0].image.shape[:2]
    assert drawn[0].image.shape[0] >= max(height, 360)
    assert drawn[0].image.shape[1] >= width + 320
