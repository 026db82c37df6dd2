"""import and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.shared import POSITIVE, print_list
from facer.pipeline.runtime.progress import echo, say


@click.command("import")
@click.argument("kind")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", "store", required=True, help="The store to write or add to.")
@click.option("--fps", type=POSITIVE, help="Frame rate of py-feat's frames, which have no times.")
def import_(kind: str, path: Path, store: str, fps: float | None) -> int:
    """Bring another tool's features into a store.

    KIND is muse, openface, pyfeat, libreface or hdf5.

    \b
    Example:
      facer import openface openface-csvs/ -o openface.zarr
    """
    from facer.pipeline.features.importing import import_into_store

    opened, added, changed = import_into_store(kind, path, store, fps)
    echo(
        f"{opened.path}: {added} clips added, {len(opened.clip_ids)} in all; features "
        f"{', '.join(opened.feature_names[:6])} ... ({len(opened.feature_names)})"
    )
    notes = [record for record in opened.records if record.reason and record.status != "failed"]
    if notes:
        say(f"notes on {len(notes)} clips, such as {notes[0].clip_id}: {notes[0].reason}; facer "
            f"status {store} lists them")  # fmt: skip
    if changed:
        say(f"{len(changed)} clips of {path} are not what the store has ({', '.join(changed[:3])}"
            f"{', ...' if len(changed) > 3 else ''}); those in the store were kept: import into "
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
              help="For a folder: design.csv, or how clips are named.")  # fmt: skip
@click.option("--events", type=click.Path(path_type=Path), help="For a folder: events.csv.")
@click.option("--marks", type=click.Path(path_type=Path), help="For a folder: marks.csv.")
@click.option("--threshold", multiple=True, metavar="FEATURE=NUMBER",
              help="For a folder: above it a feature counts as shown.")  # fmt: skip
@click.option("--videos", type=click.Path(path_type=Path),
              help="For elan: the VIDEO_DIR, which the documents link to.")  # fmt: skip
def export(store: str, path: Path, form: Any, **of_study: Any) -> int:
    """Write a store's features for other tools: one table, or a folder of files that they read.

    The ending of PATH chooses the format of a file. Every clip of the store is in it; a failed clip
    has no frames. elan and textgrid have a tier a feature with its episodes, bids a physio
    recording a clip; facereader, imotions and openface are these programs' own text files.

    \b
    Examples:
      facer export features.zarr features.h5
      facer export features.zarr features.csv
      facer export features.zarr coding/ --format elan --videos videos/
      facer export features.zarr bids/ --format bids --design "{participant}_{condition}"
    """
    from facer.pipeline.summary.exports import STUDY_FORMATS, export_study
    from facer.pipeline.summary.summarise import study
    from facer.stages.summary.config import SummaryConfig, parse_thresholds
    from facer.storage import FeatureStore
    from facer.storage.exchange.tables import export_store, format_of

    config = SummaryConfig(thresholds=parse_thresholds(of_study["threshold"]))
    if form not in STUDY_FORMATS:
        form = format_of(path, form)
    opened = FeatureStore.open(store)
    if form in STUDY_FORMATS:
        tables = (of_study[name] for name in ("design", "events", "marks"))
        n_clips = export_study(study(opened, config, *tables), path, form, of_study["videos"])
        echo(f"{path}: {n_clips} clips")
    else:
        for name in of_study:
            if of_study[name]:
                raise click.UsageError(
                    f"--{name}: expected --format, one of {', '.join(STUDY_FORMATS)}"
                )
        echo(f"{path}: {export_store(opened, path, form)} clips")
    print_list("failed, so without frames",
          [f"{r.clip_id}: {r.reason}" for r in opened.records if r.status == "failed"])  # fmt: skip
    if form not in ("hdf5", "parquet") and "embedding" in opened.provenance.settings:
        say("the embedding is left out; hdf5 and parquet have it")
    return 0
