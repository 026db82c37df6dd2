"""A lab's tables: every clip, numbers by time, nothing filled, and what is left out is said."""

import csv
import json
import resource
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facer
from facer.pipeline.summary.designs import check_design
from facer.stages.summary.baseline import baselines
from facer.stages.summary.track import clock, tracks
from facer.stages.summary.units import units
from facer.stages.summary.windows import quantiles
from facer.storage import FEATURE_NAMES, read_labels
from facer.storage.errors import FacerError
from facer.storage.study.design import design_of, read_design
from facer.storage.study.events import read_events
from facer.storage.study.marks import read_marks
from tests.support import told

RATE = np.arange(100) / 25.0


def rows(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def one(table, **keys):
    """The only row of a DataFrame with these values."""
    for name, value in keys.items():
        table = table[table[name] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def plain(times, values, valid, start, stop, threshold):
    """Mean, standard deviation, share and seen seconds, frame by frame."""
    steps = sorted(b - a for a, b in pairwise(times) if b > a)
    half = len(steps) // 2
    step = steps[half] if len(steps) % 2 else (steps[half - 1] + steps[half]) / 2
    total = mean = above = 0.0
    kept = []
    for i, t in enumerate(times):
        before = t - times[i - 1] if i else step
        after = times[i + 1] - t if i + 1 < len(times) else step
        weight = min((before + after) / 2, 1.5 * step)
        if start <= t < stop and valid[i]:
            total += weight
            mean += weight * float(np.float32(values[i]))
            above += weight * (float(np.float32(values[i])) > threshold)
            kept.append((weight, float(np.float32(values[i]))))
    mean /= total
    variance = sum(weight * (value - mean) ** 2 for weight, value in kept) / total
    return mean, variance**0.5, above / total, min(total, stop - start)


def test_numbers_are_those_of_a_plain_loop_over_frames(study_store):
    rng = np.random.default_rng(3)
    variable = np.concatenate([[0], np.cumsum(rng.choice([0.02, 0.033, 0.04, 0.5], 199))])
    slow = np.arange(60) * 0.2
    clips = {}
    for name, times in (("variable", variable), ("slow", slow), ("even", RATE)):
        clips[name] = (times, {"au12": rng.random(len(times))}, rng.random(len(times)) > 0.2)
    found = facer.summarise(study_store(clips), windows={"w": (0.4, 3.5)}, min_valid=0.1)
    for name, (times, curves, valid) in clips.items():
        row = one(found.summary, clip_id=name, feature="au12")
        expected = plain(times.tolist(), curves["au12"], valid, 0.4, 3.5, 0.5)
        assert [row["mean"], row["sd"], row["share"], row["seen_s"]] == pytest.approx(
            expected, abs=1e-6
        )


def test_frames_that_drop_from_a_constant_clip_change_nothing(study_store):
    kept = np.ones(100, bool)
    kept[[5, 9, 40, 77]] = False
    clips = {"all": (RATE, {"au12": 0.7}), "some": (RATE[kept], {"au12": 0.7})}
    table = facer.summarise(study_store(clips)).summary.drop(columns=["n_frames", "peak_s"])
    both = [table[table.clip_id == name].drop(columns="clip_id") for name in clips]
    numbers = [frame.select_dtypes("number").to_numpy() for frame in both]
    np.testing.assert_allclose(numbers[0], numbers[1], atol=1e-9)


def test_a_smile_at_rest_is_flagged_and_so_is_a_baseline_that_is_few_or_none(study_store):
    times = np.arange(150) / 25.0
    after_2 = times >= 2
    hidden = times < 1.9
    clips = {
        "rest": (times, {"au12": 0.1}), "smile": (times, {"au12": np.where(after_2, 0.9, 0.66)}),
        "few": (times, {"au12": 0.1}, times > 1.5), "none": (times, {"au12": 0.1}, after_2),
        "moves": (times, {"au04": np.where(np.arange(150) % 2, 0.0, 0.4)}),
    }  # fmt: skip
    assert hidden.any()
    found = facer.summarise(study_store(clips), windows={"after": (2, 6)}, baseline=(0, 2))

    def flag(clip, feature="au12"):
        return one(found.summary, clip_id=clip, feature=feature).baseline_flag

    assert [flag(name) for name in ("rest", "smile", "few", "none")] == [
        "", "expressive", "few", "none",
    ]  # fmt: skip
    assert (flag("moves", "au04"), flag("moves")) == ("moving", "")
    smile = one(found.summary, clip_id="smile", feature="au12")
    assert smile.baseline == pytest.approx(0.66, abs=1e-6)
    assert smile.mean_bc == pytest.approx(0.24, abs=1e-6)
    for clip in ("few", "none"):
        row = one(found.summary, clip_id=clip, feature="au12")
        assert np.isnan(row.mean_bc)
        assert row["mean"] == pytest.approx(0.1, abs=1e-6)
        assert list(found.left_out[found.left_out.clip_id == clip].why) == ["no baseline"]


def test_of_a_unit_that_nobody_knows_no_baseline_is_moving():
    """Seen: every head pose in degrees and every place in pixels was said to move at rest."""
    rng = np.random.default_rng(0)
    names = ("pose_pitch", "au12", "au04")
    values = np.column_stack([rng.normal(0, 0.4, (100, 2)), rng.normal(0, 0.6, 100)])
    parts = list(tracks(clock(RATE), values.astype(np.float32), np.ones(100, bool)))
    for scale, moving in (("", [False, True, True]), ("intensity, 0 to 5", [False, False, True])):
        meant = units(names, {"au_scale": scale})
        assert baselines(parts, (0, 4), meant, 1).moving.tolist() == moving


def test_a_missing_baseline_falls_back_on_the_person_when_asked(study_store):
    times = np.arange(150) / 25.0
    clips = {
        "p1_a": (times, {"au12": 0.2}), "p1_b": (times, {"au12": 0.4}),
        "p1_c": (times, {"au12": 0.8}, times >= 2), "p2_c": (times, {"au12": 0.8}, times >= 2),
    }  # fmt: skip
    found = facer.summarise(
        study_store(clips), "{participant}_{condition}", windows={"after": (2, 6)},
        baseline=(0, 2), baseline_fallback="participant",
    )  # fmt: skip
    row = one(found.summary, clip_id="p1_c", feature="au12")
    assert row.baseline == pytest.approx(0.3, abs=1e-6)
    assert row.mean_bc == pytest.approx(0.5, abs=1e-6)
    assert row.baseline_flag == "none participant"
    other = one(found.summary, clip_id="p2_c", feature="au12")
    assert np.isnan(other.mean_bc)
    assert other.baseline_flag == "none"


def test_a_window_that_was_hardly_seen_is_empty_and_said(study_store):
    seen = np.arange(100) < 11
    found = facer.summarise(study_store({"a": (RATE, {"au12": 0.9}, seen), "b": (RATE, {})}))
    row = one(found.summary, clip_id="a", feature="au12")
    assert row.seen_share == pytest.approx(0.11)
    numbers = row[["mean", "sd", "median", "p95", "peak", "share", "episodes", "latency_s"]]
    assert numbers.isna().all()
    assert found.left_out.to_dict("records") == [
        {"clip_id": "a", "event": "start", "window": "clip", "feature": "", "why": "few frames"}
    ]


def test_a_clip_without_any_face_was_seen_for_no_time(study_store):
    """Seen: an empty seen_share, so that its mean over clips left out who was never seen."""
    clips: dict[str, Any] = {"a": (RATE, {}), "b": (RATE, {}, np.zeros(100)), "c": None}
    found = facer.summarise(study_store(clips), windows={"w": (1, 5)}, baseline=(0, 1))
    names = ["seen_s", "seen_share", "n_frames", "longest_gap_s", "baseline_s", "mean"]
    table = found.summary[found.summary.feature == "au12"].set_index("clip_id")
    np.testing.assert_array_equal(table.loc["b", names].astype(float), [0, 0, 0, 4, 0, np.nan])
    assert table.loc["b", "baseline_flag"] == "none"
    assert table.loc["c", names].isna().all()  # nobody knows
    assert found.left_out.why.tolist() == ["no_face", "failed: no video stream"]


def test_a_window_cut_off_by_the_end_of_the_clip_is_not_seen_there(study_store):
    found = facer.summarise(study_store({"a": (RATE, {})}), windows={"w": (2, 6)})
    row = one(found.summary, clip_id="a", feature="au12")
    assert (row.window_s, row.seen_share) == (4, pytest.approx(0.5))
    assert row.longest_gap_s == pytest.approx(2)


def test_a_mark_changes_exactly_its_rows(study_store, tmp_path):
    rng = np.random.default_rng(0)
    store = study_store({name: (RATE, {"au12": rng.random(100)}) for name in "abc"})
    marks = tmp_path / "marks.csv"
    marks.write_text("clip_id,start_s,stop_s,mark,feature\nb,1,1.6,hand,au12\n")
    before, after = (facer.summarise(store, marks=m).summary for m in (None, marks))
    same = (before.fillna(-1) == after.fillna(-1)).all(axis=1)
    assert before[~same][["clip_id", "feature"]].to_numpy().tolist() == [["b", "au12"]]
    marks.write_text("clip_id,start_s,stop_s,mark,note\nb,0,3.9,hand,\nc,,,asleep,all of it\n")
    found = facer.summarise(store, marks=marks)
    assert found.clips.status.tolist() == ["ok", "ok", "excluded"]
    assert found.clips.reason.tolist() == ["", "", "asleep: all of it"]
    assert found.clips.marked_s[1] == pytest.approx(3.92)
    assert found.left_out.why.tolist() == ["marked", "excluded: asleep: all of it"]


def test_marks_that_nobody_made_say_what_to_do(study_store, tmp_path):
    with pytest.raises(FacerError, match=r"marks.csv: no such file, .* leave marks out"):
        facer.summarise(study_store({"a": (RATE, {})}), marks=tmp_path / "marks.csv")


def test_a_mark_in_milliseconds_or_frames_is_told(study_store, tmp_path, caplog):
    store = study_store({name: (RATE, {}) for name in "ab"})
    marks = tmp_path / "marks.csv"
    marks.write_text("clip_id,start_s,stop_s,mark\na,500,1500,ms\na,1,2,s\nb,20,60,frames\n")
    (note,) = facer.summarise(store, marks=marks).notes
    assert "2 mark(s) that cover no frame, such as 'a' from 500 to 1500 s" in note
    assert "ends at 4.00 s" in note
    facer.export(store, tmp_path / "out", format="json", marks=marks)
    assert caplog.messages == [note]


def test_the_peak_needs_a_fifth_of_a_second_without_a_break(study_store):
    curve = np.full(100, 0.2)
    curve[20] = 1.0  # one frame
    curve[50:55] = 0.8
    valid = np.ones(100, bool)
    found = facer.summarise(study_store({"a": (RATE, {"au12": curve}, valid)}))
    row = one(found.summary, clip_id="a", feature="au12")
    assert row.peak == pytest.approx(0.8, abs=1e-6)
    assert row.peak_s == pytest.approx(RATE[52], abs=1e-6)
    valid[52] = False  # the run of .2 s is interrupted
    broken = facer.summarise(study_store({"a": (RATE, {"au12": curve}, valid)}, "b.zarr"))
    assert one(broken.summary, clip_id="a", feature="au12").peak < 0.8


def test_the_peak_of_a_plateau_is_where_it_begins(study_store):
    """Seen: at 4.64 s of a presence that is 1 from 2 s on, by the rounding of running sums."""
    times = np.arange(200) / 25.0
    clips = {"a": (times, {"au12": np.where(times >= 2, 0.9, 0.1), "au25": 0.7})}
    found = facer.summarise(study_store(clips)).summary.set_index("feature")
    assert found.loc[["au12", "au25"], "peak"].tolist() == pytest.approx([0.9, 0.7], abs=1e-6)
    assert found.loc[["au12", "au25"], "peak_s"].tolist() == pytest.approx([2.08, 0.08])


def test_quantiles_of_equal_values_do_not_hang_on_how_they_are_sorted():
    """numpy's usual sort puts ties in another order on other processors. The reference is Hazen's
    definition (Hyndman & Fan 1996, type 5) with weights: linear between the middles of weights."""
    rng = np.random.default_rng(2)
    values = rng.integers(0, 2, (60, 20)).astype(float)  # presences
    weights = rng.choice([0.02, 0.04, 0.15], 60)
    expected = []
    for column in values.T:
        order = sorted(range(60), key=column.__getitem__)
        own = weights[order]
        middles = np.cumsum(own) - own / 2
        expected.append(np.interp(0.5 * own.sum(), middles, column[order]))
    np.testing.assert_allclose(quantiles(values, weights, (0.5,))[0], expected, atol=1e-9)


@pytest.mark.parametrize("value", [0.2, 0.4, 0.7, 0.8])
def test_what_is_at_the_threshold_is_not_above_it(study_store, value):
    """Seen: .4 was above a threshold of .4, for the float32 of a store are, and .7 not above .7."""
    store = study_store({"a": (RATE, {"au12": value, "au25": value + 1e-6})})
    found = facer.summarise(
        store, thresholds={"au12": value, "au25": value}, windows={"w": (1, 4)}, baseline=(0, 1)
    )
    table = found.summary.set_index("feature")
    assert table.loc[["au12", "au25"], "share"].tolist() == [0, 1]
    assert {"au12", "au25"} & set(found.episodes.feature) == {"au25"}
    assert "expressive" not in table.loc["au12", "baseline_flag"]
    assert found.settings["thresholds"]["au12"] == value


def test_episodes_join_over_short_gaps_and_are_cut_by_long_ones(study_store):
    curve = np.where((RATE >= 1) & (RATE < 3), 0.9, 0.1)
    valid = np.ones(100, bool)
    valid[35:38] = False  # .12 s
    valid[50:60] = False  # .4 s
    valid[99] = False
    found = facer.summarise(study_store({"a": (RATE, {"au12": curve}, valid), "b": (RATE, {})}))
    smiles = found.episodes[found.episodes.feature == "au12"]
    assert smiles[["clip_id", "n", "cut_start", "cut_stop"]].to_numpy().tolist() == [
        ["a", 1, 0, 1], ["a", 2, 1, 0],
    ]  # fmt: skip
    np.testing.assert_allclose(
        smiles[["start_s", "stop_s"]], np.array([[1, 2], [2.4, 3]]), atol=1e-9
    )
    row = one(found.summary, clip_id="a", feature="au12")
    assert (row.episodes, row.latency_s) == (2, pytest.approx(1))
    late = facer.summarise(study_store({"a": (RATE, {"au12": curve}, valid)}, "l.zarr"),
                           windows={"w": (1.9, 4)})  # fmt: skip
    row = one(late.summary, clip_id="a", feature="au12")
    assert row.episodes == 1
    assert np.isnan(row.latency_s)  # .4 s before it are unseen


@pytest.mark.parametrize(("hidden", "latency_s"), [(3, 2), (25, np.nan)])
def test_the_latency_of_what_was_there_when_a_face_came_is_not_known(
    study_store, hidden, latency_s
):
    """Seen: the latency of a smile that was there when the face came back was that of the face's
    return, where the window begins with it too; and 0 of one that the clip begins with."""
    valid = np.ones(100, bool)
    valid[50 - hidden : 50] = False
    clips = {"a": (RATE, {"au12": np.where(RATE < 2, 0.1, 0.9), "au25": 0.9}, valid)}
    found = facer.summarise(study_store(clips), windows={"all": (0, 4), "late": (2, 4)})
    for window in ("all", "late"):
        row = one(found.summary, feature="au12", window=window)
        assert (row.episodes, row.latency_s) == (1, pytest.approx(latency_s, nan_ok=True))
    begun = one(found.summary, feature="au25", window="all")
    assert begun.episodes == 1 + (hidden == 25)
    assert np.isnan(begun.latency_s)


def test_windows_count_from_events_and_so_do_peaks(study_store, tmp_path):
    curve = np.where((RATE >= 2) & (RATE < 3), 0.9, 0.1)
    store = study_store({"a": (RATE, {"au12": curve}), "b": (RATE, {"au12": curve})})
    events = tmp_path / "events.csv"
    events.write_text("clip_id,onset_s,duration_s,trial_type\na,1,1,joke\na,2,1,joke\n")
    found = facer.summarise(store, events=events)
    table = found.summary[found.summary.feature == "au12"]
    assert table[["clip_id", "event", "trial_type", "window"]].to_numpy().tolist() == [
        ["a", "joke", "joke", "event"], ["a", "joke-2", "joke", "event"],
        ["b", "start", "", "clip"],
    ]  # fmt: skip
    np.testing.assert_allclose(table["mean"], [0.1, 0.9, 0.3], atol=1e-6)
    assert table.latency_s.iloc[1] == pytest.approx(0)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("smile-left smile", "smile-left smile"),
        ("a-2 a a", "a-2 a a-3"),
        ("a a a-2", "a a-3 a-2"),  # a name that is given stays
        ("a A a", "a A a-2"),
    ],
)
def test_every_event_of_a_clip_has_a_name_of_its_own(study_store, tmp_path, given, names):
    events = tmp_path / "events.csv"
    rows = [f"a,{i},1,{name}" for i, name in enumerate(given.split())]
    events.write_text("\n".join(["clip_id,onset_s,duration_s,event", *rows]))
    found = facer.summarise(study_store({"a": (RATE, {})}), events=events).summary
    assert list(dict.fromkeys(found.event)) == names.split()


