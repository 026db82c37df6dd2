"""Two streams of other rates whose answers are known: one emotion in each, others in both alone.

The face is seen 25 times a second, the sound 50 times. ``smile`` is the mean of a face's column,
``pitch`` of a sound's. ``both`` is the product of a level that the face shows over a whole clip
and one that the sound shows, ``in step`` the mean over frames of the product of their signs: each
stream alone says nothing of these two. Noise of a known share gives each a ceiling.
"""

import numpy as np
import pytest
import torch

from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.fit import HeadTrainer, Task
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.metrics import score
from facer.stages.intensity.model import predict
from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from facer.stages.intensity.streams import Stream, join
from facer.storage.loading import Ragged

NAMES = ("smile", "pitch", "both", "in step")
TRAIN, VAL, TEST = 600, 120, 300
NOISE = 0.5
FACE_HZ, SOUND_HZ = 25, 50


def clip(random):
    """Face (T, 3), sound (2 T, 3) and the four intensities of one clip."""
    frames = int(random.integers(20, 33))
    smile, pitch, face_level, sound_level, agree = random.uniform(-1, 1, 5)
    sign = random.choice([-1.0, 1.0], frames)
    other = np.where(random.random(frames) < (1 + agree) / 2, sign, -sign)
    between = random.choice([-1.0, 1.0], frames)  # what a sound half a frame late would show
    face = np.stack([np.full(frames, smile), np.full(frames, face_level), sign], 1)
    slow = [np.full(2 * frames, level) for level in (pitch, sound_level)]
    sound = np.stack([*slow, np.stack([other, between], 1).ravel()], 1)
    face[:, :2] += random.normal(0, 0.15, (frames, 2))
    sound[:, :2] += random.normal(0, 0.15, (2 * frames, 2))
    return face, sound, (smile, pitch, face_level * sound_level, (sign * other).mean())


def ragged(clips, rate_hz, late_s=0.0):
    lengths = [len(values) for values in clips]
    times_s = np.concatenate([np.arange(n) / rate_hz + late_s for n in lengths])
    values = np.concatenate(clips).astype(np.float32)
    ids = tuple(map(str, range(len(clips))))
    return Ragged(values, np.ones(len(values), bool), np.cumsum([0, *lengths]), ids, times_s)


@pytest.fixture(scope="module")
def planted():
    """Faces, sounds, labels (C, 4) and the ceilings on the test clips."""
    random = np.random.default_rng(0)
    clips = [clip(random) for _ in range(TRAIN + VAL + TEST)]
    truth = np.array([values for *_, values in clips])
    truth = (truth - truth.mean(0)) / truth.std(0)
    labels = (truth + NOISE * random.standard_normal(truth.shape)).astype(np.float32)
    ceilings = score(truth[TRAIN + VAL :], labels[TRAIN + VAL :], NAMES).pearson
    assert ceilings == pytest.approx([1 / np.sqrt(1 + NOISE**2)] * 4, abs=0.04)
    return [face for face, *_ in clips], [sound for _, sound, _ in clips], labels, ceilings


def joined(planted, late_s=0.0):
    streams = [Stream("face", ragged(planted[0], FACE_HZ)),
               Stream("sound", ragged(planted[1], SOUND_HZ, late_s))]  # fmt: skip
    return join(streams, SequenceConfig(max_frames=32), StreamsConfig(align="nearest"))


def shares(planted, sequences, **head):
    """Pearson on the test clips as shares of the ceilings."""
    labels = planted[2]
    task = Task(NAMES, labels, np.arange(TRAIN), np.arange(TRAIN, TRAIN + VAL))
    config = FitConfig(HeadConfig(hidden_size=24, **head), batch_size=16, learning_rate=4e-3,
                       epochs=25)  # fmt: skip
    trainer = HeadTrainer(config, DeviceSequences(sequences, torch.device("cpu")), task, 32)
    while not trainer.finished:
        trainer.epoch()
    test = np.arange(TRAIN + VAL, len(labels))
    found = score(predict(trainer.best_model(), trainer.data, test), labels[test], NAMES)
    return dict(zip(NAMES, found.pearson / planted[3], strict=True))


@pytest.mark.parametrize(
    ("head", "reached"),
    [("facernet", NAMES), ("two-branch", NAMES[:3]), ("cross-attention", NAMES[:3])],
)
def test_a_joined_head_comes_near_the_ceilings(planted, head, reached):
    """Branches that meet after their recurrent layers do not see what is in step."""
    found = shares(planted, joined(planted), name=head)
    assert all(found[name] >= 0.85 for name in reached), found


@pytest.mark.parametrize("alone", [0, 1])
def test_one_stream_alone_knows_its_own_emotion_and_no_other(planted, alone):
    clips, rate = (planted[0], FACE_HZ) if alone == 0 else (planted[1], SOUND_HZ)
    stream = Stream("alone", ragged(clips, rate))
    config = StreamsConfig(align="nearest", rate=25)
    found = shares(planted, join([stream], SequenceConfig(max_frames=32), config))
    assert found[NAMES[alone]] >= 0.85
    assert all(abs(found[name]) < 0.4 for name in NAMES if name != NAMES[alone]), found


def test_half_a_frame_late_is_seen(planted):
    """The mean product of the signs that meet is the truth itself, and nothing where they miss."""

    def in_step(sequences):
        product = sequences.features[:, 2] * sequences.features[:, 5]
        means = np.add.reduceat(product, sequences.offsets[:-1]) / sequences.lengths
        return np.corrcoef(means, planted[2][:, 3])[0, 1] / planted[3][3]

    assert in_step(joined(planted)) > 0.95
    assert abs(in_step(joined(planted, late_s=0.02))) < 0.2
