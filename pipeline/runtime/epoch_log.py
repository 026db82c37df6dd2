"""Learning curves for TensorBoard, beside the run's own csv or jsonl."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from facer.storage.errors import named
from facer.storage.optional import optional
from facer.storage.text.typed_json import to_json

LogKind = Literal["tensorboard"]
LOG_KINDS: tuple[LogKind, ...] = get_args(LogKind)


@contextmanager
def epoch_log(kind: LogKind | None, run: Path) -> Iterator[Callable[..., None]]:
    """Give what notes each row of a training in RUN/tensorboard; nothing where ``kind`` is None.

    It takes the row and the name of its curve, such as seed-0.

    FacerError where the extra ``facer[tensorboard]`` is not installed.
    """
    if kind is None:
        yield lambda *_: None
        return
    tensorboard = optional("torch.utils.tensorboard", "tensorboard", f"{named('log')} {kind}")
    writers: dict[str, Any] = {}

    def note(row: Any, name: str = "") -> None:
        if name not in writers:
            writers[name] = tensorboard.SummaryWriter(str(run / "tensorboard" / name))
        values = dict(numbers(to_json(row)))
        step = int(values.pop("epoch", values.pop("step", 0)))
        for tag, value in values.items():
            writers[name].add_scalar(tag, value, step)
        writers[name].flush()

    try:
        yield note
    finally:
        for writer in writers.values():
            writer.close()


def numbers(row: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of a row of a curve by their place in it, such as loss/total.

    Lists are of sets that were scored, each under the name in its ``data``.
    """
    if isinstance(row, Mapping):
        for key, value in row.items():
            yield from numbers(value, f"{path}/{key}" if path else str(key))
    elif isinstance(row, list):
        for place, one in enumerate(row):
            name = one.get("data", place) if isinstance(one, Mapping) else place
            yield from numbers(one, f"{path}/{name}")
    elif isinstance(row, int | float) and not isinstance(row, bool) and math.isfinite(row):
        yield path, float(row)