def test_the_grid_fills_short_gaps_only_and_says_so(study_store):
    curve = np.arange(100) / 100
    valid = np.ones(100, bool)
    valid[25:30] = False  # .2 s
    valid[50:75] = False  # 1 s
    store = study_store({"a": (RATE, {"au12": curve}, valid), "slow": ([0, 0.2, 0.4, 0.6], {})})
    found = facer.summarise(store, grid=10).series
    au12 = found[found.feature == "au12"]
    a = au12[au12.clip_id == "a"].set_index(au12[au12.clip_id == "a"].t_s.round(3))
    assert a.loc[1.0].filled == 1
    assert a.loc[1.0].value == pytest.approx(0.2567, abs=0.01)
    assert np.isnan(a.loc[2.4].value)
    assert a.loc[2.4].filled == 0
    assert a.loc[0.2].value == pytest.approx(np.mean(np.float32(curve[5:8])), abs=0.01)
    slow = au12[au12.clip_id == "slow"]
    assert slow.filled.tolist()[:6] == [0, 1, 0, 1, 0, 1]
    wide = facer.summarise(store, grid=10, series="wide").series
    np.testing.assert_allclose(wide[wide.clip_id == "a"].au12, a.value)


def test_logit_is_for_probabilities(study_store):
    times = np.arange(150) / 25.0
    curve = np.where(times < 2, 0.1, 0.5)
    store = study_store({"a": (times, {"au12": curve, "valence": curve})})
    found = facer.summarise(store, windows={"w": (2, 6)}, baseline=(0, 2), scale="logit").summary
    assert one(found, feature="au12").mean_bc == pytest.approx(np.log(9), abs=1e-4)
    assert one(found, feature="valence").mean_bc == pytest.approx(0.4, abs=1e-6)


