from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facer.pipeline.views.report import survey
from facer.pipeline.views.report.survey import Histogram, histogram, merged, survey_store
from facer.pipeline.views.view.config import ViewConfig
from facer.pipeline.views.view.session import ViewSession
from facer.stages.summary.config import SummaryConfig
from facer.storage import FeatureStore


@pytest.fixture
def store(make_store, clip_of):
    good, half = clip_of(40), clip_of(40, gaps=((0, 20),))
    sure = replace(half, det_score=np.where(half.valid, 1.0, np.nan).astype(np.float32))
    return make_store(
        {"a-good": good, "b-half": half, "c-sure": sure, "d-none": clip_of(9, gaps=((0, 9),)),
         "e-broken": "empty file"}
    )  # fmt: skip


def test_figures_of_each_clip(store):
    found = survey_store(store)
    assert found.quality == pytest.approx([1, 0.5, 0.5, 0, np.nan], nan_ok=True)
    assert found.score == pytest.approx([0.9, 0.9, 1.0, np.nan, np.nan], nan_ok=True, rel=1e-6)
    assert found.face_px == pytest.approx([50, 50, 50, np.nan, np.nan], nan_ok=True)
    assert found.most_faces == pytest.approx([1, 1, 1, 0, np.nan], nan_ok=True)
    assert found.duration_s == pytest.approx([1.6, 1.6, 1.6, 0.36, np.nan], nan_ok=True)
    worst = [found.records[place].clip_id for place in found.worst_first()]
    assert worst == ["e-broken", "d-none", "b-half", "c-sure", "a-good"]


def test_the_worst_clips_are_those_of_a_view(make_store, clip_of, entry_of):
    store = make_store({"c-unknown": clip_of(40, gaps=((0, 10),)), "d-broken": "empty file"})
    for clip_id, quality, gap in (("a", 0.9, 10), ("b", 0.5, 0)):
        record, clip = entry_of(clip_id, clip_of(40, gaps=((0, gap),)))
        store.write_part([(replace(record, quality=quality), clip)])
    found = survey_store(store)
    worst = [found.records[place].clip_id for place in found.worst_first()]
    assert worst == ["d-broken", "b", "a", "c-unknown"]
    assert ViewSession(ViewConfig(store.path), SummaryConfig()).order == worst


def test_histograms_count_the_frames_with_a_face(store):
    found = survey_store(store)
    assert found.score_histogram.counts.sum() == found.face_histogram.counts.sum() == 80
    (bar,) = np.flatnonzero(found.face_histogram.counts)
    assert found.face_histogram.edges[bar] <= 50 < found.face_histogram.edges[bar + 1]


def test_blocks_of_a_part_give_the_same_figures(store, monkeypatch):
    whole = survey_store(store)
    monkeypatch.setattr(survey, "BLOCK_FRAMES", 50)
    pieces = survey_store(FeatureStore.open(store.path))
    assert np.array_equal(whole.quality, pieces.quality, equal_nan=True)
    assert np.array_equal(whole.face_histogram.counts, pieces.face_histogram.counts)


def test_rows_that_a_later_part_replaced_are_not_counted(store, clip_of, entry_of):
    store.write_part([entry_of("b-half", clip_of(10))])
    found = survey_store(FeatureStore.open(store.path))
    assert found.quality[1] == 1
    assert found.score_histogram.counts.sum() == 40 + 10 + 20


def test_faces_without_scores_count_as_certain(make_store, clip_of):
    clip = clip_of(10, gaps=((0, 5),))
    found = survey_store(make_store({"a": replace(clip, det_score=np.full(10, np.nan, "f4"))}))
    assert found.quality[0] == 0.5
    assert np.isnan(found.score[0])


@given(st.lists(st.floats(0, 1e6) | st.just(np.nan), max_size=50))
def test_every_finite_value_is_in_a_bar_or_above(values):
    for step in (None, 1.0):
        found = histogram(np.array(values, np.float64), step)
        assert found.counts.sum() + found.above == np.isfinite(values).sum()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=300))
def test_merging_bars_loses_nothing(counts):
    fine = Histogram(np.arange(len(counts) + 1.0), np.array(counts))
    coarse = merged(fine)
    assert coarse.counts.sum() == sum(counts)
    assert len(coarse.counts) <= 40
    assert len(coarse.edges) == len(coarse.counts) + 1
