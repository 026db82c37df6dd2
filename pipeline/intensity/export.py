"""A run's head as an ONNX file, alone or with the REC that its features come from."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper

from facer.pipeline.intensity.config import ExportHeadConfig
from facer.pipeline.intensity.head_run import HeadRunConfig, read_run
from facer.pipeline.intensity.seeds import load_models
from facer.stages.common.onnx import open_session, write_exported
from facer.stages.features.rec.export import export_onnx
from facer.stages.features.rec.loading import load_own
from facer.stages.features.rec.onnx_rec import FEATURE_OUTPUTS
from facer.stages.features.rec.recognisers import Recogniser
from facer.stages.features.rec.weights import weights_path
from facer.stages.intensity.export import head_to_onnx
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.model import IntensityModel, predict
from facer.stages.intensity.sequences import Sequences
from facer.storage.errors import FacerError, named
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import F32, FEATURE_GROUPS, FEATURE_NAMES

_REC_FRAMES = 32  # longest clip of crops that a file with REC is checked with


@dataclass(frozen=True)
class ExportHeadResult:
    """What was written, and how it was checked."""

    path: Path
    seed: int
    inputs: str  # name and shape
    lengths: tuple[int, ...]  # of the clips that it was checked with
    difference: float  # largest from torch over them


def export_head(config: ExportHeadConfig) -> ExportHeadResult:
    """Write the best model of one seed as ONNX; docs are in the file's metadata.

    Alone: ``features`` (T, F) -> ``intensities`` (E,). With REC: ``crops`` float32
    (T, 3, 112, 112) in [-1, 1], one per frame -> ``intensities`` (E,). T is from 1 to
    ``max_frames``. Head and whole are checked against torch for several lengths; FacerError and
    no file when they differ by more than 1e-4, or that REC did not make the run's features.
    """
    record = read_run(config.run)
    _refuse(config, record)
    models = load_models(config.run)
    seed = min(models) if config.seed is None else config.seed
    if seed not in models:
        raise FacerError(
            f"{named('seed')} {seed}: found seeds {', '.join(map(str, models))} in {config.run}"
        )
    model = models[seed]
    whole = head_to_onnx(model, _columns(model, record), list(record.names))
    lengths = _lengths(model.shape.max_frames)
    differences = [_difference(whole, model, *_features(model, n)) for n in lengths]
    inputs = f"features (T, {model.shape.features})"
    if config.rec is not None:
        inputs = "crops (T, 3, 112, 112)"
        lengths = tuple(n for n in lengths if n <= _REC_FRAMES)
        columns = list(record.columns)
        whole = _behind_rec(whole, _rec_model(config.rec, record), columns)
        network = load_own(config.rec, "cpu")
        clips = (_crops(network, columns, n) for n in lengths)
        differences += [_difference(whole, model, *clip) for clip in clips]
    difference = float(np.max(differences))  # NaN where any is
    write_exported(config.output, whole.SerializeToString(), difference)
    return ExportHeadResult(config.output, seed, inputs, lengths, difference)


def _refuse(config: ExportHeadConfig, record: HeadRunConfig) -> None:
    """FacerError for a run that no graph of one clip, or of its crops, stands for."""
    if record.fit.normalise != "none":
        raise FacerError(
            f"{config.run}: was trained with {named('normalise')} {record.fit.normalise}, which is "
            "no part of a graph of one clip; expected a run without it"
        )
    if record.streams.stores and config.rec is not None:
        raise FacerError(
            f"{config.run}: reads {', '.join(record.streams.places)} too, which no REC gives; "
            f"expected it without {named('rec')}"
        )
    if record.embedding and config.rec is not None:
        raise FacerError(f"{config.run}: reads REC's embedding; expected it without {named('rec')}")


def _columns(model: IntensityModel, record: HeadRunConfig) -> list[str]:
    """Names of the head's inputs; those of the embedding are numbered."""
    columns = list(record.columns)
    units = range(model.shape.features - len(columns))
    return columns + [f"embedding_{unit}" for unit in units]