def test_groups_average_people_and_not_clips(study_store):
    values = {"p1_a_1": 0.2, "p1_a_2": 0.4, "p2_a_1": 0.9, "p4_a_1": 0.6, "p3_b_1": 0.5}
    store = study_store({name: (RATE, {"au12": value}) for name, value in values.items()})
    found = facer.summarise(store, "{participant}_{condition}_{take}")
    row = one(found.groups, condition="a", feature="au12")
    assert (row.participants, row.clips, row["mean"]) == (3, 4, pytest.approx(0.6, abs=1e-6))
    assert row["sd"] == pytest.approx(np.std([0.3, 0.6, 0.9], ddof=1), abs=1e-6)
    assert row.lo == pytest.approx(0.3, abs=1e-6)
    assert row.hi == pytest.approx(0.9, abs=1e-6)
    assert np.isnan(one(found.groups, condition="b", feature="au12").lo)
    assert found.wide.set_index("participant").loc["p1", "a_clip_au12_mean"] == pytest.approx(0.3)
    assert found.summary["take"].unique().tolist() == ["1", "2"]


def walk(study_store):
    clips = {
        f"P{p:02d}_{condition}": (RATE, {"au12": p / 20})
        for p in range(12)
        for condition in ("joke", "news")
    }
    return study_store({**clips, "P12_joke": None})


