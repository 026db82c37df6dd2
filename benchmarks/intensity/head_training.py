"""Training the paper's head against two plain PyTorch loops, in one run.

    python -m benchmarks.intensity.head_training [--threads 1] [--epochs 3]

All start from the same weights and see the same synthetic clips (2.5 to 17 s at 30 frames/s, mean
10.8 s; 26 columns; t = 480) in the same batches. The first peer is what one writes first: padded
tensors from a DataLoader, nn.GRU, the mask, a dense layer on the concatenated outputs of all
steps, torch.optim.Adam. The second gives nn.GRU a PackedSequence, so that it too computes only
the frames that are there. Epochs take turns, so that a busy machine slows all; a ratio is the
median over the turns, of processor time, which includes validating four clips on facer's side.

The loss curves are compared in a run of their own in which facer's Adam, like the peers', also
moves the dense weights that no clip routed, as that is the one thing in which they differ. What
is left is rounding, which Adam's first steps (the sign of every gradient) enlarge.

What limits facer's side is arithmetic. The last line of each comparison says how much of it a
second does, beside what one large matrix product reaches on the same threads: the float32
multiplications and additions that GRU and dense layer need for the frames that are there, forward
and backward, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, Dataset

from benchmarks.shared import clip_lengths, curves, parser_of, product_flops, timed
from facer.stages.intensity.config import FitConfig
from facer.stages.intensity.fit import HeadTrainer, Task
from facer.stages.intensity.heads.facernet import FaceRNet
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.losses import pearson_loss
from facer.stages.intensity.sequences import Sequences

T, FEATURES = 480, 26
NAMES = tuple("abcdefg")


def synthetic(clips: int) -> Sequences:
    """Clips that move like probabilities over time, Hume-like in length."""
    random, lengths = np.random.default_rng(0), np.minimum(clip_lengths(clips), T)
    features = np.concatenate([curves(random, frames) for frames in lengths.tolist()])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(features, offsets, tuple(map(str, range(clips))))


class Padded(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """One clip as padded features (t, F), length and targets."""

    def __init__(self, sequences: Sequences, targets: Tensor) -> None:
        self.sequences, self.targets = sequences, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        start, stop = self.sequences.offsets[index : index + 2]
        features = torch.zeros(T, FEATURES)
        features[: stop - start] = torch.from_numpy(self.sequences.features[start:stop])
        return features, torch.tensor(stop - start), self.targets[index]


class PlainHead(nn.Module):
    """GRU, mask and dense layers as one writes them first, with a head's weights."""

    def __init__(self, head: FaceRNet, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        units, dense = head.config.hidden_size, head.config.dense
        self.gru = nn.GRU(FEATURES, units, batch_first=True)
        self.gru.load_state_dict(head.recurrent.rnn.state_dict())
        self.dense = nn.Linear(T * units, dense)
        self.dense.weight.data.copy_(head.dense_weight.detach().flatten(0, 1).t())
        self.dense.bias.data.copy_(head.dense_bias.detach())
        self.output = nn.Linear(dense, len(NAMES))
        self.output.load_state_dict(head.output.state_dict())

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Padded features (B, t, F) and lengths (B,) -> (B, E)."""
        if self.packed:
            batch = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
            states = pad_packed_sequence(self.gru(batch)[0], batch_first=True, total_length=T)[0]
        else:
            states, _ = self.gru(features)
        states = states * (torch.arange(T) < lengths[:, None]).unsqueeze(2)
        hidden = torch.relu(self.dense(states.flatten(1)))
        return self.output(hidden)


class PlainLoop:
    """A peer."""

    def __init__(self, trainer: HeadTrainer, sequences: Sequences, packed: bool) -> None:
        assert isinstance(trainer.model.head, FaceRNet)
        self.trainer = trainer
        self.data = Padded(sequences, torch.from_numpy(trainer.task.targets))
        self.model = PlainHead(trainer.model.head, packed)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=trainer.config.learning_rate)

    def epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean loss."""
        batches = [rows.tolist() for rows in self.trainer.batches_of(epoch)]
        total = 0.0
        for features, lengths, targets in DataLoader(self.data, batch_sampler=batches):
            loss = pearson_loss(self.model(features, lengths), targets)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            total += float(loss.detach())
        return total / len(batches)


def epochs(batch_size: int, clips: int, count: int) -> Iterator[list[tuple[float, float]]]:
    """Yield processor seconds and loss of facer, the plain and the packed loop, in turns."""
    sequences = synthetic(clips)
    targets = np.random.default_rng(1).random((clips, len(NAMES)), dtype=np.float32)
    train, val = np.arange(clips - 4), np.arange(clips - 4, clips)
    config = FitConfig(batch_size=batch_size, epochs=count + 1)
    data = DeviceSequences(sequences, torch.device("cpu"))
    trainer = HeadTrainer(config, data, Task(NAMES, targets, train, val), T)
    peers = [PlainLoop(trainer, sequences, packed) for packed in (False, True)]
    for epoch in range(1, count + 2):
        turn = []
        for run in (lambda _: trainer.epoch().train_loss, *(peer.epoch for peer in peers)):
            loss, (_, core) = timed(run, epoch)
            turn.append((core, loss))
        yield turn


def curve_difference(batch_size: int, clips: int) -> float:
    """Largest difference of the losses over two epochs, without routing in facer's Adam."""
    with mock.patch.object(FaceRNet, "routed_steps", return_value=T):
        losses = np.array(list(epochs(batch_size, clips, 1)))[:, :, 1]
    return float(np.abs(losses - losses[:, :1]).max())


def flops_per_clip(clips: int) -> float:
    """Multiplications and additions of one clip's training step, mean over the clips."""
    head = FitConfig().head
    frames = float(synthetic(clips).lengths.mean())
    gates, units, dense = 3 * head.hidden_size, head.hidden_size, head.dense
    forward = gates * (units + FEATURES) + units * dense
    backward = gates * (2 * units + FEATURES) + 2 * units * dense  # nothing into the features
    return 2 * frames * (forward + backward)


def report(batch_size: int, clips: int, count: int, goals: tuple[float, float]) -> None:
    """Print one comparison; the first epoch warms up and is not counted."""
    seconds = np.array(list(epochs(batch_size, clips, count)))[1:, :, 0]
    ours, plain, packed = (float((clips - 4) / median(column)) for column in seconds.T.tolist())
    ratios = np.median(seconds[:, 1:] / seconds[:, :1], axis=0)
    print(
        f"batch {batch_size}: {ours:.0f} clips/s of processor time, plain loop {plain:.0f}, ratio "
        f"{ratios[0]:.2f} (goal {goals[0]:g}), packed nn.GRU {packed:.0f}, ratio {ratios[1]:.2f} "
        f"(goal {goals[1]:g}); largest difference of the loss curves "
        f"{curve_difference(batch_size, clips):.1e}"
    )
    rate, limit = ours * flops_per_clip(clips), product_flops(clock=1)
    print(f"  arithmetic: {rate / 1e9:.0f} of {limit / 1e9:.0f} GFLOP/s, {rate / limit:.0%}")


def main() -> None:
    """Run both batch sizes."""
    parser = parser_of(__doc__, threads=1, epochs=3)
    parser.add_argument("--clips", type=int, default=None, help="default: 24 and 6 batches")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} thread(s), torch {torch.__version__}")
    for batch_size, batches, goals in ((4, 24, (3.5, 6.0)), (64, 6, (3.0, 12.0))):
        report(batch_size, arguments.clips or batch_size * batches + 4, arguments.epochs, goals)


if __name__ == "__main__":
    main()
