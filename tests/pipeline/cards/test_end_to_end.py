"""A store of cards trains, evaluates, predicts, reports and exports; people are told apart."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import extract_folder
from facer.pipeline.runtime.progress import Progress
from facer.stages.features.config import ExtractConfig
from facer.stages.features.extractor import Extractor
from facer.storage import FEATURE_NAMES, FeatureStore
from facer.storage.errors import FacerError, OptionError
from tests import toys
from tests.support import exit_code


@pytest.fixture
def cards(tmp_path):
    """Two cards that overlap, and give columns that facer does not know."""
    first = toys.toy_card(tmp_path, "first", ["valence", "au12", "au14", "contempt"])
    return first, toys.toy_card(tmp_path, "second", ["au12", "au45_left"])


@pytest.fixture
def videos(make_video, face_frames, tmp_path):
    """Five short videos and their labels."""
    rows = ["clip_id,split,joy"]
    for name, split in (("a", "train"), ("b", "train"), ("c", "train"), ("d", "val"), ("e", "val")):
        make_video(f"videos/{name}.mp4", face_frames(4, scale=0.7 + len(rows) / 50))
        rows.append(f"{name},{split},0.{len(rows)}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "videos"


def test_a_store_of_cards_goes_all_the_way(videos, cards, tmp_path, capsys):
    store, labels, head = tmp_path / "s.zarr", tmp_path / "labels.csv", tmp_path / "run"
    recs = ["--rec", cards[0], "--rec", cards[1], "--prefer", "au12=second", "--device", "cpu"]
    assert exit_code("extract", videos, "-o", store, "--workers", 1, *recs) == 0
    made = FeatureStore.open(store)
    assert made.feature_names == ("valence", "au12", "au14", "contempt", "au45_left")
    assert made.provenance.rec == "first + second"
    settings = made.provenance.settings
    assert settings["prefer"] == "au12=second"
    assert {f"rec {name} {of}" for name in ("first", "second")
            for of in ("sha256", "card_sha256")} <= set(settings)  # fmt: skip
    assert np.isfinite(made.read("a").features[made.read("a").valid]).all()
    assert exit_code("status", store) == 0
    assert exit_code("verify", store) == 0

    train = ["train-head", store, "--labels", labels, "-o", head, "--epochs", 2, "--hidden-size", 8]
    assert exit_code(*train, "--dense", 6, "--loss", "mse", "--features", "va,au,contempt") == 0
    assert exit_code("evaluate", head, "--split", "val", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["n"] == 2
    assert exit_code("predict", head, videos / "d.mp4", "--workers", 1, *recs) == 0
    assert "d" in capsys.readouterr().out
    assert exit_code("predict", head, videos / "d.mp4", "--workers", 1, "--device", "cpu") == 1
    assert "rec" in capsys.readouterr().err  # other networks than the run's

    assert exit_code("report", store, "-o", tmp_path / "report", "--videos", videos) == 0
    drawn = (p.read_text() for p in (tmp_path / "report" / "clips").glob("*.js"))
    assert all('"au":["au12","au14","au45_left"]' in text for text in drawn)
    assert exit_code("picture", store, "a", "--videos", videos, "-o", tmp_path / "a.png") == 0
    assert exit_code("export", store, tmp_path / "f.csv") == 0
    header = next(csv.reader((tmp_path / "f.csv").read_text().splitlines()))
    assert {"valence", "au12", "au14", "contempt", "au45_left"} <= set(header)
    assert exit_code("export", store, tmp_path / "f.h5") == 0
    assert exit_code("import", "hdf5", tmp_path / "f.h5", "-o", tmp_path / "back.zarr") == 0
    again = FeatureStore.open(tmp_path / "back.zarr")
    assert again.feature_names == made.feature_names
    np.testing.assert_array_equal(again.read("a").features, made.read("a").features)
    assert exit_code("compare", store, tmp_path / "back.zarr") == 0
    assert exit_code("export-head", head, tmp_path / "head.onnx") == 0


def extract(videos, store, **options):
    config = ExtractConfig(device="cpu", **options)
    extract_folder(ExtractRunConfig(videos, str(store), config, workers=1))
    return FeatureStore.open(store)


def test_workers_and_batches_never_change_a_cards_features(videos, cards, tmp_path):
    recs = (str(cards[0]), "rec-small")
    one = extract(videos, tmp_path / "one.zarr", rec=recs, prefer=("rec-small",))
    config = ExtractConfig(device="cpu", rec=recs, prefer=("rec-small",), batch_size=3)
    extract_folder(ExtractRunConfig(videos, str(tmp_path / "two.zarr"), config, workers=2))
    two = FeatureStore.open(tmp_path / "two.zarr")
    assert one.feature_names == two.feature_names == (*FEATURE_NAMES, "au14", "contempt")
    own = extract(videos, tmp_path / "own.zarr")
    for clip in one.clip_ids:
        np.testing.assert_allclose(one.read(clip).features, two.read(clip).features, atol=1e-5)
        np.testing.assert_array_equal(one.read(clip).features[:, :26], own.read(clip).features)


def test_a_card_or_weights_changed_where_they_lie_are_another_store(videos, cards, tmp_path):
    first = Path(cards[0])
    extract(videos, tmp_path / "s.zarr", rec=(str(first),))
    text = first.read_text()
    first.write_text(text.replace("margin = 1.3", "margin = 1.2"))
    with pytest.raises(FacerError, match="rec first card_sha256"):
        extract(videos, tmp_path / "s.zarr", rec=(str(first),))
    first.write_text(text)
    extract(videos, tmp_path / "s.zarr", rec=(str(first),))
    toys.Toy(3, {"out": 4}, seed=9).save(tmp_path / "first.onnx", 64)
    with pytest.raises(FacerError, match="rec_sha256"):
        extract(videos, tmp_path / "s.zarr", rec=(str(first),))


class Notes(Progress):
    """What was said."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def test_provenance_says_what_each_network_was_computed_in(
    videos, cards, tmp_path, monkeypatch, capsys
):
    one = tmp_path / "one"
    one.mkdir()
    (videos / "a.mp4").rename(one / "a.mp4")

    def made(store, **options):
        config, notes = ExtractConfig(device="cpu", **options), Notes()
        extract_folder(ExtractRunConfig(one, str(tmp_path / store), config, workers=1), notes)
        settings = FeatureStore.open(tmp_path / store).provenance.settings
        return {k: v for k, v in settings.items() if "precision" in k}, notes.texts

    monkeypatch.setattr("facer.pipeline.features.kinds.native_bf16", lambda _: True)
    first, second = str(cards[0]), str(cards[1])
    assert made("cards.zarr", rec=(second,)) == ({}, [])  # auto: no card can
    settings, (note,) = made("bf16.zarr", rec=(second,), precision="bf16")
    assert settings == {"precision": "bf16", "rec second precision": "float32"}
    assert "second in float32, as an ONNX network always is" in note
    settings, (note,) = made("both.zarr", rec=("rec-small", first), prefer=("first",))
    assert settings == {"precision": "bf16", "rec first precision": "float32"}
    assert exit_code("status", tmp_path / "both.zarr") == 0
    assert "bf16 (first: float32)" in capsys.readouterr().out


