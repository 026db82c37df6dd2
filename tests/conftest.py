"""Fixtures are factories: small videos and stores made in the test."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, on few cores

import numpy as np
import pytest
import torch

from facer.storage import (
    ACTION_UNITS,
    FEATURE_NAMES,
    ClipFeatures,
    FacerError,
    FeatureStore,
    Provenance,
    Record,
)
from facer.storage.files import atomic

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("MPLBACKEND", "agg")

import cv2

torch.set_num_threads(1)
cv2.setNumThreads(1)
# nohup and & have a run ignore these, and what tests start would then too
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

MakeVideo = Callable[..., Path]


@pytest.fixture(autouse=hasattr(os, "sched_getscheduler"))
def _usual_priority() -> Iterator[None]:
    """A test that raises that of its process has others stand still, its children among them."""
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """``make_video(name, frames, fps, codec)``: write RGB frames, or n moving patterns."""

    def make(
        name: str = "clip.mp4",
        frames: int | list[np.ndarray] = 12,
        fps: float = 25.0,
        codec: str = "mp4v",
        size: tuple[int, int] = (96, 64),
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images = [pattern(i, size) for i in range(frames)] if isinstance(frames, int) else frames
        height, width = images[0].shape[:2] if images else size[::-1]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
        assert writer.isOpened()
        for image in images:
            writer.write(np.ascontiguousarray(image[..., ::-1]))
        writer.release()
        return path

    return make


def pattern(index: int, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A grey ramp with a bright bar whose place tells the frame's number."""
    width, height = size
    image = np.tile(np.linspace(20, 120, width, dtype=np.uint8), (height, 1))
    image = np.repeat(image[..., None], 3, 2).copy()
    image[:, (4 * index) % width : (4 * index) % width + 4] = 250
    return image


@pytest.fixture
def face_frames() -> Callable[..., list[np.ndarray]]:
    """``face_frames(n)``: RGB 320x240 frames of a photograph under a slowly moving camera."""

    def make(n: int = 8, scale: float = 0.75, empty: tuple[int, ...] = ()) -> list[np.ndarray]:
        from skimage import data

        photo = data.astronaut()
        frames = []
        for index in range(n):
            matrix = np.array([[scale, 0, -60.0 + index], [0, scale, -10.0 + index / 2]])
            frame = cv2.warpAffine(photo, matrix, (320, 240))
            frames.append(np.full_like(frame, 90) if index in empty else frame)
        return frames

    return make


