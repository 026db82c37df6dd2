"""Packages that only some users need."""

from __future__ import annotations

import importlib
from typing import Any

from facer.storage.errors import FacerError


def optional(module: str, extra: str = "tables", wanted: str = "tables", instead: str = "") -> Any:
    """Import a module of facer's ``extra``; FacerError where it is not there.

    ``wanted`` is what cannot be had without it, ``instead`` what else can be done.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FacerError(
            f"{wanted}: found no {error.name or module}, expected it installed; "
            f"pip install 'facer[{extra}]'{instead}"
        ) from error