def test_all_25_clips_are_in_every_table(study_store, tmp_path, capsys):
    store, out = walk(study_store), tmp_path / "stats"
    told(
        capsys, "design", store, "--pattern", "{participant}_{condition}", "-o", tmp_path / "d.csv"
    )
    text, _ = told(capsys, "summarise", store, "-o", out, "--design", tmp_path / "d.csv",
                   "--grid", "5", code=3)  # fmt: skip
    assert "25 clips (1 failed, 24 ok)" in text
    for name in ("clips", "summary", "episodes", "series"):
        assert len({row["clip_id"] for row in rows(out / f"{name}.csv")}) == 25, name
    assert len(rows(out / "summary.csv")) == 25 * len(FEATURE_NAMES)
    assert {row["participant"] for row in rows(out / "wide.csv")} == {
        f"P{p:02d}" for p in range(13)
    }
    broken = [row for row in rows(out / "summary.csv") if row["clip_id"] == "P12_joke"]
    assert {row["status"] for row in broken} == {"failed"}
    assert {row["mean"] for row in broken} == {""}
    assert rows(out / "left_out.csv") == [
        {"clip_id": "P12_joke", "event": "", "window": "", "feature": "",
         "why": "failed: no video stream"}
    ]  # fmt: skip
    defined = {(row["table"], row["column"]) for row in rows(out / "columns.csv")}
    for name in ("clips", "summary", "episodes", "series", "groups", "left_out"):
        with (out / f"{name}.csv").open() as file:
            assert all((name, column) in defined for column in next(csv.reader(file)))
    settings = json.loads((out / "settings.json").read_text())
    assert settings["settings"]["min_valid"] == 0.5
    assert settings["thresholds"]["au12"] == 0.5
    assert len(settings["sha256"]["design"]) == 64


