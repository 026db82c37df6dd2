"""Two stores of the same clips in one head: joined by id and time, in every command."""

import json
import tempfile
from typing import Any

import numpy as np
import onnx
import pytest

import facer
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.labelled import read_sequences
from facer.pipeline.intensity.sources.joined import choose_columns, open_source
from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from facer.storage import ClipFeatures, FacerError, FeatureStore, Provenance, Record
from facer.storage.errors import OptionError
from tests.support import exit_code

SOUND = Provenance("none", "0" * 64, "logmel", "s" * 64, settings={"rate_hz": 50})
FAST: dict[str, Any] = {"hidden_size": 8, "dense": 8, "epochs": 3, "learning_rate": 3e-3, "t": 40}


def write_sound(path, clips, provenance=SOUND, columns=("low", "high")):
    """A store of clips with (T, 2) values at 50 Hz; None is a clip that failed."""
    store = FeatureStore.create(path, provenance, feature_names=columns)
    entries: list[tuple[Record, ClipFeatures | None]] = []
    for clip_id, values in clips.items():
        if values is None:
            entries.append((Record(clip_id, "failed", 0, reason="no sound"), None))
            continue
        n, nan = len(values), np.nan
        arrays = ClipFeatures(
            np.asarray(values, np.float32), np.arange(n) / 50, np.ones(n, bool),
            np.full(n, nan, np.float32), np.full((n, 4), nan, np.float32),
            np.full((n, 5, 2), nan, np.float32), np.ones(n, np.int16),
        )  # fmt: skip
        entries.append((Record(clip_id, "ok", n, fps=50, n_valid=n), arrays))
    store.write_part(entries)
    return store


@pytest.fixture
def pair(planted, tmp_path):
    """Paths of the planted store, its labels, and a store of sound that shows ``awe``."""
    face, labels = planted(24)
    random, clips = np.random.default_rng(1), {}
    for line in (tmp_path / "labels.csv").read_text().split()[1:]:
        clip, _, _, awe = line.split(",")
        n = 2 * FeatureStore.open(face).record(clip).n_frames
        clips[clip] = random.normal([float(awe), 0], 0.05, (n, 2))
    write_sound(tmp_path / "sound.zarr", clips)
    return face, labels, str(tmp_path / "sound.zarr"), clips


