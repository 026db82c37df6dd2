"""Detection: facer's own model in batches, any insightface model one frame at a time."""

import cv2
import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import pytest

from facer.stages.features import detect
from facer.stages.features.config import DetectorConfig
from facer.stages.features.detect import SingleDetector, load
from facer.stages.features.faces import iou
from facer.stages.features.looks import CANDIDATE, SURE, RefiningDetector
from facer.storage.errors import FacerError


@pytest.fixture(scope="module")
def detector():
    return load(DetectorConfig())


def test_the_starter_finds_the_face_and_its_points_in_place(detector, face_frames):
    (faces,) = detector.detect(face_frames(1))
    assert isinstance(detector, RefiningDetector)
    assert faces.bbox_px.shape == (1, 4)
    x1, y1, x2, y2 = faces.bbox_px[0]
    points = faces.keypoints_px[0]
    assert ((points > [x1, y1]) & (points < [x2, y2])).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert left_mouth[0] < right_mouth[0]


def test_batches_and_mixed_sizes_change_nothing(detector, face_frames):
    images = [*face_frames(3), face_frames(1)[0][:200, :260], np.zeros((64, 96, 3), np.uint8)]
    together = detector.detect(images)
    for image, faces in zip(images, together, strict=True):
        (alone,) = detector.detect([image])
        np.testing.assert_allclose(faces.keypoints_px, alone.keypoints_px, atol=1e-2)
        np.testing.assert_allclose(faces.score, alone.score, atol=1e-5)
    assert len(together[-1].score) == 0
    assert detector.detect([]) == []


@pytest.mark.parametrize("bf16", [False, True])
def test_a_face_in_doubt_is_looked_at_again_alike_beside_others(face_frames, bf16):
    """A dozen pixels wide, in three lights: bit for bit the same alone."""
    frame, full = face_frames(2)
    small = np.zeros_like(frame)
    small[90:128, 120:171] = cv2.resize(frame, (51, 38), interpolation=cv2.INTER_AREA)
    images = [small, full, *((small * share).astype(np.uint8) for share in (0.5, 0.25))]
    model = load(DetectorConfig(bf16=bf16))
    together = model.detect(images)
    assert [len(faces.score) for faces in together] == [1, 1, 1, 1]
    for image, faces in zip(images, together, strict=True):
        (alone,) = model.detect([image])
        for values, others in zip(faces, alone, strict=True):
            np.testing.assert_array_equal(values, others)
    by_path = DetectorConfig(str(detect.model_path("facer-det")), 320, 0.2)
    first = [faces.score[0] for faces in load(by_path).detect(images)]
    assert any(CANDIDATE <= score < SURE for score in first)  # else this tested nothing


def test_insightface_runs_the_starter_like_any_other_pack(face_frames):
    """At a size that needs no scaling, its own decoding gives the same faces."""
    from insightface.model_zoo import get_model

    image = np.zeros((256, 320, 3), np.uint8)
    image[:240] = face_frames(1)[0]
    model = get_model(str(detect.model_path("facer-det")), providers=["CPUExecutionProvider"])
    model.prepare(-1, input_size=(320, 256))
    boxes, points = model.detect(np.ascontiguousarray(image[..., ::-1]))
    by_path = DetectorConfig(str(detect.model_path("facer-det")), 320)  # without the refiner
    (faces,) = load(by_path).detect([image])
    np.testing.assert_allclose(faces.bbox_px, boxes[:, :4], atol=0.05)
    np.testing.assert_allclose(faces.keypoints_px, points, atol=0.05)
    np.testing.assert_allclose(faces.score, boxes[:, 4], atol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": "no-such.onnx"}, "no-such.onnx is no file; expected facer-det"),
        ({"score": 1.5}, "threshold: found 1.5"),
        ({"input_px": 8}, "size: found 8"),
    ],
)
def test_wrong_options_are_refused(config, message):
    with pytest.raises(FacerError, match=message):
        load(DetectorConfig(**config))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_text("not a model")
    with pytest.raises(FacerError, match=r"x\.onnx is no ONNX model"):
        load(DetectorConfig(str(tmp_path / "x.onnx")))


