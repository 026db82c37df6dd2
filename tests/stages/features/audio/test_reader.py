"""Sound at its place in time, whatever the container, codec, rate and layout."""

import struct
import wave
from itertools import pairwise

import av
import numpy as np
import pytest
from av.stream import Disposition

from facer.stages.features.audio import reader
from facer.stages.features.audio.reader import AudioReader
from facer.stages.features.audio.timeline import Pictures
from facer.stages.features.decode.frames import VideoReader
from facer.storage.errors import FacerError
from tests import sounds

RATE = 16000


def read(path, rate=RATE):
    with AudioReader(path, rate) as audio:
        return list(audio), audio.problem


def at_rate(wave_, rate):
    """What a wave without high frequencies is at 16 kHz."""
    n = round(len(wave_) * RATE / rate)
    spectrum = np.fft.rfft(wave_)[: n // 2 + 1]
    return (np.fft.irfft(spectrum, n) * RATE / rate).astype(np.float32)


# name, codec, rate, layout, within how many samples of 16 kHz: of PCM exact, else as the
# container's clock is rounded (1 ms in Matroska and in edit lists of files that libav writes)
FILES = [
    ("a.mov", "pcm_s16le", 44100, "mono", 0),
    ("a.mov", "pcm_s16le", 48000, "stereo", 0),
    ("a.mp4", "alac", 44100, "stereo", 0),
    ("a.mp4", "aac", 44100, "stereo", 16),
    ("a.mp4", "aac", 48000, "5.1", 16),
    ("a.mp4", "ac3", 48000, "5.1", 16),
    ("a.mp4", "mp3", 44100, "stereo", 16),
    ("a.mkv", "pcm_f32le", 192000, "7.1", 16),
    ("a.mkv", "flac", 96000, "stereo", 16),
    ("a.mkv", "aac", 44100, "stereo", 16),
    ("a.webm", "libopus", 48000, "stereo", 32),
    ("a.ts", "aac", 44100, "stereo", 1),
    ("a.mpg", "mp2", 44100, "mono", 1),
]


@pytest.mark.parametrize(("picture_s", "start_s"), [(0, 0), (0, 0.5), (0.3, 0.5), (0.5, 0.2)])
@pytest.mark.parametrize(("name", "codec", "rate", "layout", "within"), FILES)
def test_sound_lies_where_it_does_against_the_pictures(
    tmp_path, name, codec, rate, layout, within, picture_s, start_s
):
    channels = av.AudioLayout(layout).nb_channels
    wave_ = sounds.noise(1.5, rate, channels)
    path = sounds.write(tmp_path / name, [(start_s, wave_)], rate, codec, layout, picture_s)
    with VideoReader(path) as video:
        first_s = next(iter(video)).timestamp_s
    blocks, problem = read(path)
    line, _ = sounds.joined(blocks)
    expected = round((first_s + start_s - picture_s) * RATE)
    assert abs(sounds.delay(line, at_rate(wave_[0], rate), expected)) <= within
    assert problem == ""


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a", "a.opus", "a.ogg", "a.mka"])
def test_a_file_of_sound_alone_begins_at_0(tmp_path, name):
    codec, rate = {
        "a.wav": ("pcm_s16le", 44100), "a.flac": ("flac", 44100), "a.mp3": ("mp3", 44100),
        "a.m4a": ("aac", 44100), "a.opus": ("libopus", 48000), "a.ogg": ("flac", 44100),
        "a.mka": ("pcm_s24le", 44100),
    }[name]  # fmt: skip
    wave_ = sounds.noise(1.5, rate)
    path = sounds.write(tmp_path / name, [(0, wave_)], rate, codec, picture_s=None)
    blocks, problem = read(path)
    line, given = sounds.joined(blocks)
    assert given.all()
    assert problem == ""
    assert sounds.delay(line, at_rate(wave_[0], rate), 0) == 0


def test_sound_at_the_wanted_rate_is_given_bit_by_bit(tmp_path):
    wave_ = sounds.noise(3.3)
    path = sounds.write(tmp_path / "a.mkv", [(0, wave_)], codec="pcm_f32le")
    line, given = sounds.joined(read(path)[0])
    assert given.all()
    np.testing.assert_array_equal(line, wave_[0])


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f64le"])
def test_sample_formats_have_one_scale(tmp_path, codec):
    wave_ = sounds.noise(1.0, 16000, 2)
    path = sounds.write(tmp_path / "a.mov", [(0, wave_)], codec=codec, layout="stereo")
    line, _ = sounds.joined(read(path)[0])
    assert np.abs(line - wave_[0]).max() < (0.01 if codec == "pcm_u8" else 2e-4)


@pytest.mark.parametrize(
    ("codec", "layout"),
    [("pcm_s16le", name) for name in ("mono", "stereo", "3.0", "quad", "5.1", "7.1")]
    + [("flac", "7.1"), ("aac", "stereo"), ("aac", "5.1")],  # packed, planar
)
def test_channels_are_averaged(tmp_path, codec, layout):
    channels = av.AudioLayout(layout).nb_channels
    wave_ = np.zeros((channels, 48000), np.float32)
    wave_[0] = sounds.noise(1.0, 48000)[0]  # front left, or the only one
    path = sounds.write(tmp_path / "a.mkv", [(0, wave_)], 48000, codec, layout)
    line, _ = sounds.joined(read(path)[0])
    ratio = line[2000:14000].std() / at_rate(wave_[0], 48000)[2000:14000].std()
    assert ratio == pytest.approx(1 / channels, rel=0.05)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 44100, 48000, 96000, 192000])
