"""Settings of the trainings of the detector and its refiner, and of their measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from facer.storage.errors import OptionError, named
from facer.storage.settings import SEED, Checked, Setting, check

Split = Literal["train", "tune", "val", "first", "second", "without-first", "without-second", "all"]

CLIPS = Setting("Folder of videos whose frames the teacher labels.")
STEPS = Setting("Optimiser steps.", low=1)
RATE = Setting("The largest.", low=0, high=1, low_open=True, high_open=True)


@dataclass(frozen=True)
class DetectionLossWeights:
    """Weights of the three terms, all at least 0."""

    score: float = 1.0
    bbox: float = 1.0
    kps: float = 10.0


@dataclass(frozen=True)
class NetworkConfig:
    """Widths (channels) of the body by stride 2, 4, 8, 16, 32 and of the pyramid."""

    stem: int = 16
    stride4: int = 32
    stride8: int = 48
    stride16: int = 64
    stride32: int = 96
    pyramid: int = 48


@dataclass(frozen=True)
class SceneConfig:
    """How often what is shown, and how large; sizes are sqrt(width * height) of the box."""

    p_people: float = 0.64  # a photograph of people, or a frame of theirs
    p_frame: float = 0.1  # a video frame that the teacher labelled
    p_scene: float = 0.1  # a scene without faces; the rest are pasted photographs
    p_four: float = 0.35  # four of them beside each other, in images of 160 px and more
    p_whole: float = 0.4  # a photograph or frame is seen whole, and not a face at some size
    min_face_px: float = 13.0
    max_face_share: float = 1.35  # of the image's shorter side
    p_roll: float = 0.4  # any roll up to the largest; the others hardly roll
    roll_sd_degrees: float = 6.0
    max_roll_degrees: float = 55.0


@dataclass(frozen=True)
class TrainConfig(Checked):
    """What a training of the detector and one of its refiner share; all decides the result."""

    COMMAND: ClassVar[str]
    OPTIONS: ClassVar[tuple[str, ...]] = (
        "faces", "crops", "scenes", "clips", "teacher", "steps", "seed",
    )  # fmt: skip

    faces: Annotated[
        Path, Setting("HDF5 of photographs with five points each (jpeg, points_px, split).")
    ]
    scenes: Annotated[Path, Setting("Folder of photographs without faces.")]
    clips: Annotated[Path, CLIPS]
    teacher: Annotated[Path, Setting("A detector in insightface's RetinaFace layout (ONNX).")]
    people: Annotated[Path | None, Setting(
        "Folder of photographs of people with faces.csv; some sources are left out.",
    )] = None  # fmt: skip
    people_clips: Annotated[
        Path | None, Setting("Folder of clips of people with faces.csv and frames.csv.")
    ] = None
    split: Annotated[Split, Setting(
        "Which sources of the people are trained on; those of tune and val, or a half of them, are "
        "kept for choosing and measuring.",
    )] = "train"  # fmt: skip
    steps: Annotated[int, STEPS] = 7000
    batch: int = 16
    learning_rate: Annotated[float, RATE] = 2.5e-3
    warmup: int = 300
    weight_decay: float = 0.02
    ema_decay: float = field(default=0.999, metadata={"was": "ema"})
    held_out_scenes: int = 100  # kept from training, for false positives
    checkpoint_every: int = 500
    seed: Annotated[int, SEED] = 0
    bf16: Annotated[bool, Setting("Compute products in bfloat16.")] = False

    def provenance(self, used: Mapping[str, int], seen: Sequence[Split]) -> dict[str, Any]:
        """What a file of weights says of its making: names of files without their folders, how
        much of each kind was used, and the splits of the people that the weights have seen.
        """
        people = tuple(path for path in (self.people, self.people_clips) if path is not None)
        paths = {**vars(self), "people": people}
        return {
            **{name: _file_names(paths[name]) for name in _FILES if name in paths},
            "used": dict(used),
            **{name: paths[name] for name in ("split", "steps", "batch", "seed")},
            "seen": list(seen),
        }


_FILES = ("faces", "crops", "scenes", "clips", "teacher", "people", "detector", "start")


def _file_names(found: Path | tuple[Path, ...] | None) -> str | list[str]:
    if isinstance(found, tuple):
        return [path.name for path in found]
    return "" if found is None else found.name


@dataclass(frozen=True)
class DetectorTrainConfig(TrainConfig):
    """One training of the detector."""

    COMMAND: ClassVar[str] = "facer train-detector"

    name: str = "facer-det-2"  # what the ONNX file calls itself
    batch: int = 16  # images of 192 x 320; as many pixels of images of other shapes
    teacher_threshold: float = 0.5
    frame_every: int = 2  # frames of a video from one that is used to the next
    start: Annotated[Path | None, Setting(
        "Weights to begin with: a checkpoint, or a detector.onnx that facer wrote.",
    )] = None  # fmt: skip
    network: NetworkConfig = field(default_factory=NetworkConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    loss: DetectionLossWeights = field(default_factory=DetectionLossWeights)


@dataclass(frozen=True)
class RefinerTrainConfig(TrainConfig):
    """One training of the points model."""

    COMMAND: ClassVar[str] = "facer train-points"

    crops: Annotated[tuple[Path, ...], Setting(
        "Packs of aligned crops (jpeg, points, split); repeatable.", repeated=True,
    )] = field(kw_only=True)  # fmt: skip
    detector: Annotated[Path | None, Setting(
        "The detector.onnx whose right and wrong guesses are learnt from as well.",
    )] = None  # fmt: skip
    steps: Annotated[int, STEPS] = 9000
    batch: int = 96
    learning_rate: Annotated[float, RATE] = 2e-3
    start: Annotated[
        Path | None, Setting("Weights to begin with: a points.onnx that facer wrote.")
    ] = None


@dataclass(frozen=True)
class EvaluationConfig:
    """What a detector is measured on; each part for itself, None leaves it out."""

    detector: str  # facer-det, insightface:PACK or the path of an ONNX file
    people: Annotated[
        Path | None,
        Setting(
            "Folder of photographs of people with faces.csv: what is found, by pose, size and "
            "light."
        ),
    ] = None
    people_clips: Annotated[Path | None, Setting(
        "Folder of clips of people with faces.csv and frames.csv: the same.",
    )] = None  # fmt: skip
    split: Annotated[Split, Setting("Which of their sources.")] = "val"
    scenes: Annotated[Path | None, Setting(
        "Folder of photographs without faces; those kept from training are used.",
    )] = None  # fmt: skip
    clips: Annotated[Path | None, CLIPS] = None
    teacher: Annotated[Path | None, Setting(
        "The detector whose faces are to be found (RetinaFace layout, ONNX).",
    )] = None  # fmt: skip
    threshold: Annotated[float | None, Setting(
        "Score from which on it is a face.",
        low=0, high=1, low_open=True, high_open=True, none="the detector's own",
    )] = None  # fmt: skip
    held_out_scenes: int = 100

    def __post_init__(self) -> None:
        check(self)
        if (self.clips is None) != (self.teacher is None):
            raise OptionError(
                f"evaluate-detector: found one of {named('clips')} and {named('teacher')}, "
                "expected both or none"
            )
        if not any((self.people, self.people_clips, self.scenes, self.clips)):
            raise OptionError(
                f"evaluate-detector: found nothing to measure on, expected {named('people')}, "
                f"{named('people_clips')}, {named('scenes')}, or {named('clips')} with "
                f"{named('teacher')}"
            )
