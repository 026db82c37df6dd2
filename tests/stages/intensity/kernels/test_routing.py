import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.intensity.kernels.routed_dense import routed_dense
from facer.stages.intensity.kernels.routing import RoutedAdam
from facer.storage.errors import FacerError

T, H, D = 12, 4, 4  # a block is whole vector registers, as in the real layer: same rounding
lengths_of_clips = st.lists(st.integers(1, T), min_size=1, max_size=6).map(
    lambda x: sorted(x, reverse=True)
)


def packed_and_padded(lengths, dtype=torch.float64):
    """Packed states and the same ones as the paper has them: (B, t * H), zero after the end."""
    batch_sizes = [sum(n > step for n in lengths) for step in range(lengths[0])]
    packed = torch.randn(sum(batch_sizes), H, dtype=dtype, requires_grad=True)
    step, clip = zip(
        *[(s, i) for s, count in enumerate(batch_sizes) for i in range(count)], strict=True
    )
    padded = torch.zeros(len(lengths), T, H, dtype=dtype)
    padded = padded.index_put((torch.tensor(clip), torch.tensor(step)), packed)
    return packed, padded.flatten(1), batch_sizes


@settings(max_examples=30, deadline=None)
@given(lengths=lengths_of_clips)
def test_routed_dense_equals_the_masked_dense_layer(lengths):
    packed, padded, batch_sizes = packed_and_padded(lengths)
    weight = torch.randn(T, H, D, dtype=torch.float64, requires_grad=True)
    ours, plain = routed_dense(packed, weight, batch_sizes), padded @ weight.flatten(0, 1)
    torch.testing.assert_close(ours, plain)
    direction = torch.randn_like(plain)
    for a, b in zip(
        torch.autograd.grad(ours, [packed, weight], direction),
        torch.autograd.grad(plain, [packed, weight], direction),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_routed_dense_gradients_against_finite_differences():
    packed, _, batch_sizes = packed_and_padded([5, 3, 3, 1])
    weight = torch.randn(T, H, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: routed_dense(a, b, batch_sizes), (packed, weight))


def train(routes, seed=0, plain=False):
    """Adam over random gradients; ``routes`` is the longest length of each batch."""
    random = torch.Generator().manual_seed(seed)
    routed = torch.nn.Parameter(torch.randn(T, H, D, generator=random))
    other = torch.nn.Parameter(torch.randn(5, generator=random))
    optimiser = (
        torch.optim.Adam([other, routed], lr=1e-2, fused=True)
        if plain
        else RoutedAdam([other, routed], routed, 1e-2)
    )
    values = [routed.detach().clone()]
    for steps in routes:
        optimiser.zero_grad()
        routed.grad = torch.randn(T, H, D, generator=random)
        routed.grad[steps:] = 0
        other.grad = torch.randn(5, generator=random)
        optimiser.step(steps) if isinstance(optimiser, RoutedAdam) else optimiser.step()
        values.append(routed.detach().clone())
    return values, other.detach().clone(), optimiser


@settings(max_examples=30, deadline=None)
@given(routes=st.lists(st.integers(1, T), min_size=2, max_size=25))
def test_unrouted_weights_are_bit_identical_through_steps_with_momentum(routes):
    values, _, _ = train(routes)
    for steps, before, after in zip(routes, values, values[1:], strict=False):
        assert torch.equal(before[steps:], after[steps:])
        moved = before[:steps] != after[:steps]
        assert moved.flatten(1).any(dim=1).all()  # of every block; one weight's step may round to 0


def test_plain_adam_would_move_them():
    values, _, _ = train([T, 3], plain=True)
    assert (values[1][3:] != values[2][3:]).all()


def test_with_everything_routed_it_is_adam_bit_for_bit():
    ours, our_other, _ = train([T] * 20)
    adam, adam_other, _ = train([T] * 20, plain=True)
    assert torch.equal(ours[-1], adam[-1])
    assert torch.equal(our_other, adam_other)


@settings(max_examples=10, deadline=None)
@given(routes=st.lists(st.integers(1, T), min_size=2, max_size=12))
def test_each_block_follows_adam_over_the_batches_that_routed_it(routes):
    values, _, _ = train(routes)
    random = torch.Generator().manual_seed(0)
    start = torch.randn(T, H, D, generator=random)
    torch.randn(5, generator=random)
    gradients = []
    for _ in routes:
        gradients.append(torch.randn(T, H, D, generator=random))
        torch.randn(5, generator=random)
    for block in range(T):
        weight = torch.nn.Parameter(start[block].clone())
        adam = torch.optim.Adam([weight], lr=1e-2, fused=True)
        for steps, gradient in zip(routes, gradients, strict=True):
            if steps > block:
                weight.grad = gradient[block].clone()
                adam.step()
        assert torch.equal(weight.detach(), values[-1][block])


def test_state_goes_on_exactly():
    routes = [5, T, 2, 7, T, 1, 9]
    whole, other, _ = train(routes)
    random = torch.Generator().manual_seed(0)
    _, _, optimiser = train(routes[:3])
    halfway = {name: np.array(array) for name, array in optimiser.state().items()}
    routed = torch.nn.Parameter(torch.randn(T, H, D, generator=random))
    rest = torch.nn.Parameter(torch.randn(5, generator=random))
    gradients = []
    for _ in routes:
        a = torch.randn(T, H, D, generator=random)
        gradients.append((a, torch.randn(5, generator=random)))
    routed.data.copy_(whole[3])
    rest.data.copy_(train(routes[:3])[1])
    resumed = RoutedAdam([rest, routed], routed, 1e-2)
    resumed.load_state(halfway)
    for steps, (a, b) in list(zip(routes, gradients, strict=True))[3:]:
        a[steps:] = 0
        routed.grad, rest.grad = a, b
        resumed.step(steps)
    assert torch.equal(routed.detach(), whole[-1])
    assert torch.equal(rest.detach(), other)


def test_learning_rate_must_be_positive():
    with pytest.raises(FacerError, match="found 0"):
        RoutedAdam([torch.nn.Parameter(torch.ones(1))], None, 0)
