"""The recipes of docs/cluster.md: commands exist, manifests fit together, and all examples run.

SLURM and Kubernetes are stood in for: what they would start runs as processes on loopback.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker

from facer import __version__, cli
from facer.pipeline.commands import shared
from facer.storage import FeatureStore

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text("utf-8")
FOLDER = ROOT / "docs" / "cluster"
MANIFESTS = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text("utf-8")))
SCHEDULER = "tcp://facer-scheduler:8786"
COMMANDS: dict[tuple[str, str], click.Command] = {
    ("dask", "scheduler"): dask_scheduler.main,
    ("dask", "worker"): dask_worker.main,
    ("facer", "extract"): cli.facer.commands["extract"],
}


def fences(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


# Commands and messages exist.


def typed(shell: str) -> Iterator[list[str]]:
    """Commands of a shell text that are dask's or facer's, however they are started."""
    for line in shell.replace("\\\n", " ").splitlines():
        found = re.match(r"(?:srun )?((?:dask|facer) (?:scheduler|worker|extract) .*)", line)
        if found:
            yield [word for word in shlex.split(found[1], comments=True) if word != "&"]


def in_pods() -> Iterator[list[str]]:
    for _, container in containers():
        if tuple(container["command"][:2]) in COMMANDS:
            yield container["command"]


TYPED = {
    "page": list(typed(fences("bash"))),
    "slurm.sh": list(typed((FOLDER / "slurm.sh").read_text("utf-8"))),
}


@pytest.mark.parametrize("place", [*TYPED, "kubernetes.yaml"])
def test_commands_parse(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        Path(name).touch()
    commands = TYPED.get(place) or list(in_pods())
    assert {tuple(command[:2]) for command in commands} == set(COMMANDS)
    for first, second, *arguments in commands:
        line = " ".join(arguments).replace("$@", "/videos")
        COMMANDS[first, second].make_context(second, line.split())
        if second == "worker":
            assert "--nthreads 1 --memory-limit 0" in line


def test_a_wrong_option_would_be_found() -> None:
    ((first, second, *arguments),) = typed("srun dask worker tcp://h:1 --nprocs 8 &")
    with pytest.raises(click.NoSuchOption):
        COMMANDS[first, second].make_context(second, arguments)


def texts(path: Path) -> Iterator[str]:
    """String constants of a module; f-strings without their fields."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_messages_are_those_of_the_code() -> None:
    table = PAGE.partition("| message |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    messages = [message for cell in cells for message in re.findall("`([^`]+)`", cell)]
    assert len(messages) > 10
    sources = [text for path in (ROOT / "pipeline").rglob("*.py") for text in texts(path)]
    for message in messages:
        assert any(message in text for text in sources), message


def test_the_page_shows_the_file() -> None:
    assert fences("python") == (FOLDER / "slurm_jobqueue.py").read_text("utf-8")


# Manifests fit together, the image and the page.


def of_kind(kind: str, name: str) -> dict[str, Any]:
    (found,) = (m for m in MANIFESTS if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return dict(found["spec"])


def pods() -> list[dict[str, Any]]:
    return [m["spec"]["template"] for m in MANIFESTS if "template" in m["spec"]]


def containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every pod's spec with each of its containers."""
    for pod in pods():
        spec = pod["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield spec, container


def test_kinds_and_versions() -> None:
    assert [(m["apiVersion"], m["kind"], m["metadata"]["name"]) for m in MANIFESTS] == [
        ("v1", "PersistentVolumeClaim", "facer-data"),
        ("v1", "Service", "facer-scheduler"),
        ("networking.k8s.io/v1", "NetworkPolicy", "facer"),
        ("apps/v1", "Deployment", "facer-scheduler"),
        ("apps/v1", "Deployment", "facer-worker"),
        ("batch/v1", "Job", "facer-extract"),
    ]
    for _, container in containers():
        assert set(container) >= {"name", "image", "command", "securityContext"}


def test_one_image_which_the_page_builds() -> None:
    (image,) = {container["image"] for _, container in containers()}
    assert image.endswith(f"/facer:{__version__}")
    for line in (f"docker build -t {image} .", f"docker push {image}"):
        assert line in fences("bash").splitlines()
    with_s3 = f"docker build -t {image} --build-arg EXTRAS=s3 ."
    assert with_s3 in fences("bash").splitlines()
    assert "ARG EXTRAS" in (ROOT / "Dockerfile").read_text("utf-8")


def test_labels_select_pods() -> None:
    scheduler, worker, job = (pod["metadata"]["labels"] for pod in pods())
    assert of_kind("Service", "facer-scheduler")["selector"] == scheduler
    for name, labels in (("facer-scheduler", scheduler), ("facer-worker", worker)):
        assert of_kind("Deployment", name)["selector"]["matchLabels"] == labels
    policy = of_kind("NetworkPolicy", "facer")
    (rule,) = policy["ingress"]
    for selector in (policy["podSelector"], rule["from"][0]["podSelector"]):
        for labels in (scheduler, worker, job):
            assert selector["matchLabels"].items() <= labels.items()


def test_pods_find_the_scheduler() -> None:
    service = of_kind("Service", "facer-scheduler")
    (port,) = service["ports"]
    assert f"tcp://facer-scheduler:{port['port']}" == SCHEDULER
    (container,) = of_kind("Deployment", "facer-scheduler")["template"]["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    context = dask_scheduler.main.make_context("scheduler", container["command"][2:])
    assert ports[port["targetPort"]] == int(context.params["port"])
    probed = ports[container["readinessProbe"]["httpGet"]["port"]]
    assert context.params["dashboard_address"] == f":{probed}"
    addresses = re.findall(r"tcp://[\w.:-]+", str(MANIFESTS))
    assert len(addresses) == 3
    assert set(addresses) == {SCHEDULER}


def test_pods_share_the_volume_as_the_user_of_the_image() -> None:
    uid = re.search(r"--uid (\d+)", (ROOT / "Dockerfile").read_text("utf-8"))
    assert uid
    for spec, container in containers():
        assert spec["securityContext"]["runAsUser"] == int(uid[1])
        assert spec["securityContext"]["fsGroup"] == int(uid[1])
        volumes = {v["name"]: v["persistentVolumeClaim"] for v in spec.get("volumes", ())}
        if container["name"] in ("worker", "extract"):
            (mount,) = container["volumeMounts"]
            assert mount["mountPath"] == "/data"
            assert volumes[mount["name"]] == {"claimName": "facer-data"}
    assert of_kind("PersistentVolumeClaim", "facer-data")["accessModes"] == ["ReadWriteMany"]


def test_the_job_starts_again_only_where_that_helps() -> None:
    job = of_kind("Job", "facer-extract")
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # the policy asks for it
    (rule,) = job["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert (rule["action"], codes["operator"]) == ("FailJob", "In")
    assert codes["values"] == [shared.EXIT_USAGE, shared.EXIT_SOME_FAILED]
    assert codes["containerName"] == job["template"]["spec"]["containers"][0]["name"]


# The examples run.


@pytest.fixture
def folder(tmp_path: Path, make_video: Callable[..., Path], monkeypatch: Any) -> Path:
    """The current folder: two videos, one broken; programs of a node that stay on loopback."""
    make_video("videos/a.mp4", 3)
    (tmp_path / "videos" / "text.mp4").write_text("no video")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in {
        "dask": f'"{sys.executable}" -m dask "$@" --host 127.0.0.1',
        "facer": f'"{sys.executable}" -m facer.cli "$@"',
        "python": f'"{sys.executable}" "$@"',
        "srun": '"$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\nexec {line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def check(done: subprocess.CompletedProcess[str], store: Path) -> None:
    assert done.returncode == shared.EXIT_SOME_FAILED, done.stderr
    assert "2 of 2 clips to do, on 1 worker(s)" in done.stderr
    found = [(r.clip_id, r.status, r.n_frames) for r in FeatureStore.open(store).records]
    assert sorted(found) == [("a", "no_face", 3), ("text", "failed", 0)]


@pytest.mark.timeout(600)  # several Pythons start, on a busy machine
def test_the_slurm_job(folder: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1"}
    done = run("bash", str(FOLDER / "slurm.sh"), "videos", "-o", "s.zarr", **job)
    check(done, folder / "s.zarr")
    assert not (folder / "facer-7.json").exists()  # the scheduler has ended


JOBQUEUE = """
from distributed import LocalCluster

class SLURMCluster(LocalCluster):
    def __init__(
        self, *, cores, processes, memory, walltime, job_extra_directives, worker_extra_args
    ):
        assert (cores, processes, worker_extra_args) == (1, 1, ["--memory-limit", "0"])
        super().__init__(
            n_workers=0, threads_per_worker=1, host="127.0.0.1", memory_limit=0,
            dashboard_address=":0",
        )

    def scale(self, jobs):
        super().scale(jobs)
"""


@pytest.mark.timeout(600)  # several Pythons start, on a busy machine
def test_jobs_by_dask_jobqueue(folder: Path) -> None:
    (folder / "stubs").mkdir()
    (folder / "stubs" / "dask_jobqueue.py").write_text(JOBQUEUE)
    arguments = ("--jobs", "1", "--", "videos", "-o", "s.zarr", "--part-size", "8")
    script = str(FOLDER / "slurm_jobqueue.py")
    done = run(sys.executable, script, *arguments, PYTHONPATH=str(folder / "stubs"))
    check(done, folder / "s.zarr")


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


@pytest.mark.timeout(600)  # several Pythons start, on a busy machine
def test_the_commands_of_the_pods(folder: Path) -> None:
    here = {"facer-scheduler": "127.0.0.1", "/data": str(folder)}
    here |= {":8787": f"127.0.0.1:{free_port()}", "8786": free_port()}
    with ExitStack() as running:

        def arguments(name: str) -> list[str]:
            (command,) = (c["command"] for _, c in containers() if c["name"] == name)
            for old, new in here.items():
                command = [word.replace(old, new) for word in command]
            return list(command)

        def start(name: str) -> None:
            process = subprocess.Popen(arguments(name), stderr=subprocess.DEVNULL)
            running.callback(process.wait)
            running.callback(process.terminate)

        for name in ("worker", "scheduler"):  # they come up in any order
            start(name)
        waited = run(*arguments("wait-for-a-worker"))
        assert waited.returncode == 0, waited.stderr
        with urlopen(f"http://{here[':8787']}/health") as answer:
            assert answer.status == 200
        check(run(*arguments("extract")), folder / "features.zarr")
