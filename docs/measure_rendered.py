"""How many units rise on rendered faces that show them: ICT-FaceKit's, drawn by VTK.

    python docs/measure_rendered.py ICT-FaceKit/FaceXModel --rec rec-small --look rendered.png

A person is a random shape of the model with painted skin, brows, lips and eyes, in random light and
from a random side. Each unit is drawn at two strengths, found and aligned as `facer extract` does
it, and compared with the same face at rest. Needs `pip install vtk`, and a screen or
`apt install libosmesa6` and VTK_DEFAULT_OPENGL_WINDOW=vtkOSOpenGLRenderWindow.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import vtk
from matplotlib.path import Path as Outline
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from facer.pipeline.runtime.progress import CountReporter
from facer.stages.affect.metrics import AU_COLUMNS
from facer.stages.affect.units.metrics import UnitMoves, unit_response
from facer.stages.features.align import align
from facer.stages.features.config import DetectorConfig
from facer.stages.features.detect import load as load_detector
from facer.stages.features.rec.loading import load
from facer.storage.schema import ACTION_UNITS, AU_NAMES, F32, I64, U8

SIDE_PX = 320  # of a picture; drawn twice as large
STRENGTHS = (0.5, 1.0)
LOOKS = 6  # people in the picture
SHAPES = 40  # of the model's 100 identity shapes, those that differ most
MORPHS: dict[int, dict[str, float]] = {
    1: {"browInnerUp_": 1}, 2: {"browOuterUp_": 1}, 4: {"browDown_": 1}, 5: {"eyeWide_": 1},
    6: {"cheekSquint_": 1}, 7: {"eyeSquint_": 1}, 9: {"noseSneer_": 1}, 10: {"mouthUpperUp_": 0.7},
    12: {"mouthSmile_": 1}, 15: {"mouthFrown_": 1}, 17: {"mouthShrugLower": 1},
    20: {"mouthStretch_": 1}, 24: {"mouthPress_": 1},
    25: {"mouthLowerDown_": 0.6, "mouthUpperUp_": 0.4}, 26: {"jawOpen": 0.6},
}  # fmt: skip
"""Morphs of a unit; both sides of those that end in _."""
BALLS = ((21496, 22296, 23094), (23094, 23894, 24692))  # sclera, iris, end
COLOURS = (
    (11144, 13226, (110, 50, 48)), (14034, 17006, (170, 90, 90)), (17006, 21496, (225, 220, 205)),
    (21496, 24692, (228, 222, 218)),
)  # fmt: skip
"""Polygons of the mouth, gums, teeth and eyes, and how they are painted."""
DRAWN = 24692  # polygons; what follows are lashes and films before the eye
SKINS = ((236, 200, 180), (224, 180, 150), (200, 150, 120), (160, 110, 80), (110, 72, 50),
         (80, 52, 40))  # fmt: skip
HAIRS = ((25, 18, 14), (60, 40, 25), (100, 75, 45), (140, 115, 80), (110, 108, 105))
IRISES = ((70, 45, 25), (95, 70, 40), (90, 110, 120), (80, 120, 80))
BROWS, LIPS, BRIDGE = (slice(17, 22), slice(22, 27)), slice(48, 60), 30  # of the 68 landmarks


class Head:
    """The model: vertices (v, 3), polygons (p, 4), landmarks (68, 3), and what moves them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        neutral = (folder / "generic_neutral_mesh.obj").read_text().splitlines()
        self.vertices = _vertices(neutral)
        corners = [line.split()[1:] for line in neutral if line.startswith("f ")]
        polygons = [[int(corner.split("/")[0]) - 1 for corner in line] for line in corners]
        self.polygons = np.array(
            [line if len(line) == 4 else [*line, line[2]] for line in polygons]
        )
        marks = json.loads((folder / "vertex_indices.json").read_text())["idx_to_landmark_verts"]
        self.landmarks = self.vertices[marks]
        self.shapes = np.stack([self._moved(f"identity{n:03d}") for n in range(SHAPES)])
        self.units = [sum(w * self._moved(m) for m, w in one.items()) for one in MORPHS.values()]
        self.balls = []
        shown = np.arange(len(self.polygons)) < DRAWN
        for sclera, iris, end in BALLS:
            rows = np.unique(self.polygons[iris:end])
            centre = self.vertices[rows].mean(0)
            distance = np.linalg.norm((self.vertices - centre)[:, :2], axis=1)
            before = distance[self.polygons[sclera:iris]].mean(1) < 0.97 * distance[rows].max()
            shown[sclera:iris] &= ~before  # the cornea hides the iris
            self.balls.append((rows, distance[rows] / distance[rows].max()))
        self.shown = self.polygons[shown]

    def _moved(self, name: str) -> F32:
        if name.endswith("_"):
            return self._moved(f"{name}L") + self._moved(f"{name}R")
        lines = (self._folder / f"{name}.obj").read_text().splitlines()
        return _vertices(lines) - self.vertices