def test_a_run_reads_both_and_says_of_what_it_was_made(pair, tmp_path, capsys):
    face, labels, sound, _ = pair
    run = facer.train_head(face, labels, tmp_path / "run", with_={"sound": sound}, **FAST)
    record = read_run(run.path)
    assert record.columns[-2:] == ("sound.low", "sound.high")
    assert record.streams.places == {"sound": sound}
    assert record.stream_provenance["sound"]["rec_sha256"] == "s" * 64
    assert record.own_columns == record.columns[:-2]
    found = run.evaluate("val")
    assert found.warnings == ()
    assert exit_code("evaluate", run.path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["mean"]["pearson"] == found.mean("pearson")
    assert exit_code("report", run.path, "-o", tmp_path / "page") == 0
    again = ["train-head", "--from", str(run.path), "-o", str(tmp_path / "again")]
    assert exit_code(*again) == 0
    assert facer.open_run(tmp_path / "again").evaluate("val").mean("pearson") == found.mean(
        "pearson"
    )


def test_moved_stores_are_named_and_others_refused(pair, tmp_path, capsys):
    face, labels, sound, clips = pair
    run = facer.train_head(face, labels, tmp_path / "run", with_={"sound": sound}, **FAST)
    before = run.evaluate("val").mean("pearson")
    (tmp_path / "sound.zarr").rename(tmp_path / "moved.zarr")
    with pytest.raises(FacerError, match=r"sound.zarr: found nothing there"):
        run.evaluate("val")
    moved = f"sound={tmp_path / 'moved.zarr'}"
    assert run.evaluate("val", with_=[moved]).mean("pearson") == before
    page = ["report", str(run.path), "-o", str(tmp_path / "page"), "--with", moved]
    assert exit_code(*page) == 0
    other = Provenance("none", "0" * 64, "logmel", "t" * 64, settings={"rate_hz": 50})
    write_sound(tmp_path / "other.zarr", clips, other)
    with pytest.raises(FacerError, match=r"rec_sha256 is tttt.* give a store made alike as with_ "):
        run.evaluate("val", with_={"sound": tmp_path / "other.zarr"})
    with pytest.raises(FacerError, match=r"with_ voice=...: the run reads sound"):
        run.evaluate("val", with_={"voice": sound})
    capsys.readouterr()
    resumed = ["train-head", face, "--labels", labels, "-o", str(run.path), "--resume"]
    settings = [f"--{k.replace('_', '-')}={v}" for k, v in FAST.items()]
    assert exit_code(*resumed, *settings) == 1
    assert "was made with other" in capsys.readouterr().err


@pytest.mark.parametrize("cache", ["half", "disk"])
def test_a_cache_of_float16_predicts_alike(pair, tmp_path, cache):
    face, labels, sound, _ = pair
    runs = {
        kind: facer.train_head(
            face, labels, tmp_path / kind, with_={"sound": sound}, cache=kind, standardise=True,
            **FAST,
        )
        for kind in ("memory", cache)
    }  # fmt: skip
    values = [run.evaluate("val").predictions for run in runs.values()]
    np.testing.assert_allclose(values[0], values[1], atol=2e-2)
    assert runs[cache].evaluate("val").warnings == ()


def test_half_and_disk_are_the_same_numbers(pair):
    face, _, sound, clips = pair
    for streams in (StreamsConfig(), StreamsConfig((f"sound={sound}",))):
        source, config = open_source(face, streams), SequenceConfig()
        choice = choose_columns(source, config)
        half, disk = (read_sequences(source, [*clips], config, choice, c) for c in ("half", "disk"))
        rows = half.features[:]
        assert rows.dtype == np.float16
        assert np.array_equal(rows, disk.features[: len(rows)])
        assert np.array_equal(half.offsets, disk.offsets)
        whole = read_sequences(source, [*clips], config, choice)
        np.testing.assert_allclose(whole.features[:], rows, atol=1e-3)


def test_what_float16_does_not_have_is_refused(pair, tmp_path):
    face, labels, _, clips = pair
    write_sound(tmp_path / "loud.zarr", {k: 1e6 * v for k, v in clips.items()})
    with pytest.raises(FacerError, match="cache half: found values of more than 65,504"):
        facer.train_head(
            face,
            labels,
            tmp_path / "run",
            with_={"s": tmp_path / "loud.zarr"},
            cache="half",
            **FAST,
        )


def test_a_full_disk_is_a_message(pair, tmp_path, monkeypatch):
    face, labels, sound, _ = pair

    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(FacerError, match=r"No space left on device.*TMPDIR"):
        facer.train_head(face, labels, tmp_path / "r", with_={"s": sound}, cache="disk", **FAST)


def test_clips_that_lack_a_stream(pair, tmp_path):
    face, labels, _, clips = pair
    clips = dict(clips)
    del clips["clip-02"]  # of val
    clips["clip-06"] = None  # of val too
    write_sound(tmp_path / "some.zarr", clips)
    some: dict[str, Any] = {"with_": {"sound": tmp_path / "some.zarr"}}
    run = facer.train_head(face, labels, tmp_path / "drop", **some, **FAST)
    found = run.evaluate("val")
    status = dict(zip(found.label_ids, found.status, strict=True))
    assert (status["clip-02"], status["clip-06"], status["clip-10"]) == ("no_stream",) * 2 + ("ok",)
    assert found.n_filled == 2
    assert read_run(run.path).counts["no_stream"] == 2
    filled = facer.train_head(face, labels, tmp_path / "fill", lacking="fill", **some, **FAST)
    assert set(filled.evaluate("val").status) == {"ok"}
    data = facer.ClipDataset(face, labels, "val", **some, lacking="fill", t=40)
    item = data[data.clip_ids.index("clip-02")]
    assert (item.features[:, -2:] == 0).all()
    assert (item.features[:, :-2] != 0).any()


def test_columns_are_chosen_by_stream(pair):
    face, labels, sound, _ = pair

    def columns(*features):
        names = {"with_": {"sound": sound}, "features": features}
        return facer.ClipDataset(face, labels, "val", **names).columns

    assert columns("sound") == ("sound.low", "sound.high")
    assert columns("sound.high", "va") == ("valence", "arousal", "sound.high")
    with pytest.raises(FacerError, match=r"features voice: the store has no such column"):
        columns("voice")


def test_a_stream_that_no_clip_has_is_named(pair, tmp_path):
    """Seen: the first store alone was named, which has them all."""
    face, labels, _, clips = pair
    write_sound(tmp_path / "none.zarr", dict.fromkeys(clips))
    for lacking in ("drop", "fill"):
        with pytest.raises(FacerError, match=r"and every stream \(there are 0 of s\); facer stat"):
            facer.train_head(
                face, labels, tmp_path / "r", with_={"s": tmp_path / "none.zarr"},
                lacking=lacking, **FAST,
            )  # fmt: skip


def test_stores_that_share_no_clip_are_refused(pair, tmp_path):
    face, labels, _, clips = pair
    write_sound(tmp_path / "far.zarr", {f"x/{k}": v for k, v in clips.items()})
    with pytest.raises(FacerError, match=r"found no clip of .* such as 'x/clip-00', not 'clip-00'"):
        facer.ClipDataset(face, labels, with_={"s": tmp_path / "far.zarr"})
    with pytest.raises(OptionError, match="align: expected with_ beside it"):
        facer.ClipDataset(face, labels, align="linear")


def test_folds_and_processes(pair, tmp_path):
    face, labels, sound, _ = pair
    run = facer.train_head(
        face, labels, tmp_path / "run", with_={"sound": sound}, folds=2, seeds=2, jobs=2,
        cache="disk", head="two-branch", **FAST,
    )  # fmt: skip
    assert run.evaluate().n_seeds == 2


def test_the_exported_head_names_its_streams(pair, tmp_path):
    face, labels, sound, _ = pair
    for head in ("two-branch", "cross-attention"):
        run = facer.train_head(
            face, labels, tmp_path / head, with_={"sound": sound}, head=head, standardise=True,
            modality_dropout=0.3, **{k: v for k, v in FAST.items() if k != "dense"},
        )  # fmt: skip
        facer.export_head(run, tmp_path / "head.onnx")
        properties = {p.key: p.value for p in onnx.load(tmp_path / "head.onnx").metadata_props}
        assert json.loads(properties["columns"])[-2:] == ["sound.low", "sound.high"]
        with pytest.raises(FacerError, match="reads sound too, which no REC gives"):
            facer.export_head(run, tmp_path / "whole.onnx", rec="rec-small")


def test_an_ablation_of_joined_stores(pair, tmp_path):
    face, labels, sound, _ = pair
    table = facer.ablate(
        face, labels, tmp_path / "rows", with_={"sound": sound}, rows="heads", seeds=1, epochs=1,
        t=40,
    )  # fmt: skip
    assert table.failed == ()
    assert read_run(tmp_path / "rows" / "rows" / "stats-mlp").columns[-1] == "sound.high"


def test_modality_dropout_needs_two_streams(pair, tmp_path):
    face, labels, _, _ = pair
    with pytest.raises(OptionError, match="modality_dropout: found one stream"):
        facer.train_head(face, labels, tmp_path / "run", modality_dropout=0.5, **FAST)
