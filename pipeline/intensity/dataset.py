"""A store and labels as a dataset of PyTorch, for models of one's own."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from facer.pipeline.intensity.labelled import join_labels, read_sequences, read_trainable
from facer.pipeline.intensity.sources.joined import choose_columns, open_source
from facer.pipeline.settings.commands import DATASET
from facer.pipeline.settings.configs import label_options, streams_config
from facer.pipeline.settings.table import make
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, named
from facer.storage.files.regular import refuse_no_path
from facer.storage.labels.challenges import SPLITS
from facer.storage.text.likeness import check_choice


class ClipItem(NamedTuple):
    """One clip of a dataset.

    - ``features`` (T, F): float32, all finite
    - ``target`` (E,): float32, NaN where the label is absent
    """

    features: Tensor
    target: Tensor
    clip_id: str


class ClipBatch(NamedTuple):
    """B clips, padded with zeros to the longest, in the order in which they were given.

    - ``features`` (B, T, F): float32
    - ``lengths`` (B,): int64, frames of each clip before padding
    - ``target`` (B, E): float32, NaN where the label is absent
    - ``clip_ids`` (B,)
    """

    features: Tensor
    lengths: Tensor
    target: Tensor
    clip_ids: tuple[str, ...]

    @property
    def mask(self) -> Tensor:
        """True where a row is a frame, False where it is padding, (B, T)."""
        steps = torch.arange(self.features.shape[1], device=self.lengths.device)
        return steps < self.lengths[:, None]


class ClipDataset(Dataset[ClipItem]):
    """The clips of a split that have features and a label, as ``facer train-head`` reads them.

    ``store`` and ``labels`` are paths, or an open store. Keywords are options of ``facer
    train-head``: ``features``, ``missing``, ``overlong`` and ``t`` say how a clip's features
    become a sequence of 1 to ``t`` frames; ``with_``, ``align``, ``rate`` and ``lacking`` which
    other stores are joined, and how; ``kind``, ``id_column``, ``targets``,
    ``subject_column``, ``split_column`` and ``missing_values`` how labels are read. Where the
    labels have no splits, they are made as in ``facer train-head``. Everything is read once,
    into memory. Raises FacerError for an unknown split and where no clip remains.
    """

    columns: tuple[str, ...]
    """Names of the features (F,); an embedding's columns, if asked for, come after these."""
    names: tuple[str, ...]
    """Names of the targets (E,)."""
    clip_ids: tuple[str, ...]
    """The clips, as the store names them, (C,)."""

    def __init__(
        self,
        store: FeatureStore | str | os.PathLike[str],
        labels: str | os.PathLike[str],
        split: str = "train",
        **settings: Any,
    ) -> None:
        self._read(store, labels, split, DATASET.complete(settings))

    def _read(self, store: Any, path: Any, split: str, settings: dict[str, Any]) -> None:
        check_choice(named("split"), split, SPLITS)
        refuse_no_path("labels", path)
        opened = open_source(store, streams_config(settings))
        config = make(SequenceConfig, settings)
        labels = read_trainable(os.fspath(path), label_options(settings), opened)
        table = join_labels(labels, opened)
        rows = table.of(split)
        clips = table.clips(rows & table.labelled & table.usable)
        choice = choose_columns(opened, config)
        sequences = read_sequences(opened, clips, config, choice) if clips else None
        if sequences is None or not sequences.clip_ids:
            raise FacerError(
                f"{labels.source}: split {split}: found no clip with labels and features among its "
                f"{rows.sum()} rows; splits: {table.split_rule}"
            )
        self.split_rule = table.split_rule
        self.split, self.names, self.columns = split, labels.names, choice.columns
        self.clip_ids, self._offsets = sequences.clip_ids, sequences.offsets
        self._features = sequences.features
        self._targets = table.targets[table.rows_of(sequences.clip_ids)]

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __getitem__(self, index: int) -> ClipItem:
        place = range(len(self))[operator.index(index)]  # IndexError; negative: from the end
        rows = slice(self._offsets[place], self._offsets[place + 1])
        features = torch.from_numpy(np.array(self._features[rows]))
        target = torch.from_numpy(self._targets[place].copy())
        return ClipItem(features, target, self.clip_ids[place])

    def __iter__(self) -> Iterator[ClipItem]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> Tensor:
        """Frames of each clip, (C,) int64, for a sampler that puts like lengths together."""
        return torch.from_numpy(np.diff(self._offsets))

    @property
    def n_features(self) -> int:
        """How many numbers a frame has, F."""
        return int(self._features.shape[1])

    @staticmethod
    def collate(items: Iterable[ClipItem]) -> ClipBatch:
        """Put clips into a batch; give it to a DataLoader as ``collate_fn``."""
        items = list(items)
        features = torch.nn.utils.rnn.pad_sequence([i.features for i in items], batch_first=True)
        lengths = torch.tensor([len(item.features) for item in items])
        target = torch.stack([item.target for item in items])
        return ClipBatch(features, lengths, target, tuple(item.clip_id for item in items))

    def __repr__(self) -> str:
        return (
            f"<ClipDataset {self.split}: {len(self)} clips, {self.n_features} features, targets "
            f"{', '.join(self.names)}>"
        )


ClipDataset.__init__.__signature__ = DATASET.signature(ClipDataset.__init__)  # type: ignore[attr-defined]
