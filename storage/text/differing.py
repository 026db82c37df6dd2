"""What differs between the settings that something was made with and those of now, in words."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_MOST = 8  # differences that are named
_LETTERS = 60  # of a value
_ABSENT = "absent"
_NAMES = {  # settings under an option's key whose name on the command line is another, or none
    "fit head name": "--head",
    "fit head routed": "--no-mask",
    "fit teachers": "--teacher",
    "fit weight_decay": "weight_decay",
    "fit small_px": "small_px",
    "fit ema_decay": "ema_decay",
    "sequences max_frames": "--t",
    "folds splits": "--fold-splits",
    **{f"fit augmentation {k}": f"--augment-{k}" for k in ("crop", "stretch", "drop", "noise")},
}
_GROUPS = {"fit loss": "--weight", "fit augment": "--augment"}  # options of NAME=VALUE


def differing(
    before: Mapping[str, Any], now: Mapping[str, Any], options: Collection[str] = ()
) -> str:
    """Return "--epochs (was 5, now 6), ..." for the values that differ; "" when none does.

    Both are JSON objects, nested ones too; a value that is absent equals null. Settings under the
    keys ``options`` ("fit", "labels options") are given on the command line and named as there.
    """
    then, here = dict(_leaves(before)), dict(_leaves(now))
    paths = [path for path in {**here, **then} if then.get(path) != here.get(path)]
    names = {path: _name(" ".join(path), options) for path in paths}
    paths.sort(key=lambda path: not names[path].startswith("--"))  # what one can set comes first
    texts = [
        f"{names[path]} (was {_text(then, path)}, now {_text(here, path)})"
        for path in paths[:_MOST]
    ]
    more = [f"{len(paths) - _MOST} more"] if len(paths) > _MOST else []
    return ", ".join([*texts, *more])


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from (((key, *path), leaf) for path, leaf in _leaves(value))
        else:
            yield (key,), value


def _name(words: str, options: Collection[str]) -> str:
    """Return a setting's name on the command line; its place in the JSON when it has none."""
    if not any(f"{words} ".startswith(f"{option} ") for option in options):
        return words
    group, _, last = words.rpartition(" ")
    if group in _GROUPS:
        return f"{_GROUPS[group]} {last}"
    return _NAMES.get(words, f"--{last.replace('_', '-')}")


def _text(values: Mapping[tuple[str, ...], Any], path: tuple[str, ...]) -> str:
    value = values.get(path)
    if value is None:
        return _ABSENT
    if "sha256" in path[-1] and isinstance(value, str):
        return value[:12]
    text = json.dumps(value)
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}..."
