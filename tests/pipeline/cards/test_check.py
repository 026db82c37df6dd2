"""What is implausible shows without a golden example."""

import json
import tomllib

import numpy as np
import onnx
import pytest

from facer.pipeline.cards.check import check_card
from facer.stages.features.rec.cards.card import read_golden
from facer.storage.errors import FacerError
from tests import toys
from tests.support import exit_code


def test_the_starter_is_plausible_on_the_packages_pictures():
    found = check_card("rec-small")
    assert found.problems == ()
    assert found.columns["au12"].smile > found.columns["au12"].neutral + 0.3


@pytest.fixture
def card(tmp_path):
    """``card(columns, **output)``: a toy's card with another output."""

    def make(columns, **output):
        path = toys.toy_card(tmp_path, "toy", columns)
        values = tomllib.loads(path.read_text())
        values["output"][0] |= output
        return str(toys.write_card(path, values))

    return make


def test_a_missing_activation_or_clip_is_out_of_range(card):
    for columns in (["au12", "au14"], ["happiness", "contempt"], ["valence", "arousal"]):
        problems = check_card(card(columns, activation="none", scale=10.0)).problems
        assert any("an activation, scale or clip is missing" in p for p in problems)


def test_classes_that_are_no_probabilities_together_are_found(card):
    columns = ["neutral", "happiness", "sadness", "contempt"]
    problems = check_card(card(columns, activation="sigmoid")).problems
    assert any("no softmax" in p for p in problems)


def test_a_smile_that_raises_nothing_is_found(card):
    found = check_card(card(["happiness", "au12"], activation="sigmoid"))
    signs = [found.columns[c].smile > found.columns[c].neutral for c in ("happiness", "au12")]
    other = check_card(card(["happiness", "au12"], activation="sigmoid", scale=-1.0))
    fell = [p for f in (found, other) for p in f.problems if p.startswith("a smile does not")]
    assert len(fell) == (not any(signs)) + all(signs)  # the second is the first upside down


def test_a_network_that_says_the_same_of_everything_is_found(tmp_path, card):
    path = card(["au12"])
    model = onnx.load(str(tmp_path / "toy.onnx"))
    for weights in model.graph.initializer:
        zeros = np.zeros(tuple(weights.dims), np.float32)
        weights.CopyFrom(onnx.numpy_helper.from_array(zeros, weights.name))
    onnx.save(model, str(tmp_path / "toy.onnx"))
    assert any("the same on every picture" in p for p in check_card(path).problems)


def test_an_identity_network_must_tell_people_apart(tmp_path, card):
    path = card(["au12"])
    values = tomllib.loads((tmp_path / "toy.toml").read_text())
    values["output"] = [{"embedding": True, "same_person": 0.999999}]
    toys.write_card(tmp_path / "toy.toml", values)
    toys.Toy(3, {"out": 16}).save(tmp_path / "toy.onnx", 64)
    (problem,) = check_card(path).problems
    assert problem.startswith("embedding: pictures of one person")


def test_the_command_prints_what_each_column_did(card, capsys):
    path = card(["au45", "au28"])
    assert exit_code("models", "check", path) == 0
    out = capsys.readouterr().out
    assert "no golden example" in out
    assert "au45" in out
    assert exit_code("models", "check", path, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["columns"]) == {"au45", "au28"}
    assert exit_code("models", "check") == 2


def test_what_facer_recorded_itself_tells_what_has_changed(card, tmp_path, capsys):
    path = card(["au45", "au28"])
    assert exit_code("models", "check", path, "--write-golden") == 0
    recorded = tmp_path / "toy.onnx.golden.toml"
    golden = read_golden(recorded)
    assert golden.image == "facer:astronaut"
    assert set(golden.values) == {"au45", "au28"}
    out = capsys.readouterr().out
    assert f"what has changed since {recorded}" in out
    assert "no golden example in the card" in out
    found = check_card(path)
    assert (found.has_golden, found.recorded, found.problems) == (False, str(recorded), ())
    assert found.columns["au45"].golden == pytest.approx(found.columns["au45"].expected, abs=1e-4)

    values = tomllib.loads((tmp_path / "toy.toml").read_text())
    values["input"]["mean"] = [0.2]
    toys.write_card(tmp_path / "toy.toml", values)
    (problem,) = check_card(path).problems
    assert problem.startswith("recorded example: au")
    assert exit_code("models", "check", path) == 1
    assert check_card(path, write_golden=True).problems == ()
    values["output"][0]["columns"] = ["au45", "au43"]
    toys.write_card(tmp_path / "toy.toml", values)
    (problem,) = check_card(path).problems
    assert "found 'au28', expected columns: the card has changed since" in problem


def test_an_identity_is_recorded_by_its_first_numbers(card, tmp_path):
    path = card(["au12"])
    values = tomllib.loads((tmp_path / "toy.toml").read_text())
    values["output"] = [{"embedding": True, "same_person": 0.5}]
    toys.write_card(tmp_path / "toy.toml", values)
    toys.Toy(3, {"out": 16}).save(tmp_path / "toy.onnx", 64)
    check_card(path, write_golden=True)
    golden = read_golden(tmp_path / "toy.onnx.golden.toml")
    assert list(golden.values) == [f"embedding_{i}" for i in range(8)]
    assert not any(p.startswith("recorded") for p in check_card(path).problems)


def test_the_packages_picture_can_be_a_cards_golden_example_and_must_be_that_picture(
    card, tmp_path
):
    path = card(["au45"])
    check_card(path, write_golden=True)
    recorded = tmp_path / "toy.onnx.golden.toml"
    text = recorded.read_text()
    recorded.unlink()
    own = tomllib.loads((tmp_path / "toy.toml").read_text()) | {
        "golden": tomllib.loads(text)["golden"]
    }
    toys.write_card(tmp_path / "toy.toml", own)
    found = check_card(path)
    assert (found.has_golden, found.recorded, found.problems) == (True, "", ())
    for change, message in (
        ({"image_sha256": "0" * 64}, "another picture than its image_sha256"),
        ({"image": "facer:nobody"}, "found face 'nobody'"),
        ({"image": "../face.png"}, "found '../face.png'"),
        ({"image": "absent.png"}, "no such file"),
    ):
        own["golden"] |= tomllib.loads(text)["golden"] | change
        toys.write_card(tmp_path / "toy.toml", own)
        with pytest.raises(FacerError, match=message):
            check_card(path)


def test_weights_without_a_card_have_no_example(capsys):
    assert exit_code("models", "check", "rec-small", "--write-golden") == 2
    assert "--write-golden: rec-small has no card" in capsys.readouterr().err
