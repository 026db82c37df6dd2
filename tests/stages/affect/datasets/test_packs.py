"""Crop packs: columns by name, votes, trust, and files that are something else."""

import json

import cv2
import h5py
import numpy as np
import pytest

from facer.stages.affect.datasets.packs import JpegPack, read_pack
from facer.stages.affect.datasets.samples import CIRCUMPLEX
from facer.storage.errors import FacerError
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS

VOTES = np.eye(7, dtype=np.uint8) * 8
VOTES[0, 4] = 2  # the first crop: 8 neutral, 2 happiness


@pytest.fixture
def make_pack(tmp_path):
    def make(name="own.h5", *, votes=VOTES, labels=None, columns=EXPRESSIONS, au=None,
             au_columns=ACTION_UNITS, trust=None, source=None, side=112, drop=()):  # fmt: skip
        n = len(votes)
        path = tmp_path / name
        image = np.full((side, side, 3), (10, 20, 200), np.uint8)  # BGR: red
        jpeg = np.frombuffer(cv2.imencode(".jpg", image)[1].tobytes(), np.uint8)
        au = np.full((n, len(au_columns)), np.nan, np.float16) if au is None else au
        with h5py.File(path, "w") as file:
            data = file.create_dataset("jpeg", (n,), h5py.vlen_dtype(np.uint8))
            for row in range(n):
                data[row] = jpeg
            file["split"] = ["val" if row % 3 == 2 else "train" for row in range(n)]
            file["expression_votes"] = votes
            file["expression_label"] = votes.argmax(1).astype(np.int8) if labels is None else labels
            file["au"] = au
            file.attrs["expression_columns"] = json.dumps(list(columns))
            file.attrs["au_columns"] = json.dumps([str(name) for name in au_columns])
            if trust is not None:
                file.attrs["au_trust"] = np.array(trust, np.float32)
            if source is not None:
                file["source"] = source
            for key in drop:
                del file[key]
        return path

    return make


def test_votes_become_shares_and_splits_are_kept(make_pack):
    train, val = read_pack(make_pack(), "train"), read_pack(make_pack(), "val")
    assert (len(train), len(val)) == (5, 2)
    np.testing.assert_allclose(train.expression[0], [0.8, 0, 0, 0, 0.2, 0, 0], atol=1e-6)
    assert val.expression_class.tolist() == [2, 5]
    np.testing.assert_allclose(train.crop(0)[50, 50], [200, 20, 10], atol=3)  # RGB


def test_shares_of_votes_that_sum_to_less_than_one_are_shares(make_pack):
    data = read_pack(make_pack(votes=VOTES / 20), "train")
    np.testing.assert_allclose(data.expression[0], [0.8, 0, 0, 0, 0.2, 0, 0], atol=1e-6)


def test_columns_of_another_form_are_refused(make_pack):
    for name, values, message in (
        ("frame", np.zeros((7, 3)), r"found shape \(7, 3\), expected \(rows, 4, 2\)"),
        ("split", np.zeros(7), "'/split': found values of type float64, expected texts"),
        ("split", np.array([b"tr\xe4in"] * 7), "found texts that are not UTF-8"),
        ("jpeg", np.zeros(7), "found values of type float64, expected encoded images"),
    ):
        path = make_pack(drop=[name] if name != "frame" else [])
        with h5py.File(path, "r+") as file:
            file[name] = values
        with pytest.raises(FacerError, match=message):
            read_pack(path, "train")
    path = make_pack()
    with h5py.File(path, "r+") as file:
        file.attrs["au_columns"] = "[1, 2"
    with pytest.raises(FacerError, match=r"attribute au_columns: found '\[1, 2', expected a list"):
        read_pack(path, "train")


def test_only_the_crops_of_the_split_stay_in_memory(make_pack, monkeypatch):
    monkeypatch.setattr("facer.stages.affect.datasets.packs._BLOCK_ROWS", 2)
    path = make_pack()
    with h5py.File(path, "r+") as file:
        for row in range(7):
            crop = np.full((112, 112, 3), 30 * row, np.uint8)
            file["jpeg"][row] = np.frombuffer(cv2.imencode(".jpg", crop)[1].tobytes(), np.uint8)
    data = read_pack(path, "val")
    assert isinstance(data.images, JpegPack)
    assert list(data.images.jpegs) == data.indices.tolist() == [2, 5]
    assert [round(data.crop(row).mean()) for row in range(2)] == [60, 150]


