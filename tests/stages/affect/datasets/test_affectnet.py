"""AffectNet, old and new release: which face, which label, which file is missing."""

import cv2
import numpy as np
import pytest

from facer.stages.affect.datasets.affectnet import read_affectnet
from facer.stages.features.align import ARCFACE_TEMPLATE_PX
from facer.storage.errors import FacerError
from facer.storage.schema import EXPRESSIONS
from tests.support import some

HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,"
    "expression,valence,arousal"
)


def landmarks(scale=2.0, shift=10.0):
    """68 points whose eyes, nose and mouth lie on the template, enlarged and moved."""
    points = np.zeros((68, 2))
    for rows, point in zip(
        ([*range(36, 42)], [*range(42, 48)], 30, 48, 54), ARCFACE_TEMPLATE_PX, strict=True
    ):
        points[np.array(rows)] = point * scale + shift
    return points


def row(name, expression=1, valence=0.5, arousal=0.25, box="50,50,100,100", points=None):
    points = landmarks() if points is None else points
    joined = ";".join(f"{value:.2f}" for value in np.ravel(points))
    return f"{name},{box},{joined},{expression},{valence},{arousal}"


def old(root, put_text, *rows, name="training.csv", header=HEADER):
    put_text(root / name, "\n".join([header, *rows]) + "\n")
    return root


def test_classes_are_mapped_by_name_and_minus_two_is_unlabelled(
    tmp_path, put_text, put_image, aligner
):
    names = [f"{i}/face.jpg" for i in range(11)]
    for name in names:
        put_image(tmp_path / "Images" / name, (200, 200))
    va = [("0.5", "-0.5") if i < 9 else ("-2", "-2") for i in range(11)]
    rows = [row(name, i, *va[i]) for i, name in enumerate(names)]
    data = read_affectnet(old(tmp_path, put_text, *rows), "train", aligner)
    found = [EXPRESSIONS[c] if c >= 0 else "" for c in data.expression_class]
    expected = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "", ""]
    assert found == expected  # 7 contempt and 8 none keep their valence and arousal
    assert np.isfinite(data.va).all()
    assert data.notes == ("affectnet: 2 images have no label of use",)
    assert data.crop(0).shape == (112, 112, 3)


def test_columns_are_found_by_name(tmp_path, put_text, put_image, aligner):
    put_image(tmp_path / "a.jpg", (200, 200))
    cells = dict(zip(HEADER.split(","), row("a.jpg", 2, 0.1, 0.9).split(","), strict=True))
    header = sorted(cells)
    old(tmp_path, put_text, ",".join(cells[name] for name in header), header=",".join(header))
    data = read_affectnet(tmp_path, "train", aligner)
    assert data.expression_class.tolist() == [EXPRESSIONS.index("sadness")]
    np.testing.assert_allclose(data.va, [[0.1, 0.9]], atol=1e-6)


def test_the_annotated_face_counts_not_the_largest(tmp_path, put_text, put_image, aligner):
    for name in ("left.jpg", "right.jpg"):
        path = put_image(tmp_path / name, (400, 200), 100)
        image = some(cv2.imread(str(path)))
        image[:, 200:] = 220  # the larger face, on the right, is brighter
        cv2.imwrite(str(path), image)
    rows = [row("left.jpg", box="10,10,150,150"), row("right.jpg", box="200,0,200,200")]
    data = read_affectnet(old(tmp_path, put_text, *rows), "train", aligner)
    assert data.crop(0).mean() < 120 < data.crop(1).mean()


def test_annotated_points_stand_in_for_the_detector(tmp_path, put_text, put_image, aligner):
    put_image(tmp_path / "dark.jpg", (250, 250), 16)
    put_image(tmp_path / "dark2.jpg", (250, 250), 16)
    rows = [row("dark.jpg"), row("dark2.jpg", points=[])]
    data = read_affectnet(old(tmp_path, put_text, *rows), "train", aligner)
    assert len(data) == 1
    assert "1 of 2 labelled images show no face that could be aligned: dark2.jpg" in data.notes[0]


