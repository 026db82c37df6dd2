"""GRU or LSTM layers over packed clips, on the CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from facer.stages.intensity.config import Cell
from facer.stages.intensity.kernels.packed_gru import packed_gru


class Recurrent(nn.Module):
    """The outputs of all steps of ``torch.nn.GRU`` or ``torch.nn.LSTM``, zero initial state.

    Parameters have torch's names. GRUs run through :mod:`packed_gru` on the CPU; all else runs
    through torch's own layers (cuDNN on a GPU). Dropout lies between layers.
    """

    def __init__(
        self, cell: Cell, width: int, hidden_size: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
        between = dropout if layers > 1 else 0.0
        self.cell = cell
        self.rnn: nn.RNNBase = kind(width, hidden_size, layers, dropout=between)

    def forward(self, features: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        """Packed features (N, F) -> packed outputs of the last layer (N, H)."""
        if self.cell == "gru" and features.device.type == "cpu":
            return self._gru(features, batch_sizes)
        packed = PackedSequence(features, torch.tensor(batch_sizes))
        output: Tensor = self.rnn(packed)[0].data
        return output

    def clip(self, x: Tensor) -> Tensor:
        """One clip (T, F) -> outputs of the last layer (T, H), through torch's own layers."""
        output: Tensor = self.rnn(x.unsqueeze(1))[0]
        return output.squeeze(1)

    def _gru(self, features: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        states = features
        for layer in range(self.rnn.num_layers):
            if layer:
                states = F.dropout(states, self.rnn.dropout, self.training)
            w_ih, w_hh, b_ih, b_hh = (
                getattr(self.rnn, f"{name}_l{layer}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            states = packed_gru(states, w_ih, w_hh, b_ih, b_hh, batch_sizes)
        return states
