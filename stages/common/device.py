"""Where a network runs."""

from __future__ import annotations

import torch

from facer.storage.errors import FacerError, OptionError, named


def resolve_device(device: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:n`` as a torch device.

    Asking for a GPU that is not there is a ``FacerError``, never a silent fall-back.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise OptionError(
            f"{named('device')}: found {device!r}, expected auto, cpu, cuda or cuda:N"
        ) from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise FacerError(
            f"{named('device')} {device}: {torch.cuda.device_count()} CUDA devices found; "
            "use --device cpu, or install a CUDA build of torch on a machine with a GPU"
        )
    if resolved.type not in ("cpu", "cuda"):
        raise OptionError(
            f"{named('device')}: found {device!r}, expected auto, cpu, cuda or cuda:N"
        )
    return resolved