def _vertices(lines: list[str]) -> F32:
    return np.array([line.split()[1:4] for line in lines if line.startswith("v ")], np.float32)


def painted(head: Head, rng: np.random.Generator) -> U8:
    """A colour for each vertex (v, 3)."""
    v, marks = head.vertices, head.landmarks
    skin = np.array(SKINS[rng.integers(len(SKINS))], np.float32)
    colour = skin * (1 + rng.normal(0, 0.02, (len(v), 1)))
    lips = Outline(marks[LIPS][:, :2]).contains_points(v[:, :2])
    lips &= v[:, 2] > marks[LIPS][:, 2].mean() - 3
    red = skin * (0.85, 0.55, 0.55) + (rng.uniform(0, 35), 0, 5)
    colour[lips] += rng.uniform(0.25, 0.85) * (red - colour[lips])
    hair = np.array(HAIRS[rng.integers(len(HAIRS))])
    width, dense = rng.uniform(0.4, 0.7), rng.uniform(0.7, 1)
    for brow in BROWS:
        along = np.linspace(0, 1, 60)
        line = np.stack([np.interp(along, np.linspace(0, 1, 5), axis) for axis in marks[brow].T], 1)
        near = np.linalg.norm(v[:, None] - line, axis=2).min(1)
        share = dense * np.clip(1.5 * (1 - near / width), 0, 1)[:, None]
        colour += share * (hair - colour)
    for first, end, paint in COLOURS:
        colour[head.polygons[first:end]] = paint
    iris = np.array(IRISES[rng.integers(len(IRISES))])
    for rows, radius in head.balls:
        colour[rows] = np.where(radius[:, None] < 0.92, iris, iris / 2)
        colour[rows[radius < 0.42]] = 12
    return colour.clip(0, 255).astype(np.uint8)


