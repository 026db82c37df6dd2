"""What ``facer report`` is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facer.storage import LabelOptions
from facer.storage.errors import FacerError, OptionError

OnPage = Callable[[int, int], None]
"""Called with how many pages of clips are written, and of how many."""


@dataclass(frozen=True)
class ReportConfig:
    """One ``facer report``."""

    source: str  # a store, a run of train-head or the folder of ablate
    output: Path
    videos: Path | None = None  # VIDEO_DIR of the store
    clips: tuple[str, ...] = ()  # which get a page: ids, worst:N or all; none given: worst:50
    embed: bool = False  # copy videos instead of linking them
    split: str = "val"  # of a run
    labels: str | None = None  # of a run, where its own have moved
    store: str | None = None  # of a run, where its own has moved
    reading: LabelOptions = field(default_factory=LabelOptions)  # other than the run's

    def __post_init__(self) -> None:
        if self.videos is not None and not self.videos.is_dir():
            raise FacerError(f"--videos {self.videos}: no such folder, expected the VIDEO_DIR")
        if self.embed and self.videos is None:
            raise OptionError("--embed: found no --videos VIDEO_DIR, expected the videos to copy")

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
                    f"--clips {wish}: not one of the {len(ranked)} clips with frames; expected a "
                    "clip id, worst:N or all"
                )
        return list(chosen)
