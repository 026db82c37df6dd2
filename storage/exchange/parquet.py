"""A store as one Parquet or feather table, for data frames: a row a frame. Needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.parts import ARRAYS, LAYOUT
from facer.storage.root import root_attributes
from facer.storage.schema import ClipFeatures
from facer.storage.store import FeatureStore

_ROW_GROUP = 100_000  # frames


def write_parquet(store: FeatureStore, path: Path, clip_ids: Sequence[str]) -> None:
    """Write clips: ``clip_id``, ``status``, ``frame_index``, a column a feature, other arrays.

    A clip without frames (a failed one) has one row, with nothing but its id and status. Arrays of
    several numbers a frame (boxes, points, embeddings) are fixed-size lists. The provenance is in
    the file's metadata under ``facer``. Raises FacerError without pyarrow.
    """
    pa = _pyarrow("parquet")
    from pyarrow import parquet

    _write(
        pa, store, clip_ids, lambda schema: parquet.ParquetWriter(path, schema, compression="zstd")
    )


def write_feather(store: FeatureStore, path: Path, clip_ids: Sequence[str]) -> None:
    """Write clips as :func:`write_parquet` does, in feather's format (Arrow's file)."""
    pa = _pyarrow("feather")
    # one dictionary for the whole file: the format takes no second
    _write(pa, store, clip_ids, lambda schema: pa.ipc.new_file(str(path), schema), plain=True)


def _pyarrow(form: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise FacerError(
            f"{form}: found no pyarrow, expected it for this format; pip install 'facer[parquet]'"
        ) from error
    return pyarrow


def _write(
    pa: Any, store: FeatureStore, clip_ids: Sequence[str], opened: Callable[[Any], Any],
    plain: bool = False,
) -> None:  # fmt: skip
    """Write clips by a writer; ``plain``: ids as texts instead of a dictionary."""

    def put(tables: Sequence[Any]) -> None:
        joined = pa.concat_tables(tables)
        writer.write_table(joined.cast(written) if plain else joined)

    taken = {"clip_id", "status", "frame_index", *LAYOUT} & set(store.feature_names)
    if taken:
        raise FacerError(
            f"{store.path}: found features named {sorted(taken)}, a name the table needs"
        )
    if not clip_ids:
        raise FacerError(f"{store.path}: found no clip to export, expected at least one")
    some = next((clip for clip in clip_ids if store.record(clip).n_frames), None)
    schema = _table(pa, store, "", _no_frames(store) if some is None else store.read(some)).schema
    waiting: list[Any] = []
    texts = [
        pa.field(f.name, pa.string()) if f.name in ("clip_id", "status") else f for f in schema
    ]
    written = pa.schema(texts, schema.metadata) if plain else schema
    with opened(written) as writer:
        for clip_id in clip_ids:
            if store.record(clip_id).n_frames:
                waiting.append(_table(pa, store, clip_id, store.read(clip_id)))
            else:
                waiting.append(_row_without_frame(pa, schema, store, clip_id))
            if waiting[-1].schema != schema:
                raise FacerError(
                    f"{store.path}: found clips with and without embedding, expected one kind"
                )
            if sum(table.num_rows for table in waiting) >= _ROW_GROUP:
                put(waiting)
                waiting = []
        if waiting:
            put(waiting)


def _no_frames(store: FeatureStore) -> ClipFeatures:
    columns = len(store.feature_names)
    arrays: dict[str, Any] = {
        name: np.zeros((0, *(size or columns for size in LAYOUT[name][2])), LAYOUT[name][0])
        for name in ARRAYS
    }
    return ClipFeatures(**arrays)


def _row_without_frame(pa: Any, schema: Any, store: FeatureStore, clip_id: str) -> Any:
    columns = {field.name: pa.nulls(1, field.type) for field in schema}
    columns |= _clip_columns(pa, store, clip_id, 1)
    return pa.table(columns, schema=schema)


def _clip_columns(pa: Any, store: FeatureStore, clip_id: str, rows: int) -> dict[str, Any]:
    status = store.record(clip_id).status if clip_id else ""
    texts = {"clip_id": clip_id, "status": status}
    return {k: pa.array([v] * rows, pa.string()).dictionary_encode() for k, v in texts.items()}


def _table(pa: Any, store: FeatureStore, clip_id: str, clip: ClipFeatures) -> Any:
    frames = clip.n_frames
    columns: dict[str, Any] = {
        **_clip_columns(pa, store, clip_id, frames),
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
