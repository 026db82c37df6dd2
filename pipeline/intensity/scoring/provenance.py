"""Whether features are what a run was trained on: the same models, faces, frames and settings."""

from __future__ import annotations

from pathlib import Path

from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.sources.joined import JoinedStore, Source
from facer.storage import Provenance
from facer.storage.errors import FacerError, named
from facer.storage.root import provenance_differences

_NOT_COMPARED = ("detector", "rec", "decoder", "settings embedding")  # older runs name none


def check_all_provenance(run: Path, store: Source) -> None:
    """``FacerError`` unless the features of each stream are what the run was trained on."""
    check_provenance(run, store.provenance, store.path)
    others = store.others if isinstance(store, JoinedStore) else {}
    for name, other in others.items():
        check_provenance(run, other.provenance, other.path, name)


def check_provenance(run: Path, provenance: Provenance, where: str, stream: str = "") -> None:
    """``FacerError`` unless features of this provenance are what the run was trained on.

    ``stream`` is the name of a joined one.
    """
    made = read_run(run).provenance(stream)
    if provenance.kind != made.kind:
        raise FacerError(
            f"{where}: found a store of {provenance.kind}, the run {run} was trained on one of "
            f"{made.kind}"
        )
    for name, *values in provenance_differences(provenance, made):
        if name in _NOT_COMPARED:
            continue
        option = f"{named('with_')} {stream}=STORE" if stream else named("store")
        if tool := made.settings.get("imported"):
            raise FacerError(
                f"{where}: the run {run} was trained on features of {tool}; import features of "
                f"these videos and give them to evaluate {option}"
            )
        made_by = ("detector", "rec", "face", "stride", "precision")
        advice = f"extract with the same {', '.join(map(named, made_by))} and {named('det')}"
        found, expected = ("none" if value is None else value for value in values)
        raise FacerError(
            f"{where}: {name.removeprefix('settings ')} is {found}, the run {run} was trained on "
            f"features with {expected}; "
            + (f"give a store made alike as {option}" if stream else f"{advice} options")
        )
