from dataclasses import replace

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from facer.pipeline.views.canvas import drawable, shorten
from facer.pipeline.views.clip_picture import clip_picture, draw_clip
from facer.pipeline.views.curves import drawn_columns, strip_frames
from facer.pipeline.views.report.clip_page import clip_curves
from facer.pipeline.views.score_pictures import au_bars_picture, confusion_picture
from facer.storage import (
    AU_NAMES,
    EXPRESSIONS,
    FEATURE_NAMES,
    ClipFeatures,
    FacerError,
    FeatureStore,
    Provenance,
    Record,
)
from tests.pipeline.views.conftest import made_clip

ODD = '$x_1$ [a] <script> & "b" \\frac \n \udcff 表 %s'


def draw(path, clip, **options):
    frames = strip_frames(clip)
    crops = np.random.default_rng(1).integers(0, 255, (len(frames), 112, 112, 3), np.uint8)
    clip_picture(path, clip, FEATURE_NAMES, frames, crops, **({"title": "a clip"} | options))
    return read(path)


def read(path):
    assert path.read_bytes().startswith(b"\x89PNG")
    image = cv2.imread(str(path))
    assert image is not None
    assert image.std() > 10
    return image


def test_clip_picture_is_readable_at_laptop_width(tmp_path):
    image = draw(tmp_path / "new" / "clip.png", made_clip(60, gaps=[(10, 20)]))
    assert 1000 < image.shape[1] < 1600
    assert 600 < image.shape[0] < 1200


@pytest.mark.parametrize(
    "clip",
    [
        made_clip(1),
        made_clip(2),
        made_clip(1, gaps=[(0, 1)]),
        made_clip(30, gaps=[(0, 30)]),
        made_clip(700),
    ],
    ids=["one frame", "two frames", "one frame without face", "no face", "long"],
)
def test_extreme_clips_are_drawn(tmp_path, clip):
    draw(tmp_path / "clip.png", clip)


@pytest.fixture
def drawn_texts(monkeypatch):
    """Texts of the figures that are saved, none of which is read as a formula."""
    found: list[str] = []
    save = Figure.savefig

    def saved(figure, *args, **options):
        texts = [text for text in figure.findobj(Text) if text.get_visible()]
        assert not any(text.get_parse_math() for text in texts)
        found.extend(text.get_text() for text in texts)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    return found


def test_odd_ids_and_names_are_drawn_as_they_are(tmp_path, drawn_texts):
    shown = ODD.replace("\udcff", "□").replace("表", "□")
    draw(tmp_path / "clip.png", made_clip(20), title=ODD * 20, subtitle=ODD)
    assert shown in drawn_texts
    assert any(text.startswith(shown) and "…" in text for text in drawn_texts)
    confusion_picture(tmp_path / "m.png", np.eye(2, dtype=int), (ODD[:16], "$\\bad{$"), "title")
    assert {shown[:16], "$\\bad{$"} < set(drawn_texts)
    au_bars_picture(tmp_path / "b.png", (ODD,), [0.9], [0.5], [3], "title")
    assert any(shown.upper() in text for text in drawn_texts)
    for name in ("m.png", "b.png"):
        read(tmp_path / name)


def test_a_title_of_wide_letters_ends_in_the_picture(tmp_path):
    drawn = draw(tmp_path / "clip.png", made_clip(20), title="W" * 300, subtitle="W" * 300)
    assert (drawn[:75, -4:] == 255).all()
    assert (drawn[:75, -300:] != 255).any()


def test_weak_names_change_the_picture(tmp_path):
    clip = made_clip(30)
    plain = draw(tmp_path / "a.png", clip)
    starred = draw(tmp_path / "b.png", clip, weak_features=("valence", "au06"))
    assert (plain != starred).any()
    below = slice(plain.shape[0] - 40, None)
    assert (plain[below, :600] == 255).all()
    assert (starred[below, :600] != 255).any()


def test_a_gap_changes_the_picture_where_it_is(tmp_path):
    clip = made_clip(100)
    valid = clip.valid.copy()
    valid[50:] = False
    gap = ClipFeatures(**{**vars(clip), "valid": valid})
    whole, half = draw(tmp_path / "a.png", clip), draw(tmp_path / "b.png", gap)
    rows = slice(200, 300)  # of the valence-arousal panel
    changed = (whole[rows] != half[rows]).any(axis=(0, 2))
    assert changed[700:1050].all()
    assert not changed[300:550].any()


