"""How labelled sets are named: ``affwild2:DIR``, ``affectnet:DIR``, ``pack:FILE.h5`` ..."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from facer.stages.affect.datasets.affectnet import read_affectnet
from facer.stages.affect.datasets.affwild2 import read_affwild2, validation_videos
from facer.stages.affect.datasets.aligned import Aligner
from facer.stages.affect.datasets.emotionet import read_emotionet
from facer.stages.affect.datasets.label_files import Split
from facer.stages.affect.datasets.packs import read_pack
from facer.stages.affect.datasets.samples import AffectSet
from facer.storage.errors import OptionError, named

Kind = Literal["affwild2", "affectnet", "emotionet", "pack"]


@dataclass(frozen=True)
class DataSpec:
    """A database's kind and where it lies."""

    kind: Kind
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"


def parse_spec(text: str) -> DataSpec:
    """Take a ``KIND:PATH`` apart; ``FacerError`` naming the kinds for anything else.

    >>> parse_spec("pack:faces/own.h5").kind
    'pack'
    """
    kind, colon, path = text.partition(":")
    if not colon or kind not in get_args(Kind) or not path:
        raise OptionError(
            f"{named('data')}: found {text!r}, expected KIND:PATH with one of the kinds "
            f"{', '.join(get_args(Kind))}, such as affwild2:DIR or pack:FILE.h5"
        )
    return DataSpec(cast(Kind, kind), Path(path).expanduser())


def held_out_videos(specs: Iterable[DataSpec]) -> frozenset[str]:
    """Videos of Aff-Wild2 that no training set may hold: in the val split of any of ``specs``."""
    roots = [spec.path for spec in specs if spec.kind == "affwild2"]
    return frozenset().union(*map(validation_videos, roots))


def read_spec(
    spec: DataSpec, split: Split, aligner: Aligner, held_out: frozenset[str] = frozenset()
) -> AffectSet:
    """One split (``train`` or ``val``) of a database; photographs are aligned by ``aligner``.

    ``held_out`` are videos of Aff-Wild2 that train leaves out (:func:`held_out_videos`).
    """
    if spec.kind == "affwild2":
        return read_affwild2(spec.path, split, held_out)
    if spec.kind == "affectnet":
        return read_affectnet(spec.path, split, aligner)
    if spec.kind == "emotionet":
        return read_emotionet(spec.path, split, aligner)
    return read_pack(spec.path, split)
