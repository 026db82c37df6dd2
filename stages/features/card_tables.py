"""The TOML of a model card becomes dataclasses, every value of its field's type."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.text.likeness import did_you_mean

MAX_VALUES = 1024
"""Values of a list or table of a card."""

_MAX_BYTES = 1 << 18
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
"""Of a card, and of a file beside it."""


def check_name(name: str) -> None:
    """``FacerError`` for what cannot name a card."""
    if not NAME.fullmatch(name):
        raise FacerError(f"name: found {name!r}, expected letters, digits, . _ + -")


def read_tables(path: Path, expected: str, what: str) -> dict[str, Any]:
    """The tables of a file of a format; ``FacerError`` for a file of no or another format."""
    with open_regular(path, f"{what} (.toml)", str(path)) as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise FacerError(f"{path}: larger than {_MAX_BYTES} bytes, expected {what}")
    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FacerError(f"{path}: no readable TOML ({str(error)[:200]})") from error
    found, family = table.pop("format", None), expected.rstrip("0123456789")
    if found != expected:
        newer = isinstance(found, str) and re.fullmatch(rf"{family}\d+", found)
        advice = "update facer" if newer else f"expected format = {expected!r} in its first line"
        raise FacerError(f"{path}: found format {found!r}; {advice}")
    return table


def build(cls: Any, table: Any, where: str, hidden: tuple[str, ...] = ()) -> Any:
    """Return a dataclass of a table, every value of its field's type; FacerError for others."""
    if not isinstance(table, dict):
        raise FacerError(f"{where}found {str(table)[:40]!r}, expected a table")
    hints, known = get_type_hints(cls), [f for f in fields(cls) if f.name not in hidden]
    names = [f.name for f in known]
    for key in table:
        if key not in names:
            near = did_you_mean(key, names) or f"; expected {', '.join(names)}"
            raise FacerError(f"{where}found no such key as {key[:40]!r}{near}")
    for one in known:
        required = one.default is MISSING and one.default_factory is MISSING
        if required and one.name not in table:
            raise FacerError(f"{where}{one.name}: found none, expected one")
    values = {key: _value(hints[key], value, f"{where}{key}: ") for key, value in table.items()}
    try:
        return cls(**values)
    except FacerError as error:
        raise FacerError(f"{where}{error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    """A TOML value as a field's type."""
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if not isinstance(value, list):
            raise FacerError(f"{where}found {str(value)[:40]!r}, expected a list")
        if len(value) > MAX_VALUES:
            raise FacerError(f"{where}found {len(value)} values, expected {MAX_VALUES} at most")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise FacerError(f"{where}found {len(value)} values, expected {len(kinds)}")
        return tuple(_value(k, v, where) for k, v in zip(kinds, value, strict=True))
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            known = ", ".join(get_args(hint))
            raise FacerError(f"{where}found {str(value)[:40]!r}, expected {known}")
        return value
    if get_origin(hint) is Mapping or hint is Mapping:
        if not isinstance(value, dict) or len(value) > MAX_VALUES:
            raise FacerError(f"{where}found {str(value)[:40]!r}, expected a table")
        return {key: _value(float, number, f"{where}{key}: ") for key, number in value.items()}
    choices = [kind for kind in get_args(hint) if kind is not NoneType]
    if choices:
        return _value(choices[0], value, where)
    if hasattr(hint, "__dataclass_fields__"):
        return build(hint, value, where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        kind = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        raise FacerError(f"{where}found {str(value)[:40]!r}, expected {kind[hint]}")
    return value
