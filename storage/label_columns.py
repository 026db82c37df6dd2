"""Which column of a label table is the clip's id, the split, the subject, and which are targets.

Columns are taken by name. A column that describes the study (an age, a fold, an onset, a flag)
is not a target, and neither is one without a name; what was left out is said with the reason.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from facer.storage.challenges import canonical_split
from facer.storage.csvtable import Table, is_absent, parse_number
from facer.storage.errors import FacerError
from facer.storage.label_options import LabelOptions
from facer.storage.videos import VIDEO_SUFFIXES

_ID_NAMES = (  # letters and digits alone, the surest first
    "clipid", "clip", "fileid", "filename", "file", "video", "videoid", "videoname",
    "videofile", "videofilename", "videopath", "clipname", "clipfile", "clippath", "filepath",
    "fullpath", "recording", "recordingid", "mediafile", "media", "vid", "id", "name", "path",
)  # fmt: skip
_SPLIT_NAMES = (
    "split", "partition", "set", "subset", "phase", "usage", "dataset", "portion", "traintest",
    "trainvaltest", "fold", "group",
)  # fmt: skip
_SURE_SPLIT_NAMES = ("split", "partition")  # other words in them are mistakes
_SUBJECT_NAME = re.compile(
    r"(anon|anonymous|anonymised|unique)?(subject|subj|sub|participant|particip|ppt|person|"
    r"speaker|actor|actress|performer|proband|patient|client|student|respondent|individual|volunteer|user|"
    r"child|"
    r"vp|vpn|pid|identity|creator|versuchsperson|testperson)s?"
    r"(id|ids|uid|no|nr|num|number|code|name|index|idx|key)?"
)
_SURE_SUBJECT_NAMES = ("subject", "subjectid", "participant", "participantid")
_EXCLUDE_NAMES = ("exclude", "excluded")
_TRUE = frozenset({"1", "1.0", "true", "t", "yes", "y", "x", "exclude", "excluded"})
_FALSE = frozenset({"0", "0.0", "false", "f", "no", "n"})

_DESIGN = {  # why, and the words that say it
    "an id or a number of the row": "id ids uid uuid guid index idx row nr no num number code key "
    "unnamed rank",
    "an age": "age ages alter",
    "about the person": "gender sex country ethnicity race nationality language handedness "
    "education height weight bmi birth birthday dob",
    "a fold or group": "fold folds cv kfold group groups block batch cluster site cohort dyad "
    "partition split",
    "a date or time": "year date day month hour time timestamp datetime onset onsets offset start "
    "end stop begin duration dur length latency rt",
    "the study's design": "condition session trial trials run visit wave item stimulus stim order "
    "phase set subset arm treatment",
    "a flag": "exclude excluded bad include included keep valid invalid usable ok drop reject "
    "rejected flag flagged missing consent",
    "a count or a size": "n nframes frames count counts fps framerate rate width size raters "
    "rater annotator annotators votes seed",
}  # fmt: skip
_REASONS = {word: reason for reason, words in _DESIGN.items() for word in words.split()}
_DESIGN_NOUNS = (
    "video clip file frame subject participant person speaker segment event recording name s ms "
    "sec secs seconds min minutes hz px cm kg years in of is the test train"
)
_BESIDE_DESIGN = frozenset(_DESIGN_NOUNS.split())  # a design column's name may have them as well
_RUNNING_ROWS = 8  # from which on 1, 2, 3 ... is no chance


@dataclass(frozen=True)
class Columns:
    """Columns of a table by what they are for."""

    id: int
    split: int | None
    subject: int | None
    exclude: int | None
    targets: tuple[int, ...]
    left_out: tuple[tuple[str, str], ...]  # (name, why), for those that are none of these


def choose_columns(table: Table, options: LabelOptions) -> Columns:
    """Return what each column is for; ``options`` decide where they are given.

    Raises FacerError, with the columns and the option, when several could be the id, a split
    has other words than train, val and test, or no target is left.
    """
    split = split_column(table, options)
    subject = subject_column(table, options)
    exclude = _exclude_column(table, options)
    taken = {column for column in (split, subject, exclude) if column is not None}
    clip = id_column(table, options, taken)
    if subject == clip:
        subject = None
    taken.add(clip)
    if options.targets:
        targets = [by_hand(table, name, "--targets") for name in options.targets]
        if clip in targets:
            raise FacerError(
                f"{table.path}: column {table.header[clip]!r} is the clips' id, expected other "
                "names in --targets (--id-column names another id)"
            )
    else:
        cells = {c: table.column(c) for c in range(len(table.header)) if c not in taken}
        targets = [c for c in cells if _why_no_target(table.header[c], cells[c]) is None]
    left_out = left_out_of(table, taken | set(targets), "not in --targets")
    if not targets:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header)}, expected a column of numbers "
            f"beside {table.header[clip]!r}{_listed(left_out)}; --targets A,B takes them by hand"
        )
    return Columns(clip, split, subject, exclude, tuple(targets), left_out)


def left_out_of(table: Table, read: set[int], otherwise: str) -> tuple[tuple[str, str], ...]:
    """Return the columns that are not ``read``, each with the reason, ``otherwise`` where none."""
    found = [
        (name or f"column {column + 1}", _why_no_target(name, table.column(column)))
        for column, name in enumerate(table.header)
        if column not in read
    ]
    return tuple((name, otherwise if why is None else why) for name, why in found if why != "")


def _listed(left_out: Sequence[tuple[str, str]]) -> str:
    reasons = "; ".join(f"{name}: {why}" for name, why in left_out)
    return f" (left out: {reasons})" if reasons else ""


def by_hand(table: Table, name: str, option: str) -> int:
    """Return the column that an option names; FacerError with all names when there is none."""
    if name in table.header:
        return table.header.index(name)
    wanted = key_of(name)
    found = [i for i, other in enumerate(table.header) if key_of(other) == wanted and wanted]
    if len(found) != 1:
        raise FacerError(
            f"{option}: found {name!r}, expected one of the columns of {table.path}: "
            f"{', '.join(filter(None, table.header))}"
        )
    return found[0]


def _by_hand_or_none(table: Table, name: str, option: str) -> int | None:
    """Return the column that an option names; None for ``none``."""
    return None if name == "none" and name not in table.header else by_hand(table, name, option)


def key_of(name: str) -> str:
    """Return a column's name as it is compared: ``File_ID`` and ``file id`` are ``fileid``."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if c.isalnum())


