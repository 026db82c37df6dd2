"""What differs between the settings that something was made with and those of now, in words."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from facer.storage.errors import named

_MOST = 8  # differences that are named
_LETTERS = 60  # of a value
_ABSENT = "absent"
_NAMES = {  # settings under an option's key that have another name than their field
    "fit head name": "head",
    "fit head routed": "no_mask",
    "fit teachers": "teacher",
    "sequences max_frames": "t",
    "folds splits": "fold_splits",
    **{f"fit augmentation {k}": f"augment_{k}" for k in ("crop", "stretch", "drop", "noise")},
}
_NO_SETTINGS = {"fit weight_decay", "fit small_px", "fit ema_decay"}  # train-rec fixes them
_GROUPS = {"fit loss": "weight", "fit augment": "augment"}  # options of NAME=VALUE


def differing(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    options: Collection[str] = (),
    known: bool = False,
) -> str:
    """Return "epochs (was 5, now 6), ..." for the values that differ; "" when none does.

    Both are JSON objects, nested ones too; a value that is absent equals null. Values under the
    keys ``options`` ("fit", "labels options") are settings, and marked as by ``named``. A digest
    (``..._sha256``) that ``before`` lacks is not compared: older versions of facer keep fewer.
    With ``known``, only what both say is compared: another version may say other things.
    """
    then, here = dict(_leaves(before)), dict(_leaves(now))
    paths = [path for path in {**here, **then} if then.get(path) != here.get(path)]
    paths = [path for path in paths if then.get(path) is not None or "sha256" not in path[-1]]
    if known:
        paths = [path for path in paths if None not in (then.get(path), here.get(path))]
    words = {path: " ".join(path) for path in paths}
    settings = {path: _setting(words[path], options) for path in paths}
    paths.sort(key=lambda path: not settings[path])  # what one can set comes first
    texts = [
        f"{settings[path] or words[path]} (was {_text(then, path)}, now {_text(here, path)})"
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


def _setting(words: str, options: Collection[str]) -> str:
    """Return the marked name of the setting at this place in the JSON, "" where there is none."""
    if words in _NO_SETTINGS or not any(f"{words} ".startswith(f"{one} ") for one in options):
        return ""
    group, _, last = words.rpartition(" ")
    if group in _GROUPS:
        return f"{named(_GROUPS[group])} {last}"
    return named(_NAMES.get(words, last))


def _text(values: Mapping[tuple[str, ...], Any], path: tuple[str, ...]) -> str:
    value = values.get(path)
    if value is None:
        return _ABSENT
    if "sha256" in path[-1] and isinstance(value, str):
        return value[:12]
    text = json.dumps(value)
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}..."
