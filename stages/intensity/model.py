"""A head with its input scale and its calibration: what a training makes and a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facer.stages.common.training import Arrays
from facer.stages.intensity.calibration import Calibration
from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads import HeadShape, build_head
from facer.stages.intensity.heads.own import blamed
from facer.stages.intensity.kernels.batches import Batch, DeviceSequences, by_column
from facer.storage.errors import OptionError, named
from facer.storage.schema import F32, I64

_PREDICT_BATCH = 64


@dataclass(frozen=True)
class InputScale:
    """(x - mean) / deviation, (F,) each, measured on the training clips' frames."""

    mean: F32
    std: F32  # 1 where a feature does not vary


def measure_scale(data: DeviceSequences, clips: I64) -> InputScale:
    """Mean and deviation, (F,) each, over the frames of some clips, filled ones left out."""
    columns, device = int(data.features.shape[1]), data.features.device
    total = torch.zeros(2, columns, dtype=torch.float64, device=device)
    count = torch.zeros(columns, dtype=torch.float64, device=device)
    for clip in clips:
        features, filled = data.rows(clip)
        rows = features.double()
        seen = torch.ones_like(rows, dtype=torch.bool)
        if filled is not None:
            seen = ~filled
            rows = rows.masked_fill(filled, 0)
        total += torch.stack([rows.sum(0), rows.square().sum(0)])
        count += seen.sum(0)
    mean, square = total / count.clamp_min(1)
    std = (square - mean.square()).clamp_min(0).sqrt()
    std = torch.where(std > 1e-6 * (1 + mean.abs()), std, 1.0)
    return InputScale(mean.float().cpu().numpy(), std.float().cpu().numpy())


class IntensityModel(nn.Module):
    """Batch of clips -> intensities (B, E), uncalibrated: losses and metrics see these.

    ``scale`` and ``calibration`` are kept as buffers, so they are saved with the weights.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        if config.modality_dropout and len(shape.widths) < 2:
            raise OptionError(
                f"{named('modality_dropout')}: found one stream, expected others beside it "
                f"({named('with_')})"
            )
        self.head = build_head(config, shape)
        self.register_buffer("input_mean", torch.zeros(shape.features))
        self.register_buffer("input_deviation", torch.ones(shape.features))
        self.register_buffer("slope", torch.ones(shape.intensities, dtype=torch.float64))
        self.register_buffer("intercept", torch.zeros(shape.intensities, dtype=torch.float64))
        self.standardised = False
        self.stand_in: F32 | None = None  # (E,) for clips without features; None: labels' mean

    def set_scale(self, scale: InputScale) -> None:
        """Standardise inputs from now on."""
        self._fill("input_mean", scale.mean)
        self._fill("input_deviation", scale.std)
        self.standardised = True

    @property
    def calibration(self) -> Calibration:
        """The line per emotion that :func:`predict` applies."""
        slope, intercept = self.get_buffer("slope"), self.get_buffer("intercept")
        return Calibration(slope.cpu().numpy().copy(), intercept.cpu().numpy().copy())

    def set_calibration(self, calibration: Calibration) -> None:
        """Replace the line per emotion."""
        self._fill("slope", calibration.slope)
        self._fill("intercept", calibration.intercept)

    def _fill(self, name: str, values: npt.NDArray[Any]) -> None:
        self.get_buffer(name).copy_(torch.from_numpy(np.asarray(values)))

    def forward(self, batch: Batch) -> Tensor:
        """See the class."""
        if self.standardised:
            mean, std = self.get_buffer("input_mean"), self.get_buffer("input_deviation")
            features = (batch.features - mean) / std
            if batch.filled is not None:
                filled = batch.filled.to(features.device)
                features = features.masked_fill(self._columns(filled), 0)
            batch = replace(batch, features=features)
        if self.training and self.config.modality_dropout:
            batch = replace(batch, features=self._without_some(batch))
        intensities: Tensor = self.head(batch)
        return intensities

    def _columns(self, per_stream: Tensor) -> Tensor:
        """(..., S) -> (..., F)."""
        return by_column(per_stream, self.shape.streams, self.shape.features)

    def _without_some(self, batch: Batch) -> Tensor:
        """A batch's features with zeros for streams left out by chance; each clip keeps one."""
        clips, streams = len(batch.clips), len(self.shape.widths)
        chance = torch.rand(clips, streams, device=batch.features.device)
        out = (chance < self.config.modality_dropout) & (chance < chance.amax(1, keepdim=True))
        clip_of = torch.cat([torch.arange(n) for n in batch.batch_sizes]).to(chance.device)
        return batch.features.masked_fill(self._columns(out[clip_of]), 0)

    def arrays(self) -> Arrays:
        """A copy of all weights and buffers by name, as numpy arrays."""
        return {name: value.cpu().numpy().copy() for name, value in self.state_dict().items()}

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what :meth:`arrays` returned."""
        self.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        std, mean = self.get_buffer("input_deviation"), self.get_buffer("input_mean")
        self.standardised = bool((std != 1).any() or (mean != 0).any())


@torch.inference_mode()
def predict_raw(model: IntensityModel, data: DeviceSequences, clips: I64) -> F32:
    """Uncalibrated intensities (n, E) of some clips, in their order."""
    model.eval()
    out = np.empty((len(data.lengths), model.shape.intensities), np.float32)
    for batch in data.batches(clips, _PREDICT_BATCH):
        with blamed(model.config.name):
            out[batch.clips] = model(batch).cpu().numpy()
    return out[clips]


def predict(model: IntensityModel, data: DeviceSequences, clips: I64) -> F32:
    """Intensities (n, E) of some clips on the labels' scale, in their order."""
    return model.calibration.apply(predict_raw(model, data, clips))
