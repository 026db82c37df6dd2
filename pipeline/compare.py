"""Two runs on the same clips: which is better, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facer.pipeline.cohort import labels_of_run
from facer.pipeline.evaluate import Evaluation, evaluate
from facer.pipeline.run_folder import read_run
from facer.stages.intensity.intervals import Comparison, compare
from facer.storage import LabelOptions
from facer.storage.errors import FacerError


@dataclass(frozen=True)
class RunComparison:
    """Both runs' scores, and the first one's mean Pearson less the second's."""

    first: Evaluation
    second: Evaluation
    pearson: Comparison  # of the mean predictions over seeds

    def to_json(self) -> dict[str, Any]:
        """As ``facer evaluate --against --json`` prints it."""
        return {
            "run": self.first.to_json(),
            "against": self.second.to_json(),
            "comparison": asdict(self.pearson),
        }


def compare_runs(
    first: Path,
    second: Path,
    split: str = "val",
    labels: str | None = None,
    store: str | None = None,
    reading: LabelOptions | None = None,
) -> RunComparison:
    """Score two runs on one split and compare them by paired bootstrap (subjects where known).

    ``store`` stands in for the first run's.

    Raises FacerError when they predict other clips or intensities, or nothing is labelled.
    """
    one = evaluate(first, split, labels, store, reading)
    two = evaluate(second, split, labels, reading=reading)
    if (one.label_ids, one.names) != (two.label_ids, two.names):
        raise FacerError(
            f"{first} and {second}: score other clips or intensities on {split}, expected the "
            "same; give both one label file by --labels"
        )
    if one.ensemble is None:
        raise FacerError(f"{first}: split {split} has no labels to compare on")
    table = labels_of_run(first, read_run(first), labels, reading)
    row_of = {clip: row for row, clip in enumerate(table.clip_ids)}
    rows = [row_of[clip] for clip in one.label_ids]
    found = compare(
        one.predictions, two.predictions, table.values[rows], [table.subjects[i] for i in rows]
    )
    return RunComparison(one, two, found)
