import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.intensity.sequence_config import SequenceConfig
from facer.stages.intensity.sequences import choose_features, evenly, prepare, without_empty
from facer.storage import FEATURE_NAMES, FacerError, Ragged

NAN = np.nan


def ragged(*clips):
    """Clips as lists of values; NaN marks a frame without a face. Two columns: x and -x."""
    column = np.concatenate([np.asarray(clip, np.float32) for clip in clips])
    offsets = np.cumsum([0, *map(len, clips)])
    ids = tuple(f"clip{i}" for i in range(len(clips)))
    return Ragged(np.stack([column, -column], 1), np.isfinite(column), offsets, ids)


def columns(sequences):
    return [
        sequences.features[a:b, 0].tolist()
        for a, b in zip(sequences.offsets, sequences.offsets[1:], strict=False)
    ]


def mirrored(sequences):
    return np.array_equal(sequences.features[:, 1], -sequences.features[:, 0])


def filled_where_zero(sequences):
    return np.array_equal(sequences.filled[:, 0], sequences.features[:, 0] == 0)


CLIPS = ([1, NAN, NAN, 4], [NAN, NAN, 7, NAN], [NAN, NAN], [9])


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("hold", [[1, 1, 1, 4], [7, 7, 7, 7], [0, 0], [9]]),
        ("zero", [[1, 0, 0, 4], [0, 0, 7, 0], [0, 0], [9]]),
        ("drop", [[1, 4], [7], [0], [9]]),
    ],
)
def test_invalid_frames(missing, expected):
    sequences = prepare(ragged(*CLIPS), SequenceConfig(missing=missing))
    assert columns(sequences) == expected
    assert mirrored(sequences)
    assert sequences.missing_frames == 7
    assert sequences.empty == ("clip2",)


@pytest.mark.parametrize("missing", ["hold", "zero", "drop"])
@pytest.mark.parametrize("overlong", ["subsample", "truncate"])
def test_rows_of_zeros_are_known_and_empty_clips_can_be_left_out(missing, overlong):
    config = SequenceConfig(missing=missing, overlong=overlong, max_frames=3)
    sequences = prepare(ragged(*CLIPS), config)
    if missing == "zero":
        assert filled_where_zero(sequences)
    else:
        assert sequences.filled is None
    expected = [values for i, values in enumerate(columns(sequences)) if i != 2]
    found = without_empty(sequences)
    assert columns(found) == expected
    assert (found.clip_ids, found.empty) == (("clip0", "clip1", "clip3"), ("clip2",))
    assert mirrored(found)
    if missing == "zero":
        assert filled_where_zero(found)


def test_validity_is_taken_from_the_flag_and_never_from_zeros():
    data = ragged([1, 0, 3])
    assert columns(prepare(data, SequenceConfig())) == [[1, 0, 3]]
    flagged = ragged([1, 2, 3])
    flagged.valid[1] = False
    assert columns(prepare(flagged, SequenceConfig())) == [[1, 1, 3]]


def test_a_valid_frame_with_a_broken_value_is_invalid():
    data = ragged([1, 2, 3])
    data.features[1, 1] = np.inf
    sequences = prepare(data, SequenceConfig())
    assert columns(sequences) == [[1, 1, 3]]
    assert sequences.missing_frames == 1


@pytest.mark.parametrize(
    ("overlong", "expected"), [("subsample", [1, 3, 5, 7, 9]), ("truncate", [0, 1, 2, 3, 4])]
)
def test_overlong_clips(overlong, expected):
    config = SequenceConfig(overlong=overlong, max_frames=5)
    sequences = prepare(ragged([8, 9], list(range(10)), [6] * 5), config)
    assert columns(sequences) == [[8, 9], expected, [6] * 5]
    assert sequences.overlong == ("clip1",)


def test_overlong_as_an_error_says_which_clip():
    config = SequenceConfig(overlong="error", max_frames=3)
    with pytest.raises(FacerError, match="'clip1': found 5 frames, expected at most 3"):
        prepare(ragged([1], [1] * 5), config)


def test_dropped_frames_do_not_make_a_clip_overlong():
    config = SequenceConfig(missing="drop", overlong="error", max_frames=2)
    assert columns(prepare(ragged(*CLIPS), config)) == [[1, 4], [7], [0], [9]]


