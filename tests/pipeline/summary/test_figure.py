"""Figures: every kind to every format, the numbers beside it, and what cannot be drawn is said."""

import csv
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import facer
from facer.pipeline.runtime.places import opened
from facer.pipeline.summary.summarise import study, summarise_in_memory
from facer.pipeline.views.figure import kinds
from facer.pipeline.views.figure.config import FigureConfig
from facer.pipeline.views.figure.kinds import DRAW
from facer.stages.summary.config import SummaryConfig
from facer.storage.errors import FacerError
from tests.support import outcome

RATE = np.arange(100) / 25.0
DESIGN = "{participant}_{condition}"


@pytest.fixture
def store(study_store):
    clips = {
        f"P{p}_{condition}": (
            RATE,
            {"au12": np.clip((p + 1) / 5 + up * RATE / 10, 0, 1)},
            RATE != 1,
        )
        for p in range(4)
        for condition, up in (("joke", 1), ("news", 0))
    }
    return study_store({**clips, "P9_joke": None})


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["clip", "participant", "grand", "heat", "missing", "strip"])
def test_a_name_with_dollars_is_no_formula(study_store, tmp_path, kind):
    store = study_store({f"P{p}_{c}": (RATE, {}) for p in "12" for c in (r"$\bad{$", "$5", "a$b$")})
    of = {"of": r"P1_$\bad{$"} if kind == "clip" else {}
    facer.figure(kind, store, tmp_path / "f.svg", DESIGN, **of)
    shown = r"P1_$\bad{$" if kind in ("clip", "heat", "missing") else r"$\bad{$"
    assert shown in (tmp_path / "f.svg").read_text()


@pytest.mark.parametrize(
    ("kind", "ending", "n"),
    [("clip", "pdf", 40), ("participant", "svg", 80), ("grand", "png", 80), ("heat", "png", 320),
     ("missing", "svg", 320), ("paired", "pdf", 8), ("strip", "svg", 8)],
)  # fmt: skip
def test_every_kind_with_its_numbers(store, tmp_path, kind, ending, n):
    path = tmp_path / f"f.{ending}"
    numbers = facer.figure(kind, store, path, DESIGN)
    drawn = path.read_bytes()
    assert drawn.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[ending])
    drawn_rows = [row for row in rows(numbers) if row.get("t_s") != ""]
    assert len(drawn_rows) == n
    assert facer.figure(kind, store, path, DESIGN) == numbers  # replaces its own
    assert path.read_bytes() == drawn
    if ending == "svg":
        assert b"n = " in drawn


def test_the_grand_mean_is_that_of_people(store, tmp_path):
    numbers = rows(facer.figure("grand", store, tmp_path / "g.png", DESIGN))
    first = next(row for row in numbers if row["condition"] == "news")
    assert float(first["mean"]) == pytest.approx(0.5)
    assert float(first["participants"]) == 4
    assert float(first["lo"]) < 0.5 < float(first["hi"])


def test_the_order_of_the_design_does_not_move_the_interval(store, tmp_path):
    """Seen: other ends with the same clips in another order; groups.csv goes by names."""
    names = [f"P{p}_{condition}" for p in range(4) for condition in ("joke", "news")]
    drawn = []
    for order in (names, names[::-1]):
        lines = [",".join([name, *name.split("_")]) for name in order]
        (tmp_path / "d.csv").write_text("\n".join(["clip_id,participant,condition", *lines]))
        drawn.append(rows(facer.figure("grand", store, tmp_path / "g.png", tmp_path / "d.csv")))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("settings", [{}, {"resamples": 50, "seed": 3}])
def test_the_interval_is_that_of_the_groups(store, settings):
    tables, _ = summarise_in_memory(study(opened(store), SummaryConfig(**settings), DESIGN))
    groups = tables["groups"].frame()
    groups = groups[(groups.feature == "au12") & (groups.statistic == "mean")]
    axes = Figure().subplots()
    DRAW["strip"](axes, tables, FigureConfig(**settings))
    drawn = [lines.get_segments()[0][:, 1] for lines in axes.collections
             if isinstance(lines, LineCollection)]  # fmt: skip
    np.testing.assert_allclose(drawn, groups[["lo", "hi"]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pie", "f.png"), "kind: found 'pie', expected one of clip"),
        (("clip", "f.gif"), "found ending '.gif', expected one of .pdf, .svg, .png"),
        (("clip", "f.png", "--feature", "au13"), "--feature: found 'au13'"),
        (("clip", "f.png", "--of", "P7_joke"), "--of: found 'P7_joke', expected one of the design"),
        (("paired", "f.png"), "expected two or more; give a design"),
    ],
)
def test_what_cannot_be_drawn_is_said(store, tmp_path, capsys, arguments, message):
    kind, name, *rest = arguments
    code, _, err = outcome(capsys, "figure", kind, store, "-o", tmp_path / name, *rest)
    assert code in (1, 2)
    assert message in err
    assert not (tmp_path / name).exists()


