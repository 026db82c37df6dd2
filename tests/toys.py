"""Small networks with the inputs and outputs of public ones, and cards written from values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GRID = 4  # means of a 4 x 4 grid are all that a toy sees


class Toy:
    """Numbers (B, n) that are linear in the means of a grid over the input, one per output."""

    def __init__(
        self, channels: int, outputs: Mapping[str, int], gain: float = 0.3, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        n = channels * GRID * GRID
        self.channels = channels
        self.weights = {k: rng.normal(0, gain, (n, m)).astype("f4") for k, m in outputs.items()}

    def numbers(self, images: np.ndarray, output: str) -> np.ndarray:
        """What the network says of images (B, C, S, S)."""
        size = images.shape[2] // GRID
        b, c = images.shape[:2]
        cut = images[:, :, : GRID * size, : GRID * size]
        means = cut.reshape(b, c, GRID, size, GRID, size).mean((3, 5))
        return np.asarray(means.reshape(b, -1).astype("f4") @ self.weights[output])

    def save(
        self, path: Path, size_px: int, batch: int | None = None, tensor: str = "input"
    ) -> None:
        """Write it as ONNX; ``batch`` None: any number of images; ``tensor``: its input."""
        side = size_px // GRID
        nodes = [
            helper.make_node("AveragePool", [tensor], ["pooled"], kernel_shape=[side, side],
                             strides=[side, side]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
        ]  # fmt: skip
        nodes += [helper.make_node("MatMul", ["flat", f"w_{k}"], [k]) for k in self.weights]
        b = batch or "batch"
        graph = helper.make_graph(
            nodes, "toy",
            [helper.make_tensor_value_info(tensor, TensorProto.FLOAT,
                                           [b, self.channels, size_px, size_px])],
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, [b, w.shape[1]])
             for k, w in self.weights.items()],
            [numpy_helper.from_array(w, f"w_{k}") for k, w in self.weights.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())


def write_card(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a card from what tomllib reads of one."""
    lines = [f"{k} = {_toml(v)}" for k, v in values.items() if not _is_table(v)]
    for key, value in values.items():
        for table in value if isinstance(value, list) else [value]:
            if isinstance(table, dict):
                lines.append(f"[[{key}]]" if isinstance(value, list) else f"[{key}]")
                lines += [f"{k} = {_toml(v)}" for k, v in table.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def toy_card(folder: Path, name: str, columns: Sequence[str], **changes: Any) -> Path:
    """A card and its network of sigmoid columns, 64 px on the box; where the card is."""
    toy = Toy(3, {"out": len(columns)}, seed=len(name))
    toy.save(folder / f"{name}.onnx", 64)
    values: dict[str, Any] = {
        "format": "facer-card-1",
        "name": name,
        "file": {"name": f"{name}.onnx", "licence": "none", "source": "a test", "training": "none"},
        "input": {"size_px": 64, "mean": [0.5], "std": [0.25]},
        "crop": {"kind": "box", "margin": 1.3, "square": True},
        "output": [{"columns": list(columns), "activation": "sigmoid"}],
    }
    return write_card(folder / f"{name}.toml", values | changes)
