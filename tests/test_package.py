"""The package as it is installed: names, folders, imports, documentation."""

import ast
import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import facer

ROOT = Path(__file__).parents[1]
CODE = ("storage", "stages", "pipeline")


def modules():
    for name in CODE:
        package = importlib.import_module(f"facer.{name}")
        yield package.__name__
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield info.name


def test_every_folder_with_code_is_in_the_list_of_packages():
    with (ROOT / "pyproject.toml").open("rb") as file:
        setup = tomllib.load(file)["tool"]["setuptools"]
    folders = {
        "facer." + ".".join(init.parent.relative_to(ROOT).parts)
        for name in CODE
        for init in (ROOT / name).rglob("__init__.py")
    }
    assert set(setup["packages"]) == {"facer", *folders}
    assert setup["package-data"]["facer"] == ["py.typed"]  # types of facer are seen by others
    assert (ROOT / "py.typed").is_file()


def test_the_package_runs_as_a_module():
    found = subprocess.run(
        [sys.executable, "-m", "facer", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("facer, version ")


def test_every_python_folder_has_an_init():
    for name in CODE:
        for path in (ROOT / name).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


@pytest.mark.parametrize("name", list(modules()))
def test_examples_in_docstrings_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, facer.cli; print([m for m in ('torch', 'cv2', 'zarr', 'dask', 'scipy', 'matplotlib') if m in sys.modules])"  # noqa: E501
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_facer_loads_none_of_its_modules():
    code = (
        "import sys, facer; dir(facer); print([m for m in sys.modules if m.startswith('facer.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_onnxruntime_tells_its_maker_nothing(tmp_path):
    code = "import facer, onnxruntime; onnxruntime.get_available_providers()"
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    environment = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    subprocess.run([sys.executable, "-c", code], check=True, env={**environment, **places})
    assert list(tmp_path.iterdir()) == []


def test_opening_a_store_needs_no_torch():
    store = ROOT / "tests" / "data" / "store-v2.zarr"
    code = f"import sys, facer; facer.open_store({str(store)!r}); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_public_names_are_there_and_documented():
    assert set(facer.__all__) <= set(dir(facer))
    for name in facer.__all__:
        assert getattr(facer, name).__doc__
    with pytest.raises(AttributeError, match="'open_stor'; did you mean 'open_store'"):
        facer.open_stor  # noqa: B018


def test_version_comes_from_the_metadata():
    assert facer.__version__[0].isdigit()


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert f"version: {project['version']}\n" in text
    assert f"license: {project['license']}\n" in text
    assert text.startswith("cff-version: 1.2.0\n")


def source_files():
    for name in (*CODE, "cli.py", "benchmarks", "docs", "README.md"):
        base = ROOT / name
        yield from (
            [base]
            if base.is_file()
            else sorted(path for path in base.rglob("*") if path.suffix in {".py", ".md"})
        )


def test_no_path_of_a_machine_in_the_source():
    for path in source_files():
        assert "/home/" not in path.read_text(encoding="utf-8"), path


UNPICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def test_nothing_unpickles_or_runs_text():
    for path in source_files():
        if path.suffix == ".py":
            assert not list(dangers(ast.parse(path.read_text(encoding="utf-8")))), path


def dangers(tree):
    """Imports of modules that unpickle, and calls that unpickle or run what they read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            yield from (name for name in names if name.split(".")[0] in UNPICKLES)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called in {"eval", "exec", "torch.load", "yaml.load"}:
                yield called
            if given.get("allow_pickle", "False") != "False":
                yield called


def test_errors_name_settings_not_options():
    """``named("t")`` is t in Python and --t on the command line; whole commands stand as typed."""
    for path in source_files():
        inside = {"commands", "benchmarks", "docs", "cli.py"} & set(path.relative_to(ROOT).parts)
        if path.suffix == ".py" and not inside:
            assert not list(raised_options(ast.parse(path.read_text("utf-8")))), path


def raised_options(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            for part in ast.walk(node.exc):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    rest = re.sub(r"facer( [a-z-]+)+", "", part.value)
                    yield from re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from joblib import load", "x = torch.load(f)", "eval(text)",
     "np.load(f, allow_pickle=True)"],
)  # fmt: skip
def test_a_danger_would_be_found(text):
    assert list(dangers(ast.parse(text)))
