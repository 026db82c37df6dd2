"""Frames/s with a public network of EfficientNet's kind at 224 px, by a model card, and its share.

    python -m benchmarks.features.model_card CLIP.mp4 [CLIP.mp4 ...]

The network has EfficientNet-B0's stages (inverted residuals, depthwise convolutions) and random
weights: its numbers mean nothing, its time is that of the real one. The ratio is that of the rate
of extraction with it to that with rec-small, on the same clips in the same run.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from benchmarks.shared import parser_of, scratch, timed
from facer.stages.features.config import ExtractConfig
from facer.stages.features.extractor import Extractor

# expansion, width, blocks, stride, kernel (Tan & Le 2019, "EfficientNet", table 1)
_STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
           (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))  # fmt: skip
_CARD = """
format = "facer-card-1"
name = "efficientnet-like"
[file]
name = "network.onnx"
licence = "none"
source = "this benchmark"
training = "none"
[input]
size_px = 224
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[crop]
kind = "box"
outside = "clip"
[[output]]
columns = ["valence", "arousal"]
activation = "tanh"
"""


class Block(nn.Module):
    """An inverted residual."""

    def __init__(self, inputs: int, expansion: int, width: int, stride: int, kernel: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.skip = stride == 1 and inputs == width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1), nn.SiLU(),
            nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner), nn.SiLU(),
            nn.Conv2d(inner, width, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
        y: torch.Tensor = self.body(x)
        return x + y if self.skip else y


def network() -> nn.Module:
    """EfficientNet-B0's stages, without squeeze-and-excitation."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1), nn.SiLU()]
    channels = 32
    for expansion, width, count, stride, kernel in _STAGES:
        for index in range(count):
            layers.append(Block(channels, expansion, width, stride if index == 0 else 1, kernel))
            channels = width
    head = (nn.Conv2d(channels, 1280, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, *head, nn.Linear(1280, 2)).eval()


def write(folder: Path) -> Path:
    """The card and its network in a folder; returns the card."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network(), (torch.zeros(2, 3, 224, 224),), str(folder / "network.onnx"), dynamo=False,
            input_names=["input"], output_names=["out"], opset_version=17,
            dynamic_axes={"input": {0: "batch"}, "out": {0: "batch"}},
        )  # fmt: skip
    card = folder / "card.toml"
    card.write_text(_CARD)
    return card


def measure(rec: str, clips: list[Path]) -> tuple[float, float]:
    """Frames/s, and the share of the network's time."""
    extractor = Extractor(ExtractConfig(device="cpu", rec=rec))
    predict, spent = extractor.rec.predict, 0.0

    def watched(crops: object) -> object:
        nonlocal spent
        found, (wall, _) = timed(predict, crops)
        spent += wall
        return found

    extractor.rec.predict = watched
    results, (seconds, _) = timed(lambda: list(extractor.run(clips)))
    frames = sum(s.clip.n_frames for r in results for s in r.sequences)
    return frames / seconds, spent / seconds


def main() -> None:
    """Print both rates, the share of each network, and the ratio."""
    torch.set_num_threads(1)
    parser = parser_of(__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    clips = parser.parse_args().clips
    with scratch() as folder:
        card = str(write(folder))
        measure("rec-small", clips[:1])  # warm
        rates = {name: measure(rec, clips) for name, rec in
                 (("rec-small", "rec-small"), ("efficientnet-like card", card))}  # fmt: skip
    for name, (rate, share) in rates.items():
        print(f"{name:22}  {rate:7.1f} frames/s, {share:.0%} of the time in the network")
    (own, _), (public, _) = rates.values()
    print(f"ratio: {public / own:.3f} of the rate with rec-small")


if __name__ == "__main__":
    main()
