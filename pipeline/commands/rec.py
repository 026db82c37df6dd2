"""Commands of REC: train-rec, evaluate-rec, export-rec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.shared import (
    POSITIVE,
    SEED,
    Device,
    Finite,
    json_option,
    print_list,
    shortened,
    with_options,
)
from facer.pipeline.runtime.progress import Counter, echo, say

_ALIGN_OPTIONS = (
    click.option("--cache", type=click.Path(path_type=Path),
                 help="Folder for aligned crops. [default: ~/.cache/facer/crops]"),
    click.option("--detector", default="facer-det", show_default=True, metavar="NAME",
                 help="For photographs that are not aligned yet; as in facer extract."),
    click.option("--det-size", default=None, type=int, metavar="PX",
                 help="Longer side that the detector sees. [default: 320 for facer-det, else 640]"),
)  # fmt: skip


_TRAIN_REC_OPTIONS = (
    click.option("--data", multiple=True, required=True, metavar="KIND:PATH",
                 help="affwild2:DIR, affectnet:DIR, emotionet:DIR or pack:FILE.h5; repeatable."),
    click.option("--val", "validation", multiple=True, metavar="KIND:PATH",
                 help="Sets whose val split is scored each epoch. [default: those of --data]"),
    click.option("-o", "--output", "run", required=True, type=click.Path(path_type=Path),
                 help="Run folder to write."),
    click.option("--backbone", default="rec-small", show_default=True,
                 help="rec, rec-small or resnet50."),
    click.option("--start", default="", metavar="REC",
                 help="Go on from these weights: rec-small or a .safetensors file."),
    click.option("--teacher", "teachers", multiple=True, metavar="REC",
                 help="A REC, .onnx too, to learn expressions from; repeatable: their mean."),
    click.option("--teacher-share", default=0.7, show_default=True,
                 help="Its part of the expressions' target, beside the labels."),
    click.option("--coupling", default="paper", show_default=True, help="paper, shares or off."),
    click.option("--weight", "weights", multiple=True, metavar="TERM=W",
                 help="Of a loss term: ccc, cce, bce, dm or dm_labelled. [default: 1 each]"),
    click.option("--augment", multiple=True, metavar="NAME=X",
                 help="Range or chance of an augmentation, such as tint=0.5; see the docs."),
    click.option("--unit-geometry", default="", metavar="FILE",
                 help="Displacements of action units (npz): teach units by warped pairs."),
    click.option("--meshes", multiple=True, metavar="FILE",
                 help="Face meshes of a pack's crops (HDF5), for --unit-geometry; repeatable."),
    click.option("--unit-pairs", default=32, show_default=True, help="Warped pairs per step."),
    click.option("--mixup", type=Finite(min=0), default=0.0, show_default=True, metavar="A",
                 help="Blend pairs of crops and labels by Beta(A, A), such as 0.2; 0: no."),
    click.option("--epochs", default=20, show_default=True, help="Epochs."),
    click.option("--batch-size", default=64, show_default=True, help="Crops per step."),
    click.option("--learning-rate", type=POSITIVE, default=1.5e-3, show_default=True,
                 help="The highest one."),
    click.option("--small-epochs", default=0.5, show_default=True,
                 help="Share of the epochs trained on 80 px instead of 112, which is faster."),
    click.option("--class-balance", default=0.5, show_default=True,
                 help="0 natural frequencies of the classes, 1 all equally often."),
    click.option("--database-balance", default=0.5, show_default=True,
                 help="The same for databases."),
    click.option("--val-limit", default=10_000, show_default=True,
                 help="Crops of a val set that are scored each epoch, evenly spaced."),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random."),
    click.option("--device", type=Device(), default="auto", show_default=True,
                 help="auto, cpu, cuda or cuda:N."),
    click.option("--bf16", is_flag=True,
                 help="bfloat16 products on the CPU too: twice as fast where it knows them."),
    click.option("--workers", default=0, show_default=True,
                 help="Processes that read and augment; never changes results."),
    click.option("--resume", is_flag=True, help="Go on with a run that was stopped."),
)  # fmt: skip


def _align_config(options: dict[str, Any]) -> Any:
    from facer.stages.affect.datasets.aligned import AlignConfig, default_cache
    from facer.stages.features.detect import detector_config

    detector = detector_config(options["detector"], options["det_size"])
    return AlignConfig(options["cache"] or default_cache(), detector)


@click.command("train-rec")
@with_options(_TRAIN_REC_OPTIONS)
@with_options(_ALIGN_OPTIONS)
def train_rec(data: tuple[str, ...], validation: tuple[str, ...], run: Path, val_limit: int,
              resume: bool, weights: tuple[str, ...], augment: tuple[str, ...],
              **options: Any) -> int:  # fmt: skip
    """Train REC on labelled faces; several databases are trained on together.

    Writes RUN/rec.safetensors, which extract takes as --rec.

    \b
    Example:
      facer train-rec --data affwild2:Aff-Wild2 --data affectnet:AffectNet -o runs/rec
    """
    from facer.pipeline.affect.train import TrainRecConfig
    from facer.pipeline.affect.train import train_rec as train
    from facer.stages.affect.augment import AugmentConfig
    from facer.stages.affect.fit import RecFitConfig
    from facer.stages.affect.losses import LossWeights

    names = ("backbone", "start", "teachers", "teacher_share", "coupling", "mixup", "epochs",
             "unit_geometry", "meshes", "unit_pairs",
             "batch_size", "learning_rate", "small_epochs", "class_balance", "database_balance",
             "seed", "device", "bf16", "workers")  # fmt: skip
    fit = RecFitConfig(
        loss=_numbers("--weight", LossWeights(), weights),
        augment=_numbers("--augment", AugmentConfig(), augment),
        **{name: options[name] for name in names},
    )
    config = TrainRecConfig(data, run, validation, fit, _align_config(options), val_limit, resume)
    result = train(config, lambda row: _rec_epoch_line(row, fit.epochs), Counter("images aligned"),
                   Counter("crops answered by the teachers"), _StepCounter())  # fmt: skip
    for one in result.sets:
        kinds = ", ".join(f"{n} with {kind}" for kind, n in one["labelled"].items())
        echo(f"{one['split']:5} {one['spec']}: {one['n']} crops; {kinds}")
    print_list("left out", [f"{one['split']}, {shortened(note, 'config.json has all')}"
                       for one in result.sets for note in one["notes"]])  # fmt: skip
    echo(f"weakly supervised columns: {', '.join(result.weak_features) or 'none'}")
    echo(f"weights: {result.rec}")
    echo(f"next: facer evaluate-rec {result.rec} --data {(validation or data)[0]}")
    return 0


def _numbers(option: str, defaults: Any, pairs: Sequence[str]) -> Any:
    """``defaults`` with the fields that NAME=NUMBER pairs give."""
    known = vars(defaults)
    numbers: dict[str, float] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            numbers[name] = type(known.get(name, 0.0))(value)
        except ValueError:
            name = ""
        if name not in known:
            raise click.UsageError(f"{option}: found {pair!r}, expected {' or '.join(known)} "
                                   "followed by =NUMBER, such as "
                                   f"{next(iter(known))}=0.5")  # fmt: skip
    return replace(defaults, **numbers)


class _StepCounter:
    """Steps within an epoch, at most one line in a few seconds."""

    def __init__(self) -> None:
        self._count = Counter("")

    def __call__(self, epoch: int, done: int, total: int) -> None:
        """``done`` of an epoch's ``total`` steps are done."""
        self._count.what = f"steps of epoch {epoch}"
        self._count(done, total)