@pytest.fixture
def identity(tmp_path):
    """A network that tells faces apart by their colours."""
    values = {
        "format": "facer-card-1", "name": "who",
        "file": {"name": "who.onnx", "licence": "none", "source": "a test", "training": "none"},
        "input": {"size_px": 64, "mean": [0.5], "std": [0.25]}, "crop": {"kind": "box"},
        "output": [{"embedding": True, "same_person": 0.5}],
    }  # fmt: skip
    toys.Toy(3, {"out": 24}).save(tmp_path / "who.onnx", 64)
    return toys.write_card(tmp_path / "who.toml", values)


def test_the_clips_face_is_one_person_after_a_cut(
    make_video, face_frames, identity, tmp_path
):  # fmt: skip
    """Cuts: a person, somebody in other colours of the same size, the person again."""
    person = face_frames(6)
    other = [np.ascontiguousarray(f[..., ::-1] // 2) for f in face_frames(6)]
    make_video("videos/cut.mp4", [*person, *other, *person])
    recs = ("rec-small", str(identity))
    plain = extract(tmp_path / "videos", tmp_path / "plain.zarr", rec=recs)
    known = extract(tmp_path / "videos", tmp_path / "known.zarr", rec=recs, identify=True)
    assert plain.read("cut").valid.all()
    np.testing.assert_array_equal(known.read("cut").valid, [True] * 6 + [False] * 6 + [True] * 6)
    assert known.read("cut").embedding.shape == (18, 24)
    assert known.provenance.settings["identify"] == 0.5
    everyone = extract(
        tmp_path / "videos", tmp_path / "all.zarr", rec=recs, identify=True, face="all"
    )
    shown = [everyone.read(clip).valid for clip in everyone.clip_ids]
    assert [int(valid.sum()) for valid in shown] == [12, 6]


def test_identify_needs_an_identity():
    config = ExtractConfig(device="cpu", identify=True)
    with pytest.raises(OptionError, match="gives an identity embedding"):
        Extractor(config)
    with pytest.raises(OptionError, match="expected track or all"):
        ExtractConfig(identify=True, face="largest")
