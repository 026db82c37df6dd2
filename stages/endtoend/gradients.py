"""REC under a loss on whole clips, with memory that does not grow with the clips.

The loss needs REC's features of every frame at once, but not the activations behind them: the
features are computed chunk by chunk without a graph, the loss gives their gradient, and each
chunk is computed again to carry its part of the gradient into REC. That is gradient
checkpointing with a chunk as the segment (Chen et al. 2016, "Training deep nets with sublinear
memory cost"); the gradient is exact, at the price of one more forward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from facer.stages.features.rec.network import RecNet, scale_crops
from facer.storage.schema import FEATURE_NAMES, U8


def rec_features(network: RecNet, crops: U8, chunk: int) -> Tensor:
    """REC features (K, 26) of crops (K, 112, 112, 3), without a graph, on the network's device.

    ``network`` has to be in evaluation mode, as in :func:`backward_through`.
    """
    rows = [torch.empty(0, len(FEATURE_NAMES), device=_device(network))]
    with torch.no_grad():
        rows += [_forward(network, crops[start : start + chunk]) for start in _starts(crops, chunk)]
    return torch.cat(rows)


def backward_through(
    network: RecNet, crops: U8, chunk: int, loss_of: Callable[[Tensor], Tensor]
) -> Tensor:
    """Add the gradients of ``loss_of(features)``, a scalar, to REC's and the loss's parameters.

    ``crops`` (K, 112, 112, 3) RGB uint8; ``loss_of`` takes their features (K, 26). At most
    ``chunk`` crops have activations in memory. ``network`` has to be in evaluation mode: batch
    normalisation by the statistics of a chunk, or dropout, would make the two passes differ.
    Returns the loss, detached.
    """
    features = rec_features(network, crops, chunk).requires_grad_()
    loss = loss_of(features)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = features.grad
    if gradient is not None:
        for start in _starts(crops, chunk):
            part = slice(start, start + chunk)
            _forward(network, crops[part]).backward(gradient[part])  # type: ignore[no-untyped-call]
    return loss.detach()


def _forward(network: RecNet, crops: U8) -> Tensor:
    images = scale_crops(torch.from_numpy(crops).to(_device(network)))
    return network(images.contiguous(memory_format=torch.channels_last)).features()  # type: ignore[no-any-return]


def _starts(crops: U8, chunk: int) -> range:
    return range(0, len(crops), chunk)


def _device(network: RecNet) -> torch.device:
    return next(network.parameters()).device
