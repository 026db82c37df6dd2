"""Settings of runs of stage one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from facer.pipeline.runtime.tls import SCHEDULER, TlsFiles
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.config import ExtractConfig, Precision
from facer.storage.errors import OptionError, named
from facer.storage.settings import Checked, Setting, check

OnChanged = Literal["keep", "re-extract", "error"]
OnGone = Literal["keep", "drop"]


@dataclass(frozen=True)
class FacesFile(Checked):
    """Which faces are meant, of ``facer extract``."""

    faces: Annotated[
        Path | None,
        Setting(
            "faces.csv of facer view: clips in which somebody pointed at a face follow that one, "
            "and are done again where they did not; for --face track."
        ),
    ] = None


@dataclass(frozen=True)
class ExtractRunConfig:
    """One ``facer extract`` or ``extract-audio``: which videos, into which store, how."""

    video_dir: Path | str  # a folder or one video: local path or fsspec URL
    store: str  # local path or fsspec URL
    extract: ExtractConfig | AudioConfig = field(default_factory=ExtractConfig)
    workers: Annotated[
        int | None,
        Setting("Processes here.", low=1, none="one per core; one per GPU, if any"),
    ] = None
    scheduler: Annotated[str | None, SCHEDULER] = None
    part_size: Annotated[int, Setting("Clips per unit of work.", low=1)] = 32
    retry_failed: Annotated[bool, Setting("Also try clips again that failed before.")] = False
    changed: Annotated[
        OnChanged,
        Setting(
            "Videos whose content is not what was extracted: keep their features and say how many "
            "there are, re-extract, or error. Failed ones are tried again."
        ),
    ] = "keep"
    tls: TlsFiles | None = None  # for a scheduler at tls://
    settle_s: Annotated[
        float,
        Setting(
            "Leave videos for the next run that were written to less than this ago.",
            name="settle",
            low=0,
            metavar="SECONDS",
        ),
    ] = 0.0
    gone: Annotated[
        OnGone,
        Setting(
            "Clips of the store whose video is no longer in VIDEO_DIR: keep or drop them; it is "
            "told how many there are."
        ),
    ] = "keep"
    faces: Path | None = None  # of FacesFile

    def __post_init__(self) -> None:
        check(self)
        if self.faces is not None and self.extract.face != "track":
            raise OptionError(
                f"{named('faces')}: found {named('face')} {self.extract.face}, expected track"
            )


@dataclass(frozen=True)
class VerifyConfig(Checked):
    """One ``facer verify``."""

    store: str  # local path or fsspec URL
    jobs: Annotated[int | None, Setting("Parts read at a time.", low=1, none="one per core")] = None
    videos: Annotated[
        Path | str | None,
        Setting("Also say which videos changed, are gone or have no record.", metavar="VIDEO_DIR"),
    ] = None
    repair: Annotated[bool, Setting("Drop damaged parts, for extract to make them anew.")] = False


@dataclass(frozen=True)
class HealthConfig(Checked):
    """One ``facer health``."""

    max_age: Annotated[
        float | None,
        Setting(
            "Hours since a clip was last written.", low=0, metavar="HOURS", none="any age"
        ),
    ] = None  # fmt: skip
    max_failed: Annotated[
        str | None,
        Setting(
            "Failed clips, or their share of all.", metavar="N|P%", none="any number",
            pattern=r"\d{1,9}|(\d{1,2}(\.\d+)?|100)%",
            words="a number of clips, or a share such as 5%",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class CompactConfig(Checked):
    """One ``facer compact``."""

    part_mb: Annotated[
        float,
        Setting("Megabytes of values in a part at most; memory is a few times as much.", low=1,
                high=4000),
    ] = 64.0  # fmt: skip


@dataclass(frozen=True)
class BenchConfig(Checked):
    """One ``facer bench``."""

    video: Path | None = None  # None: a typical one of the folder, else a clip that facer makes
    folder: Annotated[
        Path | None,
        Setting("Estimate for the videos of a folder instead.", metavar="VIDEO_DIR"),
    ] = None
    clips: Annotated[int, Setting("Clips to estimate for.", low=0, low_open=True)] = 1000
    seconds_per_clip: Annotated[float, Setting("How long they are.", low=0, low_open=True)] = 10.0
    precision: Annotated[
        Precision,
        Setting("What the networks are computed in: float32, bf16, or auto, as a new store."),
    ] = "auto"
    limit_s: float = 15.0  # measuring a video ends after so long