def test_a_detector_of_numbers_that_are_none_or_of_another_order_is_refused(tmp_path):
    """It found no face in any frame, or failed in each."""
    path = tmp_path / "own.onnx"
    model = onnx.load(detect.model_path("facer-det"))
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend([*outputs[3:6], *outputs[:3], *outputs[6:]])
    onnx.save(model, path)
    with pytest.raises(FacerError, match=r"own.onnx: found (outputs of widths|a model that does)"):
        load(DetectorConfig(str(path)))
    model = onnx.load(detect.model_path("facer-det"))
    first = next(one for one in model.graph.initializer if len(one.dims) == 4)
    broken = np.full(first.dims, np.nan, np.float32)
    first.CopyFrom(onnx.numpy_helper.from_array(broken, first.name))
    onnx.save(model, path)
    with pytest.raises(FacerError, match=r"own.onnx: found numbers that are not finite"):
        load(DetectorConfig(str(path)))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (("Mul", ["before", "many"]), r"scores of .*, not 0 to 1: export it with its sigmoid"),
        (("Neg", ["before"]), r"scores of -.*, not 0 to 1: export it with its sigmoid"),
        (("Slice", ["before", "first", "fifth", "first"]), "outputs of other numbers of rows"),
    ],
)
def test_scores_that_are_no_shares_or_of_other_anchors_are_refused(tmp_path, node, message):
    """Logits are another threshold; fewer rows are the boxes of other places."""
    model = onnx.load(detect.model_path("facer-det"))
    scores = model.graph.output[0].name
    last = next(one for one in model.graph.node if scores in one.output)
    last.output[0] = "before"
    for name, value in (("many", np.float32(1e4)), ("first", [1]), ("fifth", [5])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    model.graph.node.append(onnx.helper.make_node(*node, [scores]))
    onnx.save(model, tmp_path / "own.onnx")
    with pytest.raises(FacerError, match=message):
        load(DetectorConfig(str(tmp_path / "own.onnx"), 320))


@pytest.mark.parametrize("batches", [True, False])
def test_numbers_of_a_frame_that_are_not_finite_are_no_absent_face(tmp_path, face_frames, batches):
    model = onnx.load(detect.model_path("facer-det"))
    make, scores = onnx.helper.make_node, model.graph.output[0].name
    (given,) = model.graph.input
    last = next(node for node in model.graph.node if scores in node.output)
    last.output[0] = "before"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.5), "half"))
    model.graph.node.extend(
        [
            make("ReduceMax", [given.name], ["bright"], keepdims=0),
            make("Sub", ["half", "bright"], ["rest"]),
            make("Sqrt", ["rest"], ["root"]),
            make("Mul", ["before", "root"], [scores]),
        ]
    )
    if not batches:
        given.type.tensor_type.shape.dim[2].dim_value = 320
        given.type.tensor_type.shape.dim[3].dim_value = 320
    onnx.save(model, tmp_path / "own.onnx")
    detector = load(DetectorConfig(str(tmp_path / "own.onnx"), 320))
    assert isinstance(detector, SingleDetector) != batches
    with pytest.raises(FacerError, match=r"own\.onnx: found numbers that are not finite"):
        detector.detect(face_frames(1))


def test_a_missing_gpu_is_an_error_never_a_fall_back():
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(FacerError, match="device cuda: this onnxruntime has no CUDA"):
        load(DetectorConfig(device="cuda"))


def test_overlapping_boxes_are_suppressed_and_the_best_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 0, 30, 10]], np.float32)
    np.testing.assert_allclose(iou(boxes[0], boxes), [1, 81 / 119, 0], atol=1e-6)
    found = detect.decode_boxes(
        np.array([0.6, 0.9, 0.7], np.float32),
        np.full((3, 4), 5, np.float32),
        np.zeros((3, 10), np.float32),
        np.array([[5, 5], [6, 6], [25, 5]], np.float32),
        np.ones((3, 1), np.float32),
    )
    assert found.score.tolist() == pytest.approx([0.9, 0.7])
    assert found.bbox_px.tolist() == [[1, 1, 11, 11], [20, 0, 30, 10]]


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["scrfd_500m_kps.onnx", "retinaface_mnet025_insightface_layout.onnx"]
)
def test_models_of_users_run_through_insightface(shared, face_frames, name):
    model = load(DetectorConfig(str(shared / "models" / name), input_px=640))
    assert isinstance(model, SingleDetector)
    (faces,) = model.detect(face_frames(1))
    assert faces.keypoints_px.shape == (1, 5, 2)
    (ours,) = load(DetectorConfig()).detect(face_frames(1))
    eyes = np.linalg.norm(faces.keypoints_px[0, 0] - faces.keypoints_px[0, 1])
    gap = np.linalg.norm(faces.keypoints_px - ours.keypoints_px, axis=2).mean()
    assert gap < 0.25 * eyes


def test_the_threshold_of_the_starter_is_its_own_and_that_of_others_insightfaces():
    models = ("facer-det", "insightface:buffalo_l", "own.onnx")
    assert [DetectorConfig(m).threshold for m in models] == [0.475, 0.5, 0.5]
    assert [DetectorConfig(m, score=0.3).threshold for m in models] == [0.3] * 3
