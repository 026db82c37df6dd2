"""EmotioNet: the tab-separated form, the csv form, and its many missing images."""

import numpy as np
import pytest

from facer.stages.affect.datasets.emotionet import read_emotionet
from facer.storage.errors import FacerError
from facer.storage.schema import ACTION_UNITS

URL = "http://host/EmotioNet/N_1"


def tabbed(name, **units):
    values = [str(units.get(f"au{number}", 999)) for number in range(1, 61)]
    return "\t".join([f"{URL}/{name}", "http://elsewhere/x.png", *values])


def unit(data, number):
    return data.au[:, ACTION_UNITS.index(number)]


HEADER = "\t".join(["URL", "URL orig", *(f"AU {number}" for number in range(1, 61))])


@pytest.mark.parametrize("header", [[], [HEADER]])
def test_tab_separated(tmp_path, put_text, put_image, aligner, header):
    put_image(tmp_path / "N_1" / "a.jpg", (150, 150))
    put_image(tmp_path / "b.jpg", (150, 150))
    lines = [*header, tabbed("a.jpg", au1=1, au12=0), tabbed("b.jpg", au26=1), tabbed("c.jpg")]
    put_text(tmp_path / "emotionet_train.txt", "\n".join(lines))
    data = read_emotionet(tmp_path, "train", aligner)
    assert len(data) == 2  # c.jpg has no known unit
    assert unit(data, 1).tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert unit(data, 12).tolist() == pytest.approx([0, np.nan], nan_ok=True)
    assert unit(data, 26).tolist() == pytest.approx([np.nan, 1], nan_ok=True)
    assert not np.isfinite(data.expression).any()
    assert data.notes == ()


def test_csv_by_name(tmp_path, put_text, put_image, aligner):
    for name in ("a", "b"):
        put_image(tmp_path / "images" / f"{name}.jpg", (150, 150))
    put_text(tmp_path / "val.csv", "AU60,name,AU12,AU1\n1,a.jpg,1,-1\n0,images/b.jpg,0,1\n")
    data = read_emotionet(tmp_path, "val", aligner)
    assert unit(data, 12).tolist() == [1, 0]
    assert unit(data, 1).tolist() == pytest.approx([np.nan, 1], nan_ok=True)
    with pytest.raises(FacerError, match="no labelled row of the train split in 1 annotation"):
        read_emotionet(tmp_path, "train", aligner)


def test_missing_images_and_doubtful_names_are_counted(tmp_path, put_text, put_image, aligner):
    put_image(tmp_path / "a.jpg", (150, 150))
    put_image(tmp_path / "x" / "b.jpg", (150, 150))
    put_image(tmp_path / "y" / "b.jpg", (150, 150))
    rows = [f"{name}.jpg,1" for name in ("a", "b", *(f"gone{i}" for i in range(7)))]
    put_text(tmp_path / "train.csv", "\n".join(["name,AU2", *rows]))
    data = read_emotionet(tmp_path, "train", aligner)
    assert len(data) == 1
    assert data.notes == (
        "emotionet: 7 of 9 labelled images are missing: gone0.jpg, gone1.jpg, gone2.jpg, "
        "gone3.jpg, gone4.jpg, gone5.jpg, gone6.jpg",
        "emotionet: 1 of 9 names stand for several files: b.jpg",
    )


def test_an_image_counts_once_and_is_not_in_both_splits(tmp_path, put_text, put_image, aligner):
    """Seen: twice with other labels, and those of val trained on, all without a word."""
    for name in "abcd":
        put_image(tmp_path / f"{name}.jpg", (112, 112))
    rows = ["a.jpg,1,-1", "b.jpg,1,0", "c.jpg,0,1", "a.jpg,-1,0", "x/b.jpg,0,0", "d.jpg,1,1"]
    put_text(tmp_path / "train.csv", "\n".join(["name,AU1,AU2", *rows, rows[2]]))
    put_text(tmp_path / "val.csv", "name,AU1\nd.jpg,1\n")
    data = read_emotionet(tmp_path, "train", aligner)
    assert [data.image_name(row) for row in range(len(data))] == ["a.jpg", "c.jpg"]
    assert (unit(data, 1).tolist(), unit(data, 2).tolist()) == ([1, 0], [0, 1])
    assert data.notes == (
        "emotionet: 1 of 4 images are left out: their rows contradict one another: b.jpg",
        "emotionet: 1 of 3 training images are left out: they are in val: d.jpg",
    )
    assert len(read_emotionet(tmp_path, "val", aligner)) == 1


def test_files_without_a_split_are_cut_by_name(tmp_path, put_text, put_image, aligner):
    names = [f"{i}.jpg" for i in range(60)]
    for name in names:
        put_image(tmp_path / name, (112, 112))
    put_text(tmp_path / "labels.csv", "name,AU2\n" + "".join(f"{name},1\n" for name in names))
    train, val = (read_emotionet(tmp_path, split, aligner) for split in ("train", "val"))
    assert len(train) + len(val) == 60
    assert 1 <= len(val) <= 15


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,AU1\na.jpg,1\nb.jpg,2\n", r"train.csv:3: found 2, expected 0, 1, or -1 or 999"),
        ("name,AU1\na.jpg,\n", r"train.csv:2: found '', expected a number"),
        ("name,AU1\na.jpg\n", r"train.csv:2: found 1 cells, expected 2"),
        ("name,score\na.jpg,1\n", r"train.csv:1: found the header 'name score', expected name"),
        ("a.jpg,1\n", r"train.csv:1: found the header"),
        ("name,AU1\n../a.jpg,1\n", r"train.csv:2: found the path '../a.jpg'"),
        ("name,AU1\n/etc/a.jpg,1\n", r"train.csv:2: found the path '/etc/a.jpg'"),
        (tabbed("..", au1=1), r"train.csv:1: found the path '..'"),
        (tabbed("a.jpg", au1=3), r"train.csv:1: found 3, expected 0, 1"),
    ],
)
def test_bad_lines_are_named_with_file_and_line(tmp_path, put_text, aligner, text, message):
    put_text(tmp_path / "train.csv", text)
    with pytest.raises(FacerError, match=message):
        read_emotionet(tmp_path, "train", aligner)
