"""What a lab's other programs read: the same stretches and numbers, nothing where nothing was."""

import csv
import gzip
import json
import re
import shutil
import subprocess
import warnings

import numpy as np
import pytest

import facer
from facer.storage import FEATURE_NAMES, FacerError, FeatureStore
from facer.storage.exchange.tiers import Stretch, Tier, textgrid
from tests.support import exit_code, outcome, told

RATE = np.arange(100) / 25.0
SMILE = np.where((RATE >= 1) & (RATE < 2), 0.9, 0.1)
SEEN = (RATE < 3) | (RATE >= 3.4)


@pytest.fixture
def store(study_store):
    return study_store({
        "sub/P1_joke": (RATE, {"au12": SMILE}, SEEN), "sub/P2_joke": (RATE, {"au12": SMILE}),
        "sub/P1_news": (RATE, {}), "sub/P3_joke": None,
    })  # fmt: skip


@pytest.fixture
def export(store, tmp_path, capsys):
    """``export(format, *options)``: the folder."""

    def call(form, *options):
        out = tmp_path / form
        told(capsys, "export", store, out, "--format", form, *options)
        return out

    return call


@pytest.fixture
def marks(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text(
        'clip_id,start_s,stop_s,mark,note\nsub/P1_joke,0.2,0.5,hand,"he said ""no"" & <"\n'
    )
    return path


def test_elan_reads_the_tiers(export, marks, tmp_path):
    Eaf = pytest.importorskip("pympi").Eaf
    out = export("elan", "--marks", marks, "--videos", tmp_path / "videos")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pympi's own: it knows EAF up to 2.8
        found = Eaf(str(out / "sub" / "P1_joke.eaf"))
    assert found.get_annotation_data_for_tier("au12") == [(1000, 2000, "0.900")]
    assert found.get_annotation_data_for_tier("no_face") == [(3000, 3400, "no face")]
    assert found.get_annotation_data_for_tier("marks") == [(200, 500, 'hand: he said "no" & <')]
    assert set(FEATURE_NAMES) < set(found.get_tier_names())
    curves = np.genfromtxt(out / "sub" / "P1_joke.txt", names=True, delimiter="\t")
    counted = SEEN & ~((RATE >= 0.2) & (RATE < 0.5))
    np.testing.assert_allclose(curves["au12"], np.where(counted, SMILE, np.nan), atol=1e-6)


def test_a_name_that_is_too_long_is_told_before_the_work(study_store, tmp_path, capsys):
    """Seen: after all clips were written, and without a way out; ids of ours were not cut."""
    name = "L" * 250
    store = study_store({name: (RATE[:5], {}), "d/" * 130 + "a": (RATE[:5], {}), "z": None})
    for form in ("elan", "bids", "imotions"):
        told(capsys, "export", store, tmp_path / form, "--format", form)
    for form in ("textgrid", "facereader"):
        with pytest.raises(FacerError, match="bytes too long; leave it out by exclude"):
            facer.export(store, tmp_path / form, format=form)
        assert not (tmp_path / form).exists()
    (tmp_path / "design.csv").write_text(f"clip_id,exclude\n{name},1\n{'d/' * 130}a,\n")
    options = ("--format", "textgrid", "--design", tmp_path / "design.csv", "--json")
    out, _ = told(capsys, "export", store, tmp_path / "t", *options)
    assert (json.loads(out)["clips"], json.loads(out)["failed"]) == (1, {})  # z: outside


def test_a_failed_clip_is_failed_in_every_table(study_store, tmp_path):
    """Seen: `excluded` in a table of frames where clips.csv has `failed`."""
    store = study_store({"a": (RATE, {}), "b": None})
    (tmp_path / "design.csv").write_text("clip_id,exclude\na,1\nb,1\nc,1\n")
    facer.export(store, tmp_path / "f.csv", design=tmp_path / "design.csv")
    with (tmp_path / "f.csv").open(newline="") as file:
        found = {row["clip_id"]: row["status"] for row in csv.DictReader(file)}
    clips = facer.summarise(store, tmp_path / "design.csv").clips
    assert found == dict(zip(clips.clip_id, clips.status, strict=True))


def test_praat_reads_the_same_tiers(export, marks):
    textgrid = pytest.importorskip("praatio.textgrid")
    out = export("textgrid", "--marks", marks)
    found = textgrid.openTextgrid(
        str(out / "sub" / "P1_joke.TextGrid"), includeEmptyIntervals=False
    )
    assert [tuple(one) for one in found.getTier("au12").entries] == [(1, 2, "0.900")]
    assert [tuple(one) for one in found.getTier("no_face").entries] == [(3, 3.4, "no face")]
    assert [tuple(one) for one in found.getTier("marks").entries] == [
        (0.2, 0.5, 'hand: he said "no" & <')
    ]
    assert found.maxTimestamp == pytest.approx(4)


def test_praat_s_times_have_no_exponent_and_all_end_together() -> None:
    stretches = [Stretch(4.8e-05, 0.6805675, "x")]
    text = textgrid([Tier("au12", stretches)], 0.68056749)
    assert "e-05" not in text
    ends = set(re.findall(r"xmax = (.*)", text))
    assert ends == {"0.000048", str(max(map(float, ends)))}


def test_bids_has_a_recording_a_clip(export, tmp_path):
    events = tmp_path / "events.csv"
    events.write_text("clip_id,onset_s,duration_s,trial_type\nsub/P1_joke,12345.678,2,punch line\n")
    out = export("bids", "--design", "{participant}_{condition}", "--events", events)
    folder = out / "sub-P1" / "beh"
    meta = json.loads((folder / "sub-P1_task-joke_recording-face_physio.json").read_text())
    assert (meta["SamplingFrequency"], meta["StartTime"]) == (25, 0)
    assert meta["Columns"] == [*FEATURE_NAMES, "seen_share"]
    assert all(set(meta[name]) == {"Description", "Units"} for name in meta["Columns"])
    packed = (folder / "sub-P1_task-joke_recording-face_physio.tsv.gz").read_bytes()
    assert packed[3:8] == bytes(5)  # neither a name nor a time
    rows = [line.split("\t") for line in gzip.decompress(packed).decode().splitlines()]
    smile = [row[FEATURE_NAMES.index("au12")] for row in rows]
    assert (len(rows), smile[30], smile[80]) == (100, "0.9", "n/a")
    assert (folder / "sub-P1_task-joke_events.tsv").read_text().splitlines() == [
        "onset\tduration\ttrial_type", "12345.678\t2\tpunch line",
    ]  # fmt: skip
    assert not (out / "sub-P3").exists()
    validator = shutil.which("bids-validator-deno")
    if validator is None:
        pytest.skip("the validator is not installed")
    checked = subprocess.run([validator, "--json", str(out)], capture_output=True, text=True)
    issues = json.loads(checked.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue.get("severity") == "error"] == []


@pytest.mark.parametrize(
    "times",
    [np.arange(200) * 3 / 25, np.arange(200) * 0.03, np.arange(200) * 7 / 30 + 0.4,
     np.arange(200) * 3 / 50, np.round(np.arange(200) * 1001 / 30000, 6),
     np.round(np.arange(200) / 30, 3)],
)  # fmt: skip
def test_bids_has_a_row_a_frame_at_any_frame_rate(study_store, tmp_path, times):
    store = study_store({"a": (times, {"au12": np.arange(200) / 1000})})
    exit_code("export", store, tmp_path / "bids", "--format", "bids")
    base = tmp_path / "bids" / "sub-a" / "beh" / "sub-a_task-video_recording-face_physio"
    meta = json.loads(base.with_suffix(".json").read_text())
    lines = gzip.decompress((base.with_suffix(".tsv.gz")).read_bytes()).decode().splitlines()
    shown = [float(line.split("\t")[FEATURE_NAMES.index("au12")]) for line in lines]
    np.testing.assert_allclose(shown, np.arange(200) / 1000, atol=1e-6)
    told_s = meta["StartTime"] + np.arange(200) / meta["SamplingFrequency"]
    np.testing.assert_allclose(told_s, times, atol=1e-3)


def test_facereader_says_find_failed(export):
    out = export("facereader", "--design", "{participant}_{condition}")
    lines = (out / "sub" / "P1_joke_detailed.txt").read_text().splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("Video Time"))
    names = lines[header].split("\t")
    assert names[1:3] == ["Neutral", "Happy"]
    place = names.index("Action Unit 12 - Lip Corner Puller")
    rows = [line.split("\t") for line in lines[header + 1 :]]
    assert [rows[30][0], rows[30][place]] == ["00:00:01.200", "0.9"]
    assert set(rows[80][1:-2]) == {"FIND_FAILED"}
    assert rows[80][-2] == "joke"


