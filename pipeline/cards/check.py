"""Does a network give what its card says? Its golden example, and faces that the package knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from facer.stages.features import detect
from facer.stages.features.config import DetectorConfig
from facer.stages.features.faces import Faces
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.card import Card, Golden
from facer.stages.features.rec.card_network import CardRec
from facer.stages.features.rec.crops import cut
from facer.stages.features.rec.recognisers import Recogniser
from facer.stages.synthesis.photographs import FACES, load_portrait
from facer.stages.synthesis.warp import ExpressionWarp
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import EXPRESSIONS, F32, U8, VALENCE_AROUSAL

_SMILE = {"smile": 1.0, "jaw": 0.3}
_RISES = ("happiness", "au12", "valence")  # with a smile
_CONSTANT = 1e-5  # spread over all pictures, below which a column says nothing
_SUM = 1e-3  # by which probabilities of classes may exceed 1 together
_MAX_IMAGE_BYTES = 64 << 20
_PROBABILITY = re.compile(r"au\d\d(_left|_right)?")


@dataclass(frozen=True)
class ColumnCheck:
    """What one column did; means and extremes over the package's pictures."""

    lowest: float
    highest: float
    neutral: float  # mean over faces at rest
    smile: float  # mean over the same faces, smiling
    swapped: float  # mean absolute change when red and blue are exchanged
    golden: float | None = None  # of the golden example
    expected: float | None = None


@dataclass(frozen=True)
class CardCheck:
    """What was found; nothing is wrong where there are no problems."""

    name: str
    has_golden: bool
    pictures: int
    columns: Mapping[str, ColumnCheck]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def check_card(name_or_path: str, device: str = "cpu") -> CardCheck:
    """Run a network on its golden example and on the package's pictures of faces.

    Also for weights without a card. A wrong colour order, margin, normalisation, order of classes
    or activation shows in the golden example; without one only what is implausible does: numbers
    out of range, columns that never change, a smile that raises neither happiness nor au12.
    ``FacerError`` for a card that cannot be read or whose weights are not there.
    """
    model = rec.load(name_or_path, device)
    pictures = _pictures()
    found = np.stack([_measure(model, image, faces) for _, _, image, faces in pictures])
    smiling = np.array([smile for _, smile, _, _ in pictures])
    swapped = np.stack([
        _measure(model, np.ascontiguousarray(image[..., ::-1]), faces)
        for _, _, image, faces in pictures
    ])  # fmt: skip
    card = model.card if isinstance(model, CardRec) else None
    golden, problems = _golden(model, card) if card is not None else ({}, [])
    columns = {}
    for place, name in enumerate(model.columns):
        values = found[:, place]
        columns[name] = ColumnCheck(
            float(values.min()), float(values.max()), float(values[~smiling].mean()),
            float(values[smiling].mean()), float(np.abs(values - swapped[:, place]).mean()),
            *golden.get(name, (None, None)),
        )  # fmt: skip
    problems += _implausible(columns)
    if model.embedding_width:
        people = [name for name, _, _, _ in pictures]
        problems += _identities(people, found[:, len(model.columns) :], model.same_person or 0.0)
    has_golden = card is not None and card.golden is not None
    return CardCheck(model.name, has_golden, len(pictures), columns, tuple(problems))


@lru_cache(maxsize=1)
def _pictures() -> tuple[tuple[str, bool, U8, Faces], ...]:
    return tuple(_draw())


def _draw() -> Iterator[tuple[str, bool, U8, Faces]]:
    """(person, whether smiling, RGB image, its face) of every face that the package draws."""
    detector = detect.load(DetectorConfig())
    for face in FACES:
        portrait = load_portrait(face)
        warp = ExpressionWarp(portrait)
        rest = dict(face.rest)
        images = [warp.apply(rest)]
        images.append(warp.apply({k: rest.get(k, 0.0) + _SMILE.get(k, 0.0) for k in rest | _SMILE}))
        (faces,) = detector.detect(images[:1])
        if len(faces.score) == 0:
            raise FacerError(f"facer-det finds no face in its own picture {face.name}")
        centre = (faces.bbox_px[:, :2] + faces.bbox_px[:, 2:]) / 2
        nearest = int(np.linalg.norm(centre - portrait.center, axis=1).argmin())
        one = Faces(*(values[nearest : nearest + 1] for values in faces))
        for image, smile in zip(images, (False, True), strict=True):
            yield face.name, smile, image, one


