"""Small files with sound, of every container and shape."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

Spans = Sequence[tuple[float, np.ndarray]]


def noise(seconds: float, rate: int = 16000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise below a quarter of the rate, (channels, n) float32 within ±0.5."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    spectrum = np.fft.rfft(rng.normal(0, 1, n))
    spectrum[np.fft.rfftfreq(n) > min(0.25, 6000 / rate)] = 0
    wave = np.fft.irfft(spectrum, n)
    wave *= 0.4 / np.abs(wave).max()
    return np.repeat(wave[None], channels, 0).astype(np.float32)


def write(
    path: Path,
    spans: Spans,
    rate: int = 16000,
    codec: str = "pcm_s16le",
    layout: str = "mono",
    picture_s: float | None = 0.0,
    form: str | None = None,
    tick: Fraction | None = None,
    n_pictures: int = 10,
    video: str = "mpeg4",
) -> Path:
    """Write sound (channels, n) at its times, with pictures from ``picture_s`` on, if any.

    ``spans`` are pieces of sound and the second at which each starts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form) as out:
        sound = out.add_stream(codec, rate=rate)
        assert isinstance(sound, av.AudioStream)
        sound.layout = layout
        sound.time_base = tick or Fraction(1, rate)
        packets: list[av.Packet[Any]] = []
        if picture_s is not None:
            codec_v = "libvpx" if path.name.endswith(".webm") else video
            shown = out.add_stream(codec_v, rate=25)
            assert isinstance(shown, av.VideoStream)
            shown.width, shown.height, shown.pix_fmt = 32, 32, "yuv420p"
            shown.codec_context.time_base = Fraction(1, 1000)
            if video == "libx264":  # with pictures that refer to later ones
                shown.options = {"bf": "3", "b_strategy": "0", "sc_threshold": "0"}
            for k in range(n_pictures):
                image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 9 * k % 256, np.uint8))
                image.time_base = Fraction(1, 1000)
                image.pts = round(1000 * picture_s) + 40 * k
                packets += shown.encode(image)
            packets += shown.encode(None)
        packets += encode(sound, spans, rate, layout)
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * (p.time_base or 0)):
            out.mux(packet)
    return path


def encode(
    sound: av.AudioStream, spans: Spans, rate: int, layout: str, size: int = 512
) -> list[av.Packet[Any]]:
    """The packets of some spans of sound."""
    packets: list[av.Packet[Any]] = []
    size = sound.codec_context.frame_size or size
    context = sound.codec_context
    if not context.is_open:
        context.open()
    size = context.frame_size or size
    form = context.format.name
    for start, wave in spans:
        for first in range(0, wave.shape[1], size):
            part = np.ascontiguousarray(wave[:, first : first + size])
            frame = av.AudioFrame.from_ndarray(shaped(part, form), format=form, layout=layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(start * rate) + first
            packets += sound.encode(frame)
    return packets + sound.encode(None)


def shaped(wave: np.ndarray, form: str) -> np.ndarray:
    """Floats (channels, n) as PyAV wants a sample format."""
    kinds = {"s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64, "u8": np.uint8}
    kind = np.dtype(kinds[form.removesuffix("p")])
    if kind.kind == "i":
        wave = np.clip(np.round(wave * 2.0 ** (8 * kind.itemsize - 1)), *_limits(kind))
    elif kind.kind == "u":
        wave = np.round(wave * 127) + 128
    wave = wave.astype(kind)
    return wave if form.endswith("p") else np.ascontiguousarray(wave.T.reshape(1, -1))


def _limits(kind: np.dtype) -> tuple[int, int]:
    return np.iinfo(kind).min, np.iinfo(kind).max


def joined(blocks) -> tuple[np.ndarray, np.ndarray]:
    """All of some blocks on one line from sample 0, and which samples were given."""
    stop = blocks[-1].stop if blocks else 0
    line, given = np.zeros(stop, np.float32), np.zeros(stop, bool)
    for block in blocks:
        assert not given[block.start :].any()
        line[block.start : block.stop] = block.samples
        given[block.start : block.stop] = True
    return line, given


def delay(line: np.ndarray, wave: np.ndarray, near: int, within: int = 400) -> int:
    """By how many samples a wave is later in a line than sample ``near``."""
    low = max(0, near - within)
    part = line[low : near + len(wave) + within]
    size = 1 << (len(part) + len(wave)).bit_length()
    found = np.fft.irfft(np.fft.rfft(part, size) * np.conj(np.fft.rfft(wave, size)), size)
    return int(found[: 2 * within + 1].argmax()) + low - near
