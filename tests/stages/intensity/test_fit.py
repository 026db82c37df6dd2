from itertools import pairwise
from threading import Event, Thread

import numpy as np
import pytest
import torch

from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.fit import HeadTrainer, Task
from facer.stages.intensity.heads import HEADS
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.metrics import score
from facer.stages.intensity.model import measure_scale, predict, predict_raw
from facer.stages.intensity.sequences import Sequences
from facer.storage import FacerError

T, F = 20, 4
NAMES = ("joy", "fear")
SMALL = HeadConfig(hidden_size=8, dense=6)


def world(clips=30, seed=0):
    """Sequences and targets that depend on them, and targets of a test split nobody may use."""
    random = np.random.default_rng(seed)
    lengths = random.integers(5, T + 1, clips)
    features = random.standard_normal((lengths.sum(), F)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    means = np.array([features[a:b].mean(0) for a, b in pairwise(offsets)])
    targets = np.stack([means[:, 0], means[:, 1] - means[:, 2]], 1).astype(np.float32)
    ids = tuple(map(str, range(clips)))
    return DeviceSequences(Sequences(features, offsets, ids), torch.device("cpu")), targets


def trainer(config=None, targets=None, **options):
    data, own = world()
    options = {"head": SMALL, "learning_rate": 1e-2, "epochs": 4, **options}
    task = Task(NAMES, own if targets is None else targets, np.arange(18), np.arange(18, 24))
    return HeadTrainer(config or FitConfig(**options), data, task, T)


def run(trainer, epochs=None):
    while not trainer.finished and (epochs is None or len(trainer.curve) < epochs):
        trainer.epoch()
    return trainer


def numbers(trainer):
    """The curve without what a clock says."""
    return [(r.epoch, r.train_loss, r.val_pearson, r.val_mse, r.best) for r in trainer.curve]


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_trainings_on_threads_have_the_bits_of_one_alone():
    options = {"head": HeadConfig(hidden_size=8, dense=6, dropout=0.3), "epochs": 1}
    alone, first, second = (trainer(**options) for _ in range(3))
    stepped = Event()
    other = Thread(target=second.epoch, args=[lambda *_: stepped.set()])

    def meanwhile(epoch, done, steps):
        if done == 1:
            other.start()
            stepped.wait(0.1)  # which the other does after this epoch alone

    alone.epoch()
    first.epoch(meanwhile)
    other.join()
    assert same(first.best, alone.best)
    assert same(second.best, alone.best)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_learns(name):
    config = HeadConfig(name, hidden_size=8, dense=6)
    curve = run(trainer(head=config, epochs=12, patience=12)).curve
    assert curve[-1].train_loss < curve[0].train_loss - 0.1


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    a, b, other = run(trainer()), run(trainer()), run(trainer(seed=1))
    assert numbers(a) == numbers(b)
    assert same(a.best, b.best)
    assert not same(a.best, other.best)


def test_training_leaves_the_callers_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(trainer())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resumed_equals_uninterrupted(dropout):
    head = HeadConfig(hidden_size=8, dense=6, layers=2, dropout=dropout)
    whole = run(trainer(head=head))
    first = run(trainer(head=head), epochs=2)
    arrays, meta = first.state()
    second = trainer(head=head)
    second.load_state({k: v.copy() for k, v in arrays.items()}, meta)
    run(second)
    assert numbers(second) == numbers(whole)
    assert same(second.best, whole.best)
    assert same(second.state()[0], whole.state()[0])


def test_the_best_epoch_is_the_one_with_the_best_val_score():
    t = run(trainer(epochs=8, patience=8))
    scores = [row.val_pearson for row in t.curve]
    assert t.best_epoch == 1 + int(np.argmax(scores))
    raw = predict_raw(t.best_model(), t.data, t.task.val)
    assert score(raw, t.task.targets[t.task.val], NAMES).mean("pearson") == max(scores)


def test_no_other_split_than_train_and_val_is_looked_at():
    """Seen: the best fold or seed chosen on the split that is then reported."""
    _, targets = world()
    changed = targets.copy()
    changed[24:] = 1e6
    a, b = run(trainer(targets=targets)), run(trainer(targets=changed))
    assert numbers(a) == numbers(b)
    assert same(a.best, b.best)


def test_patience_ends_the_training():
    t = run(trainer(learning_rate=1e-12, epochs=50, patience=3))
    assert len(t.curve) == t.best_epoch + 3


def test_small_sets_get_more_epochs():
    assert trainer(epochs=None).epochs == 400  # 5 steps an epoch
    assert trainer(epochs=7).epochs == 7


def test_batches_are_of_equal_size_or_one_less():
    data, targets = world()
    task = Task(NAMES, targets, np.arange(17), np.arange(18, 24))
    t = HeadTrainer(FitConfig(SMALL, batch_size=4), data, task, T)
    batches = t.batches_of(1)
    assert sorted(len(batch) for batch in batches) == [3, 3, 3, 4, 4]
    assert sorted(np.concatenate(batches)) == list(range(17))
    assert not np.array_equal(np.concatenate(batches), np.concatenate(t.batches_of(2)))


@pytest.mark.parametrize("loss", ["pearson", "ccc"])
@pytest.mark.parametrize("clips", range(3, 18))
@pytest.mark.parametrize("batch_size", [3, 4, 5])
def test_no_batch_of_a_correlation_has_fewer_than_three_clips(loss, clips, batch_size):
    """Seen: batches of two, whose rho is 1 or -1 and has no gradient."""
    data, targets = world()
    task = Task(NAMES, targets, np.arange(clips), np.arange(18, 24))
    config = FitConfig(SMALL, loss=loss, batch_size=batch_size)
    batches = HeadTrainer(config, data, task, T).batches_of(1)
    assert min(map(len, batches)) >= 3
    assert max(map(len, batches)) <= 5
    assert sorted(np.concatenate(batches)) == list(range(clips))


def test_two_clips_have_no_correlation():
    data, targets = world()
    task = Task(NAMES, targets, np.arange(2), np.arange(18, 24))
    for loss in ("pearson", "ccc"):
        with pytest.raises(FacerError, match=f"batch_size: found 2, expected 3 .*loss {loss}"):
            FitConfig(loss=loss, batch_size=2)
        with pytest.raises(FacerError, match=r"split train: found 2 labelled clips .* expected 3"):
            HeadTrainer(FitConfig(SMALL, loss=loss), data, task, T)
    config = FitConfig(SMALL, loss="mse", batch_size=1, epochs=1)
    assert run(HeadTrainer(config, data, task, T)).curve[0].steps == 2


def test_labels_that_do_not_vary_in_val_leave_the_choice_to_mse():
    _, targets = world()
    targets[18:24] = 0.5
    t = run(trainer(targets=targets, loss="mse", epochs=6, patience=6))
    assert np.isnan([row.val_pearson for row in t.curve]).all()
    assert t.best_epoch == 1 + int(np.argmin([row.val_mse for row in t.curve]))


def test_zeros_for_missing_frames_are_no_part_of_the_scale():
    """Seen: --missing zero with --standardise measured the zeros too."""
    data, targets = world()
    task = Task(NAMES, targets, np.arange(18), np.arange(18, 24))
    filled = np.zeros(len(data.features), bool)
    filled[data.offsets[:-1]] = True  # the first frame of every clip
    data.features += 7
    measured = data.features[: data.offsets[18]].numpy()[~filled[: data.offsets[18]]]
    data.features[filled] = 0
    sequences = Sequences(data.features.numpy(), data.offsets, ("",) * 30, filled=filled[:, None])
    data = DeviceSequences(sequences, torch.device("cpu"))
    t = HeadTrainer(FitConfig(SMALL, standardise=True, epochs=1), data, task, T)
    mean, std = (t.model.get_buffer(f"input_{n}").numpy() for n in ("mean", "deviation"))
    np.testing.assert_allclose(mean, measured.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, measured.std(0), rtol=1e-5)
    seen = []
    t.model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].features))
    predict_raw(t.model, data, np.array([0]))
    assert np.array_equal(seen[0][0].numpy(), np.zeros(F))  # filled after scaling
    np.testing.assert_allclose(
        seen[0][1:].numpy() * std + mean, data.features[1 : data.offsets[1]], rtol=1e-4
    )


