"""Trainings on one cache that are compared: each in a folder of its own, resumable.

DIR/rows/<id>/          the trial's run folder (see facer.pipeline.intensity: train, folds)
  row.json              its scores; a trial with it is done, and drops its last.safetensors
  val.csv               predictions of the scored split, mean over seeds; or out-of-fold.csv
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import (
    AblateConfig,
    EvaluateConfig,
    SweepConfig,
    TrainHeadConfig,
)
from facer.pipeline.intensity.folds.plan import read_planned
from facer.pipeline.intensity.folds.train import train_folds
from facer.pipeline.intensity.head_run import check_unchanged
from facer.pipeline.intensity.scoring.evaluate import evaluate
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.pipeline.intensity.sources.joined import open_source
from facer.pipeline.intensity.train import train_head
from facer.pipeline.intensity.training import OnNote, Training, tell_label_scale, tell_scale
from facer.pipeline.runtime.executors import make_executor
from facer.pipeline.runtime.run_folder import refuse_file
from facer.stages.common.threads import on_threads
from facer.stages.intensity.heads.own import import_head
from facer.stages.intensity.metrics import defined, std_of
from facer.stages.intensity.statistics.intervals import Interval, ends_of
from facer.storage.errors import FacerError, named, one_line
from facer.storage.files.atomic import write_atomic
from facer.storage.files.json_files import read_json_object
from facer.storage.files.regular import open_regular, refuse_url
from facer.storage.labels.challenges import Split
from facer.storage.labels.predictions import write_predictions
from facer.storage.text.typed_json import from_json

SPLIT: Split = "val"
"""What trials are scored on: choosing among them is model selection, so never on test."""

_LINE_BYTES = 1 << 20

OnRow = Callable[[str, int, int], None]
"""Called with a trial's title, how many are done and how many there are."""


@dataclass(frozen=True)
class Trial:
    """One training to compare; runs in a worker."""

    id: str  # its folder
    title: str
    config: TrainHeadConfig


