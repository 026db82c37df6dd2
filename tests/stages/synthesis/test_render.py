import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facer.stages.synthesis.photographs import FACES, POINTS, UNIT_PX, face_named, load_portrait
from facer.stages.synthesis.plan import EMOTIONS, SynthesisConfig, plan_clips
from facer.stages.synthesis.render import action_amounts, camera, render
from facer.stages.synthesis.write import write_clips
from facer.storage import FacerError

SMALL = SynthesisConfig(n_clips=7, min_frames=4, max_frames=6, width_px=192, height_px=144)


def still(plan, **changes):
    """The plan without noise, light or camera changes."""
    calm = {
        name: replace(getattr(plan, name), amplitude=0.0)
        for name in ("pan_x", "pan_y", "size_px", "roll_deg", "light", "slope_x", "slope_y")
    }
    return replace(plan, noise=0.0, **(calm | changes))


def test_frames_are_reproducible_and_as_planned():
    plan = plan_clips(SMALL)[1]
    frames = list(render(plan))
    assert len(frames) == plan.n_frames
    for first, again in zip(frames, render(plan), strict=True):
        assert first.dtype == np.uint8
        assert first.shape == (144, 192, 3)
        np.testing.assert_array_equal(first, again)


def test_without_events_and_motion_nothing_moves():
    frames = list(render(still(plan_clips(SMALL)[0], events=())))
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])


def test_mirrored_is_the_mirror_image():
    plan = replace(plan_clips(SMALL)[1], mirrored=False, noise=0.0)
    for frame, mirrored in zip(render(plan), render(replace(plan, mirrored=True)), strict=True):
        np.testing.assert_array_equal(frame[:, ::-1], mirrored)


def test_amounts_are_rest_plus_strength_times_share():
    face = FACES[0]
    rest = action_amounts(face, [0.0] * len(EMOTIONS))
    assert {name: amount for name, amount in rest.items() if amount} == dict(face.rest)
    strengths = [0.5, 0.0, 0.25]
    amounts = action_amounts(face, strengths)
    for action in amounts:
        added = sum(
            share * actions.get(action, 0.0)
            for share, actions in zip(strengths, EMOTIONS.values(), strict=True)
        )
        assert amounts[action] == pytest.approx(rest[action] + added)


@pytest.mark.parametrize("plan", plan_clips(SynthesisConfig()), ids=lambda plan: plan.clip_id)
def test_the_camera_keeps_the_face_in_the_frame(plan):
    portrait = load_portrait(face_named(plan.face))
    inside = [POINTS.index(name) for name in ("left_eye", "right_eye", "left_mouth", "chin")]
    points = np.column_stack([portrait.points[inside], np.ones(len(inside))])
    for time_s in plan.timestamp_s.tolist():
        matrix = camera(plan, portrait, time_s)
        x, y = (points @ matrix.T).T
        assert (x > 5).all()
        assert (x < plan.width_px - 5).all()
        assert (y > 5).all()
        assert (y < plan.height_px - 5).all()
        zoom = np.sqrt(np.linalg.det(matrix[:, :2]))
        assert zoom * UNIT_PX == pytest.approx(plan.size_px.at(time_s), rel=1e-4)


def test_clips_decode_with_the_planned_frames_and_labels_say_the_peaks(tmp_path):
    labels = write_clips(SMALL, tmp_path)
    with labels.open(newline="") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    plans = plan_clips(SMALL)
    assert list(rows) == [plan.clip_id for plan in plans]
    assert {path.name for path in tmp_path.rglob("*.mp4")} == {f"{key}.mp4" for key in rows}
    assert not list(tmp_path.rglob("*.part*"))
    for plan in plans:
        row = rows[plan.clip_id]
        assert row["split"] == plan.split
        for emotion, value in plan.intensities().items():
            assert float(row[emotion]) == pytest.approx(value, abs=1e-4)
        video = cv2.VideoCapture(str(tmp_path / "clips" / f"{plan.clip_id}.mp4"))
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(plan.fps)
        frames = []
        while (read := video.read())[0]:
            frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        assert len(frames) == plan.n_frames
        first = next(iter(render(plan)))
        assert np.abs(frames[0].astype(int) - first).mean() < 12


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FacerError, match="cannot be made"):
        write_clips(SMALL, tmp_path / "file")
