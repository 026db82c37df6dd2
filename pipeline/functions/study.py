"""Functions of a study: design, summarise, compare, methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

from facer.pipeline.functions.keywords import keywords, places
from facer.pipeline.runtime.places import Place, opened, place_of
from facer.pipeline.settings.commands import COMPARE, SUMMARISE
from facer.pipeline.settings.table import make
from facer.pipeline.summary.compare import StoreComparison, compare_stores, write_comparison
from facer.pipeline.summary.config import CompareConfig, TablesConfig
from facer.pipeline.summary.designs import write_design
from facer.pipeline.summary.methods import methods_paragraph
from facer.pipeline.summary.output import Summary, summarise_to_folder
from facer.pipeline.summary.summarise import Outcome, study, summarise_in_memory
from facer.stages.summary.config import SummaryConfig
from facer.storage import FeatureStore
from facer.storage.study.design import Design, design_of


@places
def design(store: FeatureStore | Place, source: Place, *, output: Place | None = None) -> Design:
    """Read a study's design for a store, as ``facer design``: a csv file or a pattern of names.

    ``output`` is where it is written as design.csv. Raises FacerError for a clip twice, a wrong
    cell, where nothing fits the store, and where something is at ``output``.
    """
    found = design_of(place_of(source), opened(store).clip_ids)
    if output is not None:
        write_design(found, Path(output))
    return found


@overload
def summarise(
    store: FeatureStore | Place, design: Place | None = None, *, output: None = None,
    **settings: Any,
) -> Summary: ...  # fmt: skip
@overload
def summarise(
    store: FeatureStore | Place, design: Place | None = None, *, output: Place, **settings: Any
) -> Outcome: ...
@keywords(SUMMARISE)
def summarise(
    store: FeatureStore | Place, design: Place | None = None, *, output: Place | None = None,
    **settings: Any,
) -> Summary | Outcome:  # fmt: skip
    """Measure a store's clips over windows of time, as ``facer summarise``; DataFrames.

    ``design`` is a csv file (clip_id, participant, condition, ...) or a pattern of the clips'
    names such as ``{participant}_{condition}``; ``windows`` has spans in seconds from the event
    by name, ``baseline`` is one, ``thresholds`` are numbers by feature. Other keywords are the
    command's options with underscores, such as ``grid=10``. With ``output``, a folder, the tables
    are written there in ``format`` (csv, parquet, feather or sav), and what they hold is counted.
    Raises FacerError for a file or setting that does not fit, and without pandas.
    """
    config, form = make(SummaryConfig, settings), make(TablesConfig, settings).format
    found = study(opened(store), config, place_of(design), settings["events"], settings["marks"])
    if output is not None:
        return summarise_to_folder(found, Path(output), form)
    return Summary(*summarise_in_memory(found))


@keywords(COMPARE)
def compare(
    a: FeatureStore | Place, b: FeatureStore | Place, output: Place | None = None, **settings: Any
) -> StoreComparison:
    """Compare two stores over the same videos, as ``facer compare``.

    Clips are joined by their ids as labels are, columns by name; frames by their time. ``output``
    is a new folder for csv, JSON and a page, which shows what only one saw of the ``worst`` clips
    where ``videos`` is their VIDEO_DIR. Raises FacerError when nothing is common.
    """
    folder = None if output is None else Path(output)
    config = make(CompareConfig, settings, folder)
    found = compare_stores(opened(a), opened(b))
    if folder is not None:
        write_comparison(found, folder, config)
    return found


@places
def methods(store: FeatureStore | Place, stats: Place | None = None) -> tuple[str, str]:
    """Return a methods paragraph and its BibTeX, as ``facer methods``.

    ``stats``: the folder of a summary, whose settings are then told as well. Raises FacerError
    when it is none.
    """
    return methods_paragraph(opened(store), None if stats is None else Path(stats))
