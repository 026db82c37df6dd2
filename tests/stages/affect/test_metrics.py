"""Metrics against definitions written out; None where nothing is defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.affect import metrics
from facer.stages.affect.config import LossWeights
from facer.stages.affect.datasets.samples import AffectSet, circumplex_va, weak_features
from facer.storage.errors import FacerError
from facer.storage.schema import ACTION_UNITS, AU_NAMES, EXPRESSIONS
from tests.support import some

NAN = np.nan


def make_set(expression=None, va=None, au=None, n=6, weak=False):
    def column(values, width):
        given_ = np.full((n, width), NAN) if values is None else np.array(values, float)
        return given_.astype(np.float32)

    return AffectSet(
        "made", None, np.arange(n), column(expression, 7), column(va, 2),  # type: ignore[arg-type]
        column(au, 17),
        np.ones(17, np.float32), va_is_weak=weak,
    )  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pairs):
    scores = np.array([score for score, _ in pairs], np.float32)
    positive = np.array([label for _, label in pairs])
    wins = [
        1.0 if p > q else 0.5 if p == q else 0.0
        for p in scores[positive]
        for q in scores[~positive]
    ]
    expected = float(np.mean(wins)) if wins else None
    assert metrics.auc(scores, positive) == (
        None if expected is None else pytest.approx(expected, abs=1e-9)
    )


def test_expression_metrics_by_hand():
    truth = [0, 0, 0, 4, 4, 1]
    predicted = [0, 0, 4, 4, 0, 1]
    scores = np.eye(7, dtype=np.float32)[predicted] * 0.9 + 0.01
    found = some(metrics.expression_metrics(scores, make_set(np.eye(7)[truth])))
    assert found["n"] == 6
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["mean_recall"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    f1 = [2 * 2 / (3 + 3), 2 * 1 / (1 + 1), 2 * 1 / (2 + 2)]
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    assert np.array(found["confusion"])[0, [0, 4]].tolist() == [2, 1]
    assert found["recall"]["fear"] is None
    assert found["happiness_vs_neutral_auc"] is not None


def test_ties_and_unlabelled_rows_do_not_count():
    rows = np.full((6, 7), NAN)
    rows[0] = np.eye(7)[3]
    rows[1] = [0.5, 0.5, 0, 0, 0, 0, 0]
    found = some(metrics.expression_metrics(np.full((6, 7), 1 / 7, np.float32), make_set(rows)))
    assert found["n"] == 1
    assert metrics.expression_metrics(np.zeros((6, 7), np.float32), make_set()) is None


def test_rows_with_a_majority_of_the_votes_are_scored_apart():
    rows = np.full((6, 7), NAN)
    rows[0] = [0.6, 0.4, 0, 0, 0, 0, 0]
    rows[1] = [0.5, 0.3, 0.2, 0, 0, 0, 0]  # the most, but not more than half
    rows[2] = [0, 1, 0, 0, 0, 0, 0]
    scores = np.eye(7, dtype=np.float32)[[0, 3, 2, 0, 0, 0]]
    found = some(metrics.expression_metrics(scores, make_set(rows)))
    assert (found["accuracy"], found["n"]) == (pytest.approx(1 / 3), 3)
    agreed = found["majority"]
    assert (agreed["accuracy"], agreed["mean_recall"], agreed["n"]) == (0.5, 0.5, 2)
    one = some(metrics.expression_metrics(scores[:1], make_set(rows[:1], n=1)))
    assert one["majority"] is None


def test_unit_metrics_by_hand():
    au = np.full((6, 17), NAN)
    place = ACTION_UNITS.index(12)
    au[:5, place] = [1, 1, 0, 0, 0.4]
    scores = np.zeros((6, 17), np.float32)
    scores[:, place] = [0.9, 0.4, 0.6, 0.1, 0.2, 0.99]
    found = metrics.au_metrics(scores, make_set(au=au))
    au12 = some(found["au12"])
    assert au12["n"] == 5
    assert au12["positive"] == 2
    assert au12["auc"] == pytest.approx(5 / 6)
    assert au12["f1"] == pytest.approx(2 * 1 / (2 + 2))
    assert all(found[name] is None for name in AU_NAMES if name != "au12")


def test_units_without_positives_have_no_auc():
    au = np.full((6, 17), NAN)
    au[:, 0] = 0
    found = some(metrics.au_metrics(np.zeros((6, 17), np.float32), make_set(au=au))["au01"])
    assert (found["auc"], found["f1"], found["n"]) == (None, None, 6)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=20))
def test_concordance_is_lins(pairs):
    x, y = np.array(pairs, np.float32).T
    p, t = x.astype(float), y.astype(float)
    spread = p.var() + t.var() + (p.mean() - t.mean()) ** 2
    expected = 2 * np.cov(p, t, bias=True)[0, 1] / spread if spread > 0 else 0
    assert metrics.concordance(x, y) == pytest.approx(expected, abs=1e-9)


def test_concordance_needs_two_samples():
    assert metrics.concordance(np.zeros(1, np.float32), np.zeros(1, np.float32)) is None
    va = np.full((6, 2), NAN)
    va[:3, 0] = [0.1, 0.2, 0.3]
    found = metrics.va_metrics(va.astype(np.float32), make_set(va=va))
    assert found["valence"] == {"ccc": pytest.approx(1), "n": 3, "weak": False}
    assert found["arousal"] is None


def test_everything_unlabelled_gives_none_everywhere():
    found = metrics.evaluate(np.zeros((6, 26), np.float32), make_set())
    assert found["expression"] is None
    assert set(found["au"].values()) == {None}
    assert set(found["va"].values()) == {None}


def test_weak_features_are_those_that_nobody_labels():
    au = np.full((6, 17), NAN)
    au[:, ACTION_UNITS.index(1)] = 1
    data = make_set(np.eye(7)[[0] * 6], np.zeros((6, 2)), au, weak=True)
    weak = weak_features([data])
    assert {"valence", "arousal", "au11"} <= set(weak)
    assert "au01" not in weak
    assert "valence" not in weak_features([data, make_set(va=np.zeros((6, 2)))])
    assert not set(weak) & set(EXPRESSIONS)


def test_expressions_of_no_set_and_labels_without_a_loss_are_weak():
    units_only = make_set(au=np.ones((6, 17)))
    weak = weak_features([units_only])
    assert {"valence", "arousal", *EXPRESSIONS} == set(weak)
    assert set(weak_features([units_only], taught=True)) == {"valence", "arousal"}
    everything = [make_set(np.eye(7)[[0] * 6], np.zeros((6, 2)), np.ones((6, 17)))]
    assert weak_features(everything) == ()
    assert weak_features(everything, LossWeights(ccc=0)) == ("valence", "arousal")
    assert weak_features(everything, LossWeights(cce=0)) == EXPRESSIONS
    assert weak_features(everything, LossWeights(bce=0)) == AU_NAMES


def test_circumplex_mixes_by_share():
    shares = np.zeros((2, 7), np.float32)
    shares[0, EXPRESSIONS.index("neutral")] = 1
    shares[1] = NAN
    va = circumplex_va(shares)
    assert va[0].tolist() == [0, 0]
    assert np.isnan(va[1]).all()


def test_labels_of_other_shapes_are_refused():
    with pytest.raises(FacerError, match=r"made: va has shape \(6, 3\), expected \(6, 2\)"):
        make_set(va=np.zeros((6, 3)))
