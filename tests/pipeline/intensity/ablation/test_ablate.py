"""Ablations: every row is what it says, done rows are kept, and the paper's figures are marked."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.intensity.ablation import ablate as module
from facer.pipeline.intensity.ablation import trials
from facer.pipeline.intensity.ablation.ablate import ablate
from facer.pipeline.intensity.ablation.report import PAPER, as_markdown
from facer.pipeline.intensity.ablation.rows import ablation_rows
from facer.pipeline.intensity.config import AblateConfig, FoldConfig
from facer.pipeline.views.report.build import build_report
from facer.pipeline.views.report.config import ReportConfig
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.fit import HeadTrainer
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.stages.intensity.statistics.holm import holm
from facer.storage import FeatureStore, LabelOptions
from facer.storage.errors import FacerError
from tests.support import some

FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2)


@pytest.fixture
def config(planted, tmp_path):
    store, labels = planted()
    sequences = SequenceConfig(max_frames=24)
    return AblateConfig(
        store, labels, tmp_path / "ablation", ("table2",), sequences=sequences, fit=FAST, seeds=2
    )


def test_table_2_is_trained_written_and_marked(config):
    seen = []
    table = ablate(config, lambda title, done, total: seen.append((done, total)))
    assert seen == [(i, 7) for i in range(1, 8)]
    assert [row.row.id for row in table.rows][:2] == ["full", "va"]
    assert all(len(row.pearson) == 2 and row.n == 6 for row in table.rows)
    assert table.rows[0].against is None
    assert all(row.against is not None for row in table.rows[1:])
    text = (config.output / "table.md").read_text()
    assert text == as_markdown(table)
    assert PAPER in text
    assert "Intervals: bootstrap, 6 clips drawn, with so few still too narrow." in text
    assert "| .461 |" in text
    with (config.output / "table.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["au"]["paper"] == "0.48"
    assert float(rows["au"]["pearson"]) == pytest.approx(table.rows[3].mean)
    assert rows["au"]["joy"]
    assert (config.output / "table.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(config.output.rglob("last.safetensors"))


def test_labels_that_do_not_vary_in_val_fail_the_rows_with_the_reason(config):
    labels = Path(config.labels)
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    labels.write_text(
        "".join(f"{a},{b},{0.5 if b == 'val' else c},{0.5 if b == 'val' else d}\n"
                for a, b, c, d in rows)
    )  # fmt: skip
    table = ablate(replace(config, rows=(), also={"copy": config.store}, seeds=1))
    assert {row.reason for row in table.rows} == {
        "no intensity's labels vary in val: Pearson is not defined"
    }
    assert all(row["pearson"] is None for row in table.to_json()["rows"])


def test_done_rows_are_kept_and_an_interrupted_one_goes_on(config, monkeypatch):
    calls: list[str] = []
    original = trials.run_trial

    def stop_after_three(task):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(task.id)
        return original(task)

    monkeypatch.setattr(trials, "run_trial", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        ablate(config)
    before = {p: p.stat().st_mtime_ns for p in config.output.rglob("row.json")}
    assert len(before) == 3
    monkeypatch.setattr(trials, "run_trial", original)
    table = ablate(config)
    assert all(row.mean is not None for row in table.rows)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    again = ablate(config, lambda *_: pytest.fail("nothing is left to do"))
    assert again.to_json() == table.to_json()


def test_other_settings_in_the_same_folder_are_refused(config):
    config = replace(config, rows=(), also={"copy": config.store}, seeds=1)
    ablate(config)
    with pytest.raises(FacerError, match=r"was made with other epochs \(was [0-9]+, now 3\); use"):
        ablate(replace(config, fit=replace(FAST, epochs=3)))


def test_done_rows_are_not_reused_after_the_features_changed(config, tmp_path, copy_store):
    """Seen: a cache named by its parameters and reused after the features had changed."""
    config = replace(config, rows=(), also={"copy": config.store}, seeds=1)
    ablate(config)
    shutil.move(config.store, tmp_path / "before.zarr")
    copy_store(
        str(tmp_path / "before.zarr"),
        Path(config.store),
        lambda clip: replace(clip, features=clip.features + np.float32(0.01)),
    )
    with pytest.raises(FacerError, match="made with other data_sha256"):
        ablate(config)


def test_a_row_that_ends_without_a_word_is_told_by_its_kind(config, monkeypatch):
    original = trials.run_trial

    def mute(trial):
        if trial.id == "full":
            return original(trial)
        raise RuntimeError

    monkeypatch.setattr(trials, "run_trial", mute)
    table = ablate(replace(config, rows=("table2",), jobs=1))
    assert {row.reason for row in table.rows if row.row.id != "full"} == {"RuntimeError"}


def test_a_row_that_cannot_be_trained_says_why_and_the_others_go_on(config, tmp_path, planted):
    provenance = FeatureStore.open(config.store).provenance
    other = FeatureStore.create(tmp_path / "other.zarr", provenance)
    table = ablate(replace(config, rows=(), seeds=1, also={"resnet50": other.path}))
    assert [row.row.id for row in table.rows] == ["full", "resnet50"]
    assert table.rows[0].mean is not None
    assert "match" in table.rows[1].reason or "clips" in table.rows[1].reason
    assert [row.row.id for row in table.failed] == ["resnet50"]


def test_another_store_is_a_row_with_all_its_columns(config):
    config = replace(config, rows=(), seeds=1, also={"resnet50": config.store})
    table = ablate(config)
    assert table.rows[1].mean == table.rows[0].mean  # the same features by another name
    assert some(table.rows[1].against).difference == 0
    assert table.rows[1].row.paper == 0.465


def test_a_row_whose_store_lacks_clips_says_so(config, tmp_path):
    """Seen: fewer clips to train on and the training mean for others, without a word."""
    whole = FeatureStore.open(config.store)
    less = FeatureStore.create(
        tmp_path / "less.zarr", whole.provenance, feature_names=whole.feature_names
    )
    less.write_part([(one, whole.read(one.clip_id)) for one in whole.records[:-2]])
    config = replace(config, rows=(), seeds=1, also={"less": less.path, "copy": config.store})
    notes = [note for note in ablate(config).notes if "training mean" in note]
    n = len(whole.records)
    assert len(notes) == 1
    assert (
        f"less features: {n - 2} clips have these features, those of the full model {n};"
        in (notes[0])
    )


def test_rows_that_would_learn_other_intensities_are_refused(config, tmp_path):
    """Seen: means over two intensities beside means over three, and an internal error after all
    rows were trained.
    """
    whole = FeatureStore.open(config.store)
    less = FeatureStore.create(
        tmp_path / "less.zarr", whole.provenance, feature_names=whole.feature_names
    )
    less.write_part([(one, whole.read(one.clip_id)) for one in whole.records[1:]])
    lines = [line.split(",") for line in Path(config.labels).read_text().splitlines()]
    for line in lines[2:]:
        line[3] = line[3] if line[1] == "val" else ""
    Path(config.labels).write_text("".join(",".join(line) + "\n" for line in lines))
    config = replace(config, rows=(), seeds=1, also={"less": less.path})
    with pytest.raises(FacerError, match=r"^less features: none .* of awe, .*targets joy\)"):
        ablate(config)
    assert not config.output.exists()
    table = ablate(replace(config, reading=LabelOptions(targets=("joy",))))
    assert [len(row.per_emotion) for row in table.rows] == [1, 1]


def test_a_row_without_its_store_says_what_it_needs(config):
    rows = ablation_rows(("table3",), ())
    assert "resnet50" in [row.id for row in rows]
    task = module.trial_of(next(r for r in rows if r.id == "resnet50"), config)
    assert task is None


def test_labels_that_join_nothing_are_told_once(config, tmp_path):
    labels = tmp_path / "others.csv"
    labels.write_text("clip_id,split,joy\nnobody,train,0.5\n")
    with pytest.raises(FacerError, match="nobody"):
        ablate(replace(config, labels=str(labels)))
    assert not config.output.exists()


def test_rows_of_table_3_change_what_they_say():
    rows = {row.id: row for row in ablation_rows(("table3", "heads"), ())}
    assert rows["full"].fit(FitConfig()) == FitConfig()
    assert rows["dense-16"].fit(FitConfig()).head.dense == 16
    assert rows["layers-2"].fit(FitConfig()).head.layers == 2
    assert rows["lstm"].fit(FitConfig()).head.cell == "lstm"
    assert rows["gru-256"].fit(FitConfig()).head.hidden_size == 256
    assert not rows["no-mask"].fit(FitConfig()).head.routed
    assert rows["mse"].fit(FitConfig()).loss == "mse"
    assert rows["perceiver"].fit(FitConfig()).head.name == "perceiver"


@pytest.mark.parametrize("rows", [("table9",), ("also",), ()])
def test_unknown_rows_are_refused(config, rows):
    with pytest.raises(FacerError, match=r"rows: found .*table2, table3, heads, table1"):
        replace(config, rows=rows)


@pytest.mark.parametrize("name", ["va", "a/b"])
def test_bad_names_of_stores_are_refused(name):
    with pytest.raises(FacerError, match="expected a new name"):
        ablation_rows((), (name,))


def test_two_jobs_give_what_one_gives(config):
    config = replace(config, rows=(), also={"copy": config.store}, seeds=1)
    serial = ablate(config)
    parallel = ablate(replace(config, output=config.output.with_name("parallel"), jobs=2))
    assert parallel.to_json() == serial.to_json()


def test_seeds_are_added_to_done_rows(config):
    """``--seeds 2`` on rows of 1 trains one each, and comes out as 2 from the start."""
    config = replace(config, rows=(), also={"copy": config.store}, seeds=1)
    ablate(config)
    kept = config.output / "rows" / "full" / "seed-0" / "best.safetensors"
    before = kept.stat().st_mtime_ns
    table = ablate(replace(config, seeds=2))
    assert kept.stat().st_mtime_ns == before
    whole = ablate(replace(config, seeds=2, output=config.output.with_name("whole")))
    assert table.to_json() == whole.to_json()


def test_seeds_that_were_being_added_when_it_stopped_are_trained(config, monkeypatch):
    """Seen: a row whose config had the new number of seeds counted as done with the old ones."""
    config = replace(config, rows=(), also={"copy": config.store}, seeds=1)
    ablate(config)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_new_seed:
        at_the_new_seed.setattr(HeadTrainer, "epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            ablate(replace(config, seeds=2))
    table = ablate(replace(config, seeds=2))
    assert [len(row.pearson) for row in table.rows] == [2, 2]


def test_rows_are_not_compared_with_a_full_model_that_failed(config, monkeypatch):
    """Seen: its scores of before, of fewer seeds, were what the other rows were compared with."""
    config = replace(config, rows=(), also={"copy": config.store}, seeds=1)
    ablate(config)
    original = trials.run_trial
    monkeypatch.setattr(
        trials, "run_trial", lambda task: "ended" if task.id == "full" else original(task)
    )
    full, other = ablate(replace(config, seeds=2)).rows
    assert full.reason == "ended"
    assert (len(other.pearson), other.against) == (2, None)


def test_the_full_model_is_named_by_the_features_that_it_reads(config):
    sequences = replace(config.sequences, features=("va", "au"))
    table = ablate(replace(config, sequences=sequences, rows=("table3",), seeds=1))
    assert table.rows[0].row.title == "full model, va + au features"


def test_two_people_give_differences_without_intervals(config):
    labels = Path(config.labels)
    header, *rows = labels.read_text().splitlines()
    people = [f"{row},p{place // 4 % 2}" for place, row in enumerate(rows)]
    labels.write_text("\n".join([f"{header},subject", *people]) + "\n")
    table = ablate(config)
    assert {some(row.against).interval for row in table.rows[1:]} == {None}
    assert "2 subjects are too few for an interval" in as_markdown(table)
    with (config.output / "table.csv").open() as file:
        row = list(csv.DictReader(file))[1]
    assert (row["difference_low"], row["p"], row["p_holm"]) == ("", "", "")
    assert row["joy"]
    page = build_report(ReportConfig(str(config.output), config.output.with_name("report")))
    assert page.index.is_file()


def test_rows_have_intervals_spread_over_seeds_and_corrected_p_values(config):
    table = ablate(config)
    p_values = [some(some(row.against).p_value) for row in table.rows[1:]]
    assert [row.p_holm for row in table.rows[1:]] == holm(p_values)
    full = table.rows[0]
    assert full.p_holm is None
    for row in table.rows:
        interval = some(row.interval)
        assert interval.low <= some(row.mean) <= interval.high
    for row in table.rows[1:]:
        beyond = np.subtract(row.pearson, full.pearson)
        assert row.beyond_deviation == pytest.approx(np.std(beyond, ddof=1))
    found = {row["id"]: row for row in table.to_json()["rows"]}["au"]
    assert found["against_full"]["p_holm"] == table.rows[3].p_holm
    interval = some(table.rows[3].interval)
    assert found["pearson_95"] == [interval.low, interval.high]
    with (config.output / "table.csv").open() as file:
        cells = {row["id"]: row for row in csv.DictReader(file)}["au"]
    assert float(cells["p_holm"]) == table.rows[3].p_holm
    assert float(cells["difference_std"]) == pytest.approx(table.rows[3].beyond_deviation)


def test_rows_are_scored_out_of_fold(config):
    config = replace(
        config, rows=(), also={"copy": config.store}, seeds=1, folds=FoldConfig("3", "clip")
    )
    table = ablate(config)
    assert table.split == "out-of-fold"
    assert [row.n for row in table.rows] == [18, 18]
    assert some(table.rows[1].against).difference == 0
    assert (config.output / "rows" / "full" / "out-of-fold.csv").is_file()
    assert not list(config.output.rglob("last.safetensors"))
    again = ablate(config, lambda *_: pytest.fail("nothing is left to do"))
    assert again.to_json() == table.to_json()
    with pytest.raises(FacerError, match=r"made with other .*folds"):
        ablate(replace(config, folds=None))


def test_large_inputs_are_told_unless_they_are_standardised(config, tmp_path, copy_store):
    def pose(clip):
        return replace(clip, features=clip.features * np.float32(400))

    store = copy_store(config.store, tmp_path / "large.zarr", pose)
    said: list[str] = []
    config = replace(config, rows=(), also={"copy": store}, store=store, seeds=1)
    ablate(config, None, said.append)
    (note,) = said
    assert "input column(s) are large, such as au" in note
    assert "--standardise" in note
    fit = replace(FAST, standardise=True)
    ablate(replace(config, fit=fit, output=tmp_path / "scaled"), None, pytest.fail)