def test_a_design_row_without_a_clip_and_a_clip_without_a_row_are_said(study_store, tmp_path):
    store = study_store({"a": (RATE, {}), "b": (RATE, {}), "c": (RATE, {}, np.zeros(100))})
    design = tmp_path / "design.csv"
    design.write_text("Clip,Subject,condition,exclude,reason,mean\na.mp4,1,x,,,7\nq,2,x,,,8\n"
                      "c,3,y,no,,9\n")  # fmt: skip
    found = facer.summarise(store, design)
    assert found.clips[["clip_id", "status"]].to_numpy().tolist() == [
        ["a", "ok"], ["q", "not_in_store"], ["c", "no_face"],
    ]  # fmt: skip
    assert found.clips.design_mean.tolist() == ["7", "8", "9"]
    assert found.left_out.why.tolist() == ["not_in_store", "no_face", "not in the design"]
    assert any("1 clips of the store are not in" in note for note in found.notes)


def test_only_an_empty_cell_names_nobody_and_words_for_none_are_said(study_store, tmp_path):
    store = study_store({name: (np.arange(25) / 25, {}) for name in "abcd"})
    design = tmp_path / "design.csv"
    design.write_text("clip_id,participant,condition,reason\na,NA,none,n/a\nb,NA,music,\n"
                      "c,,none,-\nd,P1,missing,\n")  # fmt: skip
    found = facer.summarise(store, design)
    assert found.clips.participant.tolist() == ["NA", "NA", "", "P1"]
    assert found.clips.condition.tolist() == ["none", "music", "none", "missing"]
    assert set(found.groups.condition) == {"none", "music", "missing"}
    assert [note.split(": ", 1)[1] for note in found.notes] == [
        "participant: found NA, taken as names; leave cells empty where there is no participant",
        "condition: found none, missing, taken as names; leave cells empty where there is no "
        "condition",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["parquet", "feather", "sav"])
def test_other_formats_hold_the_same_numbers(study_store, tmp_path, capsys, form):
    import pandas

    store = study_store({"p1_a": (RATE, {"au12": 0.4}), "p2_b": None})
    out = tmp_path / "stats"
    told(capsys, "summarise", store, "-o", out, "--design", "{participant}_{condition}",
         "--format", form, code=3)  # fmt: skip
    expected = facer.summarise(store, "{participant}_{condition}").summary
    readers = {"parquet": pandas.read_parquet, "feather": pandas.read_feather,
               "sav": pandas.read_spss}  # fmt: skip
    found = readers[form](out / f"summary.{form}")
    np.testing.assert_allclose(found["mean"].astype(float), expected["mean"])
    assert found.status.tolist() == expected.status.tolist()


