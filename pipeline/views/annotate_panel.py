"""What stands beside an annotated video: valence-arousal dial, bars of expressions and AUs.

Lengths are in units of the panel's scale: a unit is a pixel beside a small video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from facer.pipeline.views.canvas import drawable, shorten
from facer.pipeline.views.curves import CURVE_COLORS, au_meaning, drawn_columns
from facer.storage.schema import FEATURE_GROUPS, U8, ClipFeatures

WIDTH, MIN_HEIGHT = 320, 360

_FULL_HEIGHT = 540  # of a video from which on the panel grows with it
_MARGIN, _TEXT, _SMALL, _LARGE = 10, 12, 10, 15
_DIAL_TOP, _DIAL, _DIAL_BOTTOM = 46, 84, 140
_BAR_LEFT, _BAR_RIGHT = 172, 280
_ROW_HEIGHTS = (15, 22)
_GROUP_GAP, _FOOT = 7, 16
_FEW_UNITS, _MANY_UNITS = 6, 10
_TRAIL_S = 1.0  # of valence and arousal before the present
_PAPER, _INK, _FAINT, _EDGE, _GRID, _TRACK, _ALERT = (
    "#FFFFFF", "#111111", "#555555", "#777777", "#CCCCCC", "#EEEEEE", "#B34700",
)  # fmt: skip
_UNIT_COLOR = "#0072B2"
_NOTE, _RANGES = "* taught by weak labels", "dial −1 to 1, bars 0 to 1"


@dataclass(frozen=True)
class Moment:
    """What a frame shows: its time, and the row of the clip that was measured last."""

    time_s: float
    row: int
    measured: bool  # at this very frame; else the row is held from an earlier one


class Panel:
    """Draws one clip's panel, RGB uint8 (height_px, width_px, 3), moment by moment.

    Columns are found by name, and a group without columns is left out. The action units are
    the strongest of the clip (by their 95th percentile), the same in every frame.
    """

    def __init__(
        self, video_px: tuple[int, int], title: str, clip: ClipFeatures,
        feature_names: Sequence[str], weak_features: Sequence[str] = (),
    ) -> None:  # fmt: skip
        width, height = video_px
        self._scale = max(1.0, min(height / _FULL_HEIGHT, width / WIDTH))
        self.width_px = self._px(WIDTH)
        self.height_px = max(height, self._px(MIN_HEIGHT))
        self._clip = clip
        self._columns = {name: clip.features[:, i] for i, name in enumerate(feature_names)}
        self._weak = frozenset(weak_features)
        self._text, self._bold = self._font(_TEXT), self._font(_TEXT, "bold")
        self._tops, self._bar_height = self._place_bars()
        self._background = self._draw_background(title)

    def draw(self, moment: Moment) -> U8:
        """The panel at one moment; without a face it says so, and bars and dial are empty."""
        image = self._background.copy()
        draw = ImageDraw.Draw(image)
        self._draw_state(draw, moment)
        if not moment.measured:
            held = f"held from {self._clip.timestamp_s[moment.row]:.2f} s"
            self._write(draw, (_BAR_RIGHT + 30, 34), held, _FAINT, "rm")
        shown = {name for name, values in self._columns.items() if np.isfinite(values[moment.row])}
        if shown.issuperset(FEATURE_GROUPS["va"]):
            self._draw_dial(draw, moment.row)
        for name in shown.intersection(self._tops):
            self._draw_bar(draw, name, self._tops[name], float(self._columns[name][moment.row]))
        return np.asarray(image)

    def _px(self, units: float) -> int:
        return round(units * self._scale)

    def _font(self, units: float, weight: str = "normal") -> ImageFont.FreeTypeFont:
        path = findfont(FontProperties(family=["DejaVu Sans"], weight=weight))
        return ImageFont.truetype(path, self._px(units))

    def _write(
        self, draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, color: str = _INK,
        anchor: str = "lm", font: ImageFont.FreeTypeFont | None = None,
    ) -> None:  # fmt: skip
        x, y = at
        draw.text((self._px(x), self._px(y)), text, color, font or self._text, anchor)

    def _box(
        self, draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float],
        fill: str | None, outline: str | None = None,
    ) -> None:  # fmt: skip
        left, top, right, bottom = (self._px(value) for value in box)
        draw.rectangle((left, top, right, bottom), fill, outline, self._px(1))

    def _has_dial(self) -> bool:
        return all(name in self._columns for name in FEATURE_GROUPS["va"])

    def _place_bars(self) -> tuple[dict[str, float], float]:
        """Tops of the bars by feature, and the height of their rows."""
        expressions = drawn_columns(self._columns).get("expr", [])
        top = _DIAL_BOTTOM if self._has_dial() else _DIAL_TOP
        room = self.height_px / self._scale - top - _GROUP_GAP - _FOOT
        fits = int(room / _ROW_HEIGHTS[0]) - len(expressions)
        units = self._strongest_units(_MANY_UNITS if fits >= _MANY_UNITS else _FEW_UNITS)
        count = max(1, len(expressions) + len(units))
        height = float(np.clip(room / count, *_ROW_HEIGHTS))
        tops: dict[str, float] = {}
        for place, name in enumerate((*expressions, *units)):
            tops[name] = top + place * height + (_GROUP_GAP if name in units else 0)
        return tops, height

    def _strongest_units(self, count: int) -> list[str]:
        names = drawn_columns(self._columns).get("au", [])
        if names and self._clip.valid.any():
            values = np.stack([self._columns[name][self._clip.valid] for name in names], axis=-1)
            order = np.argsort(-np.quantile(np.nan_to_num(values), 0.95, axis=0), kind="stable")
            names = sorted(names[i] for i in order[:count])
        return names[:count]

    def _draw_background(self, title: str) -> Image.Image:
        """All that stays the same: the title, the empty dial, the empty bars and their names."""
        image = Image.new("RGB", (self.width_px, self.height_px), _PAPER)
        draw = ImageDraw.Draw(image)
        heading = drawable(shorten(" ".join(title.split()), 38))
        room, wide = self.width_px - 2 * self._px(_MARGIN), self._bold.getlength(heading)
        fitting = self._font(_TEXT * min(1, room / wide), "bold") if wide else self._bold
        self._write(draw, (_MARGIN, 16), heading, font=fitting)
        if self._has_dial():
            self._draw_empty_dial(draw)
        for name, top in self._tops.items():
            middle = top + self._bar_height / 2
            words = au_meaning(name)
            starred = self._starred(name)
            label = starred if not words else f"{words}  {starred.upper()}"
            self._write(draw, (_BAR_LEFT - 6, middle), label, anchor="rm")
            self._box(draw, self._bar(top, 1.0), _TRACK)
        foot, small = self.height_px / self._scale - 9, self._font(_SMALL)
        if any(name in self._weak for name in (*self._tops, *FEATURE_GROUPS["va"])):
            self._write(draw, (_MARGIN, foot), _NOTE, _FAINT, font=small)
        self._write(draw, (WIDTH - _MARGIN, foot), _RANGES, _FAINT, "rm", small)
        return image

    def _starred(self, name: str) -> str:
        return f"{name}*" if name in self._weak else name

    def _bar(self, top: float, value: float) -> tuple[float, float, float, float]:
        right = _BAR_LEFT + (_BAR_RIGHT - _BAR_LEFT) * min(max(value, 0.0), 1.0)
        return _BAR_LEFT, top + 2, right, top + self._bar_height - 2

    def _draw_bar(self, draw: ImageDraw.ImageDraw, name: str, top: float, value: float) -> None:
        self._box(draw, self._bar(top, value), CURVE_COLORS.get(name, _UNIT_COLOR), _EDGE)
        self._write(draw, (_BAR_RIGHT + 5, top + self._bar_height / 2), f"{value:.2f}")

    def _draw_state(self, draw: ImageDraw.ImageDraw, moment: Moment) -> None:
        """Time, and whether there is a face."""
        clip, row = self._clip, moment.row
        self._write(draw, (_MARGIN, 34), f"{moment.time_s:.2f} s")
        if not clip.valid[row]:
            self._write(draw, (80, 34), "no face", _ALERT, font=self._font(_LARGE, "bold"))
            return
        faces, score = int(clip.n_faces[row]), float(clip.det_score[row])
        text = f"face {score:.2f}" + (f", 1 of {faces}" if faces > 1 else "")
        self._write(draw, (80, 34), text)

    def _draw_empty_dial(self, draw: ImageDraw.ImageDraw) -> None:
        middle_x, middle_y, radius = *self._dial_middle(), _DIAL / 2
        square = (middle_x - radius, middle_y - radius, middle_x + radius, middle_y + radius)
        draw.ellipse([self._px(v) for v in square], None, _GRID, self._px(1))
        for line in (
            (square[0], middle_y, square[2], middle_y),
            (middle_x, square[1], middle_x, square[3]),
        ):
            draw.line([self._px(v) for v in line], _GRID, self._px(1))
        self._box(draw, square, None, _EDGE)
        for name, arrow, y in zip(FEATURE_GROUPS["va"], "→↑", (-12, 12), strict=True):
            at = (_BAR_LEFT - 46, middle_y + y)
            self._write(draw, at, f"{arrow} {self._starred(name)}")

    def _dial_middle(self) -> tuple[float, float]:
        return _MARGIN + _DIAL / 2, _DIAL_TOP + _DIAL / 2

    def _draw_dial(self, draw: ImageDraw.ImageDraw, row: int) -> None:
        """The present as a dot, the last second as a trail, both as numbers."""
        times, (middle_x, middle_y) = self._clip.timestamp_s, self._dial_middle()
        since = int(np.searchsorted(times, times[row] - _TRAIL_S))
        span = slice(since, row + 1)
        valence, arousal = (self._columns[name][span] for name in FEATURE_GROUPS["va"])
        places = np.clip(np.stack([valence, arousal], axis=-1), -1, 1) * _DIAL / 2
        points = [
            (self._px(middle_x + right), self._px(middle_y - up))
            for right, up in places[np.isfinite(places).all(axis=1)].tolist()
        ]
        draw.line(points, CURVE_COLORS["valence"], self._px(1.5), joint="curve")
        draw.circle(points[-1], self._px(5), CURVE_COLORS["arousal"], _INK, self._px(1))
        for values, y in ((valence, -12), (arousal, 12)):
            text = f"{values[-1]:+z.2f}".replace("-", "−")
            self._write(draw, (_BAR_RIGHT - 60, middle_y + y), text)
