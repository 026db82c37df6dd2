"""Which clip of a store each row of labels means."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote

from facer.storage.errors import named
from facer.storage.files.videos import CLIP_SUFFIXES
from facer.storage.labels.challenges import bare_id
from facer.storage.labels.table import IntensityLabels

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"), "-")
_LATIN = dict(  # letters of other scripts that look like Latin ones
    zip(
        map(ord, "аеорсухіјѕԁһӏАВЕКМНОРСТУХІЈЅαοενρτικυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"),
        "aeopcyxijsdhlABEKMHOPCTYXIJSaoevptikuABEZHIKMNOPTYX",
        strict=True,
    )
)


@dataclass(frozen=True)
class Match:
    """Which clip of a store each row of labels means.

    - ``pairs``: (row of the labels, clip_id of the store)
    - ``labels_only``: ids of rows without a clip
    - ``store_only``: clips without a row
    - ``ambiguous``: (id of a row, clips it could mean)
    - ``alike``: (id without a clip, clip like it, difference)
    """

    pairs: tuple[tuple[int, str], ...]
    labels_only: tuple[str, ...]
    store_only: tuple[str, ...]
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]
    alike: tuple[tuple[str, str, str], ...] = ()


def match_clips(labels: IntensityLabels, clip_ids: Sequence[str]) -> Match:
    """Find the clip that each row of labels means, or say why not.

    An id matches a clip of the same name; else without brackets, video suffix, drive and the
    kind of slash, in Unicode's composed form; else the one that ends in the other's path
    components, as ``[11526]`` and ``train/11526``; else the same in another letter case.
    Leading zeros count. An id that could mean several clips, or a clip that several rows could
    mean equally well, is ambiguous and is not paired.
    """
    return match_ids(labels.clip_ids, clip_ids)


def match_ids(label_ids: Sequence[str], clip_ids: Sequence[str]) -> Match:
    """Find the clip that each id of a table means, as :func:`match_clips` does."""
    found: list[tuple[int, tuple[str, ...]]] = [(len(_LEVELS), ())] * len(label_ids)
    left = list(range(len(label_ids)))
    for level, (form, endings) in enumerate(_LEVELS):
        if left:
            search = _Search(clip_ids, form, endings)
            clips_of = {row: search.find(label_ids[row]) for row in left}
            found = [(level, clips_of[r]) if clips_of.get(r) else f for r, f in enumerate(found)]
            left = [row for row in left if not clips_of[row]]
    claims: dict[str, list[int]] = defaultdict(list)
    for level, clips in found:
        if len(clips) == 1:
            claims[clips[0]].append(level)
    rows = list(enumerate(zip(label_ids, found, strict=True)))
    pairs = {
        row: clips[0]
        for row, (_, (level, clips)) in rows
        if len(clips) == 1 and sum(other <= level for other in claims[clips[0]]) == 1
    }
    ambiguous = [
        (label_id, clips) for row, (label_id, (_, clips)) in rows if clips and row not in pairs
    ]
    used = {*pairs.values(), *(clip for _, clips in ambiguous for clip in clips)}
    labels_only = tuple(label_id for _, (label_id, (_, clips)) in rows if not clips)
    store_only = tuple(clip_id for clip_id in clip_ids if clip_id not in used)
    return Match(
        tuple(pairs.items()), labels_only, store_only, tuple(ambiguous),
        _look_alikes(labels_only, store_only),
    )  # fmt: skip


@lru_cache(maxsize=1 << 17)
def bare_name(clip_id: str) -> str:
    """Return an id as it is compared: ``D:\\videos\\[1].mp4`` is ``videos/[1]``.

    Brackets around the whole id and a video's suffix go, as do a drive, a URL's scheme, a
    server's slashes and ``./``; letters are composed (NFC).
    """
    text = unicodedata.normalize("NFC", bare_id(clip_id)).replace("\\", "/")
    if re.match(r"https?://", text, re.IGNORECASE):
        text = re.split(r"[?#]", text)[0]
    text = re.sub(r"^([A-Za-z][\w+.-]*://+)?([A-Za-z]:)?", "", text)
    text = "/".join(part for part in text.split("/") if part not in ("", "."))
    suffix = PurePosixPath(text).suffix
    return text.removesuffix(suffix) if suffix.lower() in CLIP_SUFFIXES else text


def _folded(clip_id: str) -> str:
    return unicodedata.normalize("NFC", bare_name(clip_id).casefold())


_LEVELS: tuple[tuple[Callable[[str], str], bool], ...] = (  # form of the ids, endings too
    (str, False),
    (bare_name, False),
    (bare_name, True),
    (_folded, False),
    (_folded, True),
)


class _Search:
    """Clips of a store by one form of their ids."""

    def __init__(self, clip_ids: Sequence[str], form: Callable[[str], str], endings: bool) -> None:
        self.form, self.endings = form, endings
        self.by_form = _grouped((form(clip_id), clip_id) for clip_id in clip_ids)
        self.by_ending = _grouped(
            (ending, clip_id)
            for clip_id in (clip_ids if endings else ())
            for ending in _endings(form(clip_id))
        )

    def find(self, label_id: str) -> tuple[str, ...]:
        """Return the clips that an id could mean."""
        form = self.form(label_id)
        if not self.endings:
            return self.by_form.get(form, ())
        if form in self.by_ending:
            return self.by_ending[form]
        ends = (self.by_form[end] for end in _endings(form) if end in self.by_form)
        return next(ends, ())


def _endings(clip_id: str) -> list[str]:
    """Return what is left after each ``/``, longest first: a/b/c gives b/c and c."""
    parts = clip_id.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts))]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, clip_id in pairs:
        groups[key].append(clip_id)
    return {key: tuple(group) for key, group in groups.items()}


def _look_alikes(
    label_ids: Sequence[str], clip_ids: Sequence[str]
) -> tuple[tuple[str, str, str], ...]:
    """Return ids that look like a clip's and are not: (id, clip, how they differ)."""
    found = {}
    for look in (_seen, _without_zeros):
        clips = {look(clip_id): clip_id for clip_id in clip_ids}
        for label_id in label_ids:
            if (clip_id := clips.get(look(label_id))) is not None and label_id not in found:
                found[label_id] = (label_id, clip_id, how_they_differ(label_id, clip_id))
    return tuple(found[label_id] for label_id in label_ids if label_id in found)


