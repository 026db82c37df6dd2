"""Metrics, and the mistakes of public evaluation code that they must not make."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from facer.stages.intensity.calibration import fit_calibration
from facer.stages.intensity.metrics import METRICS, score
from facer.stages.intensity.statistics.intervals import bootstrap, compare
from facer.storage import FacerError
from tests.support import some

NAMES = ("joy", "fear", "surprise")


def data(clips=40, seed=0, noise=0.5):
    random = np.random.default_rng(seed)
    targets = random.random((clips, 3)).astype(np.float32)
    predictions = targets + noise * random.standard_normal((clips, 3))
    return predictions.astype(np.float32), targets


def test_pearson_is_scipy_down_each_column():
    p, t = data()
    scores = score(p, t, NAMES)
    expected = [pearsonr(p[:, i], t[:, i]).statistic for i in range(3)]
    np.testing.assert_allclose(scores.pearson, expected, rtol=1e-6)
    assert scores.mean("pearson") == pytest.approx(np.mean(expected))


def test_ccc_and_mse_by_definition():
    p, t = (x.astype(np.float64) for x in data())
    scores = score(p, t, NAMES)
    covariance = ((p - p.mean(0)) * (t - t.mean(0))).mean(0)
    ccc = 2 * covariance / (p.var(0) + t.var(0) + (p.mean(0) - t.mean(0)) ** 2)
    np.testing.assert_allclose(scores.ccc, ccc)
    np.testing.assert_allclose(scores.mse, ((p - t) ** 2).mean(0))


def test_values_are_never_sorted_before_correlating():
    """Seen: values sorted within rows, which turns noise into agreement."""
    random = np.random.default_rng(0)
    p, t = random.random((200, 3)), random.random((200, 3))
    assert abs(score(p, t, NAMES).mean("pearson")) < 0.15
    sorted_rows = score(np.sort(p, 1), np.sort(t, 1), NAMES)
    assert sorted_rows.mean("pearson") != pytest.approx(score(p, t, NAMES).mean("pearson"))
    order = random.permutation(3)
    moved = score(p[:, order], t[:, order], [NAMES[i] for i in order])
    np.testing.assert_allclose(moved.pearson, score(p, t, NAMES).pearson[order])


def test_only_the_named_emotions_are_averaged():
    """Seen: the id column averaged in as if it were an emotion."""
    p, t = data()
    ids = np.arange(len(p))[:, None]
    with pytest.raises(FacerError, match=r"expected both \(clips, 3\)"):
        score(np.hstack([ids, p]), np.hstack([ids, t]), NAMES)


def test_constant_prediction_is_zero_with_a_warning_and_never_nan():
    p, t = data()
    p[:, 1] = 0.3
    p[::2, 1] = np.nextafter(np.float32(0.3), np.float32(1))  # rounding is no signal
    scores = score(p, t, NAMES)
    assert scores.pearson[1] == 0
    assert scores.ccc[1] == 0
    assert scores.constant == ("fear",)
    assert scores.mean("pearson") == pytest.approx((scores.pearson[0] + scores.pearson[2]) / 3)


def test_a_constant_target_is_not_defined_and_no_part_of_the_mean():
    p, t = data()
    t[:, 0] = 0.3
    scores = score(p, t, NAMES)
    assert np.isnan([scores.pearson[0], scores.ccc[0]]).all()
    assert (scores.constant, scores.not_defined) == ((), ("joy",))
    for metric in ("pearson", "ccc"):
        assert scores.mean(metric) == pytest.approx(getattr(scores, metric)[1:].mean())
    assert scores.mean("mse") == pytest.approx(scores.mse.mean())
    assert scores.as_json()["per_emotion"]["joy"]["pearson"] is None


def test_one_label_and_no_labels_are_not_defined():
    p, t = data()
    t[1:, 0], t[:, 1] = np.nan, np.nan
    scores = score(p, t, NAMES)
    assert scores.not_defined == ("joy",)
    assert scores.mean("pearson") == pytest.approx(scores.pearson[2])
    t[:, 2] = 1
    result = score(p, t, NAMES).as_json()
    assert result["mean"]["pearson"] is None
    assert result["mean"]["mse"] is not None


def test_absent_labels_are_left_out_and_counted():
    p, t = data()
    t[::2, 1] = np.nan
    scores = score(p, t, NAMES)
    assert scores.n.tolist() == [40, 20, 40]
    assert scores.pearson[1] == pytest.approx(pearsonr(p[1::2, 1], t[1::2, 1]).statistic)


def test_an_emotion_without_any_label_is_no_part_of_the_mean():
    p, t = data()
    t[:, 2] = np.nan
    result = score(p, t, NAMES).as_json()
    assert result["per_emotion"]["surprise"] == dict.fromkeys(METRICS) | {"n": 0}
    kept = [result["per_emotion"][name]["pearson"] for name in NAMES[:2]]
    assert result["mean"]["pearson"] == pytest.approx(np.mean(kept))


def test_json_contract():
    p, t = data()
    result = score(p, t, NAMES).as_json()
    assert set(result) == {"mean", "per_emotion"}
    assert set(result["mean"]) == {"pearson", "spearman", "ccc", "mse", "mae"}
    assert set(result["per_emotion"]) == set(NAMES)


@pytest.mark.parametrize("broken", ["prediction", "labels"])
def test_what_cannot_be_scored_is_refused(broken):
    p, t = data()
    if broken == "prediction":
        p[0, 0] = np.nan
    else:
        t[:] = np.nan
    with pytest.raises(FacerError):
        score(p, t, NAMES)


@settings(max_examples=30, deadline=None)
@given(slope=st.floats(0.01, 100), shift=st.floats(-1000, 1000))
def test_pearson_does_not_see_scale(slope, shift):
    p, t = (x.astype(np.float64) for x in data())
    np.testing.assert_allclose(
        score(slope * p + shift, t, NAMES).pearson, score(p, t, NAMES).pearson, atol=1e-7
    )


class TestBootstrap:
    def test_covers_the_truth_about_as_often_as_it_says(self):
        random = np.random.default_rng(1)
        rho, hits = 0.6, 0
        for _ in range(60):
            t = random.standard_normal((120, 1))
            p = rho * t + np.sqrt(1 - rho**2) * random.standard_normal((120, 1))
            interval = some(bootstrap(p, t, resamples=300).mean)
            hits += interval.low <= rho <= interval.high
        assert 50 <= hits <= 60

    def test_subjects_are_drawn_whole_and_widen_the_interval(self):
        random = np.random.default_rng(0)
        person = np.repeat(random.standard_normal((12, 1)), 20, 0)
        t = person + 0.1 * random.standard_normal((240, 1))
        p = person * np.repeat(random.choice([1, 0.2, -0.5], (12, 1)), 20, 0)
        subjects = [f"s{i // 20}" for i in range(240)]
        by_clip, by_subject = bootstrap(p, t), bootstrap(p, t, subjects)
        assert (by_clip.unit, by_clip.n_units) == ("clip", 240)
        assert (by_subject.unit, by_subject.n_units) == ("subject", 12)
        wide, narrow = some(by_subject.mean), some(by_clip.mean)
        assert wide.high - wide.low > narrow.high - narrow.low

    def test_is_reproducible_and_contains_the_score(self):
        p, t = data()
        a, b = bootstrap(p, t), bootstrap(p, t)
        assert a == b
        scores = score(p, t, NAMES)
        for interval, rho in zip(
            (a.mean, *a.per_emotion), (scores.mean("pearson"), *scores.pearson), strict=True
        ):
            assert some(interval).low < rho < some(interval).high

    def test_seeds_have_the_interval_of_their_mean_score(self):
        """Seen: the mean over seeds beside the interval of the seeds' mean prediction."""
        p, t = data(100)
        random = np.random.default_rng(3)
        seeds = np.stack([p + random.standard_normal(p.shape) for _ in range(5)])
        each = float(np.mean([score(one, t, NAMES).mean("pearson") for one in seeds]))
        own, averaged = some(bootstrap(seeds, t).mean), some(bootstrap(seeds.mean(0), t).mean)
        assert own.low < each < own.high
        assert not averaged.low < each < averaged.high
        assert bootstrap(p[None], t) == bootstrap(p, t)

    def test_constant_targets_are_in_no_interval(self):
        p, t = data()
        t[:, 0] = 0.1
        found = bootstrap(p, t)
        assert found.per_emotion[0] is None
        assert found.mean == bootstrap(p[:, 1:], t[:, 1:]).mean
        assert bootstrap(p, np.full_like(t, 0.3)).mean is None

    def test_draws_in_which_labels_do_not_vary_have_no_rho(self):
        t = np.zeros((30, 1))
        t[0] = 1  # in a third of the draws it is not there
        p = t + 0.01 * np.arange(30)[:, None]
        assert some(bootstrap(p, t).mean).low > 0.8

    def test_constant_predictions_give_zero_not_nan(self):
        _, t = data()
        interval = some(bootstrap(np.full_like(t, 0.2), t).mean)
        assert (interval.low, interval.high) == (0, 0)


