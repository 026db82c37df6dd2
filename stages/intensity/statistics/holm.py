"""Several comparisons at once: p-values corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction of m p-values, in their order.

    The k-th smallest (from 0) becomes max over j <= k of (m - j) p_j, at most 1. Rejecting below
    0.05 then makes a false rejection among all m with a probability of at most 0.05.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(order):
        highest = max(highest, (len(p_values) - rank) * p_values[place])
        corrected[place] = min(highest, 1.0)
    return corrected
