"""Sound comes under a written video: at its time, and without a change to the pictures."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from facer.pipeline.features.guarded.guard import ask
from facer.pipeline.features.guarded.sound import _made_anew
from facer.pipeline.views.video import add_sound, write_video
from facer.stages.features.audio.reader import AudioReader
from facer.stages.features.decode.frames import VideoReader
from tests.sounds import noise, write
from tests.support import time_of

RATE = 48_000
SOUND_S = 1.0
TONE_S = 0.5  # when the tone begins, in the time of the sound


def source(path, codec="aac", pictures_from_s=0.0, sound=True, pictures_n=25, video="mpeg4"):
    """A grey video at 25 frames/s, and a second of sound from the file's 0 on, silent at first."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(video, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        if sound:
            audio = container.add_stream(codec, rate=RATE, layout="mono")
        grey = np.full((48, 64, 3), 90, np.uint8)
        for index in range(pictures_n):
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = (
                round(1000 * pictures_from_s) + 40 * index,
                Fraction(1, 1000),
            )
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound:
            for frame in sound_frames(audio.codec_context.frame_size or 1024):
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def sound_frames(size):
    times = np.arange(0, int(SOUND_S * RATE)) / RATE
    tone = np.where(times >= TONE_S, 0.5 * np.sin(2 * np.pi * 440 * times), 0)
    for start in range(0, len(tone) - size + 1, size):
        samples = (32767 * tone[start : start + size]).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield frame


def silent_copy(video, path, from_s=0.0):
    """The frames of a video from a time on, which becomes 0, as annotate writes them."""
    with VideoReader(video) as reader:
        frames = [(frame.timestamp_s - from_s, frame.image) for frame in reader]
    write_video(path, [frame for frame in frames if frame[0] >= 0])
    return path


def picture_times(path):
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        times = [time_of(frame) for frame in container.decode(video)]
        return times, video.duration