class TestCompare:
    def test_finds_a_real_difference(self):
        good, t = data(300, noise=0.2)
        bad, _ = data(300, noise=0.6)
        result = compare(good, bad, t)
        assert some(result.interval).low > 0
        assert some(result.p_value) < 0.01
        assert result.difference == pytest.approx(
            score(good, t, NAMES).mean("pearson") - score(bad, t, NAMES).mean("pearson")
        )

    def test_a_run_against_itself_is_no_difference(self):
        p, t = data()
        result = compare(p, p, t)
        interval = some(result.interval)
        assert (result.difference, interval.low, interval.high) == (0, 0, 0)
        assert result.p_value == 1

    def test_labels_that_do_not_vary_are_left_out_or_refused(self):
        good, t = data(300, noise=0.2)
        bad, _ = data(300, noise=0.6)
        t[:, 0] = 1
        expected = compare(good[:, 1:], bad[:, 1:], t[:, 1:])
        assert compare(good, bad, t) == expected
        with pytest.raises(FacerError, match="not defined, because no intensity's labels vary"):
            compare(good, bad, np.ones_like(t))


class TestCalibration:
    def test_is_least_squares_on_the_labels_scale(self):
        p, t = data()
        line = fit_calibration(10 * p - 3, t)
        for i in range(3):
            slope, intercept = np.polyfit((10 * p - 3)[:, i], t[:, i], 1)
            assert line.slope[i] == pytest.approx(slope, rel=1e-4)
            assert line.intercept[i] == pytest.approx(intercept, rel=1e-3)
        before, after = score(10 * p - 3, t, NAMES), score(line.apply(10 * p - 3), t, NAMES)
        assert after.mean("mse") < before.mean("mse")
        np.testing.assert_allclose(after.pearson, before.pearson, atol=1e-6)

    def test_slope_stays_positive(self):
        p, t = data()
        line = fit_calibration(-p, t)
        assert (line.slope > 0).all()
        np.testing.assert_allclose(
            score(line.apply(-p), t, NAMES).pearson, score(-p, t, NAMES).pearson, atol=1e-5
        )

    def test_without_variance_or_labels(self):
        p, t = data()
        p[:, 0], t[:, 1] = 4, np.nan
        line = fit_calibration(p, t)
        assert line.slope[:2].tolist() == [1, 1]
        assert line.apply(p)[0, 0] == pytest.approx(t[:, 0].mean(), abs=1e-5)
        assert line.intercept[1] == 0


