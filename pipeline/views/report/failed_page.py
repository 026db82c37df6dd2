"""The pages of clips that failed: the reason, and what libav sees of the file now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facer.pipeline.features.inspect.clip_status import clip_status, seen_lines
from facer.pipeline.views.report.folder import CLIPS, ReportFolder, page_name
from facer.storage import FeatureStore, Record

_MOST = 50  # pages


def write_failed_pages(
    store: FeatureStore, folder: ReportFolder, failed: Sequence[Record], videos: Path, back: str
) -> dict[str, str]:
    """Write pages of failed clips, of 50 at most; return their URLs from the index."""
    urls = {}
    for record in failed[:_MOST]:
        found = clip_status(store, record.clip_id, videos)
        name = f"{CLIPS}/{page_name(record.clip_id)}"
        facts = [("reason", record.reason), ("video", record.source or "unknown"),
                 ("bytes when it was tried", f"{record.source_size:,}"),
                 ("tried", found.written or "unknown")]  # fmt: skip
        lines = [found.note] if found.note else []
        lines += seen_lines(found.seen) if found.seen is not None else []
        folder.page(name, "failed.html", {}, title=record.clip_id, back=back, facts=facts,
                    lines=lines or ["The store does not know its file."])  # fmt: skip
        urls[record.clip_id] = f"{name}.html"
    return urls
