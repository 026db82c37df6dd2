"""Model cards: what the input and the outputs of a public network mean, as TOML beside its ONNX
file (docs/public-models.md).

A card is facts, no weights: which file, under which licence, how a face becomes its input, and
which of facer's columns each number of its outputs is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from facer.stages.features.card_tables import MAX_VALUES, NAME, build, check_name, read_tables
from facer.stages.features.rec.crops import CropSpec
from facer.storage.errors import FacerError

FORMAT = "facer-card-1"
CARDS = Path(str(files("facer.stages.features.rec.cards")))
"""The folder of the package's cards."""

_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_BLOB = re.compile(r"[0-9a-f]{40}")
PACKAGE_PICTURE = "facer:"  # before the name of a picture that comes with the package

_RESERVED = frozenset({
    "all", "au", "bbox_px", "clip_id", "det_score", "embedding", "expr", "face_id", "features",
    "frame", "frame_index", "keypoints_px", "n_faces", "quality", "status", "timestamp_s", "va",
    "valid",
})  # fmt: skip
"""Words that mean something else beside columns, in tables and options."""

_MOST = 1e6  # of a scale, mean or std, and one over it the least

Colour = Literal["rgb", "bgr", "grey"]
Layout = Literal["nchw", "nhwc"]
Activation = Literal["none", "softmax", "sigmoid", "tanh"]


@dataclass(frozen=True)
class CardFile:
    """Which file of weights, where it comes from, and what may be done with it."""

    name: str  # of the ONNX file, beside the card
    licence: str
    source: str  # the project's page
    training: str  # the sets that it was trained on
    sha256: str = ""  # of the weights; unknown until they were fetched
    git_blob: str = ""  # what git calls the file in the project's repository
    url: str = ""  # of the ONNX file; none where the project publishes no ONNX
    checkpoint: str = ""  # where the project's own file is
    export: str = ""  # the command that makes the ONNX file of it
    known_as: tuple[str, ...] = ()  # parts of the names of such checkpoints, in lower case
    notes: str = ""  # what a user must know of the numbers
    verified: str = ""  # which facts were read in the project's own sources, and where
    unverified: str = ""  # which were not

    def __post_init__(self) -> None:
        """Refuse names that lead elsewhere, and unknown digests."""
        if not NAME.fullmatch(self.name) or not self.name.endswith(".onnx"):
            raise FacerError(f"name: found {self.name!r}, expected the name of an .onnx file")
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            raise FacerError(f"sha256: found {self.sha256!r}, expected 64 hexadecimal digits")
        if self.git_blob and not _GIT_BLOB.fullmatch(self.git_blob):
            raise FacerError(f"git_blob: found {self.git_blob!r}, expected 40 hexadecimal digits")
        if self.url and not self.url.startswith(("https://", "http://")):
            raise FacerError(f"url: found {self.url!r}, expected https://...")