def test_a_folder_in_the_way_is_told(store, tmp_path):
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(FacerError, match="found a folder there"):
        facer.figure("strip", store, tmp_path / "f.png")


def test_the_numbers_of_a_figure_replace_no_other_table(store, tmp_path):
    """Seen: ``-o stats/summary.pdf`` wrote over the summary.csv of facer summarise."""
    (tmp_path / "summary.csv").write_text("clip_id,mean\na,1\n")
    with pytest.raises(FacerError, match=r"summary\.csv: found another table there"):
        facer.figure("grand", store, tmp_path / "summary.pdf", DESIGN)
    assert (tmp_path / "summary.csv").read_text() == "clip_id,mean\na,1\n"
    assert not (tmp_path / "summary.pdf").exists()


def test_names_of_many_clips_have_room(study_store, tmp_path):
    clips: dict[str, Any] = {f"P{p:02d}_joke": (RATE, {}) for p in range(50)}
    store = study_store({**clips, "P50_joke": None}, "many.zarr")
    facer.figure("missing", store, tmp_path / "m.svg", DESIGN)
    drawn = (tmp_path / "m.svg").read_text()
    height_pt = float(drawn.split('height="', 1)[1].split("pt", 1)[0])
    assert height_pt > 50 * 8.4  # lines of 7 pt
    assert "n = 50 of 51 clips" in drawn


@pytest.mark.parametrize("kind", ["heat", "missing"])
def test_of_many_clips_those_of_every_condition_are_drawn(study_store, tmp_path, monkeypatch, kind):
    """Seen: of 2,000 clips the first 500, which were all of one condition."""
    monkeypatch.setattr(kinds, "_MOST_ROWS", 6)
    conditions = ("joke", "rest", "talk")
    clips: dict[str, Any] = {f"P{p}_{c}": (RATE, {}) for p in range(4) for c in conditions}
    store = study_store(clips)
    found = rows(facer.figure(kind, store, tmp_path / "m.svg", DESIGN))
    assert {row["condition"] for row in found} == {"joke", "rest", "talk"}
    assert len({row["clip_id"] for row in found}) == 6
    assert "n = 6 of 12 clips, evenly spaced" in (tmp_path / "m.svg").read_text()


def test_missing_is_where_a_clip_had_frames_and_no_face(study_store, tmp_path):
    uneven = np.arange(44) / 15.0  # no frame begins in the last tenth of a second
    store = study_store({"P0_joke": (uneven, {}), "P1_joke": (uneven, {}, uneven < 0)}, "m.zarr")
    found = rows(facer.figure("missing", store, tmp_path / "m.svg", DESIGN))
    seen = {clip: [row["value"] for row in found if row["clip_id"] == clip]
            for clip in ("P0_joke", "P1_joke")}  # fmt: skip
    assert set(seen["P0_joke"][:-1]) == {"1"}
    assert seen["P0_joke"][-1] == ""
    assert set(seen["P1_joke"][:-1]) == {"0"}
    assert seen["P1_joke"][-1] == ""
    assert b"outside the clip" in (tmp_path / "m.svg").read_bytes()


def test_missing_counts_from_the_event_and_knows_where_a_clip_ends(study_store, tmp_path):
    """Seen: a clip without a face began at 0 whatever its onset, an excluded one was drawn as not
    seen, and of one that starts late what was not seen lay outside the clip.
    """
    late = RATE + 10
    store = study_store({
        "P0_joke": (RATE, {}), "P1_joke": (RATE, {}, RATE < 0), "P2_joke": (RATE, {}),
        "P3_joke": (late, {}, (late < 12) | (late > 13)),
    })  # fmt: skip
    (tmp_path / "d.csv").write_text(
        "clip_id,participant,condition,onset_s,exclude\nP0_joke,P0,joke,2,\nP1_joke,P1,joke,2,\n"
        "P2_joke,P2,joke,2,1\nP3_joke,P3,joke,12,\n"
    )
    found = rows(facer.figure("missing", store, tmp_path / "m.svg", tmp_path / "d.csv"))
    seen = {clip: "".join(row["value"] for row in found if row["clip_id"] == clip)
            for clip in ("P0_joke", "P1_joke", "P2_joke", "P3_joke")}  # fmt: skip
    assert seen == {
        "P0_joke": "1" * 40, "P1_joke": "0" * 40, "P2_joke": "",
        "P3_joke": "1" * 20 + "0" * 10 + "1" * 10,
    }  # fmt: skip
    assert {float(row["t_s"]) for row in found} == {t / 10 for t in range(-20, 20)}
    assert "n = 3 of 4 clips" in (tmp_path / "m.svg").read_text()
    windows = {"after": (1, 3)}
    found = rows(facer.figure("missing", store, tmp_path / "m.svg", tmp_path / "d.csv",
                              windows=windows))  # fmt: skip
    for clip in ("P0_joke", "P1_joke"):  # both end after two seconds
        values = [row["value"] for row in found if row["clip_id"] == clip]
        assert values == ["1" if clip == "P0_joke" else "0"] * 10 + [""] * 10


