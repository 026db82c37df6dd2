"""Logs of FaceReader and exports of iMotions, as their versions and users' locales write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facer.storage import FacerError
from facer.storage.exchange import logs
from facer.storage.exchange.tables import ImportKind, import_features

HEAD = """Video analysis detailed log
Face Model:\tGeneral
Calibration:\tNone
Start time:\t14.03.2019 10:12:33.120
Filename:\tC:\\Videos\\P01 joke.mp4
Frame rate:\t25

"""
COLUMNS = ("Video Time\tNeutral\tHappy\tScared\tContempt\tValence\tArousal\tY - Head Orientation\t"
           "Action Unit 01 - Inner Brow Raiser\tAction Unit 12 - Left - Lip Corner Puller\t"
           "Stimulus\tEvent Marker\n")  # fmt: skip
FAILED = "\t".join(["FIND_FAILED"] * 9)
FIT = "\t".join(["FIT_FAILED"] * 9)
ROWS = (
    "00:00:00.000\t0.5\t0.25\t0\t0\t0.25\t0.4\t-3.5\tNotActive\tB (Slight)\tjoke\t\n"
    f"00:00:00.040\t{FAILED}\tjoke\t\n00:00:00.080\t{FIT}\tjoke\t\n"
    "00:01:00.120\t0.1\t0.75\t0\t0\t0.75\tUnknown\t2\tA\tE\tnews\tlaugh\n"
)


def imported(kind: ImportKind, path: Path) -> tuple[Any, dict[str, Any]]:
    found = import_features(kind, path)
    return found, {record.clip_id: (record, clip) for record, clip in found.clips}


def test_a_detailed_log_of_facereader(tmp_path: Path) -> None:
    (tmp_path / "s1").mkdir()
    (tmp_path / "s1" / "P01_detailed.txt").write_text(HEAD + COLUMNS + ROWS)
    (tmp_path / "s1" / "P01_state.txt").write_text("Video Time\tEmotion\n00:00:00.000\tHappy\n")
    found, clips = imported("facereader", tmp_path)
    assert found.feature_names == (
        "neutral", "happiness", "fear", "contempt", "valence", "arousal", "Y - Head Orientation",
        "au01", "au12_left",
    )  # fmt: skip
    assert found.provenance.settings == {"imported": "facereader", "au_scale": "intensity 0 to 5"}
    record, clip = clips["s1/P01"]
    assert list(clips) == ["s1/P01"]
    assert clip.valid.tolist() == [True, False, False, True]
    np.testing.assert_allclose(clip.timestamp_s, [0, 0.04, 0.08, 60.12])
    np.testing.assert_allclose(clip.features[:, 7], [0, np.nan, np.nan, 1])
    np.testing.assert_allclose(clip.features[:, 8], [2, np.nan, np.nan, 5])
    np.testing.assert_allclose(clip.features[3, 4:7], [0.75, np.nan, 2])
    assert "letters of the units" in record.reason


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda text: text.replace(".", ","), "utf-8"),  # a decimal comma, of the clock too
        (lambda text: text.replace("\t", ";"), "utf-8-sig"),
        (lambda text: text.replace("\n", "\r\n"), "utf-16"),
        (lambda text: text.replace("\n\n", "\n\nParticipant:\tJos\u00e9\nAge:\t20\n"), "utf-8"),
    ],
)  # fmt: skip
def test_other_locales_and_versions_of_facereader(
    tmp_path: Path, change: Any, encoding: str
) -> None:
    plain = COLUMNS + ROWS.replace("NotActive", "0.5").replace("B (Slight)", "0.75")
    plain = plain.replace("\tA\tE\t", "\t0.25\t1\t")
    (tmp_path / "a.txt").write_text(HEAD + plain)
    (tmp_path / "b.txt").write_bytes(change(HEAD + plain).encode(encoding))
    found, clips = imported("facereader", tmp_path)
    assert "au_scale" not in found.provenance.settings
    for name in ("features", "timestamp_s", "valid"):
        np.testing.assert_array_equal(*(getattr(clips[clip][1], name) for clip in "ab"))


def test_facereader_times_in_milliseconds_are_no_seconds(tmp_path: Path) -> None:
    rows = [f"{i * 40}\t0.{i}" for i in range(4)]
    (tmp_path / "v.txt").write_text("\n".join(["Frame rate:\t25", "Video Time\tHappy", *rows]))
    (_, clip), *_ = import_features("facereader", tmp_path).clips
    assert clip is not None
    np.testing.assert_allclose(clip.timestamp_s, np.arange(4) / 25)


def test_what_facer_writes_for_facereader_comes_back(tmp_path: Path, make_entry: Any) -> None:
    from facer.storage import FEATURE_NAMES

    record, clip = make_entry("sub/a", 40)
    (tmp_path / "sub").mkdir()
    text = logs.facereader(record, clip, FEATURE_NAMES, "joke")
    (tmp_path / "sub" / "a_detailed.txt").write_text(text)
    found, clips = imported("facereader", tmp_path)
    back, places = clips["sub/a"][1], [FEATURE_NAMES.index(n) for n in found.feature_names]
    assert len(places) == len(FEATURE_NAMES)
    np.testing.assert_array_equal(back.valid, clip.valid)
    np.testing.assert_allclose(back.features, clip.features[:, places], rtol=1e-5)
    np.testing.assert_allclose(back.timestamp_s, clip.timestamp_s, atol=5e-4)


def test_what_facer_writes_for_imotions_comes_back(tmp_path: Path, make_entry: Any) -> None:
    from facer.storage import FEATURE_NAMES

    _, clip = make_entry("a", 40)
    folder = tmp_path / "Ex_Data" / "P1" / "facer"
    folder.mkdir(parents=True)
    (folder / "joke.csv").write_text(logs.imotions(clip, FEATURE_NAMES, 1.0))
    found, clips = imported("imotions", tmp_path)
    assert found.feature_names == FEATURE_NAMES
    back = clips["P1/joke"][1]
    np.testing.assert_array_equal(back.valid, clip.valid)
    np.testing.assert_allclose(back.features, clip.features, rtol=1e-5)
    np.testing.assert_allclose(back.timestamp_s, clip.timestamp_s - 1, atol=1e-6)


def test_a_unit_without_a_number_is_not_absent_for_openface(make_entry: Any) -> None:
    from facer.storage import FEATURE_NAMES

    _, clip = make_entry("a", 3)
    clip.valid[:] = True, True, False
    clip.features[0, FEATURE_NAMES.index("au12")] = np.nan
    clip.features[1, FEATURE_NAMES.index("au12")] = 0.9
    lines = logs.openface(clip, FEATURE_NAMES, dict.fromkeys(FEATURE_NAMES, 0.5)).splitlines()
    header, *rows = (line.split(", ") for line in lines)
    assert [row[header.index("AU12_c")] for row in rows] == ["", "1.00", "0.00"]


V6 = """#Version : 6.0
#Study : smiles
#Respondents : 2
#Exported : 2018
Name\tStimulusName\tEventSource\tTimestamp\tGSR\tNumber of faces\tAnger\tJoy\tSmile\tPitch
P1\tjoke\t1|22\t0\t0.5\t1\t10\t50\t25\t-3.5
P1\tjoke\t2\t10\t0.6\t1\t10\t50\t25\t-3.5
P1\tjoke\t1\t33\t0.6\t0\t0\t0\t0\t0
P1\tjoke\t1\t66\t0.6\t1\t20\t60\t35\t-3
P2\tjoke\t1\t0\t0.4\t1\t1\t2\t3\t4
P2\tnews\t1\t40\t0.4\t1\t2\t3\t4\t5
"""


def test_imotions_6_repeats_values_and_holds_several_people(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text(V6)
    found, clips = imported("imotions", tmp_path)
    assert found.feature_names == ("anger", "happiness", "au12", "pitch")
    assert found.provenance.settings["scale"] == "percent / 100"
    assert list(clips) == ["all/P1", "all/P2"]
    one = clips["all/P1"][1]
    np.testing.assert_allclose(one.timestamp_s, [0, 0.033, 0.066])  # not the one of 10 ms
    assert one.valid.tolist() == [True, False, True]
    np.testing.assert_allclose(one.features[0], [0.1, 0.5, 0.25, -3.5])
    assert clips["all/P2"][0].reason == "2 stimuli in one recording"


def test_imotions_shares_that_are_taken_for_percentages_are_told(tmp_path: Path) -> None:
    rows = "P1\tjoke\t1\t0\t0.5\t1\t0.1\t0.5\t0.25\t-3.5\n"
    (tmp_path / "a.txt").write_text(V6[: V6.index("P1\t")] + rows)
    record, _ = imported("imotions", tmp_path)[1]["a"]
    assert record.reason.startswith("no percentage is beyond 1: if they were shares already")


def test_imotions_10_has_a_block_of_meta_data_and_sources_by_name(tmp_path: Path) -> None:
    meta = "".join(f"#Line {i},of,meta data\n" for i in range(23)) + "#DATA\n"
    header = "Row,Timestamp,EventSource,SlideEvent,EventSource,SampleNumber,Anger,Smile\n"
    rows = ("1,0.0,SlideEvent,StartSlide,,,,\n2,12.5,Affectiva AFFDEX,,Affectiva,1,10,50\n"
            "3,20,Shimmer,,,1,10,50\n4,45.5,Affectiva AFFDEX,,Affectiva,2,10,50\n"
            "5,79,Affectiva AFFDEX,,Affectiva,3,,\n")  # fmt: skip
    (tmp_path / "001_P1.csv").write_text(meta + header + rows)
    _, clips = imported("imotions", tmp_path / "001_P1.csv")
    clip = clips["001_P1"][1]
    np.testing.assert_allclose(clip.timestamp_s, [0.0125, 0.0455, 0.079])
    assert clip.valid.tolist() == [True, True, False]
    np.testing.assert_allclose(clip.features[:2], [[0.1, 0.5]] * 2)


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [("facereader", HEAD + COLUMNS + ROWS, "Scared"), ("imotions", V6, "Smile")],
)
def test_logs_of_other_columns_than_the_first(
    tmp_path: Path, kind: ImportKind, text: str, name: str
) -> None:
    (tmp_path / "b.txt").write_text(text)
    (tmp_path / "a.txt").write_text(text.replace(f"\t{name}", "\tX"))
    records = [record for record, _ in imported(kind, tmp_path)[1].values()]
    assert f"the first file has no {name}: left out" in records[-1].reason
    assert "left out" not in records[0].reason
    (tmp_path / "c.txt").write_text((tmp_path / "a.txt").read_text())
    (tmp_path / "a.txt").unlink()
    with pytest.raises(FacerError, match=rf"c.txt: found .* {name!r}"):
        imported(kind, tmp_path)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("facereader", "frame,timestamp\n1,0\n", "found no detailed log of FaceReader"),
        ("facereader", HEAD + COLUMNS + "00:00:00.000\tx\n", "found 'x', expected a number"),
        ("facereader", HEAD + COLUMNS + "soon\t0.5\n", "'Video Time': found 'soon'"),
        ("imotions", "#Version\nTimestamp\tGSR\n0\t1\n", "found no export of iMotions"),
        ("imotions", V6 + "P1\tx\t1\t9\t" + "1\t" * 9 + "\n", "expected 10 as in the header"),
        ("imotions", V6.replace("\t60\t", "\tsix\t"), "found 'six', expected a number"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, kind: ImportKind, text: str, message: str
) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(FacerError) as error:
        list(import_features(kind, tmp_path).clips)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_no_log_is_passed_over_or_lost(tmp_path: Path) -> None:
    (tmp_path / "A.TXT").write_text(HEAD + COLUMNS + ROWS)
    (tmp_path / "._b.csv").write_bytes(b"\0\5\x16\7")  # as macOS leaves it on other disks
    assert list(imported("facereader", tmp_path)[1]) == ["A"]
    (tmp_path / "A_detailed.TXT").write_text(HEAD + COLUMNS + ROWS)
    with pytest.raises(FacerError, match=r"A_detailed\.TXT: found A\.TXT beside it"):
        import_features("facereader", tmp_path)


def test_letters_after_numbers_are_refused(tmp_path: Path) -> None:
    numbers = ROWS.replace("NotActive", "0").replace("B (Slight)", "1").replace("\tA\tE", "\t0\t1")
    (tmp_path / "a.txt").write_text(COLUMNS + numbers)
    (tmp_path / "b.txt").write_text(COLUMNS + ROWS)
    with pytest.raises(FacerError, match="found the letter 'NotActive', expected numbers"):
        list(import_features("facereader", tmp_path).clips)


def test_letters_and_numbers_of_facereader_are_never_mixed(tmp_path: Path) -> None:
    log = "Video Time\tHappy\tAction Unit 12 - Lip Corner Puller\n00:00:00.000\t0.1\t{}\n"
    for name, cell in (("a", "FIND_FAILED"), ("b", "C"), ("c", "NotActive")):
        (tmp_path / f"{name}.txt").write_text(log.format(cell))
    clips = imported("facereader", tmp_path)[1]
    np.testing.assert_array_equal([clips[c][1].features[0, 1] for c in "abc"], [np.nan, 3, 0])
    (tmp_path / "d.txt").write_text(log.format("0.7"))
    with pytest.raises(FacerError, match=r"found the number '0\.7', expected letters"):
        imported("facereader", tmp_path)


@pytest.mark.parametrize(
    ("kind", "header"),
    [("facereader", "Video Time\tHappy\tJoy"), ("imotions", "Timestamp\tEventSource\tHappy\tJoy")],
)
def test_two_columns_of_one_meaning_are_refused(
    tmp_path: Path, kind: ImportKind, header: str
) -> None:
    (tmp_path / "a.txt").write_text(header + "\n0\t1\t2\t3\n"[: 2 * len(header.split("\t")) + 2])
    with pytest.raises(FacerError, match="'Happy' and 'Joy', which are both 'happiness'"):
        imported(kind, tmp_path)
