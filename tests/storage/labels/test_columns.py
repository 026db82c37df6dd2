"""Columns of label tables: which is the id, the split, the subject, a target, or none of these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facer.storage import FacerError, IntensityLabels, LabelOptions, read_labels

WORDS = ("train", "train", "val", "test")


def read(tmp_path: Path, text: str, **options: object) -> IntensityLabels:
    path = tmp_path / "l.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(path, LabelOptions(**options))  # type: ignore[arg-type]


def table(header: str, rows: Sequence[str]) -> str:
    return "\n".join([header, *rows]) + "\n"


def refused(tmp_path: Path, text: str, **options: object) -> str:
    with pytest.raises(FacerError) as error:
        read(tmp_path, text, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    ["clip_id", "File_ID", "FILENAME", "file", "Video", "video_id", "VideoName", "id", "name",
     "path", "filePath", "Clip", "ClipID"],
)  # fmt: skip
def test_ids_by_name_wherever_they_stand(tmp_path: Path, name: str) -> None:
    labels = read(tmp_path, f",joy,{name}\n0,0.5,a\n1,0.25,b\n")
    assert (labels.clip_ids, labels.names) == (("a", "b"), ("joy",))
    assert labels.columns["id"] == name


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "Unnamed: 0.1", "X", "...1"])
def test_a_nameless_index_is_neither_id_nor_target(tmp_path: Path, index: str) -> None:
    """As pandas' to_csv, pandas' read_csv and R's write.csv leave it."""
    rows = [f"{i},{i + 1:05d}.mp4,{i / 10}" for i in range(5)]
    labels = read(tmp_path, table(f"{index},filename,joy", rows))
    assert labels.clip_ids[0] == "00001.mp4"
    assert labels.names == ("joy",)
    assert [why for _, why in labels.left_out] == ["an index without a name of its own"]
    assert "an index without" in "".join(labels.facts)
    message = refused(tmp_path, table(f"{index},joy", ["a,0.5", "b,0.25"]))
    assert "a column without a name is never taken for it" in message
    assert "id_column" in message


def test_files_that_come_again_are_stimuli_and_no_clips(tmp_path: Path) -> None:
    labels = read(tmp_path, "clip_id,video,joy\na,joke.mp4,0.5\nb,joke.mp4,0.25\n")
    assert labels.clip_ids == ("a", "b")


def test_a_running_id_yields_to_file_names(tmp_path: Path) -> None:
    labels = read(tmp_path, "id,Datei,joy\n1,2.mp4,0.5\n2,1.mp4,0.25\n")
    assert labels.clip_ids == ("2.mp4", "1.mp4")
    labels = read(tmp_path, "id,path,joy\n1,v/00002.mp4,0.5\n2,v/00001.mp4,0.25\n")
    assert labels.clip_ids == ("v/00002.mp4", "v/00001.mp4")
    assert dict(labels.left_out)["id"] == "an id or a number of the row"


def test_unknown_names_are_taken_only_when_one_could_be(tmp_path: Path) -> None:
    labels = read(tmp_path, "stimulusfile,joy\na,0.5\nb,0.25\n")
    assert labels.clip_ids == ("a", "b")
    text = "left,right,joy\na,x,0.5\nb,y,0.25\n"
    message = refused(tmp_path, text)
    assert "'left', 'right' could be the clips' ids; name it by id_column" in message
    assert read(tmp_path, text, id_column="right").clip_ids == ("x", "y")


def test_options_decide_by_hand(tmp_path: Path) -> None:
    text = table(
        "clip_id,key,joy,age,awe,who,part",
        [f"{i},k{i},0.{i},3{i},0.5,p{i % 2},{word}" for i, word in enumerate(WORDS)],
    )
    labels = read(
        tmp_path, text, id_column="KEY", targets=("age", "joy"), subject_column="who",
        split_column="part",
    )  # fmt: skip
    assert labels.clip_ids == ("k0", "k1", "k2", "k3")
    assert labels.names == ("age", "joy")
    np.testing.assert_allclose(labels.values[1], [31, 0.1])
    assert (labels.subjects, labels.splits) == (("p0", "p1", "p0", "p1"), WORDS)
    assert dict(labels.left_out)["awe"] == "not in --targets"
    for name in ("id_column", "subject_column", "split_column"):
        message = refused(tmp_path, text, **{name: "nothing"})
        assert f"{name}: found 'nothing', expected one of the columns" in message
        assert "clip_id, key, joy" in message
    assert "targets: found 'fear'" in refused(tmp_path, text, targets=("fear",))
    assert "is the clips' id" in refused(tmp_path, text, targets=("key",), id_column="key")
    assert read(tmp_path, text, split_column="none").splits == ("",) * 4