@pytest.mark.parametrize("kind", ["heat", "grand"])
def test_the_time_between_clips_is_there(study_store, tmp_path, monkeypatch, kind):
    """Seen: times that no clip has were left out, and all after them stood in the wrong place."""
    sheets: list[Any] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (sheets.append(f), save(f, *a, **k)))
    store = study_store({"P0_joke": (RATE, {}), "P1_joke": (RATE + 16, {})}, "apart.zarr")
    facer.figure(kind, store, tmp_path / "f.png", DESIGN)
    axes = sheets[0].axes[0]
    if kind == "heat":
        [image] = axes.images
        assert image.get_array().shape == (2, 200)
        assert image.get_extent()[:2] == pytest.approx((0, 20))
    else:
        curve = axes.lines[0].get_ydata()
        assert np.flatnonzero(np.isnan(curve)).tolist() == list(range(40, 160))


def test_clips_a_day_apart_are_told(study_store, tmp_path):
    store = study_store({"P0_joke": (RATE, {}), "P1_joke": (RATE + 1e7, {})}, "far.zarr")
    with pytest.raises(FacerError, match=r"found curves from 0 to 1e\+07 s, expected less time"):
        facer.figure("heat", store, tmp_path / "f.png", DESIGN)


def test_events_of_a_clip_are_told_apart(study_store, tmp_path):
    """Seen: three events counted as three clips, and the csv did not say which row is whose."""
    events = tmp_path / "events.csv"
    events.write_text("clip_id,onset_s,duration_s,event\nP0_joke,0,1,a\nP0_joke,2,1,b\n")
    store = study_store({"P0_joke": (RATE, {})})
    found = rows(facer.figure("clip", store, tmp_path / "c.svg", DESIGN, events=events))
    assert [row["event"] for row in found] == ["a"] * 10 + ["b"] * 10
    assert "n = 1 clip(s), 2 events" in (tmp_path / "c.svg").read_text()
    facer.figure("heat", store, tmp_path / "h.svg", DESIGN, events=events)
    assert "P0_joke b" in (tmp_path / "h.svg").read_text()


@pytest.mark.parametrize("kind", ["paired", "strip"])
def test_a_mean_is_of_one_window(store, tmp_path, kind):
    """Seen: a person's point was the mean of whichever windows had a number."""
    windows = {"a": (0, 1), "b": (0, 3)}
    with pytest.raises(FacerError, match="window: found a, b, expected one for"):
        facer.figure(kind, store, tmp_path / "f.png", DESIGN, windows=windows)
    facer.figure(kind, store, tmp_path / "f.svg", DESIGN, windows={"a": (0, 1)})
    assert "mean au12 (probability)" in (tmp_path / "f.svg").read_text()


def test_the_grand_mean_says_how_many_people_are_behind_it(study_store, tmp_path):
    clips: dict[str, Any] = {f"P{p}_joke": (np.arange(25 * (p + 1)) / 25.0, {}) for p in range(3)}
    facer.figure("grand", study_store(clips, "n.zarr"), tmp_path / "g.svg", DESIGN)
    drawn = (tmp_path / "g.svg").read_text().replace("\u00a0", " ")
    assert "joke n = 1 to 3" in drawn
    assert "bootstrap" in drawn


