"""What differs is named as where it is set, with both values, in one line."""

from __future__ import annotations

from typing import Any

import pytest

from facer.storage.errors import FacerError
from facer.storage.text.differing import differing

OPTIONS = ("fit", "sequences", "labels options")
BEFORE: dict[str, Any] = {
    "fit": {"epochs": 5, "head": {"name": "gru", "routed": True}, "loss": {"ccc": 1.0}},
    "sequences": {"max_frames": 480},
    "labels": {"sha256": "0" * 64, "options": {"id_column": ""}},
    "names": ["joy"],
}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, ""),
        ({"fit": {**BEFORE["fit"], "batch_size": None}}, ""),
        ({"fit": {**BEFORE["fit"], "batch_size": 8}}, "batch_size (was absent, now 8)"),
        ({"fit": {**BEFORE["fit"], "loss": {"ccc": 2}}}, "weight ccc (was 1.0, now 2)"),
        ({"sequences": {"max_frames": 90}}, "t (was 480, now 90)"),
        (
            {"names": ["a\nb"], "labels": {"sha256": "1" * 64, "options": {"id_column": "x"}}},
            'id_column (was "", now "x"), labels sha256 (was 000000000000, now 111111111111), '
            'names (was ["joy"], now ["a\\nb"])',
        ),
        ({"extra": "\x1b[31m"}, 'extra (was absent, now "\\u001b[31m")'),
    ],
)
def test_differences(now: dict[str, Any], expected: str) -> None:
    assert str(FacerError(differing(BEFORE, {**BEFORE, **now}, OPTIONS))) == expected


def test_a_digest_that_only_the_newer_one_says_is_no_difference() -> None:
    assert differing({"a_sha256": None}, {"a_sha256": "0", "files": {"b_sha256": "0"}}) == ""
    assert differing({"a_sha256": "0"}, {"a_sha256": None}) == "a_sha256 (was 0, now absent)"


def test_the_command_line_shows_options() -> None:
    text = differing(BEFORE, {**BEFORE, "sequences": {"max_frames": 90}}, OPTIONS)
    assert FacerError(text).with_options() == "--t (was 480, now 90)"


def test_many_and_long_ones_are_cut_short() -> None:
    text = differing({}, {f"k{number}": "x" * 1000 for number in range(50)})
    assert text.endswith(", 42 more")
    assert len(text) < 1000