@pytest.mark.parametrize(
    "name",
    ["subject", "subject_id", "Subject_ID", "participant", "participant_id", "ParticipantID",
     "person", "speaker", "speaker_id", "subj", "pid", "vp", "subject_no", "anon_subject_id",
     "VP_Nr", "sujeto", "Teilnehmer*in", "ProbandenID", "Probanden-Nr.", "Versuchspersonennummer",
     "id_subject", "IDsujeto", "N\u00ba sujeto", "id_sujeto",
     "Número de sujeto", "voluntário", "codice_soggetto", "id_uczestnika", "badany",
     "KATILIMCI", "Katılımcı No", "被験者ID", "参加者番号", "实验参与者编号", "受試者", "피험자",
     "참가자번호", "姓名", "被験者名"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["{}", "p{}", "{}.0"])
def test_subjects_are_no_targets(tmp_path: Path, name: str, form: str) -> None:
    rows = [f"c{i},{form.format(i // 2 + 1)},0.{i}" for i in range(6)]
    labels = read(tmp_path, table(f"clip_id,{name},joy", rows))
    assert labels.names == ("joy",)
    assert len(set(labels.subjects)) == 3
    assert labels.columns["subject"] == name


def test_spellings_of_one_person(tmp_path: Path) -> None:
    names = ["p00", "P00", "zo\u00eb", "zoe\u0308", "p01 ", "p 01", "", "NA"]
    names += ["3", "3.0", "03", "30"]
    rows = [f'c{i},"{name}",0.{i}' for i, name in enumerate(names)]
    labels = read(tmp_path, table("clip_id,subject,joy", rows))
    assert labels.subjects[0] == labels.subjects[1]
    assert labels.subjects[2] == labels.subjects[3]
    assert labels.subjects[4] != labels.subjects[5]
    assert labels.subjects[6] != labels.subjects[7]  # each counts for itself
    assert labels.subjects[8] == labels.subjects[9] == labels.subjects[10] != labels.subjects[11]
    notes = " / ".join(labels.notes)
    assert "'p00' = 'P00'" in notes
    assert "look alike are taken for different people: 'p01' = 'p 01'" in notes
    assert "2 rows name no subject" in notes


def test_names_above_merged_cells_are_refused(tmp_path: Path) -> None:
    """Every empty row would be a person of its own, in train and in val."""
    rows = [f"c{i},{('anna', '', 'NA', 'ben', '', '')[i]},0.{i}" for i in range(6)]
    message = refused(tmp_path, table("clip_id,subject,joy", rows))
    assert "column 'subject': found 2 names once each and 4 empty cells, as of merged" in message
    assert "subject_column none" in message
    assert read(tmp_path, table("clip_id,subject,joy", [*rows, "d,ben,0.5"])).subjects[5] != "ben"
    named = [f"c{i},{name},0.{i}" for i, name in enumerate(["anna", "ben", "zoe", "", ""])]
    assert len(set(read(tmp_path, table("clip_id,subject,joy", named)).subjects)) == 5


def test_columns_that_differ_on_who_is_seen_are_listed(tmp_path: Path) -> None:
    text = table("clip_id,speaker,actor,joy", ["a,1,1,0.5", "b,1,2,0.25", "c,2,2,0.1"])
    message = refused(tmp_path, text)
    assert "'speaker', 'actor' could each say who is seen" in message
    assert "subject_column" in message
    assert read(tmp_path, text, subject_column="actor").subjects == ("1", "2", "2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Partition", WORDS),
        ("set", ("Training", "Training_Set", "Validation", "Testing")),
        ("subset", ("TRAIN", "trn", "devel", "tst")),
        ("phase", ("train", "training", "eval", "test")),
        ("Usage", ("Training", "Training", "PublicTest", "PrivateTest")),
        ("fold", WORDS),
        ("used_for", WORDS),
        ("Split", ("train-set", "train set", "dev", "test-set")),
        ("Datensatz", ("Training", "training", "Validierung", "Test")),
        ("ensemble", ("Entraînement", "apprentissage", "validation", "test")),
        ("partición", ("Entrenamiento", "entrenamiento", "desarrollo", "prueba")),
        ("conjunto", ("treino", "Treinamento", "validac\u0327a\u0303o", "teste")),
        ("podział", ("treningowy", "uczący", "walidacyjny", "testowy")),
        ("küme", ("EĞİTİM", "eğitim", "doğrulama", "test")),
        ("用途", ("学習", "訓練データ", "検証用", "テスト")),
        ("数据集", ("训练集", "训练", "验证集", "测试集")),
        ("분할", ("훈련", "학습", "검증", "테스트")),
    ],
)
def test_splits_by_name_or_by_their_words(tmp_path: Path, name: str, words: Sequence[str]) -> None:
    rows = [f"c{i},{word},0.{i}" for i, word in enumerate(words)]
    labels = read(tmp_path, table(f"clip_id,{name},joy", rows))
    assert labels.splits == WORDS
    assert labels.columns["split"] == name


