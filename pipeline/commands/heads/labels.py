"""check: labels and features before a training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import (
    LISTED,
    json_option,
    labels_option,
    print_json,
    print_list,
)
from facer.pipeline.runtime.progress import echo, warn
from facer.pipeline.settings.commands import CHECK

if TYPE_CHECKING:
    from facer.pipeline.intensity.check import FeatureCheck, LabelCheck


@click.command()
@click.argument("store")
@labels_option()
@with_settings(CHECK)
@json_option
def check(store: str, labels: str, as_json: bool, **settings: Any) -> None:
    """Compare a label file with a store: what joins, what is missing on either side.

    Also says what the file was taken for, and what each target and the features are like.

    \b
    Example:
      facer check features.zarr --labels labels.csv
    """
    from facer.pipeline.functions.store import check as check_labels

    found = check_labels(store, labels, **settings)
    if as_json:
        print_json(found)
        return
    echo("\n  ".join(found.facts))
    echo(f"{sum(found.usable.values())} of {found.n_clips} clips can be used")
    hume = "  Hume-Reaction's rows" if found.hume_reaction else ""
    echo(f"split      rows  with a clip  usable{hume}")
    for split, n in found.splits.items():
        published = f"  {n.published:20d}" if n.published is not None else ""
        echo(f"{split or '(none)':6}  {n.rows:7d}  {n.joined:11d}  {n.usable:6d}{published}")
    _print_used_splits(found)
    _print_targets(found)
    _print_features(found.features)
    for note in found.notes:
        warn(note)
    for title, names in _lists(found, settings["t"]):
        print_list(title, list(names), LISTED)


def _lists(found: LabelCheck, t: int) -> list[tuple[str, Iterable[str]]]:
    """What does not join or cannot be used: a title, and ids."""
    alike = (f"{i!r} and {clip!r}: {how}" for i, clip, how in found.look_alikes)
    shared = (f"{name}: {', '.join(there)}" for name, there in found.shared_subjects.items())
    unmeasured = "clips without a frame in which all chosen features are measured"
    ambiguous = (f"{i}: {', '.join(clips)}" for i, clips in found.ambiguous)
    return [
        ("ids that look like a clip's and are not", alike),
        ("subjects in more than one split", shared),
        (unmeasured, found.features.empty_clips),
        ("labels without a clip", found.labels_without_clip),
        ("clips without a label", found.clips_without_label),
        ("ids that could mean several clips, or one that another id means", ambiguous),
        ("labelled clips that failed", found.failed),
        ("labelled clips without a face or sound", found.no_face),
        ("clips whose targets are all empty", found.without_targets),
        (f"clips of more than {t} frames", found.overlong),
    ]


def _print_used_splits(found: LabelCheck) -> None:
    if "" in found.splits and len(found.splits) == 1:
        echo(f"no splits in the file: {found.split_rule}")
    known = [
        (split, used) for split, used in found.used_splits.items() if used.clips or split != "test"
    ]
    echo("train-head uses " + ", ".join(
        f"{split} {used.clips} clips" + (f" of {used.subjects} subject(s)" if used.subjects else "")
        for split, used in known
    ))  # fmt: skip


def _print_targets(found: LabelCheck) -> None:
    """A line a target: its labels, and what cannot be learnt or scored of it."""
    width = max(len(name) for name in ("target", *found.targets))
    echo(f"{'target':{width}}      n      min     mean      max  absent")
    for name, target in found.targets.items():
        values = (target.min, target.mean, target.max)
        cells = "  ".join(f"{'-':>7}" if value is None else f"{value:7.3f}" for value in values)
        still = ", ".join(target.does_not_vary_in)
        odd = [f"does not vary in {still}: Pearson is not defined there"] if still else []
        if not target.trained:
            odd.append("no label in train: not trained, no predictions of it")
        elif "val" in target.no_label_in:
            odd.append("no label in val")
        echo(f"{name:{width}}  {target.n:5d}  {cells}  {target.absent_share:6.1%}  "
                   f"{'; '.join(odd)}".rstrip())  # fmt: skip


def _print_features(found: FeatureCheck) -> None:
    if found.filled_share is not None:
        echo(f"{found.frames} frames of labelled clips, {found.filled_share:.1%} of them "
                   "filled (without a face, or without some chosen feature)")  # fmt: skip
    if found.empty_columns:
        warn(
            f"no clip has a value of {', '.join(found.empty_columns)}; choose others by --features"
        )
