"""The 478 points of MediaPipe's face mesh on the crops of a pack, for teaching units by warping.

    pip install mediapipe
    python docs/make_meshes.py faces.h5 mediapipe_face_landmarker.task meshes.h5

Writes ``mesh`` (n, 478, 3) float16 in crop pixels, x to the right, y down, z *towards* the
camera (MediaPipe's has the opposite sign); NaN where no face is found. ``FACES`` and the mesh
file are matched row by row; the attribute ``n`` and ``source`` say of which pack they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import h5py
import numpy as np
from mediapipe import Image, ImageFormat
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision

SIDE_PX, SCALE, BORDER_PX = 112, 2, 40  # the landmarker wants more than a tight crop


def main() -> None:
    """Find the mesh of every crop of a pack."""
    parser = argparse.ArgumentParser()
    for name in ("faces", "model", "meshes"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    landmarker = vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(options.model)), num_faces=1
        )
    )
    with h5py.File(options.faces, "r") as file:
        jpegs = file["jpeg"][:]
    meshes = np.full((len(jpegs), 478, 3), np.nan, np.float16)
    for row, jpeg in enumerate(jpegs):
        crop = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        meshes[row] = find_mesh(landmarker, crop)
        if row % 1000 == 999:
            print(f"{row + 1} of {len(jpegs)}", flush=True)  # noqa: T201
    with h5py.File(options.meshes, "w") as file:
        file.create_dataset("mesh", data=meshes, compression="gzip", compression_opts=4)
        file.attrs.update(n=len(jpegs), source=options.faces.name)
    found = np.isfinite(meshes[:, 0, 0]).sum()
    print(f"{options.meshes}: {found} of {len(jpegs)} crops have a mesh")  # noqa: T201


def find_mesh(landmarker: vision.FaceLandmarker, crop: np.ndarray) -> np.ndarray:
    """(478, 3) points in crop pixels, NaN where no face is found."""
    big = cv2.resize(crop, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    big = cv2.copyMakeBorder(big, *[BORDER_PX] * 4, cv2.BORDER_REPLICATE)
    result = landmarker.detect(Image(image_format=ImageFormat.SRGB, data=big))
    if not result.face_landmarks:
        return np.full((478, 3), np.nan)
    points = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0]]) * len(big)
    places = (points[:, :2] - BORDER_PX + 0.5) / SCALE - 0.5
    return np.concatenate([places, -points[:, 2:] / SCALE], axis=1)


if __name__ == "__main__":
    main()
