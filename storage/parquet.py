"""A store as one Parquet table, for data frames: a row a frame. Needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.parts import LAYOUT
from facer.storage.root import root_attributes
from facer.storage.schema import ClipFeatures
from facer.storage.store import FeatureStore

_ROW_GROUP = 100_000  # frames


def write_parquet(store: FeatureStore, path: Path, clip_ids: Sequence[str]) -> None:
    """Write clips: ``clip_id``, ``frame_index``, a column a feature, and the other arrays.

    Arrays of several numbers a frame (boxes, points, embeddings) are fixed-size lists. The
    provenance is in the file's metadata under ``facer``. Raises FacerError without pyarrow.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise FacerError(
            "parquet: found no pyarrow, expected it for this format; pip install 'facer[parquet]'"
        ) from error
    taken = {"clip_id", "frame_index", *LAYOUT} & set(store.feature_names)
    if taken:
        raise FacerError(
            f"{store.path}: found features named {sorted(taken)}, a name parquet needs"
        )
    writer = None
    waiting: list[Any] = []
    for clip_id in clip_ids:
        waiting.append(_table(pa, store, clip_id, store.read(clip_id)))
        writer = writer or parquet.ParquetWriter(path, waiting[0].schema, compression="zstd")
        if waiting[-1].schema != writer.schema:
            raise FacerError(
                f"{store.path}: found clips with and without embedding, expected one kind"
            )
        if sum(table.num_rows for table in waiting) >= _ROW_GROUP:
            writer.write_table(pa.concat_tables(waiting))
            waiting = []
    if writer is None:
        raise FacerError(f"{store.path}: found no clip to export, expected at least one")
    if waiting:
        writer.write_table(pa.concat_tables(waiting))
    writer.close()


def _table(pa: Any, store: FeatureStore, clip_id: str, clip: ClipFeatures) -> Any:
    frames = clip.n_frames
    columns: dict[str, Any] = {
        "clip_id": pa.array([clip_id] * frames, pa.string()).dictionary_encode(),
        "frame_index": pa.array(np.arange(frames, dtype=np.int32)),
    }
    for name in LAYOUT:
        values = getattr(clip, name)
        if name == "features":
            columns |= {
                column: pa.array(np.ascontiguousarray(values[:, index]))
                for index, column in enumerate(store.feature_names)
            }
        elif values is not None and values.ndim == 1:
            columns[name] = pa.array(values)
        elif values is not None:
            width = int(np.prod(values.shape[1:]))
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width)
    return pa.table(columns, metadata={"facer": json.dumps(root_attributes(store.root))})
