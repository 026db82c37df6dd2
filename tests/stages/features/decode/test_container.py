"""What is opened, and which of its streams; what cannot be decoded is named."""

import os
import socket
import struct
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from facer.stages.features.decode.frames import VideoReader
from facer.storage.errors import FacerError

GREY, RED = (90, 90, 90), (200, 30, 30)


@pytest.fixture
def several(tmp_path):
    """``several(name, *streams)``: (codec, colour, disposition) each, 10 frames at 25/s."""

    def make(name, *streams):
        path = tmp_path / name
        with av.open(str(path), "w") as file:
            outs = []
            for codec, _, disposition in streams:
                out = file.add_stream(codec, rate=25)
                out.width, out.height = 64, 48
                out.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                out.disposition = disposition
                outs.append(out)
            for index in range(10):
                for out, (codec, colour, _) in zip(outs, streams, strict=True):
                    if codec == "mjpeg" and index:
                        continue  # a cover is one picture
                    image = np.full((48, 64, 3), colour, np.uint8)
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                    frame.pts, frame.time_base = index, Fraction(1, 25)
                    file.mux(out.encode(frame.reformat(format=out.pix_fmt)))
            for out in outs:
                file.mux(out.encode(None))
        return path

    return make


def is_red(frame):
    return frame.image[..., 0].mean() > 150


def test_the_default_stream_is_read_and_said(several, read):
    path = several("two.mkv", ("libx264", GREY, 0), ("libx264", RED, Disposition.default))
    frames, problem = read(path)
    assert len(frames) == 10
    assert is_red(frames[0])
    assert problem == "2 video streams: the default one, number 1, is read"


@pytest.mark.parametrize("cover", [0, Disposition.default, Disposition.attached_pic])
def test_a_cover_is_no_video(several, read, cover):
    frames, problem = read(several("cover.mkv", ("mjpeg", GREY, cover), ("libx264", RED, 0)))
    assert len(frames) == 10
    assert is_red(frames[0])
    assert problem == ""


@pytest.mark.parametrize("kind", ["device", "pipe", "socket", "folder"])
@pytest.mark.parametrize("linked", [False, True])
def test_only_regular_files_are_opened(tmp_path, kind, linked):
    target = tmp_path / "target.mp4"
    if kind == "device":
        target.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(target))
    path = tmp_path / "link.mp4" if linked else target
    if linked:
        path.symlink_to(target)
    with pytest.raises(FacerError, match=rf"{path.name}: a {kind}.*, expected a video"):
        VideoReader(path)


@pytest.mark.parametrize(("name", "of", "to", "codec"), [
    ("a.mp4", b"avc1", b"zzz1", "zzz1"),
    ("a.mkv", b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XXX", "V_MPEG4/ISO/XXX"),
])  # fmt: skip
def test_a_codec_that_libav_lacks_is_named_with_a_way_out(encode, name, of, to, codec):
    path = encode(name)
    path.write_bytes(path.read_bytes().replace(of, to))
    with pytest.raises(FacerError) as caught:
        VideoReader(path)
    text = str(caught.value)
    assert text.startswith(f"{name}: no frame could be decoded: libav has no decoder for it")
    assert f"codec {codec}," in text
    assert "ffmpeg -i" in text
    assert "\n" not in text


def test_an_encrypted_video_is_called_so(encode, read):
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "0f" * 16}
    path = encode("a.mp4", muxer={**key, "encryption_kid": "a7" * 16})
    with pytest.raises(FacerError, match=r"a.mp4: its pictures are encrypted, expected a video"):
        read(path)


