"""What a REC is worth on labelled crops: one definition, used by fit and evaluate-rec alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata

from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.common.correlation import concordance as rho_c
from facer.storage.schema import (
    AU_NAMES,
    EXPRESSIONS,
    F32,
    FEATURE_GROUPS,
    FEATURE_NAMES,
    I64,
    VALENCE_AROUSAL,
    Bools,
)

AU_POSITIVE = 0.5
"""A unit counts as present from this label value or probability on, everywhere."""


def _places(group: str) -> slice:
    """Where the columns of a group lie in REC features."""
    names = FEATURE_GROUPS[group]
    first = FEATURE_NAMES.index(names[0])
    return slice(first, first + len(names))


_VA = _places("va")
EXPRESSION_COLUMNS = _places("expr")
"""Where the expressions' probabilities lie in REC features."""

AU_COLUMNS = _places("au")
"""Where the units' probabilities lie in REC features."""


def confusion_matrix(truth: I64, predicted: I64, classes: int) -> I64:
    """(classes, classes) counts; row = true class, column = predicted class."""
    flat = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def auc(scores: F32, positive: Bools) -> float | None:
    """Area under the ROC curve of (n,) scores, in [0, 1]; None without both kinds.

    The probability that a positive sample scores above a negative one, ties counting half
    (Mann & Whitney 1947).
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        return None
    ranks = rankdata(scores)
    wins = float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2
    return wins / (n_positive * n_negative)


def f1(predicted: Bools, positive: Bools) -> float | None:
    """2 TP / (2 TP + FP + FN) in [0, 1]; None where nothing is positive or predicted so."""
    hits = int((predicted & positive).sum())
    total = int(predicted.sum()) + int(positive.sum())
    return None if total == 0 else 2 * hits / total


def concordance(prediction: F32, truth: F32) -> float | None:
    """Lin's concordance correlation of two (n,) vectors in [-1, 1]; None for n < 2.

    0 when neither varies, as a constant prediction explains nothing.
    """
    if len(truth) < 2:
        return None
    p, t = prediction.astype(np.float64), truth.astype(np.float64)
    shift, covariance = p.mean() - t.mean(), ((p - p.mean()) * (t - t.mean())).mean()
    varied = p.var() + t.var() + shift**2 > 0
    return float(rho_c(p.var(), t.var(), covariance, shift)) if varied else 0.0


def expression_metrics(probabilities: F32, data: AffectSet) -> dict[str, Any] | None:
    """Accuracy, mean recall, macro F1, confusion and n of the majority class; None if unlabelled.

    ``probabilities`` are (n, 7), of the set's n rows. Mean recall and macro F1 are taken over the
    classes that occur in the labels. ``majority`` is the same over the rows whose class has more
    than half of the votes, the majority of Barsoum et al. 2016 (FER+); None where that is every
    row.
    """
    truth = data.expression_class
    rows = truth >= 0
    if not rows.any():
        return None
    votes = data.expression[rows].max(1)
    agreed = None
    if (votes <= 0.5).any() and (votes > 0.5).any():
        agreed = _class_metrics(probabilities[rows][votes > 0.5], truth[rows][votes > 0.5])
        agreed = {name: agreed[name] for name in _HEADLINES}
    return {
        **_class_metrics(probabilities[rows], truth[rows]),
        "majority": agreed,
        "happiness_vs_neutral_auc": _pair_auc(probabilities, truth, "happiness", "neutral"),
    }


_HEADLINES = ("accuracy", "mean_recall", "macro_f1", "n")


def _class_metrics(probabilities: F32, truth: I64) -> dict[str, Any]:
    matrix = confusion_matrix(truth, probabilities.argmax(1), len(EXPRESSIONS))
    support, predicted, hits = matrix.sum(1), matrix.sum(0), matrix.diagonal()
    occurring = support > 0
    recall = hits[occurring] / support[occurring]
    f1_scores = 2 * hits[occurring] / (support + predicted)[occurring]
    return {
        "accuracy": float(hits.sum() / matrix.sum()),
        "mean_recall": float(recall.mean()),
        "macro_f1": float(f1_scores.mean()),
        "n": len(truth),
        "recall": {
            name: float(hits[i] / support[i]) if support[i] else None
            for i, name in enumerate(EXPRESSIONS)
        },
        "confusion": matrix.tolist(),
    }


def _pair_auc(probabilities: F32, truth: I64, positive: str, negative: str) -> float | None:
    first, second = EXPRESSIONS.index(positive), EXPRESSIONS.index(negative)
    rows = (truth == first) | (truth == second)
    margin = probabilities[rows, first] - probabilities[rows, second]
    return auc(margin, truth[rows] == first)


def au_metrics(probabilities: F32, data: AffectSet) -> dict[str, dict[str, Any] | None]:
    """AUC and F1 (both None where undefined), n and positives per unit; None if unlabelled.

    ``probabilities`` are (n, 17), of the set's n rows.
    """
    result: dict[str, dict[str, Any] | None] = dict.fromkeys(AU_NAMES)
    for column, name in enumerate(AU_NAMES):
        rows = np.isfinite(data.au[:, column])
        if rows.any():
            positive = data.au[rows, column] >= AU_POSITIVE
            scores = probabilities[rows, column]
            result[name] = {
                "auc": auc(scores, positive),
                "f1": f1(scores >= AU_POSITIVE, positive),
                "n": int(rows.sum()),
                "positive": int(positive.sum()),
                "trust": float(data.au_trust[column]),
            }
    return result


def va_metrics(prediction: F32, data: AffectSet) -> dict[str, dict[str, Any] | None]:
    """CCC and n of valence and arousal (n, 2); ``weak`` where the labels come from expressions."""
    result: dict[str, dict[str, Any] | None] = dict.fromkeys(VALENCE_AROUSAL)
    for column, name in enumerate(VALENCE_AROUSAL):
        rows = np.isfinite(data.va[:, column])
        if rows.any():
            ccc = concordance(prediction[rows, column], data.va[rows, column])
            result[name] = {"ccc": ccc, "n": int(rows.sum()), "weak": data.va_is_weak}
    return result


def evaluate(features: F32, data: AffectSet) -> dict[str, Any]:
    """All metrics of (N, 26) REC features on a set of N crops; None where nothing is labelled."""
    return {
        "data": data.name,
        "n": len(data),
        "expression": expression_metrics(features[:, EXPRESSION_COLUMNS], data),
        "au": au_metrics(features[:, AU_COLUMNS], data),
        "va": va_metrics(features[:, _VA], data),
    }


def headlines(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """The accuracy, mean AUC and mean CCC of what :func:`evaluate` returned; None for none."""
    expression = scores["expression"]
    return {
        "accuracy": None if expression is None else float(expression["accuracy"]),
        "mean AU AUC": _mean(scores["au"], "auc"),
        "mean CCC": _mean(scores["va"], "ccc"),
    }


def _mean(entries: Mapping[str, Any], metric: str) -> float | None:
    values = [e[metric] for e in entries.values() if e is not None and e[metric] is not None]
    return float(np.mean(values)) if values else None