def test_an_spss_file_that_does_not_fit_on_the_disk_is_one_line(study_store, tmp_path, capsys):
    store = study_store({"p1_a": (RATE, {"au12": 0.4})})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        _, err = told(
            capsys, "summarise", store, "-o", tmp_path / "stats", "--format", "sav", code=1
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{tmp_path / 'stats'}: cannot write: " in err
    assert not (tmp_path / "stats").exists()


def test_the_same_command_again_replaces_its_own_tables_and_no_others(
    study_store, tmp_path, capsys
):
    store, out = study_store({"a": (RATE, {})}), tmp_path / "stats"
    told(capsys, "summarise", store, "-o", out, "--grid", "5")
    (out / "analysis.R").write_text("summary(1)")
    told(capsys, "summarise", store, "-o", out)
    assert not (out / "series.csv").exists()
    assert (out / "analysis.R").read_text() == "summary(1)"
    other = tmp_path / "other"
    other.mkdir()
    (other / "summary.csv").write_text("mine")
    _, err = told(capsys, "summarise", store, "-o", other, code=1)
    assert "found files there that no summary wrote" in err
    _, err = told(capsys, "summarise", store, "-o", tmp_path / "stats.csv", code=1)
    assert "stats.csv: found the ending .csv, expected a folder's name" in err
    assert not (tmp_path / "stats.csv").exists()
    assert (other / "summary.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("tables", "form"),
    [(["a"], "b/../../victim.csv"), (["../victim", "a.b/../../victim"], "csv"), (["\0", 7], "csv"),
     (["analysis"], "csv"), (["summary"], ["csv"])],
)  # fmt: skip
def test_the_settings_of_a_stranger_take_away_no_other_file(study_store, tmp_path, tables, form):
    store, out = study_store({"a": (RATE, {})}), tmp_path / "stats"
    facer.summarise(store, output=out)
    (out / "a.b").mkdir()
    kept = [tmp_path / "victim.csv", out / "analysis.csv"]
    for file in kept:
        file.write_text("mine")
    settings = json.loads((out / "settings.json").read_text())
    (out / "settings.json").write_text(json.dumps({**settings, "tables": tables, "format": form}))
    facer.summarise(store, output=out)
    assert [file.read_text() for file in kept] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"windows": {"w": (4, 1)}}, "window w: found 4 to 1 s, expected a start before its stop"),
        ({"windows": {"baseline": (5, 1)}}, "window baseline: found 5 to 1 s"),
        ({"baseline": (5, 1)}, "window baseline: found 5 to 1 s"),
        ({"min_valid": 1.5}, "min_valid: found 1.5, expected 0 to 1"),
        ({"thresholds": {"au13": 0.3}}, "threshold au13: found no such feature"),
        ({"scale": "log"}, "scale: found 'log', expected difference or logit"),
        ({"baseline_fallback": "participant"}, "expected baseline beside it"),
        ({"grid": 1e9}, "grid: found 1000000000.0, expected 0.001 to 1000"),
    ],
)
def test_a_wrong_setting_is_one_line(study_store, settings, message):
    with pytest.raises(FacerError) as refused:
        facer.summarise(study_store({"a": (RATE, {})}), **settings)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("design", "age,condition\n7,x\n", "expected one named clip_id"),
        ("design", "clip_id,condition\na,x\na,y\n", "found clip 'a' again as 'a'"),
        ("design", "clip_id,condition\nx/b,x\n", "'x/b' could mean q/x/b, r/x/b; give its folders"),
        ("design", "clip_id,exclude\na,maybe\n", "'exclude': found 'maybe', expected 1, true"),
        ("design", "clip_id,condition\nz,x\n", "none of its 1 clips is in the store"),
        ("design", "clip_id,vp\na,1\nq/x/b,\nr/x/b,2\nz,\n", "'vp': found 2 names once each"),
        ("events", "clip_id,onset_s\nz,1\n", "found clip 'z', expected one of the store"),
        ("events", "clip_id,onset_s\nx/b,1\n", "'x/b' could mean q/x/b, r/x/b"),
        ("marks", "clip_id,start_s,stop_s\na,1,2\ny/a,1,2\n", "found clip 'a' again as 'y/a'"),
        ("events", "clip_id,onset_s\na,\n", "expected an onset in seconds"),
        ("marks", "clip_id,start_s,stop_s\na,2,1\n", "expected a start before its stop"),
        ("marks", "clip_id,start_s,stop_s,feature\na,1,2,au99\n", "found feature 'au99'"),
    ],
)
def test_a_wrong_table_is_one_line_with_its_place(study_store, tmp_path, name, text, message):
    path = tmp_path / f"{name}.csv"
    path.write_text(text)
    with pytest.raises(FacerError) as refused:
        facer.summarise(
            study_store(dict.fromkeys(["a", "q/x/b", "r/x/b"], (RATE, {}))), **{name: path}
        )
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_design_and_labels_leave_out_the_same_rows(study_store, tmp_path):
    words = {"a": "keep", "b": "bad", "c": "", "d": "YES"}
    path = tmp_path / "table.csv"
    lines = [f"{clip},{word},1,0.{row + 1}" for row, (clip, word) in enumerate(words.items())]
    path.write_text("\n".join(["clip_id,Excluded,bad,joy", *lines]))
    found = facer.summarise(study_store(dict.fromkeys(words, (RATE, {}))), path).clips
    assert found.clip_id[found.status == "ok"].tolist() == ["a", "c"]
    assert found.bad.tolist() == ["1"] * 4
    labels = read_labels(path)
    assert list(labels.clip_ids) == ["a", "c"]
    assert list(labels.names) == ["joy"]


