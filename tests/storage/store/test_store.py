from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facer.storage import FEATURE_NAMES, ClipFeatures, FacerError, FeatureStore, Provenance, Record
from facer.storage.files.objects import LocalObjects
from facer.storage.layout import arrays as arrays_module
from facer.storage.layout.documents import sealed_group_json
from facer.storage.layout.parts import SEALED, written_at
from tests.support import some

Make = Callable[..., Any]
GOLDEN = Path(__file__).parents[2] / "data" / "store-v1.zarr"


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def only_part(path: Path) -> Path:
    (part,) = (p for p in (path / "parts").iterdir() if p.is_dir())
    return part


def test_what_is_written_is_read(store: FeatureStore, make_entry: Make, same_clip: Make) -> None:
    found = FeatureStore.open(store.path)
    assert found.clip_ids == ("a", "b/1", "broken", "c")
    assert found.feature_names == FEATURE_NAMES
    assert found.weak_features == ("au11",)
    assert found.provenance == store.provenance
    assert found.version == 2
    assert [r.status for r in found.records] == ["ok", "ok", "failed", "no_face"]
    same_clip(found.read("a"), make_entry("a", 7, seed=1)[1])
    same_clip(found.read("b/1"), make_entry("b/1", 3, seed=2)[1])
    same_clip(found.read("c"), make_entry("c", 4, seed=3, face=False)[1])
    assert found.record("b/1").start == 7
    assert found.record("b/1").stop == 10
    assert found.record("broken").reason == "moov atom not found"
    assert np.isnan(found.record("broken").fps)


def test_writer_sees_its_own_parts(store: FeatureStore, make_entry: Make) -> None:
    assert len(store.clip_ids) == 4
    store.write_part([make_entry("d")])
    assert store.clip_ids[-1] == "d"


def test_reader_sees_new_parts_after_refresh(store: FeatureStore, make_entry: Make) -> None:
    reader = FeatureStore.open(store.path)
    assert "d" not in reader.clip_ids
    part = store.write_part([make_entry("d")])
    assert "d" not in reader.clip_ids
    reader.refresh()
    assert "d" in reader.clip_ids
    shutil.rmtree(Path(store.path) / "parts" / part)
    reader.refresh()
    assert "d" not in reader.clip_ids


def test_the_latest_part_of_a_clip_wins(
    store: FeatureStore, make_entry: Make, same_clip: Make
) -> None:
    for seed in range(5, 9):
        store.write_part([make_entry("a", seed, seed=seed), make_entry("broken")])
    found = FeatureStore.open(store.path)
    same_clip(found.read("a"), make_entry("a", 8, seed=8)[1])
    assert found.record("broken").status == "ok"
    assert len(found.clip_ids) == 4


def test_load_is_ragged_in_the_order_asked(store: FeatureStore) -> None:
    ids = ["c", "broken", "a", "b/1", "a"]
    loaded = store.load(ids)
    assert loaded.clip_ids == tuple(ids)
    assert loaded.offsets.tolist() == [0, 4, 4, 11, 14, 21]
    assert loaded.lengths.tolist() == [4, 0, 7, 3, 7]
    assert loaded.features.dtype == np.float32
    assert loaded.features.shape == (21, 26)
    for clip_id, start, stop in zip(ids, loaded.offsets, loaded.offsets[1:], strict=False):
        if clip_id != "broken":
            clip = store.read(clip_id)
            np.testing.assert_array_equal(loaded.features[start:stop], clip.features)
            np.testing.assert_array_equal(loaded.valid[start:stop], clip.valid)
            np.testing.assert_array_equal(loaded.timestamp_s[start:stop], clip.timestamp_s)


def test_load_takes_columns_by_name(store: FeatureStore) -> None:
    loaded = store.load(["a"], ["au12", "valence"])
    where = [FEATURE_NAMES.index("au12"), FEATURE_NAMES.index("valence")]
    np.testing.assert_array_equal(loaded.features, store.read("a").features[:, where])
    with pytest.raises(FacerError, match=r"found no feature 'au13'.*; it has valence, "):
        store.load(["a"], ["au13"])


