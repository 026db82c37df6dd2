"""A table of settings: those of several configs under their names.

They are keywords of Python's functions, and options of commands with dashes for underscores.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterator, KeysView, Mapping, Sequence
from dataclasses import MISSING
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from facer.storage.errors import OptionError, named
from facer.storage.files.regular import refuse_empty
from facer.storage.settings import Declared, declared
from facer.storage.text.likeness import did_you_mean

Settings = Mapping[str, Any]
"""Values by name."""

Config = TypeVar("Config")


class UnknownSettingError(OptionError, TypeError):
    """A keyword that a function does not take."""


class Table:
    """The settings of some configs by name; ValueError where two have one name."""

    def __init__(self, *configs: type) -> None:
        self.declared: dict[str, Declared] = {}
        for config in configs:
            if twice := self.declared.keys() & declared(config).keys():
                raise ValueError(f"{config.__name__}: found settings of another: {sorted(twice)}")
            self.declared |= declared(config)

    def __contains__(self, name: object) -> bool:
        return name in self.declared

    def __or__(self, other: Table) -> Table:
        table = Table()
        table.declared = self.declared | other.declared
        return table

    def only(self, *names: str) -> Table:
        """The settings of these names alone."""
        table = Table()
        table.declared = {name: self.declared[name] for name in names}
        return table

    def without(self, *names: str) -> Table:
        """The settings of all other names."""
        return self.only(*(name for name in self.declared if name not in names))

    @property
    def defaults(self) -> dict[str, Any]:
        """The value of each setting that is not given; None where a config needs one."""
        return {k: None if d.value is MISSING else d.value for k, d in self.declared.items()}

    def complete(self, given: Settings) -> dict[str, Any]:
        """Return all settings, checked for their type; OptionError for an unknown one."""
        for name in given:
            if name not in self.declared:
                near = did_you_mean(name, self.declared)
                raise UnknownSettingError(
                    f"{named(name)}: found no such setting{near}"
                    + ("" if near else f"; expected some of {', '.join(self.declared)}")
                )
        checked = {name: _checked(self.declared[name], value) for name, value in given.items()}
        return {**self.defaults, **checked}

    def signature(self, function: Any) -> Signature:
        """Return a function's signature with the settings in place of ``**settings``."""
        own = Signature.from_callable(function).parameters
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=value)
            for name, value in self.defaults.items()
            if name not in own
        ]
        kept = (p for p in own.values() if p.kind is not Parameter.VAR_KEYWORD)
        return Signature([*kept, *more])


def make(config: type[Config], settings: Settings, *positional: Any, **others: Any) -> Config:
    """Return a config of its settings among ``settings``; ``others`` are its other fields."""
    values = {
        one.field: (not value if one.setting.inverted else value)
        for name, one in declared(config).items()
        if name in settings
        for value in [value_of(one, settings[name])]
    }
    return config(*positional, **{**values, **others})


def value_of(one: Declared, value: Any) -> Any:
    """A value as the config has it: words of a text that stands for several."""
    if one.setting.read is not None:
        return one.setting.read(value)
    if tuple in one.types:
        several = value if one.setting.repeated and not isinstance(value, str) else words(value)
        return tuple(map(one.items, several))
    return Path(value) if Path in one.types and str not in one.types and value else value


def words(value: str | Sequence[object] | None) -> list[str]:
    """Return the words of ``"A, B"``, or those of a sequence; none for None."""
    parts = (value or "").split(",") if isinstance(value, str | NoneType) else map(str, value)
    return [word.strip() for word in parts if word.strip()]


def plain_value(value: Any) -> Any:
    """A value without numpy, pandas or torch: Python's numbers of theirs, lists of arrays."""
    return value.tolist() if hasattr(value, "tolist") else value


def _checked(one: Declared, value: Any) -> Any:
    """Return a value as one of a setting's types: numpy's numbers and paths are taken too."""
    value = plain_value(value)
    if one.setting.read is not None:  # which tells what is wrong
        return value
    types = one.types
    if str in types or Path in types:
        value = getattr(value, "path", value)  # of a store or a run that is open
    if isinstance(value, str) and (Path in types or one.name in _PLACES):
        refuse_empty(value, f"{named(one.name)}: ")
    optional = NoneType in types or one.value in (None, MISSING, ())
    if (value is None and optional) or (isinstance(value, bool) and bool in types):
        return value
    if isinstance(value, os.PathLike) and (str in types or Path in types):
        return os.fspath(value)
    if tuple in types and isinstance(value, Iterator | KeysView):
        value = list(value)
    if tuple in types and (isinstance(value, str) or _is_words(value)):
        return value
    if tuple in types and isinstance(value, Mapping):  # NAME=STORE, as the option has it
        return [f"{name}={getattr(one, 'path', one)}" for name, one in value.items()]
    if isinstance(value, str) and (str in types or Path in types):
        return value
    if not isinstance(value, bool | str):
        if (int in types or one.name == "folds") and hasattr(value, "__index__"):
            return operator.index(value)
        if float in types and hasattr(value, "__float__"):
            return float(value)
        if one.setting.pattern and re.fullmatch(one.setting.pattern, str(value)):
            return str(value)  # a number where a text may be one
    shown = repr(value)
    if len(shown) > _MOST_SHOWN:
        shown = f"{type(value).__name__} {shown[:_MOST_SHOWN]} ..."
    raise OptionError(
        f"{named(one.name)}: found {shown}, expected {one.setting.words or one.kinds}"
    )


def _is_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(v, str | int | float | Path) for v in value
    )


_PLACES = ("labels", "store", "design", "against")  # paths, or URLs, which are text
_MOST_SHOWN = 200  # characters of a value
