"""Raise the rare expressions of a finished REC, leaving all of its other outputs as they are.

    python docs/make_balanced.py faces-ferplus.h5 --rec runs/rec-units.safetensors \\
        --strength 0.15 -o rec-balanced.safetensors
    python docs/make_balanced.py holdout.h5 --rec runs/hold2/rec.safetensors

Logit adjustment (Menon et al. 2021, "Long-tail learning via logit adjustment", equation 9): of
each expression's logit ``strength`` times the logarithm of its share among the pack's training
labels is taken off. Without ``--output`` the pack's val part is scored at every strength, which is
how one is chosen: on a part that trained nothing (``make_holdout.py``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from facer.stages.affect.datasets.packs import read_pack
from facer.stages.affect.metrics import EXPRESSION_COLUMNS, expression_metrics
from facer.stages.features.rec.loading import load
from facer.stages.features.rec.torch_rec import load_network, save_rec
from facer.stages.features.rec.weights import weights_path
from facer.storage.schema import EXPRESSIONS, F64

BATCH = 64
STRENGTHS = (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def main() -> None:
    """Choose, or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--rec", required=True)
    parser.add_argument("--strength", type=float)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    shares = shares_of(options.pack)
    if options.output is None:
        show(options.pack, options.rec, shares)
        return
    network, meta = load_network(weights_path(options.rec))
    with torch.no_grad():
        network.expression.bias -= options.strength * torch.from_numpy(np.log(shares))
    about = {"strength": options.strength, "shares": shares.round(4).tolist()}
    training = {**meta["training"], "logit_adjustment": about}
    save_rec(options.output, network, weak=tuple(meta["weak_features"]), training=training)
    print(f"{options.output}: written")  # noqa: T201


def shares_of(pack: Path) -> F64:
    """(7,) how often each expression is the most voted one of the pack's training images."""
    truth = read_pack(pack, "train").expression_class
    counts = np.bincount(truth[truth >= 0], minlength=len(EXPRESSIONS))
    return np.maximum(counts, 1) / counts.sum()


def show(pack: Path, rec: str, shares: F64) -> None:
    """Accuracy and mean recall on the pack's val part, by strength."""
    model, data = load(rec, "cpu"), read_pack(pack, "val")
    batches = [model.predict(crops)[:, EXPRESSION_COLUMNS] for _, crops in data.batches(BATCH)]
    logits = np.log(np.concatenate(batches).clip(1e-12))
    for strength in STRENGTHS:
        scores = expression_metrics(logits - strength * np.log(shares).astype(np.float32), data)
        assert scores is not None
        print(  # noqa: T201
            f"{strength:.2f}: accuracy {scores['accuracy']:.4f}, "
            f"mean recall {scores['mean_recall']:.4f}, n {scores['n']}"
        )


if __name__ == "__main__":
    main()
