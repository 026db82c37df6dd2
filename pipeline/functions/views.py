"""Functions that draw: picture, report, annotate, figure, view."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from facer.pipeline.functions.keywords import keywords, places
from facer.pipeline.intensity.run import Run, import_named_head
from facer.pipeline.runtime.places import Place, opened, place_of
from facer.pipeline.runtime.progress import CountReporter
from facer.pipeline.settings.commands import FIGURE, REPORT, VIEW
from facer.pipeline.settings.configs import label_options
from facer.pipeline.settings.table import make
from facer.pipeline.summary.summarise import study
from facer.pipeline.views.annotate import annotate_clip
from facer.pipeline.views.clip_picture import draw_clip
from facer.pipeline.views.figure.config import FigureConfig, FigureKind
from facer.pipeline.views.figure.draw import draw_figure
from facer.pipeline.views.report.build import Report, build_report
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.view.config import ViewConfig
from facer.pipeline.views.view.served import View
from facer.stages.summary.config import SummaryConfig
from facer.storage import FeatureStore


class AnnotatedClip(NamedTuple):
    """A clip as a video."""

    path: Path
    no_sound: str  # why its sound was left out, or ""


@places
def picture(
    store: FeatureStore | Place, clip_id: str, output: Place, *, videos: Place | None = None
) -> Path:
    """Draw a clip as a PNG: crops over valence-arousal, expression and AU curves.

    ``videos`` is the VIDEO_DIR; without it there are no crops. Raises FacerError for an unknown or
    failed clip, and where its video is not what was extracted.
    """
    draw_clip(opened(store), clip_id, None if videos is None else Path(videos), Path(output))
    return Path(output)


@keywords(REPORT)
def report(
    source: FeatureStore | Run | Place, output: Place, *, progress: bool = False, **settings: Any
) -> Report:
    """Show a store, a run or an ablation as pages that open from the disk, offline.

    ``output`` is a new folder, or an earlier report to write again. Raises FacerError for a source
    of another kind, and a folder that holds something else.
    """
    import_named_head(settings)
    place = source.path if isinstance(source, FeatureStore | Run) else source
    config = make(
        ReportConfig, settings, os.fspath(place), Path(output), reading=label_options(settings)
    )
    return build_report(config, CountReporter("clip pages")) if progress else build_report(config)


@places
def annotate(
    store: FeatureStore | Place, clip_id: str, output: Place, *, videos: Place = ".",
    progress: bool = False,
) -> AnnotatedClip:  # fmt: skip
    """Write a clip as a video (.mp4, .webm) with face marked, features beside it, and sound.

    Raises FacerError for an unknown or failed clip, and where its video is not what was extracted.
    """
    told = CountReporter("measured frames drawn") if progress else None
    no_sound = annotate_clip(opened(store), clip_id, Path(videos), Path(output), told)
    return AnnotatedClip(Path(output), no_sound)


@keywords(FIGURE)
def figure(
    kind: FigureKind, store: FeatureStore | Place, output: Place, design: Place | None = None,
    **settings: Any,
) -> Path:  # fmt: skip
    """Draw a figure of a study, as ``facer figure``, and return the path of its numbers.

    ``kind``: clip, participant, grand, heat, paired, missing or strip. Other keywords are the
    command's options. Raises FacerError for what cannot be drawn.
    """
    config = make(FigureConfig, settings)
    of = SummaryConfig(
        windows=config.windows, min_valid=config.min_valid, grid=config.grid, resamples=0
    )
    found = study(opened(store), of, place_of(design), settings["events"], settings["marks"])
    return draw_figure(found, kind, config, Path(output))


@keywords(VIEW)
def view(store: FeatureStore | Place, **settings: Any) -> View:
    """Serve a store's pages on this machine, to look at clips and mark them by eye.

    The view has ``.url`` and ``.close()``; a notebook shows it in a frame. Marks are written to
    ``marks`` (default: marks.csv beside the store) as they are made, for
    ``facer.summarise(marks=...)``; clicks on another face to ``faces``, for
    ``facer.extract(faces=...)``. ``windows``, ``baseline`` and ``thresholds`` as of
    :func:`facer.summarise`. Raises FacerError for tables that do not fit the store.
    """
    return View(make(ViewConfig, settings, place_of(store)), make(SummaryConfig, settings))
