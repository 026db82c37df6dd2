"""What may be added to the paper's training: each does what it says, and nothing by default."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.intensity.calibration import label_scale
from facer.stages.intensity.config import AugmentConfig, FitConfig, HeadConfig, OptimiserConfig
from facer.stages.intensity.fit import HeadTrainer, Task
from facer.stages.intensity.kernels.augment import Augmenter, augmented_frames
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.kernels.routing import RoutedAdam, RoutedAverage
from facer.stages.intensity.model import predict, predict_raw
from facer.stages.intensity.sequences import Sequences
from facer.stages.intensity.subjects import clip_scales, measure_subjects
from facer.storage.errors import OptionError
from tests.support import some

T, F = 20, 4
SMALL = HeadConfig(hidden_size=8, dense=6)


def world(clips=30, seed=0):
    random = np.random.default_rng(seed)
    lengths = random.integers(5, T - 4, clips)  # no clip reaches the last blocks
    features = random.standard_normal((lengths.sum(), F)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    means = np.add.reduceat(features, offsets[:-1]) / lengths[:, None]
    return Sequences(features, offsets, tuple(map(str, range(clips)))), 3 + 5 * means[:, :2]


def trainer(**options):
    sequences, targets = world()
    options = {"head": SMALL, "learning_rate": 1e-2, "epochs": 4, "patience": 9, **options}
    task = Task(("joy", "fear"), targets, np.arange(18), np.arange(18, 24))
    return HeadTrainer(
        FitConfig(**options), DeviceSequences(sequences, torch.device("cpu")), task, T
    )


def run(t, epochs=None):
    while not t.finished and (epochs is None or len(t.curve) < epochs):
        t.epoch()
    return t


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


ALL = {
    "optimiser": OptimiserConfig(
        weight_decay=0.1, warm_up=1.5, schedule="cosine", clip_norm=0.1, ema_decay=0.9
    ),
    "augmentation": AugmentConfig(crop=0.6, stretch=0.2, drop=0.1, noise=0.1),
    "loss": "mse",
    "scale_labels": True,
}


def test_with_all_options_a_resumed_training_equals_an_uninterrupted_one():
    whole, first = run(trainer(**ALL)), run(trainer(**ALL), epochs=2)
    arrays, meta = first.state()
    second = trainer(**ALL)
    second.load_state({k: v.copy() for k, v in arrays.items()}, meta)
    run(second)
    assert same(second.state()[0], whole.state()[0])
    assert [r.val_pearson for r in second.curve] == [r.val_pearson for r in whole.curve]


def changes():
    for name in ("weight_decay", "warm_up", "schedule", "clip_norm", "ema_decay"):
        yield {"optimiser": OptimiserConfig(**{name: getattr(ALL["optimiser"], name)})}
    for name in ("crop", "stretch", "drop", "noise"):
        yield {"augmentation": AugmentConfig(**{name: getattr(ALL["augmentation"], name)})}
    yield {"loss": "mse", "scale_labels": True}


@pytest.mark.parametrize("change", [*changes()], ids=str)
def test_each_option_changes_the_training(change):
    base = {k: v for k, v in change.items() if k == "loss"}
    assert not same(run(trainer(**change), 2).kept.arrays(), run(trainer(**base), 2).kept.arrays())


@pytest.mark.parametrize("change", [*changes(), ALL], ids=str)
def test_blocks_that_no_clip_routes_keep_their_bits(change):
    t = trainer(
        **{
            **change,
            "augmentation": replace(change.get("augmentation", AugmentConfig()), stretch=0),
        }
    )
    longest = int(t.data.lengths[:18].max())
    before = t.model.arrays()["head.dense_weight"]
    run(t)
    for model in (t.model, t.kept):
        after = model.arrays()["head.dense_weight"]
        assert np.array_equal(before[longest:], after[longest:])
        assert (before[:longest] != after[:longest]).any()


def test_label_scaling_leaves_pearson_alone():
    a, b = (run(trainer(scale_labels=scaled), 2) for scaled in (True, False))
    assert same(a.state()[0], b.state()[0])


BLOCKS, H, D = 6, 4, 4


def routed_training(routes, decay, clip=None, seed=0):
    """RoutedAdam over random gradients with an average; values and averages after each step."""
    random = torch.Generator().manual_seed(seed)
    routed = torch.nn.Parameter(torch.randn(BLOCKS, H, D, generator=random))
    other = torch.nn.Parameter(torch.randn(5, 2, generator=random))
    averages = [p.detach().clone() for p in (other, routed)]
    optimiser = RoutedAdam([other, routed], routed, 1e-2, decay, clip)
    average = RoutedAverage([other, routed], averages, optimiser, 0.5)
    history = [(routed.detach().clone(), averages[1].clone())]
    for step, steps in enumerate(routes):
        routed.grad = torch.randn(BLOCKS, H, D, generator=random)
        routed.grad[steps:] = 0
        other.grad = torch.randn(5, 2, generator=random)
        optimiser.step(steps)
        average.update(step, steps)
        history.append((routed.detach().clone(), averages[1].clone()))
    return history


routes_of = st.lists(st.integers(1, BLOCKS), min_size=2, max_size=15)


@settings(max_examples=30, deadline=None)
@given(routes=routes_of)
def test_unrouted_blocks_keep_their_bits_through_decay_clipping_and_average(routes):
    history = routed_training(routes, 0.5, 0.3)
    for steps, before, after in zip(routes, history, history[1:], strict=False):
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old[steps:], new[steps:])
            assert (old[:steps] != new[:steps]).flatten(1).any(dim=1).all()


@settings(max_examples=20, deadline=None)
@given(routes=routes_of)
def test_a_block_follows_adamw_and_its_average_over_the_steps_that_routed_it(routes):
    """Each block as torch's AdamW and a plain average would have it, given only its steps."""
    history = routed_training(routes, 0.5)
    random = torch.Generator().manual_seed(0)
    start = torch.randn(BLOCKS, H, D, generator=random)
    torch.randn(5, 2, generator=random)
    gradients = []
    for _ in routes:
        gradients.append(torch.randn(BLOCKS, H, D, generator=random))
        torch.randn(5, 2, generator=random)
    for block in range(BLOCKS):
        weight = torch.nn.Parameter(start[block].clone())
        adamw = torch.optim.AdamW([weight], lr=1e-2, weight_decay=0.5, fused=True)
        average, count = start[block].clone(), 0
        for steps, gradient in zip(routes, gradients, strict=True):
            if block < steps:
                weight.grad = gradient[block].clone()
                adamw.step()
                decay = min(0.5, (1 + count) / (10 + count))
                average = decay * average + (1 - decay) * weight.detach()
                count += 1
        torch.testing.assert_close(history[-1][0][block], weight.detach())
        torch.testing.assert_close(history[-1][1][block], average)


