"""Intervals over few units are BCa, as scipy computes it, and say what they are."""

import numpy as np
import pytest
from scipy import stats

from facer.stages.intensity.statistics.bca import bca_of
from facer.stages.intensity.statistics.intervals import FEW_UNITS, Comparison, bootstrap, compare
from tests.support import some


def _data(clips, emotions=2, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.random((clips, emotions))
    predictions = targets + rng.normal(0, 0.3, targets.shape)
    return predictions.astype(np.float32), targets.astype(np.float32)


def _pearson(p, t):
    return np.corrcoef(p, t)[0, 1]


def test_bca_is_scipy_s():
    predictions, targets = (x[:, 0].astype(np.float64) for x in _data(14))
    found = stats.bootstrap(
        (predictions, targets), _pearson, paired=True, vectorized=False, method="BCa",
        n_resamples=800, rng=np.random.default_rng(1),
    )  # fmt: skip
    places = range(len(targets))
    left_out = [_pearson(np.delete(predictions, i), np.delete(targets, i)) for i in places]
    draws = found.bootstrap_distribution
    bca = some(bca_of(draws, _pearson(predictions, targets), np.array(left_out)))
    shares = some(bca.shares(0.95))
    expected = (found.confidence_interval.low, found.confidence_interval.high)
    np.testing.assert_allclose(np.quantile(draws, shares), expected, rtol=1e-12)


def test_the_last_digits_do_not_move_an_interval():
    predictions, targets = _data(8)
    exact, noise = predictions.astype(np.float64), np.random.default_rng(1)
    ends = [
        [one.low for one in map(some, bootstrap(rounded, targets).per_emotion)]
        for rounded in (exact, *(exact * (1 + noise.normal(0, 1e-13, exact.shape)) for _ in "abc"))
    ]
    np.testing.assert_allclose(ends[1:], [ends[0]] * 3, atol=1e-7)


def test_an_interval_over_few_clips_is_near_scipy_s():
    predictions, targets = _data(14, 1)
    found = bootstrap(predictions, targets)
    expected = stats.bootstrap(
        (predictions[:, 0], targets[:, 0]), _pearson, paired=True, vectorized=False,
        method="BCa", n_resamples=3000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    mean = some(found.mean)
    assert mean.method == "bca"
    assert found.method == "BCa bootstrap"
    np.testing.assert_allclose(np.array([mean.low, mean.high]), expected, atol=0.015)
    percentiles = stats.bootstrap(
        (predictions[:, 0], targets[:, 0]), _pearson, paired=True, vectorized=False,
        method="percentile", n_resamples=3000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert abs(mean.low - percentiles.low) > 0.02


@pytest.mark.parametrize(("units", "method"), [(FEW_UNITS - 1, "bca"), (FEW_UNITS, "percentile")])
def test_the_method_goes_by_the_number_of_units(units, method):
    predictions, targets = _data(2 * units)
    subjects = [f"s{i // 2}" for i in range(2 * units)]
    found = bootstrap(predictions, targets, subjects)
    assert found.n_units == units
    assert {some(one).method for one in (found.mean, *found.per_emotion)} == {method}
    other = compare(predictions, predictions[::-1], targets, subjects)
    interval = some(other.interval)
    assert interval.method == method
    assert interval.low <= other.difference <= interval.high


def test_where_bca_is_not_defined_the_interval_is_said_to_be_narrow():
    _, targets = _data(6)
    found = bootstrap(targets, targets)  # every draw scores 1
    mean = some(found.mean)
    assert (mean.low, mean.high, mean.method) == (1, 1, "percentile")
    assert "too narrow" in found.method
    _, targets = _data(FEW_UNITS - 1)
    alike = compare(targets, targets, targets)  # every draw's difference is 0
    assert some(alike.interval).method == "percentile"
    assert "too narrow" in alike.drawn


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [3, 4, 6])
def test_the_p_value_of_few_clips_does_not_hang_on_rounding(n, seed):
    """Seen: .78 or .001 over three clips, by the scale of the predictions. Draws of two clips have
    a rho of 1 or -1, and a difference that is 0 but for rounding: it counts on both
    sides."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n, 1))
    one, other = (targets + rng.normal(size=(n, 1)) for _ in range(2))
    found = [some(compare(a * one, b * other, targets).p_value)
             for a, b in ((1, 1), (3.7, 0.3), (0.1, 11))]  # fmt: skip
    assert found == pytest.approx([found[0]] * 3, abs=1e-6)


def test_clips_of_one_subject_alone_are_drawn_by_clip():
    """Drawing the only subject again and again would give an interval without a width."""
    targets = np.random.default_rng(0).random((12, 1))
    predictions = targets + 0.3 * np.random.default_rng(1).random((12, 1))
    found = bootstrap(predictions, targets, ["p1"] * 12)
    assert (found.unit, found.n_units) == ("clip", 12)
    assert found.mean is not None
    assert found.mean.low < found.mean.high
    assert compare(predictions, -predictions, targets, ["p1"] * 12).unit == "clip"


@pytest.mark.parametrize("n", [20, 40])
@pytest.mark.parametrize("people", [0, 8])
def test_the_order_of_the_clips_changes_nothing(n, people):
    """Seen: a label file in another order gave other draws of clips, and so another interval."""
    predictions, targets = _data(n)
    clips = [f"c{i:02d}" for i in range(n)]
    subjects = [f"p{i % people}" for i in range(n)] if people else []
    order = np.random.default_rng(4).permutation(n)
    mixed = [[of[i] for i in order] for of in (subjects, clips) if of]
    units = mixed if people else [(), *mixed]
    for one, other in (
        (bootstrap(predictions, targets, subjects, clips),
         bootstrap(predictions[order], targets[order], *units)),
        (compare(predictions, -targets, targets, subjects, clips),
         compare(predictions[order], -targets[order], targets[order], *units)),
    ):  # fmt: skip
        np.testing.assert_allclose(_numbers(one), _numbers(other), rtol=1e-6)


def _numbers(found):
    if isinstance(found, Comparison):
        return [some(found.interval).low, some(found.interval).high, some(found.p_value)]
    return [[some(one).low, some(one).high] for one in (found.mean, *found.per_emotion)]


def test_clips_without_a_label_change_nothing():
    predictions, targets = _data(12)
    other, _ = _data(12, seed=1)
    more = np.full((40, 2), np.nan, np.float32)
    people = [f"p{n % 4}" for n in range(12)]
    for subjects, with_more in (((), ()), (people, [*people, *["none"] * 40])):
        padded = np.concatenate([targets, more])
        a, b = (np.concatenate([p, np.zeros_like(more)]) for p in (predictions, other))
        assert bootstrap(a, padded, with_more) == bootstrap(predictions, targets, subjects)
        assert compare(a, b, padded, with_more) == compare(predictions, other, targets, subjects)
    seeds = np.stack([predictions, other])
    padded_seeds = np.concatenate([seeds, np.zeros((2, 40, 2), np.float32)], axis=1)
    assert bootstrap(padded_seeds, padded) == bootstrap(seeds, targets)


def test_without_any_label_there_is_no_interval():
    found = bootstrap(np.zeros((5, 2), np.float32), np.full((5, 2), np.nan, np.float32))
    assert (found.mean, found.per_emotion, found.n_units) == (None, (None, None), 0)


def test_p_says_what_the_interval_says():
    rng = np.random.default_rng(5)
    for _ in range(60):
        units = int(rng.integers(6, 25))
        targets = rng.random((units, 1))
        a = targets + rng.normal(0, 0.3, targets.shape)
        b = targets + rng.normal(0, 0.3 + 0.5 * rng.random(), targets.shape)
        found = compare(a, b, targets)
        interval, p_value = some(found.interval), some(found.p_value)
        if abs(p_value - 0.05) > 0.004:  # the share of draws below zero comes in steps
            holds_zero = interval.low <= 0 <= interval.high
            assert holds_zero == (p_value > 0.05)


def test_two_units_have_neither_interval_nor_p():
    predictions, targets = _data(8)
    subjects = ["a"] * 4 + ["b"] * 4
    found = compare(predictions, -predictions, targets, subjects)
    assert (found.interval, found.p_value, found.n_units) == (None, None, 2)
    assert found.drawn == "2 subjects are too few for an interval"
    assert bootstrap(predictions, targets, subjects).method == "none"


def test_two_clips_have_no_interval():
    found = bootstrap(*_data(2))
    assert (found.mean, found.per_emotion, found.n_units) == (None, (None, None), 2)
    assert bootstrap(*_data(3)).mean is not None


def test_an_intensity_s_own_labels_say_how_its_interval_is_made() -> None:
    """Of two labels in forty clips rho is 1 in every draw; of twelve, percentiles are narrow."""
    targets = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    predictions = targets + np.random.default_rng(1).normal(0, 0.3, targets.shape)
    targets[2:, 1] = targets[12:, 2] = np.nan
    found = bootstrap(predictions, targets)
    whole, two, twelve = found.per_emotion
    assert (some(whole).method, two, some(twelve).method) == ("percentile", None, "bca")
    alone = some(bootstrap(predictions[:12, 2:], targets[:12, 2:]).mean)
    assert some(twelve).low == pytest.approx(alone.low, abs=0.15)
    assert found.method == "bootstrap, BCa below 30 labelled"