def _seen(clip_id: str) -> str:
    """Return the last component of an id as a reader sees it, ``%20`` as a space."""
    text = (
        unicodedata.normalize("NFKC", unquote(bare_name(clip_id)))
        .translate(_DASHES)
        .translate(_LATIN)
    )
    visible = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc", "Mn"))
    return "".join(visible.casefold().split()).rpartition("/")[2]


def _without_zeros(clip_id: str) -> str:
    text = re.sub(r"(?<=\d)\.0+$", "", _seen(clip_id))  # 1.0, as tables of numbers have it
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def how_they_differ(one: str, other: str) -> str:
    """Return in which characters two ids that look the same differ, by their code points."""
    a, b = (bare_name(text).rpartition("/")[2] for text in (one, other))
    if _seen(one) != _seen(other):
        if re.sub(r"\.0+$", "", a) == re.sub(r"\.0+$", "", b):
            return "one was made a decimal number (read the column of ids as text)"
        return "leading zeros differ (a spreadsheet drops them: format the column as text)"
    start = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    first, second = (_code(text[start : start + 1]) for text in (a, b))
    return f"{first} against {second} at character {start + 1}"


def _code(character: str) -> str:
    if not character:
        return "the end"
    name = unicodedata.name(character, "a control character").lower()
    return f"U+{ord(character):04X} ({name})"


def no_match_message(labels: IntensityLabels, clip_ids: Sequence[str]) -> str:
    """Return the one line that explains why nothing joined, with an example from each side."""
    alike = match_clips(labels, clip_ids).alike
    label_id, example = labels.clip_ids[0], clip_ids[0] if clip_ids else "(the store is empty)"
    each = f" (with {named('face')} all, every face of a clip has its own)"
    faces = each if "#" in example else ""
    if alike:
        label_id, example, how = alike[0]
        faces = f"; these look alike, but {how}"
    column = f" in column {labels.columns['id']!r}" if labels.columns.get("id") else ""
    return (
        f"{labels.source}: none of its {len(labels.clip_ids)} ids matches one of the "
        f"{len(clip_ids)} clips; found ids like {label_id!r}{column}, expected ones like "
        f"{example!r}{faces}; {named('id_column')} names another column"
    )
