"""The documentation says what is true: snippets run, commands and names exist, links hold."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import facer
import facer.storage
import facer.storage.exchange.tables
from facer.cli import facer as command_line
from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record
from tests.support import script

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES["README.md"] = (ROOT / "README.md").read_text("utf-8")

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_COMMAND = re.compile(r"(?:^|[\s/!])facer (.+)")


def fences(page: str, *languages: str) -> list[str]:
    return [code for language, code in _FENCE.findall(PAGES[page]) if language in languages]


def prose(page: str) -> str:
    return _FENCE.sub("", PAGES[page])


RECIPES = [
    path for kind in ("make", "measure", "score") for path in (ROOT / "docs").glob(f"{kind}_*.py")
]
NEEDS = {"make_meshes.py": "mediapipe", "measure_rendered.py": "vtk"}  # not among our packages


@pytest.mark.parametrize("recipe", sorted(RECIPES), ids=lambda path: path.name)
def test_recipes_import_what_there_is(recipe: Path) -> None:
    if recipe.name in NEEDS:
        pytest.importorskip(NEEDS[recipe.name])
    assert script(recipe)


# Python snippets run, in the order of the page, on a small store.


def _clip(clip_id: str, frames: int, seed: int) -> tuple[Record, ClipFeatures]:
    rng = np.random.default_rng(seed)
    valid = np.arange(frames) != 3

    def measured(*shape: int) -> np.ndarray:
        values = rng.random((frames, *shape)).astype(np.float32)
        values[~valid] = np.nan
        return values

    arrays = ClipFeatures(
        measured(len(FEATURE_NAMES)), np.arange(frames) / 25.0, valid, measured(), measured(4),
        measured(5, 2), valid.astype(np.int16),
    )  # fmt: skip
    return Record(clip_id, "ok", frames, n_valid=int(valid.sum()), fps=25.0), arrays


CLIPS = ("train/11526", "02-table-1", "anna/first", "two/clip 1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a reader: a store, labels that fit it, and the demo's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    store = FeatureStore.create(
        "features.zarr", Provenance("det", "d" * 64, "rec", "r" * 64), weak_features=("au06",)
    )
    ids = CLIPS
    store.write_part([_clip(clip_id, 30 + 10 * i, i) for i, clip_id in enumerate(ids)])
    store.write_part([(Record("lost", "failed", 0, "cannot be decoded"), None)])
    shutil.copytree("features.zarr", "demo/features.zarr")
    Path("labels.csv").write_text(
        "clip_id,joy,awe\n" + "".join(f"{c},0.{i},0.5\n" for i, c in enumerate(ids))
    )
    return tmp_path


def _modules(code: str) -> set[str]:
    names = set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))
    return names | {"pyarrow"} if "parquet" in code else names


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page, "python")])
# torch's exporter without further dependencies says that another one is newer
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.onnx")
@pytest.mark.filterwarnings("ignore:You are using the legacy:DeprecationWarning")
def test_python_snippets_run(
    page: str, folder: Path, make_video: Callable[..., Path], face_frames: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    snippets = fences(page, "python")
    if "= facer.extract(" in "".join(snippets):  # its clips are then those of the labels
        shutil.rmtree("features.zarr")
        for number, clip_id in enumerate(CLIPS):
            make_video(f"videos/{clip_id}.mp4", face_frames(4 + number))
        make_video("new-videos/new.mp4", face_frames(4))
    if "demo/clips" in "".join(snippets):  # what facer demo leaves behind
        make_video("demo/clips/02-table-1.mp4", face_frames(4))
        Path("demo/labels.csv").write_text("clip_id,split,sadness\n02-table-1,train,0.5\n")
    for module in sorted(_modules("".join(snippets))):
        pytest.importorskip(module)
    if "read_parquet" in "".join(snippets):
        facer.storage.exchange.tables.export_store(
            FeatureStore.open("features.zarr"), "features.parquet", "parquet"
        )
    found: dict[str, Any] = {}
    monkeypatch.syspath_prepend(folder)
    for snippet in snippets:
        if name := re.match(r"# (\w+\.py)\n", snippet):  # a file that the reader writes
            Path(name[1]).write_text(snippet)
        exec(compile(snippet, page, "exec"), found)


def test_the_plain_zarr_snippet_reads_what_facer_reads(folder: Path) -> None:
    (snippet,) = (code for code in fences("store-format.md", "python") if "import zarr" in code)
    found: dict[str, Any] = {}
    exec(snippet, found)
    clip = FeatureStore.open("features.zarr").read(found["record"]["clip_id"])
    np.testing.assert_array_equal(found["au12"], clip.features[:, FEATURE_NAMES.index("au12")])
    np.testing.assert_array_equal(found["valid"], clip.valid)


# Commands in fences parse; commands and options in the prose exist.


def _commands(code: str) -> Iterator[list[str]]:
    for line in code.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|\||[|;>]", line):
            found = _COMMAND.search(part.split(" # ")[0])
            if found:
                yield shlex.split(found[1], comments=True)


def _parse(arguments: list[str]) -> None:
    """Parse as the command line does, without running; click's error names what is wrong."""
    group = [argument for argument in arguments if argument != "--debug"]
    if not group or group[-1] in ("--help", "--version"):
        return
    name, *rest = group
    command = command_line.commands.get(name)
    if command is None:
        raise click.UsageError(f"no command {name!r}")
    if "--config" in rest:  # a file that is not there
        for word in (word for word in rest if word.startswith("-")):
            if word not in _options(command):
                raise click.NoSuchOption(word)
        return
    command.make_context(name, rest)


