"""An HDF5 file of a stranger reads nothing but itself, and takes no more memory than it must."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from facer.storage import FacerError
from facer.storage.exchange.hdf5 import read_hdf5

VALUES = np.linspace(0, 1, 200).reshape(50, 4)


def good(file: Any, **options: Any) -> None:
    file.create_dataset("c1/features", data=VALUES, **options)


def external(file: Any) -> None:
    (Path(file.filename).parent / "secret").write_bytes(bytes(1600))
    file.create_dataset("c1/features", (50, 4), "f8", external=[("secret", 0, 1600)])


def external_link(file: Any) -> None:
    good(file)
    file["c2"] = h5py.ExternalLink("other.h5", "/c1")


def soft_link_out(file: Any) -> None:
    file["deep/x"] = h5py.ExternalLink("other.h5", "/")
    file["c1"] = h5py.SoftLink("/deep/x/c1")


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((50, 4), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "c1/features", (50, 4))
    file.create_virtual_dataset("c1/features", layout)


def bomb(file: Any) -> None:
    dataset = file.create_dataset(
        "c1/features", (1000, 4), "f8", chunks=(1000, 4), compression="gzip"
    )
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(2**26)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external, "values are in other files"),
        (lambda f: f.create_group("g/" * 3000), "found groups in groups, expected at most 100"),
        (virtual, "values are in other files"),
        (external_link, "'c2', a link to another file"),
        (soft_link_out, "'deep/x', a link to another file"),
        (bomb, "a chunk that unpacks to more than its 32000 bytes"),
        (
            lambda f: f.create_dataset("c1/features", (10**13, 4), "f4", chunks=(1000, 4)),
            "of which 0 bytes are stored",
        ),
        (
            lambda f: f.create_dataset("c1/features", data=[["a"]], dtype=h5py.string_dtype()),
            "found values of type object, expected numbers",
        ),
        (lambda f: (good(f), f.attrs.update(names=["x"])), "expected 1 as in attribute 'names'"),
        (lambda f: (good(f), f.attrs.update(format="facer-features")), "'provenance': not JSON"),
    ],
)
def test_what_leads_out_or_blows_up_is_refused(
    tmp_path: Path, make: Callable[[Any], Any], message: str
) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        good(file)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    with pytest.raises(FacerError, match=message) as refused:
        list(read_hdf5(tmp_path / "a.h5").clips)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"compression": "lzf"}],
)
def test_ordinary_files_and_links_inside_are_read(tmp_path: Path, options: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        good(file, **options)
        file["c2"] = h5py.SoftLink("/c1")
    ((record, clip),) = read_hdf5(tmp_path / "a.h5").clips
    assert record.clip_id == "c1"
    assert clip is not None
    np.testing.assert_array_equal(clip.features, VALUES.astype(np.float32))
