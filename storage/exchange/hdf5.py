"""Feature stores as one HDF5 file: a group a clip, lossless both ways.

The file: attributes as a store's root (provenance as JSON); a group a clip, named by its
percent-encoded id, with the clip's arrays as datasets and its record (JSON) as an attribute. A
failed clip is a group without datasets. Files of other programs need ``features`` (T, F) in a
group of any depth; ``timestamp_s`` (T,), ``valid`` (T,) and names are read where present.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np

from facer.storage.errors import FacerError, one_line
from facer.storage.exchange.hdf5_guard import read_dataset, refuse_links_out
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported
from facer.storage.files.json_files import parse_json
from facer.storage.files.objects import DOCUMENT_BYTES
from facer.storage.layout.parts import LAYOUT, Entry
from facer.storage.layout.records import parse_records, record_row
from facer.storage.root import FORMAT, SEALED, parse_attributes, root_attributes
from facer.storage.schema import Bools, ClipFeatures
from facer.storage.store import FeatureStore
from facer.storage.text.names import some

_NAMES = ("feature_names", "names")
_SAFE = " []()#,+=@!"  # besides letters, digits and _.-~


def write_hdf5(store: FeatureStore, path: Path, clip_ids: Sequence[str]) -> None:
    """Write clips of a store, failed ones included, to a new HDF5 file; OSError when refused."""
    with _Output(path, "x+b") as output:
        with h5py.File(output, "w", libver=("v108", "latest")) as file:
            for name, value in root_attributes(store.root).items():
                file.attrs[name] = json.dumps(value) if isinstance(value, dict) else value
            for clip_id in clip_ids:
                if output.refusal is not None:
                    break
                record = store.record(clip_id)
                group = file.create_group(_group_name(clip_id))
                group.attrs["record"] = json.dumps(record_row(record))
                if record.status != "failed":
                    _write_clip(group, store.read(clip_id))
        if output.refusal is not None:
            raise output.refusal


class _Output(io.FileIO):
    """A file for HDF5, which crashes where a disk is full: it is not told, and may be closed."""

    refusal: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, or nothing any more once something was refused."""
        view = memoryview(data)
        try:
            while view and self.refusal is None:
                view = view[super().write(view) :]
        except OSError as error:
            self.refusal = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, as far as it is granted."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.refusal = self.refusal or error
            return size or 0


def _group_name(clip_id: str) -> str:
    name = quote(clip_id, safe=_SAFE, errors="surrogatepass")
    return name.replace(".", "%2E") if name.strip(".") == "" else name  # "." is HDF5's own


def _write_clip(group: Any, clip: ClipFeatures) -> None:
    for name in LAYOUT:
        values = getattr(clip, name)
        if values is not None:
            group.create_dataset(name, data=values, compression="gzip" if len(values) else None)