def test_intensities_are_in_no_log_of_facereader(study_store, tmp_path):
    """Seen: 4.5 of 5 in a column of 0 to 1, which ``import facereader`` took for a probability."""
    store = study_store({"a": (RATE, {"au12": 4.5})}, au_scale="intensity 0 to 5")
    with pytest.raises(FacerError, match="found action units of 0 to 5, expected shares"):
        facer.export(store, tmp_path / "f", format="facereader")
    assert not (tmp_path / "f").exists()


def test_imotions_counts_from_the_stimulus(export, tmp_path):
    design = tmp_path / "design.csv"
    design.write_text("clip_id,participant,condition,onset_s\nP1_joke,P1,joke,1\n")
    out = export("imotions", "--design", design)
    data = (out / "Ex_Data" / "P1" / "facer" / "joke.csv").read_bytes()
    table = np.genfromtxt(data.decode().splitlines(), names=True, delimiter=",")
    assert table["timestamp"][0] == -1000
    assert table["timestamp"][30] == 200
    np.testing.assert_allclose(table["au12"][SEEN], SMILE[SEEN], atol=1e-6)


def test_imotions_counts_from_the_first_of_several_events(export, tmp_path):
    events = tmp_path / "events.csv"
    events.write_text("clip_id,onset_s,trial_type\nP1_joke,3,b\nP1_joke,1,a\n")
    out = export("imotions", "--events", events)
    data = (out / "Ex_Data" / "sub_P1_joke" / "facer" / "sub_P1_joke.csv").read_text()
    assert data.splitlines()[1].startswith("-1000.000,")


