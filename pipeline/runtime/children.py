"""Child processes of this machine: Python modules that speak JSON lines over inherited pipes.

Nothing here listens: a pipe has no name, so no other user can reach it.
"""

from __future__ import annotations

import builtins
import dataclasses
import importlib
import json
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of a child among several: the models' own threads are set in each."""
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command as Ctrl-C does; a terminal sends it to its child processes too."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this Python, and nothing from the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def import_path() -> str:
    """``PYTHONPATH`` of a child that imports what this process does."""
    return os.pathsep.join(path for path in sys.path if path)


def dumps(value: object) -> str:
    """A value as one line of JSON; :func:`loads` gives an equal one of the same type.

    Numbers, text, None, lists, tuples, dicts, paths, and dataclasses and named tuples of facer,
    nested at will; ``TypeError`` for anything else.
    """
    return json.dumps(_plain(value))


def loads(line: str | bytes) -> Any:
    """The value that :func:`dumps` wrote. Of classes, only such ones of facer are made."""
    return _value(json.loads(line))


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [_plain(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if isinstance(value, Path):
        return {"path": str(value)}
    kind = type(value)
    if _is_ours(kind.__module__) and (names := _fields(kind)) is not None:
        fields = {name: _plain(getattr(value, name)) for name in names}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
    raise TypeError(f"{type(value).__qualname__} cannot be handed to another process")


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_value(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if "tuple" in plain:
        return tuple(_value(item) for item in plain["tuple"])
    if "dict" in plain:
        return {_value(key): _value(item) for key, item in plain["dict"]}
    if "path" in plain:
        return Path(plain["path"])
    module, _, name = plain["class"].partition(":")
    found = getattr(importlib.import_module(module), name) if _is_ours(module) else None
    if not isinstance(found, type) or _fields(found) is None:
        raise TypeError(f"{plain['class']} is no dataclass or named tuple of facer")
    return found(**{key: _value(item) for key, item in plain["fields"].items()})


def _fields(kind: type) -> Sequence[str] | None:
    """Names of the fields of a dataclass or named tuple; None for other classes."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return getattr(kind, "_fields", None) if issubclass(kind, tuple) else None


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "facer"


def function_name(function: Callable[..., object]) -> str:
    """``module:name`` of a function; ``TypeError`` for one that another process cannot find."""
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    with suppress(AttributeError, ImportError, ValueError):
        if not name.startswith("__main__:") and pkgutil.resolve_name(name) is function:
            return name
    raise TypeError(f"{function!r}: expected a function at the top level of a module")


def describe_error(error: Exception) -> dict[str, str]:
    """An exception's type and text, to be sent; :func:`raised` makes it again."""
    return {"type": type(error).__qualname__, "text": str(error)}


def raised(description: dict[str, str]) -> Exception:
    """An exception of the described type and text; of another type than Python's own, by name."""
    name, text = description["type"], description["text"]
    base = getattr(builtins, name, Exception)
    if not (isinstance(base, type) and issubclass(base, Exception)):
        base = Exception
    body = {"__str__": lambda _: text, "__module__": base.__module__}
    try:
        error: Exception = type(name, (base,), body)()
    except TypeError:  # Python's own that is not made without arguments
        error = type(name, (Exception,), body)()
    return error
