"""The notebook of the documentation runs from its first cell to its last."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


# of the kernel's own libraries
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(900)  # 30 s on a machine that is not busy
def test_the_notebook_runs(make_video, face_frames, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for module in ("ipykernel", "pandas", "xarray"):
        pytest.importorskip(module)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for number in range(4):
        make_video(f"demo/clips/clip-{number}.mp4", face_frames(5 + number))
    rows = "".join(f"clip-{n},0.{n},0.{9 - n}\n" for n in range(4))
    (tmp_path / "demo" / "labels.csv").write_text(f"clip_id,joy,awe\n{rows}")
    notebook = nbformat.read(DOCS / "notebook.ipynb", 4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # committed without results
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        iopub_timeout=120,  # results come late from a busy machine
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pages = "".join(output.get("data", {}).get("text/html", "") for output in shown)
    assert "clip-0" in pages  # the store's table
    assert "<svg" in pages  # a clip's curves
    assert "val Pearson" in pages  # the run's scores
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
