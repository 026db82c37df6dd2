import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import facer
from facer.cli import main
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.train import train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.fusion import fit_weights
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore, LabelOptions
from facer.storage.errors import FacerError, OptionError
from tests.support import some

FAST = FitConfig(HeadConfig(hidden_size=8, dense=8), learning_rate=5e-3, epochs=8)


@pytest.fixture
def runs(planted, tmp_path):
    """One run on the column that shows joy, one on that of awe; two and one seeds."""
    store, labels = planted(48)
    base = TrainHeadConfig(store, labels, tmp_path / "joy", fit=FAST, seeds=2)
    for name, column, seeds in (("joy", "au12", 2), ("awe", "au26", 1)):
        sequences = SequenceConfig((column,), max_frames=24)
        train_head(replace(base, run=tmp_path / name, sequences=sequences, seeds=seeds))
    return tmp_path / "joy", tmp_path / "awe"


def test_a_fusion_is_the_mean_of_the_runs_seed_by_seed(runs, capsys, tmp_path):
    found = facer.fuse(runs, split="test")
    members = [facer.open_run(run).evaluate("test") for run in runs]
    expected = np.mean([m.by_seed[0] for m in members], axis=0)
    np.testing.assert_allclose(found.fusion.predictions, expected, rtol=1e-6)
    assert found.fusion.n_seeds == 1
    assert found.fusion.intervals is not None
    gains = [some(gain) for gain in found.gains]
    assert [gain.n_units for gain in gains] == [12, 12]
    pairs = zip(found.p_holm, gains, strict=True)
    assert all(some(p) >= some(gain.p_value) for p, gain in pairs)
    assert some(facer.fuse([runs[0], runs[0]], split="test").gains[0]).difference == 0
    file = tmp_path / "fused.csv"
    arguments = ["fuse", *map(str, runs), "--split", "test", "--predictions", str(file), "--json"]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    printed = json.loads(capsys.readouterr().out)
    assert printed["fusion"]["mean"]["pearson"] == found.fusion.mean("pearson")
    assert printed["runs"][0]["weights"] == {"joy": 0.5, "awe": 0.5}
    assert len(file.read_text().splitlines()) == 13


def test_a_split_without_labels_is_fused_in_the_form_of_a_challenge(runs, tmp_path, capsys):
    """Seen: no labels to score on, so no predictions of a challenge's test split."""
    rows = [row.split(",") for row in (tmp_path / "labels.csv").read_text().splitlines()]
    bare = [f"{i},test,," if split == "test" else ",".join((i, split, *v)) for i, split, *v in rows]
    (tmp_path / "bare.csv").write_text("\n".join(bare))
    arguments = ["fuse", *map(str, runs), "--labels", str(tmp_path / "bare.csv"), "--split", "test"]
    file = tmp_path / "fused.csv"
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--predictions", str(file)])
    assert "nothing to score" in capsys.readouterr().out
    assert len(file.read_text().splitlines()) == 13
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--weights", "val", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [(one["mean"], one["gain"]) for one in printed["runs"]] == [(None, None)] * 2
    with pytest.raises(SystemExit, match="1"):
        main([*arguments, "--predictions", "-", "--format", "eri"])
    assert "expected Adoration" in capsys.readouterr().err


def test_weights_of_val_know_which_run_knows_what(runs):
    found = facer.fuse(runs, weights="val", split="test")
    assert found.weights.sum(0) == pytest.approx([1, 1])
    assert found.weights[0, 0] > 0.8
    assert found.weights[1, 1] > 0.8
    equal = facer.fuse(runs, split="test")
    assert found.fusion.mean("pearson") > equal.fusion.mean("pearson")
    assert any("fitted on val" in text for text in facer.fuse(runs, weights="val").fusion.warnings)
    assert not any("fitted on val: scores" in text for text in found.fusion.warnings)