def test_a_codec_that_fails_on_every_frame_is_named(encode, read):
    path = encode("a.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"ap4h"))
    with pytest.raises(FacerError, match=r"no frame could be decoded: .*codec prores, libav"):
        read(path)


def test_a_title_that_is_no_text_is_no_matter(encode, read):
    path = encode("a.mkv", stream=lambda s: s.metadata.update(title="TITLEX"))
    path.write_bytes(path.read_bytes().replace(b"TITLEX", b"\xff\xfe\xe9\xff\xfe\xe9"))
    assert len(read(path)[0]) == 10


KINDS: dict[str, dict[str, Any]] = {
    "a.3gp": {}, "a.3g2": {}, "a.f4v": {}, "a.flv": {}, "a.avi": {}, "a.h264": {},
    "a.hevc": {"codec": "libx265"}, "a.ivf": {"codec": "libvpx"}, "a.nut": {"codec": "ffv1"},
    "a.m1v": {"codec": "mpeg1video"}, "a.m2v": {"codec": "mpeg2video"},
    "a.mpg": {"codec": "mpeg1video"}, "a.mxf": {"codec": "mpeg2video"},
    "a.vob": {"codec": "mpeg2video", "container": "vob"},
    "a.m2ts": {"container": "mpegts", "muxer": {"mpegts_m2ts_mode": "1"}},
    "a.asf": {"codec": "wmv2", "container": "asf"}, "a.rm": {"codec": "rv10", "size": (176, 144)},
    "a.dv": {"codec": "dvvideo", "size": (720, 576)}, "av1.mp4": {"codec": "libsvtav1"},
    "b.avi": {"codec": "mpeg4", "options": {"bf": "2"}}, "b0.avi": {"options": {"bf": "0"}},
    "a.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "alpha.mov": {"codec": "prores_ks", "pixels": "yuva444p10le"},
    "a.mjpeg": {"codec": "mjpeg", "pixels": "yuvj420p"}, "live.mkv": {"muxer": {"live": "1"}},
    "exif.mov": {"codec": "tiff", "pixels": "rgb24"},  # side data that PyAV has no name for
    "frag.mp4": {"muxer": {"movflags": "frag_keyframe+empty_moov"}},
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_container_and_codec_gives_every_frame_and_time(encode, read, name):
    frames, problem = read(encode(name, **KINDS[name]))
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.arange(10) / 25, atol=1e-3)
    assert frames[0].image[8, 8, 0] > 150 > 60 > frames[0].image[8, 8, 2]
    assert problem in ("", "no frame has a time: set by the frame rate, 25 frames/s")


@pytest.mark.parametrize("name", ["a.mjpeg", "a.MJPG"])
def test_bare_jpegs_that_are_whole_pictures_are_a_video(encode, read, tmp_path, name):
    noise = [*np.random.default_rng(0).integers(0, 255, (3, 240, 320, 3), np.uint8)]
    path = encode("a.mjpeg", noise, "mjpeg", "yuvj420p").rename(tmp_path / name)
    jfif = b"\xff\xe0\x00\x10JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00"
    path.write_bytes(path.read_bytes().replace(b"\xff\xd8", b"\xff\xd8" + jfif))
    assert len(read(path)[0]) == 3


def test_a_bare_stream_has_the_rate_of_its_own_header(encode, read):
    path = encode("raw.mp4", container="h264", fps=50)
    frames, problem = read(path)
    assert frames[-1].timestamp_s == pytest.approx(9 / 50)
    assert "50 frames/s" in problem


@pytest.mark.parametrize("start_s", [0, 1.4, 36_000])
def test_a_stream_may_start_at_any_time(encode, read, start_s):
    times = [round(90_000 * start_s) + 3600 * index for index in range(10)]
    base = Fraction(1, 90_000)
    path = encode("late.ts", times=times, base=base, muxer={"mpegts_copyts": "1"})
    frames, problem = read(path)
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.arange(10) / 25, atol=1e-4)
    assert problem == ""


@pytest.mark.parametrize("start_s", [1 << 33, 3600 * 90_000, 0])
def test_segments_that_are_joined_go_on_at_the_frame_rate(encode, read, tmp_path, start_s):
    base, muxer = Fraction(1, 90_000), {"mpegts_copyts": "1"}
    first = [max(0, start_s - 18_000) + 3600 * index for index in range(10)]
    one = encode("1.ts", times=first, base=base, muxer=muxer)
    two = encode("2.ts", base=base, times=[3600 * index for index in range(10)], muxer=muxer)
    path = tmp_path / "joined.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    frames, problem = read(path)
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.arange(20) / 25, atol=1e-4)
    assert "its clock starts again (1 times): goes on at 25 frames/s" in problem


def test_a_stream_that_appears_on_the_way_is_left_out(encode, tmp_path, read):
    """Seen: the clip failed with an IndexError at its end."""
    plain = encode("plain.ts", frames=60, times=[8 * n for n in range(60)]).read_bytes()
    sounding = tmp_path / "sounding.ts"
    with av.open(str(tmp_path / "plain.ts")) as one, av.open(str(sounding), "w") as file:
        shown = file.add_stream_from_template(one.streams.video[0])
        sound = file.add_stream("mp2", rate=48000, layout="mono")
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), "s16", "mono")
        quiet.sample_rate, quiet.pts = 48000, 0
        file.mux([*sound.encode(quiet), *sound.encode(None)])
        for packet in one.demux(video=0):
            if packet.dts is not None:
                packet.stream = shown
                file.mux(packet)
    padding = (bytes([0x47, 0x1F, 0xFF, 0x10]) + bytes(184)) * 2000  # libav looks at the end, too
    path = tmp_path / "late.ts"
    path.write_bytes(plain + sounding.read_bytes() + padding + plain)
    with av.open(str(path)) as file:
        assert len(file.streams) == 1
    frames, problem = read(path)
    assert len(frames) == 180
    assert "its clock starts again (2 times)" in problem


