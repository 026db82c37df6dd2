"""Marks and clicks: what lies in marks.csv and faces.csv, and what can be undone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Generic, TypeVar

from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.study.faces import FACE_COLUMNS, FacePoints, read_faces
from facer.storage.study.ids import matched
from facer.storage.study.journal import Journal, Row, RowGoneError
from facer.storage.study.marks import MARK_COLUMNS, Mark, read_marks

Value = TypeVar("Value")
_Marks = tuple[Mapping[str, Sequence[Mark]], Mapping[str, Sequence[Row]]]
_LETTERS = 500  # of a text


class Notes:
    """The marks and clicks on a store's clips; every change is on the disk when it is told."""

    def __init__(self, store: FeatureStore, marks: Path, faces: Path, who: str) -> None:
        self._clips, self._features = store.clip_ids, store.feature_names
        self.marks = Journal(marks, MARK_COLUMNS)
        self.faces = Journal(faces, FACE_COLUMNS)
        self._who = plain(who)
        self._done: list[tuple[str, Journal, Row]] = []
        self._lock = RLock()
        self._marks: _Watched[_Marks] = _Watched(marks, self._read_marks, ({}, {}))
        self._points: _Watched[Mapping[str, FacePoints]] = _Watched(
            faces, lambda: read_faces(faces, self._clips).points, {}
        )
        self.marked()
        self.points_of("")

    def marked(self) -> Mapping[str, Sequence[Mark]]:
        """All marks by clip, as they are in the file now; FacerError when it cannot be read."""
        with self._lock:
            return self._marks.now()[0]

    def rows_of(self, clip_id: str) -> Sequence[Row]:
        """The marks of a clip as rows of the file."""
        with self._lock:
            return self._marks.now()[1].get(clip_id, ())

    def points_of(self, clip_id: str) -> FacePoints:
        """Where somebody pointed at the face of a clip that is meant."""
        with self._lock:
            return self._points.now().get(clip_id, ())

    def mark(
        self, clip_id: str, span: tuple[float, float] | None, why: str, feature: str, note: str
    ) -> None:
        """Mark a stretch of a clip in its own seconds, or all of it (None), with a reason."""
        if not (why := plain(why)):
            raise FacerError("found no reason, expected a word that says why")
        if feature and feature not in self._features:
            raise FacerError(f"found feature {feature!r}, expected one of the store's, or nothing")
        if span is not None and not (all(map(math.isfinite, span)) and span[0] < span[1]):
            raise FacerError("found a stretch without length, expected a start before its stop")
        times = ("", "") if span is None else (_text(span[0]), _text(span[1]))
        row = (clip_id, *times, why, feature, self._who, _now(), plain(note))
        self._add(self.marks, dict(zip(MARK_COLUMNS, row, strict=True)))

    def point(self, clip_id: str, time_s: float, x_px: float, y_px: float) -> None:
        """Say that the face at a place is the one that is meant."""
        numbers = (f"{time_s:.6f}", f"{x_px:.1f}", f"{y_px:.1f}")
        row = (clip_id, *numbers, self._who, _now())
        self._add(self.faces, dict(zip(FACE_COLUMNS, row, strict=True)))

    def remove(self, row: Row) -> None:
        """Take away a mark; ``row`` as :meth:`rows_of` has it."""
        with self._lock:
            self.marks.remove(row)
            self._done.append(("remove", self.marks, row))

    def undo(self) -> Row:
        """Take back the latest change of this session, and return its row."""
        with self._lock:
            if not self._done:
                raise FacerError("nothing to undo since this view was opened")
            did, journal, row = self._done[-1]
            try:
                (journal.remove if did == "add" else journal.add)(row)
            except RowGoneError:
                self._done.pop()
                raise
            self._done.pop()
            return row

    @property
    def undoable(self) -> int:
        """How many changes can be undone."""
        return len(self._done)

    def _add(self, journal: Journal, row: Row) -> None:
        with self._lock:
            journal.add(row)
            self._done.append(("add", journal, row))

    def _read_marks(self) -> _Marks:
        marks, rows = read_marks(self.marks.path, self._clips, self._features), self.marks.rows()
        clip_of = matched(self.marks.path, [row["clip_id"] for row in rows], self._clips)
        by_clip: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_clip[clip_of[row["clip_id"]]].append(row)
        return marks, by_clip


class _Watched(Generic[Value]):
    """What a file says, read again when it has changed; ``empty`` where there is none."""

    def __init__(self, path: Path, read: Callable[[], Value], empty: Value) -> None:
        self._path, self._read, self._value, self._empty = path, read, empty, empty
        self._state: tuple[int, ...] = ()

    def now(self) -> Value:
        """The file's content."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return self._empty
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        if state != self._state:
            self._value, self._state = self._read(), state
        return self._value


def plain(text: str) -> str:
    """Return a text on one line, as a cell of a table; what UTF-8 lacks becomes ``?``.

    >>> plain(" hand over\\n the face "), plain("J\\udcfcrgen\\0")
    ('hand over the face', 'J?rgen')
    """
    known = str(text).encode("utf-8", "replace").decode().replace("\0", " ")
    return " ".join(known.split())[:_LETTERS]


def _text(seconds: float) -> str:
    """Seconds rounded down to a millionth, so that frames on the edge stay on their side."""
    return f"{math.floor(seconds * 1e6 + 1e-3) / 1e6:.6f}".rstrip("0").rstrip(".")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
