"""Numbers among labels that mean "not rated": refused, or absent when that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facer.storage import FacerError, LabelOptions, read_labels
from facer.storage.labels.values import find_outliers

RNG = np.random.default_rng(0)
UNIT = RNG.random(30)
LIKERT = np.arange(30) % 7 + 1.0
FIVE = np.arange(30) % 5 + 1.0
PERCENT = np.round(RNG.random(30) * 100)
BIPOLAR = RNG.random(30) * 2 - 1


def with_codes(values: np.ndarray, *codes: float) -> np.ndarray:
    out = values.copy()
    for place, code in enumerate(codes):
        out[place::10] = code
    return out


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (UNIT, [-1.0]),
        (UNIT, [999.0]),
        (UNIT, [-1.0, 999.0]),
        (UNIT, [9.0]),
        (UNIT, [88.0, 99.0]),
        (UNIT, [-9999.0]),
        (PERCENT, [-1.0]),
        (PERCENT, [999.0]),
        (LIKERT, [9.0]),
        (LIKERT, [-1.0]),
        (LIKERT, [99.0]),
        (FIVE, [9.0]),
        (BIPOLAR, [-5.0]),
        (UNIT * 0.5 + 0.5, [-1.0]),
        (UNIT, [-4.0]),
        (LIKERT, [-4.0]),
        (LIKERT, [-4.0, -6.0]),
        (LIKERT, [-10.0]),
        (LIKERT, [-998.0]),
        (PERCENT, [-50.0]),
        (LIKERT, [997.0]),
        (LIKERT, [7777.0]),
        (UNIT, [100.0]),
        (np.r_[UNIT, UNIT], [-100.0]),
    ],
)
def test_codes_are_found(values: np.ndarray, codes: list[float]) -> None:
    found = find_outliers("joy", with_codes(values, *codes))
    assert sorted(outlier.value for outlier in found) == sorted(codes)
    assert {len(outlier.rows) for outlier in found} == {len(values) // 10}


@pytest.mark.parametrize(
    "values",
    [
        UNIT,
        LIKERT,
        PERCENT,
        BIPOLAR,
        np.arange(30) % 10 + 0.0,  # 0 to 9
        np.arange(30) % 11 + 0.0,  # 0 to 10
        np.arange(30) % 9 + 1.0,  # 1 to 9
        np.arange(30) % 3 - 1.0,  # -1, 0, 1
        np.arange(30) % 7 - 3.0,  # -3 to 3
        np.arange(30) % 5 - 2.0,  # -2 to 2
        np.array([-4.0, -2, -1, -1, 0, 0, 1, 1, 2, 3, 4, -2]),
        np.arange(30) % 2 * 2 - 1.0,  # -1 or 1
        np.r_[np.zeros(20), 1.0, 2.0, 3.0, 5.0, 20.0, 30.0, 40.0, 60.0, 70.0, 80.0],  # often unfelt
        np.array([3.0, -4.0, 2.0, 5.0]),
        np.array([-78.0, -37, 21, 31, 41, 100]),  # -100 to 100, mostly liked
        np.array([-14.0, -60, 9, 12, 17, 23, 31, 38, 44, 52, 58, 59, 62, 79]),
        np.array([-6.0, -25, -6, 3, 5, 8, 12, 17, 20, 26, 31, 36, 41, 50]),
        np.arange(30) % 101 * 3.4,
        np.zeros(30),
        np.r_[np.zeros(28), 0.5, 1.0],  # a rare emotion
        np.r_[np.zeros(29), 7.0],
        np.full(30, np.nan),
        np.array([-1.0, 1.0, -0.5]),
        np.array([0.5]),
    ],
)
def test_scales_of_all_kinds_pass(values: np.ndarray) -> None:
    assert find_outliers("joy", values) == []


def test_a_slip_of_another_scale_is_found() -> None:
    values = UNIT.copy()
    values[7] = 55.0
    (found,) = find_outliers("joy", values)
    assert (found.value, found.rows) == (55.0, (7,))


def write(path: Path) -> Path:
    rows = [f"c{i},{-1 if i in (2, 5) else value:.3f},{999 if i == 3 else value:.3f},0.5"
            for i, value in enumerate(UNIT)]  # fmt: skip
    path.write_text("clip_id,joy,awe,fear\n" + "\n".join(rows) + "\n")
    return path


def test_the_message_names_cells_and_the_option(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv")
    with pytest.raises(FacerError) as error:
        read_labels(path)
    message = str(error.value)
    assert "l.csv:4: column 'joy': found -1 in 2 rows (first at line 4)" in message
    assert "column 'awe': found 999 in 1 row (first at line 5)" in message
    assert "missing_values -1,999" in message
    assert "\n" not in message
    with pytest.raises(FacerError, match=r"l\.csv:5: column 'awe'"):
        read_labels(path, LabelOptions(missing_values=("-1",)))


def test_missing_values_are_absent(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path / "l.csv"), LabelOptions(missing_values=("-1", "999")))
    assert np.flatnonzero(np.isnan(labels.values[:, 0])).tolist() == [2, 5]
    assert np.flatnonzero(np.isnan(labels.values[:, 1])).tolist() == [3]
    kept = read_labels(tmp_path / "l.csv", LabelOptions(missing_values=("none",)))
    assert kept.values[2, 0] == -1
    (tmp_path / "w.csv").write_text("clip_id,joy\na,0.5\nb,Not Rated\nc,0.7\n")
    words = read_labels(tmp_path / "w.csv", LabelOptions(missing_values=("not rated",)))
    assert np.isnan(words.values[1, 0])


def test_columns_that_are_no_targets_may_hold_any_number(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "clip_id,age,joy\n" + "\n".join(f"c{i},{-1 if i else 30},0.{i}" for i in range(9)) + "\n"
    )
    assert read_labels(tmp_path / "l.csv").names == ("joy",)


def test_thousands_are_not_taken_for_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text('clip_id,ms\na,"1,300"\nb,900\nc,"2,150"\n')
    with pytest.raises(FacerError, match=r"l.csv:2: column 'ms': found '1,300', which may be 1300"):
        read_labels(path)
    path.write_text('clip_id,joy\na,"0,300"\nb,"1,125"\n')  # none begins a thousand with 0
    assert read_labels(path).values[:, 0].tolist() == [np.float32(0.3), 1.125]
    path.write_text("clip_id;ms\na;950\nb;1,300\nc;1870\n")  # no decimals beside whole numbers
    with pytest.raises(FacerError, match="found '1,300', which may be 1300"):
        read_labels(path)
    path.write_text("clip_id;joy\na;1,300\nb;2\nc;2,150\n")  # here a comma separates no cells
    assert read_labels(path).values[:, 0].tolist() == [np.float32(1.3), 2, np.float32(2.15)]
    path.write_text("clip_id;joy\na;1,300\nb;2,150\n")
    assert read_labels(path).values[:, 0].tolist() == [np.float32(1.3), np.float32(2.15)]


def test_a_thousand_beside_decimal_commas_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("clip_id;joy;points\na;0,5;1.200\nb;0,7;2.150\n")
    with pytest.raises(FacerError, match=r"column 'points': found '1.200' .* which may be 1200"):
        read_labels(path)
    path.write_text("clip_id;joy;points\na;0.5;1.200\nb;0.7;2.150\n")
    assert read_labels(path).values[0].tolist() == [0.5, np.float32(1.2)]


def test_words_that_mean_absent_may_be_in_most_rows(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("clip_id,joy\na,skip\nb,Skip\nc,0.7\n")
    assert read_labels(path, LabelOptions(missing_values=("skip",))).names == ("joy",)


def test_words_with_a_point_are_no_decimal_points(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("clip_id;joy;points\na;k.A.;1,5\nb;0,5;k.A.\nc;k.A.;2,5\nd;0,75;1,25\n")
    labels = read_labels(path, LabelOptions(missing_values=("k.A.",)))
    np.testing.assert_array_equal(labels.values[:, 0], [np.nan, 0.5, np.nan, 0.75])
    with pytest.raises(FacerError, match=r"found 'k\.A\.', .*'k\.A\.' means 'not rated'"):
        read_labels(path)
    with pytest.raises(FacerError, match="missing_values: found '00', expected numbers with a"):
        LabelOptions(missing_values=("-99", "00"))


def test_a_word_among_numbers_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("clip_id,joy,awe\na,inf,0.5\nb,0.2,0.1\nc,0.7,0.3\n")
    with pytest.raises(FacerError) as error:
        read_labels(path)
    assert "found 'inf', expected a number or nothing; where 'inf' means" in str(error.value)
    assert "missing_values" in str(error.value)
    path.write_text("clip_id,joy\na,brak\nb,0.2\nc,0.7\n")  # a word, or a second header
    with pytest.raises(FacerError, match=r"where 'brak' means .*; a second header line"):
        read_labels(path)


def test_a_number_that_float32_does_not_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("clip_id,joy\na,1.5e39\nb,2.5e39\nc,3.5e39\n")
    with pytest.raises(FacerError, match=r"l\.csv:2: column 'joy': found 1.5e\+39, expected"):
        read_labels(path, LabelOptions(targets=("joy",)))
