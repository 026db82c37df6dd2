"""Commands that look into a store and keep it: status, verify, health, compact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import (
    EXIT_PROBLEM,
    LISTED,
    json_option,
    print_json,
    print_list,
)
from facer.pipeline.runtime.progress import echo
from facer.pipeline.settings.commands import COMPACT, HEALTH, VERIFY
from facer.storage.schema import AUDIO, measured_of, networks_of

if TYPE_CHECKING:
    from facer.pipeline.features.inspect.status import StoreStatus
    from facer.pipeline.features.inspect.verify import Verification


@click.command()
@click.argument("store")
@click.argument("clip_id", required=False)
@click.option("--videos", metavar="VIDEO_DIR",
              help="Of CLIP_ID: also say what libav sees of its video.")  # fmt: skip
@json_option
def status(store: str, clip_id: str | None, videos: str | None, as_json: bool) -> None:
    """Say what a store holds: clips, frames, faces, failures with their reasons.

    With CLIP_ID: what it has of that clip; with --videos, container, streams and codecs of its
    file, how many frames decode, and what libav complains of.

    \b
    Examples:
      facer status features.zarr
      facer status features.zarr train/11526 --videos videos/
    """
    from facer.pipeline.functions.store import status as store_status

    if clip_id is not None:
        one = store_status(store, clip_id, videos=videos)
        if as_json:
            print_json(one)
        else:
            echo("\n".join(one.lines()))
        return
    if videos is not None:
        raise click.UsageError("--videos: expected CLIP_ID beside it")
    found = store_status(store)
    if as_json:
        print_json(found)
    else:
        _print_status(found)
        echo("  from the records alone: chunks and videos were not looked at; look: facer verify "
             f"{store}")  # fmt: skip


def _print_status(found: StoreStatus) -> None:
    share = "-" if found.face_share is None else f"{found.face_share:.1%}"
    measured, empty, failed = found.clips.values()
    what = measured_of(found.clips)
    every = found.provenance["face_policy"] == "all"
    noun = "sequences" if every else "clips"
    echo(f"{found.path}: {sum(found.clips.values())} {noun}, {found.frames} frames"
               + (f", of {found.videos} videos" if every else ""))  # fmt: skip
    echo(f"  {f'with {what}':14}  {measured} {noun}, {share} of all frames")
    echo(f"  {f'without {what}':14}  {empty} {noun}")
    echo(f"  {'failed':14}  {failed} {noun}")
    if found.quality is not None:
        echo(f"  quality         {found.quality:.2f} on average over frames with a face (0 to 1)")
    echo(f"  {_made_by(found.provenance)}")
    print_list("failed", [f"{clip}: {reason}" for clip, reason in found.failures], 50)
    print_list("notes", [f"{clip}: {reason}" for clip, reason in found.notes], 50)
    print_list("damaged parts", found.damaged, LISTED)


def _made_by(made: Mapping[str, Any]) -> str:
    """What made a store, in a line."""
    settings = made["settings"]
    weights = f" ({made['rec_sha256'][:12]})" if made["rec_sha256"] else ""
    if settings.get("modality") == AUDIO:
        return (
            f"{made['rec']}{weights} of sound at {settings['rate_hz']} Hz, {made['frame_policy']}"
        )
    return (
        f"detector {made['detector']} ({made['detector_sha256'][:12]}), REC {made['rec']}"
        f" ({made['rec_sha256'][:12]}), {made['frame_policy']}, face: {made['face_policy']}, "
        f"{_precision(settings)}"
    )


def _precision(settings: Mapping[str, str]) -> str:
    """What a store's networks were computed in."""
    others = [
        f"{name}: {said['precision']}"
        for name, said in networks_of(settings).items()
        if "precision" in said
    ]
    return settings.get("precision", "float32") + (f" ({', '.join(others)})" if others else "")


