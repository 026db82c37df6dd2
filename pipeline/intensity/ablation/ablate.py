"""Many trainings on one cache, one row each: resumable, on one process or many.

DIR/
  rows/<id>/            the row's run folder (see facer.pipeline.intensity: train, folds)
    row.json            its scores; a row with it is done, and drops its last.safetensors
    val.csv             predictions of the scored split, mean over seeds; or out-of-fold.csv
  table.csv, table.md, table.png
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from facer.pipeline.intensity.ablation.report import AblationTable, TableRow, write_table
from facer.pipeline.intensity.ablation.rows import FULL, AblationRow, ablation_rows
from facer.pipeline.intensity.config import AblateConfig, TrainHeadConfig
from facer.pipeline.intensity.fold_plan import plan_trainable
from facer.pipeline.intensity.folds import PREDICTIONS, train_folds
from facer.pipeline.intensity.head_run import (
    absolute_place,
    absolute_places,
    check_unchanged,
    read_run,
)
from facer.pipeline.intensity.labelled import label_notes, read_trainable, split_rows
from facer.pipeline.intensity.scoring.evaluate import OUT_OF_FOLD, evaluate
from facer.pipeline.intensity.sources.joined import open_source
from facer.pipeline.intensity.train import (
    OnNote,
    Training,
    describe,
    tell_scale,
    torch_threads,
    train_head,
)
from facer.pipeline.runtime.executors import make_executor
from facer.stages.intensity.metrics import defined
from facer.stages.intensity.statistics.holm import holm
from facer.stages.intensity.statistics.intervals import Comparison, Interval, compare
from facer.storage import FeatureStore, IntensityLabels, match_clips, read_labels
from facer.storage.errors import FacerError
from facer.storage.files.objects import LocalObjects
from facer.storage.labels.matching import no_match_message
from facer.storage.labels.predictions import Predictions, read_predictions, write_predictions
from facer.storage.layout.documents import read_json_object

SPLIT = "val"
"""What rows are scored on: choosing among rows is model selection, so never on test."""

OnRow = Callable[[str, int, int], None]
"""Called with a row's title, how many rows are done and how many there are."""


@dataclass(frozen=True)
class RowTask:
    """One row's training; runs in a worker."""

    row: AblationRow
    config: TrainHeadConfig


def ablate(
    config: AblateConfig, on_row: OnRow | None = None, on_note: OnNote | None = None
) -> AblationTable:
    """Train and score all rows that are not done yet, and write the tables.

    A row that cannot be trained, because a store lacks its columns, say, has its reason in the
    table and the others go on. Raises FacerError where no row can.
    """
    labels = _check_labels(config)
    tasks = [
        task
        for row in ablation_rows(config.rows, tuple(config.also))
        if (task := _task(row, config)) is not None
    ]
    todo = [task for task in tasks if not _done(task)]
    done = len(tasks) - len(todo)
    errors: dict[str, str] = {}
    if todo and on_note is not None:
        with suppress(FacerError):  # a row that cannot be trained says so in the table
            tell_scale(Training(todo[0].config), on_note)
    executor = make_executor(config.jobs, config.scheduler, tls=config.tls)
    try:
        for task, outcome in executor.map(run_row, todo):
            done += 1
            if outcome is not None:
                errors[task.row.id] = str(outcome).splitlines()[0]
            if on_row is not None:
                on_row(task.row.title, done, len(tasks))
    finally:
        executor.close()
    table = _table(config, labels, errors)
    write_table(table, config.output)
    return table


def _check_labels(config: AblateConfig) -> IntensityLabels:
    """Labels that join the store; all rows would fail otherwise, one by one."""
    store = open_source(config.store, config.streams)
    labels = (
        read_trainable(config.labels, config.reading, store)
        if config.folds is None
        else plan_trainable(read_labels(config.labels, config.reading), config.folds, store)[0]
    )
    if not match_clips(labels, store.clip_ids).pairs:
        raise FacerError(no_match_message(labels, store.clip_ids))
    for path in config.also.values():
        FeatureStore.open(path)
    return labels


def _task(row: AblationRow, config: AblateConfig) -> RowTask | None:
    """What trains a row; None where the store that it needs was not given."""
    if row.other_store is not None and row.other_store not in config.also:
        return None
    training = TrainHeadConfig(
        store=absolute_place(
            config.store if row.other_store is None else config.also[row.other_store]
        ),
        labels=absolute_place(config.labels),
        run=(config.output / "rows" / row.id).absolute(),
        reading=config.reading,
        sequences=row.sequences(config.sequences),
        streams=absolute_places(config.streams),
        fit=row.fit(config.fit),
        cache=config.cache,
        seeds=config.seeds,
        device=config.device,
        resume=True,
        folds=config.folds,
    )
    return RowTask(row, training)


