"""Names, orders and record types: the one definition that every other module uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    F32 = npt.NDArray[np.float32]
    F64 = npt.NDArray[np.float64]
    I32 = npt.NDArray[np.int32]
    I64 = npt.NDArray[np.int64]
    U8 = npt.NDArray[np.uint8]
    Bools = npt.NDArray[np.bool_]
else:  # numpy takes longer to load than all that facer --help needs
    F32 = F64 = I32 = I64 = U8 = Bools = Any

OnCount = Callable[[int, int], None]
"""Called with how many are done, and of how many in all."""

STORE_VERSION = 2
"""Version of the store format written by this facer (docs/store-format.md)."""

EXPRESSIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 15, 17, 20, 23, 24, 25, 26)
AU_NAMES = tuple(f"au{unit:02d}" for unit in ACTION_UNITS)
VALENCE_AROUSAL = ("valence", "arousal")
FEATURE_NAMES = (*VALENCE_AROUSAL, *EXPRESSIONS, *AU_NAMES)
FEATURE_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"va": VALENCE_AROUSAL, "expr": EXPRESSIONS, "au": AU_NAMES}
)
"""facer's own columns by kind; :func:`columns_of` is for stores, which may have more."""

OTHER_COLUMNS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {"expr": re.compile("contempt"), "au": re.compile(r"au\d\d(_left|_right)?(_intensity)?")}
)


def columns_of(group: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return all columns of a kind (va, expr, au) among a store's: facer's own in its order, then
    those that other networks give, such as contempt, au14, au45, au12_left, au12_intensity.

    >>> columns_of("au", ["au45", "au14", "gaze_yaw", "au12"])
    ('au12', 'au45', 'au14')
    """
    known = dict.fromkeys(names)  # a store may have very many
    own, others = FEATURE_GROUPS[group], OTHER_COLUMNS.get(group)
    found = [name for name in own if name in known]
    if others is not None:
        found.extend(n for n in known if n not in own and others.fullmatch(n))
    return tuple(found)


Status = Literal["ok", "no_face", "no_sound", "failed"]
AUDIO = "audio"
"""The modality of a store of sound, in the settings of its provenance; others name none."""


def measured_of(statuses: Iterable[str]) -> str:
    """Return what the clips of a store are with or without, by their statuses: "a face"."""
    return "sound" if "no_sound" in statuses else "a face"


@dataclass(frozen=True)
class ClipFeatures:
    """What one clip's frames gave; one row per decoded frame, T rows.

    A frame without a face has NaN features, score, box, points and quality, and ``valid`` False.
    Of sound, a frame is a window of it: one that is not whole is not ``valid``, and none has a
    face.

    - ``features`` (T, F)
    - ``timestamp_s`` (T,): presentation time
    - ``valid`` (T,): a face was measured
    - ``det_score`` (T,)
    - ``bbox_px`` (T, 4): x1 y1 x2 y2 in the upright frame
    - ``keypoints_px`` (T, 5, 2)
    - ``n_faces`` (T,): faces found in the frame
    - ``embedding`` (T, D)
    - ``quality`` (T,): how far the features can be trusted, 0 to 1
    """

    features: F32
    timestamp_s: F64
    valid: Bools
    det_score: F32
    bbox_px: F32
    keypoints_px: F32
    n_faces: npt.NDArray[np.int16]
    embedding: npt.NDArray[np.float16] | None = None
    quality: F32 | None = None

    @property
    def n_frames(self) -> int:
        """Number of decoded frames, T."""
        return len(self.timestamp_s)


def mean_rate_hz(timestamp_s: F64) -> float:
    """Return the mean frame rate by the frames' own times (T,), NaN when they do not tell it."""
    span = float(timestamp_s[-1] - timestamp_s[0]) if len(timestamp_s) > 1 else 0.0
    return (len(timestamp_s) - 1) / span if span > 0 else float("nan")


@dataclass(frozen=True)
class Record:
    """One clip's entry in a store; written after its arrays, so a record means done.

    - ``reason``: why it failed, or what was odd about an ok clip
    - ``fps``: mean frame rate in Hz; nan when unknown
    - ``source``: path relative to VIDEO_DIR, with its extension
    - ``source_size``: bytes
    - ``seconds``: spent on the clip
    - ``n_valid``: frames with a measured face
    - ``track_switches``: how often the clip's face goes on as another track
    - ``quality``: mean over the frames with a face, 0 to 1, where it is known
    - ``face_points``: where somebody pointed at its face: time_s,x_px,y_px;... of --faces
    - ``part``: where the rows lie: part id and first row; set by the store
    """

    clip_id: str
    status: Status
    n_frames: int
    reason: str = ""
    fps: float = float("nan")
    width_px: int = 0
    height_px: int = 0
    source: str = ""
    source_size: int = 0
    source_mtime_ns: int = 0
    source_sha256: str = ""
    seconds: float = 0.0
    n_valid: int = 0
    track_switches: int = 0
    quality: float | None = None
    face_points: str = ""
    part: str = ""
    start: int = 0

    @property
    def stop(self) -> int:
        """Row after the clip's last one in its part."""
        return self.start + self.n_frames

    @property
    def overall_quality(self) -> float:
        """Mean quality over all frames, of which one without a face has 0; NaN without frames.

        Where quality is not known, a frame with a face has 1.
        """
        if not self.n_frames:
            return float("nan")
        return (1.0 if self.quality is None else self.quality) * self.n_valid / self.n_frames


_OF_NETWORK = re.compile(r"rec (.+) (sha256|card_sha256|precision)", re.DOTALL)


def network_setting(name: str, what: str) -> str:
    """Return the key in a provenance's settings of what is said of one network by itself.

    ``what``: sha256, card_sha256 or precision.
    """
    return f"rec {name} {what}"


def networks_of(settings: Mapping[str, str | int | float]) -> dict[str, dict[str, str]]:
    """Return what a provenance's settings say of each network, by its name.

    >>> networks_of({"rec my net precision": "float32", "stride": 1})
    {'my net': {'precision': 'float32'}}
    """
    found: dict[str, dict[str, str]] = {}
    for key, value in settings.items():
        if of := _OF_NETWORK.fullmatch(key):
            found.setdefault(of[1], {})[of[2]] = str(value)
    return found


@dataclass(frozen=True)
class Provenance:
    """What made a store's features; two stores mix only when these agree.

    ``facer_version`` and ``libav_version`` are recorded but not compared.
    """

    detector: str
    detector_sha256: str
    rec: str
    rec_sha256: str
    alignment: str = "arcface-112"
    face_policy: str = "track"
    frame_policy: str = "every frame"
    # detector input, threshold ...
    settings: Mapping[str, str | int | float] = field(default_factory=dict)
    facer_version: str = ""
    decoder: str = ""  # "opencv" in stores made before libav decoded; "" where none did
    libav_version: str = ""

    @property
    def of_sound(self) -> bool:
        """Whether the features are of a clip's sound; else they are of a face."""
        return self.settings.get("modality") == AUDIO

    @property
    def kind(self) -> str:
        """What the features are of, in a word."""
        return "sound" if self.of_sound else "faces"

    @property
    def measured(self) -> str:
        """What frames are with or without."""
        return measured_of(self.statuses)

    @property
    def statuses(self) -> tuple[Status, Status, Status]:
        """Those that a record can have: measured, nothing there to measure, failed."""
        return ("ok", "no_sound" if self.of_sound else "no_face", "failed")
