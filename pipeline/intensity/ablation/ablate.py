"""Many trainings on one cache, one row each: resumable, on one process or many.

DIR/
  rows/<id>/            each row's run folder, with its scores (see trials)
  table.csv, table.md, table.png
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from facer.pipeline.intensity.ablation.report import AblationTable, TableRow, write_table
from facer.pipeline.intensity.ablation.rows import FULL, AblationRow, ablation_rows
from facer.pipeline.intensity.ablation.trials import (
    SPLIT,
    OnRow,
    Trial,
    TrialScores,
    claim_output,
    read_scores,
    run_trials,
    trial_folder,
    write_result,
)
from facer.pipeline.intensity.config import AblateConfig, FuseConfig, TrainHeadConfig
from facer.pipeline.intensity.folds.plan import fold_notes, plan_folds, read_planned
from facer.pipeline.intensity.folds.train import PREDICTIONS
from facer.pipeline.intensity.head_run import absolute_place, absolute_places, read_run
from facer.pipeline.intensity.scoring.evaluate import OUT_OF_FOLD
from facer.pipeline.intensity.scoring.fuse import fuse
from facer.pipeline.intensity.sources.joined import Source, open_source
from facer.pipeline.intensity.sources.splits import facts_and_notes
from facer.pipeline.intensity.training import OnNote
from facer.stages.intensity.sequence_config import StreamsConfig
from facer.stages.intensity.sequences import EMBEDDING
from facer.stages.intensity.statistics.holm import holm
from facer.stages.intensity.statistics.intervals import Comparison, compare
from facer.storage import FeatureStore, IntensityLabels
from facer.storage.errors import FacerError, one_line
from facer.storage.labels.challenges import Split
from facer.storage.labels.predictions import Predictions, read_predictions, write_predictions


def ablate(
    config: AblateConfig, on_row: OnRow | None = None, on_note: OnNote | None = None
) -> AblationTable:
    """Train and score all rows that are not done yet, and write the tables.

    A row that cannot be trained, because a store lacks its columns, say, has its reason in the
    table and the others go on. Raises FacerError where no row can, and for an output that holds
    anything else.
    """
    claim_output(config.output, "facer ablate", "id,groups,title,")
    store, labels = read_joined(config)
    has_embedding = "embedding" in store.provenance.settings
    rows = _rows(config)
    tasks = [task for row in rows if (task := trial_of(row, config, has_embedding)) is not None]
    errors = run_trials(tasks, config, on_row, on_note)
    for row in rows:
        if row.members:
            _fuse_row(row, config, errors)
    table = _table(config, labels, errors)
    write_table(table, config.output)
    return table


def _rows(config: AblateConfig) -> tuple[AblationRow, ...]:
    return ablation_rows(config.rows, tuple(config.also), config.sequences.features)


def read_joined(config: AblateConfig) -> tuple[Source, IntensityLabels]:
    """Labels that join the store; all rows would fail otherwise, one by one."""
    store = open_source(config.store, config.streams)
    labels, _ = read_planned(config.labels, config.reading, store, config.folds)
    for path in config.also.values():
        FeatureStore.open(path)
    return store, labels


def trial_of(row: AblationRow, config: AblateConfig, has_embedding: bool = False) -> Trial | None:
    """What trains a row; None where a store that it needs was not given, or it trains nothing."""
    if row.members or (row.other_store is not None and row.other_store not in config.also):
        return None
    if row.streams == ("identity",) and "identity" not in config.streams.places and has_embedding:
        row = replace(row, streams=(), features=(EMBEDDING,))
    places = config.streams.places
    if row.streams is not None:
        if not set(row.streams) <= set(places):
            return None
        places = {name: places[name] for name in row.streams}
    stores = tuple(f"{name}={place}" for name, place in places.items())
    streams = replace(config.streams, stores=stores) if stores else StreamsConfig()
    training = TrainHeadConfig(
        store=absolute_place(
            config.store if row.other_store is None else config.also[row.other_store]
        ),
        labels=absolute_place(config.labels),
        run=trial_folder(config.output, row.id).absolute(),
        reading=config.reading,
        sequences=row.sequences(config.sequences),
        streams=absolute_places(streams),
        fit=row.fit(config.fit),
        cache=config.cache,
        seeds=config.seeds,
        device=config.device,
        resume=True,
        folds=config.folds,
    )
    return Trial(row.id, row.title, training)


def _fuse_row(row: AblationRow, config: AblateConfig, errors: dict[str, str]) -> None:
    """Score the mean of other rows' predictions; the reason in ``errors`` where one is absent."""
    started = perf_counter()
    folders = {name: trial_folder(config.output, name) for name in row.members}
    lacking = [name for name, run in folders.items() if not (run / "row.json").is_file()]
    if lacking:
        needs = f"needs the row {lacking[0]}"
        errors[row.id] = f"{needs}: {errors[lacking[0]]}" if lacking[0] in errors else needs
        return
    try:
        split: Split | None = None if config.folds else SPLIT
        found = fuse(FuseConfig(tuple(folders.values()), split)).fusion
    except FacerError as error:
        errors[row.id] = one_line(error, None)
        return
    run = trial_folder(config.output, row.id)
    run.mkdir(exist_ok=True)
    write_predictions(run / "val.csv", "plain", found.label_ids, found.names, found.predictions)
    write_result(run, found, perf_counter() - started)


