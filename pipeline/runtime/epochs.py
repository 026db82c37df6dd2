"""Lines on stderr that tell how trainings go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from facer.pipeline.runtime.progress import log


def both(*told: Callable[..., None] | None) -> Callable[..., None]:
    """Return a callback that calls those that there are."""

    def report(*epoch: Any) -> None:
        for one in told:
            if one is not None:
                one(*epoch)

    return report


def head_epoch(seed: int, row: Any, epochs: int) -> None:
    """Say how a head's epoch went: one line an epoch on a terminal, one in ten elsewhere."""
    if sys.stderr.isatty() or row.epoch % 10 == 0 or row.epoch in (1, epochs):
        log(
            f"seed {seed}, epoch {row.epoch}/{epochs}: loss {row.train_loss:.4f}, "
            f"val Pearson {row.val_pearson:.4f}{' *' if row.best else ''}, "
            f"{row.clips_per_s:.0f} clips/s"
        )


def fold_epoch(fold: int, seed: int, row: Any, epochs: int) -> None:
    """Say how a fold's first and last epoch went."""
    if row.epoch in (1, epochs):
        log(
            f"fold {fold}, seed {seed}, epoch {row.epoch}/{epochs}: loss {row.train_loss:.4f}, "
            f"val Pearson {row.val_pearson:.4f}"
        )


def training_epoch(*epoch: Any) -> None:
    """Say how an epoch of a head went: (seed, row, epochs), of folds with the fold before them."""
    (fold_epoch if len(epoch) == 4 else head_epoch)(*epoch)


def rec_epoch(epochs: int) -> Callable[[dict[str, Any]], None]:
    """Return what says how an epoch of REC's training went, with the scores of each val set."""
    from facer.stages.affect.metrics import headlines

    def line(row: dict[str, Any]) -> None:
        scores = []
        for one in row["val"]:
            found = {k.removeprefix("mean "): v for k, v in headlines(one).items() if v is not None}
            parts = [f"{name} {value:.3f}" for name, value in found.items()]
            scores.append(f"{one['data']}: {', '.join(parts)}")
        log(f"epoch {row['epoch']}/{epochs}: loss {row['loss']['total']:.4f}; {'; '.join(scores)}")

    return line


def joint_epoch(epochs: int) -> Callable[[dict[str, Any]], None]:
    """Return what says how an epoch of REC and head together went."""

    def line(row: dict[str, Any]) -> None:
        loss = "before training" if row["loss"] is None else f"loss {row['loss']:.4f}"
        log(f"epoch {row['epoch']}/{epochs}: {loss}, val Pearson {row['val_pearson']:.4f}")

    return line


def detector_step(row: Any) -> None:
    """Say how far the detector's training is."""
    log(f"step {row.step}/{row.steps}: loss {row.losses['total']:.4f}")


def points_step(row: Any) -> None:
    """Say how far the training of the points model is."""
    log(f"step {row.step}/{row.steps}: loss {row.loss:.4f}; held-out faces: points "
        f"off by {row.val_error:.1%} of the eyes' distance")  # fmt: skip


def ablation_row(title: str, done: int, total: int) -> None:
    """Say that a row of an ablation is done."""
    log(f"{done}/{total} rows done: {title}")
