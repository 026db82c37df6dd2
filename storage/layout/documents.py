"""Zarr's group documents: parsed without trust, and sealed by a checksum of what they say.

The checksum (docs/store-format.md) is over values, not over bytes: a program that writes the
same attributes again with other white space leaves it right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from facer.storage.errors import DamagedError
from facer.storage.files.json_files import parse_json

CHECKSUM = "checksum"
_KEYS = {"zarr_format", "node_type", "attributes", "consolidated_metadata"}


def group_json(attributes: Mapping[str, object]) -> bytes:
    """Return the ``zarr.json`` of a Zarr v3 group."""
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(group, separators=(",", ":"), allow_nan=False).encode()


def sealed_group_json(attributes: Mapping[str, object]) -> bytes:
    """Return the ``zarr.json`` of a group with a checksum over all of its attributes."""
    return group_json({**attributes, CHECKSUM: _checksum(attributes)})


def parse_group(data: bytes, strict: bool) -> dict[str, Any]:
    """Return the attributes of a ``zarr.json``; ValueError, KeyError or TypeError without any.

    ``strict``: the document must be that of a Zarr v3 group and nothing else.
    """
    group = parse_json(data)
    attributes = group["attributes"]
    if not isinstance(attributes, dict):
        raise TypeError(f"attributes of type {type(attributes).__name__}")
    if strict:
        found = (group["zarr_format"], group["node_type"])
        if found != (3, "group") or not set(group) <= _KEYS:
            raise ValueError(f"found format and type {found} and keys {', '.join(group)}")
    return attributes


def check_seal(
    data: bytes, attributes: Mapping[str, Any], members: Sequence[str], required: bool
) -> None:
    """Compare the checksum of a document ``data`` with that of some of its attributes.

    Raises DamagedError when they differ, KeyError when one is missing.
    """
    if CHECKSUM not in attributes and not required:
        return
    found = attributes[CHECKSUM]
    if found == _checksum_as_written(data):  # which spares writing the attributes again
        return
    if found != _checksum({name: attributes[name] for name in members}):
        raise DamagedError("what it says is not what was written (checksum)")


def _checksum_as_written(data: bytes) -> str:
    """Return the checksum that a document has if it is, byte by byte, as facer wrote it."""
    head, _, tail = data.rpartition(_CHECKSUM_KEY)
    if not head.startswith(_HEAD) or len(tail) != _TAIL_BYTES:
        return ""
    return _sha256(head[len(_HEAD) - 1 :] + b"}")


def _checksum(attributes: Mapping[str, object]) -> str:
    text = json.dumps(attributes, separators=(",", ":"), allow_nan=False)
    return _sha256(text.encode())


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


_HEAD = group_json({})[:-2]  # up to and with the brace before the attributes
_CHECKSUM_KEY = f',"{CHECKSUM}":"'.encode()
_TAIL_BYTES = len(_sha256(b"") + '"}}')
