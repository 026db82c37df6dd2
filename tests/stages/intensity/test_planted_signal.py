"""A set whose answer is known: what facernet must learn, and what Mask and routing are for.

A calm face is all zeros; action units and valence rise and fall in bumps. Intensities are
means of these over a clip's true frames, or over known times, plus noise whose share is known:
the ceiling is the correlation of the noiseless intensity with the label. A frame after the end
looks like a calm frame, so without the Mask a clip's length must be guessed.
"""

import numpy as np
import pytest
import torch

from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.fit import HeadTrainer, Task
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.metrics import score
from facer.stages.intensity.model import predict
from facer.stages.intensity.sequences import Sequences
from facer.stages.intensity.statistics.intervals import compare
from facer.storage import FEATURE_NAMES
from tests.support import some

T = 120
TRAIN, VAL, TEST = 500, 150, 400
NAMES = ("smiling", "tension", "early valence")
BUMP = np.hanning(14)[1:-1]
NOISE = 0.5
COLUMN = {name: i for i, name in enumerate(FEATURE_NAMES)}


def clip(random):
    """Features (T, 26) of one clip: bumps at random times, rest zero."""
    frames = int(random.integers(24, T + 1))
    x = np.zeros((frames + len(BUMP), len(FEATURE_NAMES)))
    for name in ("valence", "au01", "au04", "au12", "au25"):
        column = x[:, COLUMN[name]]
        start = 4 + int(random.exponential(8))
        while start < frames:
            sign = random.choice([-1, 1]) if name == "valence" else 1
            bump = sign * random.uniform(0.3, 1) * BUMP
            window = column[start : start + len(BUMP)]
            window[:] = np.where(np.abs(window) > np.abs(bump), window, bump)
            start += 4 + int(random.exponential(8))
    return x[:frames].astype(np.float32)


def true_intensities(x):
    au04, au12, au25 = (x[:, COLUMN[name]].mean() for name in ("au04", "au12", "au25"))
    return au12, au04 - au25, x[6:20, COLUMN["valence"]].mean()


@pytest.fixture(scope="module")
def planted():
    """Sequences, labels (C, 3) and the ceiling of each intensity on the test clips."""
    random = np.random.default_rng(0)
    clips = [clip(random) for _ in range(TRAIN + VAL + TEST)]
    truth = np.array([true_intensities(x) for x in clips])
    truth = (truth - truth.mean(0)) / truth.std(0)
    labels = (truth + NOISE * random.standard_normal(truth.shape)).astype(np.float32)
    offsets = np.cumsum([0, *map(len, clips)])
    sequences = Sequences(np.concatenate(clips), offsets, tuple(map(str, range(len(clips)))))
    ceiling = score(truth[TRAIN + VAL :], labels[TRAIN + VAL :], NAMES).mean("pearson")
    assert ceiling == pytest.approx(1 / np.sqrt(1 + NOISE**2), abs=0.02)
    return sequences, labels, ceiling


def predicted(planted, routed):
    """Predictions of the test clips, mean over two seeds."""
    sequences, labels, _ = planted
    data = DeviceSequences(sequences, torch.device("cpu"))
    task = Task(NAMES, labels, np.arange(TRAIN), np.arange(TRAIN, TRAIN + VAL))
    predictions = []
    for seed in (0, 1):
        head = HeadConfig(hidden_size=32, routed=routed)
        config = FitConfig(head, batch_size=16, learning_rate=2e-3, epochs=12, seed=seed)
        trainer = HeadTrainer(config, data, task, T)
        while not trainer.finished:
            trainer.epoch()
        test = np.arange(TRAIN + VAL, len(labels))
        predictions.append(predict(trainer.best_model(), data, test))
    return np.mean(predictions, 0)


def test_facernet_comes_near_the_ceiling_and_mask_and_routing_help(planted):
    _, labels, ceiling = planted
    targets = labels[TRAIN + VAL :]
    with_mask = predicted(planted, routed=True)
    without = predicted(planted, routed=False)
    assert score(with_mask, targets, NAMES).mean("pearson") >= 0.85 * ceiling
    gain = compare(with_mask, without, targets)
    assert gain.difference > 0.01
    assert some(gain.interval).low > 0
