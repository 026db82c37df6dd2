"""What a store says of one clip, and what libav sees of its video now."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from facer.storage import FeatureStore
from facer.storage.errors import FacerError, PlaceError
from facer.storage.layout.parts import written_at
from facer.storage.schema import Record

_PLACE = ("part", "start")  # fields of a record that say where it lies


@dataclass(frozen=True)
class ClipStatus:
    """One record, and its video as ``libav_view`` of the guarded process gives it."""

    path: str
    record: Record
    written: str  # when, by its part's id; "" where that does not tell
    video: str  # the file that was looked at; "" for none
    seen: dict[str, Any] | None
    note: str = ""  # why nothing was seen, or that the file is another one now
    measured: str = "a face"  # what frames are with or without

    def to_json(self) -> dict[str, Any]:
        """As ``facer status STORE CLIP --json`` prints it."""
        values = {f.name: getattr(self.record, f.name) for f in fields(Record)}
        values = {name: value for name, value in values.items() if name not in _PLACE}
        return {"store": self.path, **values, "written": self.written, "video": self.video,
                "libav": self.seen, "note": self.note}  # fmt: skip

    def lines(self) -> list[str]:
        """The same for a person."""
        r = self.record
        found = [f"{r.clip_id}: {r.status}{f': {r.reason}' if r.reason else ''}"]
        rate = f", {r.fps:.2f} Hz" if not math.isnan(r.fps) else ""
        size = f", {r.width_px} x {r.height_px} px" if r.width_px else ""
        found.append(f"  {r.n_frames} frames, {r.n_valid} with {self.measured}{rate}{size}")
        digest, written = r.source_sha256[:12] or "-", self.written or "?"
        source = r.source or "(imported)"
        found.append(f"  source {source}, {r.source_size} bytes, sha256 {digest}; "
                     f"written {written} in {r.seconds:.1f} s")  # fmt: skip
        if self.note:
            found.append(f"  {self.note}")
        return found if self.seen is None else [*found, *seen_lines(self.seen)]


def clip_status(store: FeatureStore, clip_id: str, videos: str | Path | None = None) -> ClipStatus:
    """Return a clip's record; with ``videos`` (the VIDEO_DIR), what libav sees of its video too.

    FacerError for an unknown clip. A video that is not there is told in ``note``.
    """
    record = store.record(clip_id)
    at = written_at(record.part)
    written = "" if at is None else at.isoformat(timespec="seconds")
    bare = ClipStatus(store.path, record, written, "", None, measured=store.provenance.measured)
    if videos is None or not record.source:
        return bare
    from facer.pipeline.features.guarded.guard import ask

    try:
        with _local(record, videos) as path:
            seen: dict[str, Any] = ask("libav_view", path)
    except (FacerError, PlaceError) as error:
        return replace(bare, note=str(error))
    same = seen["bytes"] == record.source_size or not record.source_sha256
    note = "" if same else "the video is not the one that was extracted: its size differs"
    return replace(bare, video=f"{videos}/{record.source}", seen=seen, note=note)


def _local(record: Record, videos: str | Path) -> AbstractContextManager[Path]:
    from facer.pipeline.features.sources import open_videos
    from facer.pipeline.features.stored_video import source_of, source_video

    if "://" not in str(videos):
        return nullcontext(source_video(record, Path(videos)))
    source_of(record, videos)
    return open_videos(videos).local(record.source)


def seen_lines(seen: dict[str, Any]) -> list[str]:
    """Return what libav sees as lines of text."""
    container = seen["container"]
    found = [
        f"libav {seen['libav']} sees: {seen['bytes']} bytes that begin {seen['begins_with']!r}"
    ]
    if container is not None:
        length = _number(container["duration_s"], "s")
        found.append(f"  container {container['format']} ({container['name']}), {length}, "
                     f"{container['streams']} streams")  # fmt: skip
    found += [
        f"  stream {i}{' (read)' if i == seen['read'] else ''}: {_stream(one)}"
        for i, one in enumerate(seen["streams"])
    ]
    if seen["error"]:
        found.append(f"  {seen['error']}")
    if container is not None:
        whole = "all of it" if seen["all_frames"] else "not to its end"
        found.append(f"  {seen['frames']} frames decoded, {whole}")
    found += [f"  odd: {seen['problem']}"] if seen["problem"] else []
    return [*found, *(f"  libav: {line}" for line in seen["log"])]


def _stream(one: dict[str, Any]) -> str:
    words = [f"{one['type']} {one['codec']}", "" if one["decoder"] else "(no decoder)"]
    words.append(one["profile"] or "")
    if "width_px" in one:
        words.append(f"{one['width_px']} x {one['height_px']} {one['pixels']}")
        words.append(_number(one["rate_hz"], "Hz"))
        words.append("" if one["sample_aspect"] == "1" else f"aspect {one['sample_aspect']}")
    words.append(_number(one["duration_s"], "s"))
    return ", ".join(filter(None, words))


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.2f} {unit}"
