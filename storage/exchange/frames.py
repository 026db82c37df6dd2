"""A store as one table: a row a frame, or a row a frame and feature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.layout.parts import EMBEDDING, QUALITY
from facer.storage.root import root_attributes
from facer.storage.schema import ClipFeatures
from facer.storage.store import FeatureStore
from facer.storage.study.columns import Block, Cells, Column, integer, number, text
from facer.storage.study.design import WHO, Design, DesignRow
from facer.storage.study.table_formats import TableFormat
from facer.storage.study.tables import open_table

_BOX = ("bbox_x1_px", "bbox_y1_px", "bbox_x2_px", "bbox_y2_px")
_POINTS = tuple(
    f"{point}_{axis}_px" for point in ("eye1", "eye2", "nose", "mouth1", "mouth2") for axis in "xy"
)
_F32 = "float32"
_FRAME = (
    integer("frame_index", "of the clip, from 0", "", "int32"),
    number("timestamp_s", "s", "presentation time", "float64"),
    integer("valid", "whether a face was measured in the frame", "", "bool"),
)
_MEASURED = (
    number("det_score", "0 to 1", "score of the face's detection", _F32),
    integer("n_faces", "faces found in the frame", "faces", "int16"),
    *(number(name, "px", "edge of the face's box in the upright frame", _F32) for name in _BOX),
    *(number(name, "px", "eyes, nose, corners of the mouth, as seen from left to right", _F32)
      for name in _POINTS),
)  # fmt: skip
_QUALITY = number(QUALITY, "0 to 1", "how far the frame's features can be trusted", _F32)
_LONG = (
    text("feature", "column of the store", "dictionary"),
    number("value", "of the feature", "its value", _F32),
)


@dataclass(frozen=True)
class FrameTable:
    """What is in a table: a design's clips (all of the store's where it is none), and how."""

    store: FeatureStore
    rows: tuple[DesignRow, ...]
    who: tuple[str, ...] = ()  # design columns that stand beside the id
    carried: tuple[str, ...] = ()
    long: bool = False  # a row a frame and feature
    quality: bool = False
    embedding: int = 0  # numbers of a frame's, where the store has one

    @classmethod
    def of(
        cls, store: FeatureStore, clip_ids: Sequence[str], design: Design | None, long: bool
    ) -> FrameTable:
        """Every clip of the design, then those of the store that it leaves out."""
        rows = tuple(DesignRow(clip) for clip in clip_ids)
        known = [store.record(clip) for clip in clip_ids if store.record(clip).n_frames]
        arrays = store.read(known[0].clip_id) if known else None
        quality = arrays is not None and arrays.quality is not None
        some = None if arrays is None else arrays.embedding
        embedding = 0 if some is None else some.shape[1]
        if design is None:
            return cls(store, rows, (), (), long, quality, embedding)
        extra = tuple(DesignRow(clip) for clip in design.not_in_design)
        every = (*design.rows, *extra)
        return cls(store, every, WHO, design.carried, long, quality, embedding)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All but the embedding, with what they are; FacerError for a name that is there twice."""
        texts = [("clip_id", "the clip")]
        texts += [(name, "of the design") for name in (*self.who, *self.carried)]
        texts += [("status", "ok, no_face, no_sound, failed, excluded or not_in_store")]
        found = (*(text(*one, "dictionary") for one in texts), *_FRAME)
        if self.long:
            found += _LONG
        else:
            features = [number(name, "", "", _F32) for name in self.store.feature_names]
            found += (*features, *_MEASURED, *([_QUALITY] if self.quality else []))
        names = [column.name for column in found]
        if taken := sorted({name for name in names if names.count(name) > 1}):
            raise FacerError(
                f"{self.store.path}: found columns named {', '.join(taken)} twice, in the store, "
                "the design or the table itself; rename those of the design"
            )
        return found

    @property
    def lists(self) -> tuple[Column, ...]:
        """Columns whose cells are lists, for formats that have those."""
        if self.long or not self.embedding:
            return ()
        return (Column(EMBEDDING, "number", "", "", "float16", self.embedding),)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows of each clip; one without frames has a row of its texts alone."""
        names = [column.name for column in (*self.columns, *self.lists)]
        for row in self.rows:
            record = self.store.record(row.clip_id) if row.known else None
            status: str = "not_in_store" if record is None else record.status
            if row.exclude and status not in ("not_in_store", "failed"):
                status = "excluded"  # as in a summary's clips.csv
            texts = {"clip_id": row.clip_id, "status": status}
            texts |= {name: getattr(row, name) for name in self.who}
            texts |= dict(zip(self.carried, row.carried or [""] * len(self.carried), strict=True))
            block: dict[str, Cells] = {name: [None] for name in names}
            if record is not None and record.n_frames > 0:
                block |= self._arrays(self.store.read(row.clip_id))
            n = len(block["frame_index"])
            yield block | {name: [value] * n for name, value in texts.items()}

    def _arrays(self, clip: ClipFeatures) -> dict[str, Cells]:
        n, names = clip.n_frames, self.store.feature_names
        arrays: dict[str, Cells] = {
            "frame_index": np.arange(n, dtype=np.int32), "timestamp_s": clip.timestamp_s,
            "valid": clip.valid,
        }  # fmt: skip
        if self.long:
            found = {name: np.repeat(values, len(names)) for name, values in arrays.items()}
            return {**found, "feature": [*names] * n, "value": clip.features.ravel()}
        arrays |= {name: clip.features[:, i] for i, name in enumerate(names)}
        arrays |= {"det_score": clip.det_score, "n_faces": clip.n_faces}
        arrays |= {name: clip.bbox_px[:, i] for i, name in enumerate(_BOX)}
        points = clip.keypoints_px.reshape(n, len(_POINTS))
        arrays |= {name: points[:, i] for i, name in enumerate(_POINTS)}
        for name in (QUALITY, EMBEDDING):
            values = getattr(clip, name)
            if (values is not None) != bool(getattr(self, name)):
                raise FacerError(
                    f"{self.store.path}: found clips with and without {name}, expected one kind"
                )
            if values is not None:
                arrays[name] = values
        return arrays


def write_frames(table: FrameTable, path: Path, form: TableFormat) -> None:
    """Write the table: all but the embedding as csv, else with the store's provenance.

    It is in the file's metadata under ``facer``. Raises FacerError for other formats than csv
    without pyarrow, and where there is no clip.
    """
    columns = table.columns
    if form != "csv":
        if not table.rows:
            raise FacerError(f"{table.store.path}: found no clip to export, expected at least one")
        columns = (*columns, *table.lists)
    provenance = {"facer": json.dumps(root_attributes(table.store.root))}
    with closing(open_table(path, columns, form, provenance)) as writer:
        for block in table.blocks():
            writer.write(block)
