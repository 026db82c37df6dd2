"""Another distribution that has a module facer is told, and nothing is read where there is none."""

from types import ModuleType

import pytest

import facer
from facer.pipeline.runtime import installation
from facer.pipeline.runtime.installation import problem_of
from tests.support import outcome


@pytest.fixture
def site(tmp_path):
    """A site-packages with facer, and with a distribution that has nothing to do with it."""
    folder = tmp_path / "facer"
    for name in ("storage", "stages", "pipeline", "__pycache__"):
        (folder / name).mkdir(parents=True)
    for name in ("__init__.py", "cli.py", "__main__.py"):
        (folder / name).touch()
    for name in ("facer-0.1.0", "numpy-2.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
    (tmp_path / "facer-0.1.0.dist-info" / "RECORD").write_text("facer/__init__.py,sha256=x,1\n")
    (tmp_path / "numpy-2.0.dist-info" / "RECORD").write_text("not/facer/__init__.py,sha256=x,1\n")
    return folder


def other(site, name="pyfacer-0.0.5"):
    info = site.parent / f"{name}.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("a.py,,\nfacer/__init__.py,sha256=y,2\nfacer/util.py,,\n")
    (site / "util.py").touch()


def test_facer_alone_is_fine(site):
    assert problem_of(site, facer) == ("", False)
    (site / "notes.txt").touch()  # a file of nobody's
    assert problem_of(site, facer) == ("", False)


def test_another_one_beside_it_is_told(site):
    other(site)
    found, fatal = problem_of(site, facer)
    assert not fatal
    assert "the distribution pyfacer has a module facer too" in found
    assert "pip uninstall pyfacer" in found


def test_another_one_over_it_is_fatal(site):
    other(site)
    foreign = ModuleType("facer")
    found, fatal = problem_of(site, foreign)
    assert fatal
    assert "pyfacer" in found
    assert problem_of(site.parent / "elsewhere" / "facer", foreign)[1]  # whoever it is


@pytest.mark.parametrize("fatal", [False, True])
@pytest.mark.parametrize("arguments", [["--help"], ["models", "list"], ["status", "none.zarr"]])
def test_every_command_tells_it_in_one_line(fatal, arguments, monkeypatch, capsys):
    monkeypatch.setattr("facer.cli.check_installation", lambda: ("two of them", fatal))
    code, _, err = outcome(capsys, *arguments)
    assert err.count("two of them\n") == 1
    if fatal:
        assert code == 1
        assert err == "facer: two of them\n"


def test_this_installation_is_fine():
    assert installation.check_installation() == ("", False)
