"""What every worker of a cluster must have, checked before the first clip."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from facer import __version__
from facer.pipeline.features.sources import Source, open_videos
from facer.pipeline.runtime.executors import DaskExecutor
from facer.storage.errors import FacerError, one_line
from facer.storage.files.objects import open_objects
from facer.storage.layout.parts import PARTS

_DECISIVE = ("torch", "onnxruntime", "numpy", "distributed")


@dataclass(frozen=True)
class Probe:
    """What a worker shall find: one video by its size, and a token in the store."""

    video_dir: str
    path: str
    size: int
    store: str
    folder: str  # of the token, in the store
    token: str


def check_cluster(
    executor: DaskExecutor, video_dir: str, source: Source, store: str, note: Callable[[str], None]
) -> None:
    """Refuse a cluster of which one worker cannot do the work.

    ``FacerError`` names the host that lacks facer or has another version of it, that does not
    see the same videos, or that does not see the same store or cannot write there. Other
    versions of what facer computes with are only noted: results then differ in the last digits.
    """
    token = secrets.token_hex(8)
    probe = Probe(video_dir, source.path, source.size, store, f".check-{token}", token)
    objects = open_objects(store)
    try:
        objects.put(f"{probe.folder}/client", token.encode())
        found = executor.check_workers(check_worker, probe)
    finally:
        objects.delete(probe.folder)
    for line in differing(found, versions()):
        note(line)


def check_worker(probe: Probe) -> dict[str, str]:
    """Look at videos and store from here, a worker; returns :func:`versions`."""
    try:
        import_module("facer.stages.features.extractor")  # what a part will load, cv2 and torch too
    except ImportError as error:
        raise FacerError(
            f"facer does not load ({one_line(error)}); install facer {__version__} there and "
            "start the worker again"
        ) from error
    place = f"{probe.video_dir}: the videos are not visible from this host"
    try:
        size, _ = open_videos(probe.video_dir).stat(probe.path)
    except FacerError:
        raise
    except Exception as error:  # storage libraries have errors of their own
        raise FacerError(f"{place} ({one_line(error)}); {_remedy(probe.video_dir)}") from error
    if size != probe.size:
        raise FacerError(
            f"{place}: found {size} bytes in {probe.path}, expected {probe.size}; "
            f"{_remedy(probe.video_dir)}"
        )
    objects = open_objects(probe.store)
    if objects.get(f"{probe.folder}/client") != probe.token.encode():
        raise FacerError(
            f"{probe.store}: the store is not visible from this host; give a path that all hosts "
            "share, or a URL"
        )
    check_writing(probe.store)
    return versions()


def check_writing(store: str) -> None:
    """``FacerError`` where this process may not write a store's parts: before hours of work."""
    objects, written = open_objects(store), f"{PARTS}/.check-{secrets.token_hex(8)}"
    objects.put(written, b"")
    objects.delete(written)


def _remedy(place: str) -> str:
    if "://" in place:
        return "give this host access to it, and the same credentials"
    return "mount the folder under the same path"


def versions() -> dict[str, str]:
    """Versions of what decides the last digits of a result, by name."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _DECISIVE:
        try:
            found[name] = version(name).partition("+")[0]  # builds for CPU and GPU mix
        except PackageNotFoundError:  # another distribution brings the module
            found[name] = "unknown"
    return found


def differing(workers: Mapping[str, Mapping[str, str]], here: Mapping[str, str]) -> list[str]:
    """One line for each worker whose versions are not those here."""
    lines = []
    for worker, there in workers.items():
        others = [
            f"{name} {there[name]} ({here[name]} here)"
            for name in here
            if there[name] != here[name]
        ]
        if others:
            lines.append(
                f"{worker}: {', '.join(others)}; results may differ in the last digits, and "
                "different versions of distributed may not work together"
            )
    return lines
