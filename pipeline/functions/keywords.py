"""Settings as keywords of a function, checked before it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, cast

from facer.pipeline.settings import Table
from facer.storage.errors import OptionError, named

Function = TypeVar("Function", bound=Callable[..., Any])


def keywords(table: Table) -> Callable[[Function], Function]:
    """Give a function the settings of a table: it is called with all of them, checked.

    OptionError for an unknown one, one of a wrong kind, and one that is needed and absent.
    """

    def decorate(function: Function) -> Function:
        parameters = signature(function).parameters.values()
        own = {p.name for p in parameters if p.kind is not Parameter.VAR_KEYWORD}

        @wraps(function)
        def call(*positional: Any, **given: Any) -> Any:
            settings = {k: v for k, v in given.items() if k not in own}
            others = {k: v for k, v in given.items() if k in own}
            complete = table.complete(settings)
            for name, one in table.declared.items():
                if one.value is MISSING and not one.setting.none and complete[name] is None:
                    raise OptionError(f"{named(name)}: found none, expected: {one.setting.help}")
            return function(*positional, **others, **complete)

        call.__signature__ = table.signature(function)  # type: ignore[attr-defined]
        return cast(Function, call)

    return decorate
