"""Weights of a card, fetched once: after its licence was accepted, resumed where they broke off,
and the same bytes ever after.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from facer.pipeline.cards.golden import record
from facer.pipeline.cards.listing import find_card
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.cards.card import Card
from facer.stages.features.rec.cards.network import CardRec
from facer.stages.features.rec.cards.places import how_to_get, pin_of, pinned_sha256, weights_of
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.files.atomic import write_atomic
from facer.storage.files.locks import alone_in
from facer.storage.files.refusals import refusing
from facer.storage.files.weights import read_onnx, weights_sha256

_MAX_BYTES = 2 << 30
_BLOCK = 1 << 20
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Fetched:
    """Weights that are there."""

    path: Path
    sha256: str
    n_bytes: int  # fetched now; 0 when they were there
    golden: str = ""  # file of the example that was recorded with them
    problem: str = ""  # why the card cannot use them


def terms(name_or_path: str) -> str:
    """Return what a user must know of a card's weights before fetching them, in lines."""
    card = find_card(name_or_path)
    file = card.file
    lines = [
        f"{card.name}: {file.url or how_to_get(card)}",
        f"licence:    {file.licence}",
        f"project:    {file.source}",
        f"trained on: {file.training}",
    ]
    more = (("note:       ", file.notes), ("unverified: ", file.unverified))
    return "\n".join([*lines, *(f"{title}{text}" for title, text in more if text)])


def fetch(name_or_path: str, *, accept_licence: bool = False) -> Fetched:
    """Fetch a card's weights to where ``--rec NAME`` finds them.

    The sha256 is that of the card, or else the one of the first time, which is written down.
    ``OptionError`` without ``accept_licence``, ``FacerError`` without a network, for a project that
    publishes no ONNX file, and for other bytes than expected.
    """
    card = find_card(name_or_path)
    target = weights_of(card)
    expected = card.file.sha256 or pinned_sha256(card)
    if target.is_file():
        found = weights_sha256(target)
        if expected and found != expected:
            raise FacerError(f"{target}: {_other(found, expected)}; remove it and fetch it again")
        _pin(card, found)
        return Fetched(target, found, 0)
    if not card.file.url:
        raise FacerError(f"{card.name}: there is no ONNX file to fetch; {how_to_get(card)}")
    if not accept_licence:
        raise OptionError(
            f"{card.name}: its licence is {card.file.licence!r} ({card.file.source}); read it, "
            f"then give {named('accept_licence')}"
        )
    with refusing("write", str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(target.parent, "fetching into it; wait for it"):
        found, n_bytes = _bring(card, target, expected)
    return Fetched(target, found, n_bytes, *_first_look(name_or_path))


def _bring(card: Card, target: Path, expected: str) -> tuple[str, int]:
    """Fetch a card's weights to ``target`` and pin them: their sha256, and how many bytes."""
    part = target.with_name(f"{target.name}.part")
    _refuse_strange(part)
    try:
        n_bytes = _download(card.file.url, part)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise FacerError(
            f"{card.name}: {card.file.url} cannot be fetched ({str(reason)[:200]}); run the same "
            f"command again to go on, or fetch it on another machine and put it at {target}"
        ) from error
    found = _checked(card, part, expected)
    _pin(card, found)
    with refusing("write", str(target)):
        part.replace(target)
    _forget(part)
    return found, n_bytes


def _refuse_strange(part: Path) -> None:
    """FacerError where something else is in the place of what is fetched: it may lead elsewhere."""
    for path in (part, _validator_of(part)):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise FacerError(
                f"{path}: found a link, folder or pipe, expected the beginning of a file that is "
                "fetched; remove it"
            )


def _checked(card: Card, part: Path, expected: str) -> str:
    """The sha256 of a fetched file; one that is not the card's is removed and refused."""
    found = weights_sha256(part)
    if expected and found != expected:
        problem = _other(found, expected)
    elif card.file.git_blob and git_blob(part) != card.file.git_blob:
        problem = f"found another file than git's {card.file.git_blob}, which the card names"
    elif read_onnx(part) is None:
        problem = "found no ONNX model there"
    else:
        return found
    _forget(part)
    raise FacerError(f"{card.name}: {card.file.url}: {problem}; not kept")


def _first_look(name_or_path: str) -> tuple[str, str]:
    """Record what fetched weights say of the package's picture: where, and what went wrong."""
    try:
        model = rec.load(name_or_path, "cpu")
        return (str(record(model)) if isinstance(model, CardRec) else ""), ""
    except FacerError as error:
        return "", str(error)


def git_blob(path: Path) -> str:
    """What git calls a file's content: SHA-1 over ``blob``, its length and itself."""
    with path.open("rb") as file:
        found = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def _other(found: str, expected: str) -> str:
    return f"found sha256 {found}, expected {expected}"


def _pin(card: Card, sha256: str) -> None:
    """Write down the digest of the first time."""
    if not card.file.sha256 and not pinned_sha256(card):
        values = {"sha256": sha256, "url": card.file.url, "file": card.file.name}
        write_atomic(pin_of(card), json.dumps(values, indent=1))


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_of(part).unlink(missing_ok=True)


def _validator_of(part: Path) -> Path:
    """The file that says of which version of the file a beginning is there."""
    return part.with_name(f"{part.name}.version")


def _download(url: str, part: Path) -> int:
    """Bring a file to ``part``, after the bytes of it that are there; how many were fetched."""
    headers = {"User-Agent": "facer", "Accept-Encoding": "identity"}
    version, start = _validator_of(part), 0
    if part.is_file() and version.is_file():
        known = version.read_bytes().decode(errors="replace")
        if known.isascii() and known.isprintable():  # as facer writes it
            start = part.stat().st_size
            headers |= {"Range": f"bytes={start}-", "If-Range": known}
    try:
        request = urllib.request.Request(url, headers=headers)
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not start:
            raise
        _forget(part)  # it is as long as the file or longer: from the beginning
        return _download(url, part)
    with answer:
        if url.startswith("https:") and not answer.url.startswith("https:"):
            raise ValueError(f"leads to {answer.url[:200]}, which is not https")
        start, total = _extent(answer, start)
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if validator and not validator.startswith("W/"):
            write_atomic(version, validator)
        else:
            version.unlink(missing_ok=True)
        done = _append(answer, part, start)
    if total is not None and done != total:
        raise ValueError(f"broke off after {done} of {total} bytes")
    return done - start


def _append(answer: Any, part: Path, start: int) -> int:
    """Write what an answer holds after the first ``start`` bytes of a file; how long it is now."""
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        done = start
        while block := answer.read(_BLOCK):
            done += len(block)
            if done > _MAX_BYTES:
                raise ValueError(f"more than {_MAX_BYTES >> 30} GB")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return done


def _extent(answer: Any, start: int) -> tuple[int, int | None]:
    """Where the bytes of an answer begin in the file, and how long that is."""
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if not found or int(found[1]) != start:
            raise ValueError("the server goes on elsewhere in the file")
        return start, int(found[2])
    length = answer.headers.get("Content-Length")
    total = int(length) if length and length.isdecimal() else None
    if total is not None and total > _MAX_BYTES:
        raise ValueError(f"{total} bytes, expected {_MAX_BYTES >> 30} GB at most")
    return 0, total
