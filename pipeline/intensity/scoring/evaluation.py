"""What scoring a run and predicting with it give: figures, tables, what a notebook shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from facer.stages.intensity.metrics import METRICS, Scores, defined, std_of
from facer.stages.intensity.statistics.groups import Groups
from facer.stages.intensity.statistics.intervals import Interval, Intervals, ends_of
from facer.storage.errors import FacerError
from facer.storage.files.regular import refuse_no_path
from facer.storage.labels.options import LabelKind
from facer.storage.labels.predictions import write_predictions
from facer.storage.optional import optional
from facer.storage.schema import F32
from facer.storage.text import notebook
from facer.storage.text.likeness import check_choice

if TYPE_CHECKING:
    import pandas


class EmotionScores(NamedTuple):
    """Scores of one emotion, means over seeds."""

    name: str
    values: dict[str, float]  # by metric; nan where not defined
    interval: Interval | None  # 95 % of Pearson
    n: int  # clips with a label


@dataclass(frozen=True)
class Evaluation:
    """Scores of a run on one split; predictions are the mean over seeds.

    Two figures, each with intervals of its own: the mean of the seeds' scores, and the score of
    the seeds' mean prediction (``ensemble``). nan where a figure is not defined.
    """

    split: str
    names: tuple[str, ...]
    label_ids: tuple[str, ...]  # (n,)
    subjects: tuple[str, ...]  # (n,)
    targets: F32  # (n, E), NaN = absent
    predictions: F32  # (n, E)
    status: tuple[str, ...]  # (n,) ok, or why there are no features (see LabelTable)
    n_scored: int  # of them, clips with a label
    n_filled: int  # clips without features: the mean prediction on train stands in
    calibrate: str  # what the calibration was fitted on: train, val or none
    by_seed: dict[int, F32]  # predictions of each seed alone, (n, E)
    seeds: dict[int, Scores]  # of each seed alone; empty where the split has no labels
    intervals: Intervals | None  # of the mean over seeds
    ensemble: Scores | None  # of the mean prediction
    ensemble_intervals: Intervals | None
    n_seeds_wanted: int = 0  # that the run was to train
    features_changed: bool = False  # the run's own store has other features now
    notes: tuple[str, ...] = ()  # what to know of the labels
    folds: Groups | None = None  # of a run of folds: the scores of each fold's held-out clips
    fold_rule: str = ""  # how the clips were divided
    by: Groups | None = None  # scores within the values of a column of the labels
    label_files: tuple[str, ...] = ()  # that the labels were read from

    @property
    def n_seeds(self) -> int:
        """Seeds whose predictions are averaged."""
        return len(self.by_seed)

    def write(self, path: str | Path, form: LabelKind = "plain", brackets: bool = True) -> None:
        """Write the predictions as csv; see :func:`write_predictions`.

        A challenge's labels and predictions can look alike: FacerError for the run's labels.
        """
        refuse_no_path("path", path)
        path = Path(path)
        if path.exists() and any(Path(file).samefile(path) for file in self.label_files):
            raise FacerError(f"{path}: found the labels there, expected another name")
        ids, names = self.label_ids, self.names
        write_predictions(path, form, ids, names, self.predictions, brackets, self.status)

    def mean(self, metric: str) -> float:
        """Mean over seeds of the mean over emotions."""
        return float(np.mean([scores.mean(metric) for scores in self.seeds.values()]))

    def std(self, metric: str) -> float:
        """Standard deviation over seeds (n - 1); nan for fewer than two."""
        found = std_of([scores.mean(metric) for scores in self.seeds.values()])
        return np.nan if found is None else found

    def per_emotion(self, metric: str) -> dict[str, float]:
        """Mean over seeds of one metric of each emotion; nan where it is not defined."""
        check_choice("metric", metric, METRICS)
        values = np.mean([getattr(scores, metric) for scores in self.seeds.values()], axis=0)
        return dict(zip(self.names, values.tolist(), strict=True))

    @property
    def constant(self) -> tuple[str, ...]:
        """Emotions that some seed predicts as one and the same value."""
        found = {name for scores in self.seeds.values() for name in scores.constant}
        return tuple(name for name in self.names if name in found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        found = []
        if names := ", ".join(name for name in self.constant if name not in self.not_defined):
            found.append(f"one and the same prediction for {names}; scored as 0")
        if self.not_defined:
            names = ", ".join(self.not_defined)
            found.append(
                f"all labels of {names} in {self.split} are one value: correlations are not "
                "defined there, and their means are those of the others"
            )
        if all(self.subjects) and len(set(self.subjects)) == 1 < self.n_scored:
            found.append(
                f"all clips of {self.split} are of one subject: the intervals are over that "
                "person's clips and say nothing of other people"
            )
        if self.calibrate == self.split == "val":
            found.append("the calibration was fitted on val: CCC and MSE of val flatter the run")
        return (*found, *self.not_as_trained, *self.notes)

    @property
    def not_as_trained(self) -> tuple[str, ...]:
        """What the run lacks of its training, and what has changed since."""
        found = []
        if self.n_seeds < self.n_seeds_wanted:
            found.append(f"{self.n_seeds} of {self.n_seeds_wanted} seeds have finished")
        if self.features_changed:
            found.append("the store's features are not those that the run was trained on")
        return tuple(found)

    @property
    def not_defined(self) -> tuple[str, ...]:
        """Emotions whose labels in the split are one value: no correlation, and in no mean."""
        return self.ensemble.not_defined if self.ensemble is not None else ()

    def to_json(self) -> dict[str, Any]:
        """As ``facer evaluate --json`` prints it; null where the split has no labels."""
        result: dict[str, Any] = {
            "split": self.split,
            "n": self.n_scored,
            "n_predicted": len(self.label_ids),
            "n_filled_with_train_mean": self.n_filled,
            "seeds": self.n_seeds,
            "calibrated_on": self.calibrate,
            "mean": None,
            "per_emotion": None,
            "warnings": list(self.warnings),
        }
        if self.ensemble is None or self.intervals is None or self.ensemble_intervals is None:
            return result
        mean = {metric: defined(self.mean(metric)) for metric in METRICS}
        return {
            **result,
            "mean": mean | {"pearson_95": ends_of(self.intervals.mean)},
            "std_over_seeds": {metric: defined(self.std(metric)) for metric in METRICS},
            "ensemble": _ensemble_json(self.ensemble, self.ensemble_intervals),
            "per_emotion": {
                one.name: {metric: defined(value) for metric, value in one.values.items()}
                | {"pearson_95": ends_of(one.interval), "n": one.n}
                for one in self.emotions
            },
            **({"folds": {"rule": self.fold_rule, **self.folds.to_json()}} if self.folds else {}),
            **({"by": self.by.to_json()} if self.by else {}),
            "constant": list(self.constant),
            "not_defined": list(self.not_defined),
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the scores as a table, a row an emotion, without rows where there are no labels.

        Columns: the metrics, means over seeds; ``pearson_low`` and ``pearson_high``, the ends of
        Pearson's 95 % interval; ``n``, the clips with a label. Raises FacerError without pandas.
        """
        module = optional("pandas")
        rows = [
            [*one.values.values(), *(ends_of(one.interval) or [np.nan, np.nan]), one.n]
            for one in self.emotions
        ]
        index = module.Index([one.name for one in self.emotions], name="emotion", dtype=object)
        header = [*METRICS, "pearson_low", "pearson_high", "n"]
        table: pandas.DataFrame = module.DataFrame(rows, index, header)
        return table

    @property
    def emotions(self) -> list[EmotionScores]:
        """Scores of each emotion; none where the split has no labels."""
        if self.ensemble is None or self.intervals is None:
            return []
        columns = {metric: self.per_emotion(metric) for metric in METRICS}
        rows = zip(self.names, self.intervals.per_emotion, self.ensemble.n.tolist(), strict=True)
        return [
            EmotionScores(name, {metric: columns[metric][name] for metric in METRICS}, interval, n)
            for name, interval, n in rows
        ]

    def __repr__(self) -> str:
        return f"<Evaluation {self._summary()}>"

    def _repr_html_(self) -> str:
        rows = [
            [one.name, *map(notebook.figure, one.values.values()), one.n] for one in self.emotions
        ]
        return notebook.table(self._summary(), ["emotion", *METRICS, "n"], rows)

    def _summary(self) -> str:
        rho = notebook.figure(self.mean("pearson")) if self.seeds else ""
        mean = f"mean Pearson {rho}" if rho else "no labels"
        return f"{self.split}: {len(self.label_ids)} clips, {self.n_seeds} seed(s), {mean}"


