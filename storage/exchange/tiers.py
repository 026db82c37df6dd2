"""Stretches of time on tiers, for programs in which people code video: ELAN and Praat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import count, pairwise
from typing import NamedTuple
from xml.etree import ElementTree as Xml

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Stretch(NamedTuple):
    """A stretch of a clip and what is said of it."""

    start_s: float
    stop_s: float
    text: str


class Tier(NamedTuple):
    """Stretches of one kind, by time; they do not overlap."""

    name: str
    stretches: Sequence[Stretch]


class Linked(NamedTuple):
    """The files beside an annotation document, relative to it; "" for none."""

    video: str = ""
    curves: str = ""


def apart(stretches: Sequence[Stretch], step_s: float) -> list[Stretch]:
    """Return stretches on multiples of ``step_s`` that are not empty and do not overlap.

    >>> apart([Stretch(0.0104, 0.5, "a"), Stretch(0.4996, 0.6, "b")], 0.001)
    [Stretch(start_s=0.01, stop_s=0.5, text='a'), Stretch(start_s=0.5, stop_s=0.6, text='b')]
    """
    found: list[Stretch] = []
    before = 0
    for one in sorted(stretches):
        start = max(before, round(one.start_s / step_s))
        stop = round(one.stop_s / step_s)
        if stop > start:
            found.append(Stretch(round(start * step_s, 9), round(stop * step_s, 9), one.text))
            before = stop
    return found


def split(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return stretches that may overlap as ones that do not, each with the texts of all there.

    >>> [tuple(one) for one in split([Stretch(0, 3, "a"), Stretch(2, 4, "b")])]
    [(0, 2, 'a'), (2, 3, 'a; b'), (3, 4, 'b')]
    """
    ends = sorted({end for one in stretches for end in one[:2]})
    found = []
    for start, stop in pairwise(ends):
        texts = [one.text for one in stretches if one.start_s <= start and stop <= one.stop_s]
        if texts:
            found.append(Stretch(start, stop, "; ".join(dict.fromkeys(texts))))
    return found


def elan(tiers: Sequence[Tier], linked: Linked, made_ns: int) -> bytes:
    """Return an ELAN annotation document (EAF 3.0), times in milliseconds.

    ``made_ns``: the time it is dated with, in nanoseconds since 1970.
    """
    date = datetime.fromtimestamp(made_ns / 1e9, UTC).isoformat(timespec="seconds")
    root = Xml.Element("ANNOTATION_DOCUMENT", {
        "AUTHOR": "facer", "DATE": date, "FORMAT": "3.0", "VERSION": "3.0",
        f"{{{_XSI}}}noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
    })  # fmt: skip
    header = Xml.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    for file, descriptor, name, kind in (
        (linked.video, "MEDIA_DESCRIPTOR", "MEDIA_URL", "video/*"),
        (linked.curves, "LINKED_FILE_DESCRIPTOR", "LINK_URL", "text/plain"),
    ):
        if file:
            url = _legal(file)
            about = {name: url, "MIME_TYPE": kind, f"RELATIVE_{name}": url}
            Xml.SubElement(header, descriptor, about)
    order = Xml.SubElement(root, "TIME_ORDER")
    number = count(1)
    for tier in tiers:
        about = {"LINGUISTIC_TYPE_REF": "default-lt", "TIER_ID": _legal(tier.name)}
        element = Xml.SubElement(root, "TIER", about)
        for stretch in apart(tier.stretches, 0.001):
            _annotate(element, order, next(number), stretch)
    Xml.SubElement(root, "LINGUISTIC_TYPE", {
        "GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true",
    })  # fmt: skip
    Xml.register_namespace("xsi", _XSI)
    out = BytesIO()
    Xml.ElementTree(root).write(out, encoding="UTF-8", xml_declaration=True)
    return out.getvalue()


def _annotate(tier: Xml.Element, order: Xml.Element, number: int, stretch: Stretch) -> None:
    """Add an annotation, and the two slots of time that it lies between."""
    about = {"ANNOTATION_ID": f"a{number}"}
    for end, time_s in enumerate((stretch.start_s, stretch.stop_s), 1):
        slot = f"ts{2 * number - 2 + end}"
        place = {"TIME_SLOT_ID": slot, "TIME_VALUE": str(round(time_s * 1000))}
        Xml.SubElement(order, "TIME_SLOT", place)
        about[f"TIME_SLOT_REF{end}"] = slot
    one = Xml.SubElement(Xml.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", about)
    Xml.SubElement(one, "ANNOTATION_VALUE").text = _legal(stretch.text)


def textgrid(tiers: Sequence[Tier], duration_s: float) -> str:
    """Return a Praat TextGrid (long text format); what is between the stretches is empty."""
    stretches = [apart(tier.stretches, 1e-6) for tier in tiers]
    end = max([round(duration_s, 6), *(one.stop_s for of in stretches for one in of)])
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0",
        f"xmax = {_plain(end)}", "tiers? <exists>", f"size = {len(tiers)}", "item []:",
    ]  # fmt: skip
    for number, (tier, of) in enumerate(zip(tiers, stretches, strict=True), 1):
        cells = _tiled(of, end)
        lines += [
            f"    item [{number}]:", '        class = "IntervalTier"',
            f"        name = {_quoted(tier.name)}", "        xmin = 0",
            f"        xmax = {_plain(end)}", f"        intervals: size = {len(cells)}",
        ]  # fmt: skip
        for place, cell in enumerate(cells, 1):
            lines += [
                f"        intervals [{place}]:", f"            xmin = {_plain(cell.start_s)}",
                f"            xmax = {_plain(cell.stop_s)}",
                f"            text = {_quoted(cell.text)}",
            ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _plain(time_s: float) -> str:
    """A time without an exponent, which not all readers take."""
    return f"{time_s:.6f}".rstrip("0").rstrip(".")


def _tiled(stretches: Sequence[Stretch], end_s: float) -> list[Stretch]:
    cells, before = [], 0.0
    for one in stretches:
        if one.start_s > before:
            cells.append(Stretch(before, one.start_s, ""))
        cells.append(one)
        before = one.stop_s
    if before < end_s or not cells:
        cells.append(Stretch(before, end_s, ""))
    return cells


def _quoted(text: str) -> str:
    doubled = " ".join(_legal(text).split()).replace('"', '""')
    return f'"{doubled}"'


def _legal(text: str) -> str:
    """Text without characters that XML has no way to write."""
    return _NOT_XML.sub("\ufffd", text)
