"""MkDocs hooks: equations become MathML, and the demo's pictures come into the tutorial.

A fence named ``math`` holds LaTeX, which forges typeset themselves; here it becomes MathML,
which browsers draw without a script. ``<!-- picture: NAME | TEXT -->`` in a page becomes the
picture of that name, or nothing when the build goes without pictures. ``<!-- notebook: FILE -->``
becomes the cells of a notebook. Links to Python files, which are no part of the site, become their
paths in the repository.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from make_pictures import made_pictures

_PICTURE = re.compile(r"<!-- picture: (\S+) \| (.+?) -->")
_NOTEBOOK = re.compile(r"<!-- notebook: (\S+) -->")
_SCRIPT = re.compile(r"\[(\w+\.py)\]\(\1\)")
_EXAMPLE = re.compile(r"<p>(Examples?:)\n(.+?)</p>", re.DOTALL)
_ROLE = re.compile(r":(?:meth|class|func|data|mod):(?=<code>)")
_VIDEO = '<video controls muted loop preload="metadata" src="pictures/{}" title="{}"></video>'
_SOURCES = tempfile.TemporaryDirectory(prefix="facer-docs-")


@event_priority(100)  # before mkdocstrings reads its own
def on_config(config: MkDocsConfig) -> None:
    """Let ``math`` fences be equations; show mkdocstrings where the package is."""
    fence = {"name": "math", "class": "math", "format": _equation}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    handlers = config.plugins["mkdocstrings"].config.handlers
    handlers["python"]["paths"] = [_linked_sources(Path(config.config_file_path).parent)]


def _linked_sources(root: Path) -> str:
    """A folder with the package under its own name, which the checkout's folder does not have."""
    package = Path(_SOURCES.name) / "facer"
    if not package.exists():
        package.mkdir()
        for name in ("__init__.py", "storage", "stages", "pipeline"):
            (package / name).symlink_to(root / name)
    return _SOURCES.name


def _equation(source: str, *_: Any, **__: Any) -> str:
    mathml = latex2mathml.converter.convert(source, display="block")
    return f'<div class="math">{mathml}</div>'


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pictures to the site, made first where they are not there yet."""
    if os.environ.get("FACER_DOCS_PICTURES") == "off":
        return
    folder = Path(config.config_file_path).parent / ".pictures_cache"
    for path in made_pictures(folder):
        uri = f"pictures/{path.relative_to(folder).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))


def on_page_markdown(markdown: str, files: Files, **_: Any) -> str:
    """Put pictures and notebooks in the place of their comments; name scripts by their paths."""

    def picture(found: re.Match[str]) -> str:
        name, text = found.groups()
        if files.get_file_from_path(f"pictures/{name}") is None:
            return ""
        return _VIDEO.format(name, text) if name.endswith(".mp4") else f"![{text}](pictures/{name})"

    return _SCRIPT.sub(r"`docs/\1`", _PICTURE.sub(picture, _NOTEBOOK.sub(_cells, markdown)))


def _cells(found: re.Match[str]) -> str:
    """The cells of a notebook as Markdown, without its title."""
    cells = json.loads((Path(__file__).parent / found[1]).read_text("utf-8"))["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    shown = [t if kind == "markdown" else f"```python\n{t}\n```" for t, kind in texts]
    return "\n\n".join(shown).removeprefix(f"{shown[0].splitlines()[0]}\n")


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Show the examples in the commands' help as code, and docstrings without their roles."""
    if page.file.src_uri == "commands.md":
        return _EXAMPLE.sub(_example, html)
    return _ROLE.sub("", html) if page.file.src_uri == "api.md" else html


def _example(found: re.Match[str]) -> str:
    title, code = found.groups()
    return f"<p><strong>{title}</strong></p>\n<pre><code>{textwrap.dedent(code)}</code></pre>"
