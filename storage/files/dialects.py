"""What a csv file is written in: its encoding, its separator, and what stands before the header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facer.storage.errors import FacerError, one_line
from facer.storage.files.regular import LFS_POINTER, open_regular

_HEAD_BYTES = 1 << 16
_HEAD_ROWS = 50
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")
_OTHER_ENCODINGS = (
    "; where that is not what the table says, it is another: CP1250 (Polish, Czech ...), CP1254 "
    "(Turkish), CP932 (Japanese), GB18030 or BIG5 (Chinese), CP949 (Korean)"
)
_SEARCHED_BYTES = 1 << 26  # for the first line in another encoding
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
_MARKS = (  # of the encodings, the longest first
    (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "UTF-32"),
    (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8 with mark"),
    (b"\xff\xfe", "utf-16", "UTF-16 LE"),
    (b"\xfe\xff", "utf-16", "UTF-16 BE"),
)
_EXCEL = "in Excel: File > Save as > CSV UTF-8"
_PANDAS = "in Python: pandas.{0}(...).to_csv('labels.csv', index=False)"
_R = "in R: write.csv(x, 'labels.csv', row.names = FALSE)"
_NUMPY = "write ids and names beside the numbers, as csv"
_SPSS = "in SPSS: File > Save as > CSV, or " + _PANDAS.format("read_spss")
_CODING = "in {}, then name its columns clip_id, onset_s, duration_s and trial_type"
_STATA = "in Stata: export delimited, or " + _PANDAS.format("read_stata")
_FORMATS: tuple[tuple[str, str, tuple[str, ...], tuple[bytes, ...]], ...] = (
    # what it is, what to do, endings, first bytes
    ("an Excel workbook (or another zip file)", _EXCEL, (), (b"PK\x03\x04",)),
    ("an Excel workbook (.xls)", _EXCEL, (), (b"\xd0\xcf\x11\xe0",)),
    ("an OpenDocument table", "in LibreOffice: Save as > Text CSV, UTF-8", (".ods",), ()),
    ("a Numbers document", "in Numbers: File > Export To > CSV, UTF-8", (".numbers",), ()),
    ("a Word document", "save its table as CSV UTF-8", (".docx", ".doc"), ()),
    ("a file of JASP or jamovi", "export its data as csv", (".jasp", ".omv"), ()),
    ("a packed file", "unpack it first", (".zip", ".tar", ".rar"), ()),
    ("an ELAN file", _CODING.format("ELAN: File > Export As > Tab-delimited Text"), (".eaf",), ()),
    ("a Praat TextGrid", _CODING.format("Praat: Down to Table, Save as comma-separated file"),
     (".textgrid",), (b"File type = \"ooTextFile",)),
    ("a BORIS project", _CODING.format("BORIS: Observations > Export events"), (".boris",), ()),
    ("a NOVA annotation", _CODING.format("NOVA: export the annotation as csv"),
     (".annotation", ".annotation~"), ()),
    ("ratings over time of CARMA or DARMA", "labels are one row a clip: write the mean of a file's "
     "ratings beside the clip's id", (), (b"Time of Rating",)),
    ("an SPSS file", _SPSS, (".sav", ".zsav", ".por"), (b"$FL", b"ASCII SPSS PORT FILE")),
    ("a SAS file", "in SAS: PROC EXPORT, or " + _PANDAS.format("read_sas"), (".sas7bdat", ".xpt"),
     (b"HEADER RECORD***",)),
    ("a Stata file", _STATA, (".dta",), (b"<stata_dta>",)),
    ("a Parquet file", _PANDAS.format("read_parquet"), (".parquet",), (b"PAR1",)),
    ("a Feather file", _PANDAS.format("read_feather"), (".feather",), (b"ARROW1", b"FEA1")),
    ("an R data file", _R, (".rds", ".rda", ".rdata"), (b"RDX2", b"RDX3")),
    ("an HDF5 file", _PANDAS.format("read_hdf"), (), (b"\x89HDF",)),
    ("a gzip file", "unpack it first (gunzip)", (), (b"\x1f\x8b",)),
    ("a bzip2 file", "unpack it first (bunzip2)", (), (b"BZh",)),
    ("an xz file", "unpack it first (unxz)", (), (b"\xfd7zXZ",)),
    ("a zstd file", "unpack it first (unzstd)", (), (b"\x28\xb5\x2f\xfd",)),
    ("a 7z archive", "unpack it first", (), (b"7z\xbc\xaf",)),
    ("a pickle, which facer never opens", _PANDAS.format("read_pickle"), (".pkl",),
     (b"\x80\x04\x95",)),
    ("a NumPy array", _NUMPY, (), (b"\x93NUMPY",)),
    ("NumPy arrays", _NUMPY, (".npz",), ()),
    ("a database", "export the table as csv", (), (b"SQLite format 3",)),
    ("a PDF", "ask its authors for the table as csv", (), (b"%PDF",)),
    ("a MATLAB file", "in MATLAB: writetable(t, 'labels.csv')", (".mat",), (b"MATLAB 5.0",)),
    ("rich text", "save it as plain text, UTF-8", (), (b"{\\rtf",)),
    ("JSON", _PANDAS.format("read_json"), (".json",), (b"{", b"[{", b"[[")),
    ("JSON lines", _PANDAS.format("read_json"), (".jsonl",), ()),
    ("a Git LFS pointer", "run: git lfs pull", (), (LFS_POINTER,)),
    ("HTML or XML", "save the table itself as CSV UTF-8", (), (b"<",)),
)  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """How a csv file is written; as text, what facer took the file for."""

    separator: str = ","
    codec: str = "utf-8"  # Python's name
    encoding: str = "UTF-8"
    sep_line: bool = False  # Excel's ``sep=;`` stands above the header
    row_names: bool = False  # R's: rows have one cell more than the header, 1, 2, 3 ...

    def __str__(self) -> str:
        parts = [f"{_SEPARATORS.get(self.separator, repr(self.separator))}-separated"]
        parts.append(self.encoding)
        parts += ["first line sep="] * self.sep_line
        parts += ["R's row names left out"] * self.row_names
        return ", ".join(parts)


def find_dialect(path: Path) -> Dialect:
    """Tell a csv file's encoding by its mark and its separator by its first rows.

    Raises FacerError for a file of another kind, which it names, with what to do.
    """
    try:
        with open_regular(path, "csv text", str(path)) as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise FacerError(f"{path}: cannot be read: {one_line(error)}") from error
    _refuse_other_formats(path, head)
    codec, encoding = next(
        ((codec, name) for mark, codec, name in _MARKS if head.startswith(mark)), ("utf-8", "UTF-8")
    )
    if codec == "utf-8" and b"\x00" in head:
        raise FacerError(
            f"{path}: found bytes of value 0, expected text (UTF-16 without its mark?); save the "
            "file as CSV UTF-8"
        )
    text = head.decode(codec, errors="replace")
    lines = list(io.StringIO(text, newline=""))
    if len(head) == _HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut off in its middle
    first = lines[0].strip('\r\n" ').lower() if lines else ""
    if first.startswith("sep=") and len(first) <= 5:
        rows, separator = lines[1:], lines[0].strip('\r\n"')[4:5] or "\t"
    else:
        rows, separator = lines, _separator(lines)
    return Dialect(
        separator, codec, encoding, len(rows) < len(lines), _has_row_names(rows, separator)
    )


def _refuse_other_formats(path: Path, head: bytes) -> None:
    by_ending = [one for one in _FORMATS if path.suffix.lower() in one[2]]
    packed = b"".join(head[:64].removeprefix(b"\xef\xbb\xbf").split())  # as JSON's first brackets
    by_bytes = [one for one in _FORMATS if head.startswith(one[3]) or packed.startswith(one[3])]
    for name, advice, _, _ in (by_ending or by_bytes)[:1]:
        raise FacerError(f"{path}: found {name}, expected csv text; {advice}")


def _separator(lines: Sequence[str]) -> str:
    """Return what separates the header into most names such that the rows have as many cells."""

    def score(separator: str) -> tuple[float, int]:
        widths = [len(row) for row in _rows(lines, separator)]
        if not widths or widths[0] < 2:
            return 0.0, 0
        agree = sum(width - widths[0] in (0, 1) for width in widths) / len(widths)
        return agree, widths[0]

    best = max([";", "\t", "|", ","], key=score)
    if score(best)[1]:
        return best
    return " " if score(" ")[0] == 1 else ","


def _has_row_names(lines: Sequence[str], separator: str) -> bool:
    """Tell R's row names: rows of one cell more than the header, that count 1, 2, 3 ...

    Not where the last cell is empty in all rows, which a separator at the end of a line makes. R
    writes them in quotes; without, whole numbers beside them may be halves of decimals (``3,5``).
    """
    header, *rows = _rows(lines, separator) or [[]]
    counted = bool(rows) and all(
        len(row) == len(header) + 1 and row[0] == str(number) for number, row in enumerate(rows, 1)
    )
    if not counted or not any(row[-1].strip() for row in rows):
        return False
    quoted = all(line.lstrip().startswith('"') for line in lines[1:] if line.strip())
    return quoted or not all(_WHOLE.fullmatch(row[1].strip()) for row in rows)


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    rows = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) > _HEAD_ROWS:
                break
    except csv.Error:
        pass  # told with its line when the file is read
    return rows


def undecodable(path: Path, dialect: Dialect) -> str:
    """Return the message on a file that is not in the encoding that it seemed to be in."""
    if dialect.codec == "utf-16":
        return f"{path}: cannot be read as UTF-16, which its mark says; save it as CSV UTF-8"
    with open_regular(path, "csv text", str(path)) as file:
        lines = file.read(_SEARCHED_BYTES).splitlines()
    for number, line in enumerate(lines, 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            word = line.decode("cp1252", errors="replace")
            start = max(word.rfind(c, 0, error.start) for c in ',;\t" ') + 1
            shown = word[start : error.start + 12].split(dialect.separator)[0][:40]
            return (
                f"{path}:{number}: cannot be read as utf-8 csv: byte {line[error.start]:#04x} "
                f"({shown!r}, if this is Windows-1252 or Latin-1); save the file as CSV UTF-8, "
                f"or: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8-{path.name}"
                f"{_OTHER_ENCODINGS}"
            )
    return f"{path}: cannot be read as utf-8 csv; save it as CSV UTF-8"
