"""Specs: a kind and a path, and the reader behind each kind."""

from pathlib import Path

import pytest

from facer.stages.affect.datasets.image_files import CropFiles
from facer.stages.affect.datasets.specs import held_out_videos, parse_spec, read_spec
from facer.storage.errors import FacerError


@pytest.mark.parametrize(
    "text", ["affwild2:/a/b", "affectnet:rel/dir", "emotionet:x", "pack:f.h5", "pack:with:colon.h5"]
)
def test_specs_read_back(text):
    spec = parse_spec(text)
    assert str(spec) == text
    assert spec.path == Path(text.partition(":")[2])


@pytest.mark.parametrize("text", ["faces.h5", "raf:DIR", "pack:", ":x", "", "PACK:x"])
def test_other_texts_name_the_kinds(text):
    with pytest.raises(FacerError, match="one of the kinds affwild2, affectnet, emotionet, pack"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("affwild2", "no such folder, expected the folder of Aff-Wild2"),
        ("affectnet", "no such folder, expected the folder of AffectNet"),
        ("emotionet", "no such folder, expected the folder of EmotioNet"),
        ("pack", "no such file, expected a crop pack"),
    ],
)
def test_each_kind_has_its_reader(tmp_path, aligner, kind, message):
    with pytest.raises(FacerError, match=message):
        read_spec(parse_spec(f"{kind}:{tmp_path / 'none'}"), "train", aligner)


def test_videos_are_held_out_across_the_folders_of_several_tasks(tmp_path, put_text, put_image):
    """The tasks given as a folder each: what one validates on, no other is trained on."""
    for task, split in (("va", "Train_Set"), ("expr", "Validation_Set")):
        for video in ("a", "b_left") if task == "va" else ("b_right",):
            put_image(tmp_path / task / "cropped_aligned" / video / "00001.jpg")
            put_text(tmp_path / task / split / f"{video}.txt", "valence,arousal\n0,0\n")
    specs = [parse_spec(f"affwild2:{tmp_path / task}") for task in ("va", "expr")]
    held_out = held_out_videos([*specs, parse_spec("pack:own.h5")])
    assert held_out == {"b"}
    train = read_spec(specs[0], "train", None, held_out)  # type: ignore[arg-type]
    assert isinstance(train.images, CropFiles)
    assert [train.images.path(i).parent.name for i in train.indices] == ["a"]