def test_what_cannot_be_fused_is_refused(runs, tmp_path):
    with pytest.raises(OptionError, match="runs: found 1, expected two or more"):
        facer.fuse(runs[:1])
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "fewer.csv").write_text("\n".join(lines[:-4]) + "\n")
    config = TrainHeadConfig(
        str(tmp_path / "planted.zarr"), str(tmp_path / "fewer.csv"), tmp_path / "other",
        fit=replace(FAST, epochs=1),
    )  # fmt: skip
    train_head(config)
    told = r"joy and .*other: score other clips on val \(12 clips; 11 clips\)"
    with pytest.raises(FacerError, match=told):
        facer.fuse([runs[0], tmp_path / "other"])
    (tmp_path / "fewer.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
    train_head(replace(config, run=tmp_path / "turned"))
    with pytest.raises(FacerError, match=r"of other ids or order on val \(in another order\)"):
        facer.fuse([runs[0], tmp_path / "turned"])
    one = LabelOptions(targets=("joy",))
    train_head(replace(config, run=tmp_path / "one", reading=one))
    with pytest.raises(FacerError, match=r"predict joy, awe and joy, .* with the same targets"):
        facer.fuse([runs[0], tmp_path / "one"], labels=tmp_path / "labels.csv")


def test_what_a_run_lacks_and_other_scales_are_told_of_a_fusion(runs, tmp_path):
    """Seen: the second run's changed store, raw scale and missing clips were told nowhere."""
    labels = tmp_path / "labels.csv"
    rows = [line.split(",") for line in labels.read_text().splitlines()[1:]]
    lines = ["clip_id,split,joy,awe"]
    lines += [f"{i},{split},{100 * float(joy)},{100 * float(awe)}" for i, split, joy, awe in rows]
    (tmp_path / "percent.csv").write_text("\n".join(lines))
    store = FeatureStore.open(tmp_path / "planted.zarr")
    there = [clip for clip in store.clip_ids if clip != "clip-02"]  # one of val is lacking
    other = FeatureStore.create(tmp_path / "other.zarr", store.provenance)
    other.write_part([(store.record(clip), store.read(clip)) for clip in there])
    base = TrainHeadConfig(
        str(tmp_path / "other.zarr"), str(labels), tmp_path / "lacking", seeds=1,
        fit=replace(FAST, epochs=1), sequences=SequenceConfig(("au26",), max_frames=24),
    )  # fmt: skip
    train_head(base)
    raw = replace(base.fit, calibrate="none")
    train_head(replace(base, run=tmp_path / "raw", fit=raw))
    train_head(replace(base, run=tmp_path / "percent", labels=str(tmp_path / "percent.csv")))
    found = facer.fuse([runs[0], tmp_path / "lacking"]).fusion
    assert (found.n_filled, found.status[0], found.warnings) == (1, "no_clip", ())
    shutil.rmtree(tmp_path / "other.zarr")
    shutil.copytree(tmp_path / "planted.zarr", tmp_path / "other.zarr")
    told = facer.fuse([runs[0], tmp_path / "raw"]).fusion.warnings
    assert f"{tmp_path / 'raw'}: the store's features are not those" in told[0]
    assert "on other scales (calibrated on none and train)" in told[1]
    told = facer.fuse([runs[0], tmp_path / "percent"], labels=str(labels)).fusion.warnings
    assert "trained on labels of joy with means 0." in told[-1]


def test_fitted_weights_are_shares_and_equal_where_nothing_is_known():
    random = np.random.default_rng(0)
    truth = random.standard_normal((50, 3)).astype(np.float32)
    noise = random.standard_normal((2, 50, 3)).astype(np.float32)
    predictions = np.stack([truth + 0.1 * noise[0], -truth])  # the second is never used
    truth[:, 1] = np.nan
    weights = fit_weights(predictions, truth)
    np.testing.assert_allclose(weights, [[1, 0.5, 1], [0, 0.5, 0]], atol=1e-6)
