"""Whether the module ``facer`` is this distribution's alone.

Another distribution with a module of that name (pyfacer on PyPI has one) writes into the same
folder; the one that is installed last overwrites the other's files.
"""

from __future__ import annotations

import sys
from pathlib import Path

_OURS = {"__init__.py", "__main__.py", "cli.py", "__pycache__", "pipeline", "stages", "storage"}


def problem_of(folder: Path, loaded: object) -> tuple[str, bool]:
    """Return what is wrong with the folder of the module, "" where nothing is, and if it is fatal.

    It is where ``loaded``, the module ``facer`` as it was imported, is another one's.
    """
    fatal = "open_store" not in getattr(loaded, "__all__", ())
    if not fatal and {path.name for path in folder.iterdir()} <= _OURS:
        return "", False  # the usual case: a listing, and no other file is read
    others = _owners(folder)
    if not fatal and not others:
        return "", False
    names = " ".join(others)
    found = f"the distribution {', '.join(others)}" if others else "another distribution"
    return (
        f"{folder}: {found} has a module facer too, and writes over this one's files; expected "
        f"facer alone: use an environment of its own, or pip uninstall {names or 'it'} and then "
        "install facer again with --force-reinstall --no-deps"
    ), fatal


def _owners(folder: Path) -> list[str]:
    """Other distributions beside the folder whose list of files has the module."""
    module = f"{folder.name}/__init__.py,".encode()
    found = []
    for record in sorted(folder.parent.glob("*.dist-info/RECORD")):
        name = record.parent.name.partition("-")[0]
        data = b"" if name == "facer" else record.read_bytes()
        if data.startswith(module) or b"\n" + module in data:
            found.append(name)
    return found


def check_installation() -> tuple[str, bool]:
    """Return :func:`problem_of` the running facer."""
    return problem_of(Path(__file__).parents[2], sys.modules["facer"])
