"""Which files a training reads, told apart by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from facer.stages.detection.config import TrainConfig
from facer.stages.detection.data.sources import PICTURE_SUFFIXES, files_of, list_videos
from facer.stages.features.detect import model_path
from facer.storage.files.videos import VIDEO_SUFFIXES
from facer.storage.files.weights import file_sha256, weights_sha256

_OF_PEOPLE = (".csv", *PICTURE_SUFFIXES, *VIDEO_SUFFIXES)


def input_digests(config: TrainConfig) -> dict[str, str]:
    """Digest of the files behind each setting that names some, such as ``faces_sha256``.

    FacerError for folders that cannot be read; what is not there has no digest.
    """
    files: dict[str, Iterable[Path]] = {
        "faces": [config.faces],
        "scenes": files_of(config.scenes, PICTURE_SUFFIXES),
        "clips": list_videos(config.clips),
        "crops": getattr(config, "crops", ()),
    }
    for name in ("people", "people_clips"):
        folder = getattr(config, name)
        files[name] = () if folder is None else files_of(folder, _OF_PEOPLE)
    digests = {name: _digest(paths) for name, paths in files.items()}
    for name in ("teacher", "detector", "start"):
        if (path := getattr(config, name, None)) is not None:
            path = model_path(str(path)) if name == "detector" else path
            digests[name] = weights_sha256(path) if path.is_file() else ""
    return {f"{name}_sha256": digest for name, digest in digests.items() if digest}


def _digest(paths: Iterable[Path]) -> str:
    lines = [f"{path.name} {file_sha256(path)}" for path in paths if path.is_file()]
    return (
        hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
        if lines
        else ""
    )
