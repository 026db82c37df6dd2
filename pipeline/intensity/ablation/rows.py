"""The rows of an ablation: the paper's Tables 2 and 3, and the other heads on the same cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from facer.stages.intensity.config import FitConfig, LossName
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage.errors import OptionError, named

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "table2": "Table 2: feature sets",
        "table3": "Table 3: the head",
        "heads": "Other heads on the same features",
        "table1": "Table 1: kinds of system",
        "also": "Other stores",
    }
)
ROW_SETS = tuple(name for name in GROUPS if name != "also")
"""What ``--rows`` takes."""
FULL = "full"
"""Id of the row that all others are compared with; it stands in Tables 2 and 3."""


@dataclass(frozen=True)
class AblationRow:
    """One training setting, as a change to the base settings."""

    id: str  # its folder
    groups: tuple[str, ...]
    title: str
    paper: float | None = None  # mean Pearson on Hume-Reaction's val split (Kollias et al. 2023)
    features: tuple[str, ...] | None = None
    head: Mapping[str, Any] = field(default_factory=dict)
    loss: LossName | None = None
    other_store: str | None = None  # NAME of --also that it needs
    streams: tuple[str, ...] | None = None  # of --with that it reads and needs; None: all given
    members: tuple[str, ...] = ()  # rows whose predictions it averages; it trains nothing
    paper_test: float | None = None  # mean Pearson on the test split in the paper's Table 1

    def cited(self, group: str) -> float | None:
        """The paper's figure beside the row in a table: of test in Table 1, of val elsewhere."""
        return self.paper_test if group == "table1" else self.paper

    def sequences(self, base: SequenceConfig) -> SequenceConfig:
        """Base settings with this row's features; another store's columns are all taken."""
        features = ("all",) if self.other_store else self.features
        return base if features is None else replace(base, features=features)

    def fit(self, base: FitConfig) -> FitConfig:
        """Base settings with this row's head and loss."""
        return replace(base, head=replace(base.head, **self.head), loss=self.loss or base.loss)


_ROWS = (
    AblationRow(FULL, (*GROUPS,), "full model", 0.494),
    AblationRow("va", ("table2",), "VA", 0.461, ("va",)),
    AblationRow("expr", ("table2",), "EXPR", 0.476, ("expr",)),
    AblationRow("au", ("table2",), "AU", 0.480, ("au",)),
    AblationRow("va-expr", ("table2",), "VA + EXPR", 0.485, ("va", "expr")),
    AblationRow("va-au", ("table2",), "VA + AU", 0.491, ("va", "au")),
    AblationRow("au-expr", ("table2",), "AU + EXPR", 0.491, ("au", "expr")),
    AblationRow("dense-64", ("table3",), "dense layer of 64", 0.480, head={"dense": 64}),
    AblationRow("dense-16", ("table3",), "dense layer of 16", 0.485, head={"dense": 16}),
    AblationRow("dense-8", ("table3",), "dense layer of 8", 0.478, head={"dense": 8}),
    AblationRow("layers-2", ("table3",), "2 GRU layers", 0.492, head={"layers": 2}),
    AblationRow("resnet50", ("table3",), "ResNet50 features", 0.465, other_store="resnet50"),
    AblationRow("lstm", ("table3",), "LSTM", 0.482, head={"cell": "lstm"}),
    AblationRow("gru-256", ("table3",), "GRU of 256", 0.484, head={"hidden_size": 256}),
    AblationRow("gru-64", ("table3",), "GRU of 64", 0.488, head={"hidden_size": 64}),
    AblationRow("no-mask", ("table3",), "without Mask and routing", 0.469,
                head={"routed": False}),
    AblationRow("mse", ("table3",), "MSE loss", 0.481, loss="mse"),
    AblationRow("gru-last", ("heads",), "gru-last", head={"name": "gru-last"}),
    AblationRow("tcn-transformer", ("heads",), "tcn-transformer",
                head={"name": "tcn-transformer"}),
    AblationRow("perceiver", ("heads",), "perceiver", head={"name": "perceiver"}),
    AblationRow("stats-mlp", ("heads",), "stats-mlp", head={"name": "stats-mlp"}),
    AblationRow("facernet", ("table1",), "FaceRNET", streams=(), paper_test=0.499),
    AblationRow("hfut-cvers", ("table1",), "HFUT-CVers",
                members=("ustc-ac", "ustc-iat-united", "nisl-2023"), paper_test=0.473),
    AblationRow("ustc-iat-united", ("table1",), "USTC-IAT-United", streams=("audio",),
                head={"name": "tcn-branches", "modality_dropout": 0.3}, paper_test=0.438),
    AblationRow("ustc-ac", ("table1",), "USTC-AC", streams=("audio",),
                head={"name": "cross-attention"}, paper_test=0.373),
    AblationRow("nisl-2023", ("table1",), "NISL-2023", streams=("audio",),
                head={"name": "tcn-transformer"}, paper_test=0.367),
    AblationRow("viper", ("table1",), "ViPER", streams=("audio",), head={"name": "perceiver"},
                paper_test=0.297),
    AblationRow("fau-baseline", ("table1",), "FAU baseline", features=("au",), streams=(),
                head={"name": "gru-last"}, paper_test=0.2801),
    AblationRow("fusion-baseline", ("table1",), "Fusion baseline",
                members=("fau-baseline", "vggface2-baseline"), paper_test=0.203),
    AblationRow("vggface2-baseline", ("table1",), "VGGface2 baseline", features=("identity",),
                streams=("identity",), head={"name": "gru-last"}, paper_test=0.183),
)  # fmt: skip


def ablation_rows(
    groups: Sequence[str], also: Sequence[str], features: Sequence[str] = ("all",)
) -> tuple[AblationRow, ...]:
    """The rows of some groups, and one for each other store by name; the full model is first.

    Rows without features of their own keep the base settings': ``features``. Raises FacerError for
    a store's name that is no plain word or already a row's.
    """
    full = replace(_ROWS[0], title=f"{_ROWS[0].title}, {' + '.join(features)} features")
    chosen = [
        full,
        *(row for row in _ROWS[1:] if set(row.groups) & set(groups) or row.other_store in also),
    ]
    ids = {row.id for row in _ROWS if row.other_store is None}
    for name in also:
        if not name.replace("-", "").replace("_", "").isalnum() or name in ids:
            raise OptionError(
                f"{named('also')} {name}=...: expected a new name of letters, digits, - and _"
            )
        if all(row.other_store != name for row in chosen):
            chosen.append(AblationRow(name, ("also",), f"{name} features", other_store=name))
    return tuple(chosen)
