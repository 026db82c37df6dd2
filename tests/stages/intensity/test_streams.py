"""Streams of other rates meet the first one's frames by time; a half frame would be seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from facer.stages.intensity.sequences import prepare
from facer.stages.intensity.streams import Stream, align, grid, join, nearest
from facer.storage import FacerError
from facer.storage.loading import Ragged

FRAME_S = 0.04


def ragged(clips, rates, start_s=0.0, clip_ids=None):
    """Clips of (T, F) values, NaN where not measured."""
    values = np.concatenate(
        [np.asarray(c, np.float32).reshape(len(c), -1 if len(c) else 1) for c in clips]
    )
    times = [start_s + np.arange(len(c)) / rate for c, rate in zip(clips, rates, strict=True)]
    offsets = np.cumsum([0, *map(len, clips)])
    ids = clip_ids or tuple(f"clip-{i}" for i in range(len(clips)))
    return Ragged(values, np.isfinite(values).all(1), offsets, ids, np.concatenate(times))


def clock(seconds, rate_hz, phase_s=0.0):
    """A stream that shows its own time."""
    times = phase_s + np.arange(0, seconds, 1 / rate_hz)
    return times.astype(np.float32)[:, None], times


@pytest.mark.parametrize("rate_hz", [50, 100, 33.3, 25])
@pytest.mark.parametrize("phase_s", [0.0, 0.011])
def test_an_aligned_clock_shows_the_time_of_each_frame(rate_hz, phase_s):
    at_s = np.arange(0.2, 1.8, FRAME_S)
    values, times_s = clock(2, rate_hz, phase_s)
    step = 1 / rate_hz
    shown = {how: align(values, times_s, at_s, how)[:, 0] for how in ("nearest", "mean", "linear")}
    assert np.abs(shown["nearest"] - at_s).max() <= step / 2 + 1e-5
    assert np.abs(shown["mean"] - at_s).max() <= step / 2 + 1e-5
    np.testing.assert_allclose(shown["linear"], at_s, atol=1e-5)
    if rate_hz >= 50:  # of a faster stream the mean is neither late nor early as a whole
        assert abs((shown["mean"] - at_s).mean()) < 5e-3  # half a frame is 0.02


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(2, 30), st.integers(0, 5))
def test_the_mean_loses_no_row_of_a_faster_stream(faster, frames, seed):
    """Every row counts in one frame: sums by count are those of the rows."""
    values = np.random.default_rng(seed).standard_normal((frames * faster, 2)).astype(np.float32)
    at_s = np.arange(frames) * FRAME_S
    times_s = (np.arange(frames * faster) - (faster - 1) / 2) * FRAME_S / faster
    found = align(values, times_s, at_s, "mean")
    expected = values.reshape(frames, faster, 2).mean(1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_slower_stream_stays_until_its_next_row_is_nearer():
    values = np.array([[1], [2], [3]], np.float32)
    times_s, at_s = np.array([0, 0.1, 0.2]), np.arange(6.0) * FRAME_S
    for how in ("nearest", "mean"):
        assert align(values, times_s, at_s, how)[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    linear = align(values, times_s, at_s, "linear")[:3, 0]
    np.testing.assert_allclose(linear, np.array([1, 1.4, 1.8]))


def test_ties_go_to_the_earlier_row_whatever_the_rounding():
    times_s = np.arange(200.0) * 0.02 + 0.01  # each frame is half-way between two rows
    at_s = 0.02 + np.arange(90.0) * FRAME_S
    assert nearest(times_s, at_s).tolist() == list(range(0, 180, 2))


def test_one_row_stands_for_the_whole_clip():
    for how in ("nearest", "mean", "linear"):
        assert align(np.ones((1, 2), np.float32), np.array([0.3]), np.arange(4.0), how).sum() == 8


def test_the_grid_ends_with_the_clip():
    assert grid(np.array([0.5, 1.5]), 4, "x").tolist() == [0.5, 0.75, 1.0, 1.25, 1.5]
    with pytest.raises(FacerError, match="rate 1e\\+09: clip 'x' would have 1e\\+09 frames"):
        grid(np.array([0.0, 1.0]), 1e9, "x")


FACE = [[0.0], [1.0], [np.nan], [3.0]]
SOUND = [[10.0], [11.0], [12.0], [np.nan], [np.nan], [np.nan], [np.nan], [17.0]]


def joined(how=None, *, sound=None, **sequences):
    streams = [
        Stream("face", ragged([FACE, FACE], [25, 25])),
        Stream("sound", ragged([SOUND, SOUND], [50, 50]) if sound is None else sound),
    ]
    config = SequenceConfig(**{"max_frames": 20, **sequences})
    return join(streams, config, how or StreamsConfig(align="nearest"))


def test_a_gap_is_filled_in_its_own_stream():
    found = joined()
    assert found.features[:4].tolist() == [[0, 10], [1, 12], [1, 12], [3, 12]]
    assert found.streams == (1, 1)
    assert found.filled is None
    assert found.missing_frames == 2 * 2  # the third frame of both streams, the fourth of sound
    zero = joined(missing="zero")
    assert zero.features[:4].tolist() == [[0, 10], [1, 12], [0, 0], [3, 0]]
    assert zero.filled[:4].tolist() == [[False, False]] * 2 + [[True, True], [False, True]]


def test_drop_leaves_out_what_no_stream_has():
    assert joined(missing="drop").features[:3].tolist() == [[0, 10], [1, 12], [3, 12]]


def test_the_first_stream_is_as_it_is_alone():
    face = ragged([FACE, FACE], [25, 25])
    alone = prepare(ragged([FACE, FACE], [25, 25]), SequenceConfig())
    with_sound = join([Stream("face", face), Stream("s", ragged([SOUND] * 2, [50] * 2))],
                      SequenceConfig(), StreamsConfig())  # fmt: skip
    assert np.array_equal(with_sound.features[:][:, :1], alone.features[:])


def test_a_rate_brings_all_streams_to_one_grid():
    found = joined(StreamsConfig(align="nearest", rate=50))
    assert found.lengths.tolist() == [7, 7]
    assert found.features[:7, 1].tolist() == [10, 11, 12, 12, 12, 12, 12]
    assert found.features[:7, 0].tolist() == [0, 0, 1, 1, 1, 1, 3]


def test_clips_that_lack_a_stream_are_dropped_or_filled():
    none = ragged([SOUND, []], [50, 50])
    assert joined(sound=none).empty == ("clip-1",)
    filled = joined(StreamsConfig(lacking="fill"), sound=none)
    assert filled.empty == ()
    assert filled.features[4:].tolist() == [[0, 0], [1, 0], [1, 0], [3, 0]]
    assert filled.filled.tolist() == [[False, False]] * 4 + [[False, True]] * 4
    unheard = ragged([SOUND, [[np.nan]] * 8], [50, 50])
    assert joined(sound=unheard).empty == ("clip-1",)


def test_a_stream_that_ends_early_has_a_gap_after_its_end():
    short = ragged([SOUND[:3], SOUND[:3]], [50, 50])
    found = joined(missing="zero", sound=short)
    assert found.filled[:4, 1].tolist() == [False, False, True, True]
    assert joined(sound=ragged([SOUND[:3]] * 2, [50] * 2)).features[3, 1] == 12


def test_streams_are_shortened_together():
    found = joined(max_frames=2)
    assert found.features[:2].tolist() == [[1, 12], [3, 12]]
    assert found.overlong == ("clip-0", "clip-1")


def test_times_out_of_order_are_refused():
    odd = ragged([SOUND, SOUND], [50, 50])
    odd.timestamp_s[9] = -1
    with pytest.raises(FacerError, match="'clip-1': found times in sound that are not in order"):
        joined(sound=odd)


def test_a_stream_of_another_time_is_lacking():
    """Seen: its first row stood for all frames."""
    late = ragged([SOUND, SOUND], [50, 50], start_s=300)
    assert joined(sound=late).empty == ("clip-0", "clip-1")
    late.timestamp_s[:8] -= 300
    assert joined(sound=late).empty == ("clip-1",)


@pytest.mark.parametrize("factor", [1000, 25, 1e-3])
def test_times_in_another_unit_are_refused(factor):
    """Seen: each frame had the first row of a stream in milliseconds."""
    other = ragged([SOUND, SOUND], [50 / factor, 50 / factor])
    with pytest.raises(FacerError, match=r"times in sound that span .* those of face in most"):
        joined(sound=other)


def test_a_stream_without_times_is_told():
    untimed = ragged([SOUND, SOUND], [50, 50])
    untimed.timestamp_s[:] = np.nan
    with pytest.raises(FacerError, match="'clip-0': found no times in sound, as of an import"):
        joined(sound=untimed)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 3),
       st.sampled_from(["hold", "zero", "drop"]), st.sampled_from(["mean", "linear"]))  # fmt: skip
def test_clips_never_touch_each_other(lengths, seed, missing, how):
    random = np.random.default_rng(seed)

    def gappy(n):
        values = random.standard_normal((n, 2))
        values[random.random(n) < 0.4] = np.nan
        return values

    face, sound = [gappy(n) for n in lengths], [gappy(2 * n + 1) for n in lengths]
    config, how = SequenceConfig(missing=missing, max_frames=8), StreamsConfig(align=how)

    def both(clips):
        streams = [Stream("face", ragged([face[i] for i in clips], [25] * len(clips))),
                   Stream("s", ragged([sound[i] for i in clips], [50] * len(clips)))]  # fmt: skip
        return join(streams, config, how)

    together, start = both(range(len(lengths))), 0
    for i in range(len(lengths)):
        alone = both([i]).features
        assert np.array_equal(together.features[start : start + len(alone)], alone)
        start += len(alone)
    assert start == len(together.features)
