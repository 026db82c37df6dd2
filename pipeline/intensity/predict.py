"""From new videos to intensities: extract, then the head."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import ExtractSummary, extract_folder
from facer.pipeline.features.part import load_extractor
from facer.pipeline.intensity.config import PredictConfig
from facer.pipeline.intensity.head_run import HeadRunConfig, read_run, refuse_folds
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.scoring.evaluation import Prediction
from facer.pipeline.intensity.scoring.provenance import check_provenance
from facer.pipeline.intensity.sources.joined import open_source
from facer.pipeline.runtime.progress import Progress, clip_notes
from facer.pipeline.views.clip_picture import draw_clip
from facer.stages.features.config import ExtractConfig
from facer.stages.intensity.sequence_config import StreamsConfig
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, named

STAND_IN = {
    "no_face": "no face: the training mean",
    "no_stream": "lacks a stream: the training mean",
    "no_features": "no frame has all columns of the run: the training mean",
}
"""What the prediction of a clip is that nothing was measured of, by its status."""


def predict_videos(
    config: PredictConfig, progress: Progress | None = None
) -> tuple[Prediction, ExtractSummary]:
    """Intensities of every video that could be extracted, and how the extraction went."""
    progress = progress or Progress()
    refuse_folds(config.run)
    record = read_run(config.run)
    streams = _streams(config, record)
    extract = _as_of_run(config.extract, record)
    models = load_extractor(replace(extract, device="cpu"))  # before the slow part
    check_provenance(config.run, models.provenance, "these options")
    absent = [name for name in record.own_columns if name not in models.columns]
    if absent:
        raise FacerError(
            f"{config.run}: its head reads {', '.join(absent)}, which {named('rec')} does not "
            "make of a video; give the networks of the run's store, or train on columns of facer "
            "extract"
        )
    with tempfile.TemporaryDirectory(prefix="facer-") as folder:
        path = config.store or str(Path(folder) / "features.zarr")
        extraction = ExtractRunConfig(config.videos, path, extract, config.workers)
        summary = extract_folder(extraction, progress)
        for line in clip_notes(summary.records, config.store or ""):
            progress.note(line)
        store = FeatureStore.open(path)
        clips = [record.clip_id for record in summary.records if record.status != "failed"]
        source = open_source(store, streams)
        if not clips:
            raise FacerError(f"{config.videos}: no clip could be extracted ({_first(summary)})")
        prediction = predict_store(config.run, source, clips)
        if config.pictures is not None:
            _draw(prediction, store, config.videos, config.pictures)
    return prediction, summary


def _streams(config: PredictConfig, record: HeadRunConfig) -> StreamsConfig:
    """The run's other stores, made of these videos; FacerError where one is not given."""
    streams = record.streams_at(config.stores)
    given = StreamsConfig(config.stores).places
    if lacking := [name for name in streams.places if name not in given]:
        raise FacerError(
            f"{config.run}: reads the stream {lacking[0]} too, which no video gives; expected "
            f"{named('with_')} {lacking[0]}=STORE, made of these videos as the run's own was"
        )
    return streams


def _as_of_run(extract: ExtractConfig, record: HeadRunConfig) -> ExtractConfig:
    """The extraction with the embedding and, where it is left open, the precision of the run."""
    extract = replace(extract, embedding=extract.embedding or record.embedding)
    if extract.precision != "auto":
        return extract
    made = record.provenance().settings.get("precision", "float32")
    return replace(extract, precision=made)  # type: ignore[arg-type]


def _draw(prediction: Prediction, store: FeatureStore, videos: Path, folder: Path) -> None:
    """Write a picture of each clip with what is predicted of it."""
    video_dir = videos if videos.is_dir() else videos.parent
    table = zip(prediction.clip_ids, prediction.values, prediction.status, strict=True)
    for clip, values, status in table:
        pairs = zip(prediction.names, values, strict=True)
        figures = ", ".join(f"{name} {value:z.2f}" for name, value in pairs)
        note = f"predicted {figures}" if status == "ok" else f"{STAND_IN[status]} {figures}"
        draw_clip(store, clip, video_dir, folder / f"{clip}.png", note)


def _first(summary: ExtractSummary) -> str:
    return summary.failed[0].reason if summary.failed else "nothing found"
