"""The page that specifies the store says what is true."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facer.storage import STORE_VERSION, FeatureStore
from facer.storage.errors import DamagedError
from facer.storage.layout.documents import sealed_group_json
from facer.storage.layout.parts import LAYOUT
from facer.storage.layout.records import record_row

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "store-format.md").read_text(encoding="utf-8")


def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "tests" / "data" / "store-v1.zarr", tmp_path / "features.zarr")
    monkeypatch.chdir(tmp_path)
    plain, facer = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, Any] = {}
    exec(plain, found)
    np.testing.assert_array_equal(found["au12"], [1, np.nan, 7, 10])
    assert found["valid"].tolist() == [True, False, True, True]
    exec(facer, found)
    assert found["every"].features.shape == (6, 2)


def test_the_table_of_arrays_is_the_layout() -> None:
    for name, (dtype, dimensions, _) in LAYOUT.items():
        assert re.search(rf"\| `{name}` \| \(N.*\) \| {dtype} \| {', '.join(dimensions)} \|", PAGE)


def test_every_key_of_a_record_is_described(store: FeatureStore) -> None:
    for key in record_row(store.records[0]):
        assert f"`{key}`" in PAGE


def test_the_version_is_described() -> None:
    assert f"# The feature store, version {STORE_VERSION}" in PAGE


def test_a_later_version_may_say_more_of_its_making(store: FeatureStore) -> None:
    root = Path(store.path) / "zarr.json"
    said = json.loads(root.read_bytes())["attributes"]
    del said["checksum"]
    said["provenance"]["licence"] = ["CC0"]
    root.write_bytes(sealed_group_json(said))
    assert FeatureStore.open(store.path).provenance == store.provenance
    del said["provenance"]["detector"]
    root.write_bytes(sealed_group_json(said))
    with pytest.raises(DamagedError, match="detector"):
        FeatureStore.open(store.path)
