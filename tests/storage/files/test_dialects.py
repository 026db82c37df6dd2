"""What csv files are written in: separators, encodings, absent values, other kinds of files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from facer.storage import FacerError, read_labels
from facer.storage.files.cells import is_absent, parse_number
from facer.storage.files.csv_table import read_table

ROWS = [["clip_id", "split", "joy"], ["00001", "train", "0.5"], ["00002", "val", "0.25"]]


def text_of(separator: str, decimal: str = ".", newline: str = "\n") -> str:
    lines = [separator.join(row) for row in ROWS]
    return newline.join([lines[0], *(line.replace(".", decimal) for line in lines[1:])]) + newline


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (text_of(",").encode(), "comma-separated, UTF-8"),
        (text_of(";", ",", "\r\n").encode("utf-8-sig"), "semicolon-separated, UTF-8 with mark, de"),
        (text_of("\t").encode("utf-16"), "tab-separated, UTF-16 LE"),
        (b"\xfe\xff" + text_of("\t", ",").encode("utf-16-be"), "tab-separated, UTF-16 BE, decimal"),
        (text_of("|", newline="\r").encode(), "bar-separated"),
        (text_of(" ").encode(), "space-separated"),
        (b"sep=,\r\n" + text_of(",", newline="\r\n").encode(), "comma-separated, UTF-8, first li"),
        (b"sep=;\n" + text_of(";", ",").encode(), "semicolon-separated, UTF-8, first line sep="),
        (text_of(";", ",").encode(), "decimal comma"),
        (
            b'clip_id,split,joy\n00001,train,"0,5"\n00002,val,"0,25"\n',
            "comma-separated, UTF-8, dec",
        ),
        (b"clip_id,split,joy\n00001,train,50%\n00002,val,25 %\n", "55% read as 0.55"),
        (
            b'"clip_id" "split" "joy"\n"1" "00001" "train" 0.5\n"2" "00002" "val" 0.25\n',
            "row names",
        ),
    ],
)
def test_dialects_are_read_and_said(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "l.csv").write_bytes(data)
    labels = read_labels(tmp_path / "l.csv")
    assert labels.clip_ids == ("00001", "00002")
    assert labels.splits == ("train", "val")
    np.testing.assert_allclose(labels.values[:, 0], [0.5, 0.25])
    assert said in labels.dialect
    assert labels.dialect in labels.facts[0]


def test_lines_are_counted_from_the_first_line_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("sep=;\nclip_id;joy\na;0,5\nb;high\n")
    with pytest.raises(FacerError, match=r"l\.csv:4: column 'joy': found 'high'"):
        read_labels(tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("l.xlsx", b"PK\x03\x04rest", "found an Excel workbook .*Save as > CSV UTF-8"),
        ("l.csv", b"PK\x03\x04rest", "found an Excel workbook"),
        ("l.csv", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS .*git lfs pull"),
        ("l.xls", b"\xd0\xcf\x11\xe0rest", "found an Excel workbook"),
        ("l.ods", b"PK\x03\x04rest", "found an OpenDocument table.*LibreOffice"),
        ("l.sav", b"$FL2@(#) SPSS", "found an SPSS file.*Save as > CSV"),
        ("l.dta", b"\x76\x02rest", "found a Stata file.*export delimited"),
        ("l.parquet", b"PAR1rest", r"found a Parquet file.*read_parquet\("),
        ("l.json", b'{"a": 1}', "found JSON.*read_json"),
        ("l.csv", b"{\\rtf1\\ansi clip_id,joy", "found rich text"),
        ("l.mat", b"MATLAB 5.0 MAT-file\0", "found a MATLAB file.*writetable"),
        ("l.csv", b'[{"clip_id": 1}]', "found JSON"),
        ("l.txt", b'\xef\xbb\xbf[\n  {"clip_id": 1}\n]', "found JSON"),
        ("l.eaf", b"<?xml", "found an ELAN file.*in ELAN: .*clip_id, onset_s, duration_s"),
        ("l.txt", b'File type = "ooTextFile"\n', "found a Praat TextGrid"),
        ("l.boris", b'{"a": 1}', "found a BORIS project"),
        ("joy.annotation", b"<?xml", "found a NOVA annotation"),
        ("l.csv", b"Time of Rating,2024\nSecond,Rating\n1,2\n", "CARMA or DARMA.*one row a clip"),
        ("l.zip", b"PK\x03\x04rest", "found a packed file.*unpack it first"),
        ("l.numbers", b"PK\x03\x04rest", "found a Numbers document"),
        ("l", b"RDX3\nX\n\0", "found an R data file"),
        ("l.sas7bdat", b"\0\0", "found a SAS file"),
        ("l.por", b"ASCII SPSS PORT FILE", "found an SPSS file"),
        ("l.csv.gz", gzip.compress(b"clip_id,joy\na,1\n", mtime=0), "found a gzip file.*gunzip"),
        ("l.rds", gzip.compress(b"X\n", mtime=0), "found an R data file.*row.names = FALSE"),
        (
            "l.csv",
            "clip_id,joy\na,1\n".encode("utf-16-le"),
            "bytes of value 0.*save the file as CSV",
        ),
    ],
)
def test_other_kinds_of_files_are_named_with_a_way_out(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FacerError, match=message) as error:
        read_labels(tmp_path / name)
    assert "\n" not in str(error.value)


def test_latin_1_is_refused_with_its_row_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes("clip_id,joy\na,1\nM\xfcller_1,0.5\n".encode("latin-1"))
    with pytest.raises(
        FacerError, match=r"l\.csv:3: .*byte 0xfc \('M\xfcller_1'.*save the file as.*CP932 \(Japan"
    ):
        read_labels(tmp_path / "l.csv")


@pytest.mark.parametrize(
    "word",
    ["NaN", "nan", "nan(ind)", "-nan(ind)", "-nan", "-1.#IND", "1.#QNAN", "-1.#IND00",
     "1.#SNAN", "NA", "n/a", "N/A", "null", "NULL", "None", "#N/A", "#NV", ".", "-", "--",
     "<NA>", "", "  "],
)  # fmt: skip
def test_absent_values(word: str) -> None:
    assert is_absent(word)
    value = parse_number(word)
    assert value is not None
    assert np.isnan(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0,5", 0.5),
        (",5", 0.5),
        ("-1,5e2", -150),
        ("55%", 0.55),
        ("55,5 %", 0.555),
        ("\u22121", -1),
        ("\uff0d\uff10\uff0e\uff15", -0.5),
        ("\uff15\uff15\uff05", 0.55),
    ],
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert parse_number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["1.#INF", "inf", "1,234.5", "1_0", "1,2,3", "%", "x"])
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize("text", ["1_0", "inf"])
def test_what_is_no_number_is_none_in_a_column_of_numbers(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(f"a,b\n1,2\n3,{text}\n")
    with pytest.raises(FacerError, match=rf"a\.csv:3: column 'b': found '{text}', expected a num"):
        read_table(tmp_path / "a.csv").numbers([0, 1])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1,234", "0.5"], r"l\.csv:2: column 'joy': found '1,234', expected a decimal point"),
        (["0.5", "50%"], r"l\.csv:3: column 'joy': found '50%', expected no percent sign"),
    ],
)
def test_a_column_in_two_notations_is_refused(
    tmp_path: Path, cells: list[str], message: str
) -> None:
    (tmp_path / "l.csv").write_text("clip_id;joy\n" + "".join(f"a{c};{c}\n" for c in cells))
    with pytest.raises(FacerError, match=message):
        read_labels(tmp_path / "l.csv")


def test_row_names_are_left_out_only_where_they_count(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text('"clip_id","joy"\n"1","00001",0.5\n"2","00002",0.7\n')
    assert read_table(path).rows == (("00001", "0.5"), ("00002", "0.7"))
    path.write_text('"clip_id","joy"\n"7","00001",0.5\n"9","00002",0.7\n')
    with pytest.raises(FacerError, match=r"found 3 cells, expected 2.*row.names = FALSE"):
        read_table(path)
    path.write_text('"clip_id","joy"\n"1","3",0.5\n"2","4",0.7\n')
    assert read_table(path).rows == (("3", "0.5"), ("4", "0.7"))
    for trap in ("clip_id,joy\n1,3,5\n2,4,1\n", "clip_id,joy,awe\n1,0.5,0.3,\n2,0.7,0.1,\n"):
        path.write_text(trap)  # a decimal comma, and a separator too many
        with pytest.raises(FacerError, match="cells, expected"):
            read_table(path)
    path.write_text('"joy"\n"00001",0.5\n')
    with pytest.raises(FacerError, match=r"found the single column 'joy'.*row.names = FALSE"):
        read_table(path)


def test_a_separator_inside_of_names_does_not_win(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("clip_id;joy, mean;awe, mean\na;0,5;0,1\nb;0,25;0,2\n")
    assert read_labels(path).names == ("joy, mean", "awe, mean")
    path.write_text("clip id,great joy\nclip a,0.5\nclip b,0.25\n")
    assert read_labels(path).clip_ids == ("clip a", "clip b")