@pytest.mark.parametrize("page", PAGES)
def test_shell_snippets_parse(page: str) -> None:
    for code in fences(page, "bash", "sh", "console", "text"):
        for arguments in _commands(code):
            try:
                _parse(arguments)
            except click.ClickException as error:
                pytest.fail(f"{page}: facer {' '.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("command", command_line.commands.values(), ids=lambda c: c.name)
def test_examples_in_help_parse(command: click.Command) -> None:
    examples = list(_commands((command.help or "").partition("Example")[2]))
    assert examples
    for arguments in examples:
        _parse(arguments)


def _options(command: click.Command) -> set[str]:
    return {"--help", "--debug"} | {o for p in command.params for o in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_prose_exist(page: str) -> None:
    everywhere = set().union(*map(_options, command_line.commands.values()), {"--version"})
    for code in _INLINE.findall(prose(page)):
        found = _COMMAND.match(code)
        if found and not found[1].startswith(("-", "COMMAND")):
            name, *rest = shlex.split(found[1])
            assert name in command_line.commands, f"{page}: {code}"
            known = _options(command_line.commands[name])
        elif code.startswith("--"):
            rest, known = shlex.split(code)[:1], everywhere
        else:
            continue
        for option in (word.split("=")[0] for word in rest if word.startswith("-")):
            assert option in known, f"{page}: {code}: no option {option}"


# Names of the code exist.


def _resolve(dotted: str) -> object:
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("page", PAGES)
def test_names_of_code_exist(page: str) -> None:
    for code in _INLINE.findall(prose(page)):
        if re.fullmatch(r"facer(\.\w+)+", code):
            _resolve(code)


def test_every_equation_stands_beside_its_code() -> None:
    after = re.findall(r"^```math\n.*?^```\n\n(.*?)\n\n", PAGES["method.md"], re.M | re.S)
    assert len(after) == PAGES["method.md"].count("```math") > 15
    for paragraph in after:
        assert "`facer." in paragraph, paragraph


def test_the_python_page_lists_public_names() -> None:
    table = re.findall(r"^\| (`.+?) \|", PAGES["api.md"], re.MULTILINE)
    names = [name for cell in table for name in _INLINE.findall(cell)]
    assert len(names) > 10
    ours = {name for name in names if name.startswith("facer.")}
    assert ours == {f"facer.{name}" for name in facer.__all__} - {"facer.__version__"}
    assert set(names) - ours == set(facer.storage.__all__)
    described = set(re.findall(r"^::: facer\.(?:\w+\.)*(\w+)$", PAGES["api.md"], re.M))
    for package in (facer, facer.storage):
        called = {name for name in package.__all__ if callable(getattr(package, name))}
        assert called <= described


# The site.


def test_the_site_builds_and_fetches_nothing(tmp_path: Path) -> None:
    for module in ("mkdocs", "material", "mkdocs_click", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module)
    environment = {**os.environ, "FACER_DOCS_PICTURES": "off", "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        text = page.read_text("utf-8")
        fetched = r"<(script|link|img|iframe|video)[^>]+(src|href)=\"?(https?:)?//"
        assert not re.search(fetched, text)
        assert not re.search(r"href=\"?[^\">]+\.py[\">]", text), page  # they are not on the site
    assert "<math" in (tmp_path / "method.html").read_text("utf-8")
    assert not list(tmp_path.rglob("*.py"))


def test_the_first_page_leads_to_all_pages() -> None:
    """Seen: README calls it "all pages", and 14 of 30 were not on it."""
    named = set(re.findall(r"\]\(([\w-]+\.md)", PAGES["index.md"]))
    assert named == set(PAGES) - {"README.md", "index.md"}


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_tree_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"(?:tests|benchmarks|pipeline|stages|storage)/[\w/]+\.py", PAGES[page]))
    assert not [path for path in sorted(named) if not (ROOT / path).is_file()]
