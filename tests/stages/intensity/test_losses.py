import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from facer.stages.intensity.losses import LOSSES, ccc_loss, mse_loss, pearson_loss


def batch(clips=8, emotions=3, seed=0):
    torch.manual_seed(seed)
    return torch.randn(clips, emotions, dtype=torch.float64), torch.rand(
        clips, emotions, dtype=torch.float64
    )


def test_pearson_is_scipy_over_clips():
    p, t = batch()
    rho = [pearsonr(p[:, i], t[:, i]).statistic for i in range(3)]
    assert float(pearson_loss(p, t)) == pytest.approx(1 - np.mean(rho), abs=1e-6)


def test_ccc_by_its_definition():
    p, t = (x.numpy() for x in batch())
    ccc = [
        2 * np.cov(a, b, bias=True)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
        for a, b in zip(p.T, t.T, strict=True)
    ]
    assert float(ccc_loss(*batch())) == pytest.approx(1 - np.mean(ccc), abs=1e-6)


def test_mse_over_the_labels_that_are_there():
    p, t = batch()
    t[2, 1] = torch.nan
    there = t.isfinite()
    assert float(mse_loss(p, t)) == pytest.approx(float((p - t)[there].square().mean()))


@pytest.mark.parametrize("name", LOSSES)
def test_absent_labels_count_for_nothing(name):
    p, t = batch()
    t[2, 1] = torch.nan
    p.requires_grad_()
    LOSSES[name](p, t).backward()
    assert p.grad[2, 1] == 0
    assert (p.grad[:, 0] != 0).all()
    changed = p.detach().clone()
    changed[2, 1] += 100
    assert LOSSES[name](changed, t) == LOSSES[name](p, t)


CASES = ("one clip", "constant target", "constant prediction", "both", "no label", "one label")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_finite_without_variance(name, case, dtype):
    p, t = (x.to(dtype) for x in batch())
    if case == "one clip":
        p, t = p[:1], t[:1]
    if case in ("constant target", "both"):
        t[:, 1] = 0.3
    if case in ("constant prediction", "both"):
        p[:] = 0.7
    if case == "no label":
        t[:] = torch.nan
    if case == "one label":
        t[1:, 2] = torch.nan
    p.requires_grad_()
    loss = LOSSES[name](p, t)
    loss.backward()
    assert loss.isfinite()
    assert p.grad.isfinite().all()


def test_an_emotion_without_variance_counts_as_rho_zero():
    p, t = batch()
    t[:, 1] = 0.5
    rest = [pearsonr(p[:, i], t[:, i]).statistic for i in (0, 2)]
    assert float(pearson_loss(p, t)) == pytest.approx(1 - sum(rest) / 3, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_against_finite_differences(name):
    p, t = batch()
    t[0, 0] = torch.nan
    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, t), (p,))


@settings(max_examples=25, deadline=None)
@given(slope=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_pearson_does_not_see_scale(slope, shift):
    p, t = batch()
    assert float(pearson_loss(slope * p + shift, t)) == pytest.approx(
        float(pearson_loss(p, t)), abs=1e-5
    )
