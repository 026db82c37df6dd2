"""The sheet that every picture is drawn on: title, fonts, and names taken as they are.

matplotlib is imported on first use and without pyplot, so no display is needed and no global
state is left.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facer.storage.errors import OptionError
from facer.storage.files.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT = "DejaVu Sans"  # comes with matplotlib
_STYLE: Any = {
    "text.parse_math": False,
    "font.family": _FONT,
    "font.size": 10,
    "axes.edgecolor": "#999999",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 110,
    "hatch.color": "#BBBBBB",
}


@contextmanager
def canvas(
    path: str | Path, size_in: tuple[float, float], title: str, subtitle: str
) -> Iterator[Figure]:
    """A figure with a title, written to ``path`` as a PNG when the block ends.

    No text in it is read as a formula. Raises ``FacerError`` when ``path`` cannot be written or
    has another ending than .png.
    """
    if Path(path).suffix.lower() != ".png":
        raise OptionError(f"{path}: found the ending {Path(path).suffix!r}, expected .png")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    width, height = size_in
    with rc_context(_STYLE):
        figure = Figure(figsize=size_in)
        limit = int(width * 9)
        heading = drawable(shorten(title, limit))
        under = drawable(shorten(subtitle, int(limit * 1.5)))
        for y_in, size, color, text in (
            (0.33, 14.0, "black", heading),
            (0.58, 9.0, "#555555", under),
        ):
            line = figure.text(0.2 / width, 1 - y_in / height, text, size=size, color=color)
            room = (1 - 0.6 / width) * figure.bbox.width
            while (wide := line.get_window_extent().width) > room:  # of wide letters, fewer fit
                size *= 0.99 * room / wide
                line.set_fontsize(size)
        yield figure
        png = io.BytesIO()
        figure.savefig(png, format="png")
        write_atomic(path, png.getvalue())


def shorten(text: str, limit: int) -> str:
    """The text, with an ellipsis in its middle when longer than ``limit`` characters.

    >>> shorten("2024/session-17/subject-03/take-2", 17)
    '2024/ses…3/take-2'
    """
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def drawable(text: str) -> str:
    """The text, with a box for each character but newline that the font lacks."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(_FONT))
    return "".join(c if c == "\n" or font.get_char_index(ord(c)) else "□" for c in text)
