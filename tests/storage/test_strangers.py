"""A stranger's store opens nothing outside itself, and allocates nothing that is not there."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facer.storage import FacerError, FeatureStore
from facer.storage.files.atomic import write_atomic
from facer.storage.files.json_files import read_json_object
from facer.storage.files.objects import LocalObjects
from facer.storage.layout.documents import sealed_group_json
from facer.storage.verify import verify_store

ROOTS = ("format", "version", "feature_names", "weak_features", "provenance")


def reseal(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a group as someone does who computes the checksum anew."""
    attributes = json.loads(path.read_text())["attributes"]
    del attributes["checksum"]
    change(attributes)
    path.write_bytes(sealed_group_json(attributes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 10**300}, r"version 1e\+300, expected at most 2; update facer"),
        ({"version": 2.0}, "not a feature store"),
        ({"version": -1}, "version -1"),
        ({"feature_names": "abc"}, "names abc"),
        ({"feature_names": [1, 2]}, "names"),
        ({"feature_names": ["a", "a"]}, "expected distinct names"),
        ({"weak_features": {}}, "names {}"),
        ({"weak_features": ["zz"]}, "weak features: found"),
        ({"provenance": "x"}, "damaged"),
        ({"provenance": {"detector": []}}, "damaged"),
        ({"provenance": {"settings": {"a": []}}}, "other types than text and numbers"),
        ({"format": ["facer-features"]}, "not a feature store"),
    ],
)
def test_roots_of_strangers(store: FeatureStore, changes: dict[str, Any], message: str) -> None:
    reseal(Path(store.path) / "zarr.json", lambda attributes: attributes.update(changes))
    with pytest.raises(FacerError, match=message) as refused:
        FeatureStore.open(store.path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 800


def test_a_changed_root_is_told(store: FeatureStore) -> None:
    path = Path(store.path) / "zarr.json"
    path.write_text(path.read_text().replace('"au12"', '"au13"'))
    with pytest.raises(FacerError, match=r"damaged \(what it says is not what was written"):
        FeatureStore.open(store.path)


def test_rows_that_are_not_there(store: FeatureStore) -> None:
    """Records, arrays and checksums agree on 1e13 rows, of which no chunk tells."""
    part = Path(store.path) / "parts" / store.record("c").part
    reseal(part / "zarr.json", lambda a: a["records"][0].update(stop=10**13))
    found = FeatureStore.open(store.path)
    assert found.record("c").n_frames == 10**13
    with pytest.raises(FacerError, match="expected \\(10000000000000"):
        found.read("c")
    with pytest.raises(FacerError, match="this machine has"):
        found.load(["c"])
    assert verify_store(found, 1).clips["c"] == "damaged"


def test_text_that_nobody_could_write(store: FeatureStore) -> None:
    """JSON escapes half of a character, which ended the report and the csv of a store.

    Bytes of a file's name that is not UTF-8 are read: older imports took them.
    """
    part = Path(store.path) / "parts" / store.record("c").part
    reseal(part / "zarr.json", lambda a: a["records"][0].update(clip_id="\ud83d"))
    found = FeatureStore.open(store.path)
    assert "c" not in found.clip_ids
    assert "half of a character" in str(found.damaged[part.name])
    entry = replace(store.record("a"), clip_id="\ud83d"), store.read("a")
    with pytest.raises(FacerError, match="half of a character"):
        store.write_part([entry])
    store.write_part([(replace(store.record("a"), clip_id="\U0001f600"), entry[1])])
    store.write_part([(replace(store.record("a"), clip_id="M\udcfcller"), entry[1])])
    assert {"\U0001f600", "M\udcfcller"} <= {*FeatureStore.open(store.path).clip_ids}


DEEP = {
    "list": "[" * 200_000,
    "object": '{"attributes":' * 100_000,
    "records": '{"attributes":{"records":' + "[" * 10**6,
}


@pytest.mark.parametrize("kind", [*DEEP, "NaN", '"\\ud800"', "3", "1" * 5000])
def test_json_that_is_a_bomb(store: FeatureStore, kind: str) -> None:
    text = DEEP.get(kind, kind)
    (Path(store.path) / "parts" / store.record("a").part / "zarr.json").write_text(text)
    found = FeatureStore.open(store.path)
    assert found.clip_ids == ("c",)
    assert len(found.damaged) == 1
    (Path(store.path) / "zarr.json").write_text(text)
    with pytest.raises(FacerError, match="not a Zarr v3 group"):
        FeatureStore.open(store.path)


def into_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def into_link(path: Path) -> None:
    outside = next(p for p in path.parents if p.suffix == ".zarr").with_name("outside")
    path.rename(outside)
    path.symlink_to(outside)


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def into_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def into_hole(path: Path) -> None:
    os.truncate(path, 2**40)


@pytest.mark.parametrize("make", [into_pipe, into_link, into_folder, into_device, into_hole])
@pytest.mark.parametrize("name", ["features/c/0/0", "features/zarr.json", "zarr.json", "root"])
def test_what_is_no_ordinary_file_is_told(store: FeatureStore, make: Any, name: str) -> None:
    part = Path(store.path) / "parts" / store.record("a").part
    make(Path(store.path) / "zarr.json" if name == "root" else part / name)
    with pytest.raises(FacerError) as refused:
        FeatureStore.open(store.path).read("a")
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_a_link_out(store: FeatureStore, tmp_path: Path) -> None:
    part = Path(store.path) / "parts" / store.record("a").part
    shutil.move(part, tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FacerError, match="a link to a place outside"):
        FeatureStore.open(store.path).read("a")


def test_a_link_inside_and_a_store_behind_a_link_are_read(
    store: FeatureStore, tmp_path: Path
) -> None:
    chunk = Path(store.path) / "parts" / store.record("a").part / "features/c/0/0"
    chunk.rename(chunk.with_name("aside"))
    chunk.symlink_to("aside")
    (tmp_path / "link").symlink_to(store.path)
    assert FeatureStore.open(tmp_path / "link").read("a").n_frames == 7


def test_control_characters_are_escaped_in_messages(store: FeatureStore) -> None:
    bad = "\x1b]0;title\x07\x1b[31mred\nfacer: all is well\u202e"
    with pytest.raises(FacerError) as refused:
        store.read(bad)
    assert str(refused.value).isprintable()
    assert "\\x1b" in str(refused.value)
    reason = FacerError(f"{bad}: odd")
    assert str(reason).startswith("\\x1b]0;title\\x07\\x1b[31mred\\nfacer: all is well\\u202e: odd")


@pytest.mark.parametrize(
    ("content", "message"),
    [("[" * 10**6, "nested too deep"), ("[]", "expected an object"), ("{", "not JSON")],
)
def test_config_files_of_strangers(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(FacerError, match=message):
        read_json_object(tmp_path / "config.json")


def test_folders_are_flushed_after_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: flushed.append(str(Path(f"/proc/self/fd/{file}").readlink()))
    )
    LocalObjects(tmp_path).put_many({"a/b/x": b"1", "a/y": b"2"})
    names = [str(Path(name).relative_to(tmp_path)) for name in flushed]
    assert re.fullmatch(r"a/b/\.\w+", names[0])
    assert re.fullmatch(r"a/\.\w+", names[1])
    assert names[2:] == ["a/b", "a", "."]
    flushed.clear()
    write_atomic(tmp_path / "curve.csv", "epoch\n")
    assert [Path(name).name for name in flushed][1:] == [tmp_path.name]