def _done(task: RowTask) -> bool:
    """Whether the row has its scores; FacerError when of other settings, labels or features.

    A row of fewer seeds is not done: the others are added.
    """
    run = task.config.run
    if not (run / "row.json").is_file():
        return False
    check_unchanged(run, describe(task.config))
    return bool(read_run(run).seeds == task.config.seeds)


def run_row(task: RowTask) -> str | None:
    """Train and score one row; the reason where that cannot be done."""
    started = perf_counter()
    run = task.config.run
    try:
        if task.config.folds is not None:
            found = train_folds(task.config).scores
        else:
            train_head(task.config)
            with torch_threads(task.config.threads):
                found = evaluate(run, SPLIT)
    except FacerError as error:
        return str(error)
    if np.isnan(found.mean("pearson")) or found.intervals is None:
        return f"no intensity's labels vary in {found.split}: Pearson is not defined"
    if task.config.folds is None:
        write_predictions(run / "val.csv", "plain", found.label_ids, found.names, found.predictions)
    interval = found.intervals.mean
    result = {
        "n": found.n_scored,
        "pearson": {str(seed): scores.mean("pearson") for seed, scores in found.seeds.items()},
        "pearson_95": None if interval is None else [interval.low, interval.high],
        "by": found.intervals.unit,
        "per_emotion": {k: defined(rho) for k, rho in found.per_emotion("pearson").items()},
        "folds": None if found.folds is None else found.folds.to_json(),
        "seconds": perf_counter() - started,
    }
    LocalObjects(run).put("row.json", json.dumps(result, indent=1).encode())
    for state in run.rglob("last.safetensors"):
        state.unlink()  # a done row does not go on, and these are the largest files of a run
    return None


def _table(
    config: AblateConfig, labels: IntensityLabels, errors: Mapping[str, str]
) -> AblationTable:
    rows = ablation_rows(config.rows, tuple(config.also))
    folder = config.output / "rows"
    against = partial(_against_full, folder=folder, labels=labels)
    found = [_table_row(row, folder / row.id, errors, against) for row in rows]
    full = next((row.by_seed for row in found if row.row.id == FULL), {})
    found = [replace(row, beyond_full=_beyond(row.by_seed, full)) for row in found]
    compared = [row.against.p_value for row in found if row.against is not None]
    corrected = iter(holm(compared))
    return AblationTable(
        names=labels.names,
        split=OUT_OF_FOLD if config.folds else SPLIT,
        seeds=config.seeds,
        notes=("; ".join(labels.facts), *label_notes(labels, split_rows(labels)[0])),
        rows=tuple(
            row if row.against is None else replace(row, p_holm=next(corrected)) for row in found
        ),
    )


def _beyond(ours: Mapping[str, float], full: Mapping[str, float]) -> tuple[float, ...]:
    """A row's mean Pearson less the full model's, seed by seed."""
    return tuple(ours[seed] - full[seed] for seed in ours if seed in full)


def _table_row(
    row: AblationRow,
    run: Path,
    errors: Mapping[str, str],
    against: Callable[[str], Comparison | None],
) -> TableRow:
    path = run / "row.json"
    if row.id in errors or not path.is_file():
        need = f"needs --also {row.other_store}=STORE"
        return TableRow(row, reason=errors.get(row.id, need if row.other_store else "not run"))
    result = read_json_object(path)
    ends = result.get("pearson_95")
    return TableRow(
        row,
        result["pearson"],
        result["n"],
        result["per_emotion"],
        against(row.id),
        interval=None if ends is None else Interval(*ends),
    )


def _against_full(row_id: str, folder: Path, labels: IntensityLabels) -> Comparison | None:
    """A row's mean Pearson less the full model's, on the same clips."""
    if row_id == FULL or not all((folder / name / "row.json").is_file() for name in (row_id, FULL)):
        return None
    paths = [_predictions(folder / name) for name in (row_id, FULL)]
    ours, full = (read_predictions(path) for path in paths)
    row_of = {clip: row for row, clip in enumerate(labels.clip_ids)}
    rows = [row_of[clip] for clip in full.clip_ids]
    subjects = [labels.subjects[i] for i in rows]
    values = [_ordered(table, full) for table in (ours, full)]
    return compare(values[0], values[1], labels.values[rows], subjects)


def _predictions(run: Path) -> Path:
    """Where a done row keeps the predictions that it was scored by."""
    return run / (PREDICTIONS if read_run(run).folds is not None else "val.csv")


def _ordered(table: Predictions, like: Predictions) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Predictions by the other table's ids and names, whatever their order."""
    rows = {clip: i for i, clip in enumerate(table.clip_ids)}
    columns = [table.names.index(name) for name in like.names]
    return table.values[[rows[clip] for clip in like.clip_ids]][:, columns]
