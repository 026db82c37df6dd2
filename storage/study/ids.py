"""Which clip each id of a study's table means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from facer.storage.errors import FacerError
from facer.storage.labels.matching import Match, bare_name, match_ids


def refuse_ambiguous(path: Path, match: Match) -> None:
    """Raise FacerError for an id that could mean several clips, or for two that mean the same."""
    for name, clips in match.ambiguous[:1]:
        if len(clips) > 1:
            raise FacerError(
                f"{path}: {name!r} could mean {', '.join(clips[:3])}; give its folders"
            )
        raise FacerError(
            f"{path}: found clip {clips[0]!r} again as {name!r}, expected one name a clip"
        )


def known_clips(path: Path, ids: Sequence[str], clip_ids: Sequence[str]) -> Mapping[str, str]:
    """Return the clip of each id that means one, in a table of several rows a clip.

    The ids of a clip may differ by a video's ending and other spelling that
    :func:`facer.storage.labels.matching.bare_name` takes away. FacerError for one that could mean
    several.
    """
    names = list(dict.fromkeys(ids))
    match = match_ids(names, clip_ids)
    clip_of = {names[row]: clip for row, clip in match.pairs}
    spelt = {
        name: clips[0]
        for name, clips in match.ambiguous
        if len(clips) == 1 and bare_name(name) == bare_name(clips[0])
    }
    rest = tuple(one for one in match.ambiguous if one[0] not in spelt)
    refuse_ambiguous(path, replace(match, ambiguous=rest))
    return clip_of | spelt


def matched(path: Path, ids: Sequence[str], clip_ids: Sequence[str]) -> Mapping[str, str]:
    """Return the clip of each id as :func:`known_clips` does; FacerError for one of no clip."""
    clip_of = known_clips(path, ids, clip_ids)
    if missing := [name for name in ids if name not in clip_of]:
        raise FacerError(
            f"{path}: found clip {missing[0]!r}, expected one of the store or the design, such as "
            f"{clip_ids[0] if clip_ids else '(none)'!r}"
        )
    return clip_of