@dataclass(frozen=True)
class CardInput:
    """How a crop, RGB uint8, becomes the tensor: (pixel / scale - mean) / std."""

    size_px: int
    tensor: str = ""  # "": the network's only input
    layout: Layout = "nchw"
    colour: Colour = "rgb"
    scale: float = 255.0  # 1: pixels stay 0 to 255
    mean: tuple[float, ...] = (0.0,)  # one, or one a channel in the order of ``colour``
    std: tuple[float, ...] = (1.0,)
    batch: int = 0  # crops in a run; 0: as many as there are

    def __post_init__(self) -> None:
        """Refuse what is no preprocessing."""
        if not 0 <= self.batch <= 4096:
            raise FacerError(f"batch: found {self.batch}, expected 0 (free) to 4096")
        if not 1 / _MOST <= self.scale <= _MOST:
            raise FacerError(f"scale: found {self.scale}, expected {1 / _MOST:g} to {_MOST:g}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise FacerError(f"{name}: found {values}, expected 1 or {self.channels} numbers")
        if not all(abs(value) <= _MOST for value in self.mean):
            raise FacerError(f"mean: found {self.mean}, expected {-_MOST:g} to {_MOST:g}")
        if not all(1 / _MOST <= value <= _MOST for value in self.std):
            raise FacerError(f"std: found {self.std}, expected {1 / _MOST:g} to {_MOST:g}")
        self._check_units()

    def _check_units(self) -> None:
        """Refuse mean and std that are not in the unit of pixel / scale."""
        white = 255 / self.scale
        if not max(self.mean) <= white + 1 / _MOST:
            raise FacerError(
                f"mean: found {self.mean}, expected at most {white:g}, a white pixel by scale = "
                f"{self.scale:g}"
            )
        largest = max(abs(pixel - m) for pixel in (0, white) for m in self.mean) / min(self.std)
        if largest > 256:
            raise FacerError(
                f"std: found {self.std}, which makes pixels up to {largest:.0f}, expected it "
                f"in the unit of mean and of pixels from 0 to {white:g} by scale = {self.scale:g}"
            )

    @property
    def channels(self) -> int:
        """1 for grey, else 3."""
        return 1 if self.colour == "grey" else 3


@dataclass(frozen=True)
class CardOutput:
    """A stretch of an output tensor: activation, then dropped classes, then scale, then clip."""

    columns: tuple[str, ...] = ()  # in the tensor's order; "" is left out
    tensor: str = ""  # "": the network's only output
    slice: tuple[int, ...] = ()  # first and last + 1 of the tensor's columns; all of them
    activation: Activation = "none"
    drop: tuple[str, ...] = ()  # classes left out; the others add up to 1 again
    scale: float = 1.0
    clip: tuple[float, ...] = ()  # lowest and highest
    weak: tuple[str, ...] = ()  # columns that nobody annotated
    embedding: bool = False  # identity: no columns, a vector of length 1 for each face
    same_person: float = 0.35  # cosine from which on two embeddings are one person

    def __post_init__(self) -> None:
        """Refuse columns that cannot be stored."""
        if self.embedding == bool(self.columns):
            raise FacerError("columns: expected names of columns, or embedding = true without any")
        if len(self.columns) > MAX_VALUES:
            raise FacerError(f"columns: found {len(self.columns)}, expected {MAX_VALUES} at most")
        for name in filter(None, self.columns):
            if not _COLUMN.fullmatch(name):
                raise FacerError(f"columns: found {name[:40]!r}, expected names such as au12")
            if name in _RESERVED:
                raise FacerError(f"columns: found {name!r}, which means something else in tables")
        self._check_numbers()
        for option in ("drop", "weak"):
            strangers = set(getattr(self, option)) - set(self.columns)
            if strangers:
                raise FacerError(f"{option}: found {min(strangers)!r}, expected some of columns")
        if self.columns and not self.kept:
            raise FacerError("columns: found none that is kept, expected one or more")
        if self.drop and self.activation != "softmax":
            raise FacerError("drop: expected activation = 'softmax', whose classes add up to 1")

    def _check_numbers(self) -> None:
        bounds = self.slice
        if bounds and not (len(bounds) == 2 and 0 <= bounds[0] < bounds[1] <= 1 << 20):
            raise FacerError(f"slice: found {bounds}, expected first and last + 1")
        if bounds and self.columns and bounds[1] - bounds[0] != len(self.columns):
            raise FacerError(
                f"slice: found {bounds[1] - bounds[0]} numbers for {len(self.columns)} columns"
            )
        if not 1 / _MOST <= abs(self.scale) <= _MOST:
            raise FacerError(
                f"scale: found {self.scale}, expected {1 / _MOST:g} to {_MOST:g}, or less than 0"
            )
        if self.clip and not (len(self.clip) == 2 and self.clip[0] < self.clip[1]):
            raise FacerError(f"clip: found {self.clip}, expected lowest and highest")
        if not -1 < self.same_person < 1:
            raise FacerError(f"same_person: found {self.same_person}, expected -1 to 1")

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns that a store gets, in order."""
        return tuple(name for name in self.columns if name and name not in self.drop)


@dataclass(frozen=True)
class Golden:
    """A face and what the network says of it, measured with the project's own code.

    One that facer recorded itself (``facer models check CARD --write-golden``) shows what has
    changed since, not whether it was right.
    """

    image: str  # beside the card; facer:NAME is a picture of the package
    values: Mapping[str, float]  # by column; embedding_0 ... for some numbers of an embedding
    tolerance: float = 0.02
    bbox_px: tuple[float, ...] = ()  # x1 y1 x2 y2; without: facer's detector finds the face
    keypoints_px: tuple[tuple[float, float], ...] = ()  # five
    image_sha256: str = ""  # of its pixels, RGB uint8

    def __post_init__(self) -> None:
        """Refuse an example that compares nothing."""
        if not NAME.fullmatch(self.image.removeprefix(PACKAGE_PICTURE)):
            raise FacerError(f"image: found {self.image!r}, expected the name of a file")
        if not self.values or not all(map(isfinite, self.values.values())):
            raise FacerError(f"values: found {dict(self.values)}, expected a number by column")
        if self.image_sha256 and not _SHA256.fullmatch(self.image_sha256):
            raise FacerError(
                f"image_sha256: found {self.image_sha256!r}, expected 64 hexadecimal digits"
            )
        if not 0 < self.tolerance < 1:
            raise FacerError(f"tolerance: found {self.tolerance}, expected between 0 and 1")
        if bool(self.bbox_px) != bool(self.keypoints_px):
            raise FacerError("expected both bbox_px and keypoints_px, or neither")
        if self.bbox_px and (len(self.bbox_px) != 4 or len(self.keypoints_px) != 5):
            raise FacerError("expected bbox_px = [x1, y1, x2, y2] and five keypoints_px")


@dataclass(frozen=True)
class Card:
    """One network."""

    name: str
    file: CardFile
    input: CardInput
    crop: CropSpec
    output: tuple[CardOutput, ...]
    golden: Golden | None = None
    path: Path = field(default=Path(), compare=False)  # of the card

    def __post_init__(self) -> None:
        """Refuse columns that come twice."""
        check_name(self.name)
        if not self.output:
            raise FacerError("output: found none, expected one or more")
        columns = self.columns
        if len(set(columns)) != len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise FacerError(f"output: found the column {twice!r} twice")
        if sum(output.embedding for output in self.output) > 1:
            raise FacerError("output: found several embeddings, expected one at most")
        if self.golden is not None:
            self.check_golden(self.golden)

    def check_golden(self, golden: Golden) -> None:
        """``FacerError`` for an example of columns that this card does not give."""
        others = set(golden.values) - set(self.columns)
        if any(output.embedding for output in self.output):
            others = {name for name in others if not re.fullmatch(r"embedding_\d{1,4}", name)}
        if others:
            raise FacerError(f"golden: values: found {min(others)!r}, expected columns")

    @property
    def columns(self) -> tuple[str, ...]:
        """What it gives, in the order of its outputs."""
        return tuple(name for output in self.output for name in output.kept)

    @property
    def weak_features(self) -> tuple[str, ...]:
        """Columns that nobody annotated."""
        return tuple(n for output in self.output for n in output.kept if n in output.weak)

    @property
    def sha256(self) -> str:
        """Digest of all that decides the numbers, save the weights: not of prose."""
        facts = {
            "input": _said(self.input), "crop": _said(self.crop),
            "output": [_said(output) for output in self.output],
        }  # fmt: skip
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _said(table: Any) -> dict[str, Any]:
    """The fields of a table that are not as they are without being named, so that a field which
    the format gains changes no card's digest.
    """
    values = asdict(table)
    return {f.name: values[f.name] for f in fields(table) if values[f.name] != f.default}


def bundled_cards() -> tuple[str, ...]:
    """Names of the cards that come with the package."""
    return tuple(sorted(path.stem for path in CARDS.glob("*.toml")))


def read_card(path: Path) -> Card:
    """Read a card; ``FacerError`` that names the table and key for one that breaks the format."""
    table = read_tables(path, FORMAT, "a model card")
    try:
        return replace(_card(table), path=path)
    except FacerError as error:
        raise FacerError(f"{path}: {error}") from error


def read_golden(path: Path) -> Golden:
    """Read an example from a file of its own: the table ``[golden]`` of a card."""
    table = read_tables(path, FORMAT, "a golden example")
    try:
        golden: Golden = build(Golden, table.get("golden"), "golden: ")
    except FacerError as error:
        raise FacerError(f"{path}: {error}") from error
    return golden


def _card(table: dict[str, Any]) -> Card:
    crop, size = table.get("crop"), table.get("input")
    if isinstance(crop, dict) and isinstance(size, dict):
        if "size_px" in crop:
            raise FacerError("crop: size_px: expected it in [input] alone")
        table["crop"] = {**crop, "size_px": size.get("size_px")}
    card: Card = build(Card, table, "", hidden=("path",))
    return card
