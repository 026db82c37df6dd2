"""Other tools' files become a store, and heads train on it."""

from dataclasses import replace

import numpy as np
import pytest

from facer.pipeline.features.importing import import_into_store
from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.train import train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.exchange.tables import export_store
from facer.storage.exchange.tools.muse import read_muse

FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2)


def openface(smile, frames, order=1):
    """Text of an OpenFace file whose AU12 is ``smile``; columns reversed for order -1."""
    names = ["frame", " timestamp", " confidence", " success", " AU12_r", " AU45_r", " AU12_c"]
    rows = [names[::order]]
    for frame in range(1, frames + 1):
        row = [frame, frame / 30, 0.98, 1, 5 * smile, 0.5, int(smile > 0.5)]
        rows.append([str(value) for value in row[::order]])
    return "\n".join(",".join(row) for row in rows) + "\n"


@pytest.fixture
def folder(tmp_path):
    """Twelve OpenFace files and labels that AU12 explains."""
    (tmp_path / "csv").mkdir()
    rows = ["clip_id,split,joy"]
    for index in range(12):
        smile = (index * 5 % 12) / 12
        (tmp_path / "csv" / f"v{index}.csv").write_text(openface(smile, 6 + index))
        rows.append(f"v{index},{('train', 'val')[index % 3 == 0]},{smile:.3f}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_head_is_trained_on_another_tools_features(folder):
    store, added, _ = import_into_store("openface", folder / "csv", str(folder / "s.zarr"))
    assert (added, store.feature_names) == (12, ("au12", "au45", "AU12_c"))
    sequences = SequenceConfig(("au",), max_frames=20)
    fit = replace(FAST, epochs=15, standardise=True)
    run = folder / "run"
    train_head(TrainHeadConfig(store.path, str(folder / "labels.csv"), run,
                               sequences=sequences, fit=fit))  # fmt: skip
    assert evaluate(run, "val").mean("pearson") > 0.8


def test_the_same_call_again_adds_what_is_new(folder):
    path = str(folder / "s.zarr")
    import_into_store("openface", folder / "csv", path)
    assert import_into_store("openface", folder / "csv", path)[1] == 0
    (folder / "csv" / "w.csv").write_text(openface(0.1, 3))
    assert import_into_store("openface", folder / "csv", path)[1] == 1


def test_an_import_that_fails_leaves_nothing_behind(folder, monkeypatch):
    """Seen: a store of the clips before the file that cannot be read."""
    monkeypatch.setattr("facer.pipeline.features.importing.PART_CLIPS", 2)
    path = folder / "s.zarr"
    (folder / "csv" / "v7.csv").write_text(openface(0.5, 4).replace("0.98", "high"))
    with pytest.raises(FacerError, match=r"v7.csv:2: column 'confidence': found 'high'"):
        import_into_store("openface", folder / "csv", str(path))
    assert not path.exists()
    (folder / "first").mkdir()
    (folder / "csv" / "v0.csv").rename(folder / "first" / "v0.csv")
    store, *_ = import_into_store("openface", folder / "first", str(path))
    with pytest.raises(FacerError, match="found 'high'"):
        import_into_store("openface", folder / "csv", str(path))
    store.refresh()
    assert store.clip_ids == ("v0",)
    assert len([p for p in (path / "parts").iterdir() if p.is_dir()]) == 1


def test_an_import_that_fails_keeps_what_was_there(folder, monkeypatch):
    """Seen: a folder with other files was removed, and a store that could not be opened at once."""
    bad = folder / "bad"
    bad.mkdir()
    (bad / "v0.csv").write_text(openface(0.5, 4))
    (bad / "v7.csv").write_text(openface(0.5, 4).replace("0.98", "high"))
    out = folder / "out"
    (out / ".git").mkdir(parents=True)
    (out / ".notes").write_text("mine")
    with pytest.raises(FacerError, match="found 'high'"):
        import_into_store("openface", bad, str(out))
    assert sorted(p.name for p in out.iterdir()) == [".git", ".notes"]
    store, *_ = import_into_store("openface", folder / "csv", str(folder / "s.zarr"))

    def timed_out(*_):
        raise FacerError("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(FeatureStore, "open", timed_out)
        with pytest.raises(FacerError):
            import_into_store("openface", bad, store.path)
    assert FeatureStore.open(store.path).clip_ids == store.clip_ids


def test_an_import_that_is_interrupted_leaves_nothing_behind(folder, monkeypatch):
    monkeypatch.setattr("facer.pipeline.features.importing.PART_CLIPS", 1)
    write = FeatureStore.write_part
    parts: list[str] = []

    def write_one(self, entries):
        if parts:
            raise KeyboardInterrupt
        parts.append(write(self, entries))
        return parts[0]

    monkeypatch.setattr(FeatureStore, "write_part", write_one)
    with pytest.raises(KeyboardInterrupt):
        import_into_store("openface", folder / "csv", str(folder / "s.zarr"))
    assert parts
    assert not (folder / "s.zarr").exists()


def test_a_clip_that_is_another_one_now_is_kept_and_named(folder):
    path = str(folder / "s.zarr")
    import_into_store("openface", folder / "csv", path)
    (folder / "csv" / "v0.csv").write_text(openface(0.9, 3))
    store, added, changed = import_into_store("openface", folder / "csv", path)
    assert (added, changed) == (0, ("v0",))
    assert store.read("v0").n_frames != 3


def test_columns_that_moved_go_where_the_store_has_them(folder):
    """Seen: feature columns taken by position from a file whose columns moved."""
    path = str(folder / "s.zarr")
    import_into_store("openface", folder / "csv", path)
    (folder / "moved.csv").write_text(openface(0.2, 3, order=-1))
    store, added, _ = import_into_store("openface", folder / "moved.csv", path)
    assert added == 1
    np.testing.assert_allclose(store.read("moved").features[0], [1, 0.5, 0], atol=1e-6)


def test_features_of_another_tool_do_not_mix(folder):
    path = str(folder / "s.zarr")
    store, *_ = import_into_store("openface", folder / "csv", path)
    export_store(store, folder / "muse", "muse")
    with pytest.raises(FacerError, match="the store and this run differ in"):
        import_into_store("muse", folder / "muse", path)


def test_files_of_another_kind_leave_no_store_behind(folder):
    (folder / "csv" / "v0.csv").write_text("frame,timestamp,confidence,success,AU12_r\n1,0,1,1,x\n")
    with pytest.raises(FacerError, match="'AU12_r': found 'x'"):
        import_into_store("openface", folder / "csv", str(folder / "s.zarr"))
    assert not (folder / "s.zarr").exists()


@pytest.mark.shared
def test_real_files_become_stores_and_leave_them_again(shared, tmp_path):
    tables = shared / "tables"
    of, *_ = import_into_store("openface", tables / "OpenFace_Test.csv", str(tmp_path / "of.zarr"))
    for name in ("001", "002", "Feat_Test"):  # columns in three orders
        py, *_ = import_into_store("pyfeat", tables / f"{name}.csv", str(tmp_path / "py.zarr"), 30)
    assert len(py.clip_ids) == 3
    for store in (of, py):
        for form in ("hdf5", "muse"):
            place = tmp_path / f"{form}-{len(store.clip_ids)}"
            export_store(store, place, form)
            again, *_ = import_into_store(form, place, f"{place}.zarr")
            assert again.feature_names == store.feature_names
            for clip_id in store.clip_ids:
                clip, found = store.read(clip_id), again.read(clip_id)
                np.testing.assert_array_equal(found.features, clip.features)
                np.testing.assert_array_equal(found.valid, clip.valid)
                if form == "hdf5" or store is py:  # OpenFace's file is at 1000 Hz: ms or s?
                    np.testing.assert_allclose(found.timestamp_s, clip.timestamp_s, rtol=1e-12)


MUSE = "timestamp,segment_id,au04\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": '"1,000",a,0.1\n"2,000",a,0.2\n'}, "found '1,000', which may be 1000 or 1.000"),
        ({"a.csv": "0,a,0.1\n40,a,1e39\n"}, r"a.csv:3: column 'au04.: found 1e\+39, expected"),
        ({"a.csv": "0,a,0.1\n", "a.CSV": "0,a,0.2\n"}, r"a.csv: found a.CSV beside it"),
    ],
)
def test_what_could_be_another_number_or_clip_is_refused(tmp_path, files, message):
    for name, rows in files.items():
        (tmp_path / name).write_text(MUSE + rows)
    with pytest.raises(FacerError, match=message):
        list(read_muse(tmp_path).clips)


def test_endings_in_upper_case_are_read_and_times_that_go_back_are_told(tmp_path):
    (tmp_path / "a.csv").write_text(MUSE + "0,a,0.1\n40,a,0.2\n80,a,0.3\n")
    (tmp_path / "b.CSV").write_text(MUSE + "0,b,0.1\n80,b,0.3\n40,b,0.2\n")
    records = {record.clip_id: record.reason for record, _ in read_muse(tmp_path).clips}
    assert records == {
        "a": "",
        "b": "its rows are not in the order of time: times go back or stand still 1x",
    }
