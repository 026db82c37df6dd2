"""JSON that may be a stranger's: of bounded size and depth, from regular files, and no NaN."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from facer.storage.errors import FacerError
from facer.storage.files.objects import DOCUMENT_BYTES, LocalObjects


def parse_json(data: bytes | str) -> Any:
    """Parse JSON that may be a stranger's; ValueError for whatever is wrong with it."""
    if len(data) > DOCUMENT_BYTES:
        raise ValueError(f"{len(data)} bytes, expected at most {DOCUMENT_BYTES}")
    try:
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
        found = _JSON.decode(text)
        if _HALVES.search(text):
            json.dumps(found, ensure_ascii=False).encode(errors="surrogateescape")
    except UnicodeEncodeError:  # no file takes it; bytes of a file's name, of older stores, pass
        raise ValueError("half of a character (a lone surrogate)") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    return found


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; FacerError when it is absent or anything else."""
    data = LocalObjects(path.parent).get(path.name)
    if data is None:
        raise FacerError(f"{path}: found no such file, expected JSON that facer wrote")
    try:
        found = parse_json(data)
    except ValueError as error:
        raise FacerError(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise FacerError(f"{path}: not JSON of facer (found {str(found)[:40]}, expected an object)")
    return found


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one a line, as curves are; FacerError for any other."""
    data = LocalObjects(path.parent).get(path.name)
    if data is None:
        raise FacerError(f"{path}: found no such file, expected lines of JSON that facer wrote")
    try:
        rows = [json.loads(line) for line in data.decode().splitlines()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("expected an object a line")
    except (ValueError, RecursionError) as error:
        raise FacerError(f"{path}: not lines of JSON that facer wrote ({error})") from error
    return rows


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)
_HALVES = re.compile(r"\\u[dD][89a-fA-F]")
