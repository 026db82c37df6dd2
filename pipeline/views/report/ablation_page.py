"""The report of an ablation: its tables and a picture of each; the paper's figures are marked."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facer.pipeline.intensity.ablation.report import PAPER, paper_of
from facer.pipeline.intensity.ablation.rows import FULL, GROUPS
from facer.pipeline.intensity.ablation.trials import SPLIT, read_record
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.scoring.evaluate import OUT_OF_FOLD
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.report.folder import ReportFolder
from facer.pipeline.views.report.store_page import flat
from facer.storage.errors import FacerError
from facer.storage.files.cells import plain_cell
from facer.storage.files.objects import DOCUMENT_BYTES
from facer.storage.files.regular import read_regular
from facer.storage.schema import OnCount
from facer.storage.text.typed_json import plain

Row = dict[str, Any]


def write_ablation_report(config: ReportConfig, folder: ReportFolder, _: OnCount) -> int:
    """Write the page of an ablation's tables; it has no pages of clips."""
    rows = read_rows(Path(config.source))
    groups = {group: [row for row in rows if group in row["groups"]] for group in GROUPS}
    tables = [
        {"id": group, "title": GROUPS[group], "rows": _citing(found, group),
         "paper": paper_of(group)}
        for group, found in groups.items()
        if any(row["id"] != FULL for row in found)
    ]  # fmt: skip
    trained = _full_config(Path(config.source))
    split = OUT_OF_FOLD if "folds" in trained else SPLIT
    folder.page(
        "index", "ablation.html", {"tables": tables, "paper": PAPER, "split": split},
        title=config.source, tables=tables, split=split, provenance=_provenance(trained),
        seeds=max((row["seeds"] for row in rows), default=0),
    )  # fmt: skip
    return 0


def read_rows(source: Path) -> list[Row]:
    """The rows of ``table.csv`` with the scores of their seeds; None where a cell is empty.

    Raises FacerError for a table that is not there or not one of ``facer ablate``.
    """
    path = source / "table.csv"
    if not path.is_file():
        raise FacerError(f"{source}: found no table.csv; let facer ablate finish, then report")
    data = read_regular(path, "a table of facer ablate", DOCUMENT_BYTES)
    try:
        table = csv.DictReader(io.StringIO(data.decode(), newline=""))
        rows = [{k: plain_cell(v) for k, v in row.items()} for row in table]
        return [_row(row, source) for row in rows]
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise FacerError(f"{path}: not a table of facer ablate ({error!r})") from error


def _citing(rows: list[Row], group: str) -> list[Row]:
    """Rows with the paper's figure of test in the place of that of val, in Table 1."""
    return [row | {"paper": row["paper_test"]} for row in rows] if group == "table1" else rows


def _full_config(source: Path) -> Mapping[str, Any]:
    """The config of the full model's run; nothing where it was not trained."""
    run = source / "rows" / FULL
    return plain(read_run(run)) if (run / "config.json").is_file() else {}


def _provenance(trained: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the full model was trained on."""
    if not trained:
        return []
    shown = {name: trained[name] for name in ("store", "labels", "names")}
    return flat({**shown, **trained["store_provenance"]})


def _row(cells: dict[str, str], source: Path) -> Row:
    def figure(name: str) -> float | None:
        return float(cells[name]) if cells.get(name) else None  # older tables have fewer

    run = source / "rows" / cells["id"]
    scores = read_record(run).pearson.values() if cells["pearson"] else ()
    names = ("pearson", "std", "difference_from_full", "difference_low", "difference_high",
             "p_holm", "paper", "paper_test")  # fmt: skip
    return {
        "id": cells["id"],
        "groups": cells["groups"].split(),
        "title": cells["title"],
        "n": int(cells["n"]),
        "seeds": int(cells["seeds"]),
        "reason": cells["reason"],
        "scores": list(scores),
        **{name: figure(name) for name in names},
    }