def test_groups_without_columns_are_left_out(tmp_path):
    clip = made_clip(20)
    frames = strip_frames(clip)
    crops = np.zeros((len(frames), 112, 112, 3), np.uint8)
    path = tmp_path / "clip.png"
    clip_picture(path, clip, ["x", *FEATURE_NAMES[1:9], *["y"] * 17], frames, crops, title="t")
    assert read(path).shape[0] < draw(tmp_path / "all.png", clip).shape[0] - 200


def test_strip_frames_are_valid_and_spread_over_time():
    clip = made_clip(100, gaps=[(20, 41)])
    frames = strip_frames(clip)
    assert clip.valid[frames].all()
    assert (np.diff(frames) > 0).all()
    assert 7 <= len(frames) <= 9
    assert frames[0] < 10
    assert frames[-1] > 90
    assert len(strip_frames(made_clip(30, gaps=[(0, 30)]))) == 0
    assert strip_frames(made_clip(1)).tolist() == [0]


def test_wrong_input_is_refused(tmp_path):
    path = tmp_path / "clip.png"
    clip = made_clip(10)
    with pytest.raises(FacerError, match="without frames"):
        draw(path, made_clip(0))
    with pytest.raises(FacerError, match="matrix"):
        confusion_picture(path, np.eye(3, dtype=int), ("a", "b"), "t")
    (tmp_path / "file").write_text("")
    with pytest.raises(FacerError, match="cannot write"):
        draw(tmp_path / "file" / "clip.png", clip)
    with pytest.raises(FacerError, match=r"found the ending '\.jpg', expected \.png"):
        draw(tmp_path / "clip.jpg", clip)


def test_scores_are_drawn(tmp_path):
    matrix = np.random.default_rng(0).integers(0, 900, (7, 7))
    matrix[2] = 0  # a class without samples
    confusion_picture(tmp_path / "m.png", matrix, EXPRESSIONS, "FER+", "n = 3,000")
    auc = np.linspace(0.5, 1, 17)
    auc[4] = np.nan
    au_bars_picture(
        tmp_path / "b.png", AU_NAMES, auc.tolist(), (auc - 0.2).tolist(), [10] * 17, "units"
    )
    for name in ("m.png", "b.png"):
        assert read(tmp_path / name).shape[1] > 600


def test_text_helpers():
    assert shorten("abcdefgh", 8) == "abcdefgh"
    assert shorten("abcdefghi", 8) == "abc…fghi"
    assert drawable("a\udcff表$") == "a□□$"


def test_columns_of_other_networks_are_drawn_with_their_kind(tmp_path):
    names = ["valence", "contempt", "fear", "au12", "au14_left", "au12_intensity", "gaze_yaw"]
    assert drawn_columns(names) == {
        "va": ["valence"], "expr": ["fear", "contempt"], "au": ["au12", "au14_left"]
    }  # fmt: skip
    clip = made_clip(30)
    clip = replace(clip, features=clip.features[:, : len(names)])
    clip_picture(
        tmp_path / "c.png",
        clip,
        names,
        np.zeros(0, int),
        np.zeros((0, 0, 0, 3), np.uint8),
        title="a clip",
    )
    read(tmp_path / "c.png")


def test_intensities_are_drawn_on_their_own_scale(tmp_path, drawn_texts):
    """Seen: an import's units of 0 to 5 were drawn up to 1, and called probabilities."""
    made = Provenance("openface-2", "", "openface-2", "", settings={"au_scale": "intensity 0 to 5"})
    store = FeatureStore.create(tmp_path / "of.zarr", made)
    clip = made_clip(20)
    clip = replace(clip, features=np.full_like(clip.features, 0.5))
    low, high = clip.features.copy(), clip.features.copy()
    au = FEATURE_NAMES.index("au12")
    low[:, au], high[:, au] = 1.5, 4.5
    store.write_part([
        (Record(name, "ok", 20, n_valid=20, fps=10.0), replace(clip, features=values))
        for name, values in (("low", low), ("high", high))
    ])  # fmt: skip
    for name in ("low", "high"):
        draw_clip(store, name, None, tmp_path / f"{name}.png")
    assert "intensity" in drawn_texts
    assert "probability" not in drawn_texts
    assert (read(tmp_path / "low.png") != read(tmp_path / "high.png")).any()
    page = clip_curves(clip, store)
    assert (page["auUnit"], page["auHigh"]) == ("intensity", 5.0)