@given(st.integers(0, 10_000), st.integers(4, 40))
def test_spearman_and_mae_are_scipy_s_and_numpy_s(seed, clips):
    rng = np.random.default_rng(seed)
    predictions = rng.normal(size=(clips, 2)).astype(np.float32)
    targets = np.round(rng.random((clips, 2)) * 8).astype(np.float32) / 8  # ties
    targets[0, 1] = np.nan
    targets[1:3] = [[0, 0], [1, 1]]
    found = score(predictions, targets, ("a", "b"))
    for i, there in enumerate(np.isfinite(targets).T):
        p, t = predictions[there, i].astype(np.float64), targets[there, i].astype(np.float64)
        assert found.spearman[i] == pytest.approx(spearmanr(p, t).statistic)
        assert found.mae[i] == pytest.approx(np.abs(p - t).mean())
    assert found.mean("spearman") == pytest.approx(found.spearman.mean())


def test_spearman_follows_pearson_where_it_is_not_defined():
    targets = np.array([[0.1, 0.5, np.nan], [0.9, 0.5, np.nan], [0.4, 0.5, np.nan]], np.float32)
    still = np.full((3, 3), 0.3, np.float32)
    found = score(still, targets, ("joy", "flat", "absent"))
    np.testing.assert_array_equal(found.spearman, [0, np.nan, np.nan])
    np.testing.assert_allclose(found.mae[:2], [0.3, 0.2], atol=1e-6)
    assert np.isnan(found.mae[2])


def test_errors_hold_where_values_hardly_spread():
    targets = 1e6 + np.array([[0.1], [0.5], [0.9]])
    predictions = targets + np.array([[1.0], [-1.0], [0.5]])
    found = score(predictions, targets, ["joy"])
    assert found.mse[0] == pytest.approx(0.75, abs=1e-6)
    assert found.mae[0] == pytest.approx(2.5 / 3, abs=1e-6)
