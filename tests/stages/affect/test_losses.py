"""REC's losses: exact values, gradients, and batches with hardly any label."""

import math

import numpy as np
import pytest
import torch

from facer.stages.affect.config import LossWeights
from facer.stages.affect.coupling import coupling_matrix
from facer.stages.affect.losses import (
    Targets,
    au_loss,
    ccc_loss,
    concordance,
    distribution_matching_loss,
    expression_loss,
    rec_loss,
)
from facer.stages.features.rec.network import RecOutput
from facer.storage.errors import FacerError
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS
from tests.support import some

NAN = float("nan")


def random_batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    output = RecOutput(torch.tanh(draw(n, 2)), draw(n, 7), draw(n, 17))
    expression = torch.softmax(draw(n, 7), 1)
    trust = torch.ones(n, 17, dtype=torch.float64)
    targets = Targets(draw(n, 2).tanh(), expression, draw(n, 17).sigmoid(), trust)
    return output, targets


def with_holes(targets):
    va, expression, au, weight = (t.clone() for t in targets)
    va[0] = NAN
    expression[1] = NAN
    au[2] = NAN
    au[:, 3] = NAN
    return Targets(va, expression, au, weight)


def test_concordance_is_one_for_equal_and_lower_for_shifted():
    x = torch.tensor([0.1, 0.5, -0.3, 0.9], dtype=torch.float64)
    assert concordance(x, x) == pytest.approx(1, abs=1e-6)
    assert concordance(x, -x) < 0
    assert concordance(x + 0.5, x) < 0.9


def test_ccc_loss_matches_numpy():
    output, targets = random_batch()
    p, t = output.va.numpy(), targets.va.numpy()
    rho = [
        2 * np.cov(p[:, i], t[:, i], bias=True)[0, 1]
        / (p[:, i].var() + t[:, i].var() + (p[:, i].mean() - t[:, i].mean()) ** 2)
        for i in range(2)
    ]  # fmt: skip
    assert float(ccc_loss(output.va, targets.va)) == pytest.approx(1 - 0.5 * sum(rho), abs=1e-6)


def test_unlabelled_samples_and_units_do_not_count():
    output, targets = random_batch()
    holes = with_holes(targets)
    keep = torch.arange(6) != 1
    expected = expression_loss(output.expression[keep], targets.expression[keep])
    found = expression_loss(output.expression, holes.expression)
    assert float(found) == pytest.approx(float(expected))
    changed = output.au.clone()
    changed[2] += 5
    changed[:, 3] -= 5
    before = au_loss(output.au, holes.au, holes.au_weight)
    assert float(au_loss(changed, holes.au, holes.au_weight)) == pytest.approx(float(before))


def test_trust_weighs_units():
    output, targets = random_batch()
    weight = torch.zeros(6, 17).double()
    weight[:, 4] = 0.5
    plain = torch.nn.functional.binary_cross_entropy_with_logits(output.au[:, 4], targets.au[:, 4])
    assert float(au_loss(output.au, targets.au, weight)) == pytest.approx(float(plain))


def test_matching_loss_is_least_where_units_agree_with_expressions():
    coupling = torch.from_numpy(coupling_matrix("shares")).double()
    expression = torch.full((1, 7), -20.0).double()
    expression[0, EXPRESSIONS.index("happiness")] = 20.0
    soft = coupling[EXPRESSIONS.index("happiness")].clamp(1e-4, 1 - 1e-4)
    agreeing = torch.logit(soft)[None]
    least = distribution_matching_loss(expression, agreeing, coupling)
    assert least < distribution_matching_loss(expression, -agreeing, coupling)
    assert least < distribution_matching_loss(expression, agreeing + 0.3, coupling)


@pytest.mark.parametrize("mode", ["paper", "shares", "off"])
def test_gradients_match_finite_differences(mode):
    output, targets = random_batch(4)
    targets = with_holes(targets)
    matrix = coupling_matrix(mode)
    coupling = None if matrix is None else torch.from_numpy(matrix).double()
    inputs = tuple(part.detach().requires_grad_() for part in output)

    def total(va, expression, au):
        return rec_loss(RecOutput(va, expression, au), targets, coupling, LossWeights())["total"]

    assert torch.autograd.gradcheck(total, inputs)


@pytest.mark.parametrize("missing", ["va", "expression", "au", "all"])
@pytest.mark.parametrize("n", [1, 4])
def test_batches_without_a_kind_of_label_are_fine(missing, n):
    output, targets = random_batch(n)
    empty = {k: torch.full_like(getattr(targets, k), NAN) for k in ("va", "expression", "au")}
    targets = targets._replace(**(empty if missing == "all" else {missing: empty[missing]}))
    inputs = RecOutput(*(part.detach().requires_grad_() for part in output))
    terms = rec_loss(inputs, targets, None, LossWeights())
    terms["total"].backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert all(torch.isfinite(some(part.grad)).all() for part in inputs)
    if missing == "all":
        assert terms["total"].item() == 0


# Du, Tao & Martinez (PNAS 2014), Table 1: units most people show, and others with their share
TABLE = """
neutral
anger      4=1 7=1 24=1 10=.26 17=.52 23=.29
disgust    9=1 10=1 17=1 4=.31 24=.26
fear       1=1 4=1 20=1 25=1 2=.57 5=.63 26=.33
happiness  12=1 25=1 6=.51
sadness    4=1 15=1 1=.60 6=.50 11=.26 17=.67
surprise   1=1 2=1 25=1 26=1 5=.66
"""


def test_coupling_table_is_the_published_one():
    published = np.zeros((7, 17), np.float32)
    for line in TABLE.strip().splitlines():
        name, *cells = line.split()
        for unit, _, share in (cell.partition("=") for cell in cells):
            published[EXPRESSIONS.index(name), ACTION_UNITS.index(int(unit))] = float(share)
    np.testing.assert_array_equal(coupling_matrix("shares"), published)
    np.testing.assert_array_equal(coupling_matrix("paper"), published > 0)
    assert coupling_matrix("off") is None


def test_negative_weights_are_refused():
    for value in (-1, math.nan, math.inf):
        with pytest.raises(FacerError, match="loss weight dm"):
            LossWeights(dm=value)
