"""What is measured of a sound: the numbers, their times, and that blocks do not matter."""

import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.audio.egemaps import Egemaps
from facer.stages.features.audio.encoder import Encoder
from facer.stages.features.audio.extractor import AudioExtractor
from facer.stages.features.audio.logmel import LogMel
from facer.stages.features.audio.rows import ChunkedRun
from facer.storage.errors import FacerError
from tests import sounds

CPU = "cpu"


def measured(features, samples, size):
    run = features.run()
    rows = [run.add(samples[start : start + size]) for start in range(0, len(samples), size)]
    return np.concatenate([part for part in [*rows, run.end()] if len(part)])


def kaldi_fbank(samples, bands):
    """Kaldi's filterbank by its definition (feat/feature-fbank.cc, mel-computations.cc)."""
    n = (len(samples) - 400) // 160 + 1
    frames = np.stack([samples[160 * k : 160 * k + 400] for k in range(n)]).astype(np.float64)
    frames -= frames.mean(1, keepdims=True)
    frames[:, 1:] -= 0.97 * frames[:, :-1]
    frames[:, 0] *= 0.03
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(frames * window, 512)) ** 2
    low, high = 1127 * np.log(1 + np.array([20, 8000]) / 700)
    edges = np.linspace(low, high, bands + 2)
    mel = 1127 * np.log(1 + np.arange(257) * 16000 / 512 / 700)
    left, centre, right = (edges[k : k + bands, None] for k in range(3))
    up, down = (mel - left) / (centre - left), (right - mel) / (right - centre)
    energy = power[:, :256] @ np.maximum(0, np.minimum(up, down))[:, :256].T
    return np.log(np.maximum(energy, np.finfo(np.float32).eps))


@pytest.mark.parametrize("bands", [8, 64, 80])
def test_logmel_is_kaldis(bands):
    samples = sounds.noise(2.0)[0]
    found = measured(LogMel(bands), samples, 16000)
    np.testing.assert_allclose(found, kaldi_fbank(samples, bands), atol=0.01)


def test_silence_is_the_floor():
    found = measured(LogMel(64), np.zeros(16000, np.float32), 16000)
    np.testing.assert_allclose(found, -15.94, atol=0.01)


@pytest.mark.parametrize("name", ["logmel", "egemaps"])
def test_rows_do_not_depend_on_blocks(name):
    if name == "egemaps":
        pytest.importorskip("opensmile")
    features = LogMel(64) if name == "logmel" else Egemaps()
    samples = sounds.noise(1.7)[0]
    whole = measured(features, samples, len(samples))
    for size in (37, 1000):
        np.testing.assert_array_equal(measured(features, samples, size), whole)


def smooth(samples):
    """Rows of 10 samples every 4, each the mean over its neighbours within two rows."""
    n = (len(samples) - 10) // 4 + 1
    plain = np.array([samples[4 * k : 4 * k + 10].sum() for k in range(n)])
    return np.stack([plain[max(0, k - 2) : k + 3].mean(keepdims=True) for k in range(n)])


@pytest.mark.parametrize("size", [1, 13, 500])
@pytest.mark.parametrize("n", [9, 10, 57, 300])
def test_chunks_with_context_give_what_the_whole_gives(size, n):
    samples = np.random.default_rng(0).normal(0, 1, n).astype(np.float32)
    expected = smooth(samples) if n >= 10 else np.empty((0, 1))
    features = SimpleNamespace(run=lambda: ChunkedRun(smooth, 4, 10, chunk=7, context=2))
    run = features.run()
    rows = [run.add(samples[start : start + size]) for start in range(0, n, size)]
    found = [part for part in [*rows, run.end()] if len(part)]
    assert sum(map(len, found)) == len(expected)
    if found:
        np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-6)


@pytest.mark.parametrize("start_s", [0.0, 0.3, 0.30003])
def test_a_row_is_where_its_sound_is(tmp_path, start_s):
    """A tone from 1 s on: only windows that reach beyond 1 s hear it."""
    n = round((2 - start_s) * 48000)
    wave = np.zeros((1, n), np.float32)
    first = round((1 - start_s) * 48000)
    wave[0, first:] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(n - first) / 48000)
    path = sounds.write(tmp_path / "a.mov", [(start_s, wave)], 48000, "pcm_s16le")
    (result,) = AudioExtractor(AudioConfig()).run([path])
    clip = result.sequences[0].clip
    np.testing.assert_allclose(clip.timestamp_s, 0.0125 + 0.01 * np.arange(clip.n_frames))
    loud = clip.features.max(1) > -8
    assert clip.timestamp_s[loud][0] == pytest.approx(1.0, abs=0.0126)
    assert loud[clip.timestamp_s > 1.0].all()
    assert clip.valid[clip.timestamp_s > start_s + 0.023].all()
    assert not clip.valid[clip.timestamp_s < start_s + 0.0124].any()


