"""The tutorial's pictures: ``facer demo`` makes them, so none is kept in the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_FROM_DEMO = {"clip.png": "clip.png", "curve.png": "run/curve.png"}


def made_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, sorted; a missing folder is made by running the demo."""
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix="facer-docs-") as temporary:
            made = Path(temporary) / "pictures"
            _make(Path(temporary) / "demo", made)
            shutil.copytree(made, folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _make(demo: Path, pictures: Path) -> None:
    pictures.mkdir()
    _facer("demo", "-o", demo)
    for name, source in _FROM_DEMO.items():
        shutil.copy(demo / source, pictures / name)
    film = pictures / "annotated.mp4"
    _facer("annotate", demo / "features.zarr", "02-table-1", "--videos", demo / "clips", "-o", film)


def _facer(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "facer.cli", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=sys.stderr)
