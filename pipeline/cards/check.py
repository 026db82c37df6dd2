"""Does a network give what its card says? Its golden example, and faces that the package knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from facer.pipeline.cards.golden import compare, measure, record, recorded_path
from facer.stages.features import detect
from facer.stages.features.config import DetectorConfig
from facer.stages.features.faces import Faces
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.cards.network import CardRec
from facer.stages.features.rec.recognisers import Recogniser
from facer.stages.features.rec.trial import range_of
from facer.stages.synthesis.photographs import FACES, load_portrait
from facer.stages.synthesis.warp import ExpressionWarp
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.schema import EXPRESSIONS, F32, U8

_SMILE = {"smile": 1.0, "jaw": 0.3}
_RISES = ("happiness", "au12", "valence")  # with a smile
_CONSTANT = 1e-5  # spread over all pictures, below which a column says nothing
_SUM = 1e-3  # by which probabilities of classes may exceed 1 together


@dataclass(frozen=True)
class ColumnCheck:
    """What one column did; means and extremes over the package's pictures."""

    lowest: float
    highest: float
    neutral: float  # mean over faces at rest
    smile: float  # mean over the same faces, smiling
    swapped: float  # mean absolute change when red and blue are exchanged
    golden: float | None = None  # of the golden example, or else of the recorded one
    expected: float | None = None


@dataclass(frozen=True)
class CardCheck:
    """What was found; nothing is wrong where there are no problems."""

    name: str
    has_golden: bool  # its card has an example of the project's own code
    recorded: str  # file of what facer recorded itself; "" where there is none
    unverified: str  # what its card says was not verified
    pictures: int
    columns: Mapping[str, ColumnCheck]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def check_card(name_or_path: str, *, write_golden: bool = False) -> CardCheck:
    """Run a network on its golden example and on the package's pictures of faces.

    Also for weights without a card. A wrong colour order, margin, normalisation, order of classes
    or activation shows in the golden example; without one only what is implausible does: numbers
    out of range, columns that never change, a smile that raises neither happiness nor au12.
    ``write_golden`` records what the network says of a picture of the package, beside the weights;
    later checks compare with that. ``FacerError`` for a card that cannot be read or whose weights
    are not there.
    """
    model = rec.load(name_or_path, "cpu")
    card = model.card if isinstance(model, CardRec) else None
    if write_golden:
        if not isinstance(model, CardRec):
            raise OptionError(
                f"{named('write_golden')}: {name_or_path} has no card; expected a model card"
            )
        record(model)
    own, recorded = compare(model) if isinstance(model, CardRec) else (None, None)
    examples = [one for one in (own, recorded) if one is not None]
    pictures = _pictures()
    found = np.stack([measure(model, image, faces) for _, _, image, faces in pictures])
    columns = _columns(model, found, examples[0].values if examples else {})
    problems = [*(problem for one in examples for problem in one.problems), *_implausible(columns)]
    if model.embedding_width:
        people = [name for name, _, _, _ in pictures]
        problems += _identities(people, found[:, len(columns) :], model.same_person or 0.0)
    return CardCheck(
        model.name, own is not None, str(recorded_path(card)) if card and recorded else "",
        card.file.unverified if card else "", len(pictures), columns, tuple(problems),
    )  # fmt: skip


def _columns(
    model: Recogniser, found: F32, golden: Mapping[str, tuple[float, float]]
) -> dict[str, ColumnCheck]:
    """What each column did on the pictures, (n, F + D), and in the golden example."""
    smiling = np.array([smile for _, smile, _, _ in _pictures()])
    exchanged = np.stack([
        measure(model, np.ascontiguousarray(image[..., ::-1]), faces)
        for _, _, image, faces in _pictures()
    ])  # fmt: skip
    columns = {}
    for place, name in enumerate(model.columns):
        values = found[:, place]
        columns[name] = ColumnCheck(
            float(values.min()), float(values.max()), float(values[~smiling].mean()),
            float(values[smiling].mean()), float(np.abs(values - exchanged[:, place]).mean()),
            *golden.get(name, (None, None)),
        )  # fmt: skip
    return columns


@lru_cache(maxsize=1)
def _pictures() -> tuple[tuple[str, bool, U8, Faces], ...]:
    """(person, whether smiling, RGB image, its face) of every face that the package draws."""
    detector = detect.load(DetectorConfig())
    found = []
    for face in FACES:
        portrait = load_portrait(face)
        warp, rest = ExpressionWarp(portrait), dict(face.rest)
        smiling = {name: rest.get(name, 0.0) + _SMILE.get(name, 0.0) for name in rest | _SMILE}
        still = warp.apply(rest)
        (faces,) = detector.detect([still])
        if len(faces.score) == 0:
            raise FacerError(f"facer-det finds no face in its own picture {face.name}")
        centre = (faces.bbox_px[:, :2] + faces.bbox_px[:, 2:]) / 2
        nearest = int(np.linalg.norm(centre - portrait.center, axis=1).argmin())
        one = Faces(*(values[nearest : nearest + 1] for values in faces))
        found += [(face.name, False, still, one), (face.name, True, warp.apply(smiling), one)]
    return tuple(found)


def _implausible(columns: Mapping[str, ColumnCheck]) -> list[str]:
    problems = []
    for name, found in columns.items():
        low, high = range_of(name)
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
