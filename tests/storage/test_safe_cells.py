"""No cell of text that facer writes is a formula, and reading takes nothing else away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facer.storage import FEATURE_NAMES, FeatureStore
from facer.storage.exchange import bids
from facer.storage.exchange.logs import facereader, imotions
from facer.storage.exchange.tables import export_store
from facer.storage.files.cells import plain_cell, safe_cell
from facer.storage.files.csv_table import read_table
from facer.storage.labels.predictions import read_predictions, write_predictions


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+A1", "-cmd|x", "@SUM(A1)", "\tx", "\rx", "\t", "\r", "\t5", "'=x", "''-y"],
)
def test_formulas_are_neutralised(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize("text", ["", "a=b", "-1.5", "+3e4", "'quoted'", "train/1", "[10]", "1-2"])
def test_other_text_and_numbers_stay(text: str) -> None:
    assert safe_cell(text) == text == plain_cell(text)


@given(st.text())
def test_it_is_reversible(text: str) -> None:
    assert plain_cell(safe_cell(text)) == text
    assert not safe_cell(text).startswith(("=", "@", "\t", "\r"))


def test_predictions_come_back(tmp_path: Path) -> None:
    ids, names = ("=cmd|' /C calc'!A0", "-x", "-3", "plain"), ("@joy", "sad")
    values = np.arange(8, dtype=np.float32).reshape(4, 2) - 3
    write_predictions(tmp_path / "p.csv", "plain", ids, names, values)
    for line in (tmp_path / "p.csv").read_text().splitlines():
        assert line.strip('"')[0] not in "=@+"
    found = read_predictions(tmp_path / "p.csv")
    assert (found.clip_ids, found.names) == (ids, names)
    np.testing.assert_array_equal(found.values, values)
    assert read_table(tmp_path / "p.csv").header == ("clip_id", "@joy", "sad")


def test_features_of_a_stranger_are_no_formulas_in_a_table(
    tmp_path: Path, provenance: Any, make_entry: Any
) -> None:
    store = FeatureStore.create(tmp_path / "s", provenance, feature_names=["=1+1", 'a"b'])
    store.write_part([make_entry("a", 2, columns=2)])
    export_store(store, tmp_path / "long.csv", long=True)
    assert set(read_table(tmp_path / "long.csv").column(5)) == {"=1+1", 'a"b'}
    header = imotions(store.read("a"), store.feature_names, 0.0).splitlines()[0]
    assert header == "timestamp,'=1+1,a'b"
    for text in ((tmp_path / "long.csv").read_text(), header):
        assert ",=" not in text


def test_names_are_no_formulas_in_the_files_of_other_tools(make_entry: Any) -> None:
    record, clip = make_entry("=a", 2)
    texts = [
        bids.participants({"a": "=a"})["participants.tsv"],
        bids.events([(0.0, 1.0, "=a")]),
        facereader(replace(record, source="=a", fps=25.0), clip, FEATURE_NAMES, "=a"),
    ]
    for text in texts:
        assert "\t'=a" in text
        assert "\t=" not in text
