"""Ids of labels and clips of a store, written in the ways of several machines."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from facer.storage import IntensityLabels, Match, match_clips
from facer.storage.errors import FacerError
from facer.storage.files.videos import VIDEO_SUFFIXES
from facer.storage.labels.matching import no_match_message


def labels_of(ids: Sequence[str]) -> IntensityLabels:
    blank = ("",) * len(ids)
    values = np.zeros((len(ids), 1), np.float32)
    return IntensityLabels("plain", "l.csv", ("joy",), tuple(ids), values, blank, blank)


def match(label_ids: Sequence[str], clip_ids: Sequence[str]) -> Match:
    return match_clips(labels_of(label_ids), clip_ids)


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_all_suffixes_that_extract_reads(suffix: str) -> None:
    for name in (f"00001{suffix}", f"00001{suffix.upper()}"):
        assert match([name], ["00001"]).pairs == ((0, "00001"),)


@pytest.mark.parametrize(
    ("label", "clip"),
    [
        (r"D:\study\videos\00001.mp4", "00001"),
        (r"D:\study\videos\train\00001.mp4", "train/00001"),
        (r"\\server\share\videos\00001.mp4", "00001"),
        ("C:/videos/00001.MOV", "00001"),
        ("./videos/00001.mp4", "videos/00001"),
        (r".\00001.mp4", "00001"),
        ("videos//00001.mp4", "videos/00001"),
        ("/data/videos/00001.mp4", "videos/00001"),
        ("file:///D:/videos/00001.mp4", "00001"),
        (r"train\[00001]", "train/[00001]"),
        ("[00001.mp4]", "00001"),
        ("M\u00fcller_1", "Mu\u0308ller_1"),
        ("Mu\u0308ller_1.mp4", "M\u00fcller_1"),
        ("ben_6", "BEN_6"),
        ("VIDEOS/Ben.MP4", "videos/ben"),
        (" 00001 ", "00001"),
    ],
)
def test_ids_as_other_machines_write_them(label: str, clip: str) -> None:
    found = match([label], [clip, "other"])
    assert found.pairs == ((0, clip),)
    assert found.store_only == ("other",)


@pytest.mark.parametrize(("form", "another"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_on_either_side(
    form: Literal["NFC", "NFD"], another: Literal["NFC", "NFD"]
) -> None:
    names = ["Jäger_2", "André_3", "zoë_4", "각_5"]
    stored = [unicodedata.normalize(form, name) for name in names]
    other = [unicodedata.normalize(another, name) for name in names]
    assert match(other, stored).pairs == tuple(enumerate(stored))


def test_letter_case_counts_where_it_tells_clips_apart() -> None:
    assert match(["ben", "BEN"], ["BEN", "ben"]).pairs == ((0, "ben"), (1, "BEN"))
    found = match(["Ben"], ["BEN", "ben"])
    assert found.ambiguous == (("Ben", ("BEN", "ben")),)
    found = match(["Ben.mp4", "ben.mp4"], ["Ben"])  # of two rows the one that is written so
    assert found.pairs == ((0, "Ben"),)
    assert found.ambiguous == (("ben.mp4", ("Ben",)),)


@pytest.mark.parametrize(
    ("label", "clip", "said"),
    [
        ("a\u00a0b", "a b", "U+00A0 (no-break space) against U+0020 (space)"),
        ("\u0430nna", "anna", "U+0430 (cyrillic small letter a) against U+0061"),
        ("a\u2013b", "a-b", "U+2013 (en dash) against U+002D"),
        ("anna\u200b", "anna", "U+200B (zero width space) against the end"),
        ("1", "00001", "leading zeros differ (a spreadsheet drops them"),
        ("1.0", "00001", "leading zeros differ"),
        ("1.0", "1", "one was made a decimal number"),
        ("my%20clip.mp4", "my clip", "U+0025 (percent sign) against U+0020"),
    ],
)
def test_words_that_look_the_same_say_how_they_differ(label: str, clip: str, said: str) -> None:
    found = match([label, "x"], [clip, "x"])
    assert found.pairs == ((1, "x"),)
    assert found.alike[0][:2] == (label, clip)
    assert said in found.alike[0][2]
    assert said in no_match_message(labels_of([label]), [clip])


def test_nothing_in_common_names_the_column_and_the_option() -> None:
    message = no_match_message(labels_of(["zebra"]), ["00001"])
    assert "none of its 1 ids matches one of the 1 clips" in message
    assert FacerError(message).with_options().endswith("--id-column names another column")
