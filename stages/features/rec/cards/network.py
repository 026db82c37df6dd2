"""The network of a model card: crops in, the card's columns out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from facer.stages.features.rec.cards.card import Card, CardInput, CardOutput
from facer.stages.features.rec.cards.places import (
    checked_weights,
    how_to_get,
    pinned_sha256,
    weights_of,
)
from facer.stages.features.rec.session import (
    FLOATS,
    MAX_EMBEDDING,
    SAME,
    names_of,
    open_network,
    tensor_name,
)
from facer.storage.errors import FacerError, one_line
from facer.storage.schema import F32, U8

_GREY = (0.299, 0.587, 0.114)  # of R, G and B (ITU-R BT.601), as OpenCV and Pillow


class CardRec:
    """A card's network in onnxruntime, in float32."""

    def __init__(self, card: Card, device: str, threads: int | None = None) -> None:
        path = weights_of(card)
        expected = card.file.sha256 or pinned_sha256(card)
        self.card = card
        self.name = card.name
        self.sha256 = checked_weights(card.name, path, expected, how_to_get(card))
        self.columns = card.columns
        self.weak_features = card.weak_features
        self.crop = card.crop
        self.card_sha256 = card.sha256
        self.same_person = next((o.same_person for o in card.output if o.embedding), None)
        self._session = open_network(path, device, threads=threads)
        inputs = self._session.get_inputs()
        self._input = tensor_name(card.input.tensor, inputs, f"{card.name}: input")
        if len(inputs) != 1:
            raise FacerError(
                f"{card.name}: the network has {len(inputs)} inputs ({names_of(inputs)}), expected "
                "one"
            )
        if inputs[0].type not in FLOATS:
            found = inputs[0].type
            raise FacerError(f"{card.name}: the network takes {found}, expected floating point")
        self._dtype, self.precision = FLOATS[inputs[0].type]
        outputs = self._session.get_outputs()
        self._tensors = [
            tensor_name(o.tensor, outputs, f"{card.name}: output") for o in card.output
        ]
        self.embedding_width = 0
        self.embedding_width = self._probe()

    def predict(self, crops: U8) -> F32:
        """RGB uint8 (B, size, size, 3) -> float32 (B, F + D): the card's columns, its embedding."""
        parts = self._outputs(crops)
        found = zip(self.card.output, parts, strict=True)
        columns = [_columns(o, part) for o, part in found if not o.embedding]
        vectors = [
            part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
            for output, part in zip(self.card.output, parts, strict=True)
            if output.embedding
        ]
        return np.concatenate([*columns, *vectors], axis=1).astype(np.float32)

    def _outputs(self, crops: U8) -> list[F32]:
        """The numbers (B, n) of each of the card's outputs."""
        side = self.crop.size_px
        if crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise FacerError(
                f"{self.name}: found crops {crops.dtype} {crops.shape}, expected uint8 (B, {side}, "
                f"{side}, 3)"
            )
        batch = self.card.input.batch or max(1, len(crops))
        runs = [
            self._run(to_input(crops[start : start + batch], self.card.input), batch)
            for start in range(0, len(crops), batch)
        ] or [[part[:0] for part in self._run(self._crops(batch, 0), batch)]]
        return [np.concatenate(parts) for parts in zip(*runs, strict=True)]

    def _run(self, images: F32, batch: int) -> list[F32]:
        n = len(images)
        if n < batch:
            images = np.concatenate([images, np.zeros((batch - n, *images.shape[1:]), np.float32)])
        names = list(dict.fromkeys(self._tensors))
        fed = {self._input: images.astype(self._dtype, copy=False)}
        found = dict(zip(names, self._session.run(names, fed), strict=True))
        return [
            _stretch(output, found[tensor], batch, f"{self.name}: output {tensor}")[:n]
            for output, tensor in zip(self.card.output, self._tensors, strict=True)
        ]

    def _crops(self, batch: int, seed: int) -> F32:
        """Crops of noise, the first of which is always the same, as the network sees them."""
        side = self.crop.size_px
        crops = np.random.default_rng(seed).integers(0, 256, (batch, side, side, 3), np.uint8)
        crops[0] = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        return to_input(crops, self.card.input)

    def _probe(self) -> int:
        """Run it, so that what a card has wrong is said before the first video: width D."""
        batch = self.card.input.batch or 2
        try:
            parts, others = (self._run(self._crops(batch, seed), batch) for seed in (1, 2))
        except FacerError:
            raise
        except Exception as error:
            raise FacerError(
                f"{self.name}: the network does not take {batch} crops of {self.crop.size_px} px "
                f"as {self.card.input.layout} ({one_line(error)}); correct size_px, layout, "
                f"colour or batch of {self.card.path}"
            ) from error
        for output, part, other in zip(self.card.output, parts, others, strict=True):
            if output.activation == "softmax" and _add_up(part) and _add_up(other):
                raise FacerError(
                    f"{self.name}: gives probabilities of {output.columns[0]} ... that add up to 1 "
                    f'already; set activation = "none" in {self.card.path}'
                )
            if not np.isfinite(part).all():
                raise FacerError(f"{self.name}: gives numbers that are not finite")
            if not np.allclose(part[0], other[0], rtol=SAME, atol=SAME):
                raise FacerError(
                    f"{self.name}: gives other numbers of the same crop beside other crops, or "
                    "each time: export it in evaluation mode (.eval()), or set batch = 1"
                )
        widths = [p.shape[1] for o, p in zip(self.card.output, parts, strict=True) if o.embedding]
        if widths and widths[0] > MAX_EMBEDDING:
            raise FacerError(f"{self.name}: embedding of {widths[0]}, expected {MAX_EMBEDDING}")
        return widths[0] if widths else 0


