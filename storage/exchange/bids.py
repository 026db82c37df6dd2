"""Clips as a BIDS derivative: physio recordings on an even grid, events, descriptions.

BIDS 1.10, "Physiological recordings": tsv.gz without a header line, ``n/a`` where nothing was
measured, a json beside it with SamplingFrequency, StartTime and Columns.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from facer.storage.files.cells import safe_cell
from facer.storage.schema import F64
from facer.storage.text.names import distinct

VERSION = "1.10.0"
_LETTERS = 50  # of a label


def label(text: str, otherwise: str) -> str:
    """Return a BIDS label: letters and digits only, so few that three fit into a file's name.

    >>> label("P 01-b", "x"), label("--", "x")
    ('P01b', 'x')
    """
    return re.sub(r"[^A-Za-z0-9]", "", text)[:_LETTERS] or otherwise


def labels(names: Iterable[str], otherwise: str) -> Mapping[str, str]:
    """Return a label for each different name, no two of them the same.

    >>> labels(["1_2", "12"], "unknown")
    {'12': '12', '1_2': '12x2'}
    """
    return distinct(names, lambda name: label(name, otherwise), "x")


def stem(subject: str, session: str, task: str, run: int = 0) -> tuple[str, str]:
    """Return the folder and the beginning of the names of a recording's files."""
    parts = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    name = "_".join([*parts, f"task-{task}", *([f"run-{run}"] if run else [])])
    return "/".join([*parts, "beh"]), name


def rows(values: F64) -> bytes:
    """Return a gzipped table without header; equal numbers give equal bytes."""
    lines = [
        "\t".join("n/a" if cell != cell else f"{cell:.6g}" for cell in row)
        for row in values.tolist()
    ]
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return out.getvalue()


def sidecar(
    rate_hz: float, start_s: float, columns: Mapping[str, tuple[str, str]], **more: Any
) -> str:
    """Return the json of a recording; ``columns``: definition and unit by name."""
    described = {
        name: {"Description": definition, "Units": unit or "arbitrary"}
        for name, (definition, unit) in columns.items()
    }
    return _json({
        "SamplingFrequency": rate_hz, "StartTime": start_s, "Columns": list(columns), **described,
        **more,
    })  # fmt: skip


def events(of: Sequence[tuple[float, float | None, str]]) -> str:
    """Return events.tsv of (onset, duration, trial type)."""
    lines = ["onset\tduration\ttrial_type"]
    lines += [
        f"{onset:.12g}\t{'n/a' if duration is None else f'{duration:.12g}'}\t{_text(kind)}"
        for onset, duration, kind in sorted(of, key=lambda event: event[0])
    ]
    return "\n".join(lines) + "\n"


def participants(of: Mapping[str, str]) -> dict[str, str]:
    """Return participants.tsv and its json, by file name; ``of``: names by subject's label."""
    lines = ["participant_id\tname"]
    lines += [f"sub-{subject}\t{_text(name)}" for subject, name in of.items()]
    described = {"name": {"Description": "the participant's name in the design, or the clip's id"}}
    return {
        "participants.tsv": "\n".join(lines) + "\n", "participants.json": _json(described)
    }  # fmt: skip


def description(version: str) -> str:
    """Return dataset_description.json."""
    return _json({
        "Name": "facial expression", "BIDSVersion": VERSION, "DatasetType": "derivative",
        "License": "n/a", "GeneratedBy": [{"Name": "facer", "Version": version}],
    })  # fmt: skip


def _text(text: str) -> str:
    """Return one line, of which no spreadsheet makes a formula."""
    return safe_cell(" ".join(text.split())) or "n/a"


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