def test_openface_comes_back_in(export, tmp_path):
    out = export("openface")
    header = (out / "sub" / "P1_joke.csv").read_text().splitlines()[0]
    assert "AU12_c" in header
    assert "_r" not in header
    exit_code("import", "openface", out, "-o", tmp_path / "back.zarr")
    clip = FeatureStore.open(tmp_path / "back.zarr")["sub/P1_joke"]
    np.testing.assert_array_equal(clip.valid, SEEN)
    np.testing.assert_array_equal(clip["AU12_c"][SEEN], SMILE[SEEN] > 0.5)


def test_a_clip_that_failed_is_told(store, tmp_path, capsys):
    printed, _ = told(capsys, "export", store, tmp_path / "j", "--format", "json")
    assert "sub/P3_joke: no video stream" in printed


def test_json_has_a_clip_whole(export):
    out = export("json")
    found = json.loads((out / "sub" / "P1_joke.json").read_text())
    assert found["clip"]["status"] == "ok"
    assert len(found["series"]["au12"]) == len(found["series"]["t_s"]) == 40
    assert found["series"]["au12"][32] is None
    summary = next(row for row in found["summary"] if row["feature"] == "au12")
    assert summary["episodes"] == 1


def test_what_is_marked_is_in_no_export(export, tmp_path):
    marks = tmp_path / "marks.csv"
    marks.write_text(
        "clip_id,start_s,stop_s,mark,feature\nP1_joke,1.2,1.4,hand,\nP1_joke,1.6,1.8,hand,au12\n"
    )
    marked = ((RATE >= 1.2) & (RATE < 1.4)) | ((RATE >= 1.6) & (RATE < 1.8))
    read = {
        "elan": ("sub/P1_joke.txt", 0, "\t", "au12"),
        "imotions": ("Ex_Data/sub_P1_joke/facer/sub_P1_joke.csv", 0, ",", "au12"),
        "openface": ("sub/P1_joke.csv", 0, ",", "AU12_c"),
        "facereader": ("sub/P1_joke_detailed.txt", 7, "\t", "Action_Unit_12__Lip_Corner_Puller"),
    }
    for form, (name, skip, separator, column) in read.items():
        lines = (export(form, "--marks", marks) / name).read_text().splitlines()[skip:]
        found = np.genfromtxt(lines, names=True, delimiter=separator)
        there = found[column].astype(float)
        if form == "openface":  # a frame without a face is 0 there
            there[found["success"] == 0] = np.nan
        np.testing.assert_array_equal(np.isnan(there), marked | ~SEEN, form)
    base = export("bids", "--marks", marks) / "sub-subP1joke" / "beh"
    [packed] = base.glob("*.tsv.gz")
    lines = gzip.decompress(packed.read_bytes()).decode().replace("n/a", "nan").splitlines()
    there = np.genfromtxt(lines)[:, FEATURE_NAMES.index("au12")]
    np.testing.assert_array_equal(np.isnan(there), marked | ~SEEN)
    series = json.loads((export("json", "--marks", marks) / "sub" / "P1_joke.json").read_text())
    empty = [i for i, v in enumerate(series["series"]["au12"]) if v is None]
    assert empty == [12, 13, 16, 17, 30, 31, 32, 33]


