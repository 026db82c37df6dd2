"""A teacher for ``facer train-rec``: a face recognition network made to see expressions.

It starts from dlib's ResNet (King 2017; CC0, in PyPI's ``face_recognition_models``), whose 29
convolutions have seen three million faces, and learns the FER+ votes of a crop pack. The result is
an ONNX file that ``--teacher`` takes; its valence, arousal and action units are zeros.

    python docs/make_teacher.py PACK.h5 dlib_face_recognition_resnet_model_v1.dat teacher.onnx
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facer.pipeline.runtime.progress import log
from facer.stages.affect.datasets.packs import read_pack
from facer.stages.common.training import Schedule, ema_decay_at
from facer.stages.features.rec.export import rec_to_onnx

CROP_PX, SIDE_PX = 112, 128
BATCH = 64
STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))  # channels, residual units
GREY_MEAN = 114.7  # of dlib's three means


class Unit(nn.Module):
    """dlib's residual unit: the skip of a halving one is average pooling and empty channels."""

    def __init__(self, inputs: int, outputs: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        stride, padding = (2, 0) if halves else (1, 1)
        self.c1 = nn.Conv2d(inputs, outputs, 3, stride, padding, bias=False)
        self.n1 = nn.BatchNorm2d(outputs)
        self.c2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.n2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        y = self.n2(self.c2(torch.relu(self.n1(self.c1(x)))))
        if self.halves:
            x = F.avg_pool2d(x, 2)
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return torch.relu(x + y)


class FaceNet(nn.Module):
    """Grey faces (B, 1, 128, 128) in [0, 255] -> logits of the seven expressions (B, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.c0 = nn.Conv2d(1, 32, 7, 2, bias=False)
        self.n0 = nn.BatchNorm2d(32)
        units, channels = [], 32
        for stage, (width, count) in enumerate(STAGES):
            for index in range(count):
                units.append(Unit(channels, width, halves=stage > 0 and index == 0))
                channels = width
        self.units = nn.Sequential(*units)
        self.drop = nn.Dropout(0.4)
        self.fc = nn.Linear(channels, 7)

    def embed(self, x: Tensor) -> Tensor:
        """The pooled space (B, 256)."""
        x = torch.relu(self.n0(self.c0((x - GREY_MEAN) / 256)))
        return self.units(F.max_pool2d(x, 3, 2)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 128, 128) -> (B, 7)."""
        return self.fc(self.drop(self.embed(x)))

    def layers(self) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """Convolutions and their normalisations, in the order of dlib's file."""
        yield self.c0, self.n0
        for unit in self.units:
            yield unit.c1, unit.n1
            yield unit.c2, unit.n2


class DlibFile:
    """Reads the tensors of a serialised dlib network one after another."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        self._at = 0

    def tensor(self, layer: bytes, size: int) -> Tensor:
        """The next tensor of ``size`` numbers in a layer of this name."""
        header = b"".join(_packed(number) for number in (2, size, 1, 1, 1))  # version, shape
        self._at = self._data.index(layer, self._at)
        start = self._data.index(header, self._at) + len(header)
        self._at = start + 4 * size
        return torch.from_numpy(np.frombuffer(self._data, "<f4", size, start).copy())


def _packed(number: int) -> bytes:
    """dlib's way to write an integer: how many bytes, and these."""
    length = (number.bit_length() + 7) // 8
    return bytes([length]) + number.to_bytes(length, "little")


@torch.no_grad()
def load_dlib(network: FaceNet, path: Path, faces: list[Tensor]) -> None:
    """dlib's weights. Its fixed scales become normalisations by the statistics of ``faces``, which
    leave the network the same function.
    """
    file = DlibFile(path)
    for layer, (conv, norm) in enumerate(network.layers()):
        channels, inputs = conv.weight.shape[0], 3 if layer == 0 else conv.weight.shape[1]
        size = conv.kernel_size[0]
        numbers = file.tensor(b"con_4", channels * inputs * size * size + channels)
        scale, offset = file.tensor(b"affine_", 2 * channels).chunk(2)
        kernel = numbers[:-channels].reshape(channels, inputs, size, size)
        conv.weight.copy_(kernel.sum(1, keepdim=True) if layer == 0 else kernel)  # grey pictures
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.copy_(scale)
        norm.bias.copy_(offset + scale * numbers[-channels:])
    seen: dict[nn.Module, list[Tensor]] = {}
    hooks = [
        norm.register_forward_pre_hook(lambda norm, x: seen.setdefault(norm, []).append(x[0]))
        for _, norm in network.layers()
    ]
    network.eval()
    for x in faces:
        network(x)
    for hook in hooks:
        hook.remove()
    for _, norm in network.layers():
        mean = torch.stack([x.mean((0, 2, 3)) for x in seen[norm]]).mean(0)
        var = torch.stack([x.var((0, 2, 3)) for x in seen[norm]]).mean(0).clamp_min(1e-3)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.bias.add_(norm.weight * mean)
        norm.weight.mul_(torch.sqrt(var + norm.eps))


class Window:
    """The part of a crop that the network sees: ``step`` crop pixels a pixel, ``down`` lower."""

    def __init__(self, step: float, down: float) -> None:
        self.step, self.down = step, down

    def plain(self, crops: Tensor) -> Tensor:
        """(B, 112, 112) -> (B, 1, 128, 128)."""
        n = len(crops)
        return self._sample(crops, torch.zeros(n), self.step, torch.zeros(n), self.down)

    def varied(self, crops: Tensor) -> Tensor:
        """The same turned, mirrored, moved, scaled, lit and covered at random."""
        n = len(crops)
        angle = _spread(n) * 0.21
        step = self.step * (1 + _spread(n) * 0.1)
        mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
        right, down = _spread(n) * 4, self.down + _spread(n) * 4
        faces = self._sample(crops, angle, step, right, down, mirror)
        contrast = torch.exp(torch.randn(n) * 0.25).view(-1, 1, 1, 1)
        light = torch.randn(n).view(-1, 1, 1, 1) * 20
        mean = faces.mean((2, 3), keepdim=True)
        faces = ((faces - mean) * contrast + mean + light).clamp(0, 255)
        if torch.rand(1) < 0.3:
            faces = F.avg_pool2d(faces, 3, 1, 1, count_include_pad=False)
        for row in torch.nonzero(torch.rand(n) < 0.35).flatten().tolist():
            height, width = torch.randint(12, 50, (2,)).tolist()
            top = int(torch.randint(0, SIDE_PX - height, (1,)))
            left = int(torch.randint(0, SIDE_PX - width, (1,)))
            faces[row, :, top : top + height, left : left + width] = torch.rand(1) * 255
        return faces

    def _sample(
        self, crops: Tensor, angle: Tensor, step: Tensor | float, right: Tensor,
        down: Tensor | float, mirror: Tensor | float = 1.0,
    ) -> Tensor:  # fmt: skip
        size = SIDE_PX * step / CROP_PX * torch.ones_like(angle)
        cos, sin = size * angle.cos(), size * angle.sin()
        across = torch.stack([cos * mirror, -sin, 2 * right / CROP_PX], 1)
        along = torch.stack([sin * mirror, cos, 2 * down / CROP_PX * torch.ones_like(angle)], 1)
        shape = [len(crops), 1, SIDE_PX, SIDE_PX]
        grid = F.affine_grid(torch.stack([across, along], 1), shape, align_corners=False)
        faces = crops[:, None].float()
        return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def _spread(n: int) -> Tensor:
    return torch.rand(n) * 2 - 1


class Teacher(nn.Module):
    """The trained network as a REC: RGB crops (B, 3, 112, 112) in [-1, 1] -> outputs."""

    def __init__(self, network: FaceNet, window: Window) -> None:
        super().__init__()
        self.network = network.eval()
        at = (torch.arange(SIDE_PX) - (SIDE_PX - 1) / 2) * window.step + (CROP_PX - 1) / 2
        self.register_buffer("along", _interpolation(at + window.down))
        self.register_buffer("across", _interpolation(at))
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
        self.register_buffer("nothing", torch.zeros(7, 2 + 17))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Probabilities of the expressions, and the pooled space; zeros for the rest."""
        grey = (crops * self.luma).sum(1, keepdim=True) * 127.5 + 127.5
        embedding = self.network.embed(self.along @ grey @ self.across.T)
        expression = self.network.fc(embedding).softmax(1)
        nothing = expression @ self.nothing
        return nothing[:, :2], expression, nothing[:, 2:], embedding


def _interpolation(at: Tensor) -> Tensor:
    """(128, 112) weights that sample 112 pixels linearly at these places, edges repeated."""
    at = at.clamp(0, CROP_PX - 1)
    return (1 - (at[:, None] - torch.arange(CROP_PX)).abs()).clamp_min(0)


def train(network: FaceNet, window: Window, faces: Tensor, votes: Tensor, epochs: int) -> FaceNet:
    """Cross entropy against the shares of votes, AdamW, one cycle; the averaged weights."""
    body = [p for name, p in network.named_parameters() if not name.startswith("fc")]
    groups = [
        {"params": [p for p in body if p.ndim > 1], "weight_decay": 0.05, "share": 1.0},
        {"params": [p for p in body if p.ndim <= 1], "weight_decay": 0.0, "share": 1.0},
        {"params": list(network.fc.parameters()), "weight_decay": 0.05, "share": 3.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-3)
    averaged = copy.deepcopy(network)
    steps = len(faces) // BATCH
    schedule = Schedule(1e-3, 0.1, 1.0, first=0.0, steps=epochs * steps)
    for step in range(epochs * steps):
        if step % steps == 0:
            network.train()
            order, total = torch.randperm(len(faces)), 0.0
        rows = order[step % steps * BATCH :][:BATCH]
        x, target = window.varied(faces[rows]), votes[rows]
        if torch.rand(1) < 0.5:  # mixup
            share = float(np.random.default_rng(step).beta(0.3, 0.3))
            other = torch.randperm(BATCH)
            x, target = (share * one + (1 - share) * one[other] for one in (x, target))
        for group in optimiser.param_groups:
            group["lr"] = (schedule.at(step) + 1e-7) * group["share"]
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(x.contiguous(memory_format=torch.channels_last))
        loss = -(target * logits.float().log_softmax(1)).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        total += loss.item()
        decay = ema_decay_at(step + 1, 0.998)
        with torch.no_grad():
            for mean, value in zip(
                averaged.state_dict().values(), network.state_dict().values(), strict=True
            ):
                mean.lerp_(value, 1 - decay) if value.is_floating_point() else mean.copy_(value)
        if (step + 1) % steps == 0:
            log(f"epoch {(step + 1) // steps}/{epochs}: loss {total / steps:.4f}")
    return averaged.eval()


def read_faces(pack: Path) -> tuple[Tensor, Tensor]:
    """Crops (N, 112, 112) uint8, which are grey, and shares of votes (N, 7), ties among them."""
    data = read_pack(pack, "train")
    faces = np.stack([data.crop(row)[..., 0] for row in range(len(data))])
    with h5py.File(pack, "r") as file:
        votes = file["expression_votes"][:][data.indices].astype(np.float32)
    rows = votes.sum(1) > 0
    shares = votes[rows] / votes[rows].sum(1, keepdims=True)
    return torch.from_numpy(faces[rows]), torch.from_numpy(shares)


def main() -> None:
    """Read, train, export."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("dlib", type=Path)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--step", type=float, default=112 / 150 / 1.06)
    parser.add_argument("--down", type=float, default=8.0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    window = Window(options.step, options.down)
    faces, votes = read_faces(options.pack)
    network = FaceNet()
    some = [window.plain(batch) for batch in faces.split(BATCH)[:300:20]]
    load_dlib(network, options.dlib, some)
    network.to(memory_format=torch.channels_last)
    trained = train(network, window, faces, votes, options.epochs)
    options.teacher.write_bytes(rec_to_onnx(Teacher(trained, window), {}))


if __name__ == "__main__":
    main()
