"""What detectors trained without a half of the kept sources find on that half, both together.

    python docs/score_folds.py data FIRST.onnx SECOND.onnx

FIRST.onnx is of ``facer train-detector --split without-first``, SECOND.onnx of ``without-second``;
``data`` holds people/, people-clips/ and scenes/. Each picture is seen by the network that was
trained without its source, with the points model of the package. ``tune`` and ``val`` have tables
of their own, as facer-det's earlier figures are of those.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from facer.stages.detection.config import Split
from facer.stages.detection.data.people import read_people, read_people_clips, split_of
from facer.stages.detection.data.sources import read_scenes
from facer.stages.detection.evaluate import as_detect, score_images
from facer.stages.detection.measure import Measured, false_line, people_table
from facer.stages.features.config import DetectorConfig
from facer.stages.features.detect import load_with_points

HALVES: tuple[Split, ...] = ("first", "second")
KEPT: tuple[Split, ...] = ("tune", "val")


def main() -> None:
    """Detect and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("networks", type=Path, nargs=2)
    parser.add_argument("--threshold", type=float)
    options = parser.parse_args()
    config = DetectorConfig(score=options.threshold)
    kinds = {"photographs": read_people, "frames of clips": read_people_clips}
    found = {(kind, of): Measured(f"{kind}, {of}") for kind in kinds for of in KEPT}
    lines = []
    for half, path in zip(HALVES, options.networks, strict=True):
        detect = as_detect(load_with_points(path, config))
        for (kind, read), folder in zip(kinds.items(), ("people", "people-clips"), strict=True):
            for picture in read(options.data / folder, half):
                measured = found[kind, split_of(picture.source)]
                measured.add(picture, *detect(picture.labelled.image))
        scenes = read_scenes(options.data / "scenes", 100, validation=True)
        score = score_images(f"scenes, without the {half} half", scenes, detect)
        lines.append(false_line(score.name, score.false, score.frames))
    print("\n\n".join([people_table(one) for one in found.values()] + lines))  # noqa: T201


if __name__ == "__main__":
    main()
