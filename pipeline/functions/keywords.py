"""Settings as keywords of a function, checked before it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, cast

from facer.pipeline.settings.table import Table
from facer.storage.errors import OptionError, named
from facer.storage.files.regular import refuse_no_path

Function = TypeVar("Function", bound=Callable[..., Any])


def keywords(table: Table) -> Callable[[Function], Function]:
    """Give a function the settings of a table: it is called with all of them, checked.

    A parameter of its own that has the name of a setting is that setting, given by position.
    OptionError for an unknown one, one of a wrong kind, and one that is needed and absent; also for
    what is given for a ``Place`` and is neither a path nor another kind that its annotation names.
    """

    def decorate(function: Function) -> Function:
        of = signature(function)
        kinds = {name: parameter.kind for name, parameter in of.parameters.items()}
        rest = next((name for name, kind in kinds.items() if kind is Parameter.VAR_KEYWORD), "")

        @wraps(function)
        def call(*positional: Any, **given: Any) -> Any:
            found = of.bind_partial(*positional, **given).arguments
            found |= found.pop(rest, {})
            own = {name: found.pop(name) for name in kinds if name in found and name not in table}
            for name, value in own.items():
                _check_place(name, str(of.parameters[name].annotation), value)
            complete = table.complete(found)
            for name, one in table.declared.items():
                if one.value is MISSING and not one.setting.none and complete[name] is None:
                    raise OptionError(f"{named(name)}: found none, expected: {one.setting.help}")
            return function(**own, **complete)

        call.__signature__ = table.signature(function)  # type: ignore[attr-defined]
        return cast(Function, call)

    return decorate


places = keywords(Table())
"""Of a function without settings: what is given for a ``Place`` is checked."""


def _check_place(name: str, annotation: str, value: object) -> None:
    kinds = {kind.strip() for kind in annotation.split("|")}
    if "Place" not in kinds or (value is None and "None" in kinds):
        return
    if kinds.isdisjoint(kind.__name__ for kind in type(value).__mro__):
        refuse_no_path(name, value)