def read_hdf5(path: Path) -> Imported:
    """Read a file of :func:`write_hdf5`, or one of another program with a group a clip.

    Raises FacerError when it is no HDF5 file, holds no clip, its arrays do not fit or it is not
    all in this one file.
    """
    with _opened(path) as file:
        if _text(_attribute(path, file, "format")) == FORMAT:
            return _read_ours(path, file)
        return _read_foreign(path, file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file that may be a stranger's: nothing in it may lead out of it."""
    if not path.is_file():
        raise FacerError(f"{path}: found no regular file, expected an HDF5 file")
    try:
        with h5py.File(path) as file:
            refuse_links_out(path, file)
            yield file
    except (OSError, RuntimeError) as error:
        raise FacerError(f"{path}: cannot be read as HDF5: {one_line(error)}") from error


def _read_ours(path: Path, file: Any) -> Imported:
    attributes = {name: _plain(_attribute(path, file, name)) for name in SEALED}
    try:
        attributes["provenance"] = parse_json(str(attributes["provenance"]))
    except ValueError as error:
        raise FacerError(f"{path}: attribute 'provenance': not JSON ({error})") from error
    root = parse_attributes(attributes, str(path))
    return Imported(root.feature_names, root.weak_features, root.provenance, _our_clips(path))


def _our_clips(path: Path) -> Iterator[Entry]:
    with _opened(path) as file:
        for name, group in file.items():
            clip_id = unquote(name, errors="surrogatepass")
            try:
                row = parse_json(str(_plain(_attribute(path, group, "record"))))
                (record,) = parse_records([row], "")
                arrays = {key: read_dataset(path, group[key]) for key in LAYOUT if key in group}
                yield record, ClipFeatures(**arrays) if arrays else None
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise FacerError(
                    f"{path}: clip {clip_id!r}: found a damaged group ({error})"
                ) from error


def _read_foreign(path: Path, file: Any) -> Imported:
    groups: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name.rpartition("/")[2] == "features":
            groups.append(name.rpartition("/")[0])

    file.visititems(visit)
    if not groups or "" in groups:
        raise FacerError(
            f"{path}: found no group with a dataset 'features', expected one group a clip"
        )
    names = _names(path, file, file[groups[0]])
    provenance = imported.provenance("hdf5", "as imported")
    return Imported(names, (), provenance, _foreign_clips(path, groups, names))


def _foreign_clips(path: Path, groups: Sequence[str], names: tuple[str, ...]) -> Iterator[Entry]:
    with _opened(path) as file:
        for name in groups:
            group = file[name]
            features = np.asarray(read_dataset(path, group["features"]), np.float64)
            own_names = _names(path, file, group)
            if features.ndim != 2 or set(own_names) != set(names):
                raise FacerError(
                    f"{path}: group {name!r}: found features {features.shape} named "
                    f"{', '.join(own_names)}, expected frames by {', '.join(names)}"
                )
            features = features[:, [own_names.index(column) for column in names]]
            frames = len(features)
            timestamp_s = np.full(frames, np.nan)
            valid = imported.measured(features)
            if "timestamp_s" in group:
                timestamp_s = np.asarray(read_dataset(path, group["timestamp_s"]), np.float64)
            if "valid" in group:
                valid = _flags(path, group["valid"])
            for key, found in (("timestamp_s", timestamp_s.shape), ("valid", valid.shape)):
                if found != (frames,):
                    raise FacerError(
                        f"{path}: group {name!r}: {key}: found shape {found}, expected {(frames,)}"
                    )
            if (np.abs(features) > np.finfo(np.float32).max).any():
                raise FacerError(
                    f"{path}: group {name!r}: found features that float32 cannot hold, expected "
                    f"numbers up to {np.finfo(np.float32).max:.2g}, or NaN where there is none"
                )
            others = sorted(set(group) - {"features", "timestamp_s", "valid"})
            note = f"not read in its group: {some(others, 5)}" if others else ""
            yield imported.clip(name, features, timestamp_s, valid, {}, note)


def _flags(path: Path, dataset: Any) -> Bools:
    """A dataset of 0 and 1; FacerError for other numbers, which may be codes."""
    values = read_dataset(path, dataset)
    if not np.isin(values, (0, 1)).all():
        raise FacerError(f"{path}: {dataset.name!r}: found numbers other than 0 and 1")
    return np.asarray(values, np.bool_)


def _names(path: Path, file: Any, group: Any) -> tuple[str, ...]:
    """Return names of the columns: of the dataset, the group or the file, else f000 ..."""
    dataset = group["features"]
    width = dataset.shape[-1] if dataset.ndim else 0
    for place in (dataset, group, file):
        for key in _NAMES:
            if key in place.attrs:
                names = tuple(map(_text, np.ravel(_attribute(path, place, key)).tolist()))
                if len(names) != width:
                    raise FacerError(
                        f"{path}: group {group.name!r}: found {width} columns of features, "
                        f"expected {len(names)} as in attribute {key!r}"
                    )
                return names
    return tuple(f"f{column:03d}" for column in range(width))


def _attribute(path: Path, place: Any, name: str) -> Any:
    """An attribute, read when it is small; "" when it is absent."""
    if name not in place.attrs:
        return ""
    found = place.attrs.get_id(name)
    if prod(found.shape or ()) * found.dtype.itemsize > DOCUMENT_BYTES:
        raise FacerError(f"{path}: attribute {name!r}: found more than {DOCUMENT_BYTES} bytes")
    return place.attrs[name]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_text(item) for item in value.tolist()]
    return _text(value) if isinstance(value, bytes) else value


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
