from __future__ import annotations

import csv
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from facer.storage import FacerError, FeatureStore, Record
from facer.storage.exchange.tables import ImportKind, export_store, import_features
from facer.storage.exchange.tools.imported import Imported
from facer.storage.files.atomic import written_whole
from facer.storage.study.design import Design, DesignRow
from tests.support import some

Make = Callable[..., Any]
SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "tables"

OPENFACE = """frame, face_id, timestamp, confidence, success, gaze_0_x, pose_Rx, AU12_r, AU12_c
1, 0, 0.00, 0.90, 1, 0.1, 0.2, 1.5, 1
1, 1, 0.00, 0.99, 1, 9.0, 9.0, 9.0, 0
2, 0, 0.04, 0.20, 0, 0.0, 0.0, 0.0, 0
4, 0, 0.12, 0.95, 1, 0.3, 0.4, 5.0, 1
"""
BOX = "FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore"
PYFEAT = f"""{BOX},AU01,AU14,anger,valence,input,frame
1,2,10,20,0.9,0.5,0.1,0.25,-0.5,/videos/one.mp4,0
5,5,50,50,0.8,0.6,0.2,0.50,0.5,/videos/one.mp4,0
,,,,,,,,,/videos/one.mp4,5
1,2,10,20,0.7,0.7,0.3,0.75,0.0,C:\\videos\\two.mp4,0
"""


def imported(kind: ImportKind, path: Path, **options: Any) -> tuple[Imported, dict[str, Any]]:
    found = import_features(kind, path, **options)
    return found, {record.clip_id: (record, clip) for record, clip in found.clips}


def stored(path: Path, found: Imported, clips: dict[str, Any]) -> FeatureStore:
    store = FeatureStore.open_or_create(
        path, found.provenance, feature_names=found.feature_names, weak_features=found.weak_features
    )
    for entry in clips.values():
        store.write_part([entry])
    return store


def refused(kind: ImportKind, path: Path) -> str:
    with pytest.raises(FacerError) as error:
        list(import_features(kind, path).clips)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_name_that_the_system_cannot_write_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(FacerError, match=r"found 'zoë', expected a name in ascii"),
        written_whole(tmp_path),
    ):
        "zoë".encode("ascii")


