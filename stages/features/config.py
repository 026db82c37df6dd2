"""Settings of stage one: which detector and REC, which face, which frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from facer.storage.errors import OptionError, named
from facer.storage.settings import DEVICE, Checked, Setting, check

Precision = Literal["auto", "float32", "bf16"]
FacePolicy = Literal["track", "largest", "central", "all"]

STARTER_DETECTOR = "facer-det"
"""Name of the detector that the package carries."""

STARTER_REC = "rec-small"
"""Name of the REC that the package carries."""

STARTER_SIZE_PX = 320
STARTER_THRESHOLD = 0.475
"""Longer side that facer-det is meant to see, and score from which on it is a face: chosen on
photographs of people and scenes kept from training (docs/starter-models.md)."""

STARTER_INTERVAL = 4
"""Frames between two key frames of facer-det, whose faces the refiner follows."""

_OTHER_SIZE_PX, _OTHER_THRESHOLD = 640, 0.5  # of other detectors, as insightface has them


@dataclass(frozen=True)
class DetectorConfig(Checked):
    """Which detector, and how it looks at a frame."""

    model: Annotated[
        str,
        Setting(
            "facer-det, insightface:PACK (such as insightface:buffalo_l) or an ONNX file in "
            "insightface's RetinaFace or SCRFD layout.",
            name="detector",
            metavar="NAME",
        ),
    ] = STARTER_DETECTOR
    input_px: Annotated[
        int | None,
        Setting(
            "Longer side that the detector sees.",
            name="det_size",
            low=32,
            none="320 for facer-det, else 640",
            metavar="PX",
        ),
    ] = None
    score: Annotated[
        float | None,
        Setting(
            "Score from which on it is a face.",
            name="det_threshold",
            low=0,
            high=1,
            low_open=True,
            high_open=True,
            none="0.475 for facer-det, else 0.5",
        ),
    ] = None
    threads: int = 1
    device: str = "cpu"  # cpu, cuda or cuda:N
    bf16: bool = False  # facer-det on a CPU in bfloat16

    @property
    def size_px(self) -> int:
        """Longer side of the detector's input; fixed for most detectors but facer-det."""
        usual = STARTER_SIZE_PX if self.model == STARTER_DETECTOR else _OTHER_SIZE_PX
        return usual if self.input_px is None else self.input_px

    def in_use(self) -> dict[str, Any]:
        """What a detector is loaded with, as run folders keep it."""
        return {
            "model": self.model, "size_px": self.size_px, "threshold": self.threshold,
            "threads": self.threads, "device": self.device,
        }  # fmt: skip

    @property
    def threshold(self) -> float:
        """Detection score from which on it is a face."""
        usual = STARTER_THRESHOLD if self.model == STARTER_DETECTOR else _OTHER_THRESHOLD
        return usual if self.score is None else self.score


@dataclass(frozen=True)
class ExtractConfig:
    """Everything that decides a clip's features, and how fast they come."""

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    rec: Annotated[
        str | tuple[str, ...],
        Setting(
            "rec-small, the path of .safetensors or .onnx weights, or a model card: a name of "
            "facer models list, or the path of a .toml. Several: their columns are merged.",
            repeated=True,
            metavar="NAME",
        ),
    ] = (STARTER_REC,)
    prefer: Annotated[
        tuple[str, ...],
        Setting(
            "Where several networks give a column, whose it is: NAME, COLUMN=NAME or GROUP=NAME "
            "(va, expr, au).",
            repeated=True,
            metavar="NAME",
        ),
    ] = ()
    device: Annotated[str, DEVICE] = "auto"
    face: Annotated[
        FacePolicy,
        Setting(
            "Which face of a frame counts: track (the one that dominates the clip), largest, "
            "central, or all (one sequence a person: clip_id#0, clip_id#1 ...)."
        ),
    ] = "track"
    stride: Annotated[int, Setting("Keep every Nth frame.", low=1, metavar="N")] = 1
    detect_every: Annotated[
        int | None,
        Setting(
            "Interval between detector frames; where faces cannot be followed it detects more "
            "often, and points are measured on all.",
            low=1,
            none="4 for facer-det, else 1",
            metavar="N",
        ),
    ] = None
    precision: Annotated[
        Precision,
        Setting(
            "What facer's own networks are computed in: float32, bf16, or auto: as the store was "
            "made; a new one in bf16 on a GPU or a CPU that has it (Intel's AMX, AMD's "
            "AVX512-BF16), else float32. Cards and other ONNX files stay in float32."
        ),
    ] = "auto"
    embedding: Annotated[
        bool, Setting("Also store REC's pooled space, for heads on --features embedding.")
    ] = False
    identify: Annotated[
        bool,
        Setting(
            "Tell people apart by the identity embedding of a card: a clip's face is one person, "
            "also after a cut."
        ),
    ] = False
    batch_size: Annotated[
        int, Setting("Frames per run of the models; never changes results.", low=1)
    ] = 32
    decoders: Annotated[
        int | None,
        Setting(
            "Videos that each process decodes at once.",
            low=1,
            none="1; on a GPU one per core, at most 8",
            metavar="N",
        ),
    ] = None

    def __post_init__(self) -> None:
        check(self)
        if not self.recs:
            raise OptionError(f"{named('rec')}: found none, expected one or more")
        if self.identify and self.face not in ("track", "all"):
            raise OptionError(
                f"{named('identify')}: found {named('face')} {self.face}, expected track or all"
            )

    @property
    def recs(self) -> tuple[str, ...]:
        """The networks, by name or path."""
        return (self.rec,) if isinstance(self.rec, str) else self.rec

    @property
    def keyframe_interval(self) -> int:
        """Frames from one that the detector sees to the next."""
        if self.detect_every is not None:
            return self.detect_every
        return STARTER_INTERVAL if self.detector.model == STARTER_DETECTOR else 1
