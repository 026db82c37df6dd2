"""The root of a store: its version, its columns and what made them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from facer.storage.errors import DamagedError, FacerError
from facer.storage.layout import documents
from facer.storage.schema import STORE_VERSION, Provenance

FORMAT = "facer-features"
UNNAMED_SETTINGS: Mapping[str, Any] = MappingProxyType({"precision": "float32"})
"""What settings are in a store that does not name them, as those of an earlier facer."""
_NOT_COMPARED = ("facer_version", "libav_version", "settings")  # settings are compared one by one

SEALED = ("format", "version", "feature_names", "weak_features", "provenance")
"""Attributes of the root that its checksum is over."""


@dataclass(frozen=True)
class Root:
    """What the root group says about every part."""

    version: int
    feature_names: tuple[str, ...]
    weak_features: tuple[str, ...]
    provenance: Provenance
    checksum: str = ""  # of the document that says so; "" in version 1


def check_names(root: Root) -> None:
    """Refuse repeated feature names and weak features that are no features."""
    names = root.feature_names
    if not names or len(set(names)) != len(names):
        raise FacerError(f"feature names: found {names}, expected distinct names")
    strangers = set(root.weak_features) - set(names)
    if strangers:
        raise FacerError(f"weak features: found {sorted(strangers)}, expected names among {names}")


def root_json(root: Root) -> bytes:
    """Return the root group's ``zarr.json``."""
    return documents.sealed_group_json(root_attributes(root))


def root_attributes(root: Root) -> dict[str, object]:
    """Return the attributes that make a group a feature store."""
    return {
        "format": FORMAT,
        "version": root.version,
        "feature_names": list(root.feature_names),
        "weak_features": list(root.weak_features),
        "provenance": asdict(replace(root.provenance, settings=dict(root.provenance.settings))),
    }


def parse_root(data: bytes, where: str) -> Root:
    """Read a root group's ``zarr.json``; FacerError when it is no store's or a newer one's."""
    try:
        attributes = documents.parse_group(data, strict=False)
    except (ValueError, KeyError, TypeError) as error:
        raise FacerError(f"{where}: its zarr.json is not a Zarr v3 group's ({error!r})") from error
    root = parse_attributes(attributes, where)
    try:
        if root.version > 1:
            documents.parse_group(data, strict=True)
        documents.check_seal(data, attributes, SEALED, required=root.version > 1)
    except (ValueError, KeyError, TypeError, DamagedError) as error:
        raise _damaged(where, error) from error
    return replace(root, checksum=attributes.get(documents.CHECKSUM, ""))


def parse_attributes(attributes: Mapping[str, Any], where: str) -> Root:
    """Read :func:`root_attributes`; FacerError when they are no store's or a newer one's."""
    try:
        if attributes["format"] != FORMAT:
            raise ValueError(f"format {attributes['format']!r}")
        version = operator.index(attributes["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise FacerError(
            f"{where}: found something that is not a feature store ({str(error)[:200]}), "
            f"expected attribute format {FORMAT!r}"
        ) from error
    if version > STORE_VERSION:
        raise FacerError(
            f"{where}: found store version {version:.6g}, expected at most {STORE_VERSION}; "
            f"update facer"
        )
    try:
        root = Root(
            version,
            _names(attributes["feature_names"]),
            _names(attributes["weak_features"]),
            _provenance(attributes["provenance"]),
        )
        if version < 1:
            raise ValueError(f"version {version}")
        check_names(root)
    except (KeyError, TypeError, ValueError, FacerError) as error:
        raise _damaged(where, error) from error
    return root


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(type(name) is str for name in values):
        raise TypeError(f"names {str(values)[:40]}")
    return tuple(values)


def _provenance(values: Mapping[str, Any]) -> Provenance:
    if not isinstance(values, dict):
        raise TypeError(f"provenance {str(values)[:40]}")
    known = {field.name for field in fields(Provenance)}  # later versions may say more
    values = {name: value for name, value in values.items() if name in known}
    settings = values["settings"]
    texts = [value for name, value in values.items() if name != "settings"]
    if not (
        isinstance(settings, dict)
        and all(isinstance(value, str | int | float) for value in settings.values())
        and all(isinstance(value, str) for value in texts)
    ):
        raise TypeError("provenance of other types than text and numbers")
    return Provenance(**{**_decoder_of_old(values), **values})


def _damaged(where: str, error: Exception) -> DamagedError:
    reason = error if isinstance(error, FacerError) else repr(error)
    return DamagedError(
        f"{where}: what it says of itself is damaged ({str(reason)[:300]}); put a copy of it back, "
        f"or make another"
    )


def _decoder_of_old(provenance: Mapping[str, Any]) -> dict[str, str]:
    """What a store made before there was a choice says of its decoder."""
    return {"decoder": "" if "imported" in provenance.get("settings", {}) else "opencv"}


def provenance_differences(one: Provenance, other: Provenance) -> list[tuple[str, Any, Any]]:
    """Return (name, value of one, of the other) of each field that makes features incomparable.

    A setting is called ``settings NAME``, and is None where it is not named. Weights are the same
    by their digest, whatever they are called.
    """
    same = [name for name in ("detector", "rec") if _same_weights(name, one, other)]
    names = [f.name for f in fields(Provenance) if f.name not in (*_NOT_COMPARED, *same)]
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in names]
    a, b = ({**UNNAMED_SETTINGS, **made.settings} for made in (one, other))
    pairs += [(f"settings {name}", a.get(name), b.get(name)) for name in sorted({*a, *b})]
    return [(name, left, right) for name, left, right in pairs if left != right]


def _same_weights(name: str, one: Provenance, other: Provenance) -> bool:
    digests = [getattr(made, f"{name}_sha256") for made in (one, other)]
    return bool(digests[0]) and digests[0] == digests[1]


def differences(store: Root, run: Root) -> list[str]:
    """Return "field (store: X, run: Y)" for each field that makes features incomparable."""
    pairs = provenance_differences(store.provenance, run.provenance)
    pairs += [
        (name, getattr(store, name), getattr(run, name))
        for name in ("feature_names", "weak_features")
    ]
    return [f"{name} (store: {a}, run: {b})" for name, a, b in pairs if a != b]


def refuse_other_run(where: str, store: Root, run: Root) -> None:
    """Refuse to add features to a store whose own were made otherwise, with each difference."""
    found, expected = store.provenance.kind, run.provenance.kind
    if found != expected:
        raise FacerError(
            f"{where}: found a store of {found}, expected one of {expected}; use another store"
        )
    if differing := differences(store, run):
        advice = "use the same settings or another store"
        if all("_sha256 (" in one for one in differing):
            advice = (
                "weights of the same name are others now, as facer's own are from version to "
                "version; use another store, or the weights of before"
            )
        names = "; ".join(differing)
        raise FacerError(f"{where}: the store and this run differ in {names}; {advice}")
