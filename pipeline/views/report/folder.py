"""The folder of a report: who may write it, safe names, pages and their data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from facer import __version__
from facer.storage.errors import FacerError, one_line
from facer.storage.files.atomic import written_whole
from facer.storage.text.names import some

MARKER = "facer-report.json"
CLIPS = "clips"

_HERE = Path(__file__).parent
ASSETS = _HERE / "assets"
_OURS = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{12}\.(html|js|mp4)")
_PAGES = Environment(
    loader=FileSystemLoader([_HERE / "templates", _HERE.parent / "view" / "templates"]),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class ReportFolder:
    """A folder that is facer's to write; made by :meth:`claim`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []  # for the user, of what the pages lack
        self._old: set[str] = set()  # files of an earlier report's clips that are not written anew

    @classmethod
    def claim(cls, path: Path, kind: str, source: str) -> ReportFolder:
        """Take a new, an empty or an earlier report's folder, whose clip pages stay until
        :meth:`finish`.

        Raises FacerError when it holds anything else, naming what was found.
        """
        try:
            found = sorted(child.name for child in path.iterdir()) if path.exists() else []
        except OSError as error:
            raise FacerError(f"{path}: cannot be used as a folder ({one_line(error)})") from error
        if found and MARKER not in found:
            raise FacerError(
                f"{path}: found {len(found)} files ({some(found)}), expected a new folder or an "
                "earlier report of facer; give another folder"
            )
        for inner in (path / CLIPS, path / "assets"):
            if inner.is_symlink():  # files of another folder would be written over and removed
                raise FacerError(f"{inner}: found a link, expected a folder; remove the link")
        folder = cls(path)
        clips = (path / CLIPS).iterdir() if (path / CLIPS).is_dir() else ()
        folder._old = {f"{CLIPS}/{old.name}" for old in clips if _OURS.fullmatch(old.name)}
        about = {"kind": kind, "source": source, "facer_version": __version__}
        folder.write(MARKER, json.dumps(about, indent=1) + "\n")
        return folder

    def finish(self) -> None:
        """Remove the clip pages of an earlier report that this one has not."""
        for name in self._old:
            (self.path / name).unlink(missing_ok=True)

    def place(self, name: str) -> Path:
        """The path of a file of this report."""
        self._old.discard(name)
        return self.path / name

    def write(self, name: str, text: str) -> None:
        """Write one file below the folder, whole or not at all; what UTF-8 lacks becomes ``?``."""
        with written_whole(self.place(name)) as aside:
            aside.write_bytes(text.encode("utf-8", "replace"))

    def page(self, name: str, template: str, data: object, **values: Any) -> None:
        """Write the page ``name``.html from a template, and its data beside it as ``name``.js."""
        self.write(f"{name}.js", data_script(data))
        self.write(f"{name}.html", render(name, template, **values))

    def write_assets(self) -> None:
        """Write the style, the scripts and the plotting library."""
        from plotly.offline import get_plotlyjs

        for file in sorted(ASSETS.iterdir()):
            self.write(f"assets/{file.name}", file.read_text(encoding="utf-8"))
        self.write("assets/plotly.min.js", get_plotlyjs())


def render(name: str, template: str, **values: Any) -> str:
    """Return the page ``name``.html of a template, whose data lies beside it as ``name``.js."""
    return _PAGES.get_template(template).render(
        root="../" * name.count("/"), data_file=f"{name.rsplit('/', 1)[-1]}.js",
        version=__version__, **values,
    )  # fmt: skip


def data_script(data: object) -> str:
    """Return the script that a page finds its data in."""
    return f"window.facerData = {to_js(data)};\n"


def page_name(clip_id: str) -> str:
    """The name of a clip's page without suffix: harmless in paths and URLs, one for each id.

    >>> page_name("../a b/<script>")
    'a-b-script-2af95b0320ca'
    """
    words = re.sub(r"[^A-Za-z0-9_]+", "-", clip_id).strip("-")[-40:].lstrip("-")
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{words or 'clip'}-{digest}"


def marks_key(store: str) -> str:
    """Under which name a browser keeps the marks of a store: one for each place, not told by it."""
    place = store if "://" in store else str(Path(store).resolve())
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def to_js(value: object) -> str:
    r"""A value as a JavaScript expression that is also safe between script tags.

    >>> to_js("</script>")
    '"\\u003c/script>"'
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def packed(values: npt.NDArray[Any]) -> dict[str, Any]:
    """An array of float32, float64, int16 or bool for ``facer.unpack`` of common.js, bit by bit."""
    array = values.astype(np.uint8) if values.dtype == np.bool_ else values
    little = array.astype(array.dtype.newbyteorder("<"))
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(little.tobytes()).decode(),
    }


def number(value: float, digits: int = 4) -> float | None:
    """A rounded number for JSON; None where there is none."""
    return round(float(value), digits) if np.isfinite(value) else None
