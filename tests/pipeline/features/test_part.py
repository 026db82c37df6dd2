"""A part in its worker: what others have done is left alone, other weights are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from facer.pipeline.features.part import PartTask, extract_part, load_extractor, record_failure
from facer.pipeline.features.pending import ClipTask
from facer.stages.features.config import ExtractConfig
from facer.stages.features.extraction import ClipSequence, Extraction
from facer.stages.features.extractor import Extractor
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import ClipFeatures


@pytest.fixture
def task(make_video: Callable[..., Path], tmp_path: Path) -> PartTask:
    for name in "ab":
        make_video(f"videos/{name}.mp4", 3)
    config = ExtractConfig(device="cpu", batch_size=4)
    clips = tuple(ClipTask(name, f"{name}.mp4") for name in "ab")
    provenance = load_extractor(config).provenance
    place = (str(tmp_path / "videos"), str(tmp_path / "s.zarr"))
    FeatureStore.create(place[1], provenance)
    return PartTask(*place, provenance, config, clips, threads=1, shares_gpus=False)


def parts(task: PartTask) -> list[str]:
    return sorted(path.parent.name for path in Path(task.store).glob("parts/*/zarr.json"))


def test_clips_that_another_run_has_committed_are_left(task: PartTask) -> None:
    (first,) = extract_part(replace(task, clips=task.clips[:1]))
    records = extract_part(task)
    assert [(r.clip_id, bool(r.part)) for r in records] == [("a", True), ("b", False)]
    assert replace(records[0], part="", fps=0) == replace(first, fps=0)
    before = parts(task)
    assert [r.part for r in extract_part(task)] == before  # nothing is left to do
    assert parts(task) == before


def test_a_clip_is_replaced_once(task: PartTask) -> None:
    extract_part(task)
    (old,) = parts(task)
    again = replace(task, clips=(ClipTask("a", "a.mp4", replaces=old),))
    assert extract_part(again)[0].part == ""
    assert extract_part(again)[0].part == parts(task)[-1]  # another run did it
    assert len(parts(task)) == 2


def test_a_store_that_was_made_anew_is_not_taken_for_the_old_one(task: PartTask) -> None:
    extract_part(task)
    Path(task.store).rename(f"{task.store}.old")
    FeatureStore.create(task.store, task.provenance)
    assert [r.part for r in extract_part(task)] == ["", ""]
    assert FeatureStore.open(task.store).clip_ids == ("a", "b")


def test_a_store_that_names_the_same_weights_otherwise_is_the_same(task: PartTask) -> None:
    Path(task.store).rename(f"{task.store}.old")
    FeatureStore.create(task.store, replace(task.provenance, detector="detector"))
    assert task.provenance.detector == "facer-det"
    extract_part(task)
    assert FeatureStore.open(task.store).clip_ids == ("a", "b")


def test_a_host_that_does_not_see_the_store_makes_none_of_its_own(task: PartTask) -> None:
    Path(task.store).rename(f"{task.store}.elsewhere")
    with pytest.raises(FacerError, match=r"host \S+: the run's store cannot be read there"):
        extract_part(task)
    assert not Path(task.store).exists()


def test_another_store_under_the_same_path_is_refused(task: PartTask) -> None:
    Path(task.store).rename(f"{task.store}.elsewhere")
    FeatureStore.create(task.store, replace(task.provenance, frame_policy="one of 2 frames"))
    with pytest.raises(FacerError, match=r"host \S+: .*found another store than the run's"):
        extract_part(task)
    assert parts(task) == []


def test_a_worker_with_another_facer_is_refused_when_it_joins_late(task: PartTask) -> None:
    other = replace(task, provenance=replace(task.provenance, facer_version="0.0.9"))
    with pytest.raises(FacerError, match=r"host \S+: found facer .*, expected 0\.0\.9; install"):
        extract_part(other)
    assert parts(task) == []


def test_an_interrupt_commits_the_clips_that_are_finished(
    task: PartTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Extractor.run

    def interrupted(*arguments: Any) -> Iterator[Any]:
        yield next(real(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(Extractor, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract_part(task)
    assert FeatureStore.open(task.store).clip_ids == ("a",)


@pytest.mark.parametrize("model", ["detector", "REC", "points model"])
def test_other_weights_on_a_host_are_refused(task: PartTask, model: str) -> None:
    here = task.provenance
    other = {
        "detector": replace(here, detector_sha256="f" * 64),
        "REC": replace(here, rec_sha256="f" * 64),
        "points model": replace(here, settings={**here.settings, "points_sha256": "f" * 64}),
    }[model]
    message = rf"host \S+: found .*, expected .*{model}[^(]*\(ffffffffffff\).*; give all hosts"
    with pytest.raises(FacerError, match=message):
        extract_part(replace(task, provenance=other))
    assert parts(task) == []


def test_a_device_that_a_host_lacks_is_told_by_host(task: PartTask) -> None:
    with pytest.raises(FacerError, match=r"host \S+: device cuda:99"):
        extract_part(replace(task, extract=replace(task.extract, device="cuda:99")))


def test_videos_that_are_gone_stop_the_run(task: PartTask) -> None:
    Path(task.video_dir).rename(f"{task.video_dir}.unmounted")
    with pytest.raises(FacerError, match=r"videos: the videos cannot be read: .*; run the same"):
        extract_part(task)
    assert parts(task) == []


def test_an_unmounted_share_leaves_an_empty_folder(task: PartTask) -> None:
    for path in Path(task.video_dir).iterdir():
        path.unlink()
    with pytest.raises(FacerError, match=r"videos: is empty now.*; run the same") as error:
        extract_part(task)
    assert not str(error.value).startswith("host")
    with pytest.raises(FacerError, match=r"^host \S+: .*is empty now"):
        extract_part(replace(task, shares_gpus=True))
    assert parts(task) == []


def test_giving_up_says_why(task: PartTask) -> None:
    (record,) = record_failure(replace(task, clips=task.clips[:1]), ValueError("bad\nluck"))
    assert (record.status, record.reason) == ("failed", "ValueError: bad")
    assert len(FeatureStore.open(task.store).record("a").source_sha256) == 64


@pytest.fixture
def crowd(task: PartTask) -> PartTask:
    """The task under --face all."""
    assert isinstance(task.extract, ExtractConfig)
    config = replace(task.extract, face="all")
    provenance = load_extractor(config).provenance
    store = f"{task.store[:-5]}-all.zarr"
    FeatureStore.create(store, provenance)
    return replace(task, extract=config, provenance=provenance, store=store)


def sequences_of(numbers: dict[str, int]) -> Callable[..., Iterator[Extraction]]:
    """An Extractor.run that gives so many sequences of each video; 0 is a failure."""

    def run(_self: Extractor, paths: Sequence[Path], *_: object) -> Iterator[Extraction]:
        for path in paths:
            n = numbers[path.name]
            found = tuple(ClipSequence(face_clip(), number) for number in range(n))
            yield Extraction(found, "" if n else "broken")

    return run


def face_clip() -> ClipFeatures:
    return ClipFeatures(
        features=np.ones((3, 26), np.float32),
        timestamp_s=np.arange(3) / 25,
        valid=np.ones(3, np.bool_),
        det_score=np.ones(3, np.float32),
        bbox_px=np.ones((3, 4), np.float32),
        keypoints_px=np.ones((3, 5, 2), np.float32),
        n_faces=np.ones(3, np.int16),
    )


def test_records_are_looked_through_as_often_for_one_clip_as_for_more(
    crowd: PartTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Extractor, "run", sequences_of({"a.mp4": 1, "b.mp4": 1}))
    looked, records = [0], vars(FeatureStore)["records"].fget

    def counted(store: FeatureStore) -> Any:
        looked[0] += 1
        return records(store)

    monkeypatch.setattr(FeatureStore, "records", property(counted))
    counts = []
    for clips in (crowd.clips[:1], (crowd.clips[1], ClipTask("c", "b.mp4"))):
        looked[0] = 0
        extract_part(replace(crowd, clips=clips))
        counts.append(looked[0])
    assert counts[0] == counts[1]


def test_every_face_is_a_sequence_of_its_own(
    crowd: PartTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Extractor, "run", sequences_of({"a.mp4": 2, "b.mp4": 0}))
    records = extract_part(crowd)
    assert [(r.clip_id, r.status) for r in records] == [
        ("a#0", "ok"), ("a#1", "ok"), ("b#0", "failed"),
    ]  # fmt: skip
    assert [r.track_switches for r in records] == [0, 1, 0]
    assert [bool(r.part) for r in extract_part(crowd)] == [True] * 3  # nothing is left to do
    assert len(parts(crowd)) == 1


def test_sequences_that_are_not_found_again_have_no_face_any_more(
    crowd: PartTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Extractor, "run", sequences_of({"a.mp4": 3, "b.mp4": 1}))
    extract_part(crowd)
    (old,) = parts(crowd)
    again = replace(crowd, clips=(ClipTask("a", "a.mp4", replaces=old),))
    monkeypatch.setattr(Extractor, "run", sequences_of({"a.mp4": 1}))
    extract_part(again)
    store = FeatureStore.open(crowd.store)
    assert {r.clip_id: r.status for r in store.records} == {
        "a#0": "ok", "a#1": "no_face", "a#2": "no_face", "b#0": "ok",
    }  # fmt: skip
    assert np.isnan(store.read("a#2").features).all()
    assert all(r.part for r in extract_part(again))  # done, and known as done
    monkeypatch.setattr(Extractor, "run", sequences_of({"a.mp4": 0}))
    extract_part(replace(again, clips=(ClipTask("a", "a.mp4", replaces=parts(crowd)[-1]),)))
    store.refresh()
    assert {r.status for r in store.records if r.clip_id.startswith("a")} == {"failed"}


def test_the_callers_threads_are_restored(task: PartTask) -> None:
    """A notebook that extracts goes on with as many as it had."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(3)
    cv2.setNumThreads(3)
    try:
        extract_part(task)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 3)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
