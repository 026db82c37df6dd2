from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads import HEADS, HeadShape, build_head
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.sequences import Sequences
from facer.storage import FacerError

T, F, E = 24, 5, 3
SHAPE = HeadShape(F, E, T)
STREAMS = {1: (), 2: (2, 3), 3: (1, 2, 2)}
CPU = torch.device("cpu")

CONFIGS = {name: HeadConfig(name, hidden_size=8, dense=6) for name in HEADS}
CONFIGS["facernet lstm"] = HeadConfig(cell="lstm", hidden_size=8, dense=6)
CONFIGS["facernet 2 layers"] = HeadConfig(layers=2, hidden_size=8, dense=6)
CONFIGS["facernet unrouted"] = HeadConfig(routed=False, hidden_size=8, dense=6)
CONFIGS["gru-last 2 layers"] = HeadConfig("gru-last", layers=2, hidden_size=8)
CONFIGS["cross-attention 2 layers"] = HeadConfig("cross-attention", layers=2, hidden_size=8)
CASES = [(name, 1) for name in CONFIGS]
CASES += [(name, n) for name in HEADS for n in (2, 3)]

lengths_of_clips = st.lists(st.integers(1, T), min_size=1, max_size=6)


def sequences(lengths, seed=0):
    random = np.random.default_rng(seed)
    features = random.standard_normal((sum(lengths), F)).astype(np.float32)
    ids = tuple(map(str, range(len(lengths))))
    return DeviceSequences(Sequences(features, np.cumsum([0, *lengths]), ids), CPU)


def head_of(name, streams=1):
    torch.manual_seed(0)
    return build_head(CONFIGS[name], SHAPE._replace(streams=STREAMS[streams]))


def in_order(head, data, clips):
    batch = data.batch(np.asarray(clips))
    out = head(batch)
    return out[np.argsort(batch.clips)]


@pytest.mark.parametrize(("name", "streams"), CASES)
@settings(max_examples=12, deadline=None)
@given(lengths=lengths_of_clips, order=st.randoms(use_true_random=False))
def test_a_prediction_does_not_depend_on_the_others_in_the_batch(name, streams, lengths, order):
    """Padding never changes a prediction, alone there is none; nor does the order of clips."""
    head, data = head_of(name, streams).eval(), sequences(lengths)
    clips = list(range(len(lengths)))
    together = in_order(head, data, clips)
    alone = torch.cat([head(data.batch(np.array([i]))) for i in clips])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    order.shuffle(clips)
    torch.testing.assert_close(in_order(head, data, clips), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "streams"), CASES)
@settings(max_examples=8, deadline=None)
@given(lengths=lengths_of_clips)
def test_a_gradient_does_not_depend_on_padding(name, streams, lengths):
    head, data = head_of(name, streams), sequences(lengths)
    weight = torch.randn(len(lengths), E)
    parameters = list(head.parameters())
    loss = (in_order(head, data, range(len(lengths))) * weight).sum()
    together = torch.autograd.grad(loss, parameters)
    alone = [torch.zeros_like(p) for p in parameters]
    for i in range(len(lengths)):
        out = (head(data.batch(np.array([i]))) * weight[i]).sum()
        for total, gradient in zip(alone, torch.autograd.grad(out, parameters), strict=True):
            total += gradient
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(lengths=lengths_of_clips)
def test_facernet_equals_the_padded_computation_of_the_paper(lengths):
    head, data = head_of("facernet"), sequences(lengths)
    padded = torch.zeros(len(lengths), T, F)
    for i, (a, b) in enumerate(zip(data.offsets, data.offsets[1:], strict=False)):
        padded[i, : b - a] = data.features[a:b]
    outputs = torch.nn.GRU(F, 8, batch_first=True)
    outputs.load_state_dict(head.recurrent.rnn.state_dict())
    states = outputs(padded)[0]
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    concatenated = (states * mask[:, :, None]).flatten(1)
    hidden = concatenated @ head.dense_weight.flatten(0, 1) + head.dense_bias
    expected = head.output(hidden.relu())
    ours = in_order(head, data, range(len(lengths)))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    parameters = [head.dense_weight, head.dense_bias, head.output.weight]
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_facernet_without_routing_sees_what_follows_a_clip():
    head, data = head_of("facernet unrouted"), sequences([10, 20])
    batch = data.batch(np.array([0, 1]))
    head(batch).sum().backward()
    assert (head.dense_weight.grad[20:] != 0).any()
    assert head.routed_steps(batch) == T