def test_times_may_be_absent_when_the_rate_is_known(study_store):
    store = study_store({"a": (RATE, {"au12": 0.4})})
    found = facer.summarise(store)
    assert found.clips.duration_s[0] == pytest.approx(4)
    assert found.clips.face_height_px[0] == 80
    assert repr(found).startswith("<Summary of 1 clips; rows: clips 1, summary 26")


def test_python_writes_what_the_commands_write(study_store, tmp_path, capsys):
    store = study_store({"p1_a": (RATE, {"au12": 0.9}), "p2_a": (RATE, {})})
    pattern = "{participant}_{condition}"
    options: dict[str, Any] = {
        "windows": {"w": (0, 2)},
        "baseline": (0, 1),
        "thresholds": {"au12": 0.4},
    }
    outcome = facer.summarise(store, pattern, output=tmp_path / "python", **options)
    assert dict(outcome.statuses) == {"ok": 2}
    told(capsys, "summarise", store, "--design", pattern, "-o", tmp_path / "cli", "--window",
         "w=0:2", "--baseline", "0:1", "--threshold", "au12=.4")  # fmt: skip
    for name in ("summary.csv", "clips.csv", "columns.csv"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "cli" / name).read_bytes()
    facer.design(store, pattern, output=tmp_path / "python.csv")
    told(capsys, "design", store, "--pattern", pattern, "-o", tmp_path / "cli.csv")
    assert (tmp_path / "python.csv").read_text() == (tmp_path / "cli.csv").read_text()