def test_a_clip_that_misses_few_frames_has_them_empty(study_store, tmp_path):
    """Seen: gaps of .2 s or less were interpolated, and nothing in the file said so."""
    seen = (np.arange(100) % 10 != 5) & ((RATE < 2.02) | (RATE > 2.18))
    store = study_store({"a": (RATE, {"au12": SMILE}, seen), "b": (np.arange(20) / 5, {})})
    facer.export(store, tmp_path / "bids", format="bids")
    [packed] = (tmp_path / "bids" / "sub-a").rglob("*.tsv.gz")
    rows = gzip.decompress(packed.read_bytes()).decode().splitlines()
    assert [row.startswith("n/a") for row in rows] == (~seen).tolist()
    facer.export(store, tmp_path / "json", format="json")
    curves = [json.loads((tmp_path / "json" / f"{name}.json").read_text())["series"]["au12"]
              for name in "ab"]  # fmt: skip
    assert [i for i, v in enumerate(curves[0]) if v is None] == [21]
    assert None not in curves[1][:-1]  # a camera slower than the bins misses nothing


@pytest.mark.parametrize("form", ["elan", "textgrid"])
def test_every_mark_is_on_the_tier(export, tmp_path, form):
    """Seen: of marks that overlap, those of other features were shortened or gone."""
    marks = tmp_path / "marks.csv"
    marks.write_text(
        "clip_id,start_s,stop_s,mark,feature\nP1_joke,1,3,bad,au12\nP1_joke,1.5,2,odd,au06\n"
        "P1_joke,2.5,3.5,hand,\nP1_news,,,bad,au12\n"
    )
    out = export(form, "--marks", marks) / "sub"
    found = []
    for name in ("P1_joke", "P1_news"):
        if form == "elan":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                eaf = pytest.importorskip("pympi").Eaf(str(out / f"{name}.eaf"))
            rows = eaf.get_annotation_data_for_tier("marks")
            found += [(start / 1000, stop / 1000, text) for start, stop, text in sorted(rows)]
        else:
            grid = pytest.importorskip("praatio.textgrid").openTextgrid(
                str(out / f"{name}.TextGrid"), includeEmptyIntervals=False
            )
            found += [tuple(one) for one in grid.getTier("marks").entries]
    assert found == [
        (1, 1.5, "au12 bad"), (1.5, 2, "au12 bad; au06 odd"), (2, 2.5, "au12 bad"),
        (2.5, 3, "au12 bad; hand"), (3, 3.5, "hand"), (0, 4, "au12 bad"),
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["elan", "facereader", "imotions", "openface"])
def test_a_frame_without_a_time_has_that_of_the_rate(study_store, tmp_path, form):
    times = np.where(np.arange(100) == 50, np.nan, RATE)
    for name, given in (("whole", RATE), ("holed", times)):
        store = study_store({"P1": (given, {"au12": SMILE}, SEEN)}, f"{name}.zarr")
        facer.export(store, tmp_path / name, format=form)
    whole, holed = (
        {
            path.name: path.read_text()
            for path in (tmp_path / name).rglob("*.*")
            if path.suffix in (".txt", ".csv", ".eaf")
        }
        for name in ("whole", "holed")
    )
    assert whole
    assert whole == holed


