from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from facer.stages.synthesis.plan import EMOTIONS, PlannedEvent, SynthesisConfig, plan_clips

CONFIG = SynthesisConfig()


def test_same_seed_same_plans_another_seed_others():
    assert plan_clips(CONFIG) == plan_clips(CONFIG)
    assert plan_clips(CONFIG) != plan_clips(replace(CONFIG, seed=1))


def test_ids_are_unique_and_every_split_shows_every_emotion():
    plans = plan_clips(CONFIG)
    assert len({plan.clip_id for plan in plans}) == CONFIG.n_clips
    for split, n in (("train", 16), ("val", 4), ("test", 8)):
        chosen = [plan for plan in plans if plan.split == split]
        assert len(chosen) == n
        for emotion in EMOTIONS:
            values = [plan.intensities()[emotion] for plan in chosen]
            assert max(values) >= 0.5
            assert min(values) == 0


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_the_peaks_of_the_envelopes(seed):
    for plan in plan_clips(replace(CONFIG, seed=seed)):
        labels = plan.intensities()
        peaks = {event.emotion: event.peak for event in plan.events}
        for emotion in EMOTIONS:
            assert 0 <= labels[emotion] <= 1
            assert labels[emotion] == pytest.approx(peaks.get(emotion, 0.0), abs=0.02)


def test_no_person_stands_for_an_emotion():
    """Each person shows nothing and every emotion about equally often in the training clips."""
    shown = Counter[tuple[str, str]]()
    for plan in plan_clips(CONFIG):
        if plan.split == "train":
            labels = plan.intensities()
            peak, strongest = max((value, emotion) for emotion, value in labels.items())
            shown[plan.face, strongest if peak >= 0.5 else "nothing"] += 1
    assert len(shown) == 16
    assert set(shown.values()) == {1}


def test_apexes_of_two_emotions_do_not_meet():
    for plan in plan_clips(SynthesisConfig(n_clips=60)):
        if len(plan.events) == 2:
            first, second = sorted(plan.events, key=lambda event: event.start_s)
            assert first.start_s + first.rise_s + first.hold_s <= second.start_s
            assert second.start_s + second.rise_s + second.hold_s <= plan.n_frames / plan.fps


def test_strength_rises_holds_and_falls():
    event = PlannedEvent("amusement", peak=0.8, start_s=1.0, rise_s=0.5, hold_s=1.0, fall_s=0.5)
    times = np.array([0.9, 1.0, 1.25, 1.5, 2.5, 2.75, 3.0, 3.1])
    np.testing.assert_allclose(event.strength(times), [0, 0, 0.4, 0.8, 0.8, 0.4, 0, 0], atol=1e-12)


def test_lengths_stay_in_the_configured_range():
    config = SynthesisConfig(n_clips=40, min_frames=3, max_frames=9)
    lengths = {plan.n_frames for plan in plan_clips(config)}
    assert min(lengths) >= 3
    assert max(lengths) <= 9
    assert len(lengths) > 1
