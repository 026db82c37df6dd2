"""Local paths that lead to the same place wherever the current folder is."""

from __future__ import annotations

from pathlib import Path


class Anchored:
    """A path that is relative to the folder which is the current one now."""

    def __init__(self, path: Path) -> None:
        self._given = path
        self._from = "" if path.is_absolute() else _current()
        self.whole = Path(self._from) / path

    @property
    def path(self) -> Path:
        """It as it was given, while that leads there; else the whole path."""
        return self._given if not self._from or _current() == self._from else self.whole


def _current() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was deleted
        return ""
