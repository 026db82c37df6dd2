"""import and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.shared import POSITIVE, json_option, print_json, print_list
from facer.pipeline.runtime.progress import clip_notes, echo, log
from facer.storage.text.names import some


@click.command("import")
@click.argument("kind")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", "store", required=True, help="The store to write or add to.")
@click.option("--fps", type=POSITIVE, help="Frame rate of py-feat's frames, which have no times.")
@json_option
def import_(kind: str, path: Path, store: str, fps: float | None, as_json: bool) -> int:
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
    return 0


@click.command()
@click.argument("store")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form",
              help="hdf5, parquet, feather or csv (one file); muse, elan, textgrid, bids, "
              "facereader, imotions, openface or json (a folder). [default: by the ending of PATH: "
              ".h5, .parquet, .feather or .csv]")  # fmt: skip
@click.option("--design", metavar="FILE|PATTERN",
              help="For a table or folder: design.csv, or how clips are named.")  # fmt: skip
@click.option("--long", is_flag=True,
              help="For a table: a row a frame and feature, not a column a feature.")  # fmt: skip
@click.option("--events", type=click.Path(path_type=Path), help="For a folder: events.csv.")
@click.option(
    "--marks",
    type=click.Path(path_type=Path),
    help="For a folder: marks.csv; what it marks is empty.",
)
@click.option("--threshold", multiple=True, metavar="FEATURE=NUMBER",
              help="For a folder: above it a feature counts as shown.")  # fmt: skip
@click.option("--videos", type=click.Path(path_type=Path),
              help="For elan: the VIDEO_DIR, which the documents link to.")  # fmt: skip
@json_option
def export(store: str, path: Path, form: Any, as_json: bool, **of_study: Any) -> int:
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
    from facer.storage.exchange.tables import format_of

    clips = export_store(store, path, format=form, **of_study)
    opened = FeatureStore.open(store)
    form = form or format_of(path, None)
    failed = {r.clip_id: r.reason for r in opened.records if r.status == "failed"}
    if as_json:
        print_json({"path": path, "format": form, "clips": clips, "failed": failed})
    else:
        echo(f"{path}: {clips} clips")
        print_list("failed, so without frames", [f"{c}: {why}" for c, why in failed.items()])
    has_it = form == "hdf5" or (form in ("parquet", "feather") and not of_study["long"])
    if not has_it and "embedding" in opened.provenance.settings:
        log("the embedding is left out; hdf5 has it, and parquet and feather without --long")
    return 0
