"""JSON of frozen dataclasses, and dataclasses of JSON that may be a stranger's or an older one's.

A field whose stored name was another has it in ``metadata={"was": "old_name"}``.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from facer.storage.errors import FacerError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return a dataclass, and what is in it, as plain JSON values."""
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def plain(config: Any) -> dict[str, Any]:
    """Return a config as JSON, without what it says nothing of."""
    return {key: value for key, value in to_json(config).items() if value is not None}


def from_json(kind: type[T], values: Any, where: str, wrote: str) -> T:
    """Return the dataclass ``kind`` that :func:`to_json` made ``values`` of.

    Names that are no field are ignored; absent ones have their default. Raises FacerError, which
    names ``where`` and the command that ``wrote`` it, for values of another type.
    """
    assert isinstance(kind, type)
    try:
        made: T = _dataclass(kind, values, "")
    except _OtherError as error:
        text = f"{where}: {error}; this is not a config that {wrote} wrote"
        raise FacerError(text) from None
    except FacerError as error:
        raise FacerError(f"{where}: {error}") from error
    return made


class _OtherError(Exception):
    """A value of another type than its field's."""

    def __init__(self, path: str, value: Any, expected: str) -> None:
        found = repr(str(value)[:80])
        super().__init__(f"{path.strip('.')}: found {found}, expected {expected}")


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _dataclass(kind: Any, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise _OtherError(path, values, "an object")
    given = {}
    for field in fields(kind):
        name = field.name if field.name in values else field.metadata.get("was", field.name)
        if name in values:
            place = f"{path}.{name}"
            given[field.name] = _value(_hints(kind)[field.name], values[name], place)
        elif _required(field):
            raise _OtherError(f"{path}.{name}", None, "a value")
    return kind(**given)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(hint: Any, value: Any, path: str) -> Any:
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return value
    if kind is Annotated:
        return _value(arguments[0], value, path)
    if kind in (Union, types.UnionType):
        return _one_of(arguments, value, path)
    if kind is Literal:
        if value in arguments:
            return value
        raise _OtherError(path, value, " or ".join(map(str, arguments)))
    if kind is tuple and isinstance(value, list):
        if ... not in arguments and len(value) != len(arguments):
            raise _OtherError(path, value, f"{len(arguments)} values")
        return tuple(_value(arguments[0], one, path) for one in value)
    if kind in (dict, Mapping) and isinstance(value, dict):
        return {key: _value(arguments[1], one, f"{path}.{key}") for key, one in value.items()}
    if is_dataclass(kind):
        return _dataclass(kind, value, path)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int and abs(value) < 2**1000:
        return float(value)
    if type(value) is not kind:
        raise _OtherError(path, value, _NAMES.get(kind, "another type"))
    return value


def _one_of(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    for kind in kinds[:-1]:
        try:
            return _value(kind, value, path)
        except _OtherError:
            continue
    return _value(kinds[-1], value, path)


_NAMES = {
    str: "text",
    tuple: "a list",
    dict: "an object",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}