@dataclass(frozen=True)
class TrialScores:
    """A trial's scores over seeds, or the reason why there are none."""

    by_seed: Mapping[str, float] = field(default_factory=dict)  # mean Pearson over emotions
    n: int = 0  # clips scored
    per_emotion: Mapping[str, float | None] = field(default_factory=dict)  # mean over seeds
    interval: Interval | None = None  # 95 % of the mean over seeds, over clips or subjects
    reason: str = ""

    @property
    def pearson(self) -> tuple[float, ...]:
        """Mean over emotions, one a seed."""
        return tuple(self.by_seed.values())

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(self.pearson)) if self.pearson else None

    @property
    def std(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for fewer than two."""
        return std_of(self.pearson)

    @property
    def ends(self) -> Sequence[float | None]:
        """Both ends of the interval; None where there is none."""
        return ends_of(self.interval) or (None, None)

    def figures(self) -> dict[str, Any]:
        """What JSON says of any trial."""
        ends = ends_of(self.interval)
        return {"pearson": self.mean, "std": self.std, "pearson_95": ends, "n": self.n}

    def cells(self) -> list[str]:
        """Mean and deviation, and the interval, as a table shows them; or the reason."""
        if self.mean is None:
            return [self.reason or "not run", ""]
        ends = self.interval
        return [
            f"{self.mean:z.4f}" + ("" if self.std is None else f" ± {self.std:.4f}"),
            "" if ends is None else f"{ends.low:z.4f} to {ends.high:z.4f}",
        ]


@dataclass(frozen=True)
class TrialRecord:
    """What is read of a trial's ``row.json``."""

    n: int
    pearson: Mapping[str, float]  # by seed
    per_emotion: Mapping[str, float | None]
    pearson_95: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.pearson:
            raise FacerError("pearson: found no seed, expected one or more")
        if self.pearson_95 is not None and len(self.pearson_95) != 2:
            raise FacerError(f"pearson_95: found {len(self.pearson_95)} numbers, expected two")


def read_record(run: Path) -> TrialRecord:
    """The scores of a done trial; FacerError for a file that is not there or no such."""
    path = run / "row.json"
    return from_json(TrialRecord, read_json_object(path), str(path), "facer ablate or facer sweep")


def read_scores(run: Path, error: str | None, absent: str = "not run") -> TrialScores:
    """The scores of a trial; the reason is ``error``, or ``absent`` where it was not trained."""
    if error is not None or not (run / "row.json").is_file():
        return TrialScores(reason=error or absent)
    found = read_record(run)
    interval = None
    if found.pearson_95 is not None:
        low, high = found.pearson_95
        interval = Interval(low, high)
    return TrialScores(found.pearson, found.n, found.per_emotion, interval)


def run_trials(
    trials: Sequence[Trial],
    config: AblateConfig | SweepConfig,
    on_row: OnRow | None = None,
    on_note: OnNote | None = None,
) -> dict[str, str]:
    """Train and score the trials that are not done yet; reasons, by id, of those that cannot be.

    FacerError where they would learn other intensities.
    """
    _refuse_other_targets(trials)
    todo = [trial for trial in trials if not is_done(trial)]
    done, errors = len(trials) - len(todo), dict[str, str]()
    if todo and on_note is not None:
        with suppress(Exception):  # a trial that cannot be trained says so in the table
            first = Training(todo[0].config)
            tell_scale(first, on_note)
            fits = [trial.config.fit for trial in todo]
            tell_label_scale(first, [fit.loss for fit in fits if not fit.scale_labels], on_note)
    executor = make_executor(config.jobs, config.scheduler, tls=config.tls)
    try:
        for trial, outcome in executor.map(run_trial, todo):
            done += 1
            if outcome is not None:
                errors[trial.id] = outcome if isinstance(outcome, str) else one_line(outcome)
            if on_row is not None:
                on_row(trial.title, done, len(trials))
    finally:
        executor.close()
    return errors


def _refuse_other_targets(trials: Sequence[Trial]) -> None:
    """``FacerError`` where stores of some trials lack the clips that an intensity is labelled of:
    their mean would be over fewer than the others' that it stands beside.
    """
    sources = {
        (one.store, one.streams.stores, one.streams.lacking): trial
        for trial in trials
        for one in [trial.config]
    }
    names: dict[str, tuple[str, ...]] = {}
    for trial in sources.values():
        one = trial.config
        with suppress(FacerError):  # a trial that cannot be trained says so in the table
            source = open_source(one.store, one.streams)
            names[trial.title] = read_planned(one.labels, one.reading, source, one.folds)[0].names
    every = list(dict.fromkeys(name for its in names.values() for name in its))
    common = [name for name in every if all(name in its for its in names.values())]
    for title, its in names.items():
        if lacking := [name for name in every if name not in its]:
            raise FacerError(
                f"{title}: none of the clips that it can train on has a label of "
                f"{', '.join(lacking)}, which others learn: means over other intensities do not "
                f"compare; expected those that all can learn ({named('targets')} "
                f"{','.join(common) or '...'})"
            )


def is_done(trial: Trial) -> bool:
    """Whether a trial has its scores; FacerError when of other settings, labels or features.

    A trial of fewer seeds is not done: the others are added.
    """
    run = trial.config.run
    if not (run / "row.json").is_file():
        return False
    check_unchanged(run, Training(trial.config).describe())
    return len(read_record(run).pearson) == trial.config.seeds


def run_trial(trial: Trial) -> str | None:
    """Train and score one trial; the reason where that cannot be done."""
    started = perf_counter()
    run = trial.config.run
    try:
        import_head(trial.config.fit.head.name)  # as the user named it where this was sent from
        if trial.config.folds is not None:
            found = train_folds(trial.config).scores
        else:
            train_head(trial.config)
            with on_threads(trial.config.threads):
                found = evaluate(EvaluateConfig(run, SPLIT))
    except FacerError as error:
        return str(error)
    if np.isnan(found.mean("pearson")) or found.intervals is None:
        return f"no intensity's labels vary in {found.split}: Pearson is not defined"
    if trial.config.folds is None:
        write_predictions(run / "val.csv", "plain", found.label_ids, found.names, found.predictions)
    write_result(run, found, perf_counter() - started)
    for state in run.rglob("last.safetensors"):
        state.unlink()  # a done trial does not go on, and these are the largest files of a run
    return None


def write_result(run: Path, found: Evaluation, seconds: float) -> None:
    """Write a trial's ``row.json``, which says that it is done."""
    result = {
        "n": found.n_scored,
        "pearson": {str(seed): scores.mean("pearson") for seed, scores in found.seeds.items()},
        "pearson_95": None if found.intervals is None else ends_of(found.intervals.mean),
        "by": None if found.intervals is None else found.intervals.unit,
        "per_emotion": {k: defined(rho) for k, rho in found.per_emotion("pearson").items()},
        "folds": None if found.folds is None else found.folds.to_json(),
        "seconds": seconds,
    }
    write_atomic(run / "row.json", json.dumps(result, indent=1))


def claim_output(output: Path, command: str, header: str) -> None:
    """``FacerError`` for a folder that holds anything but what this command began there.

    ``header`` is a pattern of the first line of its ``table.csv``.
    """
    refuse_url(output)
    refuse_file(output)
    table, found = output / "table.csv", ""
    if table.exists():
        with open_regular(table, "a csv", str(table)) as file:
            found = file.readline(_LINE_BYTES).decode(errors="replace")
    began = (output / "rows").is_dir() and (not found or re.match(header, found))
    if output.is_dir() and any(output.iterdir()) and not began:
        raise FacerError(
            f"{output}: is there already and was not begun by {command}; use another folder"
        )


def trial_folder(output: Path, trial_id: str) -> Path:
    """Where a trial's run is, in the folder of all."""
    return output / "rows" / trial_id
