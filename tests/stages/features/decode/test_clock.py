"""Times rise, whatever the container says, and what was odd is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facer.stages.features.decode.clock import Clock


def run(times, fps=25.0, joins=False):
    clock = Clock(fps, joins)
    found = [clock.time(a, b) for a, b in zip(times, [*times[1:], None], strict=True)]
    return [round(t, 6) for t in found], clock.notes(len(times))


def test_good_times_are_kept_however_uneven():
    times = [0.0, 0.04, 0.2, 0.21, 90.0, 90.04]
    assert run(times) == (times, [])
    assert run([2.0, 2.04]) == ([2.0, 2.04], [])


@pytest.mark.parametrize(
    ("times", "expected", "note"),
    [
        ([None] * 3, [0, 0.04, 0.08], "no frame has a time: set by the frame rate, 25 frames/s"),
        ([0, None, 0.08], [0, 0.04, 0.08], "1 frames have no time: set by the frame rate, "),
        ([None, None, 0, 0.04], [0, 0.04, 0.08, 0.12], "2 frames have no time: set by the frame"),
        ([None, 1, 1.04], [0, 1, 1.04], "1 frames have no time: set by the frame"),
        ([0, 0.04, 0.04, 0.08], [0, 0.04, 0.06, 0.08], "1 frames have a repeated time"),
        ([0, 0.04, 0.04], [0, 0.04, 0.08], "1 frames have a repeated time"),
        ([0, 0, 0, 0, 0.16], [0, 0.04, 0.08, 0.12, 0.16], "3 frames have a repeated time"),
        ([0, 0.04, 0.01, 0.12], [0, 0.04, 0.08, 0.12], "1 frames have a backward time"),
        ([0, 0.04, 3600, 0.12], [0, 0.04, 0.08, 0.12], "1 frames have a forward time"),
        ([3600, 0.04, 0.08], [0, 0.04, 0.08], "1 frames have a forward time"),
        ([0, -20, 0.08], [0, 0.04, 0.08], "1 frames have a backward time"),
        ([0, -100, -99.96, -99.92], [0, 0.04, 0.08, 0.12], "its clock starts again (1 times)"),
        ([0, 1.7e9, 1.7e9 + 0.04], [0, 1.7e9, 1.7e9 + 0.04], "1 pauses of more than an hour"),
        ([0, 0.04, 0, 0.04], [0, 0.04, 0.08, 0.12], r"its clock starts again \(1 times\): goes on"),
        ([95443.7, 95443.74, 0.06, 0.1], [95443.7, 95443.74, 95443.78, 95443.82], "starts again"),
    ],
)
def test_odd_times_are_set_and_counted(times, expected, note):
    found, notes = run(times)
    assert found == expected
    assert len(notes) == 1
    assert note.replace("\\", "") in notes[0]


def test_frames_of_one_millisecond_are_kept_and_closer_ones_are_set_apart_and_said():
    times = [n / 1000 for n in range(100)]
    assert run(times, 1000.0) == (times, [])
    found, notes = run([0, 0.0005, 0.001, 0.0015, 0.04], 2000.0)
    assert found == [0, 0.001, 0.002, 0.003, 0.04]
    assert notes == ["3 frames come less than 1 ms after the last: set 1 ms apart"]


def test_a_step_ahead_is_another_clock_where_segments_are_joined_and_a_pause_elsewhere():
    assert run([0, 0.04, 3600, 0.12], joins=True)[0] == [0, 0.04, 0.08, 0.12]
    times = [0, 0.04, 3600.0, 3600.04]
    assert run(times) == (times, [])
    assert run(times, joins=True)[0] == [0, 0.04, 0.08, 0.12]


@pytest.mark.parametrize("fps", [0.0, float("nan"), -1.0, 1e9])
def test_a_frame_rate_that_nobody_believes_is_25(fps):
    assert run([None, None], fps)[0] == [0, 0.04]


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1), st.booleans())
def test_times_always_rise(times, joins):
    clock = Clock(25.0, joins)
    found = [clock.time(a, b) for a, b in zip(times, [*times[1:], None], strict=True)]
    assert np.all(np.diff(found) > 0)
