"""What detectors trained without a half of the kept sources find on that half, both together.

    python docs/score_folds.py data FIRST/detector.onnx SECOND/detector.onnx
    python docs/score_folds.py data ... --points FIRST/points.onnx SECOND/points.onnx

FIRST is of ``facer train-detector --split without-first``, SECOND of ``without-second``; ``data``
holds people/, people-clips/ and scenes/. Each picture is seen by the networks that were trained
without its source, by default with the points model of the package. ``tune`` and ``val`` have
tables of their own, as facer-det's earlier figures are of those.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from facer.stages.detection.config import Split
from facer.stages.detection.data.people import read_people, read_people_clips, split_of
from facer.stages.detection.data.sources import read_scenes
from facer.stages.detection.evaluate import as_detect, score_images
from facer.stages.detection.measure import Detect, Measured, false_line, people_table
from facer.stages.features.config import DetectorConfig
from facer.stages.features.detect import load_with_points

HALVES: tuple[Split, ...] = ("first", "second")
KEPT: tuple[Split, ...] = ("tune", "val")


def main() -> None:
    """Detect and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    add_networks(parser)
    options = parser.parse_args()
    kinds = {"photographs": read_people, "frames of clips": read_people_clips}
    found = {(kind, of): Measured(f"{kind}, {of}") for kind in kinds for of in KEPT}
    lines = []
    for half, detect in detectors(options):
        for (kind, read), folder in zip(kinds.items(), ("people", "people-clips"), strict=True):
            for picture in read(options.data / folder, half):
                measured = found[kind, split_of(picture.source)]
                measured.add(picture, *detect(picture.labelled.image))
        scenes = read_scenes(options.data / "scenes", 100, validation=True)
        score = score_images(f"scenes, without the {half} half", scenes, detect)
        lines.append(false_line(score.name, score.false, score.frames))
    print("\n\n".join([people_table(one) for one in found.values()] + lines))  # noqa: T201


def add_networks(parser: argparse.ArgumentParser) -> None:
    """The files of the two trainings."""
    parser.add_argument("networks", type=Path, nargs=2, metavar="DETECTOR")
    parser.add_argument("--points", type=Path, nargs=2, default=(None, None))


def detectors(options: argparse.Namespace) -> Iterator[tuple[Split, Detect]]:
    """Each half, and the detector that has not seen it."""
    for half, path, points in zip(HALVES, options.networks, options.points, strict=True):
        yield half, as_detect(load_with_points(path, DetectorConfig(), points))


if __name__ == "__main__":
    main()