def _add_up(numbers: F32) -> bool:
    """Whether some numbers (B, n) are probabilities of n > 1 classes."""
    sums = numbers.sum(axis=1)
    return numbers.shape[1] > 1 and bool((numbers >= 0).all() and np.allclose(sums, 1, atol=1e-4))


def to_input(crops: U8, config: CardInput) -> F32:
    """Preprocess crops, RGB uint8 (B, S, S, 3): float32 (B, C, S, S), or (B, S, S, C) for nhwc."""
    images: Tensor = torch.from_numpy(np.ascontiguousarray(crops))
    if config.colour == "grey":
        images = (images.float() @ torch.tensor(_GREY)).round_().unsqueeze(-1)
    elif config.colour == "bgr":
        images = images.flip(-1)
    mean, std = (torch.tensor(values) for values in (config.mean, config.std))
    images = images.permute(0, 3, 1, 2).float()  # a copy
    gain, shift = 1 / (config.scale * std), -mean / std
    images = images.mul_(gain.view(1, -1, 1, 1)).add_(shift.view(1, -1, 1, 1))
    if config.layout == "nhwc":
        images = images.permute(0, 2, 3, 1)
    result: F32 = images.contiguous().numpy()
    return result


def _columns(output: CardOutput, numbers: F32) -> F32:
    """The kept columns (B, n) of an output's numbers."""
    kept = [i for i, n in enumerate(output.columns) if n and n not in output.drop]
    x: F32 = numbers.astype(np.float32)
    if output.activation == "softmax":
        x = np.exp(x - x.max(axis=1, keepdims=True))
        x = x / (x[:, kept] if output.drop else x).sum(axis=1, keepdims=True)
    elif output.activation == "sigmoid":
        x = np.asarray(1 / (1 + np.exp(-np.clip(x, -80, 80))), np.float32)
    elif output.activation == "tanh":
        x = np.tanh(x)
    x = x[:, kept] * np.float32(output.scale)
    return np.clip(x, output.clip[0], output.clip[1]) if output.clip else x


def _stretch(output: CardOutput, tensor: Any, batch: int, where: str) -> F32:
    """An output's part (B, n) of its tensor."""
    numbers = np.asarray(tensor)
    if numbers.ndim < 2 or len(numbers) != batch or numbers.dtype.kind != "f":
        raise FacerError(
            f"{where}: found {numbers.dtype} {numbers.shape}, expected floating point ({batch}, n)"
        )
    numbers = numbers.reshape(batch, -1)
    first, stop = output.slice or (0, numbers.shape[1])
    width = len(output.columns) or stop - first
    if stop > numbers.shape[1] or width != stop - first:
        raise FacerError(
            f"{where}: found {numbers.shape[1]} numbers, the card names {width} columns"
            f"{f' from {first} to {stop}' if output.slice else ''}"
        )
    part: F32 = numbers[:, first:stop]
    return part
