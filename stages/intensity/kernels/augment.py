"""Random changes to the sequences of a training: cropped, stretched, frames lost, noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from facer.stages.intensity.config import AugmentConfig
from facer.stages.intensity.kernels.batches import Batch, DeviceSequences, by_column
from facer.stages.intensity.model import measure_scale
from facer.stages.intensity.sequences import evenly
from facer.storage.schema import I64


class Augmenter:
    """Batches of a training's clips, changed at random; the data stay as they are."""

    def __init__(
        self, config: AugmentConfig, data: DeviceSequences, train: I64, max_frames: int
    ) -> None:
        self.config, self.data, self.max_frames = config, data, max_frames
        self.std = None
        if config.noise:
            self.std = torch.from_numpy(measure_scale(data, train).std).to(data.features.device)

    def batch(self, clips: I64, random: np.random.Generator) -> Batch:
        """The clips, each as ``random`` changes it: (B,) -> a batch of as many."""
        batch = self.data.batch(clips)
        if self.config == AugmentConfig():
            return batch
        lengths = batch.lengths.tolist()
        frames = [augmented_frames(n, self.config, self.max_frames, random) for n in lengths]
        batch = batch.taking(frames)
        if self.std is None:
            return batch
        noise = random.standard_normal(batch.features.shape, np.float32)
        noise *= np.float32(self.config.noise)
        changed = batch.features + torch.from_numpy(noise).to(self.std) * self.std
        if batch.filled is not None:  # zeros stand for absent frames
            filled = by_column(batch.filled, batch.streams, changed.shape[1])
            changed = torch.where(filled, batch.features, changed)
        return replace(batch, features=changed)


def augmented_frames(
    length: int, config: AugmentConfig, max_frames: int, random: np.random.Generator
) -> I64:
    """Frames (n,) of a clip of ``length``, in order, 1 <= n <= ``max_frames``.

    A stretch of the clip, of ``crop`` of its frames or more, is played at another speed, each
    frame the nearest there is; lost frames are those before them.
    """
    kept = max(1, round(length * random.uniform(config.crop, 1)))
    start = int(random.integers(length - kept + 1))
    most = np.log1p(config.stretch)
    count = round(kept * float(np.exp(random.uniform(-most, most))))
    frames = start + evenly(kept, min(max(count, 1), max_frames))
    lost = random.random(len(frames)) < config.drop
    lost[0] = False
    held: I64 = frames[np.maximum.accumulate(np.where(lost, 0, np.arange(len(frames))))]
    return held