def test_feather_is_a_table_of_frames(store, tmp_path):
    import pandas

    exit_code("export", store, tmp_path / "f.feather")
    found = pandas.read_feather(tmp_path / "f.feather")
    assert len(found) == 301
    assert found[found.clip_id == "sub/P3_joke"].status.tolist() == ["failed"]


@pytest.mark.parametrize("form", ["csv", "parquet", "feather"])
def test_a_table_of_frames_has_the_design_and_its_dictionary(store, tmp_path, form, capsys):
    import pandas

    design = tmp_path / "design.csv"
    design.write_text(
        "clip_id,participant,condition,exclude,age\nsub/P1_joke,P1,joke,0,31\n"
        "sub/P2_joke,P2,joke,1,44\nsub/P3_joke,P3,joke,0,27\nsub/P9_joke,P9,joke,0,19\n"
    )
    for name, option in (("wide", []), ("long", ["--long"])):
        told(capsys, "export", store, tmp_path / f"{name}.{form}", "--design", design, *option)
    read = {"csv": pandas.read_csv, "parquet": pandas.read_parquet, "feather": pandas.read_feather}
    wide, long = (read[form](tmp_path / f"{name}.{form}") for name in ("wide", "long"))
    by_clip = wide.groupby("clip_id", observed=True)[["status", "condition", "age"]].first()
    assert by_clip.status.to_dict() == {
        "sub/P1_joke": "ok", "sub/P2_joke": "excluded", "sub/P3_joke": "failed",
        "sub/P9_joke": "not_in_store", "sub/P1_news": "ok",
    }  # fmt: skip
    assert float(by_clip.age["sub/P9_joke"]) == 19
    rows = wide[wide.clip_id == "sub/P1_joke"]
    np.testing.assert_allclose(rows.au12, np.where(SEEN, SMILE, np.nan), atol=1e-7)
    assert {"bbox_x1_px", "nose_x_px", "det_score", "valid"} < set(wide.columns)
    smile = long[(long.clip_id == "sub/P1_joke") & (long.feature == "au12")]
    np.testing.assert_allclose(smile.value, rows.au12)
    assert len(long) == 26 * 300 + 2
    for name, table in (("wide", wide), ("long", long)):
        meant = pandas.read_csv(tmp_path / f"{name}.columns.csv").set_index("column")
        assert set(table.columns) <= set(meant.index)
        assert meant.unit["au12"] == "probability"
    assert len(wide) == 302


def test_a_table_in_two_formats_has_one_dictionary(store, tmp_path, capsys):
    """Seen: features.csv was refused after features.parquet, as the page has them."""
    told(capsys, "export", store, tmp_path / "frames.parquet")
    told(capsys, "export", store, tmp_path / "frames.csv")
    code, _, err = outcome(capsys, "export", store, tmp_path / "frames.feather", "--long")
    assert code == 1
    assert "frames.columns.csv: found something there" in err
    assert not (tmp_path / "frames.feather").exists()