def test_a_pack_that_leads_out_of_itself_is_refused(make_pack):
    path, other = make_pack(drop=["au"]), make_pack("other.h5")
    with h5py.File(path, "r+") as file:
        file["au"] = h5py.ExternalLink(other.name, "/au")
    with pytest.raises(FacerError, match="'au', a link to another file"):
        read_pack(path, "train")
    for name in ("au", "jpeg"):
        path = make_pack(drop=[name])
        with h5py.File(other) as file:
            source = file[name]
            layout = h5py.VirtualLayout(source.shape, source.dtype)
            layout[:] = h5py.VirtualSource(source)
        with h5py.File(path, "r+") as file:
            file.create_virtual_dataset(name, layout)
        with pytest.raises(FacerError, match=f"'/{name}': found a dataset whose values are in"):
            read_pack(path, "train")


def test_valence_arousal_is_derived_and_marked_weak(make_pack):
    data = read_pack(make_pack(), "train")
    happy = np.array(CIRCUMPLEX["happiness"])
    np.testing.assert_allclose(data.va[0], 0.2 * happy, atol=1e-6)
    assert data.va_is_weak


def test_rows_without_a_majority_and_film_frames_are_unlabelled(make_pack):
    labels = np.array([0, -1, 2, 3, 4, 5, 6], np.int8)
    source = ["muxspace-lfw"] * 3 + ["muxspace-film"] + ["muxspace-lfw"] * 3
    data = read_pack(make_pack(labels=labels, source=source), "train")
    assert np.isnan(data.expression).all(1).tolist() == [False, True, True, False, False]
    assert np.isnan(data.va).any(1).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize("names", [["12", "1"], ["AU12", "AU01"], ["au12", "au 1"]])
def test_units_trust_and_classes_are_found_by_name(make_pack, names):
    order = EXPRESSIONS[::-1]
    au = np.stack([np.full(7, 0.25), np.full(7, 0.75)], axis=1).astype(np.float16)
    path = make_pack(
        votes=VOTES[:, ::-1].copy(), columns=order, au=au, au_columns=names, trust=[0.5, np.nan]
    )
    data = read_pack(path, "train")
    assert data.expression_class.tolist() == [0, 1, 3, 4, 6]
    twelve, one = ACTION_UNITS.index(12), ACTION_UNITS.index(1)
    assert (data.au[0, twelve], data.au[0, one]) == (0.25, 0.75)
    assert (data.au_trust[twelve], data.au_trust[one]) == (0.5, 0)
    others = [i for i in range(17) if i not in (twelve, one)]
    assert np.isnan(data.au[:, others]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": ["au"]}, "found no array 'au', expected a crop pack"),
        ({"columns": ["neutral", "joy"]}, "expression_votes has 7 columns, named neutral, joy"),
        ({"au_columns": ["smile"]}, "found 'smile' in au_columns"),
        ({"au": np.zeros((7, 3)), "au_columns": [1, 2]}, "au has 3 columns"),
        ({"trust": [1, 1]}, "attribute au_trust: found .* for each of the 17 units"),
        ({"trust": [-1.0] * 17}, "attribute au_trust: found .* a weight from 0 to 1"),
        ({"au": np.zeros((7, 2)), "au_columns": [1, "AU01"]}, "names 1, 1; expected as many"),
        ({"au": np.full((7, 17), 3.0)}, "'au', row 0: found 3, expected 0 to 1, NaN for unknown"),
        ({"votes": VOTES - 1.0}, "'expression_votes', row 0: found -1, expected 0 or more"),
        ({"labels": np.full(7, 6)}, "'expression_label', row 0: found 6, expected a class with"),
        ({"votes": VOTES * 0}, "'expression_label', row 0: found 0, expected a class with"),
        ({"labels": np.full(7, 9)}, "'expression_label', row 0: found 9, expected -1 to 6"),
        ({"labels": np.zeros(3)}, "found 3 rows of 'expression_label' and 7 of|found 7 rows of"),
        ({"au": np.zeros(7)}, r"'/au': found shape \(7,\), expected \(rows, columns\)"),
        ({"source": np.zeros(7)}, "'/source': found values of type float64, expected texts"),
    ],
)
def test_packs_that_do_not_fit_their_own_names(make_pack, options, message):
    with pytest.raises(FacerError, match=message):
        read_pack(make_pack(**options), "train")


def test_other_files_are_refused(tmp_path, make_pack):
    with pytest.raises(FacerError, match="no such file, expected a crop pack"):
        read_pack(tmp_path / "none.h5", "train")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(FacerError, match="not an HDF5 file"):
        read_pack(tmp_path / "text.h5", "train")
    with pytest.raises(FacerError, match="no row has split 'test', found train, val"):
        read_pack(make_pack(), "test")
    with pytest.raises(FacerError, match="image 0: found an image of 64x64 px"):
        read_pack(make_pack(side=64), "train").crop(0)
