"""A part that zarr-python or xarray wrote again is read, and is known to be whole."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from facer.storage import FacerError, FeatureStore
from facer.storage.verify import verify_store
from tests.support import zarr_values

Make = Callable[..., Any]
ARRAYS = ("features", "timestamp_s", "valid", "det_score", "bbox_px", "keypoints_px", "n_faces")


def part_of(store: FeatureStore, clip_id: str) -> Path:
    return Path(store.path) / "parts" / store.record(clip_id).part


def write_again(part: Path, name: str, **options: Any) -> None:
    values = zarr_values(part / name)
    shutil.rmtree(part / name)
    zarr.create_array(part / name, data=values, **options)


LAYOUTS: dict[str, dict[str, Any]] = {
    "as zarr does by itself": {},
    "rechunked": {"chunks": 2},
    "one chunk": {"chunks": 10, "compressors": ZstdCodec(level=9)},
    "gzip": {"compressors": GzipCodec()},
    "blosc": {"compressors": BloscCodec()},
    "not compressed": {"compressors": None},
    "big endian": {"serializer": zarr.codecs.BytesCodec(endian="big")},
    "sharded": {"chunks": 2, "shards": 4, "compressors": GzipCodec()},
    "transposed": {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]},
    "other keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("version", [1, 2])
def test_an_array_in_another_layout(
    store: FeatureStore, same_clip: Make, layout: str, version: int
) -> None:
    if version == 1:
        store = as_version_1(store)
    expected = {clip_id: store.read(clip_id) for clip_id in ("a", "b/1", "c")}
    options = dict(LAYOUTS[layout])
    for name in ("chunks", "shards"):
        if name in options:
            options[name] = (options[name], 26)
    write_again(part_of(store, "a"), "features", **options)
    found = FeatureStore.open(store.path)
    for clip_id, clip in expected.items():
        same_clip(found.read(clip_id), clip)
    loaded = found.load(["c", "b/1", "a"])
    rows = np.concatenate([expected[clip].features for clip in ("c", "b/1", "a")])
    np.testing.assert_array_equal(loaded.features, rows)
    report = verify_store(found, 1)
    assert set(report.clips.values()) == {"whole"}
    assert version == 1 or report.parts[0].relaid == ("features",)


def as_version_1(store: FeatureStore) -> FeatureStore:
    for path in [Path(store.path) / "zarr.json", *Path(store.path).glob("parts/*/zarr.json")]:
        group = json.loads(path.read_text())
        attributes = group["attributes"]
        for name in {"checksum", "arrays"} & set(attributes):
            del attributes[name]
        if "version" in attributes:
            attributes["version"] = 1
        path.write_text(json.dumps(group))
    return FeatureStore.open(store.path)


def test_consolidated_parts(store: FeatureStore, same_clip: Make) -> None:
    expected = store.read("a")
    for path in (part_of(store, "a"), Path(store.path) / "parts", Path(store.path)):
        with pytest.warns(UserWarning, match="Consolidated metadata"):
            zarr.consolidate_metadata(path)
    found = FeatureStore.open(store.path)
    same_clip(found.read("a"), expected)
    assert not found.damaged
    report = verify_store(found, 1)
    assert (report.group, [part.state for part in report.parts]) == ("", ["whole"] * 2)


def test_a_part_that_xarray_wrote(store: FeatureStore, same_clip: Make) -> None:
    xarray = pytest.importorskip("xarray")
    expected = {clip_id: store.read(clip_id) for clip_id in ("a", "b/1")}
    part = part_of(store, "a")
    part.rename(part.with_name(".aside"))
    opened = xarray.open_zarr(part.with_name(".aside"), consolidated=False)
    opened.to_zarr(part, zarr_format=3, consolidated=False)
    found = FeatureStore.open(store.path)
    for clip_id, clip in expected.items():
        same_clip(found.read(clip_id), clip)
    np.testing.assert_array_equal(found.load(["a"]).features, expected["a"].features)
    report = verify_store(found, 1)
    assert set(report.clips.values()) == {"whole"}
    assert report.parts[0].relaid


def test_other_values_in_another_layout_are_damage(store: FeatureStore) -> None:
    part = part_of(store, "a")
    write_again(part, "features", chunks=(2, 26))
    zarr.open_array(part / "features", mode="r+")[3, 4] = 1.5
    found = FeatureStore.open(store.path)
    for read in (lambda: found.read("a"), lambda: found.load(["a"])):
        with pytest.raises(FacerError, match=r"features: broken part: its values are not those"):
            read()
    assert verify_store(found, 1).clips["a"] == "damaged"


@pytest.mark.parametrize("ours", [True, False])
def test_a_small_chunk_that_unpacks_to_much_is_not_unpacked(
    store: FeatureStore, ours: bool
) -> None:
    part = part_of(store, "a")
    if not ours:
        write_again(part, "features", chunks=(5, 26))
    (chunk,) = part.glob("features/c/0/0")
    chunk.write_bytes(zstd(2**29))
    assert chunk.stat().st_size < 100_000
    message = "bytes or more, expected at most" if ours else "a chunk of 536870912 bytes"
    with pytest.raises(FacerError, match=message):
        FeatureStore.open(store.path).read("a")


@pytest.mark.parametrize("compressor", [GzipCodec(), ZstdCodec()], ids=["gzip", "zstd"])
def test_what_follows_the_first_frame_of_a_chunk_counts_too(
    store: FeatureStore, compressor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = part_of(store, "a")
    write_again(part, "features", chunks=(10, 26), compressors=compressor)
    bomb = gzip.compress(bytes(2**29)) if isinstance(compressor, GzipCodec) else zstd(2**29)
    (chunk,) = part.glob("features/c/0/0")
    chunk.write_bytes(chunk.read_bytes() + bomb)
    monkeypatch.setattr("facer.storage.layout.relaid._read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(FacerError, match=r"a chunk of \d+ bytes|buffer (is )?too small"):
        FeatureStore.open(store.path).read("a")


def zstd(size: int) -> bytes:
    return bytes(Zstd().encode(bytes(size)))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [10**13, 26]},
        {"shape": [10, 10**13]},
        {"shape": [1e13, 26]},
        {"shape": "much"},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**13, 26]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 26]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 10**9]}}},
        {"chunk_grid": []},
        {"codecs": []},
        {"codecs": [[[]]]},
        {"data_type": {"name": "x"}},
        {"chunk_key_encoding": 3},
        {"attributes": 3},
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_metadata_of_strangers_is_one_line(
    store: FeatureStore, changes: dict[str, Any], version: int
) -> None:
    if version == 1:
        store = as_version_1(store)
    path = part_of(store, "a") / "features" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    store = FeatureStore.open(store.path)
    for read in (lambda: store.read("a"), lambda: store.load(["a"])):
        try:
            read()
        except FacerError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert len(str(error)) < 1000  # noqa: PT017
        else:
            assert changes == {"attributes": 3}
    assert verify_store(store, 1).parts[1].state == "whole"


@pytest.mark.parametrize("version", [1, 2])
def test_a_chunk_that_another_program_wrote_and_that_is_lost(
    store: FeatureStore, version: int
) -> None:
    if version == 1:
        store = as_version_1(store)
    part = part_of(store, "a")
    for name, options in (("timestamp_s", {"chunks": 4}), ("bbox_px", {"chunks": (4, 4)})):
        write_again(part, name, compressors=GzipCodec(), fill_value=7, **options)
    assert verify_store(FeatureStore.open(store.path), 1).clips["a"] == "whole"
    (part / "timestamp_s/c/1").unlink()
    found = FeatureStore.open(store.path)
    with pytest.raises(FacerError, match="broken part"):
        found.read("a")
    assert verify_store(found, 1).clips["a"] == ("absent" if version == 1 else "damaged")


def test_frames_without_a_face_that_another_program_left_out(
    store: FeatureStore, same_clip: Make
) -> None:
    store = as_version_1(store)
    expected, part = store.read("c"), part_of(store, "c")
    for name in ("valid", "n_faces"):
        write_again(part, name, compressors=GzipCodec())
        assert not (part / name / "c").exists()
    write_again(part, "features", compressors=GzipCodec(), fill_value=float("nan"))
    same_clip(FeatureStore.open(store.path).read("c"), expected)
