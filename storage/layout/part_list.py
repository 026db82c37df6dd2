"""The parts of a store, as they are listed and as others write and remove them meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from facer.storage.errors import DamagedError, FacerError
from facer.storage.files.objects import Objects
from facer.storage.layout.parts import PARTS, Part, parse_part
from facer.storage.schema import Record

DOCUMENT = "zarr.json"
_TRIES = 5  # at what another process changes meanwhile
_log = logging.getLogger("facer")
_Read = TypeVar("_Read")


class PartList:
    """Parts that can be read, by id, those that cannot, and the latest record of each clip.

    The list is read at first use and again by :meth:`refresh`.
    """

    def __init__(self, objects: Objects, version: int, root_checksum: str) -> None:
        self.objects = objects
        """What the store is made of."""
        self.version = version
        """Version of the store's format."""
        self.root_checksum = root_checksum
        """Of the document that says what made the store's features; "" in version 1."""
        self._parts: dict[str, Part] | None = None
        self._damaged: dict[str, DamagedError] = {}
        self._latest: dict[str, Record] | None = None

    @property
    def parts(self) -> Mapping[str, Part]:
        """Every part that is read, by id, in the order in which they were written."""
        if self._parts is None:
            self.refresh()
        return MappingProxyType(self._parts or {})

    @property
    def damaged(self) -> Mapping[str, DamagedError]:
        """Parts whose records are damaged, with the reason: their clips are not in the list."""
        self._index()
        return MappingProxyType(self._damaged)

    def _index(self) -> dict[str, Record]:
        """Return the latest record of every clip, by its id, sorted."""
        if self._parts is None:
            self.refresh()
        latest = self._latest  # another thread may refresh meanwhile
        if latest is None:
            found = {r.clip_id: r for part in self.parts.values() for r in part.records}
            self._latest = latest = dict(sorted(found.items()))
        return latest

    def refresh(self) -> None:
        """Look for parts that were written or removed since the list was read.

        FacerError, and the list stays, where the whole store is gone.
        """
        known, damaged = self._parts or {}, self._damaged
        for _ in range(_TRIES):  # a part that goes after it was listed leaves its clips in another
            names = self.part_names()
            if not names and self.objects.get(DOCUMENT) is None:
                raise FacerError(
                    f"{self.objects.location}: the store is gone, expected it where it was opened; "
                    "see that its disk is there and that nobody moved it"
                )
            new = [name for name in names if name not in known]
            found = self.objects.get_many([f"{PARTS}/{name}/{DOCUMENT}" for name in new])
            if None not in found or self.part_names() == names:
                break
        parts = {name: known[name] for name in names if name in known}
        self._damaged = {}
        for name, data in zip(new, found, strict=True):
            try:
                part = self._parsed(name, data)
                if part is not None:
                    parts[name] = part
            except DamagedError as error:
                self._damaged[name] = error
                if name not in damaged:
                    _log.warning("%s", error)
        self._keep(parts)

    def _parsed(self, name: str, data: bytes | DamagedError | None) -> Part | None:
        if isinstance(data, DamagedError):
            raise data
        return None if data is None else self.parse(name, data)

    def parse(self, name: str, data: bytes) -> Part | None:
        """Read the document of a part of this store, as :func:`parse_part`."""
        return parse_part(data, name, self.objects.location, self.version, self.root_checksum)

    def _keep(self, parts: Mapping[str, Part]) -> None:
        self._parts, self._latest = {name: parts[name] for name in sorted(parts)}, None

    def _add(self, part: Part) -> None:
        """Take in a part that was just written, where the list has been read."""
        if self._parts is not None:
            self._keep({**self._parts, part.id: part})

    def part_names(self) -> list[str]:
        """Ids of all parts, sorted; also of those whose writer has not committed them.

        FacerError where a place gives files but does not list them, as many web servers.
        """
        names = self.objects.children(PARTS)
        group = f"{PARTS}/{DOCUMENT}"
        if DOCUMENT not in names and self.objects.get(group) is not None:
            names = self.objects.children(PARTS)  # the first part may have come meanwhile
            if DOCUMENT not in names:
                raise FacerError(
                    f"{self.objects.location}/{PARTS}: found no list of the parts, expected a "
                    "place that lists its folders; copy the store to this machine"
                )
        return [name for name in names if name != DOCUMENT and not name.startswith(".")]

    def retrying(self, read: Callable[[], _Read]) -> _Read:
        """Read again where parts went meanwhile because others have their clips now.

        That is what ``facer compact`` does. Raises what ``read`` raises when no part went.
        """
        for _ in range(_TRIES):
            before = set(self.parts)
            try:
                return read()
            except DamagedError:
                self.refresh()
                if before <= set(self.parts):
                    raise
        return read()
