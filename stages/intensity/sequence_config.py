"""Settings of stage two: how the features of a clip, of one store or several, become a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from facer.storage.errors import OptionError, named
from facer.storage.schema import FEATURE_GROUPS
from facer.storage.settings import Checked, Setting

Missing = Literal["hold", "zero", "drop"]
Align = Literal["mean", "nearest", "linear"]
Lacking = Literal["drop", "fill"]
Overlong = Literal["subsample", "truncate", "error"]

MOST_STREAMS = 64
"""Streams of a head, the first store's and its embedding among them."""

_TAKEN = ("all", "embedding", *FEATURE_GROUPS)  # words of --features


@dataclass(frozen=True)
class SequenceConfig(Checked):
    """How a clip's features become a sequence."""

    features: Annotated[
        tuple[str, ...],
        Setting(
            "va, expr, au (all columns of that kind that the store has), all, embedding or column "
            "names, joined by commas."
        ),
    ] = ("all",)
    missing: Annotated[
        Missing, Setting("Frames without a face: hold the last value, zero, or drop them.")
    ] = "hold"
    overlong: Annotated[
        Overlong, Setting("Clips of more than t frames: subsample, truncate or error.")
    ] = "subsample"
    max_frames: Annotated[int, Setting("Frames a head sees.", name="t", low=1)] = 480
    min_quality: Annotated[
        float | None,
        Setting("Frames of a lower quality count as frames without a face.", low=0, high=1),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.features:
            raise OptionError(
                f"{named('features')}: found none, expected at least one, such as va,expr,au"
            )


def stream_setting(text: str) -> Setting:
    """A setting of joined stores, each NAME=STORE."""
    return Setting(
        text, name="with_", metavar="NAME=STORE", repeated=True,
        pattern=r"[A-Za-z][A-Za-z0-9_-]{0,63}=.+",
        words="NAME=STORE, the name of letters, digits, - and _",
    )  # fmt: skip


@dataclass(frozen=True)
class StreamsConfig(Checked):
    """Other stores of the same clips beside the first, and how their rows meet its frames."""

    stores: Annotated[
        tuple[str, ...],
        stream_setting(
            "Another store of the same clips, such as audio=audio.zarr; repeatable. Its columns "
            "are NAME.column."
        ),
    ] = ()
    align: Annotated[
        Align,
        Setting(
            "Rows of another store for a frame: the mean of those nearest to it, the nearest, or "
            "between the two beside it."
        ),
    ] = "mean"
    rate: Annotated[
        float | None,
        Setting(
            "Frames a second of the joined sequences, in Hz.",
            low=0,
            low_open=True,
            none="the first store's own frames",
        ),
    ] = None
    lacking: Annotated[
        Lacking, Setting("Clips that lack a stream: drop them, or fill its columns with zeros.")
    ] = "drop"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.stores) > MOST_STREAMS - 2:
            raise OptionError(
                f"{named('with_')}: found {len(self.stores)} stores, expected at most "
                f"{MOST_STREAMS - 2}"
            )
        names = [store.partition("=")[0] for store in self.stores]
        for name in names:
            if name in _TAKEN or names.count(name) > 1:
                raise OptionError(
                    f"{named('with_')} {name}=...: expected a name of its own, and none of "
                    f"{', '.join(_TAKEN)}"
                )

    @property
    def places(self) -> Mapping[str, str]:
        """Path or URL of each store by its name."""
        return {name: place for name, _, place in (one.partition("=") for one in self.stores)}