def _rec_epoch_line(row: dict[str, Any], epochs: int) -> None:
    scores = []
    for one in row["val"]:
        expression = one["expression"] or {}
        aucs = [e["auc"] for e in one["au"].values() if e is not None and e["auc"] is not None]
        cccs = [e["ccc"] for e in one["va"].values() if e is not None and e["ccc"] is not None]
        parts = [f"accuracy {expression['accuracy']:.3f}"] if expression else []
        parts += [f"AU AUC {sum(aucs) / len(aucs):.3f}"] if aucs else []
        parts += [f"CCC {sum(cccs) / len(cccs):.3f}"] if cccs else []
        scores.append(f"{one['data']}: {', '.join(parts)}")
    say(f"epoch {row['epoch']}/{epochs}: loss {row['loss']['total']:.4f}; {'; '.join(scores)}")


@click.command("evaluate-rec")
@click.argument("rec", default="rec-small")
@click.option("--data", required=True, metavar="KIND:PATH",
              help="affwild2:DIR, affectnet:DIR, emotionet:DIR or pack:FILE.h5.")  # fmt: skip
@click.option(
    "--split",
    type=click.Choice(["train", "val"]),
    default="val",
    show_default=True,
    help="train or val.",
)
@click.option("--pictures", type=click.Path(path_type=Path),
              help="Folder for confusion.png and action-units.png.")  # fmt: skip
@click.option("--unit-geometry", metavar="FILE",
              help="Displacements of action units (npz): does each output rise on faces moved by "
              "its unit?")  # fmt: skip
@click.option("--meshes", multiple=True, metavar="FILE",
              help="Face meshes of the pack's crops (HDF5), for --unit-geometry.")  # fmt: skip
@click.option("--by-group", is_flag=True,
              help="Also by skin tone, turn of the head, sharpness and light.")  # fmt: skip
