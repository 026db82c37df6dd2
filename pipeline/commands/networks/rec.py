"""Commands of REC: train-rec, evaluate-rec, export-rec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import (
    PATH,
    json_option,
    log_option,
    print_json,
    print_list,
    shortened,
)
from facer.pipeline.runtime.epoch_log import LogKind, epoch_log
from facer.pipeline.runtime.progress import echo
from facer.pipeline.settings.commands import EVALUATE_REC, TRAIN_REC
from facer.stages.affect.config import AugmentConfig, LossWeights


def _settings_of_run(run: Path) -> dict[str, Any]:
    from facer.pipeline.affect.train import settings_of_run

    return settings_of_run(run)


@click.command("train-rec")
@click.option("-o", "--output", "run", required=True, type=PATH,
              help="Run folder to write.")  # fmt: skip
@click.option("--weight", "weights", multiple=True, metavar="TERM=W",
              help="Of a loss term: ccc, cce, bce, dm, dm_labelled or pair. [default: 1 each]",
)  # fmt: skip
@click.option("--augment", multiple=True, metavar="NAME=X",
              help="Range or chance of an augmentation, such as tint=0.5; see the docs.",
)  # fmt: skip
@with_settings(TRAIN_REC, of_run=_settings_of_run)
@log_option
@json_option
def train_rec(run: Path, weights: tuple[str, ...], augment: tuple[str, ...],
              log_to: LogKind | None, as_json: bool,
              **settings: Any) -> None:  # fmt: skip
    """Train REC on labelled faces; several databases are trained on together.

    Writes RUN/rec.safetensors, which extract takes as --rec.

    \b
    Example:
      facer train-rec --data affwild2:Aff-Wild2 --data affectnet:AffectNet -o runs/rec
    """
    from facer.pipeline.functions.models import train_rec as train

    loss = _numbers("--weight", LossWeights(), weights)
    augmentation = _numbers("--augment", AugmentConfig(), augment)
    with epoch_log(log_to, run) as note:
        result = train(
            run, weights=loss, augmentation=augmentation, progress=True, on_epoch=note, **settings
        )
    if as_json:
        print_json(result)
        return
    for one in result.sets:
        kinds = ", ".join(f"{n} with {kind}" for kind, n in one.labelled.items())
        echo(f"{one.split:5} {one.spec}: {one.n} crops; {kinds}")
    print_list("left out", [f"{one.split}, {shortened(note, 'config.json has all')}"
                       for one in result.sets for note in one.notes])  # fmt: skip
    echo(f"weakly supervised columns: {', '.join(result.weak_features) or 'none'}")
    echo(f"weights: {result.rec}")
    echo(f"next: facer evaluate-rec {result.rec} --data {(settings['val'] or settings['data'])[0]}")


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


@click.command("evaluate-rec")
@click.argument("rec", default="rec-small")
@with_settings(EVALUATE_REC)
@json_option
def evaluate_rec(rec: str, as_json: bool, **settings: Any) -> None:
    """Score REC weights on labelled faces: expressions, action units, valence and arousal.

    REC is rec-small, where none is given, or the path of .safetensors or .onnx weights.

    \b
    Example:
      facer evaluate-rec runs/rec/rec.safetensors --data affectnet:AffectNet --pictures look/
    """
    from facer.pipeline.functions.models import evaluate_rec as evaluate_weights

    found = evaluate_weights(rec, progress=True, **settings)
    if as_json:
        print_json(found)
        return
    _print_rec_scores(found)
    if settings["pictures"] is not None:
        drawn = ", ".join(found["pictures"])
        echo(f"pictures: {drawn or 'none, since nothing that they show is labelled'}")


def _print_rec_scores(found: dict[str, Any]) -> None:
    echo(f"{found['rec']} ({found['rec_sha256'][:12]}) on {found['data']}, split "
         f"{found['split']}: {found['n']} crops")  # fmt: skip
    if found["expression"] is not None:
        _print_expression(found["expression"])
    _print_units(found["au"], found["unit_response"] or {})
    for row in found["by"] or ():
        shares = [
            f"{name} {_brief(row[name])} ({' to '.join(map(_brief, row[f'{name}_interval']))}, "
            f"n {row[f'{name}_n']})"
            for name in ("accuracy", "risen")
            if row.get(name) is not None
        ]
        if shares:
            echo(f"{row['attribute']}, {row['group']}: {'; '.join(shares)}")
    source = " (against values derived from the expressions)" if found["va_derived"] else ""
    for name, entry in (found["va_derived"] or found["va"]).items():
        if entry is not None:
            echo(f"{name}  CCC {_brief(entry['ccc'])}, n {entry['n']}{source}")
    if found["weak_features"]:
        echo(f"weakly supervised columns: {', '.join(found['weak_features'])}")
    print_list("left out", [shortened(note, "--json has all") for note in found["notes"]])


def _print_expression(found: dict[str, Any]) -> None:
    agreed = "  where more than half of the votes agree: "
    for title, scores in (("expression  ", found), (agreed, found["majority"])):
        if scores is not None:
            echo(f"{title}accuracy {scores['accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f}, "
                 f"mean recall {scores['mean_recall']:.3f}, n {scores['n']}")  # fmt: skip
    recall = (f"{name} {_brief(value)}" for name, value in found["recall"].items())
    echo(f"  recall: {', '.join(recall)}")
    echo(f"  happiness against neutral: AUC {_brief(found['happiness_vs_neutral_auc'])}")


def _print_units(units: dict[str, Any], responses: dict[str, Any]) -> None:
    labelled = {name: unit for name, unit in units.items() if unit is not None}
    if labelled:
        echo("unit     AUC     F1      n  present")
    for name, unit in labelled.items():
        echo(f"{name}  {_wide(unit['auc'])} {_wide(unit['f1'])} {unit['n']:6d}   "
             f"{unit['positive']:6d}")  # fmt: skip
    moved = {name: unit for name, unit in responses.items() if unit}
    if moved:
        echo("faces moved by a unit: AUC against unmoved, share risen, among three that "
             "rise most, mean rise")  # fmt: skip
    for name, unit in moved.items():
        numbers = " ".join(_wide(unit[key]) for key in ("auc", "risen", "top3", "rise"))
        echo(f"{name}  {numbers}   n {unit['n']}")


def _wide(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.3f}"


def _brief(value: float | None) -> str:
    return _wide(value).strip()


@click.command("export-rec")
@click.argument("rec")
@click.argument("output", type=PATH)
@json_option
def export_rec(rec: str, output: Path, as_json: bool) -> None:
    """Write REC weights as ONNX, checked against torch.

    \b
    Example:
      facer export-rec rec-small rec-small.onnx
    """
    from facer.pipeline.functions.models import export_rec as export

    difference = export(rec, output)
    if as_json:
        print_json({"path": output, "difference": difference})
        return
    echo(f"{output}: written, differs from torch by at most {difference:.1e}")