def _table(
    config: AblateConfig, labels: IntensityLabels, errors: Mapping[str, str]
) -> AblationTable:
    rows = _rows(config)
    folder = config.output / "rows"
    scores = {row.id: read_scores(folder / row.id, errors.get(row.id), _needs(row)) for row in rows}
    against = {
        row.id: _against_full(row.id, folder, labels)
        for row in rows
        if row.id != FULL and scores[row.id].by_seed and scores[FULL].by_seed
    }
    p_values = {name: p for name, one in against.items() if (p := one.p_value) is not None}
    p_holm = dict(zip(p_values, holm([*p_values.values()]), strict=True))
    return AblationTable(
        names=labels.names,
        split=OUT_OF_FOLD if config.folds else SPLIT,
        seeds=config.seeds,
        notes=(*_notes(labels, config), *_other_clips(rows, scores, folder)),
        rows=tuple(
            TableRow(
                **vars(scores[row.id]),
                row=row,
                against=against.get(row.id),
                p_holm=p_holm.get(row.id),
                beyond_full=_beyond(scores[row.id].by_seed, scores[FULL].by_seed),
            )
            for row in rows
        ),
    )


def _notes(labels: IntensityLabels, config: AblateConfig) -> tuple[str, ...]:
    """How the labels were read, in one line, and what to know of them."""
    if config.folds is None:
        return facts_and_notes(labels)
    return ("; ".join(labels.facts), *fold_notes(labels, plan_folds(labels, config.folds)))


def _other_clips(
    rows: Sequence[AblationRow], scores: Mapping[str, TrialScores], folder: Path
) -> Iterator[str]:
    """Say which rows have features of other numbers of clips than the full model has."""
    trained = [row for row in rows if scores[row.id].by_seed and not row.members]
    usable = {row.id: read_run(folder / row.id).counts.get("usable") for row in trained}
    for row in trained:
        if FULL in usable and usable[row.id] != usable[FULL]:
            yield (
                f"{row.title}: {usable[row.id]} clips have these features, those of the full model "
                f"{usable[FULL]}; the others are not trained on, and are predicted by the training "
                "mean"
            )


def _beyond(ours: Mapping[str, float], full: Mapping[str, float]) -> tuple[float, ...]:
    """A row's mean Pearson less the full model's, seed by seed."""
    return tuple(ours[seed] - full[seed] for seed in ours if seed in full)


def _needs(row: AblationRow) -> str:
    """What must be given for a row that was not trained."""
    if row.other_store:
        return f"needs --also {row.other_store}=STORE"
    if row.streams == ("identity",):
        return "needs --with identity=STORE, or a store of facer extract --embedding"
    return f"needs --with {row.streams[0]}=STORE" if row.streams else "not run"


def _against_full(row_id: str, folder: Path, labels: IntensityLabels) -> Comparison:
    """A row's mean Pearson less the full model's, on the same clips."""
    paths = [_predictions(folder / name) for name in (row_id, FULL)]
    ours, full = (read_predictions(path) for path in paths)
    row_of = {clip: row for row, clip in enumerate(labels.clip_ids)}
    rows = [row_of[clip] for clip in full.clip_ids]
    subjects = [labels.subjects[i] for i in rows]
    values = [_ordered(table, full) for table in (ours, full)]
    return compare(values[0], values[1], labels.values[rows], subjects, full.clip_ids)


def _predictions(run: Path) -> Path:
    """Where a done row keeps the predictions that it was scored by."""
    return run / ("val.csv" if (run / "val.csv").is_file() else PREDICTIONS)


def _ordered(table: Predictions, like: Predictions) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Predictions by the other table's ids and names, whatever their order."""
    rows = {clip: i for i, clip in enumerate(table.clip_ids)}
    columns = [table.names.index(name) for name in like.names]
    return table.values[[rows[clip] for clip in like.clip_ids]][:, columns]
