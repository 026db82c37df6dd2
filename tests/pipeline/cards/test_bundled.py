"""Each card of the package against preprocessing written from the projects' own descriptions.

A toy with the network's inputs and outputs stands in for it. Its golden example is computed here,
with Pillow, OpenCV's resize and insightface's alignment, never with facer's crops; the package's
card must agree with it, and a card with one thing wrong must not.
"""

import copy
import tomllib
import warnings

import cv2
import numpy as np
import pytest
from insightface.utils import face_align
from PIL import Image
from skimage.transform import SimilarityTransform

from facer.pipeline.cards.check import check_card
from facer.stages.features import detect
from facer.stages.features.config import DetectorConfig
from facer.stages.features.rec.cards.card import CARDS, bundled_cards, read_card
from facer.stages.synthesis.photographs import FACES, load_portrait
from facer.storage.errors import FacerError
from tests import toys

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
HALF = (np.array([0.5] * 3), np.array([0.5] * 3))
WORDS = {"happy": "happiness", "sad": "sadness", "angry": "anger", "fearful": "fear",
         "surprised": "surprise"}  # fmt: skip
FFHQ_512 = [(192.98, 239.95), (318.9, 240.19), (256.63, 314.02), (201.26, 371.41),
            (313.09, 371.15)]  # fmt: skip


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def names(text):
    return [WORDS.get(word, word) for word in text.lower().split()]


def units(text):
    return [f"au{int(u):02d}" for u in text.split()]


def integer_box(bbox):
    return (int(v) for v in bbox)


def cv2_box(size):
    def crop(frame, bbox, points):
        x1, y1, x2, y2 = integer_box(bbox)
        return cv2.resize(frame[y1:y2, x1:x2], (size, size))

    return crop


def pillow_box(size, grey=False):
    def crop(frame, bbox, points):
        face = Image.fromarray(frame).crop(tuple(integer_box(bbox)))
        face = face.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(face.convert("L"))[..., None] if grey else np.asarray(face)

    return crop


def pillow_square(size):
    def crop(frame, bbox, points):
        x1, y1, x2, y2 = bbox
        half = max(x2 - x1, y2 - y1) / 2
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        return np.asarray(Image.fromarray(frame).resize(
            (size, size), Image.Resampling.BILINEAR, box=(x - half, y - half, x + half, y + half)
        ))  # fmt: skip

    return crop


def torchvision_resize_and_crop(resize, size):
    def crop(frame, bbox, points):
        face = Image.fromarray(frame).crop(tuple(integer_box(bbox)))
        w, h = face.size
        scale = resize / min(w, h)
        face = face.resize((round(w * scale), round(h * scale)), Image.Resampling.BILINEAR)
        left, top = (face.size[0] - size) // 2, (face.size[1] - size) // 2
        return np.asarray(face.crop((left, top, left + size, top + size)))

    return crop


