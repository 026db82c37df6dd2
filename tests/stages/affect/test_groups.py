from pathlib import Path

import numpy as np
import pytest

from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.groups import groups_of, table_groups, typology_angle_deg
from facer.stages.features.align import ARCFACE_TEMPLATE_PX
from facer.storage.errors import FacerError
from facer.storage.schema import U8


class Crops:
    def __init__(self, crops: list[U8]) -> None:
        self.crops = crops

    def crop(self, index: int) -> U8:
        return self.crops[index]

    def name(self, index: int) -> str:
        return f"people/{index}.jpg"


def plain(red: int, green: int, blue: int) -> U8:
    return np.full((112, 112, 3), (red, green, blue), np.uint8)


def a_set(crops: list[U8], keypoints: np.ndarray | None = None) -> AffectSet:
    n = len(crops)
    expression, va, au = (np.full((n, width), np.nan, np.float32) for width in (7, 2, 17))
    return AffectSet(
        "own", Crops(crops), np.arange(n), expression, va, au, np.zeros(17, np.float32),
        keypoints_px=keypoints,
    )  # fmt: skip


def test_the_typology_angle_orders_skin_and_leaves_grey_pictures_out() -> None:
    pale, tan, dark = (typology_angle_deg(plain(*c)) for c in (
        (240, 208, 188), (200, 150, 115), (90, 55, 40),
    ))  # fmt: skip
    assert pale > 41 > tan > -30 > dark
    assert np.isnan(typology_angle_deg(plain(128, 128, 128)))
    assert np.isnan(typology_angle_deg(plain(0, 0, 0)))


def test_each_crop_is_in_one_group_of_what_it_shows() -> None:
    points = np.repeat(ARCFACE_TEMPLATE_PX[None], 6, axis=0).astype(np.float32)
    points[4, 2, 0] += 40  # the nose far to one side
    points[5] = np.nan
    crops = [plain(240, 208, 188), plain(90, 55, 40), *[plain(v, v, v) for v in (20, 80, 140, 250)]]
    found = {(g.attribute, g.name): set(g.rows.tolist()) for g in groups_of(a_set(crops, points))}
    assert found["skin", "very light"] == {0}
    assert found["skin", "dark"] == {1}
    assert found["yaw_deg", "under 15"] == {0, 1, 2, 3}
    assert found["yaw_deg", "30 and more"] == {4}
    assert found["light", "dark"] == {1, 2}
    assert found["light", "bright"] == {0, 5}
    for attribute in ("light", "sharpness"):
        rows = [r for (name, _), members in found.items() if name == attribute for r in members]
        assert sorted(rows) == list(range(6))


@pytest.mark.parametrize("n", [1, 2])
def test_few_crops_without_points(n: int) -> None:
    attributes = {group.attribute for group in groups_of(a_set([plain(9, 9, 9)] * n))}
    assert attributes == {"sharpness", "light"}


TABLE = """image,age,sex,age_group
people/2.jpg,31,female,20 to 39
people/0.jpg,8,male,0 to 19
people/1.jpg,9,,0 to 19
other/7.jpg,70,male,60 and more
"""


def test_a_table_tells_groups_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    path.write_text(TABLE + "".join(f"people/{n}.jpg,{n}.5,,NA\n" for n in range(3, 28)))
    groups, notes = table_groups(path, a_set([plain(9, 9, 9)] * 30))
    found = [(g.attribute, g.name, g.rows.tolist()) for g in groups]
    assert found == [
        ("sex", "female", [2]), ("sex", "male", [0]),
        ("age_group", "0 to 19", [0, 1]), ("age_group", "20 to 39", [2]),
    ]  # fmt: skip
    assert [note.partition(": ")[2] for note in notes] == [
        "has no row of 2 of 30 images", "column 'age' has 28 values, expected at most 20 groups",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [
    ("person,sex\n0,male\n", "expected one named 'image'"),
    ("image,sex\n0,male\n1,male\n", "none of the 3 images of own .* such as 'people/0.jpg'"),
    ("image,sex\npeople/0.jpg,male\npeople/0.jpg,male\n", r"csv:3: found .* twice"),
    ("image,sex\npeople/0.jpg,\n", "no column of groups"),
])  # fmt: skip
def test_a_table_that_tells_no_group_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "told.csv"
    path.write_text(text)
    with pytest.raises(FacerError, match=message):
        table_groups(path, a_set([plain(9, 9, 9)] * 3))
