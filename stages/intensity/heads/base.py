"""What every head is: a module from a batch of clips to their intensities."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn

from facer.stages.intensity.kernels.batches import Batch
from facer.stages.intensity.kernels.recurrent import Cell
from facer.storage.errors import OptionError

_ONLY_OF = {"cell": ("facernet", "gru-last"), "dense": ("facernet",), "routed": ("facernet",)}


@dataclass(frozen=True)
class HeadConfig:
    """Which head, and its size. The defaults are the paper's FaceRNET.

    A head uses what it knows; what it does not is in :attr:`unused`.
    """

    name: str = "facernet"
    cell: Cell = "gru"
    units: int = 128  # width of the layer over time
    layers: int = 1  # of that layer
    dense: int = 32  # width of the dense layer after Mask
    routed: bool = True  # Mask layer and routing
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("units", "layers", "dense"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name}: found {getattr(self, name)}, expected 1 or more")
        if self.cell not in ("gru", "lstm"):
            raise OptionError(f"--cell: found {self.cell!r}, expected gru or lstm")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"--dropout: found {self.dropout}, expected 0 <= dropout < 1")

    @property
    def unused(self) -> tuple[str, ...]:
        """Fields that differ from their defaults but mean nothing to this head."""
        return tuple(
            field.name
            for field in fields(self)
            if self.name not in _ONLY_OF.get(field.name, (self.name,))
            if getattr(self, field.name) != field.default
        )


class HeadShape(NamedTuple):
    """Sizes that come from the data."""

    features: int  # F
    intensities: int  # E
    max_frames: int  # t


def everywhere(x: Tensor) -> Tensor:
    """The mask (1, T) of a clip (T, F) on its own: all true."""
    return torch.ones_like(x[None, :, 0], dtype=torch.bool)


class Head(nn.Module):
    """Base of all heads."""

    @property
    def routed_weight(self) -> nn.Parameter | None:
        """A (t, ...) weight of which a batch uses the blocks of its steps only, if any."""
        return None

    def forward(self, batch: Batch) -> Tensor:
        """Intensities (B, E) of the batch's clips, in the batch's order."""
        raise NotImplementedError

    def clip(self, x: Tensor) -> Tensor:
        """Intensities (1, E) of one clip (T, F), T <= t, in operations that ONNX has."""
        raise NotImplementedError

    def routed_steps(self, batch: Batch) -> int:
        """How many steps of ``routed_weight`` the batch uses."""
        return len(batch.sizes)
