"""The panel: bars as long as their values, a dot where valence and arousal are, no face said."""

import numpy as np
import pytest
from PIL import ImageColor

from facer.pipeline.views.annotate_panel import Moment, Panel
from facer.pipeline.views.curves import CURVE_COLORS
from facer.storage import AU_NAMES, FEATURE_NAMES, ClipFeatures

ALERT = "#B34700"
UNIT = "#0072B2"


def clip_of(rows, names=FEATURE_NAMES, n_faces=1):
    """A clip at 10 Hz of the given values by name; None is a frame without a face."""
    features = np.zeros((len(rows), len(names)), np.float32)
    for index, values in enumerate(rows):
        if values is None:
            features[index] = np.nan
        else:
            features[index, [names.index(name) for name in values]] = list(values.values())
    valid = np.array([values is not None for values in rows])
    return ClipFeatures(
        features=features,
        timestamp_s=np.arange(len(rows)) / 10,
        valid=valid,
        det_score=np.where(valid, 0.9, np.nan).astype(np.float32),
        bbox_px=np.zeros((len(rows), 4), np.float32),
        keypoints_px=np.zeros((len(rows), 5, 2), np.float32),
        n_faces=np.full(len(rows), n_faces, np.int16),
    )


def draw(rows, row=0, size=(320, 240), names=FEATURE_NAMES, title="a clip", weak=(), **options):
    clip = clip_of(rows, names, **options)
    panel = Panel(size, title, clip, names, weak)
    image = panel.draw(Moment(row / 10, row, True))
    assert image.shape == (panel.height_px, panel.width_px, 3)
    assert image.dtype == np.uint8
    return image


def places(image, color):
    """Rows and columns of the pixels of exactly this colour."""
    return np.nonzero((image == ImageColor.getrgb(color)).all(axis=2))


def bar_width(image, color):
    columns = places(image, color)[1]
    return columns.max() - columns.min() if len(columns) else 0


@pytest.mark.parametrize("size", [(202, 360), (640, 360), (1920, 1080)])
def test_bars_are_as_long_as_their_values(size):
    widths = [
        bar_width(draw([{"happiness": value}], size=size), CURVE_COLORS["happiness"])
        for value in (0.25, 0.5, 1.0)
    ]
    np.testing.assert_allclose(np.array(widths) / widths[-1], [0.25, 0.5, 1.0], atol=0.04)
    assert widths[-1] > 100


def test_values_outside_their_range_stay_in_the_panel():
    wide = draw([{"happiness": 5.0, "anger": -3.0}])
    full = draw([{"happiness": 1.0}])
    yellow = CURVE_COLORS["happiness"]
    assert bar_width(wide, yellow) == bar_width(full, yellow)


@pytest.mark.parametrize(("valence", "arousal"), [(0.0, 0.0), (0.8, 0.5), (-0.9, -0.7)])
def test_the_dot_is_where_valence_and_arousal_are(valence, arousal):
    image = draw([{"valence": valence, "arousal": arousal, "neutral": 1.0}])
    y, x = places(image, CURVE_COLORS["arousal"])
    assert x.mean() == pytest.approx(52 + 42 * valence, abs=1.5)
    assert y.mean() == pytest.approx(88 - 42 * arousal, abs=1.5)


def test_a_frame_without_a_face_says_so_and_shows_no_values():
    rows = [{"happiness": 0.8, "valence": 0.5, "au12": 0.9}, None]
    with_face, without = draw(rows, 0), draw(rows, 1)
    assert len(places(with_face, ALERT)[0]) == 0
    assert len(places(without, ALERT)[0]) > 20
    for color in (CURVE_COLORS["happiness"], CURVE_COLORS["arousal"], UNIT):
        assert len(places(with_face, color)[0]) > 0
        assert len(places(without, color)[0]) == 0


def test_the_strongest_units_of_the_clip_stay_from_frame_to_frame():
    strong = dict.fromkeys(AU_NAMES[10:16], 0.9)
    rows = [strong, dict.fromkeys(AU_NAMES, 0.1)]
    first, second = draw(rows, 0), draw(rows, 1)
    count = len(np.unique(places(first, UNIT)[0] // 15))
    assert count >= 6
    assert bar_width(second, UNIT) == pytest.approx(bar_width(first, UNIT) / 9, abs=3)


def test_a_held_moment_says_from_when():
    clip = clip_of([{"neutral": 1.0}])
    panel = Panel((320, 240), "a clip", clip, FEATURE_NAMES)
    assert (panel.draw(Moment(0.3, 0, True)) != panel.draw(Moment(0.3, 0, False))).any()


def test_several_faces_and_weak_columns_are_told():
    rows = [{"neutral": 1.0}]
    assert (draw(rows, n_faces=1) != draw(rows, n_faces=2)).any()
    for name in ("valence", "anger", "au01"):
        columns = np.nonzero((draw(rows) != draw(rows, weak=[name])).any(axis=(0, 2)))[0]
        assert columns.min() < 166  # beside the name, not only in the footnote
        assert columns.max() > 120


def test_a_value_that_is_missing_beside_others_is_left_out():
    image = draw([{"valence": 0.5, "arousal": np.nan, "happiness": np.nan, "au12": 0.5}])
    assert bar_width(image, UNIT) > 0
    assert bar_width(image, CURVE_COLORS["happiness"]) == 0
    assert len(places(image, CURVE_COLORS["arousal"])[0]) == 0


@pytest.mark.parametrize("names", [("x",), ("happiness", "x"), ("au12", "au01"), ("valence",)])
def test_columns_that_are_not_there_are_left_out(names):
    image = draw([{names[0]: 0.5}], names=names)
    assert bool(len(places(image, CURVE_COLORS["happiness"])[0])) == ("happiness" in names)
    assert bool(len(places(image, UNIT)[0])) == ("au12" in names)


@pytest.mark.parametrize("size", [(16, 16), (2000, 100), (202, 360), (1080, 1920), (3840, 2160)])
def test_a_panel_is_never_too_small_to_read_nor_wider_than_a_large_video(size):
    panel = Panel(size, "a" * 300, clip_of([None]), FEATURE_NAMES)
    assert panel.width_px >= 320
    assert panel.height_px >= max(360, size[1])
    assert panel.width_px <= max(320, size[0])


def test_a_title_of_wide_letters_ends_in_the_panel():
    drawn = draw([None], title="W" * 40)
    assert (drawn[:28, -4:] == 255).all()
    assert (drawn[:28, -30:] != 255).any()


def test_odd_titles_are_drawn():
    assert draw([{"neutral": 1.0}], title='$x_1$ <b> \n \udcff 表 "').std() > 10
