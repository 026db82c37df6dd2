"""REC and head as one model: clips' crops in, intensities out, trained end to end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facer.pipeline.features.stored_video import read_crops, same_video
from facer.stages.common.training import Arrays, tensors_under, under
from facer.stages.endtoend.gradients import backward_through, rec_features
from facer.stages.features.rec.network import RecNet
from facer.stages.intensity.config import LossName
from facer.stages.intensity.kernels.batches import Batch, pack
from facer.stages.intensity.kernels.routing import RoutedAdam
from facer.stages.intensity.losses import LOSSES
from facer.stages.intensity.model import IntensityModel
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.stages.intensity.sequences import ZEROS, measured_rows, plan_rows
from facer.storage import FeatureStore
from facer.storage.schema import F32, FEATURE_NAMES, I64, U8


@dataclass(frozen=True)
class JointBatch:
    """A batch of clips whose features are still to be computed."""

    batch: Batch  # without features
    crops: U8  # (K, 112, 112, 3) all the frames that the clips' sequences use
    rows: Tensor  # (N,) crop of each row of the batch; K for a row of zeros


class ClipCrops:
    """The frames that each clip's sequence uses, as crops; decoded again when out of memory.

    The faces are those of the store: nothing is detected again.
    """

    def __init__(
        self, store: FeatureStore, videos: Path, clip_ids: Sequence[str], config: SequenceConfig,
        columns: Sequence[str], memory_bytes: int,
    ) -> None:  # fmt: skip
        self._store = store
        self._videos = videos
        self._clip_ids = clip_ids
        self._room = memory_bytes
        self._kept: OrderedDict[int, U8] = OrderedDict()
        ragged = store.load(clip_ids, columns, quality=config.min_quality is not None)
        measured = measured_rows(ragged, config)
        plan = plan_rows(measured, ragged.offsets, ragged.clip_ids, config)
        self._offsets = plan.offsets
        self._place = np.full(len(plan.source), -1, np.int64)  # among its clip's crops
        self._frames: list[I64] = []  # of each clip, those that are used
        for clip, (start, stop) in enumerate(pairwise(plan.offsets.tolist())):
            source = plan.source[start:stop]
            used, place = np.unique(source[source != ZEROS], return_inverse=True)
            self._place[start:stop][source != ZEROS] = place
            self._frames.append(used - ragged.offsets[clip])

    def batch(self, clips: I64) -> JointBatch:
        """Crops of some clips, and how the batch's rows are made of them."""
        packing = pack(self._offsets, clips)
        crops = [self._crops(int(clip)) for clip in packing.clips]
        starts = np.cumsum([0, *(len(part) for part in crops)])
        clip_of = np.concatenate([np.arange(size) for size in packing.batch_sizes])
        place = self._place[packing.rows]
        rows = np.where(place < 0, starts[-1], starts[clip_of] + place)
        nothing = torch.empty(len(rows), 0)
        batch = Batch(nothing, packing.batch_sizes, packing.clips, packing.lengths)
        return JointBatch(batch, np.concatenate(crops), torch.from_numpy(rows))

    def check_videos(self, clips: I64) -> None:
        """FacerError for a video that is not there, or not as large as the one extracted."""
        for clip in clips:
            self._video(int(clip))

    def _video(self, clip: int) -> Path:
        return same_video(self._store.record(self._clip_ids[clip]), self._videos)

    def _crops(self, clip: int) -> U8:
        if clip in self._kept:
            self._kept.move_to_end(clip)
            return self._kept[clip]
        features = self._store.read(self._clip_ids[clip])
        crops = read_crops(self._video(clip), features, self._frames[clip])
        self._kept[clip] = crops
        while len(self._kept) > 1 and sum(c.nbytes for c in self._kept.values()) > self._room:
            self._kept.popitem(last=False)
        return crops


class JointModel:
    """A REC and a head, and one Adam for each; REC's normalisation statistics stay as they are.

    REC runs in evaluation mode also in training: batches of a few clips are no sample of faces
    to normalise by.
    """

    def __init__(
        self, network: RecNet, head: IntensityModel, columns: Sequence[str], chunk: int, rate: float
    ) -> None:
        self.network = network.eval()
        self.head = head
        self.chunk = chunk
        self._columns = [FEATURE_NAMES.index(name) for name in columns]
        self._optimisers = {
            "network": RoutedAdam(network.parameters(), None, rate),
            "head": RoutedAdam(head.parameters(), head.head.routed_weight, rate),
        }

    def step(self, joint: JointBatch, targets: Tensor, loss: LossName) -> float:
        """One step of both on a batch; ``targets`` (B, E). Returns the loss before it."""
        for optimiser in self._optimisers.values():
            optimiser.zero_grad()
        found = backward_through(
            self.network, joint.crops, self.chunk,
            lambda features: LOSSES[loss](self._intensities(joint, features), targets),
        )  # fmt: skip
        steps = self.head.head.routed_steps(joint.batch)
        self._optimisers["network"].step(0)  # it has no routed weight
        self._optimisers["head"].step(steps)
        return float(found)

    @torch.no_grad()
    def predict(self, data: ClipCrops, clips: I64, batch_size: int) -> F32:
        """Uncalibrated intensities (n, E) of some clips, in their order."""
        self.head.eval()
        out: dict[int, F32] = {}
        for start in range(0, len(clips), batch_size):
            joint = data.batch(clips[start : start + batch_size])
            features = rec_features(self.network, joint.crops, self.chunk)
            values = self._intensities(joint, features).cpu().numpy()
            out |= dict(zip(joint.batch.clips.tolist(), values, strict=True))
        return np.stack([out[int(clip)] for clip in clips])

    def _intensities(self, joint: JointBatch, features: Tensor) -> Tensor:
        zeros = features.new_zeros(1, len(self._columns))
        table = torch.cat([features[:, self._columns], zeros])
        rows = table.index_select(0, joint.rows.to(table.device))
        intensities: Tensor = self.head(replace(joint.batch, features=rows))
        return intensities

    def weights(self) -> Arrays:
        """A copy of all weights of both, by name."""
        network = {k: v.cpu().numpy().copy() for k, v in self.network.state_dict().items()}
        arrays = {f"network.{k}": v for k, v in network.items()}
        return arrays | {f"head.{k}": v for k, v in self.head.arrays().items()}

    def load_weights(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what :meth:`weights` returned."""
        self.network.load_state_dict(tensors_under(arrays, "network."))
        self.head.load_arrays(under(arrays, "head."))

    def moments(self) -> Arrays:
        """Both optimisers' states, by name."""
        return {
            f"adam.{owner}.{k}": np.asarray(v)
            for owner, optimiser in self._optimisers.items()
            for k, v in optimiser.state().items()
        }

    def load_moments(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what :meth:`moments` returned."""
        for owner, optimiser in self._optimisers.items():
            optimiser.load_state(under(arrays, f"adam.{owner}."))
