"""The settings of each command, which are those of its function in Python."""

from __future__ import annotations

from facer.pipeline.affect.config import EvaluateRecConfig, TrainRecConfig
from facer.pipeline.endtoend.config import FinetuneConfig
from facer.pipeline.features.config import (
    BenchConfig,
    CompactConfig,
    ExtractRunConfig,
    FacesFile,
    HealthConfig,
    VerifyConfig,
)
from facer.pipeline.intensity.config import (
    AblateConfig,
    EvaluateConfig,
    ExportHeadConfig,
    FoldConfig,
    FuseConfig,
    PredictConfig,
    ScoreConfig,
    SweepConfig,
    TrainHeadConfig,
)
from facer.pipeline.runtime.tls import TlsFiles
from facer.pipeline.settings.table import Table
from facer.pipeline.summary.config import CompareConfig, ExportConfig, StudyFiles, TablesConfig
from facer.pipeline.views.figure.config import FigureConfig
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.view.config import ViewConfig
from facer.stages.affect.config import AlignConfig, RecFitConfig
from facer.stages.detection.config import DetectorTrainConfig, EvaluationConfig, RefinerTrainConfig
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.config import DetectorConfig, ExtractConfig
from facer.stages.intensity.config import (
    AugmentConfig,
    FitConfig,
    HeadConfig,
    OptimiserConfig,
    OwnHeadConfig,
)
from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from facer.stages.summary.config import SummaryConfig
from facer.storage.labels.options import LabelOptions

EXTRACT = Table(DetectorConfig, ExtractConfig, ExtractRunConfig, FacesFile, TlsFiles)
EXTRACT_AUDIO = Table(AudioConfig, ExtractRunConfig, TlsFiles)
VERIFY = Table(VerifyConfig)
HEALTH = Table(HealthConfig)
COMPACT = Table(CompactConfig)
BENCH = Table(BenchConfig)
EXPORT = Table(ExportConfig)
CHECK = Table(LabelOptions, SequenceConfig)
DATASET = Table(LabelOptions, SequenceConfig, StreamsConfig)
_DATA = (LabelOptions, FoldConfig, SequenceConfig, StreamsConfig)
_FIT = (FitConfig, OptimiserConfig, AugmentConfig)
TRAIN_HEAD = Table(*_DATA, HeadConfig, *_FIT, TrainHeadConfig)
TRAIN_AGAIN = TRAIN_HEAD.only("jobs", "device", "resume", "with_", "head")
"""What may be said of a run that is made again; all else is as the run has it."""
SWEPT = Table(SequenceConfig, StreamsConfig, HeadConfig, *_FIT).without("seed", "with_")
"""What a sweep may try; a trial's seeds are those of the sweep, and its stores the same."""
SWEEP = Table(*_DATA, HeadConfig, *_FIT, SweepConfig, TlsFiles)
ABLATE = Table(*_DATA, *_FIT, AblateConfig, TlsFiles)
EVALUATE = Table(LabelOptions, EvaluateConfig, OwnHeadConfig)
PREDICT = Table(DetectorConfig, ExtractConfig, PredictConfig, OwnHeadConfig)
SCORE = Table(LabelOptions, ScoreConfig)
FUSE = Table(LabelOptions, FuseConfig)
SUMMARISE = Table(StudyFiles, SummaryConfig, TablesConfig)
COMPARE = Table(CompareConfig)
FIGURE = Table(StudyFiles, FigureConfig)
EXPORT_HEAD = Table(ExportHeadConfig, OwnHeadConfig)
REPORT = Table(LabelOptions, ReportConfig, OwnHeadConfig)
VIEW = Table(ViewConfig) | SUMMARISE.only("windows", "baseline", "thresholds")
"""With those of a summary that an eye sees."""
FINETUNE = Table(LabelOptions, FinetuneConfig, OwnHeadConfig)
TRAIN_REC = Table(RecFitConfig, TrainRecConfig, AlignConfig, DetectorConfig)
EVALUATE_REC = Table(EvaluateRecConfig, AlignConfig, DetectorConfig)
TRAIN_DETECTOR = Table(DetectorTrainConfig)
TRAIN_POINTS = Table(RefinerTrainConfig)
EVALUATE_DETECTOR = Table(EvaluationConfig)
MODEL_ACTIONS = ("list", "check", "fetch", "verify")
"""What ``facer models`` does."""
