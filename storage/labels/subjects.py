"""Who is seen in the clips: one name a person, however it is written."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from facer.storage.files.cells import is_absent
from facer.storage.text.names import some


def one_name_each(
    cells: Sequence[str], clip_ids: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the subject of each row, and what a reader must know about them.

    Names that differ in letter case, spaces or Unicode form are one person (``p00`` and
    ``P00``), and so are equal numbers (``1``, ``01``, ``1.0``); others that differ in zeros or
    signs (``p1``, ``p01``) are two, and are listed. A row without a
    subject is one of its own, named by its clip.
    """
    if all(is_absent(cell) for cell in cells):
        return ("",) * len(cells), ()
    known = [cell for cell in cells if not is_absent(cell)]
    spellings = _grouped(known, same_person)
    shown = {key: names[0] for key, names in spellings.items()}
    subjects = tuple(
        f"clip {clip_id}" if is_absent(cell) else shown[same_person(cell)]
        for cell, clip_id in zip(cells, clip_ids, strict=True)
    )
    notes = []
    if twice := [names for names in spellings.values() if len(names) > 1]:
        notes.append(f"names of subjects that are written in several ways are taken for one "
                     f"person each ({len(twice)}): {_spelt(twice)}")  # fmt: skip
    notes += alike_note("subjects", shown.values())
    if without := len(cells) - len(known):
        notes.append(f"{without} rows name no subject: each counts for a person of its own")
    return subjects, tuple(notes)


def alike_note(what: str, names: Iterable[str]) -> list[str]:
    """Say which names differ in letter case, signs, spaces or leading zeros alone, if any do."""
    alike = [found for found in _grouped(names, _alike).values() if len(found) > 1]
    return [f"{what} that look alike are taken for different people: {_spelt(alike)}; write a "
            "person's name in one way"] if alike else []  # fmt: skip


def same_person(name: str) -> str:
    """Return what equal people's names have in common: letters and digits in lower case."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    text = " ".join(visible.split())
    number = re.fullmatch(r"0*(\d+)(\.0+)?", text)  # 01 and 1.0, as spreadsheets and tables have 1
    return number[1] if number else text


def _alike(name: str) -> str:
    """Return a name without signs and leading zeros."""
    letters = "".join(c for c in same_person(name) if c.isalnum())
    return re.sub(r"(?<!\d)0+(?=\d)", "", letters)


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        groups[key(name)][name] = None
    return {k: list(found) for k, found in groups.items()}


def _spelt(groups: Sequence[Sequence[str]]) -> str:
    return some((" = ".join(map(repr, names)) for names in groups), 5)
