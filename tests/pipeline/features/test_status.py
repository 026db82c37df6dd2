"""What ``facer check`` finds between labels and a store."""

import json
import subprocess
import sys

import numpy as np
import pytest

from facer.pipeline.features.inspect.status import store_status
from facer.pipeline.intensity.check import HUME_REACTION_SPLITS, check_labels
from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record, read_labels
from facer.storage.errors import FacerError
from facer.storage.schema import Status
from tests.support import some

NAMES = "Adoration,Amusement,Anxiety,Disgust,Empathic-Pain,Fear,Surprise"


def entry(clip_id, frames, face=True):
    valid = np.full(frames, face)

    def measured(*shape):
        return np.full((frames, *shape), 0.5 if face else np.nan, np.float32)

    clip = ClipFeatures(
        measured(len(FEATURE_NAMES)), np.arange(frames) / 30, valid, measured(), measured(4),
        measured(5, 2), valid.astype(np.int16),
    )  # fmt: skip
    status: Status = "ok" if face else "no_face"
    return Record(clip_id, status, frames, n_valid=int(valid.sum())), clip


@pytest.fixture
def store(tmp_path):
    store = FeatureStore.create(tmp_path / "s.zarr", Provenance("d", "d" * 64, "r", "r" * 64))
    broken = Record("broken", "failed", 0, reason="not a video")
    clips = [entry(name, 5) for name in ("train/1", "a/2", "b/2", "3", "5", "extra")]
    store.write_part([*clips, entry("blind", 4, face=False), entry("long", 12), (broken, None)])
    return store


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    rows = ["clip_id,split,joy,awe", "[1],train,0.1,0.2", "2,train,0.1,0.2", "3,val,0.1,",
            "blind,val,0.3,0.4", "broken,train,0.1,0.2", "ghost,test,0.1,0.2", "long,test,0.1,0.3",
            "5,test,,"]  # fmt: skip
    path.write_text("\n".join(rows) + "\n")
    return read_labels(path)


def test_all_that_does_not_fit_is_listed(store, labels):
    found = check_labels(store, labels, t=10)
    assert found.labels_without_clip == ("ghost",)
    assert found.clips_without_label == ("extra",)
    assert found.ambiguous == (("2", ("a/2", "b/2")),)
    assert found.failed == ("broken",)
    assert found.no_face == ("blind",)
    assert found.without_targets == ("5",)
    assert found.overlong == ("long",)
    counts = {split: (n.rows, n.joined, n.usable) for split, n in found.splits.items()}
    assert counts == {"train": (3, 2, 1), "val": (2, 2, 1), "test": (3, 2, 1)}
    assert not found.hume_reaction
    again = json.loads(json.dumps(found.to_json()))
    assert again["splits"]["train"] == {"rows": 3, "joined": 2, "usable": 1, "published": None}
    assert again["ambiguous"] == {"2": ["a/2", "b/2"]}


def test_labels_without_splits_are_counted_together(store, tmp_path):
    (tmp_path / "x.csv").write_text("clip_id,joy\n3,0.5\n5,0.1\n")
    found = check_labels(store, read_labels(tmp_path / "x.csv"))
    assert found.usable == {"": 2}


@pytest.mark.parametrize("missing", [0, 3])
def test_counts_of_hume_reaction_stand_beside(store, tmp_path, missing):
    rows, number = [f"File_ID,{NAMES},Age,Country,Split"], 0
    for split, word in (("train", "Train"), ("val", "Val"), ("test", "Test")):
        cells = "," * 6 if split == "test" else "0.1,0.2,0.3,0.4,0.5,0.6,0.7"
        for _ in range(HUME_REACTION_SPLITS[split] - missing):
            number += 1
            rows.append(f"[{number}],{cells},30,ZA,{word}")
    (tmp_path / "data_info.csv").write_text("\n".join(rows) + "\n")
    found = check_labels(store, read_labels(tmp_path / "data_info.csv"))
    assert found.hume_reaction
    published = {split: n.published for split, n in found.splits.items()}
    assert published == {"train": 15_806, "val": 4_657, "test": 4_604}
    assert {s: some(n.published) - n.rows for s, n in found.splits.items()} == dict.fromkeys(
        published, missing
    )


def test_labels_of_nothing_are_explained(store, tmp_path):
    (tmp_path / "x.csv").write_text("clip_id,joy\nvideo_9,0.5\n")
    with pytest.raises(FacerError, match=r"none of its 1 ids .* 'video_9'"):
        check_labels(store, read_labels(tmp_path / "x.csv"))


def test_status_counts_clips_frames_and_failures(store):
    found = store_status(store)
    assert found.clips == {"ok": 7, "no_face": 1, "failed": 1}
    assert (found.frames, found.face_frames) == (46, 42)
    assert found.failures == (("broken", "not a video"),)


WRITER = """
import sys
import numpy as np
from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Record

def entry(clip_id, frames):
    n, valid = frames, np.ones(frames, bool)
    one = lambda *shape: np.ones((n, *shape), np.float32)
    clip = ClipFeatures(one(len(FEATURE_NAMES)), np.arange(n) / 30, valid, one(), one(4),
                        one(5, 2), valid.astype(np.int16))
    return Record(clip_id, "ok", n, n_valid=n), clip

store = FeatureStore.open(sys.argv[1])
for again in range(2):
    for part in range(20):
        broken = Record(f"{part}/broken", "failed", 0, reason="not a video")
        clips = [entry(f"{part}/{name}", 3 + again) for name in range(2)]
        store.write_part([*clips, (broken, None)])
"""
"""Writes 20 parts of three clips, then all of them again with one frame more a clip."""


def test_status_is_right_at_any_moment_while_another_process_writes(tmp_path):
    path = tmp_path / "live.zarr"
    FeatureStore.create(path, Provenance("d", "d" * 64, "r", "r" * 64))
    seen = [store_status(FeatureStore.open(path))]
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
        while writer.poll() is None:
            seen.append(store_status(FeatureStore.open(path)))
    seen.append(store_status(FeatureStore.open(path)))
    assert writer.returncode == 0
    for status in seen:  # parts are there as a whole, and clips written again count once
        n_parts = status.clips["failed"]
        assert status.clips == {"ok": 2 * n_parts, "no_face": 0, "failed": n_parts}
        assert status.frames == status.face_frames
        assert 6 * n_parts <= status.frames <= 8 * n_parts
        assert status.frames == 6 * n_parts or n_parts == 20
        assert len(status.failures) == n_parts
    frames = [status.frames for status in seen]
    assert frames == sorted(frames)
    assert (frames[0], frames[-1]) == (0, 160)
    assert len(set(frames)) > 5
