"""A store as one table: csv, Parquet or feather; a row a frame, or a row a frame and feature."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.files.cells import safe_cell
from facer.storage.files.csv_table import csv_writer
from facer.storage.layout.arrays import Array
from facer.storage.layout.parts import EMBEDDING, QUALITY
from facer.storage.optional import optional
from facer.storage.root import root_attributes
from facer.storage.schema import ClipFeatures
from facer.storage.store import FeatureStore
from facer.storage.study.columns import Column, integer, number, text
from facer.storage.study.design import WHO, Design, DesignRow

_ROW_GROUP = 100_000  # frames
_BOX = ("bbox_x1_px", "bbox_y1_px", "bbox_x2_px", "bbox_y2_px")
_POINTS = tuple(
    f"{point}_{axis}_px" for point in ("eye1", "eye2", "nose", "mouth1", "mouth2") for axis in "xy"
)
_FRAME = (
    integer("frame_index", "of the clip, from 0", ""),
    number("timestamp_s", "s", "presentation time"),
    integer("valid", "whether a face was measured in the frame", ""),
)
_MEASURED = (
    number("det_score", "0 to 1", "score of the face's detection"),
    integer("n_faces", "faces found in the frame", "faces"),
    *(number(name, "px", "edge of the face's box in the upright frame") for name in _BOX),
    *(number(name, "px", "eyes, nose, corners of the mouth, as seen from left to right")
      for name in _POINTS),
)  # fmt: skip
_QUALITY = number(QUALITY, "0 to 1", "how far the frame's features can be trusted")
_LONG = (text("feature", "column of the store"), number("value", "of the feature", "its value"))
_DTYPES = {"frame_index": "int32", "valid": "bool", "n_faces": "int16", "timestamp_s": "float64"}


@dataclass(frozen=True)
class FrameTable:
    """What is in a table: a design's clips (all of the store's where it is none), and how."""

    store: FeatureStore
    rows: tuple[DesignRow, ...]
    who: tuple[str, ...] = ()  # design columns that stand beside the id
    carried: tuple[str, ...] = ()
    long: bool = False  # a row a frame and feature
    quality: bool = False
    embedding: bool = False  # as a list, where the format has lists

    @classmethod
    def of(
        cls, store: FeatureStore, clip_ids: Sequence[str], design: Design | None, long: bool
    ) -> FrameTable:
        """Every clip of the design, then those of the store that it leaves out."""
        rows = tuple(DesignRow(clip) for clip in clip_ids)
        known = [store.record(clip) for clip in clip_ids if store.record(clip).n_frames]
        arrays = store.read(known[0].clip_id) if known else None
        quality = arrays is not None and arrays.quality is not None
        embedding = arrays is not None and arrays.embedding is not None
        if design is None:
            return cls(store, rows, (), (), long, quality, embedding)
        extra = tuple(DesignRow(clip) for clip in design.not_in_design)
        every = (*design.rows, *extra)
        return cls(store, every, WHO, design.carried, long, quality, embedding)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All but the embedding, with what they are; FacerError for a name that is there twice."""
        design = [text(name, "of the design") for name in (*self.who, *self.carried)]
        status = text("status", "ok, no_face, failed, excluded or not_in_store")
        known = (text("clip_id", "the clip"), *design, status, *_FRAME)
        if self.long:
            return (*known, *_LONG)
        features = [number(name, "", "") for name in self.store.feature_names]
        found = (*known, *features, *_MEASURED, *([_QUALITY] if self.quality else []))
        names = [column.name for column in found]
        if taken := sorted({name for name in names if names.count(name) > 1}):
            raise FacerError(
                f"{self.store.path}: found columns named {', '.join(taken)} twice, in the store, "
                "the design or the table itself; rename those of the design"
            )
        return found

    def blocks(self) -> Iterator[tuple[Mapping[str, str], Mapping[str, Array]]]:
        """Yield the texts and the arrays of each clip; one without frames has no arrays."""
        for row in self.rows:
            record = self.store.record(row.clip_id) if row.known else None
            status = "not_in_store" if record is None else record.status
            texts = {"clip_id": row.clip_id, "status": "excluded" if row.exclude else status}
            texts |= {name: getattr(row, name) for name in self.who}
            texts |= dict(zip(self.carried, row.carried or [""] * len(self.carried), strict=True))
            frames = record is not None and record.n_frames > 0
            yield texts, self._arrays(self.store.read(row.clip_id)) if frames else {}

    def _arrays(self, clip: ClipFeatures) -> dict[str, Array]:
        n, names = clip.n_frames, self.store.feature_names
        arrays: dict[str, Array] = {
            "frame_index": np.arange(n, dtype=np.int32), "timestamp_s": clip.timestamp_s,
            "valid": clip.valid,
        }  # fmt: skip
        if self.long:
            found = {name: np.repeat(values, len(names)) for name, values in arrays.items()}
            return {**found, "feature": np.tile(np.array(names), n), "value": clip.features.ravel()}
        arrays |= {name: clip.features[:, i] for i, name in enumerate(names)}
        arrays |= {"det_score": clip.det_score, "n_faces": clip.n_faces}
        arrays |= {name: clip.bbox_px[:, i] for i, name in enumerate(_BOX)}
        points = clip.keypoints_px.reshape(n, len(_POINTS))
        arrays |= {name: points[:, i] for i, name in enumerate(_POINTS)}
        for name in (QUALITY, EMBEDDING):
            values = getattr(clip, name)
            if (values is not None) != getattr(self, name):
                raise FacerError(
                    f"{self.store.path}: found clips with and without {name}, expected one kind"
                )
            if values is not None:
                arrays[name] = values
        return arrays


