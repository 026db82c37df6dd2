"""Verify reads everything and says clip by clip what is not whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zarr

from facer.storage import FeatureStore, Provenance
from facer.storage.compact import compact
from facer.storage.layout import arrays as arrays_module
from facer.storage.layout.documents import sealed_group_json
from facer.storage.verify import verify_store
from tests.support import zarr_values

GOLDEN = Path(__file__).parents[1] / "data"
Make = Callable[..., Any]


def part_of(store: FeatureStore, clip_id: str) -> Path:
    return Path(store.path) / "parts" / store.record(clip_id).part


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("version", [1, 2])
def test_the_golden_stores_are_whole(version: int) -> None:
    found = verify_store(FeatureStore.open(GOLDEN / f"store-v{version}.zarr"), 2)
    assert set(found.clips.values()) == {"whole"}
    assert len(found.clips) == 3
    assert (found.group, [part.reasons for part in found.parts]) == ("", [[], []])


@pytest.mark.parametrize(
    ("damage", "state", "reason"),
    [
        (lambda part: spoil(part / "bbox_px/c/0/0"), "damaged", "this chunk is damaged"),
        (lambda part: (part / "bbox_px/c/0/0").unlink(), "absent", "this chunk is missing"),
        (lambda part: shutil.rmtree(part / "n_faces"), "absent", "found no array 'n_faces'"),
        (lambda part: (part / "n_faces/zarr.json").write_text("["), "damaged", "not that of an"),
        (lambda part: (part / "n_faces/zarr.json").write_text("{}"), "damaged", "layout is not"),
        (lambda part: spoil(part / "zarr.json"), "damaged", "no sound list of records"),
        (lambda part: os.truncate(part / "zarr.json", 0), "damaged", "no sound list of records"),
        (lambda part: os.mkfifo(part / "x") or (part / "x").replace(part / "valid/c/0"),
         "damaged", "found a folder, pipe or device"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_told(
    store: FeatureStore, damage: Callable[[Path], Any], state: str, reason: str
) -> None:
    damage(part_of(store, "a"))
    found = verify_store(FeatureStore.open(store.path), 1)
    first, second = found.parts
    assert (first.state, second.state, second.reasons) == (state, "whole", [])
    assert reason in first.reasons[0]
    assert found.clips["c"] == "whole"
    assert found.clips.get("a", state) == state


def test_only_the_clips_of_a_damaged_chunk_are_damaged(
    store: FeatureStore, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays_module, "CHUNK_BYTES", 200)
    part = store.write_part([make_entry("x", 4), make_entry("y", 4), make_entry("z", 4)])
    chunks = Path(store.path) / "parts" / part / "features/c"
    assert len(list(chunks.iterdir())) > 3
    spoil(chunks / "0/0")
    clips = verify_store(store, 1).clips
    assert {c: clips[c] for c in "xyz"} == {"x": "damaged", "y": "whole", "z": "whole"}


def test_chunks_that_changed_places_are_told(
    store: FeatureStore, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a sound chunk, at the wrong rows."""
    monkeypatch.setattr(arrays_module, "CHUNK_BYTES", 200)
    part = Path(store.path) / "parts" / store.write_part([make_entry("x", 8)])
    one, other = part / "features/c/0", part / "features/c/1"
    one.rename(part / "aside")
    other.rename(one)
    (part / "aside").rename(other)
    report = verify_store(store, 1)
    assert report.clips["x"] == "damaged"
    assert "crc32" in report.parts[-1].reasons[0]


def test_a_part_without_records_is_neither_whole_nor_damaged(store: FeatureStore) -> None:
    (part_of(store, "a") / "zarr.json").unlink()
    first, second = verify_store(FeatureStore.open(store.path), 1).parts
    assert (first.committed, first.state, first.clip_ids) == (False, "whole", ())
    assert second.committed


def test_the_latest_part_of_a_clip_decides(store: FeatureStore, make_entry: Make) -> None:
    spoil(part_of(store, "a") / "features/c/0/0")
    assert verify_store(store, 1).clips["a"] == "damaged"
    store.write_part([make_entry("a")])
    report = verify_store(store, 1)
    assert report.clips["a"] == "whole"
    assert report.clips["b/1"] == "damaged"
    assert report.parts[0].state == "damaged"


