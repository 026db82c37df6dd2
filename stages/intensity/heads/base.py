"""What every head is: a module from a batch of clips to their intensities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from facer.stages.intensity.kernels.batches import Batch
from facer.storage.errors import FacerError


class HeadShape(NamedTuple):
    """Sizes that come from the data.

    - ``features``: F
    - ``intensities``: E
    - ``max_frames``: t
    - ``streams`` (S,): columns of each stream, of sum F; empty: one stream
    """

    features: int
    intensities: int
    max_frames: int
    streams: tuple[int, ...] = ()

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of each stream, (S,)."""
        return self.streams or (self.features,)


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
        """Intensities (1, E) of one clip (T, F), T <= t, in operations that ONNX has.

        A head without it cannot be exported.
        """
        del x
        raise FacerError(f"head {type(self).__name__}: has no clip(), which an export needs")

    def routed_steps(self, batch: Batch) -> int:
        """How many steps of ``routed_weight`` the batch uses."""
        return len(batch.batch_sizes)


class PaddedHead(Head):
    """Base of heads that read a batch's clips padded to the longest."""

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """Padded features (B, L, F) and where they are true (B, L) -> (B, E)."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        return self.read(*batch.padded())

    def clip(self, x: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self.read(x[None], torch.ones_like(x[None, :, 0], dtype=torch.bool))