def tone_start_s(path):
    """When the sound of a file becomes loud."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            wave = frame.to_ndarray().astype(float).ravel()
            peak = 1.0 if frame.format.name.startswith("flt") else 32768.0
            loud = np.flatnonzero(np.abs(wave) > 0.2 * peak)
            if len(loud):
                return frame.time + loud[0] / frame.sample_rate
    raise AssertionError("no sound")


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("aac", ".mp4"), ("libmp3lame", ".mp4"), ("libopus", ".webm"),  # as they are
     ("pcm_s16le", ".mp4"), ("mp2", ".mp4"), ("aac", ".webm")],  # made anew
)  # fmt: skip
@pytest.mark.parametrize("late_s", [0.0, 0.2])
def test_sound_comes_at_its_time_and_pictures_stay(tmp_path, codec, suffix, late_s):
    video = source(tmp_path / "clip.mkv", codec, pictures_from_s=late_s)
    out = silent_copy(video, tmp_path / f"out{suffix}")
    before = picture_times(out)
    assert add_sound(out, video) == ""
    assert picture_times(out) == before
    assert tone_start_s(out) == pytest.approx(TONE_S, abs=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", out.name]


def test_a_copy_that_begins_later_has_the_sound_from_there(tmp_path):
    video = source(tmp_path / "clip.mkv")
    out = silent_copy(video, tmp_path / "out.mp4", from_s=0.4)
    assert add_sound(out, video, 0.4) == ""
    assert tone_start_s(out) == pytest.approx(TONE_S - 0.4, abs=0.01)


def test_of_several_sounds_that_of_the_features_is_taken(tmp_path):
    """Seen: another one under a video than the features of the sound are of."""
    video, both = source(tmp_path / "clip.mkv"), tmp_path / "both.mkv"
    with av.open(str(video)) as single, av.open(str(both), "w") as out:
        shown, heard = (out.add_stream_from_template(one) for one in single.streams)
        stereo = out.add_stream("ac3", rate=RATE, layout="stereo", bit_rate=192_000)
        heard.disposition = stereo.disposition = Disposition(0)
        quiet = av.AudioFrame.from_ndarray(
            np.zeros((2, 1536), np.float32), format="fltp", layout="stereo"
        )
        quiet.sample_rate, quiet.time_base = RATE, Fraction(1, RATE)
        for number in range(30):
            quiet.pts = 1536 * number
            out.mux(stereo.encode(quiet))
        for packet in single.demux():
            if packet.dts is not None:
                packet.stream = shown if packet.stream.type == "video" else heard
                out.mux(packet)
    copy = silent_copy(both, tmp_path / "copy.mp4")
    assert add_sound(copy, both) == ""
    assert tone_start_s(copy) == pytest.approx(TONE_S, abs=0.01)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_of_joined_segments_stays_with_their_pictures(tmp_path, suffix):
    part = source(tmp_path / "part.ts", pictures_n=40)  # of a second of sound
    video = tmp_path / "clip.ts"
    video.write_bytes(2 * part.read_bytes())
    with VideoReader(video) as reader:
        times = [frame.timestamp_s for frame in reader]
    out = silent_copy(video, tmp_path / f"out{suffix}", from_s=times[40])
    assert add_sound(out, video, times[40]) == ""
    assert tone_start_s(out) == pytest.approx(TONE_S, abs=0.01)


@pytest.mark.parametrize(("part", "suffix"), [("aac.mkv", ".mp4"), ("libopus.webm", ".webm")])
def test_sound_of_joined_files_stays_with_their_pictures(tmp_path, part, suffix):
    """Seen: no sound, and an invalid argument as the reason."""
    one = source(tmp_path / f"part{Path(part).suffix}", Path(part).stem, video="libvpx")
    video = tmp_path / f"clip{Path(part).suffix}"
    video.write_bytes(2 * one.read_bytes())
    with VideoReader(video) as reader:
        times = [frame.timestamp_s for frame in reader]
    assert len(times) == 50
    out = silent_copy(video, tmp_path / f"out{suffix}")
    assert add_sound(out, video) == ""
    with AudioReader(out, RATE) as reader:
        wave = np.concatenate([block.samples for block in reader])
    quiet = round(RATE * (times[25] + TONE_S))  # of the second file
    assert np.abs(wave[quiet - RATE // 4 : quiet - RATE // 50]).max() < 0.1
    assert np.abs(wave[quiet + RATE // 50 : quiet + RATE // 4]).max() > 0.3


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_that_leads_in_before_0_moves_no_picture(tmp_path, suffix):
    """Seen: the copy began 20 ms late, so that players showed other times than the store's."""
    video = source(tmp_path / "clip.mkv", "libopus", pictures_from_s=0.4)
    out = silent_copy(video, tmp_path / f"out{suffix}")
    assert add_sound(out, video) == ""
    with VideoReader(out) as reader:
        assert next(iter(reader)).timestamp_s == pytest.approx(0.4, abs=1e-3)


def test_silence_comes_a_second_at_a_time(tmp_path):
    """Seen: a hole of an hour took more memory than there was, and the sound was lost."""
    video = write(tmp_path / "clip.mkv", [(0, noise(0.5)), (5, noise(0.5))])
    sizes: list[int] = []
    heard: Any = SimpleNamespace(encode=lambda f: sizes.append(f.samples if f else 0) or ())
    assert list(_made_anew(video, heard, 0.0)) == []
    assert sum(sizes) == pytest.approx(5.5 * RATE, abs=2)
    assert max(sizes) == RATE


def test_a_video_without_sound_stays_as_it_is(tmp_path):
    video = source(tmp_path / "a.mkv", sound=False)
    out = silent_copy(video, tmp_path / "out.mp4")
    before = out.read_bytes()
    assert add_sound(out, video) == ""
    assert out.read_bytes() == before


def test_a_source_that_breaks_off_leaves_the_video_as_it_was(tmp_path):
    video = source(tmp_path / "clip.mkv")
    out = silent_copy(video, tmp_path / "out.mp4")
    before = out.read_bytes()
    video.write_bytes(b"no video at all")
    assert "cannot be copied" in add_sound(out, video)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "out.mp4"]


def test_what_a_reader_calls_0(tmp_path):
    alone = source(tmp_path / "alone.mkv", pictures_from_s=0.2, sound=False)
    assert ask("clock_start_s", alone) == pytest.approx(0.2, abs=1e-3)
    assert ask("clock_start_s", source(tmp_path / "late.mkv", pictures_from_s=0.2)) == 0
    assert ask("clock_start_s", source(tmp_path / "prompt.mp4")) == 0
    (tmp_path / "text.mp4").write_text("text")
    assert ask("clock_start_s", tmp_path / "text.mp4") == 0
