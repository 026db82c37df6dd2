"""A head with its input scale and its calibration: what a training makes and a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facer.stages.intensity.calibration import Calibration
from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads import HeadShape, build_head
from facer.stages.intensity.kernels.batches import Batch, DeviceSequences
from facer.stages.intensity.sequences import I64
from facer.storage.schema import F32

Arrays = dict[str, npt.NDArray[Any]]

_PREDICT_BATCH = 64


@dataclass(frozen=True)
class InputScale:
    """(x - mean) / deviation, (F,) each, measured on the training clips' frames."""

    mean: F32
    std: F32  # 1 where a feature does not vary


def measure_scale(
    features: Tensor, offsets: I64, clips: I64, filled: Tensor | None = None
) -> InputScale:
    """Mean and deviation of features (N, F) over the frames of some clips, filled ones left out."""
    total = torch.zeros(2, features.shape[1], dtype=torch.float64, device=features.device)
    count = 0
    for clip in clips:
        frames = slice(offsets[clip], offsets[clip + 1])
        rows = features[frames].double()
        if filled is not None:
            rows = rows[~filled[frames]]
        total += torch.stack([rows.sum(0), rows.square().sum(0)])
        count += len(rows)
    mean, square = total / count
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
                features = features.masked_fill(batch.filled.to(features.device)[:, None], 0)
            batch = replace(batch, features=features)
        intensities: Tensor = self.head(batch)
        return intensities

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
        out[batch.clips] = model(batch).cpu().numpy()
    return out[clips]


def predict(model: IntensityModel, data: DeviceSequences, clips: I64) -> F32:
    """Intensities (n, E) of some clips on the labels' scale, in their order."""
    return model.calibration.apply(predict_raw(model, data, clips))