class Person:
    """One of the people, before one background and in one light."""

    def __init__(self, head: Head, seed: int) -> None:
        rng = np.random.default_rng([seed, 77])
        weights = rng.normal(0, 0.9, SHAPES).astype(np.float32)
        self._head, self._at_rest = head, head.vertices + np.tensordot(weights, head.shapes, 1)
        self._colours = painted(head, rng)
        small = rng.integers(40, 190, (1, 1, 3)) + rng.integers(-25, 25, (4, 4, 3))
        self._behind = cv2.resize(small.clip(0, 255).astype(np.uint8), (2 * SIDE_PX,) * 2)
        self._window, self._scene = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(2 * SIDE_PX, 2 * SIDE_PX)
        self._window.AddRenderer(self._scene)
        self._scene.SetBackground(0, 1, 0)
        for strength in ((0.5, 0.9), (0.1, 0.4), (0.1, 0.4)):
            light = vtk.vtkLight()
            light.SetPosition(rng.uniform(-80, 80), rng.uniform(-20, 70), 60)
            light.SetIntensity(rng.uniform(*strength))
            light.SetColor(*(1 - rng.uniform(0, 0.1, 3)))
            self._scene.AddLight(light)
        yaw, pitch = np.radians(rng.normal(0, 7)), np.radians(rng.normal(0, 5))
        height, away = head.landmarks[BRIDGE, 1], rng.uniform(55, 90)
        camera = self._scene.GetActiveCamera()
        camera.SetFocalPoint(0, height, 2)
        ahead = (np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch))
        camera.SetPosition(*(away * np.array(ahead) + (0, height, 2)))
        camera.Roll(rng.normal(0, 4))
        camera.SetViewAngle(2 * np.degrees(np.arctan(10 / rng.uniform(0.6, 0.95) / away)))

    def drawn(self, moved: F32 | float = 0.0) -> U8:
        """RGB uint8 (SIDE_PX, SIDE_PX, 3) of the face, its vertices moved by (v, 3)."""
        mesh, points, cells = vtk.vtkPolyData(), vtk.vtkPoints(), vtk.vtkCellArray()
        points.SetData(numpy_to_vtk(np.ascontiguousarray(self._at_rest + moved), deep=1))
        shown = self._head.shown
        polygons = np.column_stack([np.full(len(shown), 4), shown]).ravel()
        cells.ImportLegacyFormat(numpy_to_vtkIdTypeArray(polygons, deep=1))
        mesh.SetPoints(points)
        mesh.SetPolys(cells)
        mesh.GetPointData().SetScalars(numpy_to_vtk(self._colours, deep=1))
        normals, mapper, actor = vtk.vtkPolyDataNormals(), vtk.vtkPolyDataMapper(), vtk.vtkActor()
        normals.SetInputData(mesh)
        normals.SplittingOff()
        normals.ConsistencyOff()
        mapper.SetInputConnection(normals.GetOutputPort())
        actor.SetMapper(mapper)
        surface = actor.GetProperty()
        surface.SetInterpolationToPhong()
        surface.SetAmbient(0.25)
        surface.SetDiffuse(0.85)
        surface.SetSpecular(0.18)
        surface.SetSpecularPower(14)
        self._scene.AddActor(actor)
        self._scene.ResetCameraClippingRange()
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.Update()
        self._scene.RemoveActor(actor)
        pixels = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())[:, :3]
        image = pixels.reshape(2 * SIDE_PX, 2 * SIDE_PX, 3)[::-1]
        empty = (image == (0, 255, 0)).all(2, keepdims=True)
        image = np.where(empty, self._behind, image)
        return np.asarray(cv2.resize(image, (SIDE_PX,) * 2, interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    """Draw, predict, and print a table of the units."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rec", default="rec-small")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--look", type=Path, help="picture of the first six people")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    head, detector, rec = (
        Head(options.model),
        load_detector(DetectorConfig()),
        load(options.rec, "cpu"),
    )
    found, looks, report = [], [], CountReporter("rendered people")
    for seed in range(options.people):
        person = Person(head, seed)
        pictures = [person.drawn()]
        pictures += [person.drawn(s * unit) for s in STRENGTHS for unit in head.units]
        if seed < LOOKS:
            looks.append(np.concatenate(pictures[:1] + pictures[-len(MORPHS) :], 1))
        faces = detector.detect(pictures)
        if all(len(face.score) for face in faces):
            seen = zip(pictures, faces, strict=True)
            crops = np.concatenate([align(image, f.keypoints_px[:1]) for image, f in seen])
            found.append(rec.predict(crops)[:, AU_COLUMNS])
        report(seed + 1, options.people)
    if options.look is not None:
        cv2.imwrite(str(options.look), np.concatenate(looks)[..., ::-1])
    print(f"{len(found)} of {options.people} people are found in all pictures")  # noqa: T201
    print(table(np.array(found)))  # noqa: T201


def table(outputs: F32) -> str:
    """Probabilities of n people at rest, then of each strength and unit, (n, 1 + s u, 17)."""
    units: I64 = np.array([ACTION_UNITS.index(unit) for unit in MORPHS])
    parts = np.split(outputs[:, 1:], len(STRENGTHS), axis=1)
    every = np.arange(len(outputs))
    scores = [unit_response(UnitMoves(every, units, outputs[:, 0], part)) for part in parts]
    heads = " | ".join(f"risen at {strength:g} | top 3 | AUC" for strength in STRENGTHS)
    lines = [f"| unit | {heads} |", "|" + "---|" * (1 + 3 * len(STRENGTHS))]
    for name in AU_NAMES:
        of_unit = [score[name] for score in scores]
        values = [o[k] for o in of_unit if o is not None for k in ("risen", "top3", "auc")]
        if values:
            lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