def test_decay_spares_vectors():
    bias, weight = (torch.nn.Parameter(torch.ones(shape)) for shape in (3, (3, 2)))
    optimiser = RoutedAdam([bias, weight], None, 0.1, weight_decay=0.5)
    for p in (bias, weight):
        p.grad = torch.zeros_like(p)
    optimiser.step(0)
    assert torch.equal(bias.detach(), torch.ones(3))
    torch.testing.assert_close(weight.detach(), torch.full((3, 2), 0.95))


def test_clipping_bounds_the_norm_of_all_gradients_together():
    weights = [torch.nn.Parameter(torch.zeros(3, 2)) for _ in range(2)]
    optimiser = RoutedAdam(weights, weights[1], 0.1, clip_norm=0.5)
    for w in weights:
        w.grad = torch.full_like(w, 7)
    optimiser.step(3)
    norm = torch.cat([some(w.grad).flatten() for w in weights]).norm()
    assert float(norm) == pytest.approx(0.5, rel=1e-4)


def test_the_learning_rate_warms_up_and_falls():
    t = trainer(optimiser=OptimiserConfig(warm_up=1, schedule="cosine"))
    rates = []
    inner = t.optimiser.step
    t.optimiser.step = lambda steps: (rates.append(t.optimiser.learning_rate), inner(steps))
    run(t)
    n = t.steps_per_epoch
    assert rates[:n] == pytest.approx([1e-2 * (k + 1) / n for k in range(n)])
    assert all(a > b for a, b in zip(rates[n:], rates[n + 1 :], strict=False))
    assert rates[-1] < 1e-3


def test_a_warm_up_ends_before_the_training():
    with pytest.raises(OptionError, match="warm_up: found 4, expected fewer than the 4 epochs"):
        FitConfig(epochs=4, optimiser=OptimiserConfig(warm_up=4))


@pytest.mark.parametrize("loss", ["mse", "ccc"])
@pytest.mark.parametrize("calibrate", ["none", "train"])
def test_scaled_labels_come_back_on_their_scale(loss, calibrate):
    t = run(trainer(loss=loss, scale_labels=True, calibrate=calibrate, epochs=25, patience=25))
    targets = t.task.targets[t.task.train]
    model = t.best_model()
    found = predict(model, t.data, t.task.train)
    np.testing.assert_allclose(found.mean(0), targets.mean(0), atol=1)
    assert abs(predict_raw(model, t.data, t.task.train).mean(0)).max() < 1  # the loss's own scale
    assert t.curve[-1].val_mse == pytest.approx(
        np.square(predict(t.kept, t.data, t.task.val) - t.task.targets[t.task.val]).mean(), rel=1e-4
    )


def test_the_line_of_labels_is_undone_with_gaps_and_constants():
    targets = np.array([[1, 5, np.nan], [3, 5, np.nan], [np.nan, 5, np.nan]], np.float32)
    line = label_scale(targets)
    scaled = line.undo(targets)
    np.testing.assert_allclose(scaled[:, :2], np.array([[-1, 0], [1, 0], [np.nan, 0]]))
    np.testing.assert_allclose(line.apply(scaled), targets)


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(1, T),
    crop=st.floats(0.01, 1),
    stretch=st.floats(0, 3),
    drop=st.floats(0, 0.99),
    seed=st.integers(0, 5),
)
def test_augmented_frames_are_of_the_clip_in_order(length, crop, stretch, drop, seed):
    config = AugmentConfig(crop, stretch, drop)
    frames = augmented_frames(length, config, T, np.random.default_rng(seed))
    assert 1 <= len(frames) <= T
    assert frames.min() >= 0
    assert frames.max() < length
    assert (np.diff(frames) >= 0).all()