@pytest.mark.parametrize("kind", ["clip", "participant", "grand"])
def test_a_value_alone_is_a_dot(study_store, tmp_path, monkeypatch, kind):
    """A line of one point is nothing."""
    plot, dots = Axes.plot, list[float]()
    monkeypatch.setattr(Axes, "plot", lambda self, x, y, *a, **k: (
        dots.extend(x if a == ("o",) else ()), plot(self, x, y, *a, **k))[1])  # fmt: skip
    store = study_store({"P1_joke": (RATE, {}, RATE == 2)}, "lone.zarr")
    facer.figure(kind, store, tmp_path / "f.svg", DESIGN)
    assert dots == pytest.approx([2.05])  # the middle of its bin


LONG = "a condition whose name is as long as a sentence of some words "


@pytest.mark.parametrize(
    "kind", ["clip", "participant", "grand", "heat", "paired", "missing", "strip"]
)
def test_long_and_many_names_lie_in_the_figure_and_apart(study_store, tmp_path, monkeypatch, kind):
    sheets: list[Any] = []
    save = Figure.savefig

    def saved(figure, *args, **options):
        save(figure, *args, **options)
        sheets.append((figure.get_tightbbox().extents, *figure.get_size_inches()))

    monkeypatch.setattr(Figure, "savefig", saved)
    clips: dict[str, Any] = {f"P{p}_{c}{LONG * 3}": (RATE, {}) for p in "12" for c in range(7)}
    facer.figure(kind, study_store(clips, "l.zarr"), tmp_path / "f.png", DESIGN, dpi=100)
    [((left, low, right, high), width, height)] = sheets
    assert -0.02 <= left <= right <= width + 0.02
    assert -0.02 <= low <= high <= height + 0.02


def test_letters_that_the_font_lacks_are_told_once(study_store, tmp_path, capsys):
    store = study_store({"P1_笑い": (RATE, {})}, "j.zarr")
    facer.figure("clip", store, tmp_path / "f.png", DESIGN)
    assert "an .svg has them" in capsys.readouterr().err
    facer.figure("clip", store, tmp_path / "f.svg", DESIGN)
    assert capsys.readouterr().err == ""
    assert "笑い" in (tmp_path / "f.svg").read_text()


def test_what_a_summary_tells_a_figure_tells(store, tmp_path, capsys):
    marks = tmp_path / "marks.csv"
    marks.write_text("clip_id,start_s,stop_s,mark\nP1_joke,1000,2000,hand\n")
    design = tmp_path / "design.csv"
    design.write_text("clip_id,participant,condition\nP1_joke,P1,joke\nP2_joke,P2,joke\n")
    facer.figure("strip", store, tmp_path / "f.png", design, marks=marks)
    told = capsys.readouterr().err
    assert "7 clips of the store are not in" in told
    assert "1 mark(s) that cover no frame" in told


@pytest.mark.parametrize("kind", ["clip", "grand"])
def test_a_curve_does_not_rise_before_the_event(study_store, tmp_path, kind, monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "plot", lambda axes, t, v, *_, **__: drawn.append((t, v)))
    store = study_store({"P1_a": (RATE, {"au12": RATE >= 2})})
    numbers = rows(facer.figure(kind, store, tmp_path / "f.png", grid=1.0))
    times, values = drawn[0]
    assert np.interp([1.4, 2.6], times, values) == pytest.approx([0, 1])
    assert [float(row["t_s"]) for row in numbers] == [0, 1, 2, 3]  # starts of bins


@pytest.mark.parametrize("kind", ["grand", "strip"])
@pytest.mark.parametrize(
    ("people", "more", "said"),
    [(3, {}, "95 % bootstrap interval<"), (2, {}, "no interval<"), (3, {"resamples": 0}, "no in"),
     (4, {}, "interval, from 3 on<")],
)  # fmt: skip
def test_an_interval_is_told_where_one_is_drawn(study_store, tmp_path, kind, people, more, said):
    pairs = {f"P{p}_{c}" for p in range(people) for c in "ab"}
    pairs -= {"P2_b", "P3_b"} if people == 4 else set()
    store = study_store({name: (RATE, {}) for name in sorted(pairs)})
    facer.figure(kind, store, tmp_path / "f.svg", DESIGN, width="double", **more)
    assert said in (tmp_path / "f.svg").read_text()


def test_without_curves_the_clips_reasons_are_told(tmp_path):
    text = "FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,AU12,input,frame\n"
    (tmp_path / "a.csv").write_text(text + "1,2,10,20,0.9,0.5,a.mp4,0\n1,2,10,20,0.9,0.5,a.mp4,1\n")
    store = facer.import_("pyfeat", tmp_path / "a.csv", tmp_path / "s.zarr").store
    with pytest.raises(FacerError, match=r"\(clips: 1 failed: its frames have no times\)"):
        facer.figure("grand", store, tmp_path / "f.png")
