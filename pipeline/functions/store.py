"""Functions of stores: status, verify, check, import, export."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facer.pipeline.features.config import VerifyConfig
from facer.pipeline.features.importing import ImportResult, import_into_store
from facer.pipeline.features.status import StoreStatus, store_status
from facer.pipeline.features.verify import Verification
from facer.pipeline.features.verify import verify as verify_store
from facer.pipeline.functions.keywords import keywords
from facer.pipeline.intensity.check import LabelCheck, check_labels
from facer.pipeline.intensity.run import Place, place_of
from facer.pipeline.settings import CHECK, VERIFY, label_options, make
from facer.pipeline.summary.exports import STUDY_FORMATS, export_study
from facer.pipeline.summary.summarise import study
from facer.stages.intensity.config import SequenceConfig
from facer.stages.summary.config import SummaryConfig, as_thresholds
from facer.storage import FeatureStore, read_labels
from facer.storage.errors import OptionError, named
from facer.storage.exchange.tables import export_store, format_of


def opened(store: FeatureStore | Place) -> FeatureStore:
    """Return a store that may be open already; FacerError where there is none."""
    return store if isinstance(store, FeatureStore) else FeatureStore.open(os.fspath(store))


def status(store: FeatureStore | Place) -> StoreStatus:
    """Count what a store holds: clips, frames, faces, and failures with their reasons.

    From the records alone, so it is quick. Raises FacerError where there is no store.
    """
    return store_status(opened(store))


@keywords(VERIFY)
def verify(store: FeatureStore | Place, **settings: Any) -> Verification:
    """Read every chunk and record of a store: ``.whole``, and clip by clip what is not.

    ``videos`` is the VIDEO_DIR to compare with; ``repair=True`` drops the parts that are damaged.
    Raises FacerError where there is no store.
    """
    return verify_store(make(VerifyConfig, settings, place_of(store)))


@keywords(CHECK)
def check(store: FeatureStore | Place, labels: Place, **settings: Any) -> LabelCheck:
    """Compare a label file with a store: what joins, and what is missing on either side.

    Raises FacerError for labels that cannot be read.
    """
    sequences, reading = make(SequenceConfig, settings), label_options(settings)
    return check_labels(
        opened(store), read_labels(os.fspath(labels), reading),
        sequences.max_frames, sequences.features,
    )  # fmt: skip


def import_(
    kind: str, path: Place, store: FeatureStore | Place, *, fps: float | None = None
) -> ImportResult:
    """Bring another tool's features into a store, a new one or one that has the same columns.

    ``kind`` is muse, openface, pyfeat, libreface or hdf5; ``fps`` (in Hz) is for py-feat, whose
    frames have no times. Returns the store, how many clips were added, and the ids of those that
    it has with other features, which are kept. Raises FacerError, and leaves nothing behind, for a
    file that cannot be read.
    """
    return import_into_store(kind, Path(path), place_of(store) or "", fps)


def export(
    store: FeatureStore | Place, path: Place, *, format: Any = None, design: Any = None,
    events: Any = None, marks: Any = None, threshold: Sequence[str] = (),
    videos: Place | None = None,
) -> int:  # fmt: skip
    """Write a store's features for other tools, and return the number of clips.

    ``format`` is hdf5 (lossless), parquet, feather or csv, one file, or muse, elan, textgrid, bids,
    facereader, imotions, openface or json, a folder; without it, the ending of ``path`` says which.
    ``design``, ``events``, ``marks`` (tables of a study) and ``threshold`` (``"au12=.4"``) are for
    folders, ``videos`` for elan. Raises FacerError where something is at ``path``.
    """
    config = SummaryConfig(thresholds=as_thresholds(threshold))
    if format in STUDY_FORMATS:
        tables = study(opened(store), config, design, events, marks)
        return export_study(tables, Path(path), format, None if videos is None else Path(videos))
    of_study = {
        "design": design, "events": events, "marks": marks, "threshold": threshold,
        "videos": videos,
    }  # fmt: skip
    for name, value in of_study.items():
        if value:
            raise OptionError(
                f"{named(name)}: expected {named('format')}, one of {', '.join(STUDY_FORMATS)}"
            )
    format = format_of(Path(path), format)
    return export_store(opened(store), path, format)