def _ensemble_json(scores: Scores, ends: Intervals) -> dict[str, Any]:
    """The score of the seeds' mean prediction, as JSON."""
    emotions = zip(scores.names, scores.pearson, ends.per_emotion, strict=True)
    return {
        "pearson": defined(scores.mean("pearson")),
        "pearson_95": ends_of(ends.mean),
        "by": ends.unit,
        "n_units": ends.n_units,
        "method": ends.method,
        "per_emotion": {
            name: {"pearson": defined(rho), "pearson_95": ends_of(interval)}
            for name, rho, interval in emotions
        },
    }


@dataclass(frozen=True)
class Prediction:
    """Intensities of clips without labels.

    - ``names`` (E,), ``clip_ids`` (C,), ``values`` (C, E)
    - ``status`` (C,): ok; no_face, no_sound, no_stream and no_features have stand-in values
    - ``failed``: videos that could not be read, and why
    """

    names: tuple[str, ...]
    clip_ids: tuple[str, ...]
    values: F32
    status: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As ``facer predict --json`` prints it."""
        rows = zip(self.clip_ids, self.values.tolist(), strict=True)
        return {
            "predictions": {clip: dict(zip(self.names, row, strict=True)) for clip, row in rows},
            "without_face": list(self.without_face),
            "status": dict(zip(self.clip_ids, self.status, strict=True)),
            "failed": dict(self.failed),
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a table with a row a clip: clip_id, status, and the intensities by name.

        A video that could not be read has status ``failed`` and NaN. Raises FacerError without
        pandas, and for an intensity that is called ``clip_id`` or ``status``.
        """
        module = optional("pandas")
        if taken := {"clip_id", "status"} & {*self.names}:
            raise FacerError(f"found intensities named {', '.join(taken)}, a name of the table")
        absent = np.full((len(self.failed), len(self.names)), np.nan, np.float32)
        beside = {
            "clip_id": [*self.clip_ids, *self.failed],
            "status": [*self.status, *["failed"] * len(self.failed)],
        }
        values = module.DataFrame(np.concatenate([self.values, absent]), columns=list(self.names))
        frame = module.concat([module.DataFrame(beside, dtype=object), values], axis=1)
        table: pandas.DataFrame = frame
        return table

    def __repr__(self) -> str:
        return f"<Prediction {self._summary()}>"

    def _repr_html_(self) -> str:
        table = zip(self.clip_ids, self.status, self.values, strict=True)
        rows = [[clip, status, *(f"{v:.3f}" for v in row)] for clip, status, row in table]
        rows += [[clip, f"failed: {reason}"] for clip, reason in self.failed.items()]
        return notebook.table(self._summary(), ["clip_id", "status", *self.names], rows)

    def _summary(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{', '.join(self.names)} of {len(self.clip_ids)} clips{failed}"

    @property
    def without_face(self) -> tuple[str, ...]:
        """Clips without any face, or any sound."""
        pairs = zip(self.clip_ids, self.status, strict=True)
        return tuple(clip for clip, status in pairs if status in ("no_face", "no_sound"))