def test_uncalibrated_predictions_are_filled_by_their_mean_on_train():
    t = run(trainer(calibrate="none"))
    model = t.best_model()
    raw = predict_raw(model, t.data, t.task.train)
    np.testing.assert_allclose(model.stand_in, raw.mean(0), rtol=1e-5)
    assert run(trainer()).best_model().stand_in is None


def test_scale_is_measured_on_training_frames():
    data, _ = world()
    scale = measure_scale(data, np.arange(18))
    frames = data.features[: data.offsets[18]].numpy()
    np.testing.assert_allclose(scale.mean, frames.mean(0), atol=1e-6)
    np.testing.assert_allclose(scale.std, frames.std(0), rtol=1e-5)


def test_standardised_training_does_not_see_the_units_of_a_feature():
    data, targets = world()
    task = Task(NAMES, targets, np.arange(18), np.arange(18, 24))
    config = FitConfig(SMALL, epochs=3, standardise=True)
    plain = run(HeadTrainer(config, data, task, T))
    data.features = data.features * 1000 + 5
    scaled = run(HeadTrainer(config, data, task, T))
    first, second = ([row.train_loss for row in t.curve] for t in (plain, scaled))
    np.testing.assert_allclose(first, second, rtol=1e-2)
    restored = scaled.best_model()
    assert restored.standardised
    data.features[:, 1] = 7  # a feature that does not vary keeps its scale
    assert measure_scale(data, np.arange(18)).std[1] == 1


