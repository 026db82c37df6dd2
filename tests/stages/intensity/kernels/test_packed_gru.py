import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from facer.stages.intensity.kernels import gru_sweeps
from facer.stages.intensity.kernels.packed_gru import packed_gru

lengths_of_clips = st.lists(st.integers(1, 40), min_size=1, max_size=7)


def sizes_of(lengths):
    return [sum(n > step for n in lengths) for step in range(max(lengths))]


def make(
    lengths, width=3, hidden_size=5, dtype=torch.float64, seed=0
) -> tuple[torch.nn.GRU, Tensor, tuple[Tensor, Tensor, Tensor, Tensor], list[int]]:
    torch.manual_seed(seed)
    batch_sizes = sizes_of(lengths)
    gru = torch.nn.GRU(width, hidden_size, dtype=dtype)
    x = torch.randn(sum(batch_sizes), width, dtype=dtype, requires_grad=True)
    w_ih, w_hh, b_ih, b_hh = gru.parameters()
    return gru, x, (w_ih, w_hh, b_ih, b_hh), batch_sizes


@pytest.mark.parametrize("block", [1, 7, 1024])
@settings(max_examples=20, deadline=None)
@given(lengths=lengths_of_clips)
def test_equals_torch_forward_and_backward(block, lengths):
    gru, x, weights, batch_sizes = make(lengths)
    direction = torch.randn(len(x), 5, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gru_sweeps, "BLOCK_ROWS", block)
        ours = packed_gru(x, *weights, batch_sizes)
        our_gradients = torch.autograd.grad(ours, [x, *weights], direction)
    theirs = gru(PackedSequence(x, torch.tensor(batch_sizes)))[0].data
    their_gradients = torch.autograd.grad(theirs, [x, *weights], direction)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_float32_agrees_with_torch_to_rounding():
    gru, x, weights, batch_sizes = make([200, 150, 90, 40], 26, 128, torch.float32)
    ours = packed_gru(x, *weights, batch_sizes)
    theirs = gru(PackedSequence(x, torch.tensor(batch_sizes)))[0].data
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_two_forwards_before_their_backwards_do_not_share_buffers():
    _, x, weights, batch_sizes = make([20, 10])
    alone = torch.autograd.grad(packed_gru(x, *weights, batch_sizes).sum(), weights)
    first = packed_gru(x, *weights, batch_sizes).sum()
    second = packed_gru(2 * x, *weights, batch_sizes).sum()
    torch.autograd.grad(second, weights)
    for a, b in zip(torch.autograd.grad(first, weights), alone, strict=True):
        assert torch.equal(a, b)


def test_a_second_backward_is_refused():
    _, x, weights, batch_sizes = make([4])
    out = packed_gru(x, *weights, batch_sizes).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward ran before"):
        out.backward()


def test_inference_and_training_take_turns():
    _, x, weights, batch_sizes = make([6, 2])
    for _ in range(2):
        with torch.inference_mode():
            inferred = packed_gru(x, *weights, batch_sizes)
        trained = packed_gru(x, *weights, batch_sizes)
        assert np.array_equal(inferred.numpy(), trained.detach().numpy())
        trained.sum().backward()
