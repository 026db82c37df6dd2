"""A card's golden example: a face, and the numbers that a network gives of it.

The card's own has numbers of the project's code, and tells whether the card is right. Where the
weights were not at hand when a card was written there is none; then facer records what it finds
with the weights itself, beside them, and tells what has changed since.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facer.stages.affect.datasets.image_files import decode_image, read_image_file
from facer.stages.features import detect
from facer.stages.features.config import DetectorConfig
from facer.stages.features.faces import Faces
from facer.stages.features.rec.cards.card import FORMAT, PACKAGE_PICTURE, Card, Golden, read_golden
from facer.stages.features.rec.cards.network import CardRec
from facer.stages.features.rec.cards.places import weights_of
from facer.stages.features.rec.crops import cut
from facer.stages.features.rec.recognisers import Recogniser
from facer.stages.synthesis.photographs import FACES, face_named, load_portrait
from facer.storage.errors import FacerError
from facer.storage.files.atomic import write_atomic
from facer.storage.schema import F32, U8

_RECORDED_TOLERANCE = 0.005  # between machines, and versions of onnxruntime
_RECORDED_EMBEDDING = 8  # numbers of an identity embedding that are written down


@dataclass(frozen=True)
class Compared:
    """What a golden example says of a network."""

    values: dict[str, tuple[float, float]]  # found and expected, by column
    problems: tuple[str, ...] = ()


def recorded_path(card: Card) -> Path:
    """Where facer writes down an example of its own: beside the weights."""
    path = weights_of(card)
    return path.with_name(f"{path.name}.golden.toml")


def compare(model: CardRec) -> tuple[Compared | None, Compared | None]:
    """A network against its card's example, and against the recorded one; None for none."""
    card, path = model.card, recorded_path(model.card)
    own = None if card.golden is None else _compare(model, card.golden, _WRONG)
    if not path.is_file():
        return own, None
    golden = read_golden(path)
    try:
        card.check_golden(golden)
    except FacerError as error:
        again = f"{path}: {error}: the card has changed since; --write-golden records it again"
        return own, Compared({}, (again,))
    return own, _compare(model, golden, _DRIFT)


def record(model: CardRec) -> Path:
    """Write down what a network says of the package's first picture; where that is."""
    face = FACES[0]
    image = load_portrait(face).image
    faces = only_face(image, face.name)
    row = measure(model, image, faces)
    numbers = zip(_names(model, _RECORDED_EMBEDDING), row, strict=False)
    values = {name: float(value) for name, value in numbers}
    if not all(map(np.isfinite, values.values())):
        raise FacerError(f"{model.name}: gives numbers that are not finite; nothing was recorded")
    table = {
        "image": f"{PACKAGE_PICTURE}{face.name}",
        "image_sha256": _digest(image),
        "bbox_px": faces.bbox_px[0].astype(float).tolist(),
        "keypoints_px": faces.keypoints_px[0].astype(float).tolist(),
        "tolerance": _RECORDED_TOLERANCE,
    }
    lines = [
        f"format = {json.dumps(FORMAT)}",
        "# What facer found itself: it shows what changes, not whether it was right.",
        "[golden]",
        *(f"{key} = {json.dumps(value)}" for key, value in table.items()),
        "[golden.values]",
        *(f"{name} = {value!r}" for name, value in values.items()),
    ]
    path = recorded_path(model.card)
    write_atomic(path, "\n".join(lines) + "\n")
    return path


def measure(model: Recogniser, image: U8, faces: Faces) -> F32:
    """Columns and embedding (F + D,) of an image's face."""
    rows = model.predict(cut(image, (faces.bbox_px, faces.keypoints_px), model.crop))
    return np.asarray(rows[0], np.float32)


def only_face(image: U8, name: str) -> Faces:
    """The face of an image; ``FacerError`` unless facer-det finds one."""
    (faces,) = detect.load(DetectorConfig()).detect([image])
    if len(faces.score) != 1:
        raise FacerError(
            f"{name}: found {len(faces.score)} faces, expected one; give bbox_px and keypoints_px"
        )
    return faces


_WRONG = (
    "golden example: {}: compare colour, mean, std, crop, activation and the order of columns with "
    "the project's own code"
)
_DRIFT = (
    "recorded example: {}: the card, facer or onnxruntime has changed since; --write-golden "
    "records it again where that is meant"
)


def _compare(model: CardRec, golden: Golden, message: str) -> Compared:
    image = _image(model.card, golden)
    row = measure(model, image, _face(golden, image))
    names = _names(model, model.embedding_width)
    found = {
        name: (float(row[names.index(name)]), expected)
        for name, expected in golden.values.items()
        if name in names
    }
    absent = [f"{name} is not there" for name in golden.values if name not in names]
    wrong = [
        f"{name} {got:.3f}, expected {expected:.3f}"
        for name, (got, expected) in found.items()
        if not abs(got - expected) <= golden.tolerance
    ]
    listed = [*absent, *wrong]
    if not listed:
        return Compared(found)
    some = f"{', '.join(listed[:8])}{', ...' if len(listed) > 8 else ''}"
    return Compared(found, (message.format(f"{some} (tolerance {golden.tolerance:g})"),))


def _names(model: Recogniser, width: int) -> list[str]:
    """Columns, and the first numbers of the embedding."""
    return [*model.columns, *(f"embedding_{i}" for i in range(min(width, model.embedding_width)))]


def _face(golden: Golden, image: U8) -> Faces:
    if not golden.bbox_px:
        return only_face(image, f"golden example {golden.image}")
    return Faces(
        np.array([golden.bbox_px], np.float32), np.array([golden.keypoints_px], np.float32),
        np.ones(1, np.float32),
    )  # fmt: skip


def _image(card: Card, golden: Golden) -> U8:
    """The example's picture, RGB uint8 (H, W, 3)."""
    name = golden.image
    if name.startswith(PACKAGE_PICTURE):
        image = load_portrait(face_named(name.removeprefix(PACKAGE_PICTURE))).image
    else:
        path = card.path.parent / name
        decoded = decode_image(read_image_file(path))
        if decoded is None:
            raise FacerError(
                f"{path}: found no image that can be decoded, expected the golden example"
            )
        image = decoded
    if golden.image_sha256 and _digest(image) != golden.image_sha256:
        raise FacerError(
            f"golden example {name}: another picture than its image_sha256 names; restore it, or "
            "record the example again"
        )
    return image


def _digest(image: U8) -> str:
    """Of the pixels, whatever the file's format."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