@pytest.mark.parametrize("n_bytes", [1, 3000, 30_000, 60_000])
def test_a_disk_that_is_full_ends_an_export_to_hdf5_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: FeatureStore, n_bytes: int
) -> None:
    """Seen: HDF5 ended the process with a segmentation fault."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        with pytest.raises(FacerError, match=r"f.h5: cannot write: File too large"):
            export_store(store, tmp_path / "f.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*.h5"))


def test_openface(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "v.csv").write_text(OPENFACE)
    found, clips = imported("openface", tmp_path)
    assert found.feature_names == ("gaze_0_x", "pose_Rx", "au12", "AU12_c")
    assert found.provenance.settings["au_scale"] == "intensity 0 to 5"
    record, clip = clips["train/v"]
    assert (record.status, record.n_frames, record.n_valid) == ("ok", 4, 2)
    assert clip.valid.tolist() == [True, False, False, True]  # frame 3 is not in the file
    np.testing.assert_allclose(clip.timestamp_s, [0, 0.04, 0.08, 0.12])
    np.testing.assert_allclose(clip.features[[0, 3]], [[0.1, 0.2, 1.5, 1], [0.3, 0.4, 5, 1]])
    assert np.isnan(clip.features[1:3]).all()
    assert clip.n_faces.tolist() == [2, 0, 0, 1]
    np.testing.assert_allclose(clip.det_score[[0, 3]], [0.9, 0.95])
    store = stored(tmp_path / "s", found, clips)
    assert store.load(["train/v"], ["au12"]).features[0] == 1.5


def test_openface_rows_without_a_number_are_no_faces_and_another_scale_is_said(
    tmp_path: Path,
) -> None:
    head = "frame,timestamp,confidence,success,AU12_r,AU12_c\n"
    (tmp_path / "v.csv").write_text(f"{head}1,0,1,1,NaN,NA\n2,0.04,1,1,-1,0\n3,0.08,1,1,60,1\n")
    record, clip = imported("openface", tmp_path)[1]["v"]
    assert clip.valid.tolist() == [False, True, True]
    assert clip.n_faces.tolist() == [0, 1, 1]
    assert "2 AU intensities lie outside 0 to 5, from -1 to 60: are they" in record.reason


def test_times_in_another_unit_and_a_missing_header_are_told(tmp_path: Path) -> None:
    rows = "".join(f"{i},{40 * i},1,1,2\n" for i in range(9))
    (tmp_path / "v.csv").write_text(f"frame,timestamp,confidence,success,AU12_r\n{rows}")
    assert "0.025 frames/s: are they" in imported("openface", tmp_path)[1]["v"][0].reason
    (tmp_path / "v.csv").write_text("timestamp,f1\n" + "".join(f"{3 * i},1\n" for i in range(9)))
    assert "333 frames/s: are they" in imported("muse", tmp_path)[1]["v"][0].reason
    (tmp_path / "v.csv").write_text("250,1,0.5\n500,1,0.4\n")
    assert "found 250, 1, 0.5 in the first line" in refused("muse", tmp_path)


def test_pyfeat_rows_without_a_number_are_no_faces(tmp_path: Path) -> None:
    head = "FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,AU12,input,frame\n"
    (tmp_path / "v.csv").write_text(f"{head}1,1,9,9,.9,.5,v.mp4,0\n1,1,9,9,.9,NaN,v.mp4,1\n")
    assert imported("pyfeat", tmp_path)[1]["v"][1].valid.tolist() == [True, False]
    rows = "".join(f"1,1,9,9,.9,.5,v.mp4,{frame}\n" for frame in (0, 1, 0, 1))
    (tmp_path / "v.csv").write_text(head + rows)
    assert "go back 1x" in imported("pyfeat", tmp_path)[1]["v"][0].reason


def test_openface_columns_that_moved_between_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(OPENFACE)
    rows = [line.split(",") for line in OPENFACE.splitlines()]
    (tmp_path / "b.csv").write_text("\n".join(",".join(row[::-1]) for row in rows))
    _, clips = imported("openface", tmp_path)
    np.testing.assert_array_equal(clips["a"][1].features, clips["b"][1].features)


@pytest.mark.parametrize("kind", ["openface", "pyfeat", "libreface", "muse"])
def test_features_that_the_first_file_lacks_are_told(tmp_path: Path, kind: ImportKind) -> None:
    texts = {
        "openface": OPENFACE, "pyfeat": f"{BOX},AU12,AU13\n1,2,10,20,0.9,0.5,1\n",
        "libreface": "frame_idx,au_12_intensity,au_13_intensity\n0,1,1\n",
        "muse": "timestamp,AU12_r,f\n0,1,1\n",
    }  # fmt: skip
    last = {"openface": "AU12_c", "pyfeat": "AU13", "libreface": "au_13_intensity", "muse": "f"}
    (tmp_path / "b.csv").write_text(texts[kind])
    shorter = [line.rpartition(",")[0] for line in texts[kind].splitlines()]
    (tmp_path / "a.csv").write_text("\n".join(shorter))
    _, clips = imported(kind, tmp_path)
    assert "first file" not in clips["a"][0].reason
    assert f"the first file has no {last[kind]}: left out" in clips["b"][0].reason


def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    """Seen: its clip could be written to no table."""
    try:
        (tmp_path / "M\udcfcller.csv").write_text(OPENFACE)
    except OSError:
        pytest.skip("this file system takes no such names")
    for path in (tmp_path, tmp_path / "M\udcfcller.csv"):
        with pytest.raises(
            FacerError, match=r"M\\udcfcller.csv': the name is not UTF-8; rename it"
        ):
            imported("openface", path)


def test_openface_names_in_lower_case_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(OPENFACE.lower())
    found, _ = imported("openface", tmp_path)
    assert found.feature_names == ("gaze_0_x", "pose_rx", "au12", "AU12_c")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("openface", "frame,timestamp,confidence,success,AU01_r,filename\n1,0,1,1,2,a\n2,0,1,1,2,b\n"),
     ("muse", "timestamp,File_ID,f1\n0,a,1\n250,b,2\n")],
)  # fmt: skip
def test_a_file_of_several_clips_is_refused(tmp_path: Path, kind: ImportKind, text: str) -> None:
    (tmp_path / "all.csv").write_text(text)
    assert "found 2 clips such as 'a' and 'b', expected a file a clip" in refused(kind, tmp_path)


def test_times_that_stand_still_are_told(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(OPENFACE.replace(" 0.04,", " 0,").replace(" 0.12,", " 0,"))
    _, clips = imported("openface", tmp_path)
    assert "times go back or stand still 3x" in clips["v"][0].reason


def test_frames_that_are_counted_from_elsewhere_begin_at_time_0(tmp_path: Path) -> None:
    rows = [f"{i},{i * 40 - 40},0,{i}" for i in range(1, 5)]
    (tmp_path / "v.csv").write_text(
        "frame_idx,frame_time_in_ms,pitch,au_12_intensity\n" + "\n".join(rows)
    )
    _, clips = imported("libreface", tmp_path)
    np.testing.assert_allclose(clips["v"][1].timestamp_s, np.arange(4) / 25)
    assert clips["v"][1].valid.all()


def test_openface_landmarks_give_points_and_box(tmp_path: Path) -> None:
    names = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
    values = [*range(68), *range(100, 168)]
    (tmp_path / "v.csv").write_text(
        f"frame,timestamp,confidence,success,AU01_r,{','.join(names)}\n"
        f"1,0,1,1,2,{','.join(map(str, values))}\n"
    )
    _, clips = imported("openface", tmp_path / "v.csv")
    clip = clips["v"][1]
    assert clip.bbox_px[0].tolist() == [0, 100, 67, 167]
    assert clip.keypoints_px[0, :, 0].tolist() == [38.5, 44.5, 30, 48, 54]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.95, 1", "high, 1", "v.csv:5: column 'confidence': found 'high', expected a number"),
        ("4, 0, 0.12", "4.5, 0, 0.12", "v.csv:5: column 'frame': found 4.5, expected a whole"),
        ("4, 0, 0.12", "1e12, 0, 0.12", "v.csv:5: column 'frame': found 1000000000000.0, exp"),
        ("4, 0, 0.12", "1, 0, 0.12", r"v.csv:5: found a frame twice for one face \(first"),
        ("success", "other", "v.csv: found 9 columns, expected one named 'success'"),
        ("5.0, 1", "inf, 1", "v.csv:5: column 'AU12_r': found 'inf'"),
        ("AU12_r, AU12_c", "a, b", "expected one named|found no"),
    ],
)
def test_openface_mistakes(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "v.csv").write_text(OPENFACE.replace("gaze_0_x, pose_Rx", "g, p").replace(old, new))
    with pytest.raises(FacerError, match=message):
        list(import_features("openface", tmp_path / "v.csv").clips)


def test_a_file_without_rows_is_a_failed_clip(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(OPENFACE.splitlines()[0])
    found, clips = imported("openface", tmp_path)
    assert clips["v"][0].status == "failed"
    assert stored(tmp_path / "s", found, clips).record("v").reason == "its file has no rows"


def test_pyfeat(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(PYFEAT)
    found, clips = imported("pyfeat", tmp_path / "all.csv", fps=25.0)
    assert found.feature_names == ("au01", "au14", "anger", "valence")
    assert list(clips) == ["one", "two"]
    record, clip = clips["one"]
    assert (record.status, record.n_frames, record.n_valid, record.fps) == ("ok", 2, 1, 5.0)
    assert clip.timestamp_s.tolist() == [0, 0.2]
    np.testing.assert_allclose(clip.features[0], [0.6, 0.2, 0.5, 0.5])  # the larger face
    assert np.isnan(clip.features[1]).all()
    assert clip.bbox_px[0].tolist() == [5, 5, 55, 55]
    assert clip.n_faces.tolist() == [2, 0]
    assert stored(tmp_path / "s", found, clips).clip_ids == ("one", "two")


def test_pyfeat_without_rate_has_no_times(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(PYFEAT)
    _, clips = imported("pyfeat", tmp_path)
    assert np.isnan(clips["one"][1].timestamp_s).all()


def test_pyfeat_identity_seen_most_often_is_followed(tmp_path: Path) -> None:
    header = f"{BOX},AU01,frame,Identity\n"
    rows = ["0,0,9,9,1,0.9,0,B", "0,0,5,5,1,0.1,0,A", "0,0,5,5,1,0.2,1,A", "0,0,9,9,1,0.8,2,B"]
    (tmp_path / "v.csv").write_text(header + "\n".join([*rows, "0,0,5,5,1,0.3,2,A"]))
    _, clips = imported("pyfeat", tmp_path)
    np.testing.assert_allclose(clips["v"][1].features[:, 0], [0.1, 0.2, 0.3])


def test_pyfeat_inputs_that_would_be_one_clip(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(PYFEAT.replace("two.mp4", "one.mp4"))
    assert "all.csv:5: found clip 'one' again (first in " in refused("pyfeat", tmp_path)


def test_ids_in_files_never_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(PYFEAT.replace("/videos/one.mp4", "../../../etc/one.mp4"))
    assert list(imported("pyfeat", tmp_path)[1]) == ["one", "two"]


def test_muse_round_trip(store: FeatureStore, tmp_path: Path) -> None:
    assert export_store(store, tmp_path / "feats", "muse") == 4
    names = sorted(f.name for f in (tmp_path / "feats").iterdir())
    assert names == ["1.csv", "a.csv", "broken.csv", "c.csv"]
    found, clips = imported("muse", tmp_path / "feats")
    assert found.feature_names == store.feature_names
    for ours, theirs in (("a", "a"), ("b/1", "1"), ("c", "c")):
        expected, (record, clip) = store.read(ours), clips[theirs]
        np.testing.assert_array_equal(clip.features, expected.features)
        np.testing.assert_array_equal(clip.valid, expected.valid)
        np.testing.assert_allclose(clip.timestamp_s, expected.timestamp_s)
        assert record.status == store.record(ours).status
    assert clips["broken"][0].status == "failed"


@pytest.mark.parametrize(
    ("meta", "cells", "times"),
    [
        ("timestamp,segment_id", ["0,1", "250,1"], [0, 0.25]),
        ("File_ID,timestamp", ["7,0", "7,0.25"], [0, 0.25]),
        ("segment_id", ["1", "1"], [np.nan, np.nan]),
        (",timestamp,segment_id", ["0,0,1", "1,250,1"], [0, 0.25]),  # pandas' index
        ("name,frame,Time", ["a,0,0", "a,1,0.25"], [0, 0.25]),
        ("timestamp_ms", ["1500", "1501"], [1.5, 1.501]),
        ("timestamp_s", ["0", "4"], [0, 4]),
        ("start,end", ["0,0.25", "0.25,0.5"], [0, 0.25]),
    ],
)
def test_muse_meta_columns(tmp_path: Path, meta: str, cells: list[str], times: list[float]) -> None:
    (tmp_path / "00012.csv").write_text(f"{meta},f1,f2\n{cells[0]},1,2\n{cells[1]},3,4\n")
    found, clips = imported("muse", tmp_path)
    assert found.feature_names == ("f1", "f2")
    clip = clips["00012"][1]
    np.testing.assert_array_equal(clip.timestamp_s, times)
    assert clip.features.tolist() == [[1, 2], [3, 4]]
    assert clip.valid.all()


def test_hdf5_round_trip_is_lossless(
    store: FeatureStore, tmp_path: Path, make_entry: Make, same_clip: Make
) -> None:
    names = ("..", "x/features", "50%/ü [1]")
    store.write_part([make_entry(name, 3, embedding=4) for name in names])
    assert export_store(store, tmp_path / "f.h5", "hdf5") == 7
    found, clips = imported("hdf5", tmp_path / "f.h5")
    assert found.feature_names == store.feature_names
    assert found.weak_features == store.weak_features
    assert found.provenance == store.provenance
    assert sorted(clips) == sorted(store.clip_ids)
    again = stored(tmp_path / "s", found, clips)
    for record in store.records:
        if record.status != "failed":
            same_clip(again.read(record.clip_id), store.read(record.clip_id))
        assert again.record(record.clip_id).reason == record.reason
        assert again.record(record.clip_id).source == record.source


def test_hdf5_takes_many_columns(tmp_path: Path, store: FeatureStore, make_entry: Make) -> None:
    names = [f"a rather long name of feature {i}" for i in range(4096)]
    wide = FeatureStore.create(tmp_path / "wide", store.provenance, feature_names=names)
    wide.write_part([make_entry("a", 2, columns=4096)])
    export_store(wide, tmp_path / "f.h5", "hdf5")
    assert import_features("hdf5", tmp_path / "f.h5").feature_names == tuple(names)


def test_hdf5_of_another_program(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs["feature_names"] = ["x", "y"]
        file["train/1/features"] = np.array([[1, 2], [np.nan, np.nan]])
        file["train/2/features"] = np.array([[4.0, 3.0]])
        file["train/2"].attrs["feature_names"] = ["y", "x"]
        file["train/2/timestamp_s"] = [0.5]
        file["train/2/valid"] = [True]
    found, clips = imported("hdf5", tmp_path / "f.h5")
    assert found.feature_names == ("x", "y")
    assert clips["train/1"][1].valid.tolist() == [True, False]
    assert clips["train/2"][1].features.tolist() == [[3, 4]]
    assert clips["train/2"][1].timestamp_s.tolist() == [0.5]
    stored(tmp_path / "s", found, clips)


def test_hdf5_numbers_that_cannot_be_meant(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["a/features"] = np.full((2, 2), 1e300)
    assert "group 'a': found features that float32 cannot hold" in refused("hdf5", path)
    for flags in ([1.0, np.nan], [1, -1]):
        with h5py.File(path, "w") as file:
            file["a/features"] = np.zeros((2, 2))
            file["a/valid"] = flags
        assert "'/a/valid': found numbers other than 0 and 1" in refused("hdf5", path)
    with h5py.File(path, "w") as file:
        file["a/features"] = np.zeros((2, 2))
        file["a/timestamps"] = [0, 0.04]
    _, clips = imported("hdf5", path)
    assert clips["a"][0].reason == "not read in its group: timestamps"


def test_hdf5_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    path.write_bytes(b"text")
    assert "f.h5: cannot be read as HDF5" in refused("hdf5", path)
    h5py.File(path, "w").close()
    assert "found no group with a dataset 'features'" in refused("hdf5", path)
    with h5py.File(path, "w") as file:
        file["a/features"] = np.zeros((2, 2))
        file["a/valid"] = [True]
    assert "group 'a': valid: found shape (1,), expected (2,)" in refused("hdf5", path)
    with h5py.File(path, "w") as file:
        file.attrs["names"] = ["x"]
        file["a/features"] = np.zeros((2, 2))
    message = refused("hdf5", path)
    assert "found 2 columns of features, expected 1 as in attribute 'names'" in message
    with h5py.File(path, "w") as file:
        file["a/features"] = np.zeros((2, 2))
        file["b/features"] = np.zeros((2, 3))
    assert "group 'b': found features (2, 3) named f000" in refused("hdf5", path)


def test_a_damaged_clip_of_our_hdf5(store: FeatureStore, tmp_path: Path) -> None:
    export_store(store, tmp_path / "f.h5", "hdf5")
    with h5py.File(tmp_path / "f.h5", "a") as file:
        del file["a"].attrs["record"]
    assert "clip 'a': found a damaged group" in refused("hdf5", tmp_path / "f.h5")


def test_parquet(store: FeatureStore, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export_store(store, tmp_path / "f.parquet") == 4
    table = parquet.read_table(tmp_path / "f.parquet")
    ids = np.array(table["clip_id"].to_pylist())
    assert ids.tolist() == ["a"] * 7 + ["b/1"] * 3 + ["broken"] + ["c"] * 4
    status = ["ok"] * 10 + ["failed"] + ["no_face"] * 4
    assert table["status"].to_pylist() == status
    broken = table.slice(10, 1).to_pylist()[0]
    assert {name for name, value in broken.items() if value is not None} == {"clip_id", "status"}
    clip = store.read("b/1")
    rows = np.flatnonzero(ids == "b/1")
    features = np.stack([table[name].to_numpy()[rows] for name in store.feature_names], axis=1)
    np.testing.assert_array_equal(features, clip.features)
    np.testing.assert_array_equal(table["valid"].to_numpy()[rows], clip.valid)
    np.testing.assert_array_equal(table["bbox_x2_px"].to_numpy()[rows], clip.bbox_px[:, 2])
    np.testing.assert_array_equal(table["nose_y_px"].to_numpy()[rows], clip.keypoints_px[:, 2, 1])


@pytest.mark.parametrize("long", [False, True])
def test_a_design_column_with_a_name_of_the_table_is_told(
    store: FeatureStore, tmp_path: Path, long: bool
) -> None:
    """Seen: with ``long``, the design's texts stood in the table's own column."""
    design = Design((DesignRow("a", carried=("1",)),), ("frame_index",), "design.csv")
    with pytest.raises(FacerError, match="found columns named frame_index twice"):
        export_store(store, tmp_path / "f.csv", design=design, long=long)
    assert not (tmp_path / "f.csv").exists()


def test_names_of_features_are_no_formulas(
    tmp_path: Path, provenance: Any, make_entry: Make
) -> None:
    made = FeatureStore.create(tmp_path / "s.zarr", provenance, feature_names=("=x",))
    made.write_part([make_entry("a", 2, columns=1)])
    export_store(made, tmp_path / "f.csv", long=True)
    assert (tmp_path / "f.csv").read_text().count(",'=x,") == 2


def test_parquet_of_failed_clips_alone(tmp_path: Path, provenance: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    store = FeatureStore.create(tmp_path / "f.zarr", provenance)
    store.write_part([(Record("x", "failed", 0, "broken"), None)])
    assert export_store(store, tmp_path / "f.parquet") == 1
    assert parquet.read_table(tmp_path / "f.parquet")["status"].to_pylist() == ["failed"]


def test_csv_has_every_clip_with_its_status(store: FeatureStore, tmp_path: Path) -> None:
    """Seen: HDF5 under the name of a csv; failed clips left out without a word."""
    assert export_store(store, tmp_path / "f.csv") == 4
    with (tmp_path / "f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == ["a"] * 7 + ["b/1"] * 3 + ["broken"] + ["c"] * 4
    assert {row["clip_id"]: row["status"] for row in rows} == {
        "a": "ok", "b/1": "ok", "broken": "failed", "c": "no_face"
    }  # fmt: skip
    clip, own = store.read("b/1"), rows[7:10]
    values = [[float(row[n] or "nan") for n in store.feature_names] for row in own]
    np.testing.assert_array_equal(np.array(values, np.float32), clip.features)
    np.testing.assert_allclose([float(row["timestamp_s"]) for row in own], clip.timestamp_s)
    assert [row["valid"] for row in own] == [str(valid) for valid in clip.valid]
    assert [float(row["bbox_x2_px"] or "nan") for row in own] == pytest.approx(
        clip.bbox_px[:, 2], nan_ok=True
    )
    assert set(rows[10].values()) == {"broken", "failed", ""}


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("f.csv", "hdf5", "ending is that of csv, and format is hdf5"),
        ("f.CSV", "muse", "ending is that of csv, and format is muse"),
        ("f.h5", "parquet", "ending is that of hdf5, and format is parquet"),
        ("f.xlsx", None, "its ending names no format; expected .h5"),
        ("feats", None, "or format muse for a folder"),
    ],
)
def test_the_ending_and_the_format_agree(
    store: FeatureStore, tmp_path: Path, name: str, form: Any, message: str
) -> None:
    with pytest.raises(FacerError, match=message):
        export_store(store, tmp_path / name, form)
    assert not (tmp_path / name).exists()


def test_parquet_without_pyarrow(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(FacerError, match=r"found no pyarrow.*pip install 'facer\[parquet\]'"):
        export_store(store, tmp_path / "f.parquet", "parquet")
    assert not any(name.name.startswith(".f") for name in tmp_path.iterdir())


def test_what_cannot_be_exported(store: FeatureStore, tmp_path: Path, make_entry: Make) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(FacerError, match="there: found something there, expected a new path"):
        export_store(store, tmp_path / "there", "hdf5")
    with pytest.raises(FacerError, match="export format: found 'xls', expected one of muse"):
        export_store(store, tmp_path / "x", "xls")  # type: ignore[arg-type]
    store.write_part([make_entry("z/a"), make_entry("z/..")])
    with pytest.raises(FacerError, match="found clips 'a' and 'z/a', expected different names"):
        export_store(store, tmp_path / "x", "muse", ["a", "z/a"])
    with pytest.raises(FacerError, match=r"clip 'z/\.\.': found an id that cannot name a csv"):
        export_store(store, tmp_path / "x", "muse", ["z/.."])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", "there"]


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    assert "found no such file or folder" in refused("muse", tmp_path / "x")
    assert "found no .csv file there, expected" in refused("muse", tmp_path)
    (tmp_path / "1.npy").write_bytes(b"")
    assert "found no .csv file there (but .npy), expected" in refused("muse", tmp_path)
    (tmp_path / "a.csv").write_text("clip_id,joy\na,1\n")
    assert "a.csv: found no AU, gaze" in refused("openface", tmp_path)
    with pytest.raises(FacerError, match="import kind: found 'praat', expected one of muse"):
        import_features("praat", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(FacerError, match=r"fps: found 0\.0, expected a positive number"):
        import_features("pyfeat", tmp_path, fps=0.0)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real tables beside the checkout")
def test_real_files(tmp_path: Path) -> None:
    found, clips = imported("openface", SHARED / "OpenFace_Test.csv")
    assert {"au12", "AU12_c", "pose_Rx"} <= set(found.feature_names)
    assert (clips["OpenFace_Test"][0].n_frames, clips["OpenFace_Test"][0].n_valid) == (100, 100)
    stored(tmp_path / "of", found, clips)
    for file, clip_id, frames in (
        ("001", "001", 40),
        ("002", "002", 28),
        ("Feat_Test", "single_face", 1),
    ):
        found, clips = imported("pyfeat", SHARED / f"{file}.csv")
        record, clip = clips[clip_id]
        assert (record.n_frames, record.n_valid) == (frames, frames)
        happiness = clip.features[:, found.feature_names.index("happiness")]
        assert happiness.mean() > 0.5
        stored(tmp_path / file, found, clips)


def openface_rows(rows: list[tuple[int, int, int, float]]) -> str:
    """A csv of (frame, face_id, success, AU12)."""
    lines = [f"{f},{face},{f / 25},0.9,{ok},{au}" for f, face, ok, au in rows]
    return "frame,face_id,timestamp,confidence,success,AU12_r\n" + "\n".join(lines) + "\n"


def test_a_face_that_is_found_again_goes_on(tmp_path: Path) -> None:
    rows = [(f, f // 20, 1, f / 10) for f in range(1, 48)]
    (tmp_path / "v.csv").write_text(openface_rows(rows))
    _, clips = imported("openface", tmp_path)
    record, clip = clips["v"]
    assert (record.n_frames, record.n_valid) == (47, 47)
    np.testing.assert_allclose(clip.features[:, 0], np.arange(1, 48) / 10, rtol=1e-6)
    assert record.reason == "3 face_ids never seen together are taken for one face"


def test_people_who_are_seen_together_stay_apart_and_the_loss_is_said(tmp_path: Path) -> None:
    """One person all the time, another in the middle, and a third where the first is lost."""
    rows = [(f, 0, int(f <= 20), 1.0) for f in range(1, 25)]
    rows += [(f, 1, 1, 2.0) for f in range(8, 27)]
    (tmp_path / "v.csv").write_text(openface_rows(sorted(rows)))
    _, clips = imported("openface", tmp_path)
    record, clip = clips["v"]
    assert clip.valid.tolist() == [True] * 20 + [False] * 6
    assert set(clip.features[:20, 0]) == {1.0}
    assert clip.n_faces[10] == 2
    assert record.reason == "in 6 frames other faces alone were measured: left out"


def test_values_of_older_builds_of_openface_are_absent(tmp_path: Path) -> None:
    text = openface_rows([(1, 0, 1, 1.0), (2, 0, 1, 7.0), (3, 0, 1, 8.0)])
    text = text.replace(",7.0", ",-1.#IND").replace(",8.0", ",1.#QNAN")
    (tmp_path / "v.csv").write_text(text)
    _, clips = imported("openface", tmp_path)
    assert np.isnan(clips["v"][1].features[1:]).all()
    assert clips["v"][1].features[0, 0] == 1


def test_openface_on_pictures_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("face, confidence, gaze_0_x, AU12_r, AU12_c\n0,0.9,0.1,1,1\n")
    message = refused("openface", tmp_path)
    assert "FaceLandmarkImg" in message
    assert "run FeatureExtraction -f VIDEO, or -fdir FOLDER" in message


@pytest.mark.parametrize(
    ("names", "clip_id"),
    [
        (["frames/clipB/{}.jpg"], "clipB"),
        (["C:\\frames\\clipB\\frame_{}.png"], "clipB"),
        (["frames/clipB_{}.jpg"], "clipB"),
        (["{}.jpg"], "all"),
    ],
)
def test_pyfeat_pictures_of_one_clip_are_its_frames(
    tmp_path: Path, names: list[str], clip_id: str
) -> None:
    header = f"{BOX},AU12,input,frame\n"
    rows = [f"0,0,9,9,1,0.{i},{names[0].format(i)},0" for i in (1, 10, 2)]  # as files are sorted
    (tmp_path / "all.csv").write_text(header + "\n".join(rows))
    _, clips = imported("pyfeat", tmp_path, fps=10.0)
    record, clip = clips[clip_id]
    assert len(clips) == 1
    np.testing.assert_allclose(clip.features[:, 0], [0.1, 0.2, 0.1])
    assert clip.timestamp_s.tolist() == [0, 0.1, 0.2]
    assert record.reason == "3 numbered pictures are taken for the frames of one clip"


def test_pyfeat_pictures_of_different_names_stay_clips(tmp_path: Path) -> None:
    header = f"{BOX},AU12,input,frame\n"
    rows = [f"0,0,9,9,1,0.1,photos/{name}.jpg,{i}" for i, name in enumerate(("ann", "ben", "x1"))]
    (tmp_path / "all.csv").write_text(header + "\n".join(rows))
    assert list(imported("pyfeat", tmp_path)[1]) == ["ann", "ben", "x1"]


LIBREFACE = """frame_idx,frame_time_in_ms,pitch,yaw,roll,lm_0_x,au_1,au_12,au_12_intensity,{}
0,0,1.5,2.0,0.1,7,0,1,3.25,Happiness,0.5,0.6
2,{:.0f},1.6,2.0,0.1,7,1,0,0.5,Neutral,0.5,0.7
"""
COLUMNS = "facial_expression,gaze_yaw,gaze_pitch"


def test_libreface(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(LIBREFACE.format(COLUMNS, 80))
    found, clips = imported("libreface", tmp_path)
    names = ("pitch", "yaw", "roll", "au_1", "au_12", "au12", "gaze_yaw", "gaze_pitch")
    assert found.feature_names[:8] == names
    assert found.provenance.settings["imported"] == "libreface"
    record, clip = clips["v"]
    assert (record.status, record.n_frames, record.n_valid) == ("ok", 3, 2)
    assert clip.valid.tolist() == [True, False, True]  # frames without a face are not in the file
    np.testing.assert_allclose(clip.timestamp_s, [0, 0.04, 0.08])
    by_name = dict(zip(found.feature_names, clip.features.T, strict=True))
    assert by_name["au12"][[0, 2]].tolist() == [3.25, 0.5]
    assert by_name["happiness"][[0, 2]].tolist() == [1, 0]
    assert by_name["neutral"][[0, 2]].tolist() == [0, 1]
    stored(tmp_path / "s", found, clips)


def test_libreface_writes_seconds_under_the_name_of_milliseconds(tmp_path: Path) -> None:
    """Version 0.2 divides the number by the rate and calls it ms."""
    rows = [f"{i},{i / 25},0,{i}" for i in range(3, 6)]
    (tmp_path / "v.csv").write_text(
        "frame_idx,frame_time_in_ms,pitch,au_12_intensity\n" + "\n".join(rows)
    )
    _, clips = imported("libreface", tmp_path)
    np.testing.assert_allclose(clips["v"][1].timestamp_s, np.arange(6) / 25, atol=1e-12)


def test_libreface_mistakes(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("frame_idx,AU12\n0,1\n")
    assert "found no column such as au_12_intensity" in refused("libreface", tmp_path)
    text = LIBREFACE.format(COLUMNS, 80)
    (tmp_path / "v.csv").write_text(text.replace("Neutral", "Glee"))
    assert "v.csv:3: column 'facial_expression': found 'Glee'" in refused("libreface", tmp_path)
    (tmp_path / "v.csv").write_text(text.replace("\n2,80", "\n0,80"))
    assert "found a frame twice" in refused("libreface", tmp_path)


def test_frames_that_openface_s_file_leaves_out_first_have_their_times(tmp_path: Path) -> None:
    rows = [f"{frame},0,{(frame - 1) / 25:.3f},0.98,1,{frame / 20:.2f}" for frame in range(11, 61)]
    header = "frame, face_id, timestamp, confidence, success, AU12_r"
    (tmp_path / "a.csv").write_text("\n".join([header, *rows]))
    (record, arrays), *_ = import_features("openface", tmp_path).clips
    arrays = some(arrays)
    np.testing.assert_allclose(arrays.timestamp_s, np.arange(60) / 25, atol=1e-9)
    assert record.fps == pytest.approx(25)
    assert not arrays.valid[:10].any()


LIBREFACE_TIMES = "frame_idx,frame_time_in_ms,pitch,au_12_intensity\n"


@pytest.mark.parametrize(
    ("kind", "text", "times"),
    [
        ("muse", "timestamp,f1\n0,1\n,1\n500,1\n1000,1\n", [0, np.nan, 0.5, 1]),
        ("muse", "timestamp,f1\n1000,1\n500,1\n0,1\n", [1, 0.5, 0]),
        ("muse", "timestamp,f1\n500,1\n", [np.nan]),  # alone, it tells no unit
        ("muse", "Time (ms),f1\n0,1\n1,1\n", [0, 0.001]),
        ("muse", "clip_id,participant,start [s],f1\nv,p,0,1\nv,p,5,1\n", [0, 5]),
        ("libreface", f"{LIBREFACE_TIMES}0,0,0,1\n1,,0,1\n3,120,0,1\n4,,0,1\n",
         [0, 0.04, 0.08, 0.12, 0.16]),
        ("libreface", f"{LIBREFACE_TIMES}2,80,0,1\n", [np.nan] * 3),
        ("openface", "frame,timestamp,confidence,success,AU12_r\n"
         "1,,1,1,2\n2,0.04,1,1,2\n4,0.12,1,1,2\n",
         [0, 0.04, 0.08, 0.12]),
    ],
)  # fmt: skip
def test_times_with_gaps_and_alone_keep_their_unit(
    tmp_path: Path, kind: ImportKind, text: str, times: list[float]
) -> None:
    (tmp_path / "v.csv").write_text(text)
    clip = imported(kind, tmp_path)[1]["v"][1]
    np.testing.assert_allclose(clip.timestamp_s, times, atol=1e-9)
    assert clip.features.shape[1] == len(imported(kind, tmp_path)[0].feature_names) <= 2


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("muse", "id,timestamp,f1\n1,0,1\n1,5,1\n2,0,1\n", "column 'id': found 2 clips"),
        ("muse", "timestamp,participant,f1\n0,a,1\n5,a,1\n0,b,1\n", "'participant': found 2 clips"),
        ("muse", "3,1,2\n1,2,3\n", "in the first line, expected the names"),
        ("openface", "frame,timestamp,confidence,success,AU12_r\n1,0,1,0.98,2\n",
         "v.csv:2: column 'success': found 0.98, expected 0 or 1"),
        ("openface", "frame,timestamp,confidence,success,AU12_r,au12_r\n1,0,1,1,2,3\n",
         "'AU12_r' and 'au12_r', which are both 'au12'"),
        ("openface", "frame,timestamp,confidence,success,AU12_r\n9999999,0,1,1,2\n",
         "found 9999999.0, expected a whole number from 0 to 1000000"),
    ],
)  # fmt: skip
def test_rows_that_are_not_those_of_one_clip_are_refused(
    tmp_path: Path, kind: ImportKind, text: str, message: str
) -> None:
    (tmp_path / "v.csv").write_text(text)
    assert message in refused(kind, tmp_path)


def test_steps_that_may_be_seconds_are_told(tmp_path: Path) -> None:
    """Seen: segments of 5 s became rows 5 ms apart without a word."""
    for name, step in (("timestamp", 5), ("timestamp", 500), ("timestamp", 0.04), ("time_ms", 5)):
        rows = "".join(f"{step * i},1\n" for i in range(4))
        (tmp_path / "v.csv").write_text(f"{name},f1\n{rows}")
        reason = imported("muse", tmp_path)[1]["v"][0].reason
        assert ("taken for milliseconds" in reason) == ((name, step) == ("timestamp", 5))


def test_a_row_s_own_number_and_who_speaks_name_no_clips(tmp_path: Path) -> None:
    rows = ["1,0,1,7", "2,250,0,7", "3,500,1,7"]
    (tmp_path / "v.csv").write_text("\n".join(["id,timestamp,speaker,f1", *rows]))
    assert imported("muse", tmp_path)[1]["v"][0].n_valid == 3


def test_libreface_s_words_are_columns_as_in_the_first_file(tmp_path: Path) -> None:
    bare, words = f"{LIBREFACE_TIMES}0,0,1,2\n", LIBREFACE_TIMES.strip() + ",facial_expression\n"
    (tmp_path / "a.csv").write_text(bare)
    (tmp_path / "b.csv").write_text(f"{words}0,0,1,2,Fear\n")
    found, clips = imported("libreface", tmp_path)
    assert {clip.features.shape[1] for _, clip in clips.values()} == {len(found.feature_names)}
    (tmp_path / "c.csv").write_text(bare)
    (tmp_path / "a.csv").write_text(f"{words}0,0,1,2,Fear\n")
    assert "c.csv: found 4 columns, expected one named 'facial_exp" in refused(
        "libreface", tmp_path
    )


def test_a_time_without_end_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["v/features"] = np.ones((2, 1))
        file["v/timestamp_s"] = [0, np.inf]
    assert "clip 'v': times: found an infinite one" in refused("hdf5", tmp_path / "f.h5")
