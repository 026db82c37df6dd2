"""Apparent sex and age of the crops of a pack, as a table for ``evaluate-rec --groups``.

    npm pack @vladmandic/face-api@1.7.15 && tar xf vladmandic-face-api-1.7.15.tgz
    python docs/make_apparent.py package/model faces-ferplus.h5 fer-apparent.csv --split val
    python docs/make_apparent.py package/model faces-muxspace.h5 --check --split train

A small network of face-api (MIT) answers, on each crop and on its mirror: the table says what a
machine takes a face for, not who somebody is. A row is an ``image`` of one split: ``sex``
(female, male, or empty where crop and mirror differ or their mean probability is below 0.8),
``age_group`` (empty where crop and mirror are in two), ``p_male`` from 0 to 1 and ``age`` in years.
With ``--check`` it is compared with the first names that a pack has in ``person``, one photograph
a person; on the train split for each of several ways to frame a crop.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facer.stages.affect.datasets.packs import read_pack
from facer.stages.detection.measure import share_interval
from facer.storage.schema import F32, I64, U8

MEAN_RGB = (122.782, 117.001, 104.298)
SURE = 0.8
AGE_GROUPS = (("0 to 19", 0), ("20 to 39", 20), ("40 to 59", 40), ("60 and more", 60))
BATCH = 64


def _edge(px: int) -> Callable[[U8], U8]:
    return lambda crop: cv2.copyMakeBorder(crop, px, px, px, px, cv2.BORDER_REPLICATE)


def _black(px: int) -> Callable[[U8], U8]:
    return lambda crop: cv2.copyMakeBorder(crop, px, px, px, px, cv2.BORDER_CONSTANT)


FRAMINGS: dict[str, Callable[[U8], U8]] = {
    "whole": lambda crop: crop,
    "20 % wider, edge": _edge(11),
    "40 % wider, edge": _edge(22),
    "20 % wider, black": _black(11),
    "40 % wider, black": _black(22),
    "20 % tighter": lambda crop: crop[11:101, 11:101],
    "lower, edge": lambda crop: _edge(14)(crop)[28:, 14:126],
}
"""What of a crop (112, 112, 3) the network sees, which is then made 112 px wide."""
FRAMING = "20 % tighter"  # agreed best with the names of the train split

# Of the most frequent first names of the 1990 US census those that are hardly given to both.
_WOMEN = (
    "Mary Patricia Linda Barbara Elizabeth Jennifer Maria Susan Margaret Dorothy Lisa Nancy Karen "
    "Betty Helen Sandra Donna Carol Ruth Sharon Michelle Laura Sarah Kimberly Deborah Jessica "
    "Cynthia Angela Melissa Brenda Amy Anna Rebecca Virginia Kathleen Pamela Martha Debra Amanda "
    "Stephanie Carolyn Christine Marie Janet Catherine Ann Joyce Diane Alice Julie Heather Teresa "
    "Doris Gloria Evelyn Cheryl Katherine Joan Judith Rose"
)
_MEN = (
    "James John Robert Michael William David Richard Charles Joseph Thomas Christopher Daniel Paul "
    "Mark Donald George Kenneth Steven Edward Brian Ronald Anthony Kevin Jason Matthew Gary "
    "Timothy Jose Larry Jeffrey Frank Scott Eric Stephen Andrew Raymond Gregory Joshua Jerry "
    "Dennis Walter Patrick Peter Harold Douglas Henry Carl Arthur Ryan Roger Joe Juan Jack Albert "
    "Jonathan Justin Keith Gerald Samuel Ralph"
)
WOMEN, MEN = frozenset(_WOMEN.split()), frozenset(_MEN.split())


def main() -> None:
    """Write a table, or compare with first names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="Folder model of the package.")
    parser.add_argument("pack", type=Path)
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--split", choices=("train", "val"), default="val")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if (options.table is None) != options.check:
        parser.error("give a TABLE to write, or --check")
    network = AgeGenderNet(read_weights(options.model))
    if options.check:
        check(network, options.pack, options.split)
        return
    data = read_pack(options.pack, options.split)
    crops = [data.crop(row) for row in range(len(data))]
    write_table(options.table, data.indices, *network.answers(crops, FRAMING))


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of face-api's AgeGenderNet by name: numbers of a byte are scale * byte + min."""
    (group,) = json.loads((folder / "age_gender_model-weights_manifest.json").read_text())
    data = b"".join((folder / name).read_bytes() for name in group["paths"])
    found, start = {}, 0
    for entry in group["weights"]:
        coded = entry.get("quantization")
        dtype = np.dtype("u1" if coded else "<f4")
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(data, dtype, count, start).astype(np.float32)
        start += count * dtype.itemsize
        if coded:
            values = values * np.float32(coded["scale"]) + np.float32(coded["min"])
        found[entry["name"]] = torch.from_numpy(values.reshape(entry["shape"]))
    return found


