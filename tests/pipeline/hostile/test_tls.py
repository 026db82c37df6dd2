"""A cluster behind TLS, with certificates made as docs/cluster.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from facer.pipeline.runtime import executors
from facer.pipeline.runtime.executors import DaskExecutor
from facer.pipeline.runtime.tls import TlsFiles
from facer.storage.errors import FacerError

PAGE = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text("utf-8")
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes certificates")


def certificate(folder: Path) -> TlsFiles:
    """By the page's own commands."""
    (recipe,) = (f for f in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) if "openssl" in f)
    recipe = recipe.replace("~/facer-tls", str(folder))
    subprocess.run(["bash", "-ec", recipe], check=True, stderr=subprocess.DEVNULL)
    assert (folder / "key.pem").stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    return TlsFiles(folder / "cert.pem", folder / "cert.pem", folder / "key.pem")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return certificate(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture
def closed_cluster(ours: TlsFiles, new_cluster: Callable[..., Any]) -> Iterator[Any]:
    files = {"--tls-ca-file": ours.ca_file, "--tls-cert": ours.cert, "--tls-key": ours.key}
    options = [str(word) for pair in files.items() for word in pair]
    with new_cluster(1, "--protocol", "tls", *options) as cluster:
        yield cluster


def test_the_key_opens_it_and_nothing_else_does(
    closed_cluster: Any, ours: TlsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = closed_cluster.address
    told: list[str] = []
    assert address.startswith("tls://")
    executor = DaskExecutor(address, told.append, ours)
    assert dict(executor.map(abs, [-1, -2])) == {-1: 1, -2: 2}
    executor.close()
    assert told == []
    monkeypatch.setattr(executors, "CONNECT_S", 2)
    strangers = certificate(tmp_path / "strangers")
    for tls in (strangers, TlsFiles(ours.ca_file, strangers.cert, strangers.key)):
        with pytest.raises(FacerError, match=rf"{address}: no answer"):
            DaskExecutor(address, tls=tls)
    with pytest.raises(FacerError, match="no answer"):
        DaskExecutor(address.replace("tls://", "tcp://"))


def test_files_that_do_not_fit_are_told(ours: TlsFiles, tmp_path: Path) -> None:
    with pytest.raises(FacerError, match=r"tls_key nowhere: no such file"):
        TlsFiles(key=Path("nowhere"))
    with pytest.raises(FacerError, match=r"tcp://h:1: found TLS files, expected tls://"):
        DaskExecutor("tcp://h:1", tls=ours)
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(FacerError, match="the TLS files do not fit"):
        DaskExecutor("tls://h:1", tls=TlsFiles(ours.ca_file, tmp_path / "text.pem", ours.key))
    locked = tmp_path / "locked.pem"
    command = ["openssl", "ec", "-in", str(ours.key), "-aes256", "-passout", "pass:secret"]
    subprocess.run([*command, "-out", str(locked)], check=True, stderr=subprocess.DEVNULL)
    with pytest.raises(FacerError, match=r"locked\.pem: found a key with a pass phrase, expected"):
        DaskExecutor("tls://h:1", tls=TlsFiles(ours.ca_file, ours.cert, locked))
