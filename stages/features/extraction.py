"""What an extractor gives of a file, whatever it measures."""

from __future__ import annotations

from dataclasses import dataclass

from facer.storage.schema import ClipFeatures


@dataclass(frozen=True)
class ClipSequence:
    """One face, or the sound, through all of a clip."""

    clip: ClipFeatures
    track_switches: int = 0  # how often the face goes on as another track


@dataclass(frozen=True)
class Extraction:
    """What one file gave: a sequence for every chosen face, or the reason it failed."""

    sequences: tuple[ClipSequence, ...]  # one; more under --face all; none when it failed
    reason: str
    width_px: int = 0
    height_px: int = 0
    seconds: float = 0.0  # from the first to the last frame of the clip