def _measure(model: Recogniser, image: U8, faces: Faces) -> F32:
    """Columns and embedding (F + D,) of an image's face."""
    rows = model.predict(cut(image, (faces.bbox_px, faces.keypoints_px), model.crop))
    return np.asarray(rows[0], np.float32)


def _golden(
    model: Recogniser, card: Card
) -> tuple[dict[str, tuple[float, float]], list[str]]:  # fmt: skip
    """(found, expected) of each value of the golden example, and what is wrong."""
    golden = card.golden
    if golden is None:
        return {}, []
    image = _read_image(card, golden)
    row = _measure(model, image, _golden_face(golden, image))
    names = (*model.columns, *(f"embedding_{i}" for i in range(model.embedding_width)))
    found = {
        name: (float(row[names.index(name)]), expected)
        for name, expected in golden.values.items()
        if name in names
    }
    wrong = [
        f"{name} {got:.3f}, expected {expected:.3f}"
        for name, (got, expected) in found.items()
        if not abs(got - expected) <= golden.tolerance
    ]
    if not wrong:
        return found, []
    return found, [
        f"golden example: {', '.join(wrong[:8])}{', ...' if len(wrong) > 8 else ''} (tolerance "
        f"{golden.tolerance:g}): compare colour, mean, std, crop, activation and the order of "
        "columns with the project's own code"
    ]


def _golden_face(golden: Golden, image: U8) -> Faces:
    if golden.bbox_px:
        return Faces(
            np.array([golden.bbox_px], np.float32), np.array([golden.keypoints_px], np.float32),
            np.ones(1, np.float32),
        )  # fmt: skip
    (faces,) = detect.load(DetectorConfig()).detect([image])
    if len(faces.score) != 1:
        raise FacerError(
            f"golden example {golden.image}: found {len(faces.score)} faces, expected one; give "
            "bbox_px and keypoints_px"
        )
    return faces


def _read_image(card: Card, golden: Golden) -> U8:
    path = card.path.parent / golden.image
    with open_regular(path, "an image") as file:
        data = file.read(_MAX_IMAGE_BYTES + 1)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # empty, or more pixels than OpenCV takes
        image = None
    if image is None or len(data) > _MAX_IMAGE_BYTES:
        raise FacerError(f"{path}: found no image that can be decoded, expected the golden example")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _implausible(columns: Mapping[str, ColumnCheck]) -> list[str]:
    problems = []
    for name, found in columns.items():
        low, high = _range(name)
        if not (np.isfinite(found.lowest) and np.isfinite(found.highest)):
            problems.append(f"{name}: gives numbers that are not finite")
        elif found.lowest < low or found.highest > high:
            problems.append(
                f"{name}: {found.lowest:.3g} to {found.highest:.3g}, expected {low:g} to {high:g}: "
                "an activation, scale or clip is missing"
            )
        elif found.highest - found.lowest < _CONSTANT:
            problems.append(f"{name}: the same on every picture: its input is not what it expects")
    total = sum(columns[name].neutral for name in (*EXPRESSIONS, "contempt") if name in columns)
    if total > 1 + _SUM:
        problems.append(f"expressions add up to {total:.3g}, expected 1 at most: no softmax")
    rising = [name for name in _RISES if name in columns]
    if rising and all(columns[name].smile <= columns[name].neutral for name in rising):
        problems.append(
            f"a smile does not raise {' or '.join(rising)}: another order of columns, or another "
            "crop, colour or normalisation than the network was trained with"
        )
    return problems


def _range(name: str) -> tuple[float, float]:
    """Lowest and highest value that a column of that name may have."""
    if name in VALENCE_AROUSAL:
        return -1.0, 1.0
    if name in (*EXPRESSIONS, "contempt") or _PROBABILITY.fullmatch(name):
        return 0.0, 1.0
    return -np.inf, np.inf


def _identities(people: list[str], embeddings: F32, same_person: float) -> list[str]:
    """Whether two pictures of a person are more alike than those of two people."""
    alike = embeddings @ embeddings.T
    same = np.array([[a == b for b in people] for a in people])
    least = float(alike[same].min())
    most = float(alike[~same].max())
    if least > most and least >= same_person > most:
        return []
    return [
        f"embedding: pictures of one person {least:.2f} or more alike, of two people {most:.2f} or "
        f"less, expected same_person ({same_person:g}) between them"
    ]
