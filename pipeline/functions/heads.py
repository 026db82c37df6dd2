"""Functions of heads: evaluate, predict, score, ablate, sweep, finetune, export_head."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from facer.pipeline.endtoend.config import FinetuneConfig
from facer.pipeline.endtoend.finetune import FinetuneResult
from facer.pipeline.endtoend.finetune import finetune as tune
from facer.pipeline.functions.keywords import keywords
from facer.pipeline.intensity.ablation.ablate import ablate as run_rows
from facer.pipeline.intensity.ablation.report import AblationTable
from facer.pipeline.intensity.config import (
    EvaluateConfig,
    ExportHeadConfig,
    FuseConfig,
    PredictConfig,
    ScoreConfig,
)
from facer.pipeline.intensity.export import ExportHeadResult
from facer.pipeline.intensity.export import export_head as export_run
from facer.pipeline.intensity.predict import predict_videos
from facer.pipeline.intensity.run import Run, import_named_head
from facer.pipeline.intensity.scoring.compare import RunComparison, compare_runs
from facer.pipeline.intensity.scoring.evaluate import evaluate as evaluate_run
from facer.pipeline.intensity.scoring.evaluation import Evaluation, Prediction
from facer.pipeline.intensity.scoring.fuse import FusionResult
from facer.pipeline.intensity.scoring.fuse import fuse as fuse_runs
from facer.pipeline.intensity.scoring.score import ScoreResult, score_files
from facer.pipeline.intensity.sweep.space import read_space
from facer.pipeline.intensity.sweep.sweep import sweep as run_sweep
from facer.pipeline.intensity.sweep.table import SweepTable
from facer.pipeline.runtime.epochs import ablation_row, both, joint_epoch
from facer.pipeline.runtime.places import Place, opened, place_of
from facer.pipeline.runtime.progress import StepCounter, log, progress_bar
from facer.pipeline.settings.commands import (
    ABLATE,
    EVALUATE,
    EXPORT_HEAD,
    FINETUNE,
    FUSE,
    PREDICT,
    SCORE,
    SWEEP,
)
from facer.pipeline.settings.configs import (
    ablate_config,
    extract_config,
    label_options,
    sweep_config,
)
from facer.pipeline.settings.table import make
from facer.stages.intensity.heads.own import import_head
from facer.storage import FeatureStore
from facer.storage.errors import OptionError, named
from facer.storage.text.names import items_of


def _folder(run: Run | Place) -> Path:
    return run.path if isinstance(run, Run) else Run(run).path


@overload
def evaluate(
    run: Run | Place, split: str | None = None, *, against: None = None, **settings: Any
) -> Evaluation: ...
@overload
def evaluate(
    run: Run | Place, split: str | None = None, *, against: Run | Place, **settings: Any
) -> RunComparison: ...
@keywords(EVALUATE)
def evaluate(
    run: Run | Place, split: str | None = None, **settings: Any
) -> Evaluation | RunComparison:
    """Score a run: Pearson, Spearman, CCC, MSE and MAE per emotion, with intervals.

    ``split`` is train, val (the default) or test; a run of folds has none. ``against`` is another
    run to compare with on the same clips: then the scores of both, and the difference. ``with_``
    says where joined stores are now, ``head`` names the class of a head that is not facer's. Raises
    FacerError for a folder that holds no run, and where labels or store are gone.
    """
    import_named_head(settings)
    config = make(
        EvaluateConfig, settings, _folder(run), split=split, reading=label_options(settings)
    )
    if config.against is None:
        return evaluate_run(config)
    return compare_runs(config, config.against)


@keywords(PREDICT)
def predict(
    run: Run | Place, videos: Place, *, progress: bool = False, **settings: Any
) -> Prediction:
    """Predict the intensities of a video or a folder of videos; failed ones are in ``.failed``.

    Keywords are those of :func:`facer.extract`, as the run's own store was made, ``store`` to keep
    the features and ``pictures``, a folder for a picture a clip. Raises FacerError where no clip
    can be extracted, and for other features than the run's.
    """
    import_named_head(settings)
    config = make(
        PredictConfig, settings, _folder(run), Path(videos), extract=extract_config(settings)
    )
    with progress_bar(progress) as to:
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


@keywords(FUSE)
def fuse(runs: Sequence[Run | Place], **settings: Any) -> FusionResult:
    """Fuse runs late: their predictions on the same clips, averaged, with scores and intervals.

    ``weights`` are equal, or for each intensity those that fit the labels of val. Each run is
    compared with the fusion. Raises FacerError for runs that were scored on other clips.
    """
    reading = label_options(settings)
    several = (runs,) if isinstance(runs, Run | str | os.PathLike) else items_of("runs", runs)
    return fuse_runs(make(FuseConfig, settings, tuple(map(_folder, several)), reading=reading))


@keywords(ABLATE)
def ablate(
    store: FeatureStore | Place, labels: Place, output: Place, *,
    also: Mapping[str, FeatureStore | Place] | None = None, progress: bool = False, **settings: Any,
) -> AblationTable:  # fmt: skip
    """Train the rows of the paper's tables on one store; the same call resumes them.

    ``also`` are other stores by name, for rows that need one. Rows that fail are in ``.failed``.
    """
    if not isinstance(also, Mapping | None):
        raise OptionError(f"{named('also')}: found {also!r}, expected stores by name")
    others = {name: opened(other).path for name, other in (also or {}).items()}
    config = ablate_config(
        place_of(store) or "", os.fspath(labels), Path(output), {**settings, "also": others}
    )
    return run_rows(config, ablation_row, log) if progress else run_rows(config)


@keywords(SWEEP)
def sweep(
    store: FeatureStore | Place, labels: Place, output: Place, *,
    set: Mapping[str, Any] | Sequence[str] = (), progress: bool = False, **settings: Any,
) -> SweepTable:  # fmt: skip
    """Try settings of a head's training on one store, and choose by val; the same call resumes.

    ``set`` are values by setting, such as ``{"learning_rate": [1e-4, 1e-3]}``, or texts as
    ``--set`` takes them; other keywords are those of :func:`facer.train_head`, the same in all
    trials. Every combination is trained, or ``trials`` drawn at random. ``.best`` is the trial with
    the highest mean Pearson on val; test is never looked at. Trials that fail are in ``.failed``;
    raises FacerError where all do.
    """
    space = read_space(set)
    for name in (settings["head"], *space.get("head", ())):
        import_head(name)
    config = sweep_config(place_of(store) or "", os.fspath(labels), Path(output), space, settings)
    return run_sweep(config, ablation_row, log) if progress else run_sweep(config)


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
    import_named_head(settings)
    config = make(
        FinetuneConfig, settings, _folder(run), Path(video_dir), output=Path(output),
        reading=label_options(settings),
    )  # fmt: skip
    line = joint_epoch(config.epochs) if progress else None
    return tune(config, both(line, on_epoch), StepCounter() if progress else None)


@keywords(EXPORT_HEAD)
def export_head(run: Run | Place, output: Place, **settings: Any) -> ExportHeadResult:
    """Write the head of a run as ONNX, alone or with REC (``rec``), checked against torch.

    Raises FacerError, and writes nothing, where the two differ.
    """
    import_named_head(settings)
    return export_run(make(ExportHeadConfig, settings, _folder(run), Path(output)))
