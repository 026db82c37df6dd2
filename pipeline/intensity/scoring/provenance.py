"""Whether features are what a run was trained on: the same models, faces, frames and settings."""

from __future__ import annotations

from pathlib import Path

from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.sources.joined import JoinedStore, Source
from facer.storage import Provenance
from facer.storage.errors import FacerError, named


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
    names = ("detector_sha256", "rec_sha256", "alignment", "face_policy", "frame_policy")
    pairs = [(name, getattr(provenance, name), getattr(made, name)) for name in names]
    ours, theirs = provenance.settings, made.settings
    if provenance.of_sound != made.of_sound:
        kinds = ("sound", "faces") if made.of_sound else ("faces", "sound")
        raise FacerError(
            f"{where}: found a store of {kinds[1]}, the run {run} was trained on one of {kinds[0]}"
        )
    compared = sorted({*ours, *theirs} - {"embedding"})
    pairs += [(name, ours.get(name, "none"), theirs.get(name, "none")) for name in compared]
    for name, found, expected in pairs:
        if found == expected:
            continue
        option = f"{named('with_')} {stream}=STORE" if stream else named("store")
        if "imported" in theirs:
            raise FacerError(
                f"{where}: the run {run} was trained on features of {theirs['imported']}; import "
                f"features of these videos and give them to evaluate {option}"
            )
        made_by = ("detector", "rec", "face", "stride", "precision")
        advice = f"extract with the same {', '.join(map(named, made_by))} and {named('det')}"
        raise FacerError(
            f"{where}: {name} is {found}, the run {run} was trained on features with {expected}; "
            + (f"give a store made alike as {option}" if stream else f"{advice} options")
        )