def test_pictures_that_begin_after_the_sound_begin_late(tmp_path, read):
    path = tmp_path / "late.mp4"
    with av.open(str(path), "w") as file:
        video, sound = file.add_stream("libx264", rate=25), file.add_stream("aac", rate=16000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 50 + index, Fraction(1, 25)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.float32), "fltp", "mono")
        noise.sample_rate, noise.pts = 16000, 0
        file.mux(sound.encode(noise))
        file.mux(sound.encode(None))
    frames, problem = read(path)
    np.testing.assert_allclose([f.timestamp_s for f in frames], 2 + np.arange(5) / 25, atol=1e-3)
    assert problem == ""


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4", "cut.flv"])
def test_a_missing_tail_is_said(encode, read, name):
    path = encode(name, 100, muxer={"movflags": "faststart"} if name == "cut.mp4" else None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    frames, problem = read(path)
    assert 0 < len(frames) < 80
    assert f"decoding ended after {len(frames)} of the 100 frames in the header" in problem


@pytest.mark.parametrize("trimmed_s", [1, 2])
def test_a_start_that_is_late_and_trimmed_is_no_missing_tail(tmp_path, read, trimmed_s):
    """The edit list: two seconds of nothing, then the pictures but for their first seconds."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"g": "50", "bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(100):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8))
            frame.pts, frame.time_base = 50 + index, Fraction(1, 25)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    content = path.read_bytes()
    (ticks,) = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)
    written = struct.pack(">IiIIi", 2000, -1, 1 << 16, 4000, 0)
    assert content.count(written) == 1
    edits = struct.pack(">IiIIi", 2000, -1, 1 << 16, 4000 - 1000 * trimmed_s, trimmed_s * ticks)
    path.write_bytes(content.replace(written, edits))
    frames, problem = read(path)
    assert (len(frames), problem) == (100 - 25 * trimmed_s, "")


@pytest.mark.parametrize(("name", "codecs"), [
    ("a.asf", ("wmv2", "wmav2")), ("a.wtv", ("mpeg2video", "mp2")), ("a.mkv", ("libx264", "aac")),
])  # fmt: skip
def test_sound_that_goes_on_after_the_pictures_is_no_missing_tail(tmp_path, read, name, codecs):
    path = tmp_path / name
    with av.open(str(path), "w") as file:
        video = file.add_stream(codecs[0], rate=25)
        sound = file.add_stream(codecs[1], rate=44100, layout="stereo")
        sound.bit_rate = 64_000
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8 * 44100), np.int16), "s16", "stereo")
        silence.sample_rate, silence.pts = 44100, 0
        file.mux(sound.encode(silence))
        file.mux(sound.encode(None))
    frames, problem = read(path)
    assert len(frames) == 10
    assert problem == ""


def test_pictures_that_begin_after_what_libav_looks_at_miss_no_tail(tmp_path, read):
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as file:
        video, sound = file.add_stream("libx264", rate=25), file.add_stream("aac", rate=44100)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 14 * 44100), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts = 44100, 0
        packets = [*sound.encode(silence), *sound.encode(None)]
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 300 + index, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        for packet in sorted(packets, key=lambda packet: float(packet.dts or 0) * packet.time_base):
            file.mux(packet)
    with av.open(str(path)) as file:
        assert file.streams.video[0].start_time == 0  # libav has not seen it
    frames, problem = read(path)
    np.testing.assert_allclose([f.timestamp_s for f in frames], 12 + np.arange(5) / 25, atol=0.05)
    assert problem == ""


def test_an_avi_that_counts_more_often_than_it_has_frames_misses_no_tail(encode, read, tmp_path):
    path = tmp_path / "b.avi"
    whole = encode("a.mp4", 40, "mpeg4", muxer={"video_track_timescale": "600"})
    with av.open(str(whole)) as plain, av.open(str(path), "w") as file:
        source = plain.streams.video[0]
        out = file.add_stream_from_template(source)
        for packet in plain.demux(source):
            if packet.size:
                packet.stream = out
                file.mux(packet)
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames > 400  # the others are empty
    frames, problem = read(path)
    assert len(frames) == 40
    assert problem == ""


def test_a_frame_that_is_lost_moves_no_time_of_an_avi(encode, read):
    path = encode("a.avi", 40)
    whole, _ = read(path)
    with av.open(str(path)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][10]
    assert packet.pos is not None
    data = bytearray(path.read_bytes())
    data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    frames, problem = read(path)
    assert "1 packets could not be decoded" in problem
    assert len(frames) == 39
    assert np.mean(np.abs(frames[-1].image - 1.0 * whole[-1].image)) < 3
    np.testing.assert_allclose([f.timestamp_s for f in frames[-20:]],
                               [f.timestamp_s for f in whole[-20:]])  # fmt: skip
