"""The folder of one training: its settings, its learning curve, its weights and where it stopped.

RUN/
  config.json          the run's typed config, digests of its data among it
  curve.jsonl          one row an epoch (a head's seeds have curve.csv)
  last.safetensors     where the training stopped, to resume from
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from facer.stages.common.training import OnStep, Trainer
from facer.storage.errors import FacerError, named, one_line
from facer.storage.files.atomic import write_atomic, write_new
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.files.json_files import read_json_lines, read_json_object
from facer.storage.files.locks import alone_in
from facer.storage.files.objects import LocalObjects
from facer.storage.files.regular import refuse_url
from facer.storage.text.differing import differing
from facer.storage.text.typed_json import from_json, plain, to_json

Row = TypeVar("Row")
OF_ANOTHER = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError)
"""What reading the file of another training, or of none, can raise."""
_ORIGIN = "run"  # key of a state
_BEFORE_CONFIG = ("last.safetensors", "teacher.safetensors")
"""What a run may hold without a config: facer 0.1's state, and what is kept before it begins."""
FORMAT = 1
"""Of a config that names its format; a newer facer may write a higher one."""


class RunConfig(Protocol):
    """What a run was made with: a frozen dataclass, its JSON the run's config file."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    COMMAND: ClassVar[str]
    """What writes such runs, such as facer train-head."""
    OPTIONS: ClassVar[tuple[str, ...]]
    """Keys whose values are options of the command, for messages."""

    def deciding(self) -> Mapping[str, Any]:
        """Return, as JSON, what must be the same where the run is resumed."""


C = TypeVar("C", bound=RunConfig)


@dataclass(frozen=True)
class RunFolder(Generic[C]):
    """A folder with everything that one training made; ``kind`` is its config's class."""

    path: Path
    kind: type[C]
    config_name: str = "config.json"
    origin: Mapping[str, Any] | None = None  # of the states; None: what decides the config here

    def __post_init__(self) -> None:
        refuse_url(self.path)

    @property
    def config_path(self) -> Path:
        """The file of the config."""
        return self.path / self.config_name

    @property
    def last(self) -> Path:
        """The file to resume from."""
        return self.path / "last.safetensors"

    @property
    def curve(self) -> Path:
        """The file of the learning curve."""
        return self.path / "curve.jsonl"

    def read(self) -> C:
        """Return the config; FacerError where it cannot be read."""
        if not self.config_path.is_file():
            raise FacerError(
                f"{self.path}: found no {self.config_name}, expected a folder of "
                f"{self.kind.COMMAND}"
            )
        values = read_json_object(self.config_path)
        if "format" in self.kind.__dataclass_fields__:
            self._check_format(values)
        return from_json(self.kind, values, str(self.config_path), self.kind.COMMAND)

    def _check_format(self, values: Mapping[str, Any]) -> None:
        if type(values.get("format")) is not int:
            raise FacerError(
                f"{self.config_path}: found no format, expected the config of {self.kind.COMMAND}"
            )
        if values["format"] > FORMAT:
            made = str(values.get("facer_version"))[:40]
            raise FacerError(f"{self.path}: made by a newer facer ({made}); update facer")

    def write(self, config: C) -> None:
        """Write the config."""
        write_atomic(self.config_path, _text(config))

    def begin(self, config: C, resume: bool) -> bool:
        """Write the config of a new run; False where a run is, one that began just now too.

        FacerError where the folder holds something else, and a run that is not resumed.
        """
        self.refuse_occupied(resume)
        if not self.config_path.is_file() and write_new(self.config_path, _text(config)):
            return True
        self.refuse_occupied(resume)
        return False

    def refuse_occupied(self, resume: bool) -> None:
        """FacerError where the folder is a file, or holds something and is not resumed, or
        something else than a run.
        """
        refuse_file(self.path)
        if not resume and self.path.is_dir() and any(self.path.iterdir()):
            raise FacerError(
                f"{self.path}: is there already and not empty; use another folder, or "
                f"{named('resume')} to go on"
            )
        names = {path.name for path in self.path.glob("[!.]*")}
        if names and not names & {self.config_name, *_BEFORE_CONFIG}:
            raise FacerError(
                f"{self.path}: found {min(names)} and no {self.config_name}, expected a run of "
                f"{self.kind.COMMAND} or a new folder; use another folder"
            )

    def claim(self, config: C, resume: bool) -> None:
        """Write the config of a new run, or compare it with that of the run that is resumed."""
        if not self.begin(config, resume):
            self.compare(config)

    def check(self, config: C) -> None:
        """FacerError unless a run of this config may begin in the folder, or go on."""
        self.refuse_occupied(resume=True)
        if self.config_path.is_file():
            self.compare(config)

    def compare(
        self,
        config: C,
        before: C | None = None,
        advice: str = "resume with the same data and settings, or use another folder",
    ) -> None:
        """FacerError, with advice, unless the run was made with what decides ``config``."""
        before = before or self.read()
        if changed := differing(before.deciding(), config.deciding(), self.kind.OPTIONS):
            raise FacerError(f"{self.path}: was made with other {changed}; {advice}")

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from training in the folder; FacerError where one does."""
        return alone_in(self.path, "training there; wait for it, or use another folder")

    def resume(self, trainer: Trainer[Any], curve: bool = False) -> None:
        """Have a fresh trainer resume where the run stopped, if it did.

        FacerError for a state that cannot be read, for one of another training and, with
        ``curve``, where the learning curve lacks rows of epochs that are done.
        """
        origin = None
        if self.last.exists():
            try:
                arrays, meta = load_checkpoint(self.last)
            except FacerError as error:
                raise FacerError(f"{error.marked}; remove it to train from the start") from error
            origin = meta.get(_ORIGIN)
            if isinstance(origin, Mapping) and (
                found := differing(origin, self._origin, self.kind.OPTIONS, known=True)
            ):
                raise FacerError(
                    f"{self.last}: found the state of another training, made with other {found}; "
                    "put the run's own file there, or remove it to train from the start"
                )
            try:
                trainer.load_state(arrays, meta)
            except OF_ANOTHER as error:
                raise FacerError(
                    f"{self.last}: found no state that {self.kind.COMMAND} wrote "
                    f"({one_line(error)}); remove it to train from the start"
                ) from error
        rows = self._curve_text().splitlines(keepends=True)
        if len(rows) > trainer.epochs_done:  # those of an epoch that was cut short
            write_atomic(self.curve, "".join(rows[: trainer.epochs_done]))
        if curve and origin is not None:  # facer 0.1's states had no curve
            self._check_curve(trainer.epochs_done)

    def _check_curve(self, done: int) -> None:
        """FacerError unless the curve has a row of each epoch that is done."""
        advice = f"put the run's own file there, or remove {self.last} to train from the start"
        try:
            n_rows = len(self.read_curve())
        except FacerError as error:
            raise FacerError(f"{error.marked}; {advice}") from error
        if n_rows < done:
            raise FacerError(f"{self.curve}: found {n_rows} rows, expected {done}; {advice}")

    def save(self, trainer: Trainer[Any]) -> None:
        """Write where a training is."""
        arrays, meta = trainer.state()
        save_checkpoint(self.last, arrays, {**meta, _ORIGIN: self._origin})

    @property
    def _origin(self) -> Mapping[str, Any]:
        """What a state says of the training that it comes from."""
        if self.origin is not None or not self.config_path.is_file():
            return self.origin or {}
        return self.read().deciding()

    def train(
        self,
        trainer: Trainer[Row],
        on_epoch: Callable[[Row], None] | None = None,
        on_step: OnStep | None = None,
        keep: Callable[[Row], None] | None = None,
        due: Callable[[Row], bool] | None = None,
    ) -> None:
        """Train what is left, and save where it is after each epoch, or after those that are due.

        ``keep`` writes what an epoch made, before its state says that the epoch is done.
        """
        while not trainer.finished:
            row = trainer.epoch(on_step)
            if keep is not None:
                keep(row)
            if due is None or trainer.finished or due(row):
                self.save(trainer)
            if on_epoch is not None:
                on_epoch(row)

    def append(self, row: Any) -> None:
        """Add a row to the learning curve."""
        write_atomic(self.curve, f"{self._curve_text()}{json.dumps(to_json(row))}\n")

    def _curve_text(self) -> str:
        """The lines of the curve as they are, "" without one; of a regular file of bounded size."""
        data = LocalObjects(self.path).get(self.curve.name)
        return "" if data is None else data.decode(errors="replace")

    def write_curve(self, rows: Iterable[Any]) -> None:
        """Write the learning curve anew."""
        write_atomic(self.curve, "".join(json.dumps(to_json(row)) + "\n" for row in rows))

    def read_curve(self) -> list[dict[str, Any]]:
        """Return the rows of the learning curve."""
        return read_json_lines(self.curve)


def refuse_file(folder: Path) -> None:
    """FacerError for a path where anything but a folder is."""
    if folder.exists() and not folder.is_dir():
        raise FacerError(f"{folder}: is a file, expected the name of a new folder")


def _text(config: RunConfig) -> str:
    return json.dumps(plain(config), indent=1) + "\n"