def test_missing_and_broken_images_are_counted(tmp_path, put_text, put_image, aligner):
    put_image(tmp_path / "a" / "1.jpg", (150, 150))
    put_text(tmp_path / "a" / "2.jpg", "no image")
    rows = [row(f"a/{i}.jpg") for i in (1, 2, 3, 4)]
    data = read_affectnet(old(tmp_path, put_text, *rows), "train", aligner)
    assert len(data) == 1
    assert data.notes == (
        "affectnet: 2 of 4 labelled images are missing: a/3.jpg, a/4.jpg",
        "affectnet: 1 of 4 labelled images cannot be decoded: a/2.jpg",
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("a.jpg", 11), r"training.csv:3: found expression 11, expected a class from 0 to 10"),
        (row("a.jpg", "happy"), r"training.csv:3: expression: found 'happy', expected a number"),
        (row("a.jpg", 1, 1.5), r"training.csv:3: found valence 1.5 and arousal"),
        (row("a.jpg", points=[1, 2, 3]), r"training.csv:3: found 3 landmark values, expected 68"),
        (row("../a.jpg"), r"training.csv:3: found the path '../a.jpg'"),
        (row("/a.jpg"), r"training.csv:3: found the path '/a.jpg'"),
        (row("C:\\a.jpg"), r"training.csv:3: found the path"),
        ("a.jpg,1", r"training.csv:3: found 2 cells, expected 9"),
    ],
)
def test_bad_rows_are_named_with_file_and_line(tmp_path, put_text, aligner, bad, message):
    old(tmp_path, put_text, row("ok.jpg"), bad)
    with pytest.raises(FacerError, match=message):
        read_affectnet(tmp_path, "train", aligner)


def test_a_missing_column_is_named(tmp_path, put_text, aligner):
    put_text(tmp_path / "training.csv", "subDirectory_filePath,expression\na.jpg,1\n")
    with pytest.raises(FacerError, match="found no column 'face_x'"):
        read_affectnet(tmp_path, "train", aligner)
    with pytest.raises(FacerError, match=r"no validation.csv \(old release\) and no val_set"):
        read_affectnet(tmp_path, "val", aligner)


@pytest.mark.parametrize("as_text", [True, False])
def test_new_release(tmp_path, put_image, aligner, as_text):
    folder = tmp_path / "val_set"
    (folder / "annotations").mkdir(parents=True)
    for number, (expression, valence, arousal) in enumerate(((6, -0.5, 0.6), (8, -2, -2))):
        put_image(folder / "images" / f"{number}.jpg", (224, 224))
        values = {"exp": expression, "val": valence, "aro": arousal}
        for kind, value in values.items():
            stored = np.array(str(value)) if as_text else np.array(value)
            np.save(folder / "annotations" / f"{number}_{kind}.npy", stored)
        np.save(folder / "annotations" / f"{number}_lnd.npy", landmarks().ravel())
    data = read_affectnet(tmp_path, "val", aligner)
    assert data.expression_class.tolist() == [EXPRESSIONS.index("anger")]
    np.testing.assert_allclose(data.va, [[-0.5, 0.6]], atol=1e-6)


def test_new_release_with_a_bad_file(tmp_path, put_image, aligner):
    folder = tmp_path / "train_set"
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "0_exp.npy").write_bytes(b"not a npy file")
    with pytest.raises(
        FacerError, match=r"0_exp.npy: cannot be read .*expected a label in a npy file"
    ):
        read_affectnet(tmp_path, "train", aligner)
    np.save(folder / "annotations" / "0_exp.npy", np.array({"a": 1}), allow_pickle=True)
    with pytest.raises(
        FacerError, match=r"0_exp.npy: cannot be read .*expected a label in a npy file"
    ):
        read_affectnet(tmp_path, "train", aligner)
    np.save(folder / "annotations" / "0_exp.npy", np.array([1, 2]))
    with pytest.raises(FacerError, match=r"0_exp.npy: found 2 values, expected one"):
        read_affectnet(tmp_path, "train", aligner)