def _lengths(max_frames: int) -> tuple[int, ...]:
    some = (1, min(7, max_frames), min(_REC_FRAMES, max_frames), (max_frames + 1) // 2)
    return tuple(sorted({*some, max_frames}))


def _features(model: IntensityModel, length: int) -> tuple[dict[str, F32], F32]:
    """A random clip: the file's inputs, and the features that torch's head sees."""
    shape = (length, model.shape.features)
    features = np.random.default_rng(length).random(shape, dtype=np.float32)
    return {"features": features}, features


def _crops(network: Recogniser, columns: list[str], length: int) -> tuple[dict[str, F32], F32]:
    """The same for a file with REC; torch's features come from its own REC."""
    crops = np.random.default_rng(length).integers(0, 256, (length, 112, 112, 3), np.uint8)
    features = network.predict(crops)[:, [FEATURE_NAMES.index(name) for name in columns]]
    scaled = (crops.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32)
    return {"crops": scaled}, features


def _difference(
    exported: onnx.ModelProto, model: IntensityModel, inputs: dict[str, F32], features: F32
) -> float:
    """Largest difference from torch on a clip, relative to the intensities' size."""
    sequences = Sequences(features.copy(), np.array([0, len(features)]), ("clip",))
    expected = predict(model, DeviceSequences(sequences, torch.device("cpu")), np.array([0]))[0]
    found = _run(exported, inputs)
    return float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))


def _run(model: onnx.ModelProto, inputs: dict[str, F32]) -> F32:
    (found,) = open_session(model.SerializeToString()).run(["intensities"], inputs)
    result: F32 = found
    return result


def _rec_model(rec: str, record: HeadRunConfig) -> onnx.ModelProto:
    """The REC that made the run's features, as ONNX; FacerError for any other."""
    path = weights_path(rec)
    expected = record.store_provenance["rec_sha256"]
    if (found := weights_sha256(path)) != expected:
        raise FacerError(
            f"{named('rec')} {rec}: found weights of sha256 {found}, expected {expected}, which "
            "made the features that the run was trained on"
        )
    if path.suffix == ".onnx":
        return onnx.load(path)
    with tempfile.TemporaryDirectory(prefix="facer-") as folder:
        export_onnx(path, Path(folder) / "rec.onnx")
        return onnx.load(Path(folder) / "rec.onnx")


def _behind_rec(
    head: onnx.ModelProto, front: onnx.ModelProto, columns: list[str]
) -> onnx.ModelProto:
    """REC, the head's columns of its features, and the head as one graph."""
    front, back = compose.add_prefix(front, "rec/"), compose.add_prefix(head, "head/")
    middle = _columns_model([FEATURE_NAMES.index(name) for name in columns], front.ir_version)
    back.ir_version = front.ir_version
    joints = [(f"rec/{name}", name) for name in FEATURE_OUTPUTS]
    whole = compose.merge_models(front, middle, joints, outputs=["features"])
    whole = compose.merge_models(whole, back, [("features", "head/features")])
    _rename(whole, {"rec/crops": "crops", "head/intensities": "intensities"})
    helper.set_model_props(whole, {p.key: p.value for p in head.metadata_props})
    onnx.checker.check_model(whole)
    return whole


def _columns_model(indices: list[int], ir_version: int) -> onnx.ModelProto:
    """va, expression and au side by side, then some of their columns: ``features``."""
    widths = dict(zip(FEATURE_OUTPUTS, map(len, FEATURE_GROUPS.values()), strict=True))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("T", width))
        for name, width in widths.items()
    ]
    output = helper.make_tensor_value_info("features", TensorProto.FLOAT, ("T", len(indices)))
    nodes = [
        helper.make_node("Concat", list(FEATURE_OUTPUTS), ["all_features"], axis=1),
        helper.make_node("Gather", ["all_features", "indices"], ["features"], axis=1),
    ]
    constants = [numpy_helper.from_array(np.array(indices, np.int64), "indices")]
    graph = helper.make_graph(nodes, "columns", inputs, [output], constants)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, ir_version=ir_version, opset_imports=[opset])


def _rename(model: onnx.ModelProto, names: dict[str, str]) -> None:
    """Rename inputs and outputs of a graph, wherever they are read or written."""
    graph: Any = model.graph
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for place in (node.input, node.output):
            place[:] = [names.get(name, name) for name in place]