def is_nameless(name: str) -> bool:
    """Tell an index column: one without a name, or with the name that pandas or R makes up."""
    made_up = r"(unnamed\W*\d+(_level_\d+)?(\.\d+)*|\.\.\.\d+)?"
    return name == "X" or re.fullmatch(made_up, name.lower()) is not None


def id_column(table: Table, options: LabelOptions, taken: set[int]) -> int:
    """Return the column of the clips' ids: by its name, else the only one that could be."""
    if options.id_column:
        return by_hand(table, options.id_column, "--id-column")
    keys = [key_of(name) for name in table.header]
    known = [
        keys.index(name) for name in _ID_NAMES if name in keys and keys.index(name) not in taken
    ]
    files = [column for column in known if _are_files(table.column(column))]
    if known:
        return (files or known)[0]
    free = [
        column
        for column, name in enumerate(table.header)
        if column not in taken and not is_nameless(name)
        and design_reason(name) in (None, "an id or a number of the row")
    ]  # fmt: skip
    could: list[int] = []
    tests: tuple[Callable[[Sequence[str]], bool], ...] = (
        _are_files,
        _are_names,
        _are_numbers,
        _are_text,
    )
    for fits in tests:
        could = could or [column for column in free if fits(table.column(column))]
    if len(could) == 1:
        return could[0]
    found = f"columns {', '.join(name or '(no name)' for name in table.header)}"
    if could:
        names = ", ".join(repr(table.header[column]) for column in could)
        raise FacerError(
            f"{table.path}: found {found}, of which {names} could be the clips' ids; name it by "
            "--id-column, or call it clip_id in the file"
        )
    raise FacerError(
        f"{table.path}: found {found}, expected one with the clips' ids, such as clip_id or "
        "filename; a column without a name is never taken for it: name it in the file, or name "
        "another by --id-column"
    )


def _are_files(cells: Sequence[str]) -> bool:
    suffixes = [PurePosixPath(cell.strip("[]")).suffix.lower() for cell in cells if cell]
    return bool(suffixes) and sum(s in VIDEO_SUFFIXES for s in suffixes) * 2 > len(suffixes)


def _are_names(cells: Sequence[str]) -> bool:
    """Tell texts of which each is there once."""
    return _are_text(cells) and len(set(cells)) == len(cells)


def _are_text(cells: Sequence[str]) -> bool:
    there = [cell for cell in cells if not is_absent(cell)]
    return len(there) == len(cells) > 0 and _numeric_share(there) < 0.5


def _are_numbers(cells: Sequence[str]) -> bool:
    """Tell whole numbers of which each is there once."""
    return len(set(cells)) == len(cells) > 0 and all(cell.isdecimal() for cell in cells)


def split_column(table: Table, options: LabelOptions) -> int | None:
    """Return the column of the splits: by its name, else the only one that holds their names."""
    if options.split_column:
        return _by_hand_or_none(table, options.split_column, "--split-column")
    keys = [key_of(name) for name in table.header]
    named = [keys.index(name) for name in _SPLIT_NAMES if name in keys]
    rest = [c for c in range(len(keys)) if c not in named and not is_nameless(table.header[c])]
    for columns in (named, rest):
        found = [column for column in columns if _are_splits(table, column, columns is named)]
        words = {tuple(map(canonical_split, table.column(column))) for column in found}
        if len(words) > 1:
            names = ", ".join(repr(table.header[column]) for column in found)
            raise FacerError(
                f"{table.path}: columns {names} hold different splits, expected one of them; "
                "choose it by --split-column"
            )
        if found:
            return found[0]
    return None


