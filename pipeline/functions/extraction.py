"""Functions of stage one: extract, extract_audio, load_rec."""

from __future__ import annotations

import logging
import os
from typing import Any

from facer.pipeline.features.extract import extract_folder
from facer.pipeline.functions.keywords import keywords
from facer.pipeline.runtime.places import Place, place_of
from facer.pipeline.runtime.progress import progress_bar
from facer.pipeline.settings.commands import EXTRACT, EXTRACT_AUDIO
from facer.pipeline.settings.configs import extract_run_config
from facer.pipeline.settings.table import Settings, Table
from facer.stages.features.config import STARTER_REC
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.recognisers import Recogniser
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.files.regular import refuse_no_path

_log = logging.getLogger("facer")


@keywords(EXTRACT)
def extract(
    video_dir: Place, store: FeatureStore | Place, *, progress: bool = False, **settings: Any
) -> FeatureStore:
    """Bring every video of a folder into a store, as ``facer extract``, and return the store.

    The same call again does only what is missing. Keywords are the command's options with
    underscores, such as ``workers=2`` or ``detect_every=1``; ``progress=True`` tells on stderr how
    it goes. A clip that fails is a record with its reason, and a warning of the logger ``facer``
    counts them. Raises FacerError for a wrong setting, a folder without videos, and a store of
    other provenance.
    """
    return _extracted(video_dir, store, EXTRACT, settings, progress)


@keywords(EXTRACT_AUDIO)
def extract_audio(
    video_dir: Place, store: FeatureStore | Place, *, progress: bool = False, **settings: Any
) -> FeatureStore:
    """Bring the sound of every file of a folder into a store, as ``facer extract-audio``.

    Everything else is as for :func:`extract`; keywords are the command's options, such as
    ``features="egemaps"``. A clip without sound is a record of status ``no_sound``.
    """
    return _extracted(video_dir, store, EXTRACT_AUDIO, settings, progress)


def _extracted(
    video_dir: Place, store: FeatureStore | Place, table: Table, settings: Settings, progress: bool
) -> FeatureStore:
    """The store of an extraction; FacerError where a worker wrote elsewhere."""
    path = place_of(store) or ""
    with progress_bar(progress) as to:
        summary = extract_folder(extract_run_config(video_dir, path, table, settings), to)
    if summary.missing:
        raise FacerError(
            f"{path}: {len(summary.missing)} clips have no record ({summary.missing[0]} ...): a "
            "worker wrote elsewhere; extract again"
        )
    if summary.failed:
        first = summary.failed[0]
        _log.warning(
            "%s: %d of %d clips failed, such as %s: %s; the store's records have the reasons",
            path, len(summary.failed), summary.n_clips, first.clip_id, first.reason,
        )  # fmt: skip
    return FeatureStore.open(path)


def load_rec(
    name_or_path: str | os.PathLike[str] = STARTER_REC,
    device: str = "auto",
    embedding: bool = False,
) -> Recogniser:
    """Load REC by name or path: ``.predict(crops)``, RGB uint8 (B, 112, 112, 3) to (B, 26).

    The columns are :data:`facer.storage.FEATURE_NAMES`; ``embedding`` puts REC's pooled space after
    them. A model card (.toml, or the name of one that comes with the package) gives what its
    ``.columns`` say, of crops as its ``.crop`` says. Raises FacerError for weights that are not
    there and a device that this machine lacks.
    """
    refuse_no_path("name_or_path", name_or_path)
    return rec.load(os.fspath(name_or_path), device, embedding)