@pytest.mark.parametrize(
    ("read", "header", "row", "column"),
    [
        (read_events, "clip_id,onset_s,duration_s", 'a,"1,004",1', "onset_s"),
        (read_events, "clip_id,onset_s,duration_s", 'a,3,"1,004"', "duration_s"),
        (read_design, "clip_id,onset_s", 'a,"1,004"', "onset_s"),
        (partial(read_marks, features=()), "clip_id,start_s,stop_s", 'a,998,"1,004"', "stop_s"),
    ],
)
def test_thousands_are_no_seconds(tmp_path, read, header, row, column):
    (tmp_path / "table.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(FacerError, match=f"column '{column}': found '1,004', which may be 1004"):
        read(tmp_path / "table.csv", ["a"])


@pytest.mark.parametrize(
    ("read", "header", "row", "message"),
    [
        (read_events, "clip_id,onset_s", "a,0:01.5", "column 'onset_s': found '0:01.5', expected"),
        (
            read_design,
            "clip_id,onset_s",
            "a,10%",
            "column 'onset_s': found '10%', expected seconds",
        ),
        (read_design, "clip_id,onset_ms", "a,1500", "a column 'onset_ms' and no onset_s"),
        (read_events, "clip_id,onset_s,offset_s", "a,1,2", "a column 'offset_s' and no duration_s"),
        (read_events, "clip_id,onset,end", "a,1,2", "a column 'end' and no duration_s"),
        (read_events, "clip_id,onset_s,stop_time", "a,1,2", "'stop_time' and no duration_s"),
        (read_events, "clip_id,onset_s,Behavior", "a,1,x", "'Behavior' and neither trial_type"),
    ],
)
def test_times_that_are_no_seconds_and_ends_that_are_no_durations(
    tmp_path, read, header, row, message
):
    (tmp_path / "table.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(FacerError, match=message):
        read(tmp_path / "table.csv", ["a"])


def test_names_of_a_design_that_may_be_one_are_told(tmp_path):
    path = tmp_path / "design.csv"
    path.write_text("clip_id,participant,condition\na,p1,Joke\nb,P1,joke \nc,p01,news\n")
    assert read_design(path, ["a", "b", "c"]).notes == (
        "participants that look alike are taken for different people: 'p1' = 'P1' = 'p01'; write "
        "a person's name in one way",
        "conditions 'Joke' and 'joke' are taken for two; write it in one way",
    )
    notes = design_of("{participant}_{condition}", ["p1_joke", "P1_news"]).notes
    assert len(notes) == 1
    assert "'p1' = 'P1'" in notes[0]


def test_mistyped_fields_and_columns_of_a_design_are_told(study_store, tmp_path):
    store = study_store({"P1_joke": (RATE, {}), "P2_news": (RATE, {})})
    found = facer.design(store, "{particpant}_{condition}")
    assert found.notes == (
        "'particpant' is carried along as a column of its own; was 'participant' meant?",
        "the design names no participant: every clip counts as a person of its own",
    )
    assert check_design(found).conditions == ("joke", "news")
    assert facer.design(store, "{participant}_{condition}").notes == ()
    spelt = facer.design(store, "{VP}_{Bedingung}")
    assert (spelt.rows, spelt.notes) == (facer.design(store, "{participant}_{condition}").rows, ())
    path = tmp_path / "design.csv"
    path.write_text("clip_id,participant,onset,conditon\nP1_joke,P1,2.5,x\nP2_news,P2,1,y\n")
    found = facer.design(store, path)
    assert [row.onset_s for row in found.rows] == [2.5, 1]
    assert [note.partition("was")[2] for note in found.notes] == [" 'condition' meant?"]


def test_a_design_of_a_german_lab(tmp_path):
    path = tmp_path / "design.csv"
    path.write_text("id;Datei;VP;Bedingung;Beginn_s\n1;b.mp4;7;Witz;0,2\n2;a.mp4;7;Film;0,2\n")
    found = read_design(path, ["a", "b", "1"])
    assert [(row.clip_id, row.participant, row.condition) for row in found.rows] == [
        ("b", "7", "Witz"), ("a", "7", "Film")
    ]  # fmt: skip
    assert [note.partition("was")[2] for note in found.notes[1:]] == [" 'onset_s' meant?"]


def test_a_baseline_before_the_clips_is_told_where_no_onset_is_known(study_store, tmp_path):
    store = study_store({"a": (RATE, {}), "b": (RATE, {})})
    (note,) = facer.summarise(store, baseline=(-2, 0), windows={"after": (0, 1)}).notes
    assert note.startswith("baseline -2:0 ends before the clips begin and stays empty")
    (tmp_path / "events.csv").write_text("clip_id,onset_s\na,2.5\nb,1\n")
    found = facer.summarise(
        store, baseline=(-2, 0), windows={"after": (0, 1)}, events=tmp_path / "events.csv"
    )
    assert not found.notes


def test_clips_and_events_whose_times_are_other_ones_are_told(study_store, tmp_path, caplog):
    store = study_store({name: (RATE, {}) for name in "abc"})
    table, design = tmp_path / "events.csv", tmp_path / "design.csv"
    table.write_text(
        "clip_id,onset_s,duration_s,trial_type\na,1,2,joke\na,2,0,key\nb,2500,2,joke\n"
    )
    one, whole, late = facer.summarise(store, events=table).notes
    assert one == "1 of 3 clips have no onset and no event; their times count from the clip's " \
        "beginning: c"  # fmt: skip
    assert whole.startswith("1 of 3 events have no duration")
    assert whole.endswith(": key of a")
    assert "1 onset(s) after the end of their clip, such as 'joke' of 'b' at 2500 s" in late
    assert facer.summarise(store, events=table, windows={"w": (0, 1)}).notes == (one, late)
    facer.export(store, tmp_path / "out", format="json", events=table)
    assert caplog.messages == [one, late]
    design.write_text("clip_id,participant,onset_s\na,P1,1\nb,P2,\nc,P3,2\n")
    (note,) = facer.summarise(store, design).notes
    assert note.endswith("beginning: b")
    table.write_text("clip_id,onset_s\na,1\nb,1\nc,1\n")
    (note,) = facer.summarise(store, events=table).notes
    assert note.startswith("3 of 3 events have no duration")
    assert not facer.summarise(store).notes
    table.write_text("clip_id,onset_s\na,1\nb,1\na,1\n")
    with pytest.raises(FacerError, match=r"events.csv:4: found the same row again .* line 2"):
        facer.summarise(store, events=table)
    table.write_text("clip_id,onset_s,duration_s\na,0,1\nb,0,1\nc,0,\n")
    (note,) = facer.summarise(store, events=table).notes
    assert note.startswith("1 of 3 events have no duration")


def test_nothing_is_told_of_onsets_of_clips_that_do_not_count(study_store, tmp_path, caplog):
    """Nor of onsets at a clip's end, where the windows lie before them."""
    store = study_store({name: (RATE, {}) for name in "abcd"} | {"e": None})
    design, marks = tmp_path / "design.csv", tmp_path / "marks.csv"
    design.write_text(
        "clip_id,participant,onset_s,exclude\na,P,4,\nb,P,,1\nc,P,99,1\nd,P,,\ne,P,,\n"
    )
    marks.write_text("clip_id,start_s,stop_s,mark\nd,,,bad\n")
    assert not facer.summarise(store, design, marks=marks, windows={"w": (-2, 0)}).notes
    (late,) = facer.summarise(store, design, marks=marks, windows={"w": (0, 2)}).notes
    assert late.startswith("found 1 onset(s) after the end of their clip, such as 'onset' of 'a'")


def test_a_baseline_that_is_too_short_ever_to_count_is_told(study_store):
    store = study_store({"a": (RATE, {})})
    (note,) = facer.summarise(store, baseline=(0, 0.5)).notes
    assert note.startswith("baseline 0:0.5 is shorter than the 1 s that must be seen of it")
    assert not facer.summarise(store, baseline=(0, 0.5), min_baseline=0.5).notes
    assert not facer.summarise(store, baseline=(0.1, 1.1)).notes


def test_a_threshold_that_no_value_passes_is_refused(study_store):
    store = study_store({"a": (RATE, {})})
    with pytest.raises(FacerError, match="threshold au12: found 40, expected 0 to 1"):
        facer.summarise(store, thresholds={"au12": 40})
    assert facer.summarise(store, thresholds={"valence": -0.5}).settings


def test_a_clip_of_one_frame_has_its_row_of_the_series(study_store):
    """Seen: its curve has no bin, and it was in every table but this."""
    store = study_store({"a": (RATE, {}), "b": ([0.0], {})})
    for form in ("long", "wide"):
        found = facer.summarise(store, grid=10, series=form).series
        assert found[found.clip_id == "b"].t_s.isna().tolist() == [True]