def test_load_takes_one_name_as_one_clip_and_one_column(store: FeatureStore) -> None:
    loaded = store.load("b/1", "au12")
    assert loaded.clip_ids == ("b/1",)
    np.testing.assert_array_equal(loaded.features, store.load(["b/1"], ["au12"]).features)


def test_load_of_nothing(store: FeatureStore) -> None:
    loaded = store.load([])
    assert loaded.features.shape == (0, 26)
    assert loaded.offsets.tolist() == [0]
    assert store.load(["broken"]).features.shape == (0, 26)


def test_unknown_and_failed_clips_say_so(store: FeatureStore) -> None:
    with pytest.raises(FacerError, match=r"found no clip 'zzz' among its 4"):
        store.read("zzz")
    with pytest.raises(FacerError, match=r"found no clip 'zzz'"):
        store.load(["zzz"])
    with pytest.raises(FacerError, match=r"clip 'broken' failed: moov atom not found"):
        store.read("broken")


def test_embeddings(store: FeatureStore, make_entry: Make, same_clip: Make) -> None:
    entry = make_entry("e", 6, embedding=8)
    store.write_part([entry, make_entry("f", 2, embedding=8)])
    same_clip(store.read("e"), entry[1])
    loaded = store.load(["f", "broken", "e"], (), embedding=True)
    assert loaded.features.dtype == np.float32
    np.testing.assert_array_equal(loaded.features[2:], entry[1].embedding.astype(np.float32))
    both = store.load(["e"], ["au12", "valence"], embedding=True).features
    np.testing.assert_array_equal(both[:, :2], store.load(["e"], ["au12", "valence"]).features)
    np.testing.assert_array_equal(both[:, 2:], loaded.features[2:])
    with pytest.raises(FacerError, match="without an embedding"):
        store.load(["e", "a"], embedding=True)
    assert store.load(["broken"], (), embedding=True).features.shape == (0, 0)


def test_quality(store: FeatureStore, make_entry: Make, same_clip: Make) -> None:
    entry = make_entry("e", 6, quality=True)
    store.write_part([entry, make_entry("f", 2, quality=True)])
    same_clip(store.read("e"), entry[1])
    loaded = store.load(["f", "broken", "e"], ["au12"], quality=True)
    np.testing.assert_array_equal(some(loaded.quality)[2:], entry[1].quality)
    assert store.load(["e"]).quality is None
    assert store.read("a").quality is None  # written without
    with pytest.raises(FacerError, match=r"clips without a quality .* expected one for all"):
        store.load(["e", "a"], quality=True)


def test_embeddings_of_another_width_do_not_mix(store: FeatureStore, make_entry: Make) -> None:
    store.write_part([make_entry("e", embedding=8)])
    store.write_part([make_entry("f", embedding=9)])
    with pytest.raises(FacerError, match=r"found shape \(5, 9\), expected 8 columns"):
        store.load(["e", "f"], embedding=True)


def test_other_columns_than_facers(
    tmp_path: Path, provenance: Provenance, make_entry: Make
) -> None:
    store = FeatureStore.create(tmp_path / "s", provenance, feature_names=("x", "y"))
    store.write_part([make_entry("a", columns=2)])
    assert FeatureStore.open(tmp_path / "s").load(["a"], ["y"]).features.shape == (5, 1)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(
        st.dictionaries(
            st.text(min_size=1, max_size=8), st.integers(0, 40), min_size=1, max_size=4
        ),
        min_size=1,
        max_size=3,
    ),
    chunk_bytes=st.sampled_from([64, 700, 2**20]),
    order=st.randoms(use_true_random=False),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    make_entry: Make,
    same_clip: Make,
    provenance: Provenance,
    parts: list[dict[str, int]],
    chunk_bytes: int,
    order: Any,
) -> None:
    """Whatever the clips, their names, the parts and the chunks: read and load give them back."""
    store = FeatureStore.create(tmp_path_factory.mktemp("s") / "s", provenance)
    expected: dict[str, ClipFeatures] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays_module, "CHUNK_BYTES", chunk_bytes)
        for seed, part in enumerate(parts):
            entries = [make_entry(name, frames, seed=seed) for name, frames in part.items()]
            store.write_part(entries)
            expected |= {record.clip_id: clip for record, clip in entries}
    found = FeatureStore.open(store.path)
    assert found.clip_ids == tuple(sorted(expected))
    for clip_id, clip in expected.items():
        same_clip(found.read(clip_id), clip)
    ids = list(expected)
    order.shuffle(ids)
    loaded = found.load(ids)
    np.testing.assert_array_equal(
        loaded.features, np.concatenate([expected[clip_id].features for clip_id in ids])
    )
    np.testing.assert_array_equal(
        loaded.valid, np.concatenate([expected[clip_id].valid for clip_id in ids])
    )


