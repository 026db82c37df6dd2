"""Teach units to a finished REC by geometry, leaving all of its other outputs as they are.

    python docs/make_units.py displacements.npz --rec rec-small -o rec-units.safetensors \\
        --data faces-muxspace.h5 mux-mesh.h5 1500 --data faces-ferplus.h5 fer-mesh.h5 500

REC's outputs are linear maps of one pooled space. That space already moves when a face does; what
is missing for units without labels is the direction. So the pooled space of so many warped faces
of the packs' train splits is computed once and kept beside the output (``.npz``), so that a stopped
run resumes behind it; then only the rows of ``--units`` are fitted to it: minutes instead of hours,
and no other column can change.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from unit_space import MOVES, LabelledSpace, PairedEmbeddings, embedded, joined

from facer.stages.affect.coupling import coupling_matrix
from facer.stages.affect.datasets.packs import read_pack
from facer.stages.affect.datasets.samples import weak_features
from facer.stages.affect.losses import (
    au_loss,
    distribution_matching_loss,
    rest_level_loss,
    unit_pair_loss,
)
from facer.stages.affect.units.geometry import UnitGeometry, read_geometry
from facer.stages.affect.units.pairs import with_meshes
from facer.stages.common.training import Schedule, ema_decay_at
from facer.stages.features.rec.loading import load
from facer.stages.features.rec.network import RecNet
from facer.stages.features.rec.torch_rec import load_network, save_rec
from facer.stages.features.rec.weights import weights_path
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import AU_NAMES, Bools

UNITS = "au04,au06,au09,au10,au11,au15,au17,au20,au23,au24"


@dataclass(frozen=True)
class UnitRowsConfig:
    """How rows of units are fitted."""

    units: tuple[str, ...]  # columns whose rows are fitted
    steps: int = 2200
    batch_size: int = 64  # pairs and labelled crops a step, of each
    learning_rate: float = 3e-3  # highest of Adam; rises over a tenth of the steps, then a cosine
    average: float = 0.998  # decay of the averaged rows, which are kept
    specific: float = 3.0  # weight of "other units stay" beside "the unit rises"
    level: float = 0.3  # weight of the levels beside the order
    bce: float = 4.0
    dm: float = 0.2
    dm_labelled: float = 0.1  # of L_DM on units with labels, relative to dm
    seed: int = 0


def main() -> None:
    """Embed, fit, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("geometry", type=Path)
    parser.add_argument("--rec", default="rec-small")
    parser.add_argument(
        "--data", nargs=3, action="append", required=True, metavar=("PACK", "MESHES", "FACES")
    )
    parser.add_argument("--units", default=UNITS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    config = UnitRowsConfig(tuple(options.units.split(",")))
    if not set(config.units) <= set(AU_NAMES):
        parser.error(f"--units: found {options.units}, expected some of {', '.join(AU_NAMES)}")
    geometry = read_geometry(options.geometry)
    sets = [with_meshes(read_pack(pack, "train"), [Path(mesh)]) for pack, mesh, _ in options.data]
    rec = load(options.rec, "cpu", embedding=True)
    found = [
        embedded(options.output.with_name(f"{options.output.stem}-{data.name}.npz"), data,
                 int(faces), geometry, rec.predict)
        for data, (_, _, faces) in zip(sets, options.data, strict=True)
    ]  # fmt: skip
    pairs = joined([one for one, _ in found])
    labelled = joined([one for _, one in found])
    path = weights_path(options.rec)
    network, meta = load_network(path)
    weak = weak_features(sets)
    unlabelled = np.array([name in weak for name in AU_NAMES])
    torch.manual_seed(config.seed)
    fit_rows(network, pairs, labelled, unlabelled, geometry, config)
    about = {
        "start": {"sha256": weights_sha256(path), "training": meta.get("training")},
        "units_by_geometry": {
            **vars(config),
            "data": [Path(pack).name for pack, _, _ in options.data],
            "faces": len(pairs.embedding),
            "moves": MOVES,
        },
    }
    save_rec(options.output, network, weak=tuple(meta["weak_features"]), training=about)
    print(f"{options.output}: written")  # noqa: T201


def fit_rows(
    network: RecNet, pairs: PairedEmbeddings, labelled: LabelledSpace, unlabelled: Bools,
    geometry: UnitGeometry, config: UnitRowsConfig,
) -> None:  # fmt: skip
    """Fit the rows of ``config.units`` in the network's unit output; all else keeps its bits.

    The loss is that of pairs (:func:`unit_pair_loss`), L_BCE on labelled crops and L_DM against the
    expressions that REC gives them. ``unlabelled`` (17,) names units that no set labels: their
    level is held at 0 on neutral faces.
    """
    rows = torch.tensor([name in config.units for name in AU_NAMES])
    loss_of = _RowsLoss(pairs, labelled, unlabelled, geometry, config)
    before = [network.au.weight.detach().clone(), network.au.bias.detach().clone()]
    fitted = [value.clone().requires_grad_() for value in before]
    averaged = [value.clone() for value in before]
    optimiser = torch.optim.Adam(fitted, lr=config.learning_rate)
    rng = np.random.default_rng([config.seed, 31])
    schedule = Schedule(config.learning_rate, 0.1, 1.0, first=1e-3, steps=config.steps)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule.at(step)
        loss = loss_of(fitted, rng)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        decay = ema_decay_at(step, config.average)
        with torch.no_grad():
            for value, old, mean in zip(fitted, before, averaged, strict=True):
                value[~rows] = old[~rows]
                mean.lerp_(value, 1 - decay)
    with torch.no_grad():
        network.au.weight[rows] = averaged[0][rows]
        network.au.bias[rows] = averaged[1][rows]


class _RowsLoss:
    """The loss of weight (17, D) and bias (17,) on pairs and labelled crops drawn at random."""

    def __init__(
        self, pairs: PairedEmbeddings, labelled: LabelledSpace, unlabelled: Bools,
        geometry: UnitGeometry, config: UnitRowsConfig,
    ) -> None:  # fmt: skip
        self._config = config
        self._embedding, self._unit, self._strength, self._neutral = (
            torch.from_numpy(values) for values in vars(pairs).values()
        )
        self._seen, expression, self._au, self._trust = (
            torch.from_numpy(values) for values in vars(labelled).values()
        )
        self._expression_logits = expression.clamp_min(1e-6).log()
        self._overlap = torch.from_numpy(geometry.overlap)
        self._silent = torch.from_numpy(unlabelled)
        matrix = coupling_matrix("paper")
        assert matrix is not None
        self._coupling = torch.from_numpy(matrix)

    def __call__(self, fitted: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
        c, (weight, bias) = self._config, fitted
        i, j, k = (
            torch.from_numpy(rng.integers(n, size=c.batch_size))
            for n in (len(self._embedding), self._unit.shape[1], len(self._seen))
        )
        pair = (self._embedding[i, 0], self._embedding[i, 1 + j])
        base, moved = (F.linear(e, weight, bias) for e in pair)
        terms = unit_pair_loss(base, moved, self._unit[i, j], self._strength[i, j], self._overlap)
        rest = rest_level_loss(base, self._neutral[i], self._silent)
        logits, au = F.linear(self._seen[k], weight, bias), self._au[k]
        balance = torch.where(au.isfinite(), c.dm_labelled, 1.0)
        return (
            terms["rank"]
            + c.specific * terms["specific"]
            + c.level * (terms["level"] + rest)
            + c.bce * au_loss(logits, au, self._trust[k])
            + c.dm
            * distribution_matching_loss(
                self._expression_logits[k], logits, self._coupling, balance
            )
        )


if __name__ == "__main__":
    main()