def test_splits_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    text = table("clip_id,subset,joy", ["a,train,1", "b,holdout,2", "c,val,3"])
    message = refused(tmp_path, text)
    assert "l.csv:3: column 'subset': found 'holdout', expected train, val" in message
    assert "split_column" in message
    text = table("clip_id,split,partition,joy", ["a,train,val,1", "b,val,train,2"])
    assert "'split', 'partition' hold different splits" in refused(tmp_path, text)


@pytest.mark.parametrize("words", [("control", "test"), ("1", "2"), ("a", "b")])
def test_a_group_or_set_of_another_kind_is_no_split(tmp_path: Path, words: Sequence[str]) -> None:
    for name in ("group", "set"):
        rows = [f"c{i},{words[i % 2]},0.{i}" for i in range(6)]
        labels = read(tmp_path, table(f"clip_id,{name},joy", rows))
        assert labels.splits == ("",) * 6
        assert labels.names == ("joy",)
        assert name in dict(labels.left_out)


@pytest.mark.parametrize(
    "name",
    ["fold", "Fold", "CV_fold", "k_fold", "Age", "age_years", "Year", "onset_s", "onset",
     "duration_ms", "start", "end_time", "session", "trial", "bad", "include", "n_raters",
     "video_length", "n_frames", "fps", "clip_no", "row_id", "stimulus_id", "weight",
     "redcap_repeat_instance", "ratings_complete", "rater", "cv5", "outer_fold", "role",
     "episode", "Reaction Time", "slider.rt", "lead_time", "Date of rating",
     "joy_sd", "joy_ci_low", "joy_confidence", "joy_conf", "confidence", "version", "t_start",
     "end_t", "apex_ms", "peak_sec", "cond", "Geschlecht", "Gruppe", "Bedingung", "sexe", "edad",
     "Versuchsleiter", "Startzeit", "TIME001", "TIME_SUM", "LASTPAGE", "Q_VIEWER", "Time taken",
     "no_person",
     "Edad (años)", "ge\u0301nero", "condición", "idade", "duração_s", "Età", "sesso", "gruppo",
     "wiek", "Płeć", "warunek", "YAŞ", "CİNSİYET", "koşul", "年齢（歳）", "参加者年齢", "性別",
     "実験条件", "群", "年龄", "组别", "持续时间", "만나이", "성별", "실험조건", "연령",
     "evaluador", "評定者", "incluido", "有效",
     "刺激番号", "ブロック", "orden", "bloque"],
)  # fmt: skip
def test_design_columns_are_left_out_and_said(tmp_path: Path, name: str) -> None:
    rows = [f"c{i},{i % 3},0.{i}" for i in range(6)]
    labels = read(tmp_path, table(f"clip_id,{name},joy", rows))
    assert labels.names == ("joy",)
    assert name in dict(labels.left_out)
    assert f"{name} (" in "".join(labels.facts)


@pytest.mark.parametrize(
    "name",
    ["joy_start", "valence", "Empathic-Pain", "placid", "aged_joy", "stai_s", "tristeza",
     "年輪の喜び", "高兴", "기쁨", "kızgınlık"],
)  # fmt: skip
def test_emotions_that_sound_like_a_design_are_targets(tmp_path: Path, name: str) -> None:
    labels = read(tmp_path, table(f"clip_id,{name}", ["a,0.5", "b,0.25"]))
    assert labels.names == (name,)


def test_numbers_that_look_like_ids_are_left_out(tmp_path: Path) -> None:
    rows = [
        f"c{i},{i + 100},{1990 + i % 3},{70000 + 7 * i * i},2024010{i % 3 + 1},1700000{i % 3}00.5,"
        f"{i % 4},{45292 + i // 2},0.{i}"
        for i in range(9)
    ]
    text = table("clip_id,a,b,c,d,e,rating,f,joy", rows)
    labels = read(tmp_path, text)
    assert labels.names == ("rating", "joy")
    assert dict(labels.left_out) == {
        "a": "a running number", "b": "looks like a year", "c": "looks like an id",
        "d": "looks like a date", "e": "looks like a time, counted from 1970",
        "f": "looks like a date, counted in days as Excel does",
    }  # fmt: skip
    assert read(tmp_path, text, targets=("a",)).names == ("a",)


