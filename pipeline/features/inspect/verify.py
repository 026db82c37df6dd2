"""Whether a store is whole and still that of its videos, and what to drop where it is not.

Torch is imported only to compare with videos: the rest answers at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facer.pipeline.features.config import VerifyConfig
from facer.stages.common.cores import cpu_count
from facer.storage import FeatureStore
from facer.storage.layout.documents import group_json
from facer.storage.layout.part_list import DOCUMENT
from facer.storage.layout.parts import PARTS
from facer.storage.schema import OnCount, Record
from facer.storage.verify import StoreReport, verify_store


@dataclass(frozen=True)
class VideoReport:
    """How a store's videos are now."""

    changed: tuple[str, ...]  # clip ids whose video is not what was extracted
    gone: tuple[str, ...]  # clip ids whose video is no longer there
    without_record: tuple[str, ...]  # videos that the store has nothing of

    @property
    def whole(self) -> bool:
        """Whether every video is as it was extracted."""
        return not (self.changed or self.gone or self.without_record)


@dataclass(frozen=True)
class Verification:
    """What was found, and what was dropped."""

    path: str
    found: StoreReport
    videos: VideoReport | None
    dropped: tuple[str, ...]  # parts
    again: tuple[str, ...]  # clips that the same extraction makes anew
    older: tuple[str, ...]  # clips of dropped parts that go back to an earlier record

    @property
    def whole(self) -> bool:
        """Whether nothing at all is wrong, nor was before the repair."""
        good_videos = self.videos is None or self.videos.whole
        bad = self.found.parts_of_state("damaged", "absent", "unknown")
        return good_videos and not bad and not self.found.group

    def to_json(self) -> dict[str, Any]:
        """As ``facer verify --json`` prints it."""
        clips, parts = self.found.clips, self.found.parts
        counts = Counter(clips.values())
        return {
            "store": self.path,
            **{state: counts[state] for state in ("whole", "damaged", "absent", "unknown")},
            "clips": clips,
            "parts": {
                part.part: {"state": part.state, "clips": len(part.clip_ids),
                            "reasons": part.reasons}
                for part in parts if part.state != "whole"
            },
            "parts_whole": sum(part.committed and part.state == "whole" for part in parts),
            "parts_unfinished": [part.part for part in parts if not part.committed],
            "parts_relaid": [part.part for part in parts if part.relaid],
            "group": self.found.group or None,
            "bytes": sum(part.n_bytes for part in parts),
            "videos": None if self.videos is None else vars(self.videos),
            "dropped": self.dropped,
            "to_extract_again": self.again,
            "back_to_earlier_record": self.older,
        }  # fmt: skip


def verify(config: VerifyConfig, on_compared: OnCount = lambda *_: None) -> Verification:
    """Read all of a store; compare it with its videos and drop what is damaged, if asked.

    ``on_compared(done, total)`` is called after each video whose content was compared. FacerError
    when the store cannot be opened at all.
    """
    store = FeatureStore.open(config.store)
    found = verify_store(store, config.jobs or cpu_count())
    dropped: tuple[str, ...] = ()
    older: set[str] = set()
    again: set[str] = set()
    if config.repair:
        damaged = found.parts_of_state("damaged", "absent")
        dropped = tuple(part.part for part in damaged)
        store.drop_parts(dropped)
        lost = {clip for part in damaged for clip in part.clip_ids}
        older = lost & set(store.clip_ids)
        again = lost - older
        if found.group:
            store.objects.put(f"{PARTS}/{DOCUMENT}", group_json({}))
    videos = None if config.videos is None else _compare(store, config.videos, on_compared)
    return Verification(
        store.path, found, videos, dropped, tuple(sorted(again)), tuple(sorted(older))
    )


def _compare(store: FeatureStore, place: Path | str, on_compared: OnCount) -> VideoReport:
    from facer.pipeline.features.fingerprints import changed
    from facer.pipeline.features.pending import video_id
    from facer.pipeline.features.sources import open_videos

    videos = open_videos(place, store.provenance.of_sound)
    policy = store.provenance.face_policy
    records: dict[str, Record] = {}
    for record in store.records:
        records.setdefault(video_id(record, policy), record)
    sources = {source.clip_id: source for source in videos.find()}
    both = sorted(records.keys() & sources.keys())
    pairs = [(sources[clip], records[clip]) for clip in both]
    other = changed(videos, pairs, on_compared)
    return VideoReport(
        tuple(clip for clip in both if clip in other),
        tuple(sorted(records.keys() - sources.keys())),
        tuple(sorted(sources.keys() - records.keys())),
    )
