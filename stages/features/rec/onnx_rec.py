"""REC in onnxruntime: facer's own weights in float32 on a CPU, or a user's ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.stages.common.cores import usual_threads
from facer.stages.common.onnx import open_session
from facer.stages.features.rec.architecture import HEADS
from facer.stages.features.rec.crops import ARCFACE, check_crops
from facer.stages.features.rec.graph import rec_graph
from facer.stages.features.rec.session import FLOATS, MAX_EMBEDDING, names_of, open_network
from facer.stages.features.rec.weights import check_weak, read_weights
from facer.storage.errors import FacerError
from facer.storage.files.json_files import parse_json
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import F32, FEATURE_NAMES, U8

FEATURE_OUTPUTS = ("va", "expression", "au")
EMBEDDING = "embedding"

_CPU_CROPS = 16  # in one run on the CPU: more are no faster, and every size keeps its memory
_GPU_CROPS = 1024
_PIXELS = np.arange(256, dtype=np.float32) / np.float32(127.5) - 1
"""What REC sees of a pixel's value, in [-1, 1]."""


class OnnxRec:
    """REC as an open session with the outputs ``va``, ``expression`` and ``au``, and
    ``embedding`` where that is wanted.
    """

    def __init__(
        self,
        path: Path,
        sha256: str,
        session: Any,
        weak: Sequence[str],
        embedding: bool,
        at_once: int = _CPU_CROPS,
    ) -> None:
        self.name, self.sha256 = path.stem, sha256
        self.columns, self.crop = FEATURE_NAMES, ARCFACE
        self.card_sha256 = ""
        self.precision = "float32"
        self.same_person: float | None = None
        self.weak_features: tuple[str, ...] = tuple(weak)
        outputs = {output.name: output for output in session.get_outputs()}
        self._wanted = [*FEATURE_OUTPUTS, *([EMBEDDING] if embedding else [])]
        given = [(name, outputs[name]) for name in self._wanted if name in outputs]
        if len(given) < len(self._wanted) or not all(_fits(name, output) for name, output in given):
            more = f", and embedding (B, D), D at most {MAX_EMBEDDING}" if embedding else ""
            found = ", ".join(
                f"{name[:80]} {tuple(outputs[name].shape)} {outputs[name].type}"
                for name in sorted(outputs)[:20]
            )
            raise FacerError(
                f"REC weights {path}: found the outputs {found}; expected "
                f"va (B, 2), expression (B, 7) and au (B, 17){more}, all floating point"
            )
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise FacerError(
                f"REC weights {path}: found {len(inputs)} inputs ({names_of(inputs)}), expected one"
            )
        self.embedding_width = int(outputs[EMBEDDING].shape[1]) if embedding else 0
        self._widths = {**HEADS, EMBEDDING: self.embedding_width}
        self._session, self._input = session, inputs[0].name
        self._at_once = at_once

    def predict(self, crops: U8) -> F32:
        """As :meth:`Recogniser.predict`."""
        check_crops(crops)
        rows = np.empty((len(crops), len(FEATURE_NAMES) + self.embedding_width), np.float32)
        for start in range(0, len(crops), self._at_once):
            images = _PIXELS[crops[start : start + self._at_once].transpose(0, 3, 1, 2)]
            parts = self._session.run(self._wanted, {self._input: images})
            for name, part in zip(self._wanted, parts, strict=True):
                if part.shape != (expected := (len(images), self._widths[name])):
                    raise FacerError(f"{name} {part.shape}, expected {expected}")
            np.concatenate(parts, axis=1, out=rows[start : start + self._at_once])
        return rows


def _fits(name: str, output: Any) -> bool:
    """Whether an output may be what its name says; a width that is not declared may be any."""
    width = (output.shape or [None])[-1]
    if name == EMBEDDING:
        return (
            output.type in FLOATS
            and len(output.shape) == 2
            and isinstance(width, int)
            and 0 < width <= MAX_EMBEDDING
        )
    return output.type in FLOATS and (not isinstance(width, int) or width == HEADS[name])


def open_weights(path: Path, embedding: bool = False, threads: int | None = None) -> OnnxRec:
    """facer's own weights (.safetensors), in float32 on the CPU."""
    architecture, tensors, meta = read_weights(path)
    session = open_session(rec_graph(architecture, tensors), threads or usual_threads())
    return OnnxRec(path, weights_sha256(path), session, meta.get("weak_features", ()), embedding)


def open_onnx(
    path: Path, device: str, embedding: bool = False, threads: int | None = None
) -> OnnxRec:
    """A user's ONNX file; ``FacerError`` for one of other outputs."""
    sha256 = weights_sha256(path)  # first: it looks where the tensors lie
    session = open_network(path, device, threads=threads)
    text = session.get_modelmeta().custom_metadata_map.get("weak_features", "[]")
    try:
        weak = check_weak(parse_json(text), path)
    except ValueError:
        raise FacerError(
            f"{path}: found weak_features {text[:80]}, expected a JSON list of feature names"
        ) from None
    return OnnxRec(
        path, sha256, session, weak, embedding, _CPU_CROPS if device == "cpu" else _GPU_CROPS
    )
