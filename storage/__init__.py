"""The contract between the stages: schema, feature store, label files, checkpoints.

``facer.storage.exchange.tables`` (import and export) is not loaded here: it brings h5py.
"""

from facer.storage.clip import Clip
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.labels.matching import Match, match_clips
from facer.storage.labels.options import LabelOptions
from facer.storage.labels.predictions import Predictions, read_predictions, write_predictions
from facer.storage.labels.table import IntensityLabels, read_labels
from facer.storage.loading import Ragged
from facer.storage.schema import (
    ACTION_UNITS,
    AU_NAMES,
    EXPRESSIONS,
    FEATURE_GROUPS,
    FEATURE_NAMES,
    STORE_VERSION,
    ClipFeatures,
    Provenance,
    Record,
)
from facer.storage.store import FeatureStore

__all__ = [
    "ACTION_UNITS",
    "AU_NAMES",
    "EXPRESSIONS",
    "FEATURE_GROUPS",
    "FEATURE_NAMES",
    "STORE_VERSION",
    "Clip",
    "ClipFeatures",
    "FacerError",
    "FeatureStore",
    "IntensityLabels",
    "LabelOptions",
    "Match",
    "Predictions",
    "Provenance",
    "Ragged",
    "Record",
    "load_checkpoint",
    "match_clips",
    "read_labels",
    "read_predictions",
    "save_checkpoint",
    "write_predictions",
]
