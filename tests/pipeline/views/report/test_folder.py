import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facer.pipeline.views.report.folder import MARKER, ReportFolder, number, page_name, to_js
from facer.storage import FacerError


@given(st.text())
def test_names_of_pages_are_plain_and_short(clip_id):
    assert re.fullmatch(r"[A-Za-z0-9_-]{13,60}", page_name(clip_id))


def test_ids_that_differ_in_odd_characters_only_get_different_pages():
    assert len({page_name(clip_id) for clip_id in ("a b", "a/b", "a%b", "a-b", "A b")}) == 5


@given(st.recursive(st.text() | st.integers(), st.lists))
def test_data_reads_back_and_holds_no_tag(value):
    text = to_js(value)
    assert "<" not in text
    assert json.loads(text) == value


def test_numbers_that_are_none_are_null():
    assert to_js([number(np.nan), number(0.12345678)]) == "[null,0.1235]"
    with pytest.raises(ValueError, match="JSON compliant"):
        to_js(np.nan)


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FacerError, match=r"found 1 files \(thesis.tex\)"):
        ReportFolder.claim(tmp_path, "store", "s.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FacerError, match="cannot be used as a folder"):
        ReportFolder.claim(tmp_path / "file", "store", "s.zarr")


def test_an_earlier_report_loses_its_clip_pages_and_nothing_else(tmp_path):
    folder = ReportFolder.claim(tmp_path / "report", "store", "s.zarr")
    old = [f"clips/{page_name('gone')}.{suffix}" for suffix in ("html", "js", "mp4")]
    for name in (*old, "clips/mine.txt"):
        folder.write(name, "x")
    again = ReportFolder.claim(tmp_path / "report", "run", "other")
    again.write(f"clips/{page_name('new')}.html", "x")
    assert all((folder.path / name).exists() for name in old)  # until the new one is whole
    again.finish()
    left = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*.*")}
    assert left == {MARKER, "clips/mine.txt", f"clips/{page_name('new')}.html"}
    assert json.loads((folder.path / MARKER).read_text())["kind"] == "run"


def test_a_link_in_a_report_leads_nowhere(tmp_path):
    """Pages would be written, and old ones removed, in another's folder."""
    ReportFolder.claim(tmp_path / "report", "store", "s.zarr")
    (tmp_path / "other").mkdir()
    (tmp_path / "report/clips").symlink_to(tmp_path / "other")
    with pytest.raises(FacerError, match="clips: found a link, expected a folder"):
        ReportFolder.claim(tmp_path / "report", "store", "s.zarr")


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = ReportFolder.claim(tmp_path / "report", "store", "s.zarr")
    folder.write("index.html", "as it was")

    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FacerError, match=r"index\.html: cannot write: No space left"):
        folder.write("index.html", "as it is")
    assert (tmp_path / "report" / "index.html").read_text() == "as it was"
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == [
        "facer-report.json", "index.html"
    ]  # fmt: skip
