"""The contract between the stages: schema, feature store, label files.

Each name is loaded at its first use, so that a module of this package costs only what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facer.storage.clip import Clip as Clip
    from facer.storage.errors import FacerError as FacerError
    from facer.storage.labels.matching import Match as Match
    from facer.storage.labels.matching import match_clips as match_clips
    from facer.storage.labels.options import LabelOptions as LabelOptions
    from facer.storage.labels.predictions import Predictions as Predictions
    from facer.storage.labels.predictions import read_predictions as read_predictions
    from facer.storage.labels.predictions import write_predictions as write_predictions
    from facer.storage.labels.table import IntensityLabels as IntensityLabels
    from facer.storage.labels.table import read_labels as read_labels
    from facer.storage.loading import Ragged as Ragged
    from facer.storage.schema import ACTION_UNITS as ACTION_UNITS
    from facer.storage.schema import AU_NAMES as AU_NAMES
    from facer.storage.schema import EXPRESSIONS as EXPRESSIONS
    from facer.storage.schema import FEATURE_GROUPS as FEATURE_GROUPS
    from facer.storage.schema import FEATURE_NAMES as FEATURE_NAMES
    from facer.storage.schema import STORE_VERSION as STORE_VERSION
    from facer.storage.schema import ClipFeatures as ClipFeatures
    from facer.storage.schema import Provenance as Provenance
    from facer.storage.schema import Record as Record
    from facer.storage.store import FeatureStore as FeatureStore

_NAMES = {
    "clip": "Clip",
    "errors": "FacerError",
    "labels.matching": "Match match_clips",
    "labels.options": "LabelOptions",
    "labels.predictions": "Predictions read_predictions write_predictions",
    "labels.table": "IntensityLabels read_labels",
    "loading": "Ragged",
    "schema": "ACTION_UNITS AU_NAMES EXPRESSIONS FEATURE_GROUPS FEATURE_NAMES STORE_VERSION "
    "ClipFeatures Provenance Record",
    "store": "FeatureStore",
}
_LAZY = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = [*_LAZY]


def __getattr__(name: str) -> object:
    """Load a name at its first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'facer.storage' has no attribute {name!r}")
    found = getattr(import_module(f"facer.storage.{_LAZY[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