def test_what_cannot_be_read_is_not_called_damaged(store: FeatureStore, tmp_path: Path) -> None:
    """A codec of another program, or a link, proves nothing: nothing may be dropped for it."""
    part = part_of(store, "a")
    values = zarr_values(part / "det_score")
    shutil.rmtree(part / "det_score")
    array = zarr.create_array(part / "det_score", data=values, compressors=None)
    text = (part / "det_score/zarr.json").read_text()
    (part / "det_score/zarr.json").write_text(text.replace('"bytes"', '"of-tomorrow"'))
    del array
    outside = tmp_path / "chunk"
    (part / "valid/c/0").rename(outside)
    (part / "valid/c/0").symlink_to(outside)
    report = verify_store(FeatureStore.open(store.path), 1)
    assert report.parts[0].state == "unknown"
    assert report.clips["a"] == "unknown"
    text = " ".join(report.parts[0].reasons)
    assert "zarr-python does not read it" in text
    assert "a link to a place outside" in text


def test_metadata_that_cannot_be_read_are_not_called_damaged(
    store: FeatureStore, tmp_path: Path
) -> None:
    """As without the permission: the chunks beneath are whole, and nothing may be dropped."""
    metadata = part_of(store, "a") / "features/zarr.json"
    metadata.rename(tmp_path / "outside")
    metadata.symlink_to(tmp_path / "outside")
    report = verify_store(FeatureStore.open(store.path), 1)
    assert report.parts[0].state == "unknown"


def test_the_checksum_is_as_documented(store: FeatureStore) -> None:
    """Another program computes it from what it reads with zarr alone."""
    part = part_of(store, "a")
    attributes: dict[str, Any] = dict(zarr.open_group(part, mode="r").attrs)
    covered = {"records": attributes["records"], "arrays": attributes["arrays"]}
    text = json.dumps(covered, separators=(",", ":")).encode()
    assert attributes["checksum"] == "sha256:" + hashlib.sha256(text).hexdigest()
    for name, entry in attributes["arrays"].items():
        values = zarr_values(part / name)
        assert entry["crc32"] == zlib.crc32(values.tobytes())
        metadata = (part / name / "zarr.json").read_bytes()
        assert entry["metadata"] == hashlib.sha256(metadata).hexdigest()


def test_a_part_of_another_store_is_left_out_and_told(
    store: FeatureStore, provenance: Provenance, make_entry: Make, tmp_path: Path
) -> None:
    def copied(rec_sha256: str, clip_id: str) -> str:
        made = replace(provenance, rec_sha256=rec_sha256)
        other = FeatureStore.create(tmp_path / clip_id, made, weak_features=("au11",))
        part = other.write_part([make_entry(clip_id)])
        shutil.copytree(tmp_path / clip_id / "parts" / part, Path(store.path) / "parts" / part)
        return part

    copied(provenance.rec_sha256, "same")
    part = copied("f" * 64, "other")
    store.refresh()
    assert "same" in store
    assert "other" not in store
    assert "a part of another store" in str(store.damaged[part])
    (wrong,) = verify_store(store, 1).parts_of_state("damaged")
    assert (wrong.part, wrong.clip_ids) == (part, ("other",))
    store.drop_parts([part])
    compact(store, 1 << 30)
    made = next(iter(store.parts))
    text = (Path(store.path) / "parts" / made / "zarr.json").read_text()
    assert json.loads(text)["attributes"]["arrays"]["features"]["root"] == store.root.checksum


def test_parts_that_name_no_root_are_read(store: FeatureStore) -> None:
    path = part_of(store, "a") / "zarr.json"
    attributes = json.loads(path.read_text())["attributes"]
    del attributes["checksum"], attributes["arrays"]["features"]["root"]
    path.write_bytes(sealed_group_json(attributes))
    assert set(verify_store(FeatureStore.open(store.path), 1).clips.values()) == {"whole"}