def test_a_clip_without_frames_is_refused():
    with pytest.raises(FacerError, match="'clip1': found no frames"):
        prepare(ragged([1], []), SequenceConfig())


@settings(max_examples=60, deadline=None)
@given(
    clips=st.lists(
        st.lists(st.one_of(st.just(NAN), st.floats(1, 9, width=32)), min_size=1, max_size=12),
        min_size=1,
        max_size=5,
    ),
    missing=st.sampled_from(["hold", "zero", "drop"]),
    overlong=st.sampled_from(["subsample", "truncate"]),
    t=st.integers(1, 8),
    block=st.integers(1, 5),
)
def test_a_clip_is_treated_alike_alone_and_among_others(clips, missing, overlong, t, block):
    config = SequenceConfig(missing=missing, overlong=overlong, max_frames=t)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facer.stages.intensity.sequences.BLOCK_ROWS", block)
        together = prepare(ragged(*clips), config)
    assert columns(together) == [columns(prepare(ragged(clip), config))[0] for clip in clips]
    assert np.isfinite(together.features[:]).all()
    assert (together.lengths >= 1).all()
    assert (together.lengths <= t).all()


@given(st.integers(1, 600), st.data())
def test_evenly_is_even(length, data):
    count = data.draw(st.integers(1, length))
    picked = evenly(length, count)
    assert picked[0] >= 0
    assert picked[-1] < length
    steps = np.diff(picked)
    assert len(steps) == 0 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


class TestChoose:
    def test_groups_in_the_order_asked_for(self):
        choice = choose_features(("expr", "va"), FEATURE_NAMES)
        assert choice.columns[:2] == ("neutral", "anger")
        assert choice.columns[-2:] == ("valence", "arousal")
        assert not choice.embedding

    def test_all_is_the_stores_order_and_a_column_comes_once(self):
        assert choose_features(("all", "au12"), ("b", "au12", "a")).columns == ("b", "au12", "a")

    def test_embedding_alone(self):
        choice = choose_features(("embedding",), FEATURE_NAMES)
        assert choice.columns == ()
        assert choice.embedding

    def test_an_unknown_column_is_named(self):
        with pytest.raises(FacerError, match="features AU99: the store has no such column"):
            choose_features(("AU99",), ("AU01_r",))

    def test_a_group_is_what_the_store_has_of_it(self):
        openface = ("pose_Rx", "au45", "au12", "au01", "AU12_c")
        assert choose_features(("au",), openface).columns == ("au01", "au12", "au45")
        cards = ("contempt", "au14_left", "fear", "au06_intensity", "gaze_yaw", "valence")
        assert choose_features(("au",), cards).columns == ("au14_left", "au06_intensity")
        assert choose_features(("expr", "va"), cards).columns == ("fear", "contempt", "valence")
        with pytest.raises(FacerError, match="features va: the store has no such column"):
            choose_features(("va", "au"), openface)


def test_frames_of_a_low_quality_count_as_frames_without_a_face():
    quality = np.array([0.9, 0.2, NAN, 0.5], np.float32)
    data = replace(ragged([1, 2, NAN, 4]), quality=quality)
    sequences = prepare(data, SequenceConfig(min_quality=0.5))
    assert columns(sequences) == [[1, 1, 1, 4]]
    assert sequences.missing_frames == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"missing": "guess"},
        {"overlong": "x"},
        {"max_frames": 0},
        {"features": ()},
        {"min_quality": 2},
    ],
)
def test_config_is_checked(wrong):
    with pytest.raises(FacerError):
        SequenceConfig(**wrong)


@pytest.mark.parametrize("missing", ["hold", "zero", "drop"])
def test_memory_is_the_matrix_and_little_more(missing):
    rng = np.random.default_rng(0)
    lengths = rng.integers(100, 480, 3500)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    features = rng.random((offsets[-1], 26), dtype=np.float32)
    valid = rng.random(offsets[-1]) > 0.5
    ids = tuple(map(str, range(len(lengths))))
    tracemalloc.start()
    prepare(Ragged(features, valid, offsets, ids), SequenceConfig(missing=missing))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.2 * features.nbytes