@pytest.fixture(scope="session")
def shared(absent: Callable[[str, str], None]) -> Path:
    """The folder of real clips beside the checkout; the test is skipped where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        absent("shared", "no shared data beside this checkout")
    return folder


@pytest.fixture(scope="session")
def absent() -> Callable[[str, str], None]:
    """Skip a test; or fail it where the variable FACER_EXPECT (``shared,chromium``) names it."""

    def leave(what: str, reason: str) -> None:
        if what in os.environ.get("FACER_EXPECT", "").split(","):
            pytest.fail(f"{reason}, and FACER_EXPECT says that there is {what}")
        pytest.skip(reason)

    return leave


PROVENANCE = Provenance("det", "d" * 64, "rec", "r" * 64)


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """``planted(n)``: paths of a store of n clips and of labels that follow au12 and au26."""

    def make(
        n: int = 24, header: str = "clip_id,split,joy,awe", seed: int = 0,
        names: Sequence[str] = FEATURE_NAMES,
    ) -> tuple[str, str]:  # fmt: skip
        rng = np.random.default_rng(seed)
        store = FeatureStore.create(tmp_path / "planted.zarr", PROVENANCE, feature_names=names)
        lines, entries = [header], []
        for index in range(n):
            joy, awe = rng.random(2)
            entries.append(_planted_clip(f"clip-{index:02d}", joy, awe, rng))
            split = ("train", "train", "val", "test")[index % 4]
            lines.append(f"clip-{index:02d},{split},{joy:.4f},{awe:.4f}")
        store.write_part(entries)
        labels = tmp_path / "labels.csv"
        labels.write_text("\n".join(lines) + "\n")
        return str(tmp_path / "planted.zarr"), str(labels)

    return make


def _planted_clip(
    clip_id: str, joy: float, awe: float, rng: np.random.Generator
) -> tuple[Record, ClipFeatures]:
    """One clip of a store in which au12 shows joy and au26 awe."""
    n = int(rng.integers(8, 20))
    features = rng.normal(0, 0.05, (n, len(FEATURE_NAMES))).astype(np.float32)
    features[:, FEATURE_NAMES.index("au12")] += joy
    features[:, FEATURE_NAMES.index("au26")] += awe
    valid = np.ones(n, bool)
    arrays = ClipFeatures(
        features=features,
        timestamp_s=np.arange(n) / 25.0,
        valid=valid,
        det_score=np.ones(n, np.float32),
        bbox_px=np.ones((n, 4), np.float32),
        keypoints_px=np.ones((n, 5, 2), np.float32),
        n_faces=np.ones(n, np.int16),
    )
    return Record(clip_id, "ok", n, n_valid=n, fps=25.0, source=f"{clip_id}.mp4"), arrays


@pytest.fixture
def copy_store() -> Callable[..., str]:
    """``copy_store(path, new, change)``: the same clips, each changed by a function."""

    def make(
        path: str,
        new: Path,
        change: Callable[[ClipFeatures], ClipFeatures] = lambda clip: clip,
        provenance: Provenance = PROVENANCE,
    ) -> str:
        store = FeatureStore.open(path)
        other = FeatureStore.create(new, provenance)
        other.write_part([(store.record(c), change(store.read(c))) for c in store.clip_ids])
        return str(new)

    return make


MESH_PLACES = {33: (-0.5, 0), 133: (-0.2, 0), 362: (0.2, 0), 263: (0.5, 0), 61: (-0.25, 0.85),
          291: (0.25, 0.85), 1: (0, 0.5), 4: (0, 0.48), 13: (0, 0.85), 14: (0, 0.9)}  # fmt: skip
MESH_PLACES |= {159: (-0.35, -0.05), 145: (-0.35, 0.05), 386: (0.35, -0.05), 374: (0.35, 0.05)}
"""Where some points of the face mesh lie, in distances between the outer eye corners."""


@pytest.fixture(scope="session")
def geometry_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face of 478 points whose unit 12 raises the corners of the mouth, and 1 the forehead."""
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(0)
    xy = rng.uniform([-0.8, -0.6], [0.8, 1.3], (478, 2))
    for point, place in MESH_PLACES.items():
        xy[point] = place
    neutral = np.column_stack([xy, 0.5 - 0.5 * (xy**2).sum(1)]).astype(np.float32)
    left = np.zeros((17, 478, 3), np.float32)
    for unit, (x, y) in {12: (0.25, 0.85), 1: (0.15, -0.3)}.items():
        near = np.exp(-((neutral[:, 0] - x) ** 2 + (neutral[:, 1] - y) ** 2) / 0.02)
        left[ACTION_UNITS.index(unit), :, 1] = -0.12 * near
    right = left.copy()
    for unit, (x, y) in {12: (-0.25, 0.85), 1: (-0.15, -0.3)}.items():
        near = np.exp(-((neutral[:, 0] - x) ** 2 + (neutral[:, 1] - y) ** 2) / 0.02)
        right[ACTION_UNITS.index(unit), :, 1] = -0.12 * near
    order = np.array(ACTION_UNITS)[::-1]  # another order than facer's
    path = tmp_path_factory.mktemp("units") / "displacements.npz"
    np.savez(
        path, au=order, use=np.array(["good" if unit in (1, 12) else "no-warp" for unit in order]),
        left=left[::-1], right=right[::-1], neutral=neutral,
        triangles=Delaunay(xy).simplices.astype(np.int32),
    )  # fmt: skip
    return path


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[list[str]]]:
    """``with full_disk(nth) as written``: the nth file finds no space; names of all so far."""

    @contextmanager
    def fill(nth: int) -> Iterator[list[str]]:
        write, written = atomic.replace_file, list[str]()

        def full(target: Path, data: bytes, new: bool = False) -> None:
            written.append(target.name)
            if len(written) == nth:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(target, data, new)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(atomic, "replace_file", full)
            yield written

    return fill


@pytest.fixture
def stopped_at_write(
    full_disk: Callable[[int], AbstractContextManager[list[str]]],
) -> Callable[..., None]:
    """``stopped_at_write(nth, writes, folder, make)``: a full disk is told in one line.

    ``writes`` are the files that ``make`` writes in turn; those before the nth are there after.
    """

    def stop(nth: int, writes: Sequence[str], folder: Path, make: Callable[[], object]) -> None:
        with (
            full_disk(nth) as written,
            pytest.raises(FacerError, match="No space left on device; free some space") as told,
        ):
            make()
        assert "\n" not in str(told.value)
        assert written == writes[:nth]
        files = {path.name for path in folder.rglob("*") if path.is_file()}
        assert files == set(written[:-1])

    return stop
