"""Options made from the settings of configs; ``--config`` and ``--print-config``."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from datetime import date, time
from functools import wraps
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.shared import PATH, OnceOption
from facer.pipeline.runtime.progress import echo
from facer.pipeline.settings.table import Table
from facer.storage.errors import FacerError, OptionError, option_of
from facer.storage.files.regular import open_regular
from facer.storage.settings import Declared
from facer.storage.text.likeness import did_you_mean

Command = Callable[..., Any]
_CONFIG_BYTES = 1 << 20
_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]")  # package.module:Class
_OF_RUNS = ("config.json", "finetune.json")  # in a run folder
_OWN = ("config", "print_config", "as_json")  # options that are no settings


OfRun = Callable[[Path], Mapping[str, Any]]
"""The settings of a run folder, by name."""


def with_settings(table: Table, of_run: OfRun | None = None) -> Callable[[Command], Command]:
    """Give a command an option for each setting, ``--config`` and ``--print-config``.

    The command's other options and its arguments can stand in the file as well. ``of_run`` reads
    the settings of a run folder, which is then a config too.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def configured(*, config: None, print_config: bool, **settings: Any) -> Any:
            del config  # read before, as defaults of the other options
            if print_config:
                echo(_as_toml(click.get_current_context()))
                return 0
            for name, one in table.declared.items():
                if one.setting.code:
                    refuse_code_of_file(name, settings[name])
            return command(**settings)

        made: Command = click.option(
            "--print-config", is_flag=True, help="Print all settings as TOML, and do nothing else."
        )(configured)
        made = click.option(
            "--config", metavar="FILE", is_eager=True,
            callback=lambda context, _, path: _read_config(context, path, of_run),
            help="Settings of a TOML file, as --print-config writes it"
            + (", or of a run folder" if of_run else "") + "; options win over it.",
        )(made)  # fmt: skip
        for one in reversed(table.declared.values()):
            made = _option(one)(made)
        return made

    return decorate


def refuse_code_of_file(name: str, value: Any) -> None:
    """FacerError where a name of code comes from a file or a run, which may be a stranger's.

    It counts where the user typed it.
    """
    source = click.get_current_context().get_parameter_source(name)
    words = (value,) if isinstance(value, str) else value or ()
    if source is click.core.ParameterSource.DEFAULT_MAP and any(_CODE.search(w) for w in words):
        raise FacerError(
            f"--config: {name}: found {' '.join(words)}, code that is not facer's; if you trust "
            f"it, name it on the command line too (--{name} ...)"
        )


def _option(one: Declared) -> Callable[[Command], Command]:
    setting, default = one.setting, one.value
    flag = option_of(setting.option or one.name)
    text, metavar = setting.help, setting.metavar or None
    if one.choices and metavar is None:
        metavar = "A,B" if tuple in one.types else "|".join(one.choices)
    if tuple in one.types and not all(choice in text for choice in one.choices):
        text = f"{text} {', '.join(one.choices)}."
    if float in one.types and setting.low is not None and setting.high is not None:
        text = f"{text} From {setting.low:g} to {setting.high:g}."
    if setting.none:
        text = f"{text} [default: {setting.none}]"
    elif isinstance(default, tuple) and default:
        text = f"{text} [default: {','.join(default)}]"
    shown = not setting.none and not isinstance(default, tuple) and default not in (None, "")
    if bool in one.types:
        return click.option(flag, one.name, is_flag=True, default=default, help=text)
    kind: Any = PATH if Path in one.types and str not in one.types else str
    kind = next((number for number in (int, float) if number in one.types), kind)
    needed = default is MISSING and (setting.repeated or not setting.none)
    if setting.repeated:
        default = default or None
    elif isinstance(default, tuple):
        default = ",".join(default) or None
    choices = () if tuple in one.types else one.choices
    return click.option(
        flag, one.name, cls=OnceOption if one.name == "labels" else click.Option,
        multiple=setting.repeated, type=kind, metavar=metavar, help=text,
        default=None if default is MISSING else default, required=needed,
        show_default=shown and not setting.repeated,
        shell_complete=(lambda _, __, word: [c for c in choices if c.startswith(word)])
        if choices else None,
    )  # fmt: skip


def _read_config(context: click.Context, path: str | None, of_run: OfRun | None) -> None:
    """Take the settings of a file or a run as the defaults of the command's options."""
    if path is None:
        return
    place = Path(path).parent if Path(path).name in _OF_RUNS else Path(path)
    if of_run is not None and place.is_dir():
        values = of_run(place)
        context.default_map = {k: _as_default(context, k, v) for k, v in values.items()}
        return
    with open_regular(Path(path), "a TOML file", f"--config {path}") as file:
        text = file.read(_CONFIG_BYTES)
    try:
        values = tomllib.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or nested without end
        raise FacerError(f"--config {path}: found no TOML ({error}); see --print-config") from error
    named_by = _names(context)
    known = {**{name: name for name in named_by.values()}, **named_by}
    for name, value in values.items():
        if name not in known:
            near = did_you_mean(name, known) or f"; expected some of {', '.join(known)}"
            raise OptionError(f"--config {path}: {name}: found no such setting{near}")
        if isinstance(value, Mapping):
            raise OptionError(f"--config {path}: {name}: found a table, expected a value")
    found = {known[name]: value for name, value in values.items()}
    context.default_map = {k: _as_default(context, k, v) for k, v in found.items()}


def _names(context: click.Context) -> dict[str, str]:
    """Names in a file, by which each is a parameter: long options, those that are repeated by the
    keyword, and arguments.
    """
    found = {}
    for one in context.command.params:
        if one.name not in _OWN:
            long = isinstance(one, click.Option) and not one.multiple
            name = one.opts[-1].removeprefix("--").replace("-", "_") if long else one.name
            found[str(name)] = str(one.name)
    return found


def _as_default(context: click.Context, name: str, value: Any) -> Any:
    """A value as the option takes it: several as one text, unless the option is repeated."""
    several = any(
        p.name == name and (p.nargs != 1 or getattr(p, "multiple", False))
        for p in context.command.params
    )
    if isinstance(value, list | tuple) and not several:
        return ",".join(map(str, value)) or None
    if isinstance(value, list | tuple):
        return [_as_text(one) for one in value]
    return _as_text(value)


def _as_text(value: Any) -> Any:
    """A number, a date or a time as if it was typed: no int is made of 3.7, no path of 5."""
    return str(value) if isinstance(value, int | float | date | time) else value


def _as_toml(context: click.Context) -> str:
    """All settings of a command as they are now; those that are None are left out."""
    lines = []
    for name, parameter in _names(context).items():
        value = context.params.get(parameter)
        if value is None or value == ():
            continue
        text = json.dumps(value, ensure_ascii=False, default=str)  # paths as text
        lines.append(f"{name} = {text}\n")
    return "".join(lines).rstrip()