def test_text_columns_are_said_and_comments_do_not_stop_it(tmp_path: Path) -> None:
    text = table("clip_id,comment,joy", ["a,fine,0.5", "b,3,0.25", "c,bad,0.1"])
    assert dict(read(tmp_path, text).left_out) == {"comment": "text"}


def test_rows_that_the_file_excludes_are_left_out_with_their_count(tmp_path: Path) -> None:
    text = table("clip_id,exclude,joy", ["a,0,0.5", "b,1,0.25", "c,,0.1", "d,TRUE,0.1", "e,no,0.3"])
    labels = read(tmp_path, text)
    assert labels.clip_ids == ("a", "c", "e")
    assert labels.notes == ("rows left out because their column exclude says so: 2",)
    message = refused(tmp_path, table("clip_id,exclude,joy", ["a,maybe,0.5"]))
    assert "l.csv:2: column 'exclude': found 'maybe', expected 1, true or yes" in message
    for name, yes, no in (
        ("Ausschluss", "ja", "nein"), ("excluído", "Sim", "Não"), ("wykluczony", "tak", "nie"),
        ("除外フラグ", "はい", ""), ("escluso", "VERO", "FALSO"), ("exclu", "VRAI", "FAUX"),
        ("是否排除", "是", "否"),
    ):  # fmt: skip
        text = f"clip,{name},joy\na,{yes},1\nb,{no},2\n"
        assert read(tmp_path, text).clip_ids == ("b",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,0.5\nb,0.25\n", r"first line, expected the names of the columns; .*clip_id,joy"),
        ("clip_1,train,0\nclip_2,train,3\nclip_3,val,7\n", "first line, expected the names"),
        ("x.mp4,7\ny.mp4,3\n", "first line, expected the names"),
        ("anna,train,3\nben,train,7\nzoe,test,5\n", "first line, expected the names"),
        ("a,0,0\nb,1,2\n", "found column '0' twice, .*is this a row already"),
        ("clip_id,joy\n", "a header and no rows"),
        ("# by hand\nclip_id,joy\na,0.5\n", "found a comment .*begin with # out"),
        ("# 3 raters, 0 to 1\nclip_id,joy,awe\na,0.5,1\n", "found a comment .*begin with # out"),
        ("Study 1,,\nclip_id,joy,awe\na,0.5,1\n", "a title, .* names in line 2"),
        (",Joy,,Awe,\nclip_id,mean,sd,mean,sd\na,1,2,3,4\n", "names over several columns"),
        ("clip_id,joy\nclip,How glad?\na,0.5\nb,0.5\nc,0.5\n", "second header line"),
    ],
)
def test_first_lines_that_are_no_header(tmp_path: Path, text: str, message: str) -> None:
    assert re.search(message, refused(tmp_path, text))


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("clip_id,emotion,value", [f"{c},{e},1" for c in "abc" for e in ("joy", "awe")],
         r"pivot\(index='clip_id', columns='emotion', values='value'\)"),
        ("clip_id,rater,joy", [f"{c},{r},1" for c in "abc" for r in "xy"], "average the rows"),
        ("video,frame,joy", [f"{v},{f},1" for v in "abc" for f in range(9)],
         "file has frame: are these segments.*average the rows"),
        ("video_id,clip_id,joy", [f"{v},{c},1" for v in "abc" for c in "01"],
         "where 'video_id' and 'clip_id' together name a clip's file"),
    ],
)  # fmt: skip
def test_several_rows_of_a_clip_are_told_by_what_they_are(
    tmp_path: Path, header: str, rows: Sequence[str], message: str
) -> None:
    assert re.search(message, refused(tmp_path, table(header, rows)))


@pytest.mark.parametrize("name", ["train", "is_train", "Test", "in_val", "holdout_test"])
def test_splits_as_flags_are_refused(tmp_path: Path, name: str) -> None:
    text = table(f"clip_id,joy,{name}", [f"{c},0.{i},{i % 2}" for i, c in enumerate("abcdef")])
    if name == "holdout_test":  # no split's name, and no target either
        assert read(tmp_path, text).names == ("joy",)
        return
    assert f"found splits as flags in {name!r}" in refused(tmp_path, text)
    assert read(tmp_path, text, split_column="none").names == ("joy",)


