"""Rows of the paper's Table 1: built as far as the streams allow, the paper's figures marked."""

import csv
import json
import shutil

import numpy as np
import pytest

import facer
from facer.pipeline.intensity.ablation.ablate import ablate
from facer.pipeline.intensity.ablation.recipes import RECIPES
from facer.pipeline.intensity.ablation.report import PAPER_TEST
from facer.pipeline.intensity.ablation.rows import FULL, ablation_rows
from facer.pipeline.intensity.config import AblateConfig
from facer.pipeline.intensity.head_run import read_run
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from tests.support import some

FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=1)


@pytest.fixture
def config(planted, tmp_path):
    store, labels = planted()
    shutil.copytree(store, tmp_path / "audio.zarr")
    streams = StreamsConfig((f"audio={tmp_path / 'audio.zarr'}",))
    return AblateConfig(
        store, labels, tmp_path / "out", ("table1",), fit=FAST, seeds=1, streams=streams,
        sequences=SequenceConfig(max_frames=24),
    )  # fmt: skip


def test_rows_are_built_as_far_as_the_streams_allow(config, tmp_path):
    table = ablate(config)
    rows = {row.row.id: row for row in table.rows}
    assert table.failed == ()
    identity = "needs --with identity=STORE, or a store of facer extract --embedding"
    assert rows["vggface2-baseline"].reason == identity
    assert rows["fusion-baseline"].reason == "needs the row vggface2-baseline"
    done = {name for name, row in rows.items() if row.mean is not None}
    assert done == {*RECIPES, FULL} - {"vggface2-baseline", "fusion-baseline"}
    runs = config.output / "rows"
    assert read_run(runs / "fau-baseline").streams.places == {}
    assert set(read_run(runs / "fau-baseline").columns) == {
        name for name in read_run(runs / FULL).columns if name.startswith("au") and "." not in name
    }
    assert list(read_run(runs / "ustc-iat-united").streams.places) == ["audio"]
    assert read_run(runs / "ustc-iat-united").fit.head.modality_dropout == 0.3
    members = [runs / name for name in ("ustc-ac", "ustc-iat-united", "nisl-2023")]
    fused = facer.fuse(members, split="val").fusion
    assert rows["hfut-cvers"].mean == fused.mean("pearson")
    assert rows["hfut-cvers"].against is not None
    text = (config.output / "table.md").read_text()
    assert PAPER_TEST in text
    assert "| .473 |" in text
    assert "- ViPER. There: ViPER: a perceiver" in text
    with (config.output / "table.csv").open() as file:
        cells = {row["id"]: row for row in csv.DictReader(file)}
    assert cells["viper"]["paper_test"] == "0.297"
    assert cells["viper"]["paper"] == ""
    assert json.dumps(table.to_json()["rows"][1]["paper_test"])
    page = facer.report(config.output, tmp_path / "page")
    assert PAPER_TEST in (tmp_path / "page" / "index.html").read_text()
    assert page is not None


def test_every_row_of_table_1_has_a_recipe_and_a_figure():
    rows = [row for row in ablation_rows(("table1",), ()) if row.id != FULL]
    assert {row.id for row in rows} == {*RECIPES}
    assert all(row.paper_test is not None and row.paper is None for row in rows)
    figures = [some(row.paper_test) for row in rows]
    assert np.sum(figures) == pytest.approx(3.1131, abs=1e-6)
