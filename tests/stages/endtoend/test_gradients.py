"""Chunked gradients are the gradients; memory is that of a chunk."""

import numpy as np
import pytest
import torch

from facer.stages.endtoend.gradients import backward_through, rec_features
from facer.stages.features.rec.architecture import Architecture
from facer.stages.features.rec.network import RecNet, scale_crops

CROPS = np.random.default_rng(0).integers(0, 256, (7, 112, 112, 3), dtype=np.uint8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return RecNet(Architecture(16, (16, 32), (1, 1))).eval()


def loss_of(features):
    return (features[:, :9].mean(0).square().sum() - features[2, 12]).exp()


@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_gradients_equal_those_of_one_pass(network, chunk):
    whole = loss_of(network(scale_crops(torch.from_numpy(CROPS))).features())
    whole.backward()
    expected = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    found = backward_through(network, CROPS, chunk, loss_of)
    assert float(found) == pytest.approx(whole.item(), rel=1e-5)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_no_more_than_a_chunk_is_ever_passed(network):
    sizes = []
    network.stem.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    backward_through(network, CROPS, 3, loss_of)
    assert sizes == [3, 3, 1, 3, 3, 1]


def test_no_crops_give_no_features(network):
    assert rec_features(network, CROPS[:0], 4).shape == (0, 26)
    assert float(backward_through(network, CROPS[:0], 4, lambda f: f.sum() + 1)) == 1
