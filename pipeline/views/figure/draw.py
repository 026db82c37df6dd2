"""Figures for a paper: drawn from the tables of a study, with the drawn numbers beside them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from facer.pipeline.runtime.progress import warn
from facer.pipeline.summary.summarise import Study, summarise_in_memory
from facer.pipeline.views.figure.config import FIGURE_KINDS, FigureConfig, FigureKind
from facer.pipeline.views.figure.kinds import DRAW, EXTENTS
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.files.atomic import written_whole
from facer.storage.files.regular import open_regular
from facer.storage.study.tables import Collected
from facer.storage.text.likeness import check_choice, did_you_mean

_WIDTHS_MM = {"single": 89.0, "double": 183.0}  # columns of most journals
_UNDATED: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}
}  # fmt: skip
_STYLE: Any = {
    "pdf.fonttype": 42, "svg.hashsalt": "facer", "svg.fonttype": "none", "font.size": 7,
    "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1,
    "text.parse_math": False,
}  # fmt: skip


def draw_figure(of: Study, kind: FigureKind, config: FigureConfig, path: Path) -> Path:
    """Draw a study's figure to pdf, svg or png, and its numbers to a csv beside it.

    Raises FacerError for another ending, an unknown feature or person, and where nothing can be
    drawn.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    _check(of, kind, config, path)
    tables, outcome = summarise_in_memory(of)
    tables["extents"] = Collected.of(EXTENTS, [
        (row.clip_id, event, row.participant, row.condition, *extent)
        for row in of.design.rows
        for event, extent in outcome.extents.get(row.clip_id, {}).items()
    ])  # fmt: skip
    width = _WIDTHS_MM[config.width] / 25.4
    numbers = path.with_suffix(".csv")
    with matplotlib.rc_context(_STYLE):
        made = Figure((width, width * 0.68), layout="constrained")
        FigureCanvasAgg(made)
        drawn = DRAW[kind](made.subplots(), tables, config)
        for place in (path, numbers):
            if place.is_dir():
                raise FacerError(f"{place}: found a folder there, expected a path for a file")
        _refuse_another_table(numbers, drawn)
        form = path.suffix[1:].lower()
        with warnings.catch_warnings(record=True) as told, written_whole(path) as picture:
            warnings.simplefilter("always")
            made.savefig(picture, format=form, dpi=config.dpi, metadata=_UNDATED[form])
    _tell(told, path)
    with written_whole(numbers) as place:
        drawn.to_csv(place)
    for note in outcome.notes:
        warn(note)
    return numbers


def _tell(told: list[warnings.WarningMessage], path: Path) -> None:
    """Say once that a font lacks letters, which an svg keeps; other warnings as they came."""
    lacking = [one for one in told if str(one.message).startswith("Glyph ")]
    if lacking and path.suffix.lower() != ".svg":
        warn(f"{path}: names have letters that DejaVu Sans lacks, drawn as boxes; an .svg has them")
    for one in told:
        if one not in lacking:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _check(of: Study, kind: FigureKind, config: FigureConfig, path: Path) -> None:
    check_choice(named("kind"), kind, FIGURE_KINDS)
    if path.suffix[1:].lower() not in _UNDATED:
        raise OptionError(f"{path}: found ending {path.suffix!r}, expected one of .pdf, .svg, .png")
    if config.feature not in of.features.names:
        raise OptionError(
            f"{named('feature')}: found {config.feature!r}, expected a column of the store"
            f"{did_you_mean(config.feature, of.features.names)}"
        )
    if kind in ("paired", "strip") and len(of.config.windows) > 1:
        raise OptionError(
            f"{named('window')}: found {', '.join(of.config.windows)}, expected one for {kind}: "
            "means of several windows are not one number of a person"
        )


def _refuse_another_table(path: Path, drawn: Collected) -> None:
    """FacerError for a csv that no figure of this kind wrote, such as one of facer summarise."""
    if not path.exists():
        return
    with open_regular(path, "a csv", str(path)) as file:
        found = file.readline(1 << 16).decode(errors="replace").strip()
    if found != ",".join(column.name for column in drawn.columns):
        raise FacerError(
            f"{path}: found another table there, expected a free name for the drawn numbers; give "
            "the figure another name"
        )
