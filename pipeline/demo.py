"""The whole of facer on small clips that it makes itself."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import ExtractSummary, extract_folder
from facer.pipeline.intensity.config import EvaluateConfig, TrainHeadConfig
from facer.pipeline.intensity.scoring.evaluate import evaluate
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.pipeline.intensity.train import TrainHeadResult, train_head
from facer.pipeline.intensity.training import OnEpoch
from facer.pipeline.runtime.progress import Progress
from facer.pipeline.views.clip_picture import draw_clip
from facer.stages.features.config import ExtractConfig
from facer.stages.intensity.config import FitConfig
from facer.stages.synthesis.plan import SynthesisConfig
from facer.stages.synthesis.write import write_clips
from facer.storage import FeatureStore, read_labels
from facer.storage.errors import FacerError
from facer.storage.files.regular import refuse_url

_LEARNING_RATE = 1e-3  # a few short clips: the paper's 1e-4 would need many more steps
_EPOCHS = 60
_SEEDS = 3  # one alone may score much less on eight clips


@dataclass(frozen=True)
class DemoResult:
    """What the demo left behind, and what came out."""

    folder: Path
    labels: Path
    summary: ExtractSummary
    training: TrainHeadResult
    test: Evaluation
    picture: Path


def run_demo(
    folder: Path, progress: Progress | None = None, on_epoch: OnEpoch | None = None
) -> DemoResult:
    """Make clips, extract, train a head, score it on held-out clips, draw one clip.

    ``FacerError`` when the folder holds something already.
    """
    refuse_url(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FacerError(f"{folder}: exists and is not empty; give a new folder")
    labels = write_clips(SynthesisConfig(), folder)
    store = str(folder / "features.zarr")
    same_everywhere = ExtractConfig(precision="float32")
    summary = extract_folder(ExtractRunConfig(folder / "clips", store, same_everywhere), progress)
    fit = FitConfig(learning_rate=_LEARNING_RATE, epochs=_EPOCHS)
    trained = TrainHeadConfig(store, str(labels), folder / "run", fit=fit, seeds=_SEEDS)
    training = train_head(trained, on_epoch)
    picture, scores = folder / "clip.png", evaluate(EvaluateConfig(folder / "run", "test"))
    opened = FeatureStore.open(store)
    draw_clip(opened, _telling_clip(opened, labels), folder / "clips", picture)
    return DemoResult(folder, labels, summary, training, scores, picture)


def _telling_clip(store: FeatureStore, labels: Path) -> str:
    """The held-out clip in which happiness changes most: there is something to see in it."""
    table = read_labels(labels)
    test = [c for c, split in zip(table.clip_ids, table.splits, strict=True) if split == "test"]
    found = store.load(test, ["happiness"])
    spans = [found.features[a:b] for a, b in itertools.pairwise(found.offsets)]
    return test[int(np.argmax([np.nanmax(span) - np.nanmin(span) for span in spans]))]