@click.command()
@click.argument("store")
@with_settings(VERIFY)
@json_option
def verify(store: str, as_json: bool, **settings: Any) -> int:
    """Read all of a store, every chunk and record, and say clip by clip what is not whole.

    Exit code 1 when anything is damaged or absent, also when it was dropped.

    \b
    Examples:
      facer verify features.zarr --videos videos/
      facer verify features.zarr --repair
    """
    from facer.pipeline.functions.store import verify as verify_store

    found = verify_store(store, progress=True, **settings)
    if as_json:
        print_json(found)
    else:
        _print_verification(found, settings["repair"])
    return 0 if found.whole else EXIT_PROBLEM


def _print_verification(found: Verification, repair: bool) -> None:
    result = found.to_json()
    parts = found.found.parts
    echo(f"{found.path}: {len(result['clips'])} clips in {len(parts)} parts, "
         f"{result['bytes'] / 1e6:.0f} MB of values read")  # fmt: skip
    for state in ("whole", "damaged", "absent", "unknown"):
        clips = [clip for clip, of in result["clips"].items() if of == state]
        echo(f"  {state:8} {len(clips)} clips")
        if state != "whole":
            print_list(f"{state} clips", clips)
    reasons = [reason for part in parts for reason in part.reasons]
    print_list("what is wrong", reasons)
    if found.found.group:
        print_list("what is wrong beside the parts", [f"parts/zarr.json: {found.found.group}"])
    if unfinished := result["parts_unfinished"]:
        echo(f"{len(unfinished)} parts without records: of a running extraction, or of one that "
             "was stopped; not counted")  # fmt: skip
    if relaid := result["parts_relaid"]:
        echo(f"{len(relaid)} parts were laid out by another program, and are read: slower")
    if found.videos is not None:
        print_list("videos that changed", found.videos.changed)
        print_list("videos that are gone", found.videos.gone)
        print_list("videos without a record", found.videos.without_record)
    if repair:
        print_list("dropped parts", found.dropped)
        print_list("the same facer extract makes these clips anew", found.again)
        print_list("these go back to an earlier record; facer extract --changed re-extract where "
              "their videos changed since", found.older)  # fmt: skip
    if result["unknown"]:
        echo("what is unknown was not proved damaged, and --repair does not drop it")


@click.command()
@click.argument("store")
@with_settings(HEALTH)
@json_option
def health(store: str, as_json: bool, **settings: Any) -> int:
    """Say whether a store is as expected, for a nightly job and its alarms.

    Exit code 1 when it is not there, is damaged, has more failed clips than allowed, or nothing was
    written for longer. From the records alone; verify reads all.

    \b
    Example:
      facer health features.zarr --max-age 26 --max-failed 5%
    """
    from facer.pipeline.functions.store import health as store_health

    found = store_health(store, **settings)
    if as_json:
        print_json(found)
    else:
        age = (
            "" if found.age_hours is None else f", the last written {found.age_hours:.1f} hours ago"
        )
        echo(f"{found.path}: {'healthy' if found.healthy else 'not healthy'}; {found.clips} clips, "
             f"{found.failed} failed{age}")  # fmt: skip
        print_list("what is wrong", found.problems)
    return 0 if found.healthy else EXIT_PROBLEM


@click.command()
@click.argument("store")
@with_settings(COMPACT)
@json_option
def compact(store: str, as_json: bool, **settings: Any) -> None:
    """Merge the many small parts of a store into few, as many nights of extract leave them.

    Values stay the same, bit for bit; earlier records of clips that were made again go. It may be
    stopped at any moment, and who reads or adds to the store meanwhile goes on.

    \b
    Example:
      facer compact features.zarr
    """
    from facer.pipeline.functions.store import compact as compact_store

    found = compact_store(store, progress=True, **settings)
    if as_json:
        print_json(found._asdict())
        return
    parts = "1 part" if found.parts == 1 else f"{found.parts} parts"
    echo(f"{found.path}: {found.clips} clips in {parts}, of {found.parts_before}; "
         f"{found.superseded} earlier records dropped")  # fmt: skip
    print_list("left as they are", found.left)