def test_predictions_are_on_the_labels_scale_and_keep_their_pearson():
    data, targets = world()
    task = Task(NAMES, 10 * targets + 50, np.arange(18), np.arange(18, 24))
    config = FitConfig(SMALL, learning_rate=1e-2, epochs=6)
    t = run(HeadTrainer(config, data, task, T))
    model = t.best_model()
    train = task.train
    raw, calibrated = predict_raw(model, data, train), predict(model, data, train)
    np.testing.assert_allclose(calibrated.mean(0), task.targets[train].mean(0), rtol=1e-4)
    scores = [score(p, task.targets[train], NAMES) for p in (raw, calibrated)]
    np.testing.assert_allclose(scores[0].pearson, scores[1].pearson, atol=1e-4)
    assert scores[1].mean("mse") < scores[0].mean("mse")


def test_prediction_keeps_the_order_asked_for():
    t = run(trainer(epochs=1))
    clips = np.array([7, 2, 29, 0])
    together = predict_raw(t.model, t.data, clips)
    for row, clip in zip(together, clips, strict=True):
        np.testing.assert_allclose(
            row, predict_raw(t.model, t.data, np.array([clip]))[0], atol=1e-5
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"epochs": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"loss": "l1"},
        {"calibrate": "test"},
        {"batch_size": 1},
    ],
)
def test_config_is_checked(wrong):
    with pytest.raises(FacerError, match=str(next(iter(wrong.values())))):
        FitConfig(**wrong)


def test_the_paper_is_the_default():
    config = FitConfig()
    assert (config.batch_size, config.learning_rate, config.loss) == (4, 1e-4, "pearson")


def test_steps_that_no_clip_reaches_keep_their_first_weights():
    """Routing in a real training: dense blocks beyond the longest clip never move."""
    data, targets = world()
    task = Task(NAMES, targets, np.arange(18), np.arange(18, 24))
    longest = int(np.diff(data.offsets)[:18].max())
    config = FitConfig(head=SMALL, learning_rate=1e-2, epochs=4)
    trained = HeadTrainer(config, data, task, T + 7)
    before = trained.model.arrays()["head.dense_weight"]
    after = run(trained).model.arrays()["head.dense_weight"]
    assert np.array_equal(before[longest:], after[longest:])
    assert len(before[longest:]) >= 7
    assert all((before[t] != after[t]).any() for t in range(longest))


def test_a_training_that_diverges_says_what_to_do():
    with pytest.raises(FacerError, match=r"seed 0, epoch \d: found predictions .* not finite; use"):
        run(trainer(learning_rate=1e30, loss="mse", epochs=9, patience=9))


@pytest.mark.parametrize(("option", "value"), [("seed", -1), ("learning_rate", float("inf"))])
def test_settings_that_cannot_be(option, value):
    with pytest.raises(FacerError, match=f"{option}: found {value}"):
        FitConfig(**{option: value})


def test_columns_that_never_change_are_scaled_alike_in_training_and_after():
    data, targets = world()
    data.features[:] = 3.0
    task = Task(NAMES, targets, np.arange(18), np.arange(18, 24))
    trained = HeadTrainer(FitConfig(head=SMALL, standardise=True, epochs=1), data, task, T)
    again = HeadTrainer(FitConfig(head=SMALL, epochs=1), data, task, T).model
    again.load_arrays(trained.model.arrays())
    clips = np.arange(6)
    assert np.array_equal(predict_raw(again, data, clips), predict_raw(trained.model, data, clips))