def test_any_rate_keeps_time_and_scale(tmp_path, rate):
    seconds = np.arange(2 * rate) / rate
    wave_ = (0.5 * np.sin(2 * np.pi * 440 * seconds))[None].astype(np.float32)
    path = sounds.write(tmp_path / "a.wav", [(0, wave_)], rate, "pcm_f32le", picture_s=None)
    line, given = sounds.joined(read(path)[0])
    assert len(line) == 2 * RATE
    assert given.all()
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    assert np.abs(line - expected)[500:-500].max() < 0.003


def test_a_hole_is_a_hole(tmp_path):
    before, after = sounds.noise(1.0, seed=1), sounds.noise(1.0, seed=2)
    path = sounds.write(tmp_path / "a.mkv", [(0, before), (1.75, after)])
    line, given = sounds.joined(read(path)[0])
    assert np.abs(line[:16000] - before[0]).max() < 1e-4
    assert not given[16000:28000].any()
    assert sounds.delay(line, after[0], 28000) == 0


def test_a_hole_of_few_milliseconds_is_kept(tmp_path):
    before, after = sounds.noise(1.024, seed=1), sounds.noise(1.0, seed=2)
    path = sounds.write(tmp_path / "a.mkv", [(0, before), (1.040, after)])
    line, given = sounds.joined(read(path)[0])
    assert (~given).sum() == 256
    assert sounds.delay(line, after[0], 16640) == 0


def test_what_comes_twice_is_left_out(tmp_path):
    before, after = sounds.noise(1.024, seed=1), sounds.noise(1.0, seed=2)
    path = sounds.write(tmp_path / "a.mkv", [(0, before), (0.9, after)])
    blocks, problem = read(path)
    line, given = sounds.joined(blocks)
    assert given.all()
    assert len(line) == 16000 * 0.9 + 16000
    assert sounds.delay(line, after[0], 14400) == 0
    assert "overlap" in problem


def test_jitter_of_the_clock_is_no_hole(tmp_path):
    rng, wave_ = np.random.default_rng(0), sounds.noise(3.072)
    parts = np.split(wave_, 96, axis=1)
    spans = [(k * 0.032 + rng.uniform(0, 0.008), part) for k, part in enumerate(parts)]
    path = sounds.write(tmp_path / "a.mkv", spans)
    line, given = sounds.joined(read(path)[0])
    assert given.sum() == wave_.shape[1]
    assert sounds.delay(line, wave_[0], 0) <= 128