class AgeGenderNet:
    """TinyXception (separable convolutions) with a dense layer for the age and one for two logits.

    ``weights`` by tf.js's names, kernels as (height, width, inputs, outputs).
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self._weights = {
            name: value.permute(2, 3, 0, 1) if "depthwise" in name
            else value.permute(3, 2, 0, 1) if value.ndim == 4 else value
            for name, value in weights.items()
        }  # fmt: skip

    def predict(self, crops: U8) -> tuple[F32, F32]:
        """RGB (B, 112, 112, 3) -> probability to look male (B,), apparent age in years (B,)."""
        x = (torch.from_numpy(crops.astype(np.float32)) - torch.tensor(MEAN_RGB)) / 255
        x = F.relu(self._conv(x.permute(0, 3, 1, 2), "entry_flow/conv_in", 2))
        x = self._reduction(x, "entry_flow/reduction_block_0")
        x = self._reduction(F.relu(x), "entry_flow/reduction_block_1", x)
        for block in ("middle_flow/main_block_0", "middle_flow/main_block_1"):
            y = x
            for number in range(3):
                y = self._separable(F.relu(y), f"{block}/separable_conv{number}")
            x = x + y
        x = self._reduction(F.relu(x), "exit_flow/reduction_block", x)
        pooled = F.relu(self._separable(x, "exit_flow/separable_conv")).mean(dim=(2, 3))
        age, sex = (
            pooled @ self._weights[f"fc/{name}/weights"] + self._weights[f"fc/{name}/bias"]
            for name in ("age", "gender")
        )
        return sex.softmax(dim=1)[:, 0].numpy(), age[:, 0].numpy()

    def answers(self, crops: list[U8], framing: str) -> tuple[F32, F32]:
        """Of n framed crops and their mirrors: probability to look male (n, 2), age (n, 2)."""
        found = []
        for start in range(0, len(crops), BATCH):
            framed = [FRAMINGS[framing](crop) for crop in crops[start : start + BATCH]]
            batch = np.stack([cv2.resize(crop, (112, 112)) for crop in framed])
            found.append([*self.predict(batch), *self.predict(batch[:, :, ::-1])])
        p, age, p_mirror, age_mirror = (np.concatenate(part) for part in zip(*found, strict=True))
        return np.stack([p, p_mirror], axis=1), np.stack([age, age_mirror], axis=1)

    def _conv(self, x: Tensor, name: str, stride: int, kernel: str = "filters") -> Tensor:
        weight = self._weights[f"{name}/{kernel}"]
        if weight.shape[-1] == 3 and stride == 2:  # as tf.js pads an even size
            x = F.pad(x, (0, 1, 0, 1))
        padding = weight.shape[-1] // 2 if stride == 1 else 0
        return F.conv2d(x, weight, self._weights[f"{name}/bias"], stride, padding)

    def _separable(self, x: Tensor, name: str) -> Tensor:
        depthwise = self._weights[f"{name}/depthwise_filter"]
        x = F.conv2d(x, depthwise, padding=1, groups=len(depthwise))
        return self._conv(x, name, 1, "pointwise_filter")

    def _reduction(self, x: Tensor, name: str, before: Tensor | None = None) -> Tensor:
        """``x`` is rectified, ``before`` is not, where that differs."""
        y = self._separable(x, f"{name}/separable_conv0")
        y = self._separable(F.relu(y), f"{name}/separable_conv1")
        y = F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=-torch.inf), 3, 2)
        return y + self._conv(x if before is None else before, f"{name}/expansion_conv", 2)


def told_sex(p_male: F32) -> list[str]:
    """female, male, or nothing, from the probabilities (n, 2) of crops and their mirrors."""
    agree = (p_male[:, 0] > 0.5) == (p_male[:, 1] > 0.5)
    mean = p_male.mean(axis=1)
    sure = agree & (np.maximum(mean, 1 - mean) >= SURE)
    return [_sex(float(p)) if told else "" for told, p in zip(sure, mean, strict=True)]


def _sex(p_male: float) -> str:
    return "male" if p_male > 0.5 else "female"


def told_age(age: F32) -> list[str]:
    """One of ``AGE_GROUPS`` or nothing, from the ages (n, 2) of crops and their mirrors."""
    groups = np.searchsorted([low for _, low in AGE_GROUPS[1:]], age, side="right")
    return [AGE_GROUPS[one][0] if one == other else "" for one, other in groups]


def write_table(path: Path, images: I64, p_male: F32, age: F32) -> None:
    """A row a crop, which ``images`` (n,) names."""
    sexes, groups = told_sex(p_male), told_age(age)
    columns = images, sexes, groups, p_male.mean(axis=1), age.mean(axis=1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "sex", "age_group", "p_male", "age"])
        for image, sex, group, p, years in zip(*columns, strict=True):
            writer.writerow([image, sex, group, f"{p:.4f}", f"{years:.2f}"])
    told = (f"{sum(map(bool, found))} with {name}" for name, found in
            (("a sex", sexes), ("an age group", groups)))  # fmt: skip
    print(f"{path}: {len(age)} crops, {', '.join(told)}")  # noqa: T201


def check(network: AgeGenderNet, pack: Path, split: str) -> None:
    """How often each framing agrees with an English first name, on one photograph a person."""
    data = read_pack(pack, split)
    with h5py.File(pack) as file:
        people, source = (file[name].asstr()[:][data.indices] for name in ("person", "source"))
    first = {person: row for row, person in reversed(list(enumerate(people)))}
    names = {person: person.split("_")[0] for person in first}
    first = {
        person: row for person, row in first.items()
        if source[row] != "muxspace-film" and names[person] in WOMEN | MEN
    }  # fmt: skip
    crops = [data.crop(row) for row in first.values()]
    truth = np.array(["male" if names[person] in MEN else "female" for person in first])
    for framing in FRAMINGS if split == "train" else (FRAMING,):
        p_male, _ = network.answers(crops, framing)
        mean = np.array([_sex(float(p)) for p in p_male.mean(axis=1)])
        told = np.array(told_sex(p_male))
        print(framing)  # noqa: T201
        for name, chosen in (("all", np.full(len(told), True)), ("told", told != "")):
            for sex in ("female", "male"):
                there = chosen & (truth == sex)
                _show(f"  {name}, named {sex}", mean[there] == sex)
            _show(f"  {name}", (mean == truth)[chosen])


def _show(what: str, right: np.ndarray) -> None:
    n, hits = len(right), int(right.sum())
    span = "{:.3f} to {:.3f}".format(*share_interval(hits, n))
    print(f"{what}: {hits / max(n, 1):.3f} ({span}), n {n}")  # noqa: T201


if __name__ == "__main__":
    main()
