"""A head's run: its config, compared with that of a training or the data given now.

RUN/
  config.json               settings, labels and store with their digests, counts
  curve.png                 learning curves of all seeds
  seed-<n>/                 what each seed came to (see seeds)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from facer.pipeline.intensity.config import MOST_SEEDS, Cache
from facer.pipeline.intensity.folds.plan import FoldRecord
from facer.pipeline.runtime.run_folder import RunFolder
from facer.stages.intensity.config import FitConfig
from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from facer.stages.intensity.sequences import FeatureChoice
from facer.storage import LabelOptions, Provenance
from facer.storage.errors import FacerError, named
from facer.storage.root import provenance_differences
from facer.storage.text.typed_json import plain


@dataclass(frozen=True)
class RunLabels:
    """The labels of a run."""

    path: str
    kind: str  # as which they were read
    sha256: str
    options: LabelOptions | None = None  # not in the oldest runs
    files: tuple[str, ...] = ()  # names of what was read, in order; older runs do not say

    def __post_init__(self) -> None:
        LabelOptions(kind=self.kind)  # type: ignore[arg-type]  # refuses other kinds

    @property
    def reading(self) -> LabelOptions:
        """How the run read them."""
        return self.options or LabelOptions(kind=self.kind)  # type: ignore[arg-type]


@dataclass(frozen=True)
class HeadRunConfig:
    """What ``config.json`` of a head's run says."""

    COMMAND: ClassVar[str] = "facer train-head"
    OPTIONS: ClassVar[tuple[str, ...]] = (
        *("fit", "sequences", "streams", "cache", "seeds", "threads", "labels options"),
        *("folds folds", "folds by", "folds splits"),
    )

    format: int
    facer_version: str
    store: str
    store_provenance: Mapping[str, Any]  # older runs name fewer things
    labels: RunLabels
    names: tuple[str, ...]  # of the intensities, (E,)
    columns: tuple[str, ...]
    embedding: bool
    sequences: SequenceConfig
    fit: FitConfig
    seeds: int
    counts: Mapping[str, int]
    streams: StreamsConfig = field(default_factory=StreamsConfig)  # other stores, absolute
    stream_provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by name
    cache: Cache = "memory"
    threads: int = 1
    split_rule: str = ""
    data_sha256: str | None = None  # None after finetune, whose features are not extracted yet
    folds: FoldRecord | None = None
    fold: int | None = None  # of these, the one that is held out
    splits: Mapping[str, int] | None = None  # rows of each, without labels too
    train_mean: tuple[float, ...] | None = None  # labels' mean over train; each fold has its own
    clips_sha256: str | None = None  # after finetune
    finetune: Mapping[str, Any] | None = None  # finetune's settings
    head_sha256: str | None = None  # of the file of a head that is not facer's

    def __post_init__(self) -> None:
        if self.train_mean is None and self.folds is None:
            raise FacerError("train_mean: found nothing, expected a list")
        if self.data_sha256 is None and self.finetune is None:
            raise FacerError("data_sha256: found nothing, expected text")
        _check_provenance("store_provenance", self.store_provenance)
        for name, made in self.stream_provenance.items():
            _check_provenance(f"stream_provenance.{name}", made)
        if lacking := [name for name in self.streams.places if name not in self.stream_provenance]:
            raise FacerError(f"stream_provenance: found none of {lacking[0]}, expected its digests")
        if not self.names:
            raise FacerError("names: found none, expected those of the intensities")
        if not self.columns and not self.embedding:
            raise FacerError("columns: found none and no embedding, expected what the head reads")
        if not 0 < self.seeds <= MOST_SEEDS:
            raise FacerError(f"seeds: found {self.seeds:.6g}, expected 1 to {MOST_SEEDS}")
        if self.train_mean is not None and len(self.train_mean) != len(self.names):
            raise FacerError(
                f"train_mean: found {len(self.train_mean)} numbers, expected {len(self.names)}"
            )

    def deciding(self) -> Mapping[str, Any]:
        """All but what a resumed training may change."""
        free = ("facer_version", "counts")
        alike = replace(self, labels=replace(self.labels, files=()))  # the digest is of them all
        return {key: value for key, value in plain(alike).items() if key not in free}

    @property
    def choice(self) -> FeatureChoice:
        """What the head reads of a store."""
        return FeatureChoice(self.columns, self.embedding)

    def streams_at(self, stores: Sequence[str]) -> StreamsConfig:
        """The run's streams, some of them at other places (NAME=STORE); FacerError for others."""
        moved = StreamsConfig(tuple(stores)).places
        for name in moved:
            if name not in self.streams.places:
                found = ", ".join(self.streams.places) or "no other store"
                raise FacerError(f"{named('with_')} {name}=...: the run reads {found}")
        places = {**self.streams.places, **moved}
        return replace(self.streams, stores=tuple(f"{k}={place}" for k, place in places.items()))

    def _made(self, stream: str) -> Mapping[str, Any]:
        return self.stream_provenance[stream] if stream else self.store_provenance

    def tells(self, field: str, stream: str) -> bool:
        """Whether the run says a field of :meth:`provenance`; older ones lack some."""
        return field.partition(" ")[0] in self._made(stream)

    def provenance(self, stream: str = "") -> Provenance:
        """What made the features of the store, or of a joined stream by name.

        What an older run does not name is as the only facer had it that made such runs.
        """
        made = self._made(stream)
        known = {one.name for one in fields(Provenance)}
        there = {name: value for name, value in made.items() if name in known}
        return Provenance(**{"detector": "", "rec": "", **there})

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns of the first store among those that the head reads."""
        others = tuple(f"{name}." for name in self.streams.places)
        return tuple(name for name in self.columns if not name.startswith(others))

    @property
    def is_whole_of_folds(self) -> bool:
        """Whether this is a run of folds, each of which has a run in it."""
        return self.folds is not None and self.fold is None


def _check_provenance(name: str, made: Mapping[str, Any]) -> None:
    if not {"detector_sha256", "rec_sha256"} <= set(made):
        raise FacerError(f"{name}: found {', '.join(made)}, expected digests of both networks")
    if not isinstance(made.get("settings", {}), Mapping):
        raise FacerError(f"{name}.settings: found no object, expected one")


def _folder(run: Path) -> RunFolder[HeadRunConfig]:
    return RunFolder(run, HeadRunConfig)


def open_run(run: Path, config: HeadRunConfig, resume: bool) -> None:
    """Write the config of a new run, or compare it with that of the run to resume.

    More seeds than the run has are added to it, with ``resume`` or without. ``FacerError`` for
    a folder that holds a run or anything else already, and for other settings or data.
    """
    folder = _folder(run)
    if not folder.config_path.exists():
        if resume:
            _refuse_trainings(run)
        folder.refuse_occupied(resume)
        if folder.begin(config, resume):
            return
    more = config.seeds > folder.read().seeds
    if not resume and not more:
        raise FacerError(
            f"{run}: holds a run already; use another folder, {named('resume')} to go on with it, "
            f"or more {named('seeds')} to add to it"
        )
    check_unchanged(run, config)
    if more:
        folder.write(config)


def _refuse_trainings(run: Path) -> None:
    """``FacerError`` for trainings of which nothing says with what settings they were made."""
    if made := sorted(path.name for kind in ("seed-*", "fold-*") for path in run.glob(kind)):
        raise FacerError(
            f"{run}: found {made[0]} and no config.json, expected the config that it was made "
            "with; put it back, or use another folder"
        )


def check_unchanged(run: Path, config: HeadRunConfig) -> None:
    """``FacerError`` unless a run was made with the settings and data of this config.

    The config may have more seeds than the run.
    """
    before = read_run(run)
    check_label_files(run, before.labels, config.labels)
    if config.seeds > before.seeds:
        before = replace(before, seeds=config.seeds)
    advice = "use the same settings and data, or another folder"
    _folder(run).compare(config, before, advice)


def check_label_files(run: Path, made: RunLabels, now: RunLabels) -> None:
    """``FacerError``, by name, when files of a run's labels are gone.

    A single file may have another name now.
    """
    gone = [name for name in made.files if name not in now.files]
    if len(made.files) > 1 and gone and made.sha256 != now.sha256:
        raise FacerError(
            f"{now.path}: found no {', '.join(gone)}, expected the files that {run} was made "
            f"of ({', '.join(made.files)}); put back what is missing"
        )


def check_same_data(run: Path, config: HeadRunConfig) -> None:
    """``FacerError`` unless a config's labels and features are those that ``run`` was made of.

    Where they lie does not matter.
    """
    before, labels = read_run(run), config.labels
    check_label_files(run, before.labels, labels)
    if labels.sha256 != before.labels.sha256:
        raise FacerError(
            f"{labels.path}: changed since {run} was made; expected the same content "
            f"(sha256 {before.labels.sha256[:12]}, found {labels.sha256[:12]})"
        )
    places = {"": config.store, **config.streams.places}
    for stream in [name for name in places if not name or name in before.stream_provenance]:
        changes = provenance_differences(config.provenance(stream), before.provenance(stream))
        for name, found, expected in changes:
            if before.tells(name, stream):
                raise FacerError(
                    f"{places[stream]}: {name} is {found}, expected {expected}, which {run} was "
                    "made with; give the store that it was trained on"
                )
    if config.data_sha256 != before.data_sha256:
        counts = [f"{one.counts['usable']} labelled clips" for one in (config, before)]
        raise FacerError(
            f"{config.store}: clips or features are not those that {run} was made of (found "
            f"{counts[0]}, expected {counts[1]} as they were); give the store as it was then"
        )


def read_run(run: Path) -> HeadRunConfig:
    """The config of a run folder; ``FacerError`` when it is none, or of a newer facer."""
    return _folder(run).read()


def fold_folder(run: Path, fold: int) -> Path:
    """Where a run of folds keeps the training that holds one fold out."""
    return run / f"fold-{fold}"


def absolute_place(path: str) -> str:
    """A path as it is from any folder; URLs stay as they are."""
    return path if "://" in path else str(Path(path).absolute())


def absolute_places(config: StreamsConfig) -> StreamsConfig:
    """Streams with their stores' places as they are from any folder."""
    places = (f"{name}={absolute_place(place)}" for name, place in config.places.items())
    return replace(config, stores=tuple(places))


def refuse_folds(run: Path) -> None:
    """``FacerError`` for a run of folds: none of its models is for clips other than its own."""
    if read_run(run).is_whole_of_folds:
        raise FacerError(
            f"{run}: holds the folds of a cross-validation, whose models are for their held-out "
            f"clips; train a model for other clips without {named('folds')}"
        )
