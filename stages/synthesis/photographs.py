"""The faces that the demo's clips are made of: photographs inside installed packages.

scikit-image carries the portrait of the astronaut Eileen Collins (NASA, public domain) and
insightface carries ``t1.jpg``, a group picture that its own examples use. Both are read from
where pip put them; nothing is downloaded and nothing is copied into facer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from facer.storage.errors import FacerError
from facer.storage.schema import F64, U8

POINTS = (
    "left_eye",
    "right_eye",
    "left_brow_outer",
    "left_brow_middle",
    "left_brow_inner",
    "right_brow_inner",
    "right_brow_middle",
    "right_brow_outer",
    "left_mouth",
    "right_mouth",
    "upper_lip",  # middle of the upper lip's lower edge
    "lower_lip",  # middle of the lower lip's upper edge
    "chin",
)
"""Landmarks of a face; left and right as seen in the picture, as in ``keypoints_px``."""


@dataclass(frozen=True)
class Face:
    """One person in one photograph, with landmarks found once and written down here.

    ``rest`` are amounts of :data:`facer.stages.synthesis.warp.ACTIONS` that bring a face
    that smiles in the photograph closer to a neutral one.
    """

    name: str
    package: str
    file: str
    size_px: tuple[int, int]  # width, height of the photograph
    points_px: tuple[tuple[float, float], ...]  # one for each of POINTS
    rest: tuple[tuple[str, float], ...] = ()

    @cached_property
    def points(self) -> F64:
        """Landmarks, (13, 2), in pixels of the photograph."""
        return np.array(self.points_px, dtype=np.float64)

    def point(self, name: str) -> F64:
        """One landmark, (2,)."""
        return np.array(self.points_px[POINTS.index(name)], dtype=np.float64)

    @property
    def unit_px(self) -> float:
        """Size of the face: the distance between the eyes as seen from the front.

        A turned head brings the eyes together but not the eyes to the mouth; for a frontal
        face 1.1 times that second distance is about the first.
        """
        left, right = self.point("left_eye"), self.point("right_eye")
        mouth = (self.point("left_mouth") + self.point("right_mouth")) / 2
        down = float(np.linalg.norm(mouth - (left + right) / 2))
        return max(float(np.linalg.norm(right - left)), 1.1 * down)


_TABLE = ("insightface", "data/images/t1.jpg", (1280, 886))  # six people at a table

FACES = (
    Face(
        "astronaut", "skimage", "data/astronaut.png", (512, 512),
        (
            (203.7, 101.6), (246.5, 103.7),
            (187.8, 91.0), (197.8, 86.8), (215.6, 89.7),
            (236.8, 90.3), (255.0, 89.4), (264.7, 94.8),
            (202.6, 139.8), (245.0, 141.1), (223.7, 143.4), (223.2, 149.8), (221.4, 178.7),
        ),
        (("smile", -1.0), ("jaw", -0.4), ("round", 0.3)),
    ),
    Face(
        "table-1", *_TABLE,
        (
            (87.8, 329.8), (129.7, 309.3),
            (60.8, 324.4), (68.3, 313.2), (89.2, 306.0),
            (111.6, 296.1), (128.9, 285.9), (140.6, 286.9),
            (114.8, 370.8), (147.4, 352.2), (132.1, 360.6), (132.8, 361.9), (147.0, 390.3),
        ),
    ),
    Face(
        "table-2", *_TABLE,
        (
            (294.0, 210.3), (322.2, 194.2),
            (279.3, 207.3), (277.9, 201.7), (286.9, 198.0),
            (300.0, 189.6), (315.1, 178.6), (331.7, 176.7),
            (315.9, 247.5), (339.3, 234.3), (321.3, 243.4), (321.7, 243.7), (337.9, 264.8),
        ),
    ),
    Face(
        "table-3", *_TABLE,
        (
            (489.4, 318.9), (535.7, 331.5),
            (477.9, 304.6), (488.7, 303.9), (507.7, 313.4),
            (529.0, 319.3), (550.7, 321.3), (562.6, 327.8),
            (485.2, 371.2), (529.8, 380.7), (505.9, 383.2), (504.6, 387.1), (499.3, 414.4),
        ),
        (("smile", -1.0), ("jaw", -0.1), ("round", 0.2)),
    ),
    Face(
        "table-5", *_TABLE,
        (
            (1151.1, 326.7), (1194.0, 324.3),
            (1136.4, 315.0), (1142.4, 308.8), (1157.5, 310.1),
            (1177.6, 308.7), (1198.3, 305.4), (1212.8, 311.1),
            (1155.0, 367.4), (1197.8, 364.1), (1170.8, 367.4), (1171.1, 371.2), (1175.8, 400.7),
        ),
        (("smile", -1.0),),
    ),
)  # fmt: skip
"""Five people. Those of ``t1.jpg`` are numbered from the left; the one who laughs with closed
eyes (4) and the one who turns away (6) are left out, their faces do not warp to a rest."""

UNIT_PX = 64.0
"""Size of a face in a :class:`Portrait`."""

_REACH = (4.5, 3.6)  # how much of the photograph is kept around the face, in units


@dataclass(frozen=True)
class Portrait:
    """A face and its surroundings, resampled so that the face's unit is ``UNIT_PX``."""

    image: U8  # (H, W, 3) RGB
    points: F64  # (13, 2) of POINTS, in pixels of the image

    def point(self, name: str) -> F64:
        """One landmark, (2,)."""
        return np.asarray(self.points[POINTS.index(name)])

    @property
    def center(self) -> F64:
        """Middle of the face, (2,): between eyes and mouth."""
        names = ("left_eye", "right_eye", "left_mouth", "right_mouth")
        return np.asarray(np.mean([self.point(name) for name in names], axis=0))


def face_named(name: str) -> Face:
    """The entry of :data:`FACES`; ``FacerError`` for another name."""
    for face in FACES:
        if face.name == name:
            return face
    known = ", ".join(face.name for face in FACES)
    raise FacerError(f"synthesis: found face {name!r}, expected one of {known}")


@lru_cache(maxsize=len(FACES))
def load_portrait(face: Face) -> Portrait:
    """Read a face from the package that carries its photograph.

    Raises ``FacerError`` when the package or the picture is missing or is another picture.
    """
    photograph = _read_photograph(face)
    height, width = photograph.shape[:2]
    scale = UNIT_PX / face.unit_px
    center = face.points[:2].mean(axis=0)
    reach = np.array(_REACH) * face.unit_px
    x0, y0 = np.maximum(center - reach, 0).astype(int)
    x1, y1 = np.minimum(center + reach, [width, height]).astype(int)
    image = cv2.resize(
        photograph[y0:y1, x0:x1], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
    )
    # pixel centres: x' + 0.5 = scale * (x + 0.5)
    points = (face.points - [x0, y0] + 0.5) * scale - 0.5
    return Portrait(np.asarray(image, dtype=np.uint8), points)


def _read_photograph(face: Face) -> U8:
    spec = find_spec(face.package)
    roots = spec.submodule_search_locations if spec else None
    path = Path(roots[0], face.file) if roots else Path(face.package, face.file)
    image = cv2.imread(str(path)) if path.is_file() else None
    if image is None or image.shape[1::-1] != face.size_px:
        found = "no picture" if image is None else f"{image.shape[1]}x{image.shape[0]} pixels"
        width, height = face.size_px
        raise FacerError(
            f"{path}: found {found}, expected the {width}x{height} photograph that "
            f"{face.package} carries; reinstall {face.package}"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
