"""Heads of one's own: classes of other packages, imported only where the user names them.

A run folder may come from anybody. What it says is its head is never imported for that: the name
must have been given to :func:`import_head` in this process, by the user's option or keyword.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from facer.stages.common.training import seeded
from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape
from facer.stages.intensity.kernels.batches import Batch, DeviceSequences
from facer.stages.intensity.sequences import Sequences
from facer.storage.errors import FacerError, named, no_memory, one_line
from facer.storage.files.weights import file_sha256

_TOLERANCE = 1e-3  # of the intensities' size
_FLOATS = (torch.float16, torch.float32, torch.float64)  # that numpy, and so a run's file, has

imported_heads: dict[str, type[Head]] = {}


def is_own(name: str) -> bool:
    """Whether a head's name is that of a class of another package."""
    return ":" in name


def import_head(name: str | None) -> None:
    """Import ``package.module:Class``, which the user named; nothing for a head of facer's.

    FacerError where that is no subclass of :class:`Head`.
    """
    if name is None or not is_own(name) or name in imported_heads:
        return
    module, _, kind = name.partition(":")
    try:
        found = getattr(import_module(module), kind)
    except Exception as error:
        raise FacerError(
            f"{named('head')} {name}: cannot be imported ({one_line(error)}); expected a class of "
            "an installed package, or of a file whose folder is on PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Head)):
        raise FacerError(f"{named('head')} {name}: expected a subclass of facer.Head")
    imported_heads[name] = found


def own_head(name: str) -> type[Head]:
    """The class that :func:`import_head` imported; FacerError for any other."""
    if name not in imported_heads:
        raise FacerError(
            f"{named('head')} {name}: is code that is not facer's, and is imported only when you "
            f"name it; if you trust it, add {named('head')} {name}"
        )
    return imported_heads[name]


def code_sha256(name: str) -> str | None:
    """Digest of the file of an imported head of one's own; None for one of facer's."""
    if not is_own(name):
        return None
    path = getattr(import_module(own_head(name).__module__), "__file__", None)
    return file_sha256(Path(path)) if path else None


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """What a head of one's own raises becomes a FacerError that names it."""
    try:
        yield
    except FacerError:
        raise
    except Exception as error:
        if not is_own(name) or no_memory(error):  # the latter is not the head's fault
            raise
        raise FacerError(f"{named('head')} {name}: {one_line(error)}") from error


def check_head(head: Head, config: HeadConfig, shape: HeadShape) -> None:
    """FacerError unless a head maps clips to (B, E), each by its own frames alone, by weights that
    can be trained and kept in a file.
    """
    _check_weights(head, config.name)
    lengths = np.array([max(1, shape.max_frames // 3), shape.max_frames, 1])  # not as in a batch
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    features = np.random.default_rng(0).random((offsets[-1], shape.features), np.float32)
    clips = Sequences(features, offsets, ("a", "b", "c"), streams=shape.streams)
    data = DeviceSequences(clips, torch.device("cpu"))
    training = head.training
    head.eval()
    batch = data.batch(np.arange(3))
    found = _intensities(head, config, batch, shape)
    together = found.detach()
    with torch.no_grad():
        alone = [_intensities(head, config, data.batch(batch.clips[[i]]), shape) for i in range(3)]
    head.train(training)
    size = max(1.0, float(together.abs().max()))
    if not together.isfinite().all():
        fault = "predicts numbers that are not finite"
    elif not float((together - torch.cat(alone)).abs().max()) <= _TOLERANCE * size:
        fault = (
            "predicts a clip otherwise when others are in the batch; expected it to leave padding "
            "out (batch.padded() gives a mask), and clips in the batch's order"
        )
    elif not (found.requires_grad or _teachable(head, config, batch, shape)):
        fault = "has no weights that its predictions could teach"
    else:
        return
    raise FacerError(f"{named('head')} {config.name}: {fault}")


def _teachable(head: Head, config: HeadConfig, batch: Batch, shape: HeadShape) -> bool:
    """Whether a head without gradients where it predicts has some where it is trained."""
    with seeded(), blamed(config.name):  # not every head can be copied
        return _intensities(deepcopy(head).train(), config, batch, shape).requires_grad


def _check_weights(head: Head, name: str) -> None:
    """FacerError for weights and buffers that no file of a run holds."""
    for key, value in head.state_dict().items():
        if not isinstance(value, torch.Tensor):  # get_extra_state
            fault = f"is {type(value).__name__}, expected a tensor"
        elif is_lazy(value):
            fault = "is made by the first batch; expected layers of known sizes (shape.features)"
        elif value.dtype in _FLOATS or not (value.is_floating_point() or value.is_complex()):
            continue
        else:
            fault = f"is {value.dtype}, expected torch.float32"
        raise FacerError(f"{named('head')} {name}: {key} {fault}")


def _intensities(head: Head, config: HeadConfig, batch: Batch, shape: HeadShape) -> torch.Tensor:
    with blamed(config.name):
        found = head(batch)
    expected = (len(batch.clips), shape.intensities)
    if not isinstance(found, torch.Tensor) or tuple(found.shape) != expected:
        what = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise FacerError(f"{named('head')} {config.name}: found {what}, expected {expected}")
    return found
