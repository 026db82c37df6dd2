"""Cross-validation: a head for every fold, each scored on clips that it never saw.

RUN/
  config.json        as of facer train-head, with the folds
  folds.csv          which fold holds which clip out
  out-of-fold.csv    predictions of every clip by the fold that holds it out, mean over seeds
  fold-<k>/          a run of facer train-head, whose test split is what the fold holds out
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facer.pipeline.intensity.config import EvaluateConfig, TrainHeadConfig
from facer.pipeline.intensity.folds.plan import crossing
from facer.pipeline.intensity.head_run import check_same_data, fold_folder, open_run
from facer.pipeline.intensity.scoring.evaluate import evaluate
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.pipeline.intensity.seeds import draw_curves
from facer.pipeline.intensity.train import TrainHeadResult, run_all, training_result
from facer.pipeline.intensity.training import OnNote, Training, tell
from facer.stages.common.threads import on_threads
from facer.stages.intensity.fit import EpochRow
from facer.storage.files.atomic import write_atomic

PREDICTIONS = "out-of-fold.csv"

OnFoldEpoch = Callable[[int, int, EpochRow, int], None]
"""Called with fold, seed, the epoch's row and the number of epochs at most."""


@dataclass(frozen=True)
class FoldsResult:
    """What a cross-validation made."""

    run: Path
    rule: str  # how the clips were divided
    n_rows: int  # labelled clips that take part
    crossing: tuple[str, ...]  # subjects whose clips are in several folds
    folds: tuple[TrainHeadResult, ...]
    scores: Evaluation  # of the held-out clips, pooled and by fold

    @property
    def predictions(self) -> Path:
        """Predictions of every clip by the fold that holds it out."""
        return self.run / PREDICTIONS

    def to_json(self) -> dict[str, Any]:
        """As ``facer train-head --folds K --json`` prints it."""
        return {
            "run": self.run,
            "rule": self.rule,
            "n_rows": self.n_rows,
            "crossing": self.crossing,
            "predictions": self.predictions,
            "scores": self.scores,
        }


def train_folds(
    config: TrainHeadConfig, on_epoch: OnFoldEpoch | None = None, on_note: OnNote | None = None
) -> FoldsResult:
    """Train all seeds of all folds; ``resume`` goes on where it stopped.

    A fold's training sees neither labels nor features of what it holds out: the epoch is chosen
    on a validation split of whole units within its training part, and the calibration and the
    inputs' scale come from there too. Raises FacerError where a fold has nothing to learn or to
    validate on.
    """
    with on_threads(config.threads):
        whole = Training(config)
        assert whole.plan is not None
        record = whole.describe()
        if config.repeats is not None:
            check_same_data(config.repeats, record)
        tell(whole, on_note)
        trainings = [whole.of_fold(fold) for fold in range(whole.plan.n_folds)]
        open_run(config.run, record, config.resume)
        write_atomic(config.run / "folds.csv", whole.plan.as_csv())
        for training in trainings:
            training.open(training.describe(), resume=True)
        number = {fold_folder(config.run, fold): fold for fold in range(len(trainings))}
        report = None if on_epoch is None else lambda run, *rest: on_epoch(number[run], *rest)
        curves = run_all(trainings, report)
    for run, found in curves.items():
        draw_curves(run / "curve.png", found)
    with on_threads(config.threads):
        scores = evaluate(EvaluateConfig(config.run))
    scores.write(config.run / PREDICTIONS)
    return FoldsResult(
        run=config.run,
        rule=whole.plan.rule,
        n_rows=int((whole.plan.fold_of >= 0).sum()),
        crossing=crossing(whole.labels, whole.plan),
        folds=tuple(training_result(one, curves[one.config.run]) for one in trainings),
        scores=scores,
    )
