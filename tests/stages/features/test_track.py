"""Linking and choosing: the face that dominates the clip, whatever else appears."""

from time import process_time

import numpy as np
import pytest

from facer.stages.features.faces import Faces
from facer.stages.features.track import (
    MIN_SEQUENCE,
    Tracker,
    candidates,
    choose_sequences,
    count_switches,
    join_people,
    pointed_tracks,
)
from facer.storage.errors import FacerError
from facer.storage.study.faces import FacePoint

SHAPE = np.array([[-10, -8], [10, -8], [0, 0], [-8, 10], [8, 10]], np.float32)


def faces(*centres, size=40.0):
    middles = np.array(centres, np.float32).reshape(-1, 2)
    half = size / 2
    boxes = np.concatenate([middles - half, middles + half], axis=1)
    points = middles[:, None] + SHAPE * size / 40
    return Faces(boxes, points, np.full(len(middles), 0.9, np.float32))


def linked(frames):
    """Frame, track, box and score of every face of a clip's frames."""
    tracker, frame, track, boxes, scores = Tracker(), [], [], [], []
    for index, found in enumerate(frames):
        frame += [index] * len(found.score)
        track += tracker.update(found)
        boxes.append(found.bbox_px)
        scores.append(found.score)
    return np.array(frame), np.array(track), np.concatenate(boxes), np.concatenate(scores)


def run(frames):
    """Link a clip's frames and choose: (frame numbers, centres) of the chosen rows."""
    frame, track, boxes, scores = linked(frames)
    (rows,) = choose_sequences(frame, track, boxes, scores, "track")
    return frame[rows], (boxes[rows, :2] + boxes[rows, 2:]) / 2


def test_two_people_who_swap_order_keep_their_tracks():
    tracker = Tracker()
    assert tracker.update(faces((50, 50), (200, 50))) == [0, 1]
    assert tracker.update(faces((203, 51), (52, 50))) == [1, 0]


def test_a_track_survives_a_gap():
    tracker = Tracker()
    tracker.update(faces((50, 50)))
    for _ in range(100):
        tracker.update(faces())
    assert tracker.update(faces((54, 50))) == [0]


def test_the_chosen_face_stays_on_one_person():
    centres = run([faces((50 + i, 50), (250 - i, 50)) for i in range(20)])[1]
    assert np.ptp(centres[:, 0]) < 25


def test_a_short_larger_intruder_does_not_win():
    def frame(i):
        main, other = faces((60, 60)), faces((250, 80), size=90)
        return (
            Faces(*(np.concatenate(p) for p in zip(main, other, strict=True)))
            if i in (4, 5)
            else main
        )

    frames, centres = run([frame(i) for i in range(30)])
    assert frames.tolist() == list(range(30))
    assert centres[:, 0].max() < 100


def test_a_jump_of_the_only_person_is_bridged():
    frames, _ = run([faces((60, 60)) for _ in range(10)] + [faces((300, 90)) for _ in range(8)])
    assert frames.tolist() == list(range(18))


def test_a_much_smaller_face_does_not_stand_in():
    frames, _ = run([faces((60, 60), size=80)] * 10 + [faces((300, 90), size=20)] * 8)
    assert frames.tolist() == list(range(10))


def test_a_clip_without_faces_chooses_nothing():
    assert len(run([faces(), faces()])[0]) == 0


def test_candidates_follow_the_policy():
    big, middle = faces((30, 30), size=50), faces((100, 60), size=30)
    both = Faces(*(np.concatenate(p) for p in zip(middle, big, strict=True)))
    assert candidates(both, "largest", 200, 120).bbox_px[0].tolist() == big.bbox_px[0].tolist()
    assert candidates(both, "central", 200, 120).bbox_px[0].tolist() == middle.bbox_px[0].tolist()
    assert len(candidates(both, "track", 200, 120).score) == 2


def sequences(frames, policy):
    """(frame numbers, switches) of each sequence of a clip."""
    frame, track, boxes, scores = linked(frames)
    found = choose_sequences(frame, track, boxes, scores, policy)
    return [(frame[rows].tolist(), count_switches(track[rows])) for rows in found]


def test_all_gives_every_person_a_sequence_the_dominant_one_first():
    n = MIN_SEQUENCE + 2
    people = [faces((50, 50), (200, 50)) for _ in range(n)]
    people += [faces((50, 50)) for _ in range(3)]  # the second one leaves
    found = sequences(people, "all")
    assert found == [(list(range(n + 3)), 0), (list(range(n)), 0)]
    assert sequences(people, "track") == found[:1]