def test_facernet_routes_what_the_longest_clip_has():
    head, data = head_of("facernet"), sequences([10, 20])
    batch = data.batch(np.array([0, 1]))
    head(batch).sum().backward()
    assert head.routed_steps(batch) == 20
    assert (head.dense_weight.grad[20:] == 0).all()
    assert (head.dense_weight.grad[:20] != 0).any()


def test_the_paper_is_the_default():
    config = HeadConfig()
    assert (config.name, config.cell, config.hidden_size) == ("facernet", "gru", 128)
    assert (config.layers, config.dense, config.routed) == (1, 32, True)


def test_padded_and_extended_hold_the_clips():
    data = sequences([3, 5, 1])
    batch = data.batch(np.array([0, 1, 2]))
    assert batch.clips.tolist() == [1, 0, 2]
    assert batch.batch_sizes == (3, 2, 2, 1, 1)
    x, there = batch.padded()
    assert there.sum(1).tolist() == [5, 3, 1]
    assert torch.equal(x[1, :3], data.features[:3])
    assert (x[~there] == 0).all()
    longer, _ = batch.extended(9).padded()
    assert longer.shape == (3, 9, F)
    assert torch.equal(longer[:, :5], x)
    assert (longer[:, 5:] == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [{"hidden_size": 0}, {"layers": 0}, {"dense": -1}, {"cell": "rnn"}, {"dropout": 1.0}],
)
def test_config_is_checked(wrong):
    with pytest.raises(FacerError, match=f"found {next(iter(wrong.values()))!r}"):
        HeadConfig(**wrong)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("change", [{"cell": "lstm"}, {"dense": 7}, {"hidden_size": 16}])
def test_what_a_head_does_not_use_is_known(name, change):
    base = HeadConfig(name, hidden_size=8)
    changed = replace(base, **change)
    shapes = [
        [p.shape for p in build_head(config, SHAPE).parameters()] for config in (base, changed)
    ]
    assert (shapes[0] == shapes[1]) == (changed.unused == tuple(change))
    assert base.unused == ()


def test_an_unknown_head_lists_the_known_ones():
    with pytest.raises(FacerError, match="found 'resnet', expected one of facernet"):
        build_head(HeadConfig("resnet"), SHAPE)


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("name", HEADS)
def test_every_stream_is_read(name, streams):
    clips = np.arange(8)  # in one of them no neuron of a small dense layer may be awake
    head, data = head_of(name, streams).eval(), sequences([9] * 8)
    before = head(data.batch(clips))
    for column in range(F):
        changed = sequences([9] * 8)
        changed.features[:, column] += 1
        assert (head(changed.batch(clips)) != before).any()


def test_two_branches_do_not_meet_before_the_dense_layer():
    head, data = head_of("two-branch", 2).eval(), sequences([9])
    batch = data.batch(np.array([0]))
    batch.features.requires_grad_()
    states = head.branches[0](batch.features[:, :2].contiguous(), batch.batch_sizes)
    states.sum().backward()
    assert (batch.features.grad[:, :2] != 0).any()
    assert (batch.features.grad[:, 2:] == 0).all()


@pytest.mark.parametrize(
    "name", ["tcn-transformer", "perceiver", "cross-attention", "tcn-branches"]
)
def test_attention_needs_a_width_that_divides(name):
    with pytest.raises(FacerError, match="multiple of 4"):
        build_head(HeadConfig(name, hidden_size=6), SHAPE)
