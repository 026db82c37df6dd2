"""Any column of a label file, by the rows of the labels: countries, rigs, sessions."""

from __future__ import annotations

from pathlib import Path

from facer.storage.errors import FacerError, named
from facer.storage.files.csv_table import CsvTable, plain_name, read_table
from facer.storage.labels.challenges import bare_id
from facer.storage.labels.table import IntensityLabels


def label_column(labels: IntensityLabels, name: str) -> tuple[str, ...]:
    """The cells of a column, (C,), for the rows of the labels; "" where a row has none.

    ``subject`` and ``split`` are those that the labels were read with. Other columns are found
    in the files that were read, upper or lower case. Raises FacerError, with the columns there
    are, when none is called so.
    """
    roles = {"subject": labels.subjects, "split": labels.splits}
    for role, values in roles.items():
        wanted = {role, plain_name(labels.columns.get(role, role))}
        if plain_name(name) in wanted and any(values):
            return values
    found: dict[str, str] = {}
    columns: list[str] = []
    for path in labels.files:
        table = read_table(Path(path))
        columns += [column for column in table.header if column not in columns]
        column = table.index(name)
        if column is not None:
            ids = table.column(_id_column(table, labels))
            cells = zip(map(bare_id, ids), table.column(column), strict=True)
            found |= {clip_id: cell for clip_id, cell in cells if cell}
    if not found:
        raise FacerError(
            f"{named('by')} {name}: {labels.source}: found no such column with values, "
            "expected one of "
            f"{', '.join(filter(None, columns))}"
        )
    return tuple(found.get(bare_id(clip_id), "") for clip_id in labels.clip_ids)


def _id_column(table: CsvTable, labels: IntensityLabels) -> int:
    """The column that the ids were read from; the first in a file that has none of this name."""
    name = labels.columns.get("id")
    return table.header.index(name) if name in table.header else 0
