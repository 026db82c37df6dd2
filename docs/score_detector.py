"""Share of faces that facer-det finds by apparent sex and age, on photographs of people.

    python docs/score_detector.py package/model data/people FIRST/detector.onnx SECOND/detector.onnx

Faces count and are found as ``evaluate-detector --people`` has it, on the val split, each picture
by the network that was trained without it (``score_folds.py``). Sex and age are told by
``make_apparent.py`` from the aligned face; not of profiles nor of faces without points.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from make_apparent import FRAMING, AgeGenderNet, read_weights, told_age, told_sex
from score_folds import add_networks, detectors

from facer.stages.detection.data.people import Picture, read_people, split_of
from facer.stages.detection.measure import SMALL, height_share, matches, share_interval
from facer.stages.features.align import align


def main() -> None:
    """Detect, tell, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("people", type=Path)
    add_networks(parser)
    options = parser.parse_args()
    network = AgeGenderNet(read_weights(options.model))
    found: dict[str, list[bool]] = defaultdict(list)
    for half, detect in detectors(options):
        for picture in read_people(options.people, half):
            if split_of(picture.source) != "val":
                continue
            match = matches(picture.labelled.bbox_px, *detect(picture.labelled.image)).any(axis=1)
            for row, names in enumerate(groups_of_faces(network, picture)):
                for name in names:
                    found[name].append(bool(match[row]))
    print("| faces | n | found | 95 % interval |\n|---|---|---|---|")  # noqa: T201
    for name in sorted(found):
        hits, n = sum(found[name]), len(found[name])
        low, high = share_interval(hits, n)
        print(f"| {name} | {n} | {hits / n:.3f} | {low:.3f} to {high:.3f} |")  # noqa: T201


def groups_of_faces(network: AgeGenderNet, picture: Picture) -> list[list[str]]:
    """The groups of every face of a picture; none for a face that does not count."""
    groups: list[list[str]] = []
    for row, points in enumerate(picture.labelled.keypoints_px):
        share = height_share(picture, row)
        if share is None:
            groups.append([])
            continue
        sex = age = ""
        if picture.yaw_class[row] != "profile" and np.isfinite(points).all():
            crops = list(align(picture.labelled.image, points[None]))
            answer = network.answers(crops, FRAMING)
            (sex,), (age,) = told_sex(answer[0]), told_age(answer[1])
        names = ["all", f"sex: {sex or 'not told'}", f"age: {age or 'not told'}"]
        groups.append([*names, *(f"{name}, not small" for name in names if share >= SMALL)])
    return groups


if __name__ == "__main__":
    main()
