"""Several networks at once: each sees its own crop, their columns are merged by name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from facer.stages.features.rec.crops import CropSpec
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.schema import (
    F32,
    FEATURE_GROUPS,
    FEATURE_NAMES,
    U8,
    columns_of,
    network_setting,
)


class Recogniser(Protocol):
    """One network: facer's own, an ONNX file in its layout, or a card's."""

    name: str
    sha256: str  # of the weights
    columns: tuple[str, ...]
    weak_features: tuple[str, ...]  # columns without labels of people behind them
    embedding_width: int  # D; 0 for none
    crop: CropSpec  # what it looks at
    precision: str  # what it is computed in: float32, bf16 ...
    card_sha256: str  # of what its card says of input and outputs; "" without a card

    @property
    def same_person(self) -> float | None:
        """Cosine of two embeddings of one person; None where they are no identities."""
        ...

    def predict(self, crops: U8) -> F32:
        """RGB uint8 (B, size, size, 3) -> float32 (B, F + D): ``columns``, embedding."""
        ...


class Recognisers:
    """One or several of them as one.

    Columns are in facer's order, those that facer does not know after them; a column that several
    give is that of the one preferred.
    """

    def __init__(self, members: Sequence[Recogniser], prefer: Sequence[str] = ()) -> None:
        self.members = tuple(members)
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise OptionError(f"{named('rec')}: found {', '.join(names)}, expected different ones")
        source = _choose(self.members, _preferences(self.members, prefer))
        self._preferred = {"prefer": ", ".join(prefer)} if prefer else {}
        own = [name for name in FEATURE_NAMES if name in source]
        self.columns = (*own, *(name for name in source if name not in FEATURE_NAMES))
        self.weak_features = tuple(
            name for name in self.columns if name in self.members[source[name]].weak_features
        )
        with_embedding = [i for i, member in enumerate(self.members) if member.embedding_width]
        if len(with_embedding) > 1:
            found = " and ".join(names[i] for i in with_embedding)
            raise OptionError(f"{named('rec')}: {found} both give an embedding, expected one")
        self._embedding = with_embedding[0] if with_embedding else None
        self.crops = tuple(dict.fromkeys(member.crop for member in self.members))
        self._crop = [self.crops.index(member.crop) for member in self.members]
        self._place = [self._indices(source, i) for i in range(len(self.members))]

    def _indices(self, source: dict[str, int], member: int) -> tuple[list[int], list[int]]:
        """Where the columns of a member that are taken lie in its own, and in all."""
        own = self.members[member].columns
        taken = [name for name in self.columns if source[name] == member]
        return [own.index(n) for n in taken], [self.columns.index(n) for n in taken]

    @property
    def name(self) -> str:
        """All names."""
        return " + ".join(member.name for member in self.members)

    @property
    def sha256(self) -> str:
        """Of the weights; of several, of their digests."""
        if len(self.members) == 1:
            return self.members[0].sha256
        return hashlib.sha256("\n".join(m.sha256 for m in self.members).encode()).hexdigest()

    @property
    def embedding_width(self) -> int:
        """D; 0 for none."""
        return 0 if self._embedding is None else self.members[self._embedding].embedding_width

    @property
    def same_person(self) -> float:
        """Cosine from which on two identity embeddings are one person's."""
        for member in self.members:
            if (threshold := member.same_person) is not None:
                return threshold
        raise OptionError(
            f"{named('identify')}: none of {named('rec')} gives an identity embedding; add a card "
            f"of a recognition network, such as {named('rec')} arcface-w600k"
        )

    @property
    def provenance(self) -> dict[str, str | int | float]:
        """Every card and file, where there is more to say than one name and digest."""
        if len(self.members) == 1 and not self.members[0].card_sha256:
            return {}
        found: dict[str, str | int | float] = {}
        for member in self.members:
            found[network_setting(member.name, "sha256")] = member.sha256
            if member.card_sha256:
                found[network_setting(member.name, "card_sha256")] = member.card_sha256
        return {**found, **self._preferred}

    def apart_from(self, precision: str) -> dict[str, str]:
        """Precision, by name, of the networks that are computed in another one."""
        return {m.name: m.precision for m in self.members if m.precision != precision}

    def predict(self, crops: Sequence[U8]) -> F32:
        """Crops (B, size, size, 3) for each of ``crops`` -> float32 (B, F + D), all finite.

        ``FacerError`` where a network gives other numbers.
        """
        rows = np.empty((len(crops[0]), len(self.columns) + self.embedding_width), np.float32)
        for number, member in enumerate(self.members):
            found = member.predict(crops[self._crop[number]])
            own, place = self._place[number]
            rows[:, place] = found[:, own]
            if number == self._embedding:
                rows[:, len(self.columns) :] = found[:, len(member.columns) :]
            if not np.isfinite(found).all():
                raise FacerError(f"{member.name}: gives numbers of a face that are not finite")
        return rows


def _preferences(members: Sequence[Recogniser], prefer: Sequence[str]) -> list[tuple[str, int]]:
    """(column, or "" for all, member) of each ``NAME``, ``COLUMN=NAME`` or ``GROUP=NAME``."""
    names = [member.name for member in members]
    chosen: list[tuple[str, int]] = []
    for text in prefer:
        what, _, name = text.rpartition("=")
        if name not in names:
            raise OptionError(
                f"{named('prefer')} {text}: expected one of {', '.join(names)} for a name"
            )
        number = names.index(name)
        columns = members[number].columns
        given = columns_of(what, columns) if what in FEATURE_GROUPS else {what} & {*columns}
        if what and not given:
            raise OptionError(f"{named('prefer')} {text}: {name} has no such column")
        chosen.extend((column, number) for column in (given if what else [""]))
    return chosen


def _choose(members: Sequence[Recogniser], preferred: list[tuple[str, int]]) -> dict[str, int]:
    """The member of each column; ``OptionError`` where several give it and none is preferred."""
    givers: dict[str, list[int]] = {}
    for number, member in enumerate(members):
        for column in member.columns:
            givers.setdefault(column, []).append(number)
    source = {column: numbers[0] for column, numbers in givers.items()}
    open_columns: dict[str, list[int]] = {}
    for column, numbers in givers.items():
        wanted = [n for name, n in preferred if name == column and n in numbers]
        wanted += [n for name, n in preferred if not name and n in numbers]
        if wanted:
            source[column] = wanted[0]
        elif len(numbers) > 1:
            open_columns[column] = numbers
    if open_columns:
        first, numbers = next(iter(open_columns.items()))
        more = f" and {len(open_columns) - 1} more" if len(open_columns) > 1 else ""
        both = " and ".join(members[n].name for n in numbers)
        raise OptionError(
            f"{named('rec')}: {both} both give {first}{more}; say which with "
            f"{named('prefer')} {members[numbers[0]].name}, or {named('prefer')} "
            f"{first}={members[numbers[-1]].name}"
        )
    return source
