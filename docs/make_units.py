"""Teach units to a finished REC by geometry, leaving all of its other outputs as they are.

    python docs/make_units.py displacements.npz --rec rec-small -o rec-units.safetensors \\
        --data faces-muxspace.h5 mux-mesh.h5 1500 --data faces-ferplus.h5 fer-mesh.h5 500

The pooled space of so many warped faces of the packs' train splits is computed once and kept
beside the output (``.npz``), so that a stopped run goes on behind it; then only the rows of
``--units`` are fitted (``facer.stages.affect.units.rows``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from facer.pipeline.runtime.progress import CountReporter
from facer.stages.affect.augment import AugmentConfig
from facer.stages.affect.datasets.packs import read_pack
from facer.stages.affect.datasets.samples import AffectSet, weak_features
from facer.stages.affect.metrics import EXPRESSION_COLUMNS
from facer.stages.affect.units.geometry import UnitGeometry, read_geometry
from facer.stages.affect.units.pairs import with_meshes
from facer.stages.affect.units.rows import (
    Embed,
    LabelledSpace,
    PairedEmbeddings,
    UnitRowsConfig,
    fit_rows,
    joined,
    paired_embeddings,
)
from facer.stages.features.rec.loading import load
from facer.stages.features.rec.torch_rec import load_network, save_rec
from facer.stages.features.rec.weights import weights_path
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import AU_NAMES, FEATURE_NAMES

UNITS = "au04,au06,au09,au10,au11,au15,au17,au20,au23,au24"
CAMERA = AugmentConfig(
    tint=0.5, low_resolution=0.2, noise=0.2, jpeg=0.1, erase=0.1, blur=0.1, scale=0.08,
    rotate_deg=8, shift_px=3,
)  # fmt: skip
MOVES, LABELLED = 5, 3000  # units that move a face; labelled crops of each pack


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


def embedded(
    kept: Path, data: AffectSet, faces: int, geometry: UnitGeometry, columns: Embed
) -> tuple[PairedEmbeddings, LabelledSpace]:
    """Warped faces and labelled crops of a set in the pooled space; computed once, then ``kept``.

    ``columns``: crops to REC's features and, behind them, the pooled space.
    """
    n = len(FEATURE_NAMES)
    if not kept.exists():
        pairs = paired_embeddings(
            lambda crops: columns(crops)[:, n:], data, geometry, faces, MOVES, CAMERA,
            report=CountReporter(f"faces of {data.name}"),
        )  # fmt: skip
        rows = np.sort(np.random.default_rng(1).permutation(len(data))[:LABELLED])
        blocks = np.array_split(rows, len(rows) // 64 + 1)
        seen = [columns(np.stack([data.crop(int(r)) for r in block])) for block in blocks]
        np.savez(kept, rows=rows, seen=np.concatenate(seen), **vars(pairs))
    with np.load(kept) as file:
        pairs = PairedEmbeddings(*(file[name] for name in PairedEmbeddings.__annotations__))
        rows, seen = file["rows"], file["seen"]
    trust = np.tile(data.au_trust, (len(rows), 1))
    return pairs, LabelledSpace(seen[:, n:], seen[:, EXPRESSION_COLUMNS], data.au[rows], trust)


if __name__ == "__main__":
    main()
