"""A frame as a player shows it: fields, square pixels, turns, colours."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from facer.stages.features.decode.display import Display, fit

TOP_FIRST = {"x264-params": "tff=1", "crf": "10"}


def moving(n, step=5):
    """A smooth picture that moves to the right."""
    y, x = np.mgrid[:128, :192]
    for index in range(n):
        wave = np.sin((x - step * index) / 9.0) + np.sin(y / 13.0)
        yield np.repeat((110 + 50 * wave).astype(np.uint8)[..., None], 3, 2)


def combs(image):
    """How far rows are from the mean of their neighbours."""
    rows = image.astype(float)
    return np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()


def fields(n):
    """2n pictures as n interlaced ones."""
    pictures = list(moving(2 * n))
    for even, odd in zip(pictures[::2], pictures[1::2], strict=True):
        woven = even.copy()
        woven[1::2] = odd[1::2]
        yield woven


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("a.mts", "libx264", TOP_FIRST),
    ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme", "top": "1", "b": "8M"}),
])  # fmt: skip
def test_interlaced_video_is_de_interlaced_frame_for_frame(encode, read, name, codec, options):
    woven = list(fields(12))
    container = "mpegts" if name.endswith(".mts") else None
    path = encode(name, woven, codec, options=options, container=container)
    frames, problem = read(path)
    assert len(frames) == 12
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.arange(12) / 25, atol=1e-3)
    assert problem == ""
    before = np.mean([combs(image) for image in woven])
    assert np.mean([combs(frame.image) for frame in frames]) < 0.35 * before
    even = list(moving(24))[::2]
    for frame, image in zip(frames[1:-1], even[1:-1], strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 4  # the first field's moment


@pytest.mark.parametrize("n", [1, 2, 3])
def test_short_interlaced_videos_keep_every_frame(encode, read, n):
    assert len(read(encode("a.mkv", list(fields(n)), options=TOP_FIRST))[0]) == n


@pytest.mark.parametrize("n_before", [0, 5])
def test_a_stride_changes_no_frame_of_an_interlaced_video(encode, read, tmp_path, n_before):
    parts = [encode("i.ts", list(fields(10 - n_before)), options=TOP_FIRST)]
    if n_before:  # progressive ones
        parts.insert(0, encode("p.ts", list(moving(n_before))))
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    every, third = read(path)[0], read(path, 3)[0]
    assert [f.frame_index for f in third] == [0, 3, 6, 9]
    for a, b in zip(every[::3], third, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert a.timestamp_s == b.timestamp_s


def test_progressive_pictures_that_are_called_interlaced_are_left_alone(encode, read):
    pictures = list(moving(20))
    called = read(encode("a.mkv", pictures, options=TOP_FIRST))[0]
    plain = read(encode("b.mkv", pictures, options={"crf": "10"}))[0]
    with av.open(str(encode("a.mkv", pictures, options=TOP_FIRST))) as file:
        assert all(frame.interlaced_frame for frame in file.decode(video=0))
    for a, b in zip(called[4:], plain[4:], strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mpg", "a.h264"])
@pytest.mark.parametrize(
    ("aspect", "size", "shown"),
    [
        (Fraction(4, 3), (96, 64), (64, 128)),
        (Fraction(8, 9), (720, 480), (480, 640)),
        (Fraction(16, 15), (720, 576), (576, 768)),
        (Fraction(1), (96, 64), (64, 96)),
    ],
)
def test_pixels_become_square(encode, read, name, aspect, size, shown):
    if name == "a.mpg" and size == (96, 64):
        pytest.skip("MPEG-2 knows no such shape")
    codec = "mpeg2video" if name == "a.mpg" else "libx264"

    def stretch(stream):
        stream.codec_context.sample_aspect_ratio = aspect

    frames, _ = read(encode(name, 4, codec, size=size, stream=stretch))
    assert {frame.image.shape[:2] for frame in frames} == {shown}
    red = frames[0].image[: shown[0] // 2, :, 0] > 150
    assert abs(red[4].sum() - shown[1] / 2) <= 3


@pytest.mark.parametrize("aspect", [Fraction(1, 60), Fraction(60)])
def test_an_absurd_aspect_is_not_believed(encode, read, aspect):
    def stretch(stream):
        stream.codec_context.sample_aspect_ratio = aspect

    assert read(encode("a.mkv", 2, stream=stretch))[0][0].image.shape == (64, 96, 3)


def test_another_shape_on_the_way_is_fitted_into_the_first(encode, read, tmp_path):
    def stretch(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)

    one = encode("1.ts", 6, size=(176, 144))
    two = encode("2.ts", 6, size=(176, 144), stream=stretch)
    path = tmp_path / "a.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    frames = read(path)[0]
    assert {frame.image.shape for frame in frames} == {(144, 176, 3)}
    assert len(frames) == 12
    for frame in frames[:6]:
        assert frame.image[2].mean() > 30
    for frame in frames[6:]:  # wider, so black above and below
        assert frame.image[:20].max() == frame.image[-20:].max() == 0
        assert frame.image[30, 8, 0] > 150


def test_fitting_keeps_the_shape_of_what_is_shown():
    image = np.full((40, 20, 3), 200, np.uint8)
    found = fit(image, 20, 30)
    assert found.shape == (20, 30, 3)
    assert (found[:, 10:20] == 200).all()
    assert found.sum() == 200 * 20 * 10 * 3


CORNERS = {  # degrees counterclockwise, mirrored left-right, up-down: where the upper left goes
    (0, False, False): "UL", (90, False, False): "LL", (180, False, False): "LR",
    (-90, False, False): "UR", (0, True, False): "UR", (0, False, True): "LL",
    (90, True, False): "LR", (90, False, True): "UL",
}  # fmt: skip


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("turn", CORNERS)
def test_frames_are_turned_and_mirrored(encode, read, name, turn):
    degrees, left_right, up_down = turn
    frames, problem = read(encode(name, 2, stream=lambda stream: stream.set_display_rotation(
        degrees, hflip=left_right, vflip=up_down)))  # fmt: skip
    image = frames[0].image
    assert image.shape == ((96, 64, 3) if degrees in (90, -90) else (64, 96, 3))
    quarter = image.shape[0] // 4, image.shape[1] // 4
    places = {
        "UL": image[quarter], "UR": image[quarter[0], -quarter[1]],
        "LL": image[-quarter[0], quarter[1]], "LR": image[-quarter[0], -quarter[1]],
    }  # fmt: skip
    assert [place for place, colour in places.items() if colour[0] > 150 > 60 > colour[1]] == [
        CORNERS[turn]
    ]
    assert problem == ""


def test_another_angle_is_rounded_and_said(encode, read):
    path = encode("a.mp4", 2, stream=lambda stream: stream.set_display_rotation(100))
    frames, problem = read(path)
    assert frames[0].image.shape == (96, 64, 3)
    assert "no quarter turn" in problem


def test_a_turn_that_only_some_frames_name_is_that_of_all(encode, read, tmp_path):
    path = tmp_path / "turned.ts"
    with av.open(str(encode("a.ts"))) as plain, av.open(str(path), "w") as file:
        source = plain.streams.video[0]
        out = file.add_stream_from_template(source)
        turn = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=90", source)
        for packet in plain.demux(source):
            for turned in turn.filter(packet):
                turned.stream = out
                file.mux(turned)
    with av.open(str(path)) as file:
        assert 0 < sum(bool(frame.rotation) for frame in file.decode(video=0)) < 10
    frames, _ = read(path)
    for frame in frames:
        assert frame.image.shape == (96, 64, 3)
        assert frame.image[-8, 8, 0] > 150 > 90 > frame.image[8, 8, 0]  # upper left goes down


PATCHES = [(200, 40, 40), (40, 180, 40), (40, 40, 220), (250, 250, 250), (128, 128, 128)]


SKIN = [(230, 180, 150), (180, 120, 90), (90, 60, 45), (250, 250, 250), (128, 128, 128)]


def patches(width=160, colours=PATCHES):
    image = np.zeros((64, width, 3), np.uint8)
    for index, colour in enumerate(colours):
        image[:, index * width // 5 : (index + 1) * width // 5] = colour
    return image


def shown_patches(frame):
    width = frame.image.shape[1]
    return np.array([frame.image[32, (2 * i + 1) * width // 10] for i in range(5)], int)


MATRICES = {1: "ITU709", 5: "ITU601", 9: "BT2020"}


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pixels", ["yuv444p", "yuv444p10le"])
def test_colours_by_the_streams_own_matrix_and_range(tmp_path, read, matrix, full, pixels):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 64, pixels
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame.from_ndarray(patches(), format="rgb24")
        frame = frame.reformat(format=pixels, dst_colorspace=av.video.reformatter.Colorspace[
            MATRICES[matrix]], dst_color_range=2 if full else 1)  # fmt: skip
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        frame.colorspace, frame.color_range = matrix, 2 if full else 1
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    frames, _ = read(path)
    np.testing.assert_allclose(shown_patches(frames[0]), PATCHES, atol=4)


@pytest.mark.parametrize(("named", "as_matrix"), [(10, "BT2020"), (8, "ITU601")])
def test_a_matrix_that_libav_cannot_convert_by_blackens_nothing(tmp_path, read, named, as_matrix):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv444p"
        stream.codec_context.colorspace = named
        frame = av.VideoFrame.from_ndarray(patches(), format="rgb24").reformat(
            format="yuv444p", dst_colorspace=av.video.reformatter.Colorspace[as_matrix]
        )
        frame.pts, frame.time_base, frame.colorspace = 0, Fraction(1, 25), named
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    frames, problem = read(path)
    np.testing.assert_allclose(shown_patches(frames[0]), PATCHES, atol=4)
    assert ("matrix 8 of ITU-T H.273, which libav cannot convert" in problem) == (named == 8)


@pytest.mark.parametrize(("width", "matrix"), [(640, "ITU601"), (1280, "ITU709")])
def test_a_stream_that_names_no_matrix_has_601_below_hd_and_709_from_there(
    tmp_path, read, width, matrix
):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, 64, "yuv444p"
        frame = av.VideoFrame.from_ndarray(patches(width), format="rgb24")
        frame = frame.reformat(
            format="yuv444p", dst_colorspace=av.video.reformatter.Colorspace[matrix]
        )
        frame.pts, frame.time_base, frame.colorspace = 0, Fraction(1, 25), 2
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    frames, _ = read(path)
    np.testing.assert_allclose(shown_patches(frames[0]), PATCHES, atol=4)


_TO_BT2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)  # ITU-R BT.2087
_WEIGHTS = np.array([0.2627, 0.6780, 0.0593])


def hdr_signal(image, kind):
    """The picture at 203 cd/m2 for white, as a BT.2100 signal (H, W, 3) from 0 to 1."""
    nits = 203 * (image / 255.0) ** 2.4 @ _TO_BT2020.T
    if kind == 16:  # SMPTE ST 2084
        power = (nits / 10_000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    luminance = np.maximum(nits @ _WEIGHTS, 1e-6)[..., None]
    scene = nits / 1000 * (luminance / 1000) ** (-0.2 / 1.2)
    log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


def hdr_frame(image, kind):
    signal = hdr_signal(image, kind)
    luma = signal @ _WEIGHTS
    planes = [
        876 * luma + 64,
        896 * (signal[..., 2] - luma) / (2 * (1 - _WEIGHTS[2])) + 512,
        896 * (signal[..., 0] - luma) / (2 * (1 - _WEIGHTS[0])) + 512,
    ]
    height, width = image.shape[:2]
    frame = av.VideoFrame(width, height, "yuv444p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((height, plane.line_size // 2), np.uint16)
        rows[:, :width] = np.rint(np.clip(values, 0, 1023))
        plane.update(rows.tobytes())
    return frame


@pytest.mark.parametrize("kind", [16, 18])
def test_hdr_is_brought_to_the_ordinary_range(tmp_path, read, kind, monkeypatch):
    image = patches(colours=SKIN)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv444p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, kind
        context.color_range = 1
        frame = hdr_frame(image, kind)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        frame.colorspace, frame.color_primaries, frame.color_trc = 9, 9, kind
        frame.color_range = 1
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    frames, problem = read(path)
    np.testing.assert_allclose(shown_patches(frames[0]), SKIN, atol=8)
    assert problem == ""
    monkeypatch.setattr(Display, "_make", None)  # another clip needs no table of its own
    np.testing.assert_array_equal(read(path)[0][0].image, frames[0].image)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (4, 4), (17, 3)])
def test_tiny_and_odd_sizes(encode, read, size):
    frames, _ = read(encode("a.mkv", 2, "ffv1", "yuv444p", size=size))
    assert [frame.image.shape for frame in frames] == [(size[1], size[0], 3)] * 2