@pytest.fixture
def named(study_store, tmp_path):
    """``named(form, rows)``: the folder of clips of (clip_id, participant, condition)."""

    def call(form, rows):
        store = study_store({
            clip: (RATE, {"au12": i / 10}) for i, (clip, _, _) in enumerate(rows)
        })  # fmt: skip
        design = tmp_path / "design.csv"
        design.write_text(
            "\n".join(map(",".join, [("clip_id", "participant", "condition"), *rows]))
        )
        exit_code("export", store, tmp_path / form, "--format", form, "--design", design)
        return tmp_path / form

    return call


def test_bids_keeps_people_and_tasks_apart(named):
    out = named("bids", [("a", "1_2", "joke"), ("b", "12", "joke"), ("c", "\u674e", "jo ke"),
                         ("d", "\u738b", "joke"), ("e", "12", "jo-ke")])  # fmt: skip
    assert (out / "participants.tsv").read_text().splitlines() == [
        "participant_id\tname", "sub-12x2\t1_2", "sub-12\t12", "sub-unknown\t\u674e",
        "sub-unknownx2\t\u738b",
    ]  # fmt: skip
    assert json.loads((out / "participants.json").read_text()).keys() == {"name"}
    tasks = {
        path.name.split("_")[1]: json.loads(path.read_text())["TaskName"]
        for path in out.rglob("*_physio.json")
    }
    assert tasks == {"task-joke": "joke", "task-jokex2": "jo ke", "task-jokex3": "jo-ke"}
    assert len(list(out.rglob("*_physio.tsv.gz"))) == 5


def test_imotions_has_a_file_a_clip(named):
    out = named("imotions", [("a", "P1", "joke"), ("b", "P1", "joke"), ("c", "P1", "joke_2"),
                             ("d", "P/1", "joke"), ("e", "P_1", "joke")])  # fmt: skip
    found = {}
    for path in out.rglob("*.csv"):
        table = np.genfromtxt(path, names=True, delimiter=",")
        found[path.relative_to(out / "Ex_Data").as_posix()] = round(float(table["au12"][0]), 3)
    assert found == {"P1/facer/joke.csv": 0, "P1/facer/joke_3.csv": 0.1,
                     "P1/facer/joke_2.csv": 0.2, "P_1_2/facer/joke.csv": 0.3,
                     "P_1/facer/joke.csv": 0.4}  # fmt: skip


def test_a_wrong_export_is_told(store, tmp_path, capsys):
    for arguments, message in (
        (["--format", "elan", "--threshold", "au99=1"], "found no such feature"),
        (["--marks", "m.csv"], "--marks: expected --format, one of"),
        (["--format", "hdf5", "--long"], "--long: found format hdf5, expected one of csv"),
        (["--format", "muse", "--design", "{participant}"], "--design: found format muse"),
        (["--format", "elan", "--long"], "--long: found format elan, expected one of csv"),
        (["--format", "elen"], "openface, json; did you mean 'elan'?"),
        (["--format", "elan", "--videos", ""], "'--videos': found an empty path, expected one"),
    ):
        assert message in told(capsys, "export", store, tmp_path / "x", *arguments, code=2)[1]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("form", ["facereader", "openface"])
def test_a_log_without_any_feature_is_refused(tmp_path, form):
    (tmp_path / "a.csv").write_text("timestamp,mel00\n0,1\n40,2\n")
    store = facer.import_("muse", tmp_path / "a.csv", tmp_path / "s.zarr").store
    with pytest.raises(FacerError, match=f"found features mel00, expected some that {form} has"):
        facer.export(store, tmp_path / "out", format=form)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["bids", "json"])
def test_a_clip_with_a_pause_of_weeks_is_named(study_store, tmp_path, capsys, form):
    """Seen: an option that export has not, and no clip."""
    paused = np.append(RATE, 1e6 + RATE)
    store = study_store({"P1_joke": (RATE, {}), "P2_joke": (paused, {})})
    code, _, err = outcome(capsys, "export", store, tmp_path / "out", "--format", form)
    assert (code, "P2_joke: found 1000004 s of it, which is" in err) == (1, True)