@click.option(
    "--device", type=Device(), default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
@with_options(_ALIGN_OPTIONS)
@json_option
def evaluate_rec(rec: str, data: str, split: str, pictures: Path | None,
                 unit_geometry: str | None, meshes: tuple[str, ...], by_group: bool, device: str,
                 as_json: bool, **options: Any) -> int:  # fmt: skip
    """Score REC weights on labelled faces: expressions, action units, valence and arousal.

    REC is rec-small, or the path of .safetensors or .onnx weights.

    \b
    Example:
      facer evaluate-rec runs/rec/rec.safetensors --data affectnet:AffectNet --pictures look/
    """
    from facer.pipeline.affect.evaluate import evaluate_rec as evaluate_weights

    found = evaluate_weights(
        rec, data, split, device, align=_align_config(options), pictures=pictures,
        unit_geometry=unit_geometry, meshes=meshes, by_group=by_group,
        report=Counter("crops scored"),
        on_align=Counter("images aligned"),
    )  # fmt: skip
    if as_json:
        echo(json.dumps(found))
        return 0
    _print_rec_scores(found)
    if pictures is not None:
        drawn = ", ".join(found["pictures"])
        echo(f"pictures: {drawn or 'none, since nothing that they show is labelled'}")
    return 0


def _print_rec_scores(found: dict[str, Any]) -> None:
    def number(value: float | None) -> str:
        return "     -" if value is None else f"{value:6.3f}"

    echo(f"{found['rec']} ({found['rec_sha256'][:12]}) on {found['data']}, split "
               f"{found['split']}: {found['n']} crops")  # fmt: skip
    if (expression := found["expression"]) is not None:
        echo(f"expression  accuracy {expression['accuracy']:.3f}, macro F1 "
                   f"{expression['macro_f1']:.3f}, mean recall {expression['mean_recall']:.3f}, "
                   f"n {expression['n']}")  # fmt: skip
        if (agreed := expression["majority"]) is not None:
            echo(f"  where more than half of the votes agree: accuracy "
                       f"{agreed['accuracy']:.3f}, macro F1 {agreed['macro_f1']:.3f}, mean recall "
                       f"{agreed['mean_recall']:.3f}, n {agreed['n']}")  # fmt: skip
        echo("  recall: " + ", ".join(
            f"{name} {number(value).strip()}" for name, value in expression["recall"].items()
        ))  # fmt: skip
        pair = number(expression["happiness_vs_neutral_auc"]).strip()
        echo(f"  happiness against neutral: AUC {pair}")
    units = {name: unit for name, unit in found["au"].items() if unit is not None}
    if units:
        echo("unit     AUC     F1      n  present")
    for name, unit in units.items():
        echo(f"{name}  {number(unit['auc'])} {number(unit['f1'])} {unit['n']:6d}   "
                   f"{unit['positive']:6d}")  # fmt: skip
    moved = {name: unit for name, unit in (found["unit_response"] or {}).items() if unit}
    if moved:
        click.echo("faces moved by a unit: AUC against unmoved, share risen, among three that "
                   "rise most, mean rise")  # fmt: skip
    for name, unit in moved.items():
        click.echo(f"{name}  {number(unit['auc'])} {number(unit['risen'])} "
                   f"{number(unit['top3'])} {number(unit['rise'])}   n {unit['n']}")  # fmt: skip
    for row in found["by"] or ():
        shares = [
            f"{name} {number(row[name]).strip()} ({number(row[f'{name}_interval'][0]).strip()} to "
            f"{number(row[f'{name}_interval'][1]).strip()}, n {row[f'{name}_n']})"
            for name in ("accuracy", "risen")
            if row.get(name) is not None
        ]
        if shares:
            echo(f"{row['attribute']}, {row['group']}: {'; '.join(shares)}")
    derived = found["va_derived"]
    for name, entry in (derived or found["va"]).items():
        if entry is not None:
            source = " (against values derived from the expressions)" if derived else ""
            echo(f"{name}  CCC {number(entry['ccc']).strip()}, n {entry['n']}{source}")
    if found["weak_features"]:
        echo(f"weakly supervised columns: {', '.join(found['weak_features'])}")
    print_list("left out", [shortened(note, "--json has all") for note in found["notes"]])


@click.command("export-rec")
@click.argument("rec")
@click.argument("output", type=click.Path(path_type=Path))
def export_rec(rec: str, output: Path) -> int:
    """Write REC weights as ONNX, checked against torch.

    \b
    Example:
      facer export-rec rec-small rec-small.onnx
    """
    from facer.stages.features.rec.loading import weights_path
    from facer.stages.features.rec.onnx import export_onnx

    difference = export_onnx(weights_path(rec), output)
    echo(f"{output}: written, differs from torch by at most {difference:.1e}")
    return 0