def _are_splits(table: Table, column: int, named: bool) -> bool:
    """Tell whether a column holds splits; one named so that has some other words is refused."""
    cells = [cell for cell in table.column(column) if not is_absent(cell)]
    known = [canonical_split(cell) for cell in cells]
    if key_of(table.header[column]) in _SURE_SPLIT_NAMES:
        return True  # its cells are checked one by one
    if named:
        return "train" in known or (bool(known) and all(known))
    return "train" in known and len(set(known)) > 1 and all(known)


def subject_column(table: Table, options: LabelOptions) -> int | None:
    """Return the column that says who is seen in a clip."""
    if options.subject_column:
        return _by_hand_or_none(table, options.subject_column, "--subject-column")
    keys = [key_of(name) for name in table.header]
    found = [column for column, key in enumerate(keys) if _SUBJECT_NAME.fullmatch(key)]
    sure = [column for column in found if keys[column] in _SURE_SUBJECT_NAMES]
    for columns in (sure, found):
        if len({_grouping(table.column(column)) for column in columns}) > 1:
            names = ", ".join(repr(table.header[column]) for column in columns)
            raise FacerError(
                f"{table.path}: columns {names} could each say who is seen, expected one of them; "
                "choose it by --subject-column"
            )
        if columns:
            return columns[0]
    return None


def _grouping(cells: Sequence[str]) -> tuple[int, ...]:
    """Return which rows have equal cells, whatever these are."""
    first: dict[str, int] = {}
    return tuple(first.setdefault(cell, row) for row, cell in enumerate(cells))


def _exclude_column(table: Table, options: LabelOptions) -> int | None:
    for column, name in enumerate(table.header):
        if key_of(name) in _EXCLUDE_NAMES and name not in options.targets:
            return column
    return None


def is_excluded(table: Table, row: int, column: int) -> bool:
    """Tell whether a row is to be left out; FacerError for a word that says neither."""
    text = table.rows[row][column].strip().lower()
    if is_absent(text) or text in _FALSE:
        return False
    if text not in _TRUE:
        raise FacerError(
            f"{table.at(row)}: column {table.header[column]!r}: found {table.rows[row][column]!r}, "
            "expected 1, true or yes for a clip to leave out, else 0, false, no or nothing"
        )
    return True


def design_reason(name: str) -> str | None:
    """Return why a column is no target by its name, or None: ``onset_s`` is a time."""
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    words = [word for word in words if word and not word.isdecimal()]
    reasons = [_REASONS[word] for word in words if word in _REASONS]
    others = [word for word in words if word not in _REASONS and word not in _BESIDE_DESIGN]
    return None if others or not reasons else reasons[-1]


def _why_no_target(name: str, cells: Sequence[str]) -> str | None:
    """Return why a column is no target, "" where there is nothing to say, or None: it is one."""
    numbers = [value for cell in cells if (value := parse_number(cell)) is not None]
    values = [value for value in numbers if not math.isnan(value)]
    if is_nameless(name):
        return "an index without a name of its own" if any(cells) else ""
    if why := design_reason(name):
        return why
    if _SUBJECT_NAME.fullmatch(key_of(name)) or key_of(name) in _ID_NAMES:
        return "an id"
    if not values:
        return "text" if any(not is_absent(cell) for cell in cells) else "empty"
    if _numeric_share(cells) < 0.5:
        return "text"
    return _looks_like_an_id(values)


def _numeric_share(cells: Sequence[str]) -> float:
    there = [cell for cell in cells if not is_absent(cell)]
    numeric = sum(parse_number(cell) is not None for cell in there)
    return numeric / len(there) if there else 0.0


def _looks_like_an_id(values: Sequence[float]) -> str | None:
    if any(value % 1 for value in values) or len(values) < _RUNNING_ROWS:
        return None
    if all(b - a == 1 for a, b in itertools.pairwise(values)):
        return "a running number"
    if all(1900 <= value <= 2100 for value in values):
        return "looks like a year"
    if len(set(values)) == len(values) and min(values) >= 10_000:
        return "looks like an id"
    return None


def check_word(table: Table, row: int, column: int) -> str:
    """Return the split of a row; FacerError for a word that is none."""
    text = table.rows[row][column]
    split = "" if is_absent(text) else canonical_split(text)
    if split is None:
        raise FacerError(
            f"{table.at(row)}: column {table.header[column]!r}: found {text!r}, expected train, "
            f"val (or devel, valid) or test; --split-column names another column"
        )
    return split
