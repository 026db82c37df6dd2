"""A trained run as an object: its scores, and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facer.pipeline.intensity.head_run import fold_folder, read_run
from facer.pipeline.intensity.scoring.evaluation import Evaluation, Prediction
from facer.pipeline.intensity.train import SeedResult, finished_seeds
from facer.pipeline.runtime.places import Place, place_of
from facer.pipeline.settings.table import Settings, make
from facer.stages.intensity.config import OwnHeadConfig
from facer.stages.intensity.heads.own import import_head
from facer.storage import FeatureStore
from facer.storage.errors import OptionError, named
from facer.storage.files.anchored import Anchored
from facer.storage.files.regular import refuse_no_path
from facer.storage.text import notebook
from facer.storage.text.typed_json import plain

Streams = Mapping[str, FeatureStore | Place] | Sequence[str]
"""Joined stores by name, or each as NAME=STORE."""


class Run:
    """A folder of ``facer train-head`` or ``facer finetune``; :func:`facer.open_run` opens one."""

    def __init__(self, path: Place) -> None:
        refuse_no_path("path", path)
        self._anchored = Anchored(Path(path))

    @property
    def path(self) -> Path:
        """The folder."""
        return self._anchored.path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self._anchored.whole == other._anchored.whole

    def __hash__(self) -> int:
        return hash(self._anchored.whole)

    @property
    def config(self) -> dict[str, Any]:
        """The run's ``config.json``: settings, and digests of its data."""
        return plain(read_run(self.path))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the intensities that the run predicts, (E,)."""
        return read_run(self.path).names

    def evaluate(
        self,
        split: str | None = None,
        *,
        labels: Place | None = None,
        store: FeatureStore | Place | None = None,
        by: str | None = None,
        with_: Streams = (),
        **settings: Any,
    ) -> Evaluation:
        """Score the run, as ``facer evaluate``: ``.to_dataframe()`` is a row an emotion.

        ``split`` is train, val (the default) or test; leave it out for a run of folds, which is
        scored on what the folds hold out. ``labels`` and ``store`` are others than the run's,
        ``by`` a column of the labels, ``with_`` other places of joined stores; keywords say how
        labels are read (``kind``, ``id_column``, ``targets``, ``subject_column``,
        ``split_column``, ``missing_values``); ``head`` names the class of a head that is not
        facer's.
        """
        from facer.pipeline.functions.heads import evaluate

        if "against" in settings:
            raise OptionError(
                f"{named('against')}: found one, expected none; facer.evaluate compares two runs"
            )
        found = evaluate(self, split, labels=labels, store=store, by=by, with_=with_, **settings)
        assert isinstance(found, Evaluation)  # and no comparison
        return found

    def predict(
        self,
        videos: Place,
        *,
        store: FeatureStore | Place | None = None,
        with_: Streams = (),
        workers: int | None = None,
        pictures: Place | None = None,
        progress: bool = False,
        **settings: Any,
    ) -> Prediction:
        """Predict a video or a folder of videos, as ``facer predict``.

        ``store`` keeps the features, ``with_`` gives the streams that the run joins by name,
        ``pictures`` is a folder for a picture a clip; keywords are
        options of ``facer extract`` and must be those of the run's own store. Videos that cannot
        be read are in ``.failed`` with the reason.
        """
        from facer.pipeline.functions.heads import predict

        settings |= {"store": store, "with_": with_, "workers": workers}
        return predict(self, videos, progress=progress, pictures=pictures, **settings)

    def again(
        self,
        run: Place,
        *,
        store: FeatureStore | Place | None = None,
        labels: Place | None = None,
        with_: Streams = (),
        progress: bool = False,
        **settings: Any,
    ) -> Run:
        """Make the run again in another folder, as ``facer train-head --from``: same settings.

        ``store``, ``labels`` and ``with_`` are for data that were moved; other keywords are jobs,
        device, resume, and ``head`` for a head that is not facer's. OptionError for any other,
        FacerError where the data are not the same.
        """
        from facer.pipeline.functions.runs import train_again
        from facer.pipeline.runtime.epochs import training_epoch

        refuse_no_path("run", run)
        train_again(
            self.path, run, place_of(store), labels, training_epoch if progress else None,
            with_=with_, **settings,
        )  # fmt: skip
        return Run(run)

    @property
    def seeds(self) -> tuple[SeedResult, ...]:
        """The finished seeds with their best scores on val; of a run of folds, all of them."""
        if read_run(self.path).is_whole_of_folds:
            folds = range(len(list(self.path.glob("fold-*"))))
            return tuple(s for k in folds for s in finished_seeds(fold_folder(self.path, k)))
        return finished_seeds(self.path)

    def __repr__(self) -> str:
        return f"<Run {self._summary()}>"

    def _repr_html_(self) -> str:
        figure = notebook.figure
        rows = [(s.seed, figure(s.val_pearson), s.best_epoch, s.epochs) for s in self.seeds]
        header = ("seed", "val Pearson", "best epoch", "epochs")
        return notebook.table(self._summary(), header, rows)

    def _summary(self) -> str:
        record, scores = read_run(self.path), [seed.val_pearson for seed in self.seeds]
        figure = notebook.figure(sum(scores) / len(scores)) if scores else ""
        mean = f", mean val Pearson {figure}" if scores else ""
        return (
            f"{str(self.path)!r}: {record.fit.head.name} for "
            f"{', '.join(record.names)}, "
            f"{len(scores)} trainings finished{mean}"
        )


def import_named_head(settings: Settings) -> None:
    """Import the class of a head that is not facer's, where ``head`` names one."""
    import_head(make(OwnHeadConfig, settings).head)
