"""facer: cached facial affect features, and light heads trained on them.

What a command does, Python does with the same words; names are loaded when they are first used:

- :func:`extract`, :func:`open_store`, :class:`FeatureStore`: videos to a store, and reading it;
  :func:`extract_audio`: their sound.
- A function for each other command: :func:`evaluate`, :func:`predict`, :func:`status` and so on.
- :func:`train_head`, :func:`open_run`, :class:`Run`: a store and labels to a run, and its scores.
- :func:`design`, :func:`summarise`, :func:`compare`, :func:`figure`, :func:`methods`: a lab's
  tables, two stores side by side, figures, and the paragraph for the paper. :func:`view`: marking
  by eye.
- :class:`Head`: a head of one's own for ``train_head(head="package.module:Class")``.
- :class:`ClipDataset`: a store and labels for a PyTorch model of one's own.
- :func:`load_rec`: REC on crops. :class:`FacerError`: every problem that facer explains.

The map, top to bottom; imports run in this direction only:

- ``facer.cli``: the entry point and exit codes.
- ``facer.pipeline.commands``: options become a config and one call.
- ``facer.pipeline``: ``X`` runs what ``facer.stages.X`` computes: many clips, many seeds, folders;
  ``runtime`` is executors, progress and run folders, ``views`` is what people look at.
- ``facer.stages``: pure computation, arrays in, arrays out.

  - ``features``: stage one, a file per step: decode, detect, refine, track, align, rec, extractor;
    ``audio``: the same for sound.
  - ``affect`` and ``detection``: how REC and the face detector are trained.
  - ``intensity``: stage two: sequences, heads, losses, metrics, kernels, fit.
  - ``summary``: sequences become a lab's tables.
  - ``endtoend``: REC and head as one model. ``synthesis``: the demo's clips.
- ``facer.storage``: the contract between the stages: schema, store, labels, exchange, files.

Settings are fields of the dataclasses in ``config.py`` beside the code that they drive.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# onnxruntime tells its maker what it runs, and keeps files in the cache and in TMPDIR for that; it
# looks at the variable once, when it is imported, by insightface too
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from facer.pipeline.functions.extraction import extract as extract
    from facer.pipeline.functions.extraction import extract_audio as extract_audio
    from facer.pipeline.functions.extraction import load_rec as load_rec
    from facer.pipeline.functions.heads import ablate as ablate
    from facer.pipeline.functions.heads import evaluate as evaluate
    from facer.pipeline.functions.heads import export_head as export_head
    from facer.pipeline.functions.heads import finetune as finetune
    from facer.pipeline.functions.heads import fuse as fuse
    from facer.pipeline.functions.heads import predict as predict
    from facer.pipeline.functions.heads import score as score
    from facer.pipeline.functions.heads import sweep as sweep
    from facer.pipeline.functions.models import bench as bench
    from facer.pipeline.functions.models import demo as demo
    from facer.pipeline.functions.models import evaluate_detector as evaluate_detector
    from facer.pipeline.functions.models import evaluate_rec as evaluate_rec
    from facer.pipeline.functions.models import export_rec as export_rec
    from facer.pipeline.functions.models import models as models
    from facer.pipeline.functions.models import train_detector as train_detector
    from facer.pipeline.functions.models import train_points as train_points
    from facer.pipeline.functions.models import train_rec as train_rec
    from facer.pipeline.functions.runs import open_run as open_run
    from facer.pipeline.functions.runs import train_head as train_head
    from facer.pipeline.functions.store import check as check
    from facer.pipeline.functions.store import compact as compact
    from facer.pipeline.functions.store import export as export
    from facer.pipeline.functions.store import health as health
    from facer.pipeline.functions.store import import_ as import_
    from facer.pipeline.functions.store import status as status
    from facer.pipeline.functions.store import verify as verify
    from facer.pipeline.functions.study import compare as compare
    from facer.pipeline.functions.study import design as design
    from facer.pipeline.functions.study import methods as methods
    from facer.pipeline.functions.study import summarise as summarise
    from facer.pipeline.functions.views import annotate as annotate
    from facer.pipeline.functions.views import figure as figure
    from facer.pipeline.functions.views import picture as picture
    from facer.pipeline.functions.views import report as report
    from facer.pipeline.functions.views import view as view
    from facer.pipeline.intensity.dataset import ClipDataset as ClipDataset
    from facer.pipeline.intensity.run import Run as Run
    from facer.stages.intensity.config import HeadConfig as HeadConfig
    from facer.stages.intensity.heads.base import Head as Head
    from facer.stages.intensity.heads.base import HeadShape as HeadShape
    from facer.stages.intensity.kernels.batches import Batch as Batch
    from facer.storage.errors import FacerError as FacerError
    from facer.storage.store import FeatureStore as FeatureStore
    from facer.storage.store import open_store as open_store

    __version__: str

_NAMES = {
    "pipeline.functions.extraction": "extract extract_audio load_rec",
    "pipeline.functions.heads": "ablate evaluate export_head finetune fuse predict score sweep",
    "pipeline.functions.models": (
        "bench demo evaluate_detector evaluate_rec export_rec models train_detector train_points "
        "train_rec"
    ),
    "pipeline.functions.runs": "open_run train_head",
    "pipeline.functions.store": "check compact export health import_ status verify",
    "pipeline.functions.study": "compare design methods summarise",
    "pipeline.functions.views": "annotate figure picture report view",
    "pipeline.intensity.dataset": "ClipDataset",
    "pipeline.intensity.run": "Run",
    "stages.intensity.config": "HeadConfig",
    "stages.intensity.heads.base": "Head HeadShape",
    "stages.intensity.kernels.batches": "Batch",
    "storage.errors": "FacerError",
    "storage.store": "FeatureStore open_store",
}
_LAZY = {name: f"facer.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> object:
    """Load a public name at its first use (PEP 562)."""
    if name == "__version__":
        return _version()
    if name not in _LAZY:
        from facer.storage.text.likeness import did_you_mean

        raise AttributeError(f"module 'facer' has no attribute {name!r}{did_you_mean(name, _LAZY)}")
    found = getattr(import_module(_LAZY[name]), name)
    globals()[name] = found
    return found


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("facer")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
