"""Specs: a kind and a path, and the reader behind each kind."""

from pathlib import Path

import pytest

from facer.stages.affect.specs import parse_spec, read_spec
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
