"""Where a network runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from facer.storage.errors import FacerError, OptionError, named
from facer.storage.settings import DEVICE

if TYPE_CHECKING:
    import torch


def device_name(device: str) -> str:
    """:func:`resolve_device` by name. torch, which takes a second to import, stays out of it where
    only a CPU can be meant.
    """
    try:
        cpu_build = version("torch").endswith("+cpu")
    except PackageNotFoundError:  # torch is there, its name is another one
        cpu_build = False
    if device == "cpu" or (device == "auto" and cpu_build):
        return "cpu"
    return str(resolve_device(device))


def on_gpu(device: str) -> bool:
    """Whether :func:`resolve_device` gives a GPU."""
    return device_name(device) != "cpu"


def resolve_device(device: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:n`` as a torch device.

    Asking for a GPU that is not there is a ``FacerError``, never a silent fall-back.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):  # no such device, no text
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise OptionError(f"{named('device')}: found {device!r}, expected {DEVICE.words}")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise FacerError(
            f"{named('device')} {device}: {torch.cuda.device_count()} CUDA devices found; "
            f"use {named('device')} cpu, or install a CUDA build of torch on a machine with a GPU"
        )
    return resolved
