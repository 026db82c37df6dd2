"""Clips and stores as tables, by name of column, and as a notebook shows them."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.storage import FEATURE_NAMES, FacerError, FeatureStore, Record


def test_a_clip_by_name_has_what_reading_it_gives(store, same_clip):
    clip, read = store["a"], store.read("a")
    for name, values in vars(read).items():
        np.testing.assert_array_equal(getattr(clip, name), values)
    np.testing.assert_array_equal(clip["au12"], read.features[:, FEATURE_NAMES.index("au12")])
    assert clip.clip_id == "a"
    assert clip.record == store.record("a")


def test_a_store_is_a_collection_of_clip_ids(store):
    assert list(store) == list(store.clip_ids) == ["a", "b/1", "broken", "c"]
    assert len(store) == 4
    assert "b/1" in store
    assert "b" not in store


def test_an_empty_store_is_true(tmp_path, provenance):
    assert FeatureStore.create(tmp_path / "e.zarr", provenance)


def test_mistyped_names_get_the_nearest_one(store):
    with pytest.raises(FacerError, match="no clip 'Brokn' among its 4; did you mean 'broken'"):
        store["Brokn"]
    with pytest.raises(FacerError, match="a: found no feature 'AU12'; did you mean 'au12'"):
        store["a"]["AU12"]
    with pytest.raises(FacerError, match="no feature 'valenc'; did you mean 'valence'"):
        store.to_dataframe(columns=["valenc"])
    with pytest.raises(FacerError, match="clip 'broken' failed: moov atom not found"):
        store["broken"]


def test_frames_of_a_store_as_a_table(store):
    pytest.importorskip("pandas")
    table = store.to_dataframe(columns=["au12", "valence"])
    assert list(table.columns) == [
        "clip_id", "frame_index", "timestamp_s", "valid", "au12", "valence",
    ]  # fmt: skip
    assert list(table.clip_id.unique()) == ["a", "b/1", "c"]
    for clip_id in ("a", "b/1", "c"):
        rows, clip = table[table.clip_id == clip_id], store[clip_id]
        assert list(rows.frame_index) == list(range(clip.n_frames))
        np.testing.assert_array_equal(rows.timestamp_s, clip.timestamp_s)
        np.testing.assert_array_equal(rows.valid, clip.valid)
        np.testing.assert_array_equal(rows.au12, clip["au12"])
        np.testing.assert_array_equal(rows.valence, clip["valence"])
        assert rows.au12.dtype == np.float32


def test_a_clip_is_the_same_table_alone(store):
    pandas = pytest.importorskip("pandas")
    table = store.to_dataframe(clip_ids=["c", "a", "a"])
    assert list(table.clip_id.unique()) == ["c", "a"]
    for columns in (None, "au12", ["au12", "valence"]):
        alone = store["a"].to_dataframe(columns)
        of_store = store.to_dataframe(columns, "a")
        pandas.testing.assert_frame_equal(alone, of_store)
    assert list(store["a"].to_dataframe().columns[4:]) == list(FEATURE_NAMES)


def test_a_store_without_frames_is_an_empty_table(tmp_path, provenance):
    pytest.importorskip("pandas")
    store = FeatureStore.create(tmp_path / "e.zarr", provenance)
    store.write_part([(Record("x", "failed", 0, reason="no"), None)])
    table = store.to_dataframe()
    assert table.shape == (0, 4 + len(FEATURE_NAMES))


def test_a_table_does_not_hold_what_others_see(store):
    pytest.importorskip("pandas")
    clip = store["a"]
    before = clip.features.copy()
    table = clip.to_dataframe()
    table.loc[:, "au12"] = 7
    np.testing.assert_array_equal(clip.features, before)


def test_a_clip_as_a_dataset(store):
    pytest.importorskip("xarray")
    data, clip = store.to_xarray("a"), store["a"]
    np.testing.assert_array_equal(data["au12"], clip["au12"])
    np.testing.assert_array_equal(data.au12.timestamp_s, clip.timestamp_s)
    np.testing.assert_array_equal(data.au12.valid, clip.valid)
    assert str(data.clip_id.values) == "a"
    assert list(data.data_vars) == list(FEATURE_NAMES)
    assert data.sel(frame_index=3).frame_index == 3


@pytest.mark.parametrize(("module", "call"), [("pandas", "to_dataframe"), ("xarray", "to_xarray")])
def test_a_missing_module_is_one_line(store, monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    for thing in (store["a"], store):
        arguments = ["a"] if call == "to_xarray" and thing is store else []
        with pytest.raises(FacerError) as told:
            getattr(thing, call)(*arguments)
        assert str(told.value) == (
            f"tables: found no {module}, expected it installed; pip install 'facer[tables]'"
        )


def test_features_cannot_take_the_names_of_a_table(tmp_path, provenance, make_entry):
    pytest.importorskip("pandas")
    pytest.importorskip("xarray")
    store = FeatureStore.create(tmp_path / "v.zarr", provenance, feature_names=("valid", "x"))
    store.write_part([make_entry("a", columns=2)])
    for call in (store.to_dataframe, store["a"].to_dataframe, store["a"].to_xarray):
        with pytest.raises(FacerError, match="features named valid"):
            call()


HOSTILE = "<script>alert(1)</script>&\x1b[31m"


def test_what_a_notebook_shows_is_escaped(tmp_path, provenance, make_entry):
    store = FeatureStore.create(tmp_path / "h.zarr", provenance)
    record, clip = make_entry(HOSTILE)
    store.write_part([(replace(record, reason="<img src=x onerror=1>"), clip)])
    for shown in (store._repr_html_(), store[HOSTILE]._repr_html_()):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "\x1b" not in shown
        assert "&lt;script&gt;" in shown
    assert "\x1b" not in repr(store[HOSTILE])


def test_a_store_shows_its_first_clips_and_counts_the_others(tmp_path, provenance, make_entry):
    store = FeatureStore.create(tmp_path / "m.zarr", provenance)
    store.write_part([make_entry(f"clip-{i:02d}") for i in range(25)])
    shown = store._repr_html_()
    assert shown.count("<tr>") == 12
    assert "clip-09" in shown
    assert "clip-10" not in shown
    assert "... and 15 more" in shown
    assert repr(store).startswith("<FeatureStore '")
    assert repr(store).endswith("25 clips (25 ok), 125 frames, 26 features>")


def test_a_clip_shows_its_curves_with_gaps(store):
    clip = store["a"]
    shown = clip._repr_html_()
    assert shown.count("<path") == 4
    assert shown.count("M") > 4 or clip.valid.all()
    assert "nan" not in shown
    assert repr(clip).startswith("<Clip 'a': 7 frames, ")
    empty = store["c"]._repr_html_()  # without a face
    assert "nan" not in empty
    assert 'd=""' in empty


def test_the_store_of_an_earlier_version_by_name():
    path = Path(__file__).parents[2] / "data" / "store-v1.zarr"
    store = FeatureStore.open(path)
    ok = next(r.clip_id for r in store.records if r.status == "ok")
    assert store[ok]["valence"].shape == (store.record(ok).n_frames,)


@pytest.mark.parametrize("odd", [["a"], slice(2), {"a": 1}, np.array(["a"])])
def test_what_is_no_name_is_told(store, odd):
    with pytest.raises(FacerError, match="found no clip"):
        store[odd]
    assert odd not in store
    with pytest.raises(FacerError, match=r"^column: found .*, expected names$"):
        store[store.clip_ids[0]][odd]
    with pytest.raises(FacerError, match=r"^clip_ids: found .*, expected names$"):
        store.load([odd])
    with pytest.raises(FacerError, match=r"^columns: found int, expected a list$"):
        store.load(store.clip_ids, columns=5)
    with pytest.raises(FacerError, match=r"^columns: found a set, expected them in their order$"):
        store.load(store.clip_ids, columns=set(store.feature_names[:2]))


def test_a_clip_tells_which_columns_it_has(store):
    clip = store[store.clip_ids[0]]
    assert store.feature_names[0] in clip
    assert "no such" not in clip
    assert tuple(clip) == store.feature_names