@pytest.mark.parametrize("words", [("train", "dev", "eval"), ("Training", "Val", "Evaluation")])
def test_eval_beside_another_word_for_val_is_refused(tmp_path: Path, words: Sequence[str]) -> None:
    text = table("clip_id,split,joy", [f"{i},{word},0.{i}" for i, word in enumerate(words)])
    assert f"found {words[2]!r} beside {words[1]!r}" in refused(tmp_path, text)
    labels = read(tmp_path, text.replace(words[1], "test"))
    assert labels.splits == ("train", "test", "val")


@pytest.mark.parametrize("name", ["Mean", "average", "TOTAL:", "Std."])
def test_a_row_of_statistics_is_no_clip(tmp_path: Path, name: str) -> None:
    rows = ["a,0.5", "b,0.25", "c,0.75", f"{name},0.5"]
    message = refused(tmp_path, table("clip_id,joy", rows))
    assert f"l.csv:5: column 'clip_id': found {name!r}, expected a clip's id" in message
    message = refused(tmp_path, table("clip_id,joy", rows[::-1]))
    assert f"l.csv:2: column 'clip_id': found {name!r}, expected a clip's id" in message


def test_segments_are_explained(tmp_path: Path) -> None:
    rows = [f"{v},{s},{s + 2},0.5" for v in ("a", "b") for s in (0, 2)]
    message = refused(tmp_path, table("video,start,end,joy", rows))
    assert "l.csv:3: found id 'a' again" in message
    assert "labels are one row a clip (the file has start, end" in message
    assert "groupby('video')" in message


def test_a_partition_beside_a_plain_table_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "partition.csv").write_text("clip_id,split\na,train\n")
    labels = read(tmp_path, "clip_id,joy\na,0.5\n")
    assert "partition.csv is not read beside a plain table" in labels.notes[0]


def test_only_the_files_that_were_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "filename,Approval,Disappointment,Uncertainty,subject_id\n0_1,0,1,2,s1\n0_2,0,1,2,s2\n"
    )
    (tmp_path / "partition.csv").write_text("filename,partition\n0_1,train\n0_2,test\n")
    (tmp_path / "notes.csv").write_text("a,b\n")
    for path in (tmp_path, tmp_path / "labels.csv"):
        labels = read_labels(path)
        assert [Path(file).name for file in labels.files] == ["labels.csv", "partition.csv"]
        assert labels.subjects == ("s1", "s2")
    chosen = read_labels(tmp_path, LabelOptions(targets=("uncertainty",)))
    assert (chosen.kind, chosen.names) == ("mimic", ("uncertainty",))
    assert chosen.values.tolist() == [[2], [2]]


@pytest.mark.parametrize(
    "options",
    [{"targets": "joy"}, {"missing_values": "none"}, {"missing_values": (-1, 999)},
     {"missing_values": -1}, {"id_column": 3}],
)  # fmt: skip
def test_options_of_another_type_are_told(options):
    (name,) = options
    with pytest.raises(FacerError, match=f"{name}: found .*, expected (a list of words|text)"):
        LabelOptions(**options)


def test_options_are_kept_and_overridden() -> None:
    run = LabelOptions(id_column="a", missing_values=("-1", "x"), kind="plain")
    given = LabelOptions(targets=("joy",), id_column="b")
    both = given.over(run)
    assert both == LabelOptions("plain", "b", ("joy",), None, None, ("-1", "x"))
    with pytest.raises(FacerError, match="kind: found 'hume', expected one of auto, plain"):
        LabelOptions(kind="hume")  # type: ignore[arg-type]


def test_one_column_is_no_two_targets(tmp_path: Path) -> None:
    text = "clip_id,joy\na,0.5\nb,0.25\n"
    message = refused(tmp_path, text, targets=("joy", "JOY"))
    assert "targets: found 'joy' and 'JOY', which mean one column" in message


def test_a_target_is_not_called_as_predictions_call_their_own_columns(tmp_path: Path) -> None:
    text = "file,status,joy\na,0.5,0.1\nb,0.25,0.2\n"
    message = refused(tmp_path, text, targets=("status", "joy"))
    assert "targets: found status, which files of predictions call" in message


def test_names_of_several_lines_are_one(tmp_path: Path) -> None:
    text = 'clip_id,"joy,\r\n(0  to 1)"\na,0.5\nb,0.25\n'
    assert read(tmp_path, text).names == ("joy, (0 to 1)",)