def test_what_augmentation_does_to_time():
    random = np.random.default_rng(0)
    sizes = [len(augmented_frames(100, AugmentConfig(0.5), 480, random)) for _ in range(300)]
    assert 50 <= min(sizes) < 55
    assert 95 < max(sizes) <= 100
    sizes = [
        len(augmented_frames(100, AugmentConfig(stretch=0.5), 480, random)) for _ in range(300)
    ]
    assert 66 < min(sizes) < 72
    assert 143 < max(sizes) <= 150
    frames = augmented_frames(400, AugmentConfig(drop=0.25), 480, random)
    assert 0.65 < len(set(frames.tolist())) / 400 < 0.85


def test_noise_is_in_deviations_of_each_column_and_spares_rows_of_zeros():
    sequences, _ = world()
    sequences.features[:, 1] *= 100
    filled = np.zeros(len(sequences.features), bool)
    filled[::5] = True
    sequences.features[filled] = 0
    data = DeviceSequences(replace(sequences, filled=filled[:, None]), torch.device("cpu"))
    augmenter = Augmenter(AugmentConfig(noise=0.5), data, np.arange(30), T)
    clips = np.arange(30)
    noise = augmenter.batch(clips, np.random.default_rng(0)).features - data.batch(clips).features
    batch = data.batch(clips)
    absent = some(batch.filled)[:, 0]
    assert not noise[absent].any()
    scale = sequences.features[~filled].std(0)
    np.testing.assert_allclose(noise[~absent].numpy().std(0) / scale, 0.5, rtol=0.2)


def test_validation_sees_clips_as_they_are():
    """Augmentation is of training alone: predictions of the data do not depend on it."""
    t = run(trainer(augmentation=ALL["augmentation"]), 1)
    before = t.data.features.clone()
    first, second = (predict(t.kept, t.data, t.task.val) for _ in range(2))
    assert np.array_equal(first, second)
    t.epoch()
    assert torch.equal(t.data.features, before)


def test_each_person_is_brought_to_mean_0_and_std_1():
    sequences, _ = world()
    subjects = [f"p{i % 3}" if i < 18 else f"q{i % 2}" if i < 24 else "" for i in range(30)]
    for clip in range(30):  # each person's face rests elsewhere
        rows = slice(*sequences.offsets[clip : clip + 2])
        sequences.features[rows] += 10 * len(set(subjects[: clip + 1]))
    data = DeviceSequences(sequences, torch.device("cpu"))
    known = measure_subjects(data, subjects, np.arange(12))
    assert set(known) == {"p0", "p1", "p2"}
    found = data.scaled(clip_scales(data, subjects, [np.arange(30)], known))

    def scale(clips):
        rows = torch.cat([found.rows(clip)[0] for clip in clips]).numpy()
        return rows.mean(0), rows.std(0)

    for clip in range(30):
        assert torch.equal(found.batch(np.array([clip])).features, found.rows(clip)[0])
    for clips in (range(0, 12, 3), range(18, 24, 2), [25]):  # seen, unseen, nobody's
        np.testing.assert_allclose(scale(list(clips))[0], 0, atol=1e-4)
        np.testing.assert_allclose(scale(list(clips))[1], 1, rtol=1e-3)
    assert abs(scale([12, 15])[0]).max() > 1e-3  # a seen person keeps the training's scale


def test_a_persons_column_that_never_changes_is_centred():
    sequences, _ = world()
    sequences.features[:, 2] = 7
    data = DeviceSequences(sequences, torch.device("cpu"))
    found = data.scaled(clip_scales(data, ["a"] * 30, [np.arange(30)], {}))
    assert not found.batch(np.arange(30)).features[:, 2].any()


def test_zeros_that_stand_for_frames_are_no_part_of_a_scale_and_stay_zeros():
    sequences, _ = world()
    sequences.features[:] += 7
    filled = np.zeros((len(sequences.features), 1), bool)
    filled[::3] = True
    measured = sequences.features[~filled[:, 0]].copy()
    sequences.features[filled[:, 0]] = 0
    data = DeviceSequences(replace(sequences, filled=filled), torch.device("cpu"))
    known = measure_subjects(data, ["a"] * 30, np.arange(30))
    np.testing.assert_allclose(known["a"].mean, measured.mean(0), rtol=1e-5)
    batch = data.scaled(clip_scales(data, ["a"] * 30, [np.arange(30)], known)).batch(np.arange(30))
    assert not batch.features[some(batch.filled)[:, 0]].any()
    assert batch.features[~some(batch.filled)[:, 0]].all()
