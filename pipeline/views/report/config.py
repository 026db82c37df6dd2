"""What ``facer report`` is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from facer.pipeline.intensity.config import WITH
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.labels.challenges import Split
from facer.storage.labels.options import LabelOptions
from facer.storage.settings import Setting, check


def check_video_dir(videos: Path | None) -> None:
    """FacerError where a folder of videos is given that is none."""
    if videos is not None and not videos.is_dir():
        raise FacerError(f"{named('videos')} {videos}: no such folder, expected the VIDEO_DIR")


@dataclass(frozen=True)
class ReportConfig:
    """One ``facer report``."""

    source: str  # a store, a run of train-head or the folder of ablate
    output: Path
    videos: Annotated[
        Path | None, Setting("The VIDEO_DIR: clip pages then show the video and its faces.")
    ] = None
    clips: Annotated[
        tuple[str, ...],
        Setting(
            "Clips that get a page; repeatable.",
            none="worst:50",
            metavar="ID|worst:N|all",
            repeated=True,
        ),
    ] = ()
    embed: Annotated[bool, Setting("Copy videos small (H.264) instead of linking them.")] = False
    split: Annotated[Split, Setting("Of a run: train, val or test.")] = "val"
    labels: Annotated[str | None, Setting("Of a run: where its labels are now, or others.")] = None
    store: Annotated[str | None, Setting("Of a run: where its store is now, or another one.")] = (
        None
    )
    stores: Annotated[tuple[str, ...], WITH] = ()
    reading: LabelOptions = field(default_factory=LabelOptions)  # other than the run's

    def __post_init__(self) -> None:
        check(self)
        check_video_dir(self.videos)
        if self.embed and self.videos is None:
            raise OptionError(
                f"{named('embed')}: found no {named('videos')}, expected the folder to copy from"
            )

    def choose(self, ranked: Sequence[str]) -> list[str]:
        """The clips that get a page, of ids ranked worst first; each once.

        Raises FacerError for an id that is not among them.
        """
        chosen: dict[str, None] = {}
        known = set(ranked)
        for wish in self.clips or ("worst:50",):
            name, _, count = wish.partition(":")
            if wish in known:
                chosen[wish] = None
            elif wish == "all":
                chosen.update(dict.fromkeys(ranked))
            elif name == "worst" and count.isdecimal():
                chosen.update(dict.fromkeys(ranked[: int(count)]))
            else:
                raise FacerError(
                    f"{named('clips')} {wish}: not one of the {len(ranked)} clips with frames; "
                    "expected a clip id, worst:N or all"
                )
        return list(chosen)