def test_create_refuses_a_place_in_use(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(FacerError, match="found files there, expected a new path"):
        FeatureStore.create(store.path, store.provenance)
    (tmp_path / "video.mp4").touch()
    with pytest.raises(FacerError, match="found files there"):
        FeatureStore.create(tmp_path, store.provenance)


def test_create_makes_no_folder_called_tilde(
    tmp_path: Path, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FacerError, match="found ~, which is a home folder to a shell alone"):
        FeatureStore.create("~/s.zarr", provenance)
    assert not [*tmp_path.iterdir()]


def test_create_takes_an_empty_folder(tmp_path: Path, provenance: Provenance) -> None:
    FeatureStore.create(tmp_path, provenance)
    assert FeatureStore.open(tmp_path).clip_ids == ()


@pytest.mark.parametrize(
    ("names", "weak", "message"),
    [(("x", "x"), (), "expected distinct names"), ((), (), "distinct"), (("x",), ("y",), "weak")],
)
def test_create_refuses_odd_names(
    tmp_path: Path,
    provenance: Provenance,
    names: tuple[str, ...],
    weak: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(FacerError, match=message):
        FeatureStore.create(tmp_path / "s", provenance, feature_names=names, weak_features=weak)


def test_other_provenance_is_refused_naming_both(store: FeatureStore) -> None:
    same = replace(store.provenance, facer_version="99")
    FeatureStore.open_or_create(store.path, same, weak_features=("au11",))
    other = replace(
        store.provenance, rec="mine", rec_sha256="f" * 64, settings={"input_px": 640, "stride": 2}
    )
    with pytest.raises(FacerError) as refused:
        FeatureStore.open_or_create(store.path, other, weak_features=("au11",))
    message = str(refused.value)
    renamed = replace(store.provenance, detector="of another name")  # the weights are the same
    FeatureStore.open_or_create(store.path, renamed, weak_features=("au11",))
    assert "rec (store: rec, run: mine)" in message
    assert f"rec_sha256 (store: {'r' * 64}, run: {'f' * 64})" in message
    assert "settings input_px (store: 320, run: 640)" in message
    assert "settings stride (store: None, run: 2)" in message
    assert "detector" not in message
    with pytest.raises(FacerError, match="feature_names"):
        FeatureStore.open_or_create(
            store.path, store.provenance, feature_names=("x",), weak_features=()
        )


def test_open_or_create_makes_it_once(tmp_path: Path, provenance: Provenance) -> None:
    path = tmp_path / "deep" / "s.zarr"
    FeatureStore.open_or_create(path, provenance)
    assert FeatureStore.open_or_create(path, provenance).clip_ids == ()


def test_two_that_create_at_once_both_go_on(
    tmp_path: Path, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zarr"
    create = FeatureStore.create

    def late(*args: Any, **kwargs: Any) -> FeatureStore:
        create(path, provenance)  # the other process was first
        return create(*args, **kwargs)

    monkeypatch.setattr(FeatureStore, "create", late)
    assert FeatureStore.open_or_create(path, provenance).clip_ids == ()


@pytest.mark.parametrize("place", ["missing", "folder", "file"])
def test_no_store_there(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(FacerError, match=rf"{place}: found .* there, expected a feature store"):
        FeatureStore.open(tmp_path / place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a Zarr v3 group"),
        ("[]", "not a Zarr v3 group"),
        ('{"attributes": {}}', "is not a feature store"),
        ('{"attributes": {"format": "other"}}', "is not a feature store .*other"),
        ('{"attributes": {"format": "facer-features", "version": "x"}}', "not a feature store"),
        ('{"attributes": {"format": "facer-features", "version": 1}}', "damaged"),
    ],
)
def test_a_root_that_is_no_stores(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(FacerError, match=message):
        FeatureStore.open(tmp_path)


def test_a_newer_store_asks_for_a_newer_facer(store: FeatureStore) -> None:
    edit_json(Path(store.path) / "zarr.json", lambda root: root["attributes"].update(version=3))
    with pytest.raises(FacerError, match="found store version 3, expected at most 2; update facer"):
        FeatureStore.open(store.path)
    with pytest.raises(FacerError, match="update facer"):
        FeatureStore.open_or_create(store.path, store.provenance)


def test_a_part_without_records_does_not_exist(
    tmp_path: Path, provenance: Provenance, make_entry: Make
) -> None:
    """A run killed before the commit leaves arrays; the clips are not there and come again."""
    store = FeatureStore.create(tmp_path / "s", provenance)
    store.write_part([make_entry("a")])
    (only_part(tmp_path / "s") / "zarr.json").rename(tmp_path / "aside")
    assert FeatureStore.open(store.path).clip_ids == ()
    (only_part(tmp_path / "s") / "zarr.json").write_text('{"attributes": {}}')
    assert FeatureStore.open(store.path).clip_ids == ()
    store.refresh()
    store.write_part([make_entry("a")])
    assert FeatureStore.open(store.path).clip_ids == ("a",)


@pytest.mark.parametrize(
    "damage",
    [
        lambda group: group["attributes"].update(records="x"),
        lambda group: group["attributes"].update(records=[1]),
        lambda group: group["attributes"]["records"][0].update(status="odd"),
        lambda group: group["attributes"]["records"][0].update(n_valid=0),
        lambda group: group["attributes"].pop("records"),
        lambda group: group["attributes"].pop("checksum"),
        lambda group: group["attributes"]["arrays"]["valid"].update(crc32=0),
        lambda group: group.update(node_type="array"),
        lambda group: group.pop("attributes"),
    ],
)
def test_a_part_with_damaged_records_is_told_and_the_others_are_read(
    store: FeatureStore, make_entry: Make, same_clip: Make, damage: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    path = Path(store.path) / "parts" / store.record("a").part / "zarr.json"
    edit_json(path, damage)
    found = FeatureStore.open(store.path)
    assert found.clip_ids == ("c",)
    assert list(found.damaged) == [path.parent.name]
    found.refresh()
    (warning,) = caplog.messages  # once, however often it is looked at
    assert f"parts/{path.parent.name}: broken part: its zarr.json holds no" in warning
    assert "facer verify" in warning
    same_clip(found.read("c"), store.read("c"))
    again = make_entry("a", 7)
    found.write_part([again])
    same_clip(FeatureStore.open(store.path).read("a"), again[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop": 6}, "starts at row 7, not 6"),
        ({"start": 1}, "starts at row 1, not 0"),
        ({"stop": 6.0}, "rows 0 to 6.0"),
        ({"stop": True}, "rows 0 to True"),
        ({"stop": 10**13, "start": 10**14}, "rows 1000"),
        ({"stop": 10**300}, "rows 0 to 1000"),
        ({"clip_id": "b/1"}, "twice"),
        ({"clip_id": ""}, "clip ''"),
        ({"clip_id": 3}, "clip_id '3'"),
        ({"n_valid": 8}, "8 valid of 7"),
        ({"n_valid": "3"}, "n_valid '3'"),
        ({"status": "no_face"}, "status no_face"),
        ({"status": "failed"}, "status failed"),
        ({"status": ["ok"]}, "status"),
        ({"fps": "fast"}, "fps 'fast'"),
        ({"seconds": None}, "seconds 'None'"),
        ({"width_px": -1}, "width_px -1"),
        ({"source_mtime_ns": 10**30}, "source_mtime_ns"),
    ],
)
def test_records_that_do_not_fit_together_are_damage(
    store: FeatureStore, changes: dict[str, Any], message: str
) -> None:
    """As a stranger may write them, with a checksum that is right."""
    part = store.record("a").part
    path = Path(store.path) / "parts" / part / "zarr.json"
    attributes = json.loads(path.read_text())["attributes"]
    attributes["records"][0].update(changes)
    path.write_bytes(sealed_group_json({k: attributes[k] for k in SEALED}))
    (error,) = FeatureStore.open(store.path).damaged.values()
    assert message in str(error)
    assert "\n" not in str(error)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda part: (part / "features/c/0/0").unlink(), "features/c/0/0: .*chunk is missing"),
        (lambda part: flip(part / "features/c/0/0"), "features/c/0/0: .*chunk is damaged"),
        (lambda part: (part / "features/c/0/0").write_bytes(b"1"), "chunk is damaged"),
        (lambda part: shutil.rmtree(part / "valid"), "found no array 'valid'"),
        (lambda part: (part / "valid/zarr.json").write_text("{"), "not that of an array"),
        (
            lambda part: edit_json(part / "features/zarr.json", lambda m: m.update(shape=[2, 26])),
            r"found shape \(2, 26\), expected \(5, 26\)",
        ),
        (
            lambda part: edit_json(part / "features/zarr.json", lambda m: m["codecs"].pop(0)),
            "layout is not the one of docs/store-format.md, and zarr-python does not read it",
        ),
        (
            lambda part: edit_json(
                part / "features/zarr.json", lambda m: m.update(data_type="complex64")
            ),
            "layout is not the one of docs/store-format.md",
        ),
    ],
)
def test_damaged_arrays_name_the_part(
    tmp_path: Path,
    provenance: Provenance,
    make_entry: Make,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    FeatureStore.create(tmp_path / "s", provenance).write_part([make_entry("a")])
    part = only_part(tmp_path / "s")
    damage(part)
    store = FeatureStore.open(tmp_path / "s")
    for read in (lambda: store.read("a"), lambda: store.load(["a"])):
        with pytest.raises(FacerError, match=message) as broken:
            read()
        assert part.name in str(broken.value)
        assert "\n" not in str(broken.value)


def test_a_store_that_was_moved_before_its_first_read_is_told(store: FeatureStore) -> None:
    """Seen: it had no clips."""
    opened = FeatureStore.open(store.path)
    Path(store.path).rename(f"{store.path}-moved")
    with pytest.raises(FacerError, match="the store is gone"):
        _ = opened.clip_ids


def test_a_store_that_was_removed_is_not_made_again(store: FeatureStore, make_entry: Make) -> None:
    shutil.rmtree(store.path)
    with pytest.raises(FacerError, match="the store is gone"):
        store.write_part([make_entry("d")])
    assert not Path(store.path).exists()


def test_plain_zarr_opens_it(store: FeatureStore) -> None:
    root = zarr.open_group(store.path, mode="r")
    assert root.attrs["feature_names"] == list(FEATURE_NAMES)
    parts: dict[str, Any] = dict(zarr.open_group(store.path, path="parts", mode="r").groups())
    record = store.record("b/1")
    part = parts[record.part]
    rows = slice(record.start, record.stop)
    np.testing.assert_array_equal(part["features"][rows], store.read("b/1").features)
    assert part["features"].metadata.dimension_names == ("frame", "feature")
    stored = {row["clip_id"]: row for row in part.attrs["records"]}
    assert stored["b/1"]["start"] == record.start
    assert stored["broken"]["fps"] is None


def test_xarray_opens_a_part(store: FeatureStore) -> None:
    xarray = pytest.importorskip("xarray")
    record = store.record("a")
    part = xarray.open_zarr(Path(store.path) / "parts" / record.part, consolidated=False)
    assert part.features.dims == ("frame", "feature")
    assert part.keypoints_px.dims == ("frame", "point", "axis")
    np.testing.assert_array_equal(part.features[:7].values, store.read("a").features)
    np.testing.assert_array_equal(part.valid[:7].values, store.read("a").valid)


def test_chunks_are_near_a_megabyte_along_frames(
    tmp_path: Path, provenance: Provenance, make_entry: Make
) -> None:
    store = FeatureStore.create(tmp_path / "s", provenance)
    store.write_part([make_entry(f"c{i}", 6000, seed=i) for i in range(4)])
    part = only_part(tmp_path / "s")
    assert zarr.open_array(part / "features", mode="r").chunks == (12_000, 26)
    assert zarr.open_array(part / "valid", mode="r").chunks == (24_000,)


def test_memory_store() -> None:
    provenance = Provenance("d", "1", "r", "2")
    url = "memory://some[1]/s.zarr"
    store = FeatureStore.create(url, provenance)
    clip_record = Record("x/ü 1", "failed", 0, reason="no")
    store.write_part([(clip_record, None)])
    found = FeatureStore.open_or_create(url, provenance)
    assert found.records[0].clip_id == "x/ü 1"
    with pytest.raises(FacerError, match="found files there"):
        FeatureStore.create(url, provenance)
    with pytest.raises(FacerError, match="found nothing there"):
        FeatureStore.open("memory://other")


def test_memory_store_reads_clips(
    provenance: Provenance, make_entry: Make, same_clip: Make
) -> None:
    store = FeatureStore.create("memory://clips.zarr", provenance)
    entry = make_entry("a", 9, embedding=4)
    store.write_part([entry])
    found = FeatureStore.open("memory://clips.zarr")
    same_clip(found.read("a"), entry[1])
    np.testing.assert_array_equal(found.load(["a"]).features, entry[1].features)


def test_a_store_at_the_top_of_an_archive(store: FeatureStore, same_clip: Make) -> None:
    archive = shutil.make_archive(store.path, "zip", store.path)
    found = FeatureStore.open(f"zip://::{archive}")
    assert found.clip_ids == store.clip_ids
    same_clip(found.read("a"), store.read("a"))


def test_a_place_that_lists_nothing_is_no_empty_store(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a web server that gives files but shows no folders."""
    monkeypatch.setattr(LocalObjects, "children", lambda *_: [])
    with pytest.raises(FacerError, match="parts: found no list of the parts"):
        len(FeatureStore.open(store.path))


@pytest.mark.parametrize("url", ["nosuch://x", "memory::nosuch://x"])
def test_unknown_kinds_of_url(url: str) -> None:
    with pytest.raises(FacerError, match="cannot be opened"):
        FeatureStore.open(url)


def test_file_urls_are_local_paths(store: FeatureStore) -> None:
    assert FeatureStore.open(f"file://{store.path}").clip_ids == store.clip_ids


def test_the_store_of_version_1_is_still_read(same_clip: Make) -> None:
    """The golden store was written by version 1 and is never written again."""
    store = FeatureStore.open(GOLDEN)
    assert store.version == 1
    assert not store.damaged
    assert store.feature_names == ("valence", "au12", "other")
    assert store.weak_features == ("valence",)
    assert store.provenance == Provenance(
        "detector", "aa", "rec", "bb", settings={"input_px": 320, "mode": "fast"},
        facer_version="0", decoder="opencv",
    )  # fmt: skip
    assert store.clip_ids == ("faceless", "lost", "two/clip 1")
    lost = store.record("lost")
    assert (lost.status, lost.reason, lost.n_frames) == ("failed", "cannot be decoded", 0)
    assert (lost.source, np.isnan(lost.fps), lost.start) == ("lost.mp4", True, 2)
    record = store.record("two/clip 1")
    assert (record.n_frames, record.fps, record.n_valid, record.source_size) == (4, 25.0, 3, 12345)
    clip = store.read("two/clip 1")
    assert clip.valid.tolist() == [True, False, True, True]
    assert clip.features[[0, 2, 3]].tolist() == [[0, 1, 2], [6, 7, 8], [9, 10, 11]]
    assert np.isnan(clip.features[1]).all()
    assert clip.timestamp_s.tolist() == [0.0, 0.04, 0.08, 0.12]
    assert clip.bbox_px[3].tolist() == [3, 4, 5, 6]
    assert clip.keypoints_px[2, 4].tolist() == [8, 9]
    assert clip.n_faces.tolist() == [1, 0, 2, 1]
    assert clip.embedding is not None
    assert clip.embedding[0].tolist() == [0.5, 0.25]
    assert store.read("faceless").embedding is None
    assert store.load(store.clip_ids).lengths.tolist() == [2, 0, 4]


def test_a_store_of_the_old_decoder_is_told_apart_and_versions_of_libav_are_not(tmp_path):
    golden = FeatureStore.open(GOLDEN)
    assert golden.provenance.decoder == "opencv"
    old = Provenance("det", "d" * 64, "rec", "r" * 64, decoder="opencv")
    FeatureStore.create(tmp_path / "s.zarr", old)
    new = replace(old, decoder="libav", libav_version="8.1")
    with pytest.raises(FacerError, match=r"differ in decoder \(store: opencv, run: libav\);"):
        FeatureStore.open_or_create(tmp_path / "s.zarr", new)
    FeatureStore.create(tmp_path / "n.zarr", new)
    other = replace(new, libav_version="9.0")
    assert FeatureStore.open_or_create(tmp_path / "n.zarr", other).provenance == new


def test_dropped_clips_are_gone_with_their_earlier_records(
    store: FeatureStore, make_entry: Callable[..., Any], same_clip: Callable[..., None]
) -> None:
    store.write_part([make_entry("a", 5, seed=9), make_entry("d", 2, seed=8)])
    kept = {clip: store.read(clip) for clip in ("b/1", "c", "d")}
    store.drop_clips(["a", "c", "unknown"])
    for opened in (store, FeatureStore.open(store.path)):
        assert opened.clip_ids == ("b/1", "broken", "d")
        assert opened.record("broken").reason == "moov atom not found"
        for clip in ("b/1", "d"):
            same_clip(opened.read(clip), kept[clip])


def test_dropping_a_clip_makes_no_other_one_newer(
    store: FeatureStore, make_entry: Callable[..., Any], same_clip: Callable[..., None]
) -> None:
    """Seen: clips of the same part that another process had made again meanwhile were old again."""
    other, written = FeatureStore.open(store.path), written_at(store.record("a").part)
    other.write_part([make_entry("a", 5, seed=9)])
    latest = other.read("a")
    store.drop_clips(["broken"])
    found = FeatureStore.open(store.path)
    assert "broken" not in found
    same_clip(found.read("a"), latest)
    assert written_at(found.record("b/1").part) == written  # by which `facer health` tells the time


def test_sound_and_faces_do_not_share_a_store(store: FeatureStore) -> None:
    sound = replace(store.provenance, settings={**store.provenance.settings, "modality": "audio"})
    with pytest.raises(FacerError, match="found a store of faces, expected one of sound"):
        FeatureStore.open_or_create(store.path, sound)


def test_weights_that_changed_under_their_name_are_told(store: FeatureStore) -> None:
    newer = replace(store.provenance, rec_sha256="0" * 64)
    for made, words in (
        (newer, "weights of the same name are others now"),
        (replace(newer, rec="mine"), "use the same settings or another store"),
    ):
        with pytest.raises(FacerError, match=words):
            FeatureStore.open_or_create(
                store.path, made,
                feature_names=store.feature_names, weak_features=store.weak_features,
            )  # fmt: skip
