"""The encoder of a card: samples in, its rows out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facer.stages.features.audio.card import read_audio_card
from facer.stages.features.audio.rows import ChunkedRun
from facer.stages.features.rec.cards.places import checked_weights
from facer.stages.features.rec.session import open_network, tensor_name
from facer.storage.errors import FacerError, one_line
from facer.storage.schema import F32


class Encoder:
    """A card's network in onnxruntime, float32; ``FacerError`` where it is not as the card says."""

    def __init__(self, card_path: Path, device: str) -> None:
        card = self._card = read_audio_card(card_path)
        path = card_path.parent / card.file.name
        advice = (
            f"get or export them from {card.file.url or card.file.checkpoint or card.file.source}"
        )
        self.name = card.name
        self.sha256 = checked_weights(card.name, path, card.file.sha256, advice)
        self.columns = card.output.columns
        self.rate_hz = card.input.rate_hz
        self.hop, self.window = card.output.hop, card.output.window
        self.settings: Mapping[str, str | int | float] = {"card_sha256": card.sha256}
        self._session = open_network(path, device, "encoder")
        where = f"{card.name}: {{}}"
        self._input = tensor_name(
            card.input.tensor, self._session.get_inputs(), where.format("input")
        )
        self._output = tensor_name(
            card.output.tensor, self._session.get_outputs(), where.format("output")
        )
        self._probe()

    def run(self) -> ChunkedRun:
        """See :class:`~facer.stages.features.audio.rows.AudioFeatures`."""
        chunk, rows = self._card.chunk, self.rate_hz / self.hop
        n_chunk, n_context = max(1, round(chunk.seconds * rows)), round(chunk.context_s * rows)
        return ChunkedRun(self._measure, self.hop, self.window, n_chunk, n_context)

    def _measure(self, samples: F32) -> F32:
        values = samples * np.float32(self._card.input.scale)
        if self._card.input.normalise == "chunk":
            values = ((values - values.mean()) / np.sqrt(values.var() + 1e-7)).astype(np.float32)
        (found,) = self._session.run([self._output], {self._input: values[None]})
        rows = np.asarray(found)
        if self._card.output.layout == "width-time" and rows.ndim == 3:
            rows = rows.transpose(0, 2, 1)
        expected = (1, (len(samples) - self.window) // self.hop + 1, len(self.columns))
        if rows.shape != expected or rows.dtype.kind != "f":
            raise FacerError(
                f"{self.name}: {len(samples)} samples gave {rows.dtype} {rows.shape}, expected "
                f"{expected}; correct hop, window, width or layout of {self._card.path}"
            )
        return np.ascontiguousarray(rows[0], np.float32)

    def _probe(self) -> None:
        """Run it once, so that what a card has wrong is said before the first clip."""
        samples = np.zeros(max(self.rate_hz, 4 * self.window), np.float32)
        try:
            self._measure(samples)
        except FacerError:
            raise
        except Exception as error:
            raise FacerError(
                f"{self.name}: the network does not take (1, {len(samples)}) samples "
                f"({one_line(error)}); correct {self._card.path}"
            ) from error