def test_rows_over_a_hole_are_not_valid(tmp_path):
    spans = [(0, sounds.noise(0.512)), (1.024, sounds.noise(0.512))]
    path = sounds.write(tmp_path / "a.mkv", spans)
    (result,) = AudioExtractor(AudioConfig()).run([path])
    clip = result.sequences[0].clip
    starts = 160 * np.arange(clip.n_frames)
    whole = (starts + 400 <= 8192) | (starts >= 16384)
    np.testing.assert_array_equal(clip.valid, whole)
    assert np.isnan(clip.features[~whole]).all()
    assert "1 holes" in result.reason


def test_a_sound_shorter_than_a_window_is_none(tmp_path):
    path = sounds.write(tmp_path / "a.wav", [(0, sounds.noise(0.02))], picture_s=None)
    (result,) = AudioExtractor(AudioConfig()).run([path])
    assert result.sequences[0].clip.n_frames == 0
    assert result.reason == "no sound: shorter than a window of 25 ms"


def test_egemaps_follows_loudness_and_pitch():
    pytest.importorskip("opensmile")
    features, samples = Egemaps(), np.zeros(48000, np.float32)
    seconds = np.arange(16000) / 16000
    harmonics = sum(np.sin(2 * np.pi * 200 * k * seconds) / k for k in range(1, 8))
    samples[16000:32000] = 0.1 * harmonics
    rows = measured(features, samples, 4000)
    times = (np.arange(len(rows)) * features.hop + features.window / 2) / 16000
    loud = rows[:, features.columns.index("Loudness_sma3")] > 0.5
    assert times[loud][[0, -1]] == pytest.approx([1, 2], abs=0.03)
    pitch = rows[:, features.columns.index("F0semitoneFrom27.5Hz_sma3nz")]
    assert np.median(pitch[pitch > 0]) == pytest.approx(12 * np.log2(200 / 27.5), abs=0.5)


def test_without_opensmile_a_line_says_how_to_get_it_and_its_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(FacerError, match=r"pip install 'facer\[egemaps\]'.*no commercial use"):
        Egemaps()


CARD = """format = "facer-audio-card-1"
name = "toy"
[file]
name = "toy.onnx"
licence = "MIT"
source = "here"
training = "nothing"
[input]
normalise = "none"
[output]
hop = 320
window = 400
width = 3
prefix = "toy"
layout = "width-time"
[chunk]
seconds = 1.0
context_s = 0.1
"""


@pytest.fixture
def toy_card(tmp_path):
    """A convolution of 400 samples every 320 with three filters, and its card."""
    filters = np.random.default_rng(1).normal(0, 1, (3, 1, 400)).astype(np.float32)
    names = (("samples", ["n", "t"]), ("rows", [1, 3, "m"]))
    sound, rows = (helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in names)
    nodes = [
        helper.make_node("Unsqueeze", ["samples", "axis"], ["x"]),
        helper.make_node("Conv", ["x", "filters"], ["rows"], strides=[320], kernel_shape=[400]),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("filters", TensorProto.FLOAT, filters.shape, filters.ravel()),
    ]
    graph = helper.make_graph(nodes, "toy", [sound], [rows], constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "toy.onnx")
    card = tmp_path / "toy.toml"
    card.write_text(CARD)
    return card, filters[:, 0]


def test_a_cards_encoder_gives_its_rows(toy_card):
    card, filters = toy_card
    encoder, samples = Encoder(card, CPU), sounds.noise(3.3)[0]
    assert encoder.columns == ("toy_0", "toy_1", "toy_2")
    n = (len(samples) - 400) // 320 + 1
    windows = np.stack([samples[320 * k : 320 * k + 400] for k in range(n)])
    for size in (999, 52800):
        found = measured(encoder, samples, size)
        np.testing.assert_allclose(found, windows @ filters.T, atol=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("width = 3", "width = 4", r"expected \(1, 49, 4\); correct hop, window, width or layout"),
        ("hop = 320", "hop = 160", "correct hop, window, width or layout"),
        ('"width-time"', '"time-width"', "correct hop, window, width or layout"),
        ("window = 400", "window = 100", "window: found 100, expected 320"),
        ("hop = 320\n", "", "output: hop: found none"),
        ('"facer-audio-card-1"', '"facer-audio-card-2"', "update facer"),
        ('"facer-audio-card-1"', '"facer-card-1"', "expected format = 'facer-audio-card-1'"),
        ('"toy.onnx"', '"other.onnx"', "are not there"),
        ("seconds = 1.0", "seconds = 1e9", "seconds: found"),
    ],
)
def test_a_wrong_card_says_what_to_correct(toy_card, old, new, problem):
    card, _ = toy_card
    card.write_text(card.read_text().replace(old, new))
    with pytest.raises(FacerError, match=problem):
        Encoder(card, CPU)


@pytest.mark.parametrize(
    "values", [{"features": "mfcc"}, {"bands": 4}, {"features": "egemaps", "bands": 80}]
)
def test_wrong_settings(values):
    with pytest.raises(FacerError, match=r"features|bands"):
        AudioConfig(**values)
