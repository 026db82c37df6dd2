"""A part is written: its arrays first, and its records last, which make it exist."""

from __future__ import annotations

from collections.abc import Sequence

from facer.storage.errors import FacerError
from facer.storage.files.objects import Objects
from facer.storage.layout.arrays import encode_arrays, seal
from facer.storage.layout.documents import group_json
from facer.storage.layout.part_list import DOCUMENT
from facer.storage.layout.parts import (
    PARTS,
    Entry,
    Part,
    concatenate,
    new_part_id,
    parse_part,
    part_id_after,
    part_json,
)
from facer.storage.schema import STORE_VERSION


def write_part(
    objects: Objects, entries: Sequence[Entry], n_columns: int, root_checksum: str, after: str
) -> Part:
    """Write checked entries as the latest part, or as one that comes right ``after`` another.

    ``root_checksum``: of the store's root, whose part it is. Raises FacerError when the place
    refuses; nothing is left then.
    """
    arrays = concatenate(entries, n_columns)
    encoded = encode_arrays(arrays)
    documents = {name: encoded[f"{name}/{DOCUMENT}"] for name in arrays}
    seals = {name: seal(values, documents[name]) for name, (values, _) in arrays.items()}
    commit = part_json(entries, seals, root_checksum)
    if objects.get(f"{PARTS}/{DOCUMENT}") is None:
        objects.put(f"{PARTS}/{DOCUMENT}", group_json({}))
    part_id = part_id_after(after) if after else new_part_id(objects.children(PARTS))
    prefix = f"{PARTS}/{part_id}"
    try:
        objects.put_many({f"{prefix}/{key}": data for key, data in encoded.items()})
    except BaseException:
        objects.delete(prefix)
        raise
    try:
        objects.put(f"{prefix}/{DOCUMENT}", commit)
    except FacerError:  # an interrupt leaves the part whole or invisible
        objects.delete(prefix)
        raise
    part = parse_part(commit, part_id, objects.location, STORE_VERSION, root_checksum)
    assert part is not None
    return part
