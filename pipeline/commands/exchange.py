"""import and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import PATH, POSITIVE, json_option, print_json, print_list
from facer.pipeline.runtime.progress import clip_notes, echo, log
from facer.pipeline.settings.commands import EXPORT
from facer.storage.text.names import some


@click.command("import")
@click.argument("kind")
@click.argument("path", type=PATH)
@click.option("-o", "--output", "store", required=True, help="The store to write or add to.")
@click.option("--fps", type=POSITIVE, help="Frame rate of py-feat's frames, which have no times.")
@json_option
def import_(kind: str, path: Path, store: str, fps: float | None, as_json: bool) -> None:
    """Bring another tool's features into a store.

    KIND is muse, openface, pyfeat, libreface, facereader, imotions or hdf5.

    \b
    Example:
      facer import openface openface-csvs/ -o openface.zarr
    """
    from facer.pipeline.functions.store import import_ as import_features

    opened, added, changed = import_features(kind, path, store, fps=fps)
    if as_json:
        print_json({"store": opened.path, "added": added, "clips": len(opened.clip_ids),
                    "feature_names": opened.feature_names, "changed": changed})  # fmt: skip
    else:
        echo(
            f"{opened.path}: {added} clips added, {len(opened.clip_ids)} in all; features "
            f"{', '.join(opened.feature_names[:6])} ... ({len(opened.feature_names)})"
        )
    for line in clip_notes(opened.records, store):
        log(line)
    if changed:
        log(f"{len(changed)} clips of {path} are not what the store has ({some(changed)}); "
            "those in the store were kept: import into "
            "another store to have the new ones")  # fmt: skip


@click.command()
@click.argument("store")
@click.argument("path", type=PATH)
@with_settings(EXPORT)
@json_option
def export(store: str, path: Path, as_json: bool, **settings: Any) -> None:
    """Write a store's features for other tools: one table, or a folder of files that they read.

    The ending of PATH chooses the format of a file. Every clip of the store is in it; a failed clip
    has no frames. A table has its dictionary beside it, NAME.columns.csv. elan and textgrid have a
    tier a feature with its episodes, bids a physio recording a clip; facereader, imotions and
    openface are these programs' own text files.

    \b
    Examples:
      facer export features.zarr features.h5
      facer export features.zarr features.csv --design "{participant}_{condition}"
      facer export features.zarr coding/ --format elan --videos videos/
      facer export features.zarr bids/ --format bids --design "{participant}_{condition}"
    """
    from facer.pipeline.functions.store import export as export_store
    from facer.storage import FeatureStore
    from facer.storage.exchange.formats import STUDY_FORMATS, format_of
    from facer.storage.study.design import design_of

    clips = export_store(store, path, **settings)
    opened = FeatureStore.open(store)
    form = format_of(path, settings["format"])
    failed = {r.clip_id: r.reason for r in opened.records if r.status == "failed"}
    if settings["design"] is not None and form in STUDY_FORMATS:  # which leave out the others
        for outside in design_of(settings["design"], opened.clip_ids).not_in_design:
            failed.pop(outside, None)
    if as_json:
        print_json({"path": path, "format": form, "clips": clips, "failed": failed})
    else:
        echo(f"{path}: {clips} clips")
        print_list("failed, so without frames", [f"{c}: {why}" for c, why in failed.items()])
    has_it = form == "hdf5" or (form in ("parquet", "feather") and not settings["long"])
    if not has_it and "embedding" in opened.provenance.settings:
        log("the embedding is left out; hdf5 has it, and parquet and feather without --long")
