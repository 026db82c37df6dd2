"""Videos and store on S3-compatible storage: a server on loopback, the commands as typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from facer.storage import FeatureStore

S3_KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """Environment in which s3://bucket is a bucket of a local server."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        **S3_KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        client.close()
        yield environment
    server.stop()


def facer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "facer.cli", *arguments],
        capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.fixture
def videos(
    s3: dict[str, str], make_video: Callable[..., Path], face_frames: Any, tmp_path: Path
) -> Path:
    """A folder of videos that is in the bucket as well."""
    make_video("videos/a/one.mp4", face_frames(4))
    make_video("videos/no face [1].mp4", 3)
    (tmp_path / "videos" / "text.mp4").write_text("no video")
    for path in (tmp_path / "videos").rglob("*.mp4"):
        url = f"s3://bucket/videos/{path.relative_to(tmp_path / 'videos').as_posix()}"
        with fsspec.open(url, "wb") as file:
            file.write(path.read_bytes())
    return tmp_path / "videos"


def test_from_bucket_to_bucket(videos: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    url = "s3://bucket/features.zarr"
    command = ("extract", "s3://bucket/videos", "-o", url, "--workers", "1", "--batch-size", "4")
    done = facer(*command, TMPDIR=str(scratch))
    assert done.returncode == 3, done.stderr
    assert "1 clips with a face, 1 without, 1 failed, of 3" in done.stdout
    assert list(scratch.glob("facer-*")) == []  # copies of the videos do not stay

    again = facer(*command)
    assert "3 of them were there already" in again.stdout, again.stderr
    found = json.loads(facer("status", url, "--json").stdout)
    assert (found["clips"], found["frames"], found["frames_with_face"]) == (3, 7, 4)

    local = tmp_path / "local.zarr"
    facer("extract", str(videos), "-o", str(local), "--workers", "1", "--batch-size", "4")
    remote, near = FeatureStore.open(url), FeatureStore.open(local)
    assert remote.clip_ids == near.clip_ids == ("a/one", "no face [1]", "text")
    ids = [r.clip_id for r in near.records if r.n_frames]
    np.testing.assert_array_equal(remote.load(ids).features, near.load(ids).features)
    for a, b in zip(remote.records, near.records, strict=True):
        assert (a.source, a.source_size, a.source_sha256) == (
            b.source,
            b.source_size,
            b.source_sha256,
        )
        assert (a.reason, a.n_valid) == (b.reason, b.n_valid)
        assert a.source_mtime_ns > 10**18


@pytest.mark.parametrize(
    ("url", "environment", "message"),
    [
        ("s3://no-such-bucket/s.zarr", {}, "cannot write: The specified bucket does not exist"),
        (
            "s3://bucket/s.zarr",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "s3://bucket/s.zarr/zarr.json: cannot read: Unable to locate credentials",
        ),
    ],
)
def test_a_refusal_is_one_line(
    videos: Path, url: str, environment: dict[str, str], message: str
) -> None:
    done = facer("extract", str(videos), "-o", url, "--workers", "1", **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
