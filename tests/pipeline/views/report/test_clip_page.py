import base64
import json
import re

import numpy as np
import pytest

from facer.pipeline.views.report import clip_page
from facer.pipeline.views.report.clip_page import ClipPages
from facer.pipeline.views.report.folder import CLIPS, ReportFolder, packed, page_name
from facer.pipeline.views.video import write_video
from facer.stages.features.decode.frames import VideoReader
from facer.storage import FacerError
from tests.support import some


def unpacked(value):
    raw = base64.b64decode(value["base64"])
    return np.frombuffer(raw, value["dtype"]).reshape(value["shape"])


def written(store, tmp_path, clip_id="a", videos=None, embed=False):
    """The page and the data of a clip."""
    folder = ReportFolder.claim(tmp_path / "report", "store", store.path)
    ClipPages(store, folder, videos, embed, "the store").write(clip_id)
    page = (folder.path / CLIPS / page_name(clip_id)).with_suffix(".html").read_text()
    script = (folder.path / CLIPS / page_name(clip_id)).with_suffix(".js").read_text()
    return page, json.loads(some(re.fullmatch(r"window\.facerData = (.*);\n", script))[1])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "?"])
def test_arrays_are_packed_bit_by_bit(dtype):
    values = np.array([0, 1, -3, 0.1, np.nan], "f8").astype("f8" if dtype != "i2" else "f4")
    values = np.nan_to_num(values).astype(dtype) if dtype in ("i2", "?") else values.astype(dtype)
    assert np.array_equal(unpacked(packed(values)), values, equal_nan=dtype[0] == "f")


def test_curves_and_gaps_are_those_of_the_store(make_store, clip_of, tmp_path):
    store = make_store({"a": clip_of(30, gaps=((3, 5), (28, 30)))})
    page, data = written(store, tmp_path)
    clip = store.read("a")
    assert np.array_equal(unpacked(data["time"]), clip.timestamp_s)
    for place, name in enumerate(store.feature_names):
        shown = unpacked(data["columns"][name])
        assert np.array_equal(shown, clip.features[:, place], equal_nan=True)
    (start, stop), (_, end) = data["gaps"]
    assert clip.timestamp_s[2] < start < clip.timestamp_s[3]
    assert clip.timestamp_s[4] < stop < clip.timestamp_s[5]
    assert end > clip.timestamp_s[29]
    assert data["weak"] == ["valence", "au24"]
    assert "taught by weak labels" in page


def test_a_long_clip_is_thinned_and_says_so(make_store, clip_of, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_page, "MAX_FRAMES", 12)
    store = make_store({"a": clip_of(30)})
    page, data = written(store, tmp_path)
    assert "One frame in 3 of 30 is drawn" in page
    happiness = store.read("a").features[::3, store.feature_names.index("happiness")]
    assert np.array_equal(unpacked(data["columns"]["happiness"]), happiness)


def test_columns_that_are_not_facers_are_named_and_left_out(make_store, clip_of, tmp_path):
    names = (*[f"x{i}" for i in range(24)], "valence", "au12")
    page, data = written(make_store({"a": clip_of(5)}, names=names), tmp_path)
    assert "Not drawn: 24 other columns of the store (x0, x1" in page
    assert data["groups"] == {"va": ["valence"], "expr": [], "au": ["au12"]}


def test_a_page_says_why_there_is_no_video(make_store, clip_of, tmp_path, make_video):
    make_video("videos/other.mp4", 3)
    clip = clip_of(12)
    sources = {"a": "a.mp4", "outside": "../x.mp4", "other": "other.mp4"}
    store = make_store(dict.fromkeys((*sources, "imported"), clip), sources)
    videos = tmp_path / "videos"
    for clip_id, folder, reason in (
        ("a", None, "give the folder of the videos"),
        ("a", videos, "found no video &#39;a.mp4&#39;"),
        ("outside", videos, "lies outside"),
        ("other", videos, "frames of the store are not in it"),
        ("imported", videos, "its features were imported"),
    ):
        page, _ = written(store, tmp_path, clip_id, folder)
        assert reason in page


def test_a_video_is_linked_beside_the_report_and_by_its_whole_path_elsewhere(
    make_store, clip_of, tmp_path, make_video
):
    make_video("videos/a #1%.mp4", 12)
    store = make_store({"a": clip_of(12, gaps=((0, 12),))}, {"a": "a #1%.mp4"})
    page, _ = written(store, tmp_path, videos=tmp_path / "videos")
    assert 'src="../../videos/a%20%231%25.mp4"' in page
    page, _ = written(store, tmp_path / "deeper", videos=tmp_path / "videos")
    assert f'src="file://{tmp_path}/videos/a%20%231%25.mp4"' in page


def test_an_embedded_video_has_the_frames_and_the_faces(
    make_store, clip_of, tmp_path, face_frames, make_video
):
    make_video("videos/a.mp4", face_frames(8), size=(320, 240))
    with VideoReader(tmp_path / "videos/a.mp4") as reader:
        times = [frame.timestamp_s for frame in reader]
    clip = clip_of(8)
    clip.timestamp_s[:] = times
    store = make_store({"a": clip}, {"a": "a.mp4"})
    page, data = written(store, tmp_path, videos=tmp_path / "videos", embed=True)
    with VideoReader(tmp_path / "report" / CLIPS / f"{page_name('a')}.mp4") as reader:
        copied = [frame.timestamp_s for frame in reader]
    assert np.add(copied, data["videoStart"]) == pytest.approx(times, abs=2e-3)
    assert page.count("data:image/jpeg;base64,") == 8


def test_a_linked_video_that_starts_late_is_shown_in_its_own_time(make_store, clip_of, tmp_path):
    (tmp_path / "videos").mkdir()
    image = np.full((48, 64, 3), 90, np.uint8)
    write_video(tmp_path / "videos/a.mp4", [(0.5 + i / 25, image) for i in range(12)])
    clip = clip_of(12, gaps=((0, 12),))
    _, data = written(make_store({"a": clip}, {"a": "a.mp4"}), tmp_path, videos=tmp_path / "videos")
    assert data["videoStart"] == pytest.approx(-0.5)


def test_pages_lead_to_the_ones_beside_them(make_store, clip_of, tmp_path):
    store = make_store({name: clip_of(3) for name in "abc"})
    folder = ReportFolder.claim(tmp_path / "report", "store", store.path)
    pages = ClipPages(store, folder, None, False, "the store")
    pages.write_all(dict.fromkeys("cab", ()), lambda *_: None)
    page = (folder.path / CLIPS / f"{page_name('a')}.html").read_text()
    assert f'<a href="{page_name("c")}.html" rel="prev">' in page
    assert f'<a href="{page_name("b")}.html" rel="next">' in page
    first = (folder.path / CLIPS / f"{page_name('c')}.html").read_text()
    assert 'rel="prev"' not in first


@pytest.mark.parametrize(
    ("times", "expected"),
    [([0, 0.033, 0.067, 0.1], "33.3 ms"), ([0, 0.04, 0.08, 0.2], "40.0 to 120.0 ms, median 40.0"),
     ([0], "unknown")],
)  # fmt: skip
def test_a_page_says_whether_the_frame_rate_varies(make_store, clip_of, tmp_path, times, expected):
    clip = clip_of(len(times))
    clip.timestamp_s[:] = times
    page, _ = written(make_store({"a": clip}), tmp_path)
    assert f'<th scope="row">time between frames</th><td>{expected}' in page


def test_a_failed_clip_has_no_page(make_store, tmp_path):
    with pytest.raises(FacerError, match="empty file"):
        written(make_store({"a": "empty file"}), tmp_path)
