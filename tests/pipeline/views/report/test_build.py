import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.views.report.ablation_page import read_rows
from facer.pipeline.views.report.build import build_report, kind_of
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.report.folder import marks_key, page_name
from facer.pipeline.views.report.run_page import clip_errors, read_curves
from facer.storage import FacerError
from facer.storage.files.csv_table import csv_text
from tests.support import some


def data_of(report):
    text = (report.index.parent / "index.js").read_text()
    return json.loads(text.removeprefix("window.facerData = ").removesuffix(";\n"))


def test_what_is_nothing_of_facers_is_named(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(FacerError, match=r"found photo.jpg; expected a store of facer extract"):
        kind_of(str(tmp_path))
    with pytest.raises(FacerError, match="found nothing"):
        kind_of(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text('{"sets": []}')  # a run of train-rec
    with pytest.raises(FacerError, match=r"found config.json, photo.jpg; expected"):
        kind_of(str(tmp_path))
    (tmp_path / "table.csv").write_text("learning_rate,pearson\n")
    (tmp_path / "best.toml").write_text("")
    with pytest.raises(FacerError, match=r"found a folder of facer sweep, which .*/rows"):
        kind_of(str(tmp_path))


@pytest.mark.parametrize(
    ("clips", "expected"),
    [((), ["b", "c", "a"]), (("worst:2",), ["b", "c"]), (("a", "worst:1", "a"), ["a", "b"]),
     (("all",), ["b", "c", "a"]), (("worst:0",), [])],
)  # fmt: skip
def test_clips_are_chosen_by_id_or_rank(tmp_path, clips, expected):
    assert ReportConfig("s", tmp_path, clips=clips).choose(["b", "c", "a"]) == expected


def test_an_unknown_clip_and_options_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(FacerError, match="clips worst:x: not one of the 1 clips"):
        ReportConfig("s", tmp_path, clips=("worst:x",)).choose(["a"])
    with pytest.raises(FacerError, match="no such folder"):
        ReportConfig("s", tmp_path, videos=tmp_path / "absent")
    with pytest.raises(FacerError, match="embed"):
        ReportConfig("s", tmp_path, embed=True)


def test_the_overview_lists_all_clips_worst_first(make_store, clip_of, tmp_path):
    clips = {"fine": clip_of(500), "gone": clip_of(9, gaps=((0, 9),)), "bad": "no <video> stream"}
    report = build_report(ReportConfig(make_store(clips).path, tmp_path / "report"))
    table = data_of(report)["table"]
    assert table["clip"] == ["bad", "gone", "fine"]
    assert table["faces"] == [None, 0.0, 1.0]
    assert [bool(url) for url in table["url"]] == [False, True, True]
    assert all((tmp_path / "report" / url).is_file() for url in table["url"] if url)
    page = report.index.read_text()
    assert "no &lt;video&gt; stream" in page
    assert "<dt>clips over t = 480</dt><dd>1</dd>" in page
    assert report.n_pages == 2


def test_a_store_without_clips_has_a_report(tmp_path, planted):
    from facer.storage import FeatureStore, Provenance

    FeatureStore.create(tmp_path / "empty.zarr", Provenance("d", "", "r", ""))
    report = build_report(ReportConfig(str(tmp_path / "empty.zarr"), tmp_path / "report"))
    assert data_of(report)["table"]["clip"] == []


def test_an_earlier_report_outlasts_one_that_fails(make_store, clip_of, tmp_path):
    store = make_store({"a": clip_of(9), "b": clip_of(9)}).path
    build_report(ReportConfig(store, tmp_path / "report"))
    with pytest.raises(FacerError, match="not one of the 2 clips"):
        build_report(ReportConfig(store, tmp_path / "report", clips=("typo",)))
    assert len(list((tmp_path / "report/clips").glob("*.html"))) == 2
    build_report(ReportConfig(store, tmp_path / "report", clips=("a",)))
    assert len(list((tmp_path / "report/clips").glob("*.html"))) == 1


def test_marks_of_stores_of_one_name_are_kept_apart(tmp_path, monkeypatch):
    keys = []
    for study in ("pilot", "main"):
        (tmp_path / study).mkdir()
        monkeypatch.chdir(tmp_path / study)
        keys += [marks_key("features.zarr"), marks_key(str(tmp_path / study / "features.zarr"))]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_clips_without_times_have_pages(make_store, clip_of, tmp_path):
    clip = clip_of(30, ((5, 9),))
    clip.timestamp_s[:] = np.nan
    store = make_store({"rated": clip})  # of 25 Hz
    store.write_part([
        (replace(store.record("rated"), clip_id="bare", fps=float("nan")), clip)
    ])  # fmt: skip
    folder = build_report(ReportConfig(store.path, tmp_path / "report")).index.parent / "clips"
    for clip_id, gap in (("rated", [0.18, 0.34]), ("bare", [4.5, 8.5])):
        text = (folder / f"{page_name(clip_id)}.js").read_text()
        assert json.loads(re.findall(r'"gaps":\[(.*?\])\]', text)[0]) == pytest.approx(gap)
        page = (folder / f"{page_name(clip_id)}.html").read_text()
        assert ("have no times" in page) == (clip_id == "bare")


def test_pages_ask_for_nothing_outside_their_folder(make_store, clip_of, tmp_path):
    report = build_report(ReportConfig(make_store({"a": clip_of(5)}).path, tmp_path / "report"))
    for page in report.index.parent.rglob("*.html"):
        assert "//" not in page.read_text().replace(str(tmp_path), "")


def test_a_folder_with_none_or_some_of_the_videos_is_said(
    make_store, clip_of, tmp_path, make_video
):
    blind = {name: clip_of(4, gaps=((0, 4),)) for name in "ab"}
    store = make_store(blind, {"a": "a.mp4", "b": "b.mp4"})
    make_video("videos/other.mp4", 4)
    config = ReportConfig(store.path, tmp_path / "report", videos=tmp_path / "videos")
    with pytest.raises(FacerError, match=r"videos .*: 2 of 2 clips have no video there \(\w: fo"):
        build_report(config)
    make_video("videos/a.mp4", 4)
    (note,) = build_report(config).notes
    assert "1 of 2 clips have no video there, as their pages say (b: found no video" in note
    make_video("videos/b.mp4", 4)
    assert build_report(config).notes == ()


def test_failures_are_grouped_by_reason_the_most_frequent_first(make_store, clip_of, tmp_path):
    broken = {f"x{i}": f"x{i}.mp4: empty file" for i in range(7)}
    store = make_store(
        {"good": clip_of(4), "odd": "no picture <i>", **broken},
        {name: f"videos/{name}.mp4" for name in broken},
    )
    page = build_report(ReportConfig(store.path, tmp_path / "report")).index.read_text()
    assert re.findall(r"<li><b>(\d+)</b> (.*?) <span class=\"quiet\">(.*?)</span>", page) == [
        ("7", "empty file", "x0, x1, x2, x3, x4 and 2 more"),
        ("1", "no picture &lt;i&gt;", "odd"),
    ]


def test_a_run_report_has_the_figures_of_evaluate(run, tmp_path):
    report = build_report(ReportConfig(str(run), tmp_path / "report", clips=("worst:2",)))
    found, data = evaluate(run, "val"), data_of(report)
    assert data["labels"] == list(found.label_ids)
    assert np.allclose(data["predicted"], found.predictions.T, atol=1e-4)
    page = report.index.read_text()
    mean = some(some(found.intervals).mean)
    assert f"{mean.low:.3f} to {mean.high:.3f}" in page
    errors = clip_errors(found.predictions, np.array(data["labelled"], np.float32).T)
    worst = found.label_ids[int(errors.argmax())]
    assert page.index(f">{worst}</a>") < page.index("Learning curves")
    assert page.count('<a href="clips/') == report.n_pages == 2
    assert sum(map(bool, data["urls"])) == 2
    assert data["pearson"] == pytest.approx(some(found.ensemble).pearson, abs=1e-3)
    total = some(re.search(r'<th scope="row">mean</th><td [^>]*>(.*?)</td>', page))[1]
    assert total == f"{found.mean('pearson'):.3f}"
    (clip_page,) = (tmp_path / "report/clips").glob(f"{worst}-*.html")
    assert ", labelled 0." in clip_page.read_text()


def test_a_run_whose_store_and_labels_have_moved_is_reported_from_their_new_places(run, tmp_path):
    expected = data_of(build_report(ReportConfig(str(run), tmp_path / "before")))
    (tmp_path / "planted.zarr").rename(tmp_path / "moved.zarr")
    (tmp_path / "labels.csv").rename(tmp_path / "moved.csv")
    moved = ReportConfig(
        str(run),
        tmp_path / "after",
        labels=str(tmp_path / "moved.csv"),
        store=str(tmp_path / "moved.zarr"),
    )
    assert data_of(build_report(moved)) == expected


def test_learning_curves_of_every_seed_are_read(run):
    curves = read_curves(run)
    assert list(curves) == ["0", "1"]
    assert curves["1"]["epoch"] == [1.0, 2.0]


def test_the_ring_is_at_the_epoch_that_was_kept(run):
    """Seen: at the greatest val Pearson, where none is known beside those below 0 at no epoch."""
    path = run / "seed-0" / "curve.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    for row, pearson, best in zip(rows, ("-0.5", "nan"), (True, False), strict=True):
        row |= {"val_pearson": pearson, "best": str(best)}
    path.write_text(csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))
    assert read_curves(run)["0"]["kept"] == 0


def test_errors_of_clips_are_over_their_labelled_emotions():
    predicted = np.array([[1, 0.5], [0.2, 0.9], [0, 0]], np.float32)
    labelled = np.array([[0, 0.5], [np.nan, 0.5], [np.nan, np.nan]], np.float32)
    expected = [np.sqrt(0.5), 0.4, np.nan]
    assert clip_errors(predicted, labelled) == pytest.approx(expected, nan_ok=True)


def test_an_ablation_report_has_the_rows_and_marks_the_papers(ablation, tmp_path):
    full, va = read_rows(ablation)
    assert (full["scores"], full["pearson"], full["paper"]) == ([0.25, 0.5], 0.375, 0.494)
    assert (va["scores"], va["pearson"], va["reason"]) == ([], None, "store lacks <valence>")
    page = build_report(ReportConfig(str(ablation), tmp_path / "report")).index.read_text()
    assert "trained on" not in page
    assert "store lacks &lt;valence&gt;" in page
    assert "Kollias et al. 2023, Hume-Reaction val" in page


def test_an_ablation_report_says_what_the_full_model_was_trained_on(ablation, run, tmp_path):
    record = (run / "config.json").read_text()
    (ablation / "rows/full/config.json").write_text(record)
    page = build_report(ReportConfig(str(ablation), tmp_path / "report")).index.read_text()
    assert f"<td>{json.loads(record)['store']}</td>" in page
    assert "<td>joy, awe</td>" in page


def test_an_ablation_that_has_not_finished_says_so(ablation, tmp_path):
    (ablation / "table.csv").unlink()
    with pytest.raises(FacerError, match="let facer ablate finish"):
        build_report(ReportConfig(str(ablation), tmp_path / "report"))
    for text in ("id,groups\nfull,table2\n", "id,groups,title,n\nfull,ta"):
        (ablation / "table.csv").write_text(text)
        with pytest.raises(FacerError, match="not a table of facer ablate"):
            read_rows(ablation)