def test_a_clock_that_starts_again_goes_on(tmp_path):
    parts = [sounds.noise(1.0, 44100, 2, seed) for seed in (1, 2)]
    paths = [
        sounds.write(tmp_path / f"{k}.ts", [(0, part)], 44100, "mp2", "stereo", n_pictures=25)
        for k, part in enumerate(parts)
    ]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(path.read_bytes() for path in paths))
    blocks, problem = read(both)
    assert blocks[-1].stop == pytest.approx(2 * RATE, abs=1000)
    assert all(a.stop == b.start for a, b in pairwise(blocks))
    assert "starts again (1 times)" in problem or "overlap" in problem


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
@pytest.mark.parametrize("sound_s", [0.5, 1.5])
def test_sound_of_joined_files_stays_with_their_pictures(tmp_path, name, sound_s):
    waves = [sounds.noise(sound_s, 44100, seed=seed) for seed in range(2)]
    paths = [
        sounds.write(tmp_path / f"{k}{name}", [(0.1, wave_)], 44100, "mp2", n_pictures=50)
        for k, wave_ in enumerate(waves)
    ]
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in paths))
    with VideoReader(path) as video:
        shown = [frame.timestamp_s for frame in video]
    line, _ = sounds.joined(read(path)[0])
    for first_s, wave_ in zip(shown[::50], waves, strict=True):
        near = round((first_s + 0.1) * RATE)
        assert abs(sounds.delay(line, at_rate(wave_[0], 44100), near)) <= 0.002 * RATE


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_the_order_in_which_pictures_are_coded_is_no_clock_that_starts_again(tmp_path, name):
    """With pictures that refer to later ones, the first packets of an MKV have no order."""
    wave_ = sounds.noise(1.0, 44100)
    path = sounds.write(tmp_path / name, [(0, wave_)], 44100, "aac", n_pictures=50, video="libx264")
    with VideoReader(path) as video:
        first_s = next(iter(video)).timestamp_s
    line, _ = sounds.joined(read(path)[0])
    delay = sounds.delay(line, at_rate(wave_[0], 44100), round(first_s * RATE))
    assert abs(delay) <= 0.002 * RATE


def test_where_the_pictures_go_on_when_their_clock_starts_again():
    pictures = Pictures(0.04, joins=True)
    for dts_s, pts_s in [(0, 0.08), (0.04, 0.16), (0.08, 50.0)]:  # a last one with the next time
        pictures.add(dts_s, pts_s)
    assert (pictures.n_starts, pictures.shift_s) == (0, 0)
    pictures.add(50, 50.04)
    assert pictures.n_starts == 1
    assert pictures.shift_s == pytest.approx(0.08 + 0.08 + 0.04 - 50.04)


def test_a_start_that_is_late_and_trimmed_is_no_missing_tail(tmp_path):
    """The edit list: two seconds of nothing, then the sound but for its first two."""
    path = sounds.write(tmp_path / "a.m4a", [(2, sounds.noise(4.0))], picture_s=None, codec="alac")
    content = path.read_bytes()
    written = struct.pack(">IiIIi", 2000, -1, 1 << 16, 4000, 0)
    assert content.count(written) == 1
    edits = struct.pack(">IiIIi", 2000, -1, 1 << 16, 2000, 2 * RATE)
    path.write_bytes(content.replace(written, edits))
    blocks, problem = read(path)
    assert blocks[-1].stop == pytest.approx(2 * RATE, abs=4096)
    assert problem == ""


def test_a_rate_that_changes_on_the_way(tmp_path):
    rates = (44100, 22050, 48000)
    paths = [
        sounds.write(tmp_path / f"{rate}.aac", [(0, sounds.noise(1.0, rate))], rate, "aac",
                     picture_s=None, form="adts")
        for rate in rates
    ]  # fmt: skip
    both = tmp_path / "both.aac"
    both.write_bytes(b"".join(path.read_bytes() for path in paths))
    blocks, problem = read(both)
    line, _ = sounds.joined(blocks)
    for place in range(3):  # each second has the noise of its own file, and its level
        assert line[place * RATE + 3000 : place * RATE + 13000].std() > 0.05
    assert len(line) == pytest.approx(3 * RATE, rel=0.08)
    assert "could not" not in problem


def test_a_cover_is_no_picture_to_count_from(tmp_path):
    wave_ = sounds.noise(1.5, 44100)
    path = tmp_path / "cover.mp3"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("mp3", rate=44100)
        sound.layout = "mono"
        cover = out.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
        for packet in cover.encode(image):
            packet.stream = cover
            out.mux(packet)
        for packet in sounds.encode(sound, [(0, wave_)], 44100, "mono"):
            out.mux(packet)
    blocks, problem = read(path)
    line, _ = sounds.joined(blocks)
    assert sounds.delay(line, at_rate(wave_[0], 44100), 0) == 0
    assert problem == ""


