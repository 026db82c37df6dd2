"""ONNX files: how a network becomes one, and how one is run."""

from __future__ import annotations

import io
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from facer.storage.errors import FacerError, OptionError, named
from facer.storage.files.atomic import write_atomic

if TYPE_CHECKING:  # a worker that only runs models starts without these
    import onnx
    from torch import Tensor, nn

    Network = TypeVar("Network", bound=nn.Module)

_OPSET = 17
_TOLERANCE = 1e-4  # of an exported model, from torch
TRIAL_S = 300.0
"""Longest first run of a network that a user brings."""


def fold_batch_norm(network: Network) -> Network:
    """Fold every batch normalisation into the convolution before it, in place.

    The network must be in evaluation mode; its outputs stay the same but for rounding.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for position in range(len(module) - 1):
            conv, norm = module[position], module[position + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[position] = fuse_conv_bn_eval(conv, norm)
                module[position + 1] = nn.Identity()
    return network


def to_onnx(
    network: nn.Module,
    example: Tensor,
    names: tuple[str, Sequence[str]],
    free_axes: Mapping[str, Mapping[int, str]],
    metadata: Mapping[str, object],
) -> onnx.ModelProto:
    """Trace a network of one input as ONNX.

    ``names``: of the input, and of the outputs. ``free_axes``: by input or output, the axes of
    any length and what they are called. ``metadata`` goes into the file's metadata_props; values
    that are no strings are written as JSON.
    """
    import onnx
    import torch

    from facer.stages.common.training import seeded

    buffer = io.BytesIO()
    with seeded(), warnings.catch_warnings():  # one thread at a time: torch's tracing is of all
        # the tracing exporter is announced as deprecated; the new one needs onnxscript
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            buffer,  # type: ignore[arg-type]  # a buffer is taken, its annotation says paths
            input_names=[names[0]],
            output_names=list(names[1]),
            dynamic_axes={name: dict(axes) for name, axes in free_axes.items()},
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    return model


def check_onnx_name(path: Path) -> None:
    """OptionError for a path of another ending than .onnx."""
    if path.suffix != ".onnx":
        raise OptionError(f"{path}: expected a name that ends in .onnx")


def write_exported(path: Path, model: bytes, difference: float) -> None:
    """Write an exported model; FacerError, and no file, where it is not within 1e-4 of torch."""
    if not difference <= _TOLERANCE:
        raise FacerError(
            f"{path}: the exported model differs from torch by {difference:.2g}, expected at most "
            f"{_TOLERANCE:g}; not written"
        )
    write_atomic(path, model)


def cuda_available() -> bool:
    """Whether the installed onnxruntime can run on a GPU."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def session_options(threads: int = 1, device: str = "cpu") -> tuple[Any, list[Any]]:
    """onnxruntime's options and its execution providers for ``cpu``, ``cuda`` or ``cuda:N``.

    A GPU that this onnxruntime cannot use is a ``FacerError``, never a silent fall-back.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised
    if device == "cpu":
        return options, ["CPUExecutionProvider"]
    if not cuda_available():
        raise FacerError(
            f"{named('device')} {device}: this onnxruntime has no CUDA; install onnxruntime-gpu "
            f"or use {named('device')} cpu"
        )
    return options, [("CUDAExecutionProvider", {"device_id": device.partition(":")[2] or "0"})]


def open_session(model: Path | bytes, threads: int = 1, device: str = "cpu") -> Any:
    """Open an onnxruntime session on a file or on the bytes of one; see :func:`session_options`."""
    import onnxruntime

    options, providers = session_options(threads, device)
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=providers)


def run_in_time(session: Any, names: Sequence[str] | None, fed: Mapping[str, Any]) -> list[Any]:
    """The outputs of a run that Ctrl-C ends, and ``TRIAL_S``: a loop in a graph may have no end.

    ``TimeoutError`` for one that takes longer.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    with ThreadPoolExecutor(1) as thread:
        running: Future[list[Any]] = thread.submit(session.run, names, fed, options)
        until, step_s = time.monotonic() + TRIAL_S, 1e-4
        try:
            while not running.done() and time.monotonic() < until:
                time.sleep(step_s)
                step_s = min(2 * step_s, 0.1)
            if not running.done():
                raise TimeoutError(f"no end of a run within {TRIAL_S:g} s")
        finally:
            options.terminate = True
        return running.result()