def write_csv(table: FrameTable, path: Path) -> None:
    """Write the shortest numbers that read back the same; nothing where nothing was measured."""
    names = [column.name for column in table.columns]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv_writer(file)
        writer.writerow(map(safe_cell, names))
        for texts, arrays in table.blocks():
            rows = len(next(iter(arrays.values()))) if arrays else 1
            columns = [
                [safe_cell(texts[name])] * rows if name in texts
                else number_cells(arrays[name]) if arrays else [""] * rows
                for name in names
            ]  # fmt: skip
            writer.writerows(zip(*columns, strict=True))


def number_cells(values: Array) -> list[str]:
    """Return the shortest texts that read back as the same numbers; nothing for NaN.

    Names of features are cells that no spreadsheet runs as formulas.
    """
    if values.dtype.kind == "f":
        return ["" if value != value else str(value) for value in values]
    shown = list(map(str, values))
    return list(map(safe_cell, shown)) if values.dtype.kind == "U" else shown


def write_parquet(table: FrameTable, path: Path) -> None:
    """Write Parquet; the provenance is in the file's metadata under ``facer``.

    Texts of a clip are dictionaries, an embedding is a fixed-size list. Needs pyarrow.
    """
    pa = optional("pyarrow", "parquet", "parquet")
    parquet = optional("pyarrow.parquet", "parquet", "parquet")
    _write(
        pa, table, lambda schema: parquet.ParquetWriter(path, schema, compression="zstd"),
        pa.dictionary(pa.int32(), pa.string()),
    )  # fmt: skip


def write_feather(table: FrameTable, path: Path) -> None:
    """Write feather's format (Arrow's file), which takes no second dictionary: texts are plain."""
    pa = optional("pyarrow", "parquet", "feather")
    _write(pa, table, lambda schema: pa.ipc.new_file(str(path), schema), pa.string())


def _write(pa: Any, table: FrameTable, opened: Callable[[Any], Any], text_type: Any) -> None:
    if not table.rows:
        raise FacerError(f"{table.store.path}: found no clip to export, expected at least one")
    schema = _schema(pa, table, text_type)
    waiting: list[Any] = []
    with opened(schema) as writer:
        for texts, arrays in table.blocks():
            waiting.append(_arrow(pa, schema, texts, arrays))
            if sum(one.num_rows for one in waiting) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def _schema(pa: Any, table: FrameTable, text_type: Any) -> Any:
    fields = []
    for column in table.columns:
        usual = "float32" if column.kind == "number" else "int32"
        dtype = pa.type_for_alias(_DTYPES.get(column.name, usual))
        fields.append(pa.field(column.name, text_type if column.kind == "text" else dtype))
    if table.embedding and not table.long:
        some = next(arrays for _, arrays in table.blocks() if arrays)
        width = some[EMBEDDING].shape[1]
        fields.append(pa.field(EMBEDDING, pa.list_(pa.float16(), width)))
    return pa.schema(fields, {"facer": json.dumps(root_attributes(table.store.root))})


def _arrow(pa: Any, schema: Any, texts: Mapping[str, str], arrays: Mapping[str, Array]) -> Any:
    rows = len(next(iter(arrays.values()))) if arrays else 1
    columns = []
    for field in schema:
        if field.name in texts:
            columns.append(pa.array([texts[field.name]] * rows, field.type))
        elif not arrays:
            columns.append(pa.nulls(rows, field.type))
        elif field.name == EMBEDDING:
            flat = pa.array(arrays[EMBEDDING].ravel())
            columns.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
        else:
            values = arrays[field.name]
            plain = values.tolist() if values.dtype.kind == "U" else np.ascontiguousarray(values)
            columns.append(pa.array(plain, field.type))
    return pa.table(columns, schema=schema)