def sampled_square(size, margin):
    """Bilinear at every pixel's centre, one by one dimension; the frame mirrored outside."""

    def crop(frame, bbox, points):
        x1, y1, x2, y2 = bbox
        side = margin * max(x2 - x1, y2 - y1)
        steps = (np.arange(size) + 0.5) * side / size - side / 2 - 0.5
        far = max(frame.shape)
        pad = np.pad(frame.astype(float), ((far, far), (far, far), (0, 0)), mode="symmetric")

        def along(values, centre, axis):
            place = centre + steps + far
            low = np.floor(place).astype(int)
            share = (place - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
            a, b = (np.take(values, np.clip(low + i, 0, values.shape[axis] - 1), axis)
                    for i in (0, 1))  # fmt: skip
            return a * (1 - share) + b * share

        return along(along(pad, (y1 + y2) / 2, 0), (x1 + x2) / 2, 1)

    return crop


def arcface(frame, bbox, points):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # insightface's own, of scikit-image
        return face_align.norm_crop(frame, points)


def ffhq(frame, bbox, points):
    found = SimilarityTransform.from_estimate(points, np.array(FFHQ_512) / 2)
    face = cv2.warpAffine(frame, found.params[:2], (256, 256))
    return face[16:240, 16:240]


def whole_ffhq(frame, bbox, points):
    found = SimilarityTransform.from_estimate(points, np.array(FFHQ_512) * (224 / 512))
    return cv2.warpAffine(frame, found.params[:2], (224, 224))


POSES = [
    [(55.550, 49.477), (62.116, 49.339), (38.075, 70.237), (55.017, 92.262), (61.466, 92.979)],
    [(47.241, 48.598), (72.887, 49.540), (40.555, 71.067), (47.423, 93.643), (71.236, 94.353)],
    [(33.566, 40.559), (78.321, 40.559), (55.338, 64.967), (38.479, 90.276), (73.591, 90.276)],
    [(39.516, 49.540), (65.162, 48.598), (71.849, 71.067), (41.167, 94.353), (64.980, 93.643)],
    [(50.225, 49.339), (56.791, 49.477), (74.266, 70.237), (50.875, 92.979), (65.317, 92.262)],
]  # fmt: skip


def by_pose(frame, bbox, points):
    best, least = np.eye(3)[:2], np.inf
    for pose in POSES:
        found = SimilarityTransform.from_estimate(points, np.array(pose))
        error = sum(np.hypot(*(found(p)[0] - t)) for p, t in zip(points, pose, strict=True))
        if error < least:
            best, least = found.params[:2], error
    return cv2.warpAffine(frame, best, (112, 112))


E8 = names("Anger Contempt Disgust Fear Happiness Neutral Sadness Surprise")
AFFECTNET = names("Neutral Happy Sad Surprise Fear Disgust Angry Contempt")
MAIN = units("1 2 4 5 6 7 9 10 11 12 13 14 15 16 17 18 19 20 22 23 24 25 26 27 32 38 39")
SIDES = [f"{unit}_{side}" for unit in units("1 2 4 6 10 12 14") for side in ("left", "right")]


def clipped(columns):
    return lambda x: dict(zip(columns, np.clip(x, 0, 1), strict=True))


def classes(columns):
    return lambda x: dict(zip(columns, softmax(x), strict=True))


def emotieff(x):
    va = dict(zip(("valence", "arousal"), np.clip(x[8:], -1, 1), strict=True))
    return {**classes(E8)(x[:8]), **va}


def intensities(x):
    columns = [f"{u}_intensity" for u in units("1 2 4 5 6 9 12 15 17 20 25 26")]
    return dict(zip(columns, np.clip(5 * x, 0, 5), strict=True))


def unit_vector(x):
    return {f"embedding_{i}": v for i, v in enumerate(x / np.linalg.norm(x))}


IMAGENET = (MEAN, STD)
PY_FEAT = {
    "p_au": (20, clipped(units("1 2 4 5 6 7 9 10 11 12 14 15 17 20 23 24 25 26 28 43"))),
    "emotion_logits": (7, classes(names("Neutral Happy Sad Surprise Fear Disgust Anger"))),
    "va": (2, lambda x: dict(zip(("valence", "arousal"), np.clip(x, -1, 1), strict=True))),
    "gaze": (2, lambda x: dict(zip(("gaze_yaw", "gaze_pitch"), x, strict=True))),
}
DETECTED = units("1 2 4 6 7 10 12 14 15 17 23 24")
OPENCV = classes(names("angry disgust fearful happy neutral sad surprised"))
FERPLUS = classes(names("neutral happiness surprise sadness anger disgust fear contempt"))
GREY = (np.zeros(1), np.ones(1) / 255)  # pixels stay 0 to 255

# what the network sees; mean, std of pixels / 255; outputs: numbers, and what they mean
FACTS = {
    "enet_b0_8_va_mtl": (cv2_box(224), IMAGENET, {"out": (10, emotieff)}),
    "mobilevit_va_mtl": (cv2_box(224), IMAGENET, {"out": (10, emotieff)}),
    "mbf_va_mtl": (cv2_box(112), HALF, {"out": (10, emotieff)}),
    "enet_b0_8_best_afew": (cv2_box(224), IMAGENET, {"out": (8, classes(E8))}),
    "enet_b2_8": (cv2_box(260), IMAGENET, {"out": (8, classes(E8))}),
    "opengraphau": (
        torchvision_resize_and_crop(256, 224), IMAGENET, {"au": (41, clipped(MAIN + SIDES))}
    ),
    "libreface-au-detection": (ffhq, IMAGENET, {"AUs": (12, clipped(DETECTED))}),
    "libreface-au-intensity": (ffhq, IMAGENET, {"au_intensity": (12, intensities)}),
    "libreface-expression": (
        whole_ffhq, IMAGENET, {"FEs": (8, classes(AFFECTNET)), "feature": (16, None)}
    ),
    "pyfeat-multitask": (sampled_square(224, 1.2), IMAGENET, PY_FEAT),
    "opencv-zoo-expression": (arcface, HALF, {"label": (7, OPENCV)}),
    "ddamfn": (by_pose, IMAGENET, {"logits": (8, classes(AFFECTNET)), "feat": (16, None)}),
    "posterv2-affectnet8": (pillow_square(224), IMAGENET, {"out": (8, classes(AFFECTNET))}),
    "ferplus": (pillow_box(64, grey=True), GREY, {"out": (8, FERPLUS)}),
    "arcface-w600k": (arcface, HALF, {"out": (64, unit_vector)}),
}  # fmt: skip


@pytest.fixture(scope="module")
def face():
    """(frame, box of whole pixels, five points) of a photograph."""
    frame = load_portrait(FACES[0]).image
    (faces,) = detect.load(DetectorConfig()).detect([frame])
    best = int(faces.score.argmax())
    return frame, [float(round(float(v))) for v in faces.bbox_px[best]], faces.keypoints_px[best]


@pytest.fixture(scope="module")
def given(face, tmp_path_factory):
    """``given(name)``: the card's values with a golden example, in a folder with its toy."""
    frame, bbox, points = face

    def make(name):
        crop, (mean, std), outputs = FACTS[name]
        folder = tmp_path_factory.mktemp(name)
        values = tomllib.loads((CARDS / f"{name}.toml").read_text())
        image = crop(frame, bbox, points)
        x = ((np.asarray(image, float) / 255 - mean) / std).transpose(2, 0, 1)[None].astype("f4")
        gain = 0.3 / max(1.0, float(np.abs(x).mean()) / 2)
        channels, widths = x.shape[1], {k: n for k, (n, _) in outputs.items()}
        toy = toys.Toy(channels, widths, gain, seed=sum(map(ord, name)))
        file, read = folder / values["file"]["name"], values["input"]
        toy.save(file, x.shape[2], read.get("batch") or None, read.get("tensor", "input"))
        values["file"].pop("sha256", None)  # of the real weights
        expected: dict[str, float] = {}
        for tensor, (_, meaning) in outputs.items():
            if meaning is not None:
                expected |= meaning(toy.numbers(x, tensor)[0].astype(float))
        cv2.imwrite(str(folder / "face.png"), np.ascontiguousarray(frame[..., ::-1]))
        values["golden"] = {
            "image": "face.png", "bbox_px": bbox,
            "tolerance": 0.1 if name.endswith("intensity") else 0.02,  # of 5, and of 1
            "keypoints_px": [[float(a) for a in p] for p in points],
            "values": {k: float(v) for k, v in expected.items()},
        }  # fmt: skip
        return folder, values

    return make


def colour(values):
    values["input"]["colour"] = "bgr"


def margin(values):
    if values["crop"]["kind"] == "five-point":
        values["crop"]["template_size_px"] = int(1.3 * values["crop"].get("template_size_px", 112))
    else:
        values["crop"]["margin"] = 1.4 * values["crop"].get("margin", 1.0)


def normalisation(values):
    if "mean" not in values["input"]:
        values["input"] |= {"scale": 255.0}
    elif values["input"]["mean"] == [0.5]:
        values["input"] |= {"mean": [0.0], "std": [1.0]}
    else:
        values["input"] |= {"mean": [0.5], "std": [0.5]}


def order(values):
    if "columns" in values["output"][0]:
        columns = values["output"][0]["columns"]
        values["output"][0]["columns"] = [*columns[1:], columns[0]]
    else:  # of an embedding: its numbers begin later
        values["output"][0]["slice"] = [1, 64]


def activation(values):
    wrong = {"softmax": "sigmoid", "none": "sigmoid"}
    if "columns" in values["output"][0]:
        first = values["output"][0]
        first["activation"] = wrong[first.get("activation", "none")]
    else:  # read as numbers of columns, without the length of 1
        values["output"] = [{"columns": [f"id{i}" for i in range(64)]}]
        values["golden"]["values"] = {
            k.replace("embedding_", "id"): v for k, v in values["golden"]["values"].items()
        }


def test_every_card_of_the_package_has_its_facts_here():
    assert set(FACTS) == set(bundled_cards())


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_card_without_a_golden_example_says_so_and_what_was_verified(name):
    card = read_card(CARDS / f"{name}.toml")
    assert card.file.verified
    assert card.golden or "no golden example: the weights were not at hand" in card.file.unverified


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_card_agrees_with_independent_preprocessing_and_a_wrong_one_does_not(name, given):
    folder, values = given(name)
    right = check_card(str(toys.write_card(folder / "card.toml", values)))
    assert right.has_golden
    assert [p for p in right.problems if p.startswith("golden")] == []
    compared = {k: c.golden for k, c in right.columns.items() if c.golden is not None}
    assert set(compared) == {k for k in values["golden"]["values"] if "embedding" not in k}
    for change in (colour, margin, normalisation, order, activation):
        wrong = copy.deepcopy(values)
        change(wrong)
        path = str(toys.write_card(folder / "wrong.toml", wrong))
        if change is colour and values["input"].get("colour") == "grey":
            with pytest.raises(FacerError, match="does not take"):  # three channels
                check_card(path)
            continue
        found = check_card(path).problems
        assert any(p.startswith("golden example") for p in found), change.__name__
