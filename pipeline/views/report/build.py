"""Which report a folder gets, and its building."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from facer.pipeline.views.report.ablation_page import write_ablation_report
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.report.folder import ReportFolder
from facer.pipeline.views.report.run_page import write_run_report
from facer.pipeline.views.report.store_page import write_store_report
from facer.storage.errors import FacerError
from facer.storage.files.json_files import parse_json
from facer.storage.files.objects import open_objects
from facer.storage.schema import OnCount

_WRITERS: Mapping[str, Callable[[ReportConfig, ReportFolder, OnCount], int]] = {
    "store": write_store_report, "run": write_run_report, "ablation": write_ablation_report
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What was written."""

    index: Path
    kind: str  # store, run or ablation
    n_pages: int  # of clips
    notes: tuple[str, ...] = ()  # on what they lack


def build_report(config: ReportConfig, on_page: OnCount = lambda _done, _total: None) -> Report:
    """Write the report of a store, a run or an ablation, whichever ``config.source`` is.

    ``on_page`` hears how many pages of clips are done, and of how many.
    Raises FacerError when it is none of them, and for an output folder with other things in it.
    """
    kind = kind_of(config.source)
    folder = ReportFolder.claim(config.output, kind, config.source)
    folder.write_assets()
    n_pages = _WRITERS[kind](config, folder, on_page)
    folder.finish()
    return Report(config.output / "index.html", kind, n_pages, tuple(folder.notes))


def kind_of(source: str) -> str:
    """store, run or ablation, by what lies in the folder; FacerError when it is none."""
    objects = open_objects(source)
    names = set(objects.children(""))
    if "zarr.json" in names:
        return "store"
    if "config.json" in names and _is_run(objects.get("config.json")):
        return "run"
    if {"rows", "table.csv"} & names and "best.toml" not in names:
        return "ablation"
    if "best.toml" in names:
        raise FacerError(
            f"{source}: found a folder of facer sweep, which has its table as table.md and .png; "
            f"expected a store, a run, such as one of {source}/rows, or a folder of facer ablate"
        )
    found = "nothing" if not objects.exists() else ", ".join(sorted(names)[:3]) or "no files"
    raise FacerError(
        f"{source}: found {found}; expected a store of facer extract, a run of facer train-head "
        "or a folder of facer ablate"
    )


def _is_run(text: bytes | None) -> bool:
    """Whether a config.json is that of a head's training, not of REC's."""
    try:
        record = parse_json(text or b"")
    except ValueError:
        return False
    return isinstance(record, dict) and {"store", "labels", "names"} <= set(record)
