"""Where facer keeps what can be had again."""

from __future__ import annotations

import os
from pathlib import Path

from facer.storage.errors import FacerError


def user_cache() -> Path:
    """facer's folder in the user's cache, below ``XDG_CACHE_HOME`` or ``~/.cache``.

    ``FacerError`` for a user without a home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "facer"
    except RuntimeError as error:
        raise FacerError(
            f"user {os.getuid()} has no home folder, expected one for facer's cache; set HOME or "
            "XDG_CACHE_HOME to a folder"
        ) from error
