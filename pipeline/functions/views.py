"""Functions that draw: picture, report, annotate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from facer.pipeline.functions.keywords import keywords
from facer.pipeline.intensity.run import Run, import_named_head
from facer.pipeline.runtime.places import Place, opened
from facer.pipeline.runtime.progress import CountReporter
from facer.pipeline.settings import REPORT, label_options, make
from facer.pipeline.views.annotate import annotate_clip
from facer.pipeline.views.clip_picture import draw_clip
from facer.pipeline.views.report.build import Report, build_report
from facer.pipeline.views.report.config import ReportConfig
from facer.storage import FeatureStore


class AnnotatedClip(NamedTuple):
    """A clip as a video."""

    path: Path
    no_sound: str  # why its sound was left out, or ""


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