def test_no_stream_and_no_samples(tmp_path, make_video):
    assert read(make_video("silent.mp4")) == ([], "no sound: the file has no sound stream")
    with wave.open(str(tmp_path / "empty.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
    assert read(tmp_path / "empty.wav") == ([], "no sound: its sound stream holds no samples")


def test_a_broken_tail_keeps_what_was_decoded(tmp_path):
    path = sounds.write(tmp_path / "a.mkv", [(0, sounds.noise(8.0))])
    whole, _ = sounds.joined(read(path)[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    blocks, problem = read(path)
    line, _ = sounds.joined(blocks)
    assert len(line) > 2 * RATE
    np.testing.assert_array_equal(line, whole[: len(line)])
    assert "ended" in problem


@pytest.mark.parametrize("name", ["a.asf", "a.wtv"])
def test_pictures_that_go_on_after_the_sound_are_no_missing_tail(tmp_path, name):
    spans = [(0, sounds.noise(1.0, 44100, 2))]
    path = sounds.write(tmp_path / name, spans, 44100, "mp2", "stereo", n_pictures=200)
    blocks, problem = read(path)
    assert 15000 < blocks[-1].stop < 18000
    assert problem == ""


def test_packets_that_cannot_be_decoded_are_holes(tmp_path):
    path = sounds.write(tmp_path / "a.flac", [(0, sounds.noise(4.0))], codec="flac", picture_s=None)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = b"\xff" * 4000
    path.write_bytes(data)
    blocks, problem = read(path)
    line, _ = sounds.joined(blocks)
    assert len(line) > 3 * RATE
    assert problem


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.mp4"])
def test_what_is_no_sound_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no sound at all " * 100)
    with pytest.raises(FacerError, match=r"not a file that can be decoded|no sound could be"):
        read(tmp_path / name)


def wav(path, rate, data, kind=3, bits=32, channels=1):
    """A WAV file whose header may lie."""
    width = bits // 8 * channels
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, kind,
                         channels, rate, min(rate * width, 2**32 - 1), width, bits)  # fmt: skip
    path.write_bytes(header + struct.pack("<4sI", b"data", len(data)) + data)
    return path


def test_samples_that_are_no_numbers_are_limited(tmp_path):
    samples = np.zeros(16000, np.float32)
    samples[100:103] = np.nan, np.inf, 1e30
    line, _ = sounds.joined(read(wav(tmp_path / "a.wav", 16000, samples.tobytes()))[0])
    assert line[99:104].tolist() == [0, 0, 100, 100, 0]


@pytest.mark.parametrize("rate", [1, 999, 2**31 - 1])
def test_rates_that_no_sound_has_are_refused(tmp_path, rate):
    with pytest.raises(FacerError, match=r"a rate of|not a file that can be decoded"):
        read(wav(tmp_path / "a.wav", rate, bytes(40000), 1, 16))


def test_times_that_lie_cost_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MAX_HOLES_S", 2)
    spans = [(0, sounds.noise(1.024)), (9, sounds.noise(1.024))]
    blocks, problem = read(sounds.write(tmp_path / "a.mkv", spans))
    assert blocks[-1].stop == 16384
    assert "ended after 1.02 s" in problem
    with pytest.raises(FacerError, match="starts 9 s after its pictures"):
        read(sounds.write(tmp_path / "b.mkv", spans[1:]))
    monkeypatch.setattr(reader, "MAX_S", 1.5)
    blocks, problem = read(sounds.write(tmp_path / "c.mkv", [(0, sounds.noise(4.0))]))
    assert blocks[-1].stop <= 1.5 * RATE
    assert "ended" in problem


def test_a_note_on_several_streams(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("pcm_s16le", rate=16000) for _ in range(2)]
        for stream in streams:
            stream.layout = "mono"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        waves = [sounds.noise(1.0, seed=seed) for seed in (1, 2)]
        for stream, wave_ in zip(streams, waves, strict=True):
            for packet in sounds.encode(stream, [(0, wave_)], 16000, "mono"):
                out.mux(packet)
    blocks, problem = read(path)
    line, _ = sounds.joined(blocks)
    assert np.abs(line - waves[1][0]).max() < 1e-3
    assert problem == "2 sound streams: the default one, number 1, is read"


@pytest.mark.shared
def test_sound_that_starts_late_in_a_real_clip(shared):
    path = shared / "clips" / "face_noface_vfr_hevc.mov"
    blocks, _ = read(path)
    assert blocks[0].start == round(107164 / 44100 * RATE)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8", "pcm_f32le"])
@pytest.mark.parametrize(
    ("gains", "told"),
    [([1, -1], "its channels cancel each other out"), ([0, 0], "all of its sound"), ([1, 0], "")],
)
def test_silence_and_channels_that_cancel_are_told(tmp_path, codec, gains, told):
    """Seen: a plug wired the wrong way gave rows of silence without a word."""
    wave_ = sounds.noise(1.0, RATE, 1) * np.array(gains, np.float32)[:, None]
    path = sounds.write(tmp_path / "a.mkv", [(0, wave_)], RATE, codec, "stereo")
    problem = read(path)[1]
    assert problem.startswith(told)
    assert bool(problem) == bool(told)
