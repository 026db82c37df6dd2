"""The root of a store: its version, its columns and what made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from facer.storage.errors import FacerError
from facer.storage.parts import group_json
from facer.storage.schema import STORE_VERSION, Provenance

FORMAT = "facer-features"
_NOT_COMPARED = ("facer_version", "libav_version", "settings")  # settings are compared one by one


@dataclass(frozen=True)
class Root:
    """What the root group says about every part."""

    version: int
    feature_names: tuple[str, ...]
    weak_features: tuple[str, ...]
    provenance: Provenance


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
    return group_json(root_attributes(root))


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
        attributes = json.loads(data)["attributes"]
    except (ValueError, KeyError, TypeError) as error:
        raise FacerError(f"{where}: its zarr.json is not a Zarr v3 group's ({error!r})") from error
    return parse_attributes(attributes, where)


def parse_attributes(attributes: Mapping[str, Any], where: str) -> Root:
    """Read :func:`root_attributes`; FacerError when they are no store's or a newer one's."""
    try:
        if attributes["format"] != FORMAT:
            raise ValueError(f"format {attributes['format']!r}")
        version = int(attributes["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise FacerError(
            f"{where}: found something that is not a feature store ({error!r}), "
            f"expected attribute format {FORMAT!r}"
        ) from error
    if version > STORE_VERSION:
        raise FacerError(
            f"{where}: found store version {version}, expected at most {STORE_VERSION}; "
            f"update facer"
        )
    try:
        return Root(
            version,
            tuple(attributes["feature_names"]),
            tuple(attributes["weak_features"]),
            Provenance(**{**_decoder_of_old(attributes["provenance"]), **attributes["provenance"]}),
        )
    except (KeyError, TypeError) as error:
        raise FacerError(f"{where}: its attributes are damaged ({error!r})") from error


def _decoder_of_old(provenance: Mapping[str, Any]) -> dict[str, str]:
    """What a store made before there was a choice says of its decoder."""
    return {"decoder": "" if "imported" in provenance.get("settings", {}) else "opencv"}


def differences(store: Root, run: Root) -> list[str]:
    """Return "field: store X, run Y" for each field that makes features incomparable."""
    pairs = [
        (f.name, getattr(store.provenance, f.name), getattr(run.provenance, f.name))
        for f in fields(Provenance)
        if f.name not in _NOT_COMPARED
    ]
    ours, theirs = store.provenance.settings, run.provenance.settings
    pairs += [
        (f"settings {name}", ours.get(name), theirs.get(name)) for name in sorted({*ours, *theirs})
    ]
    pairs += [
        (name, getattr(store, name), getattr(run, name))
        for name in ("feature_names", "weak_features")
    ]
    return [f"{name} (store: {a}, run: {b})" for name, a, b in pairs if a != b]
