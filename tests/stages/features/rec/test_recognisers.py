"""Several networks as one: columns by name, choices where two give the same."""

import numpy as np
import pytest

from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.crops import ARCFACE, CropSpec
from facer.stages.features.rec.recognisers import Recognisers
from facer.stages.features.rec.weights import takes_bf16
from facer.storage.errors import FacerError, OptionError
from facer.storage.schema import FEATURE_NAMES
from tests import toys


class Fixed:
    """A network whose columns are always the same numbers."""

    card_sha256 = ""
    precision = "float32"

    def __init__(self, name, columns, crop=ARCFACE, embedding_width=0, weak=()):
        self.name, self.columns, self.crop = name, tuple(columns), crop
        self.sha256, self.weak_features = f"sha of {name}", tuple(weak)
        self.embedding_width = embedding_width
        self.same_person = 0.4 if embedding_width else None
        self.base = 100.0 * len(name)

    def predict(self, crops):
        assert crops.shape[1] == self.crop.size_px
        row = self.base + np.arange(len(self.columns) + self.embedding_width)
        return np.tile(row.astype(np.float32), (len(crops), 1))


A = Fixed("a", ["au45", "au12", "valence"], weak=["au12", "valence"])
BB = Fixed("bb", ["happiness", "au12", "contempt"], CropSpec(64, "box"), weak=["contempt"])
CROPS = [np.zeros((3, 112, 112, 3), np.uint8), np.zeros((3, 64, 64, 3), np.uint8)]


def test_columns_are_in_facers_order_and_unknown_ones_after_them():
    both = Recognisers([A, BB], ["a"])
    assert both.columns == ("valence", "happiness", "au12", "au45", "contempt")
    assert both.crops == (A.crop, BB.crop)
    np.testing.assert_array_equal(both.predict(CROPS), [[102, 200, 101, 100, 202]] * 3)
    assert both.weak_features == ("valence", "au12", "contempt")
    assert both.name == "a + bb"


@pytest.mark.parametrize(
    ("prefer", "au12"),
    [(["a"], 101), (["bb"], 201), (["bb", "a"], 201), (["au12=bb"], 201), (["au=a"], 101),
     (["a", "au12=bb"], 201), (["au=bb", "a"], 201)],
)  # fmt: skip
def test_the_preferred_network_gives_a_column_that_several_give(prefer, au12):
    assert Recognisers([A, BB], prefer).predict(CROPS)[0, 2] == au12


def test_a_column_of_several_networks_needs_a_choice():
    with pytest.raises(OptionError, match=r"a and bb both give au12; say which with prefer a"):
        Recognisers([A, BB])
    for prefer, message in (("c", "one of a, bb"), ("au45=bb", "bb has no such column"),
                            ("nothing=a", "a has no such column")):  # fmt: skip
        with pytest.raises(OptionError, match=message):
            Recognisers([A, BB], [prefer])
    with pytest.raises(OptionError, match="expected different ones"):
        Recognisers([A, A])


def test_a_group_is_preferred_with_all_its_columns():
    wide = [Fixed(n, ["au12", "au45", "contempt", "fear"]) for n in ("x", "yyy")]
    both = Recognisers(wide, ["au=x", "expr=yyy"])
    assert both.columns == ("fear", "au12", "au45", "contempt")
    np.testing.assert_array_equal(both.predict([CROPS[0][:1]])[0], [303, 100, 101, 302])


def test_the_embedding_follows_the_columns_and_there_is_one_at_most():
    who = Fixed("who", [], embedding_width=3)
    both = Recognisers([who, A])
    assert (both.embedding_width, both.same_person) == (3, 0.4)
    np.testing.assert_array_equal(both.predict(CROPS[:1])[0], [102, 101, 100, 300, 301, 302])
    with pytest.raises(OptionError, match="both give an embedding"):
        Recognisers([who, Fixed("also", [], embedding_width=2)])
    with pytest.raises(OptionError, match="gives an identity embedding"):
        _ = Recognisers([A]).same_person


def test_networks_with_the_same_crop_share_it():
    assert Recognisers([A, Fixed("c", ["fear"])]).crops == (ARCFACE,)


def test_facers_own_network_alone_is_as_it_was():
    alone = rec.load_all(["rec-small"], "cpu")
    crops = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), np.uint8)
    own = rec.load("rec-small", "cpu")
    assert (alone.columns, alone.sha256, alone.name) == (FEATURE_NAMES, own.sha256, own.name)
    assert alone.weak_features == own.weak_features
    assert alone.provenance == {}
    np.testing.assert_array_equal(alone.predict([crops]), own.predict(crops))


def test_cards_and_facers_own_are_merged(tmp_path):
    card = toys.toy_card(tmp_path, "toy", ["au12", "au45"])
    both = rec.load_all([str(card), "rec-small"], "cpu", prefer=["toy"])
    assert both.columns == (*FEATURE_NAMES, "au45")
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (2, s, s, 3), np.uint8) for s in (64, 112)]
    found = both.predict(crops)
    toy, own = rec.load(card, "cpu"), rec.load("rec-small", "cpu")
    np.testing.assert_array_equal(found[:, [both.columns.index("au12"), -1]], toy.predict(crops[0]))
    np.testing.assert_array_equal(found[:, :2], own.predict(crops[1])[:, :2])
    assert set(both.provenance) == {
        "rec toy sha256", "rec toy card_sha256", "rec rec-small sha256", "prefer"
    }  # fmt: skip


def test_a_card_stays_in_float32_beside_facers_own_in_bfloat16(tmp_path):
    card = str(toys.toy_card(tmp_path, "toy", ["au45"]))
    names = [card, "rec-small"]
    low, full = (rec.load_all(names, "cpu", bf16=bf16) for bf16 in (True, False))
    assert [m.precision for m in low.members] == ["float32", "bf16"]
    assert (low.apart_from("bf16"), full.apart_from("float32")) == ({"toy": "float32"}, {})
    assert [takes_bf16(name) for name in names] == [False, True]
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (3, s, s, 3), np.uint8) for s in (64, 112)]
    ours, theirs = low.predict(crops), full.predict(crops)
    np.testing.assert_array_equal(ours[:, -1], theirs[:, -1])
    assert (ours[:, :26] != theirs[:, :26]).any()


def test_numbers_of_a_face_that_are_not_finite_are_an_error(monkeypatch):
    model = rec.load_all(["rec-small"], "cpu")
    (own,) = model.members
    rows = np.full((1, 26), np.nan, np.float32)
    monkeypatch.setattr(own, "predict", lambda crops: rows)
    with pytest.raises(FacerError, match="rec-small: gives numbers of a face that are not finite"):
        model.predict([np.zeros((1, 112, 112, 3), np.uint8)])
