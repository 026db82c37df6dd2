"""Functions of heads: evaluate, predict, score, ablate, finetune, export_head."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from facer.pipeline.endtoend.config import FinetuneConfig
from facer.pipeline.endtoend.finetune import FinetuneResult
from facer.pipeline.endtoend.finetune import finetune as tune
from facer.pipeline.functions.keywords import keywords
from facer.pipeline.intensity.ablation.ablate import ablate as run_rows
from facer.pipeline.intensity.ablation.report import AblationTable
from facer.pipeline.intensity.config import ExportHeadConfig, PredictConfig, ScoreConfig
from facer.pipeline.intensity.export import ExportHeadResult
from facer.pipeline.intensity.export import export_head as export_run
from facer.pipeline.intensity.predict import predict_videos
from facer.pipeline.intensity.run import Place, Run, Streams, place_of, stores_of, told
from facer.pipeline.intensity.scoring.compare import RunComparison, compare_runs
from facer.pipeline.intensity.scoring.evaluate import evaluate as evaluate_run
from facer.pipeline.intensity.scoring.evaluation import Evaluation, Prediction
from facer.pipeline.intensity.scoring.score import ScoreResult, score_files
from facer.pipeline.runtime.epochs import ablation_row, both, joint_epoch
from facer.pipeline.runtime.progress import StepCounter, log
from facer.pipeline.settings import (
    ABLATE,
    EXPORT_HEAD,
    FINETUNE,
    LABELS,
    PREDICT,
    SCORE,
    ablate_config,
    extract_config,
    label_options,
    make,
)
from facer.storage import FeatureStore


def _folder(run: Run | Place) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


@keywords(LABELS)
def evaluate(
    run: Run | Place, split: str | None = None, *, labels: Place | None = None,
    store: FeatureStore | Place | None = None, by: str | None = None,
    against: Run | Place | None = None, with_: Streams = (), **settings: Any,
) -> Evaluation | RunComparison:  # fmt: skip
    """Score a run: Pearson, Spearman, CCC, MSE and MAE per emotion, with intervals.

    ``split`` is train, val (the default) or test; a run of folds has none. ``against`` is another
    run to compare with on the same clips: then the scores of both, and the difference. ``with_``
    says where joined stores are now. Raises
    FacerError for a folder that holds no run, and where labels or store are gone.
    """
    file = None if labels is None else os.fspath(labels)
    more = (split, file, place_of(store), label_options(settings), by, stores_of(with_))
    if against is None:
        return evaluate_run(_folder(run), *more)
    return compare_runs(_folder(run), _folder(against), *more)


@keywords(PREDICT)
def predict(
    run: Run | Place, videos: Place, *, progress: bool = False, **settings: Any
) -> Prediction:
    """Predict the intensities of a video or a folder of videos; failed ones are in ``.failed``.

    Keywords are those of :func:`facer.extract`, as the run's own store was made, ``store`` to keep
    the features and ``pictures``, a folder for a picture a clip. Raises FacerError where no clip
    can be extracted, and for other features than the run's.
    """
    config = make(
        PredictConfig, settings, _folder(run), Path(videos), extract=extract_config(settings)
    )
    with told(progress) as to:
        found, summary = predict_videos(config, to)
    return replace(found, failed={r.clip_id: r.reason for r in summary.failed})


@keywords(SCORE)
def score(file: Place, labels: Place, **settings: Any) -> ScoreResult:
    """Score a file of predictions: a row a clip, a column for each intensity of the labels.

    ``against`` is another file to compare with on the same clips. Raises FacerError for a file
    that cannot be read, and where no id joins.
    """
    reading = label_options(settings)
    return score_files(make(ScoreConfig, settings, Path(file), os.fspath(labels), reading=reading))


@keywords(ABLATE)
def ablate(
    store: FeatureStore | Place, labels: Place, output: Place, *,
    also: Mapping[str, str] | None = None, progress: bool = False, **settings: Any,
) -> AblationTable:  # fmt: skip
    """Train the rows of the paper's tables on one store; the same call resumes them.

    ``also`` are other stores by name, for rows that need one. Rows that fail are in ``.failed``.
    """
    config = ablate_config(
        place_of(store) or "", os.fspath(labels), Path(output), {**settings, "also": also or {}}
    )
    return run_rows(config, ablation_row, log) if progress else run_rows(config)


@keywords(FINETUNE)
def finetune(
    run: Run | Place, video_dir: Place, output: Place, *, progress: bool = False,
    on_epoch: Callable[..., None] | None = None, **settings: Any,
) -> FinetuneResult:  # fmt: skip
    """Train REC and a head end to end on the videos of the head's store.

    ``output`` is a new folder for the new REC and the new head; ``on_epoch(row)`` is called after
    each epoch with its row of the learning curve. Raises FacerError where the
    videos, the store or the weights are not those of the run.
    """
    config = make(
        FinetuneConfig, settings, _folder(run), Path(video_dir), Path(output),
        reading=label_options(settings),
    )  # fmt: skip
    line = joint_epoch(config.epochs) if progress else None
    return tune(config, both(line, on_epoch), StepCounter() if progress else None)


@keywords(EXPORT_HEAD)
def export_head(run: Run | Place, output: Place, **settings: Any) -> ExportHeadResult:
    """Write the head of a run as ONNX, alone or with REC (``rec``), checked against torch.

    Raises FacerError, and writes nothing, where the two differ.
    """
    return export_run(make(ExportHeadConfig, settings, _folder(run), Path(output)))
