"""Functions of stores: status, verify, health, compact, check, import, export."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from facer.pipeline.features.config import CompactConfig, HealthConfig, VerifyConfig
from facer.pipeline.features.importing import ImportResult, import_into_store
from facer.pipeline.features.inspect.clip_status import ClipStatus, clip_status
from facer.pipeline.features.inspect.health import Health, store_health
from facer.pipeline.features.inspect.status import StoreStatus, store_status
from facer.pipeline.features.inspect.verify import Verification
from facer.pipeline.features.inspect.verify import verify as verify_store
from facer.pipeline.functions.keywords import keywords, places
from facer.pipeline.runtime.places import Place, opened, place_of
from facer.pipeline.runtime.progress import CountReporter
from facer.pipeline.settings.commands import CHECK, COMPACT, EXPORT, HEALTH, VERIFY
from facer.pipeline.settings.configs import label_options
from facer.pipeline.settings.table import make
from facer.pipeline.summary.config import ExportConfig
from facer.pipeline.summary.exports import export as export_store
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore, read_labels
from facer.storage.compact import Compaction
from facer.storage.compact import compact as compact_store
from facer.storage.errors import OptionError, named

if TYPE_CHECKING:
    from facer.pipeline.intensity.check import LabelCheck


@overload
def status(store: FeatureStore | Place) -> StoreStatus: ...
@overload
def status(
    store: FeatureStore | Place, clip_id: str, *, videos: Place | None = None
) -> ClipStatus: ...
@places
def status(
    store: FeatureStore | Place, clip_id: str | None = None, *, videos: Place | None = None
) -> StoreStatus | ClipStatus:
    """Count what a store holds: clips, frames, faces, and failures with their reasons.

    With a ``clip_id``, say what the store has of that clip alone; ``videos`` is the VIDEO_DIR, of
    whose file libav then tells container, streams and codecs (``.seen``), and which frames decode.
    From the records alone, so it is quick. Raises FacerError where there is no store, and for an
    unknown clip.
    """
    if clip_id is None:
        if videos is not None:
            raise OptionError(f"{named('videos')}: expected a clip beside it")
        return store_status(opened(store))
    return clip_status(opened(store), clip_id, None if videos is None else os.fspath(videos))


@keywords(VERIFY)
def verify(store: FeatureStore | Place, *, progress: bool = False, **settings: Any) -> Verification:
    """Read every chunk and record of a store: ``.whole``, and clip by clip what is not.

    ``videos`` is the VIDEO_DIR to compare with; ``repair=True`` drops the parts that are damaged.
    ``progress=True`` tells on stderr how many videos are compared. Raises FacerError where there is
    no store.
    """
    config = make(VerifyConfig, settings, place_of(store))
    return (
        verify_store(config, CountReporter("videos compared")) if progress else verify_store(config)
    )


@keywords(HEALTH)
def health(store: FeatureStore | Place, **settings: Any) -> Health:
    """Say whether a store is as its keeper expects: ``.healthy``, and ``.problems`` in words.

    ``max_age`` is in hours since a clip was last written, ``max_failed`` a number of clips or a
    share such as ``"5%"``. From the records alone, so it is quick. Raises FacerError where there
    is no store.
    """
    config = make(HealthConfig, settings)
    return store_health(opened(store), config)


@keywords(COMPACT)
def compact(store: FeatureStore | Place, *, progress: bool = False, **settings: Any) -> Compaction:
    """Merge the many small parts of a store into few; every value stays the same, bit for bit.

    Who reads the store meanwhile goes on. Raises FacerError for a damaged part; what was merged by
    then stays merged.
    """
    part_bytes = int(make(CompactConfig, settings).part_mb * 1e6)
    return compact_store(
        opened(store), part_bytes, CountReporter("parts made") if progress else None
    )


@keywords(CHECK)
def check(store: FeatureStore | Place, labels: Place, **settings: Any) -> LabelCheck:
    """Compare a label file with a store: what joins, and what is missing on either side.

    Raises FacerError for labels that cannot be read.
    """
    from facer.pipeline.intensity.check import check_labels  # loads torch

    sequences, reading = make(SequenceConfig, settings), label_options(settings)
    return check_labels(
        opened(store), read_labels(os.fspath(labels), reading),
        sequences.max_frames, sequences.features,
    )  # fmt: skip


@places
def import_(
    kind: str, path: Place, store: FeatureStore | Place, *, fps: float | None = None
) -> ImportResult:
    """Bring another tool's features into a store, a new one or one that has the same columns.

    ``kind`` is muse, openface, pyfeat, libreface, facereader, imotions or hdf5; ``fps`` (in Hz) is
    for py-feat, whose frames have no times. Returns the store, how many clips were added, and the
    ids of those that it has with other features, which are kept. Raises FacerError, and leaves
    nothing behind, for a file that cannot be read.
    """
    return import_into_store(kind, Path(path), place_of(store) or "", fps)


@keywords(EXPORT)
def export(store: FeatureStore | Place, path: Place, **settings: Any) -> int:
    """Write a store's features for other tools, and return the number of clips.

    ``format`` is hdf5 (lossless), parquet, feather or csv, one file, or muse, elan, textgrid, bids,
    facereader, imotions, openface or json, a folder; without it, the ending of ``path`` says which.
    parquet, feather and csv take ``design`` and ``long`` (a row a frame and feature), and have
    their dictionary beside them: ``features.columns.csv``. ``design``, ``events``, ``marks``
    (tables of a study) and ``thresholds`` (numbers by feature) are for folders, ``videos`` for
    elan. Raises FacerError where something is at ``path``.
    """
    config = make(ExportConfig, settings, Path(path))
    return export_store(opened(store), config)
