"""A crop pack without labels from photographs with boxes and five points.

    python docs/make_people_pack.py data/people people.h5

Reads ``faces.csv`` of the folder (columns file, x1 ... y2, left_eye_x ... right_mouth_y, status,
yaw_class, source) and writes the crops of its sure faces as `train-rec --data pack:` takes them:
no expression, no units; a teacher's answers and pairs made by warping are what they teach. A
tenth of the sources is ``val``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path

import cv2
import h5py
import numpy as np

from facer.stages.features.align import similarity_transforms
from facer.storage.schema import AU_NAMES, EXPRESSIONS

LEAST_PX = 40  # of the box's height
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


def main() -> None:
    """Align, encode and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("people", type=Path)
    parser.add_argument("pack", type=Path)
    options = parser.parse_args()
    with (options.people / "faces.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if _usable(row)]
    jpegs, frames, points = [], [], []
    for row in rows:
        image = cv2.imread(str(options.people / row["file"]))
        keypoints = np.array([[float(row[f"{p}_{a}"]) for a in "xy"] for p in POINTS], np.float32)
        crop, frame, aligned = align_with_frame(image, keypoints)
        jpegs.append(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].ravel())
        frames.append(frame)
        points.append(aligned)
    n = len(rows)
    with h5py.File(options.pack, "w") as file:
        jpeg = file.create_dataset("jpeg", (n,), h5py.vlen_dtype(np.uint8))
        for place, data in enumerate(jpegs):
            jpeg[place] = data
        file["split"] = np.array([_split(row["source"]) for row in rows], "S")
        for column in ("source", "yaw_class"):
            file[column] = np.array([row[column] for row in rows], "S")
        file["frame"] = np.array(frames, np.float16)
        file["points"] = np.array(points, np.float16)
        file["expression_votes"] = np.zeros((n, len(EXPRESSIONS)), np.uint8)
        file["expression_label"] = np.full(n, -1, np.int8)
        file["au"] = np.full((n, len(AU_NAMES)), np.nan, np.float16)
        file.attrs["expression_columns"] = list(EXPRESSIONS)
        file.attrs["au_columns"] = list(AU_NAMES)
        file.attrs["au_trust"] = np.zeros(len(AU_NAMES))
    print(f"{options.pack}: {n} crops")  # noqa: T201


def _usable(row: dict[str, str]) -> bool:
    height = float(row["y2"]) - float(row["y1"])
    agreed = row["status"] == "sure" and row["points_agree"] == "1"
    return agreed and row["yaw_class"] != "profile" and height >= LEAST_PX


def _split(source: str) -> str:
    return "val" if hashlib.sha256(source.encode()).digest()[0] % 10 == 0 else "train"


def align_with_frame(image: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, ...]:
    """The BGR crop, and in it the corners of the photograph (4, 2) and the points (5, 2)."""
    (matrix,) = similarity_transforms(keypoints[None])
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    crop = cv2.warpAffine(
        image, matrix, (112, 112), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    corners, points = (p @ matrix[:, :2].T + matrix[:, 2] for p in (corners, keypoints))
    return crop, corners, points


if __name__ == "__main__":
    main()