def test_a_face_of_a_few_frames_is_no_sequence_of_its_own():
    clip = [faces((50, 50)) for _ in range(20)]
    for index in range(MIN_SEQUENCE - 1):
        clip[3 + index] = faces((50, 50), (200, 50))
    assert sequences(clip, "all") == [(list(range(20)), 0)]
    clip[3 + MIN_SEQUENCE - 1] = faces((50, 50), (200, 50))
    assert len(sequences(clip, "all")) == 2


def test_a_film_of_a_thousand_cuts_is_chosen_from_in_seconds():
    """Three people in every shot of 20 frames, of other tracks than those in the shot before."""
    n_frames, shot = 20_000, 20
    frame = np.repeat(np.arange(n_frames), 3)
    track = frame // shot * 3 + np.tile(np.arange(3), n_frames)
    sides = np.tile(np.array([90, 80, 70], np.float32), n_frames)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    started = process_time()
    found = choose_sequences(frame, track, boxes, np.ones(len(frame), np.float32), "all")
    assert process_time() - started < 15
    assert [rows.tolist() for rows in found] == [list(range(i, len(frame), 3)) for i in range(3)]


def test_a_face_of_ten_thousand_cuts_is_chosen_in_seconds():
    frame = np.arange(50_000)
    boxes = np.tile(np.array([0, 0, 90, 90], np.float32), (len(frame), 1))
    started = process_time()
    (rows,) = choose_sequences(frame, frame // 5, boxes, np.ones(len(frame), np.float32), "track")
    assert process_time() - started < 15
    assert rows.tolist() == frame.tolist()


def test_a_jump_of_the_same_person_is_counted_as_a_switch():
    clip = [faces((50, 50))] * 6 + [faces((300, 200))] * 4 + [faces((600, 50))] * 3
    assert sequences(clip, "all") == [(list(range(13)), 2)]


def test_an_unknown_policy_is_refused():
    from facer.stages.features.config import ExtractConfig

    with pytest.raises(FacerError, match="face: found 'best'"):
        ExtractConfig(face="best")  # type: ignore[arg-type]


def turned(faces_, share):
    """The same faces with their points as narrow as a turned head shows them."""
    centre = faces_.keypoints_px.mean(axis=1, keepdims=True)
    return faces_._replace(keypoints_px=centre + (faces_.keypoints_px - centre) * (share, 1))


def beside(*all_):
    return Faces(*(np.concatenate(parts) for parts in zip(*all_, strict=True)))


def test_a_head_that_turns_to_profile_and_moves_keeps_its_track():
    tracker = Tracker()
    for i in range(30):
        share = abs(np.cos(np.pi * i / 29)) + 0.02  # at i = 14 the eyes nearly coincide
        assert tracker.update(turned(faces((60 + 6 * i, 50)), share)) == [0]


@pytest.mark.parametrize("lost", [1, 4, 12])
def test_a_head_that_turns_away_comes_back_a_little_farther_off(lost):
    tracker = Tracker()
    tracker.update(faces((60, 50)))
    for _ in range(lost):
        tracker.update(faces())
    assert tracker.update(faces((60 + 10 + min(3 * lost, 25), 50))) == [0]


def test_a_face_far_off_or_of_another_size_is_not_the_one_that_was_lost():
    tracker = Tracker()
    tracker.update(faces((60, 50)))
    for _ in range(30):
        tracker.update(faces())
    assert tracker.update(faces((140, 50))) == [1]
    assert tracker.update(faces((60, 90), size=15)) == [2]


def test_the_one_who_turns_away_again_and_again_is_still_the_clips_face():
    """Another person is always there, smaller; the larger one is lost three times and moves."""
    other = faces((250, 50), size=36)
    frames = []
    for i in range(80):
        here = i % 20 < 12
        one = faces((40 + 1.2 * i, 60), size=66)
        frames.append(beside(one, other) if here else other)
    shown, centres = run(frames)
    assert centres[:, 0].max() < 180
    assert shown.tolist() == [i for i in range(80) if i % 20 < 12]


def test_who_leaves_and_returns_elsewhere_is_the_same_beside_another():
    def frame(i):
        other = faces((250, 50), size=40)
        if i < 30:
            return beside(faces((60, 60), size=60), other)
        return other if i < 45 else beside(faces((150, 80), size=60), other)

    shown, centres = run([frame(i) for i in range(80)])
    assert shown.tolist() == [i for i in range(80) if not 30 <= i < 45]
    assert centres[:, 0].max() < 200


def test_people_are_joined_over_cuts_and_parted_within_a_track():
    anna, bert = np.array([1, 0, 0.1], np.float32), np.array([0, 1, 0.1], np.float32)
    rows = [(0, 0, anna), (1, 0, anna), (2, 0, bert), (3, 0, bert), (3, 1, anna), (4, 2, anna)]
    frame, ids = (np.array([row[i] for row in rows]) for i in (0, 1))
    people = join_people(frame, ids, np.stack([row[2] for row in rows]), 0.5)
    same = people[:, None] == people
    expected = np.array([0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(same, expected[:, None] == expected)
    twins = join_people(np.zeros(2, int), np.arange(2), np.stack([anna, anna]), 0.5)
    assert twins[0] != twins[1]  # both in one frame
    assert len(join_people(frame[:0], ids[:0], np.zeros((0, 3), np.float32), 0.5)) == 0


def test_thousands_of_strangers_are_told_apart_in_seconds():
    n = 4000
    embedding = np.random.default_rng(0).normal(size=(n, 64)).astype(np.float32)
    started = process_time()
    people = join_people(np.arange(n), np.arange(n), embedding, 0.9)
    assert process_time() - started < 12
    assert len(set(people.tolist())) == n


def test_without_stand_ins_nobody_else_is_the_clips_face():
    frame, ids = np.arange(6), np.array([0, 0, 0, 1, 1, 0])
    boxes, score = np.tile(np.array([0, 0, 50, 50], np.float32), (6, 1)), np.ones(6, np.float32)
    for stand_ins, expected in ((True, [0, 1, 2, 3, 4, 5]), (False, [0, 1, 2, 5])):
        (rows,) = choose_sequences(frame, ids, boxes, score, "track", stand_ins)
        assert rows.tolist() == expected


def test_a_point_between_two_frames_that_are_far_apart_is_on_the_face_of_the_nearest():
    frame, ids, boxes, _ = linked([faces((50, 50), (200, 50))] * 4)
    point = FacePoint(1.6, 200, 50)  # frames are a second apart, as with --stride
    assert pointed_tracks([point], frame / 1.0, ids, boxes) == ([], [point])
    assert pointed_tracks([point], frame / 1.0, ids, boxes, step_s=1.0) == ([int(ids[1])], [])
    late = point._replace(time_s=4.1)
    assert pointed_tracks([late], frame / 1.0, ids, boxes, step_s=1.0) == ([], [late])


def pointed(frames, *points):
    """Link frames of 25 Hz and choose with points: (frames, x of the middles) and misses."""
    frame, track, boxes, scores = linked(frames)
    tracks, missed = pointed_tracks([FacePoint(*p) for p in points], frame / 25, track, boxes)
    (rows,) = choose_sequences(frame, track, boxes, scores, "track", pointed=tracks)
    return frame[rows].tolist(), ((boxes[rows, 0] + boxes[rows, 2]) / 2).tolist(), missed


def two_people(n=8):
    """One in the middle, who dominates, and one at the right, who comes in the third frame."""
    return [faces((100, 50)) if i < 2 else faces((100, 50), (200, 50)) for i in range(n)]


def test_the_face_that_was_pointed_at_is_the_clips_face():
    frames, middles, missed = pointed(two_people(), (0.2, 205, 45))
    assert (frames, set(middles), missed) == ([2, 3, 4, 5, 6, 7], {200.0}, [])
    assert set(pointed(two_people(), (0.2, 95, 55))[1]) == {100.0}
    assert set(pointed(two_people())[1]) == {100.0}


def test_somebody_else_who_was_pointed_at_fills_the_other_frames():
    clip = [faces((100, 50)), faces((100, 50), (300, 50)), faces((300, 50)), faces((300, 50))]
    frames, middles, _ = pointed(clip, (0.04, 300, 50), (0.0, 100, 50))
    assert (frames, middles) == ([0, 1, 2, 3], [100.0, 300.0, 300.0, 300.0])
    assert pointed(clip, (0.0, 100, 50), (0.04, 300, 50))[1] == [100.0, 100.0, 300.0, 300.0]
    _, track, boxes, _ = linked(clip)
    times = np.array([0, 0.04, 0.04, 0.08, 0.12])
    points = [FacePoint(0.04, 300, 50), FacePoint(0.08, 301, 50)]
    assert len(pointed_tracks(points, times, track, boxes)[0]) == 1  # one face, pointed at twice


@pytest.mark.parametrize("point", [(0.2, 150, 50), (1.0, 200, 50), (-1.0, 200, 50)])
def test_a_point_on_no_face_changes_nothing_and_is_told(point):
    frames, middles, missed = pointed(two_people(), point)
    assert (set(middles), missed) == ({100.0}, [FacePoint(*point)])
    assert len(frames) == 8
    no_boxes = np.zeros((0, 4), np.float32)
    assert pointed_tracks([FacePoint(*point)], np.zeros(0), np.zeros(0, int), no_boxes)[1]


def test_of_two_boxes_around_a_point_the_nearer_middle_is_meant():
    clip = [faces((100, 50), (125, 50)) for _ in range(3)]
    assert set(pointed(clip, (0.04, 117, 50))[1]) == {125.0}
    assert set(pointed(clip, (0.04, 108, 50))[1]) == {100.0}
