"""The command about models: the package's own, and public ones by their cards."""

from __future__ import annotations

import sys
from typing import Any

import click

from facer.pipeline.commands.shared import EXIT_PROBLEM, json_option, print_json, print_list
from facer.pipeline.runtime.progress import echo, log
from facer.pipeline.settings.commands import MODEL_ACTIONS
from facer.stages.features.config import STARTER_REC


@click.command()
@click.argument("action", type=click.Choice(MODEL_ACTIONS))
@click.argument("name", required=False)
@click.option("--accept-licence", is_flag=True, help="fetch: the licence was read and is accepted.")
@click.option("--write-golden", is_flag=True,
              help="check: record what the network says of a picture of the package, for later "
              "checks to compare with.")  # fmt: skip
@json_option
def models(action: str, name: str | None, accept_licence: bool, write_golden: bool,
           as_json: bool) -> int:  # fmt: skip
    """List models and model cards, check a card, fetch its weights, or verify facer's own models.

    check runs a card's golden example and the package's pictures of faces, and says what each
    column did; verify loads each built-in model and runs it; exit code 1 when something is wrong.
    fetch takes the name or path of a card, or an insightface pack. NAME: only this one, with what
    belongs to it.

    \b
    Examples:
      facer models list
      facer models fetch enet_b0_8_va_mtl --accept-licence
      facer models check my-card.toml
      facer models verify rec-small
    """
    if action == "check":
        return _check(name, write_golden, as_json)
    if action == "fetch":
        return _fetch(name, accept_licence, as_json)
    return _list(action, name, as_json)


def _list(action: str, name: str | None, as_json: bool) -> int:
    from facer.pipeline.functions.models import models as of_models
    from facer.pipeline.models import ModelFile
    from facer.stages.features.rec import loading as rec

    listed = of_models(action, name)
    found = [one for one in listed if isinstance(one, ModelFile)]
    cards = [one for one in listed if not isinstance(one, ModelFile)]
    broken = [model for model in found if model.problem]
    if as_json:
        print_json({"models": found, "cards": cards})
        return EXIT_PROBLEM if broken else 0
    good = "  works" if action == "verify" else ""
    for model in found:
        state = f"  BROKEN: {model.problem}" if model.problem else good
        echo(f"{model.name:16}  sha256 {model.sha256 or 'unknown'}{state}")
    if broken:
        log(f"broken: {', '.join(str(m.path) for m in broken)}; install facer again")
        return EXIT_PROBLEM
    if action == "list" and any(model.name == STARTER_REC for model in found):
        weak = ", ".join(rec.load().weak_features)
        echo(f"weakly supervised columns of {STARTER_REC}: {weak}")
    for card in cards:
        _print_card(card, in_full=name is not None)
    return 0


def _print_card(card: Any, in_full: bool) -> None:
    what = "identity" if card.embedding else f"{len(card.columns)} columns"
    there = "there" if card.there else "not there"
    echo(f"{card.name:22}  {card.size_px:3} px  {what:10}  {there:9}  {card.licence}")
    if in_full:
        echo(f"columns: {', '.join(card.columns) or 'none, an embedding'}")
        echo(f"weights: {card.path}" + ("" if card.there else f"; {card.how}"))
        for title, text in (("note", card.notes), ("verified", card.verified),
                            ("not verified", card.unverified)):  # fmt: skip
            echo(f"{title}: {text or 'nothing'}")


def _check(name: str | None, write_golden: bool, as_json: bool) -> int:
    from facer.pipeline.functions.models import models as of_models

    found = of_models("check", name, write_golden=write_golden)
    if as_json:
        print_json(found)
        return EXIT_PROBLEM if found.problems else 0
    compared = found.has_golden or bool(found.recorded)
    echo(f"{found.name}: {found.pictures} pictures of faces, at rest and smiling")
    if not found.has_golden:
        since = f", and what has changed since {found.recorded}" if found.recorded else ""
        echo(f"no golden example in the card: only what is implausible is found{since}")
    if found.unverified:
        echo(f"not verified: {found.unverified}")
    echo("column           lowest  highest   rest -> smile   red and blue exchanged"
         + ("   golden (expected)" if compared else ""))  # fmt: skip
    for column, did in found.columns.items():
        golden = "" if did.golden is None else f"   {did.golden:.3f} ({did.expected:.3f})"
        echo(f"{column:15} {did.lowest:7.3f} {did.highest:8.3f}   {did.neutral:6.3f} -> "
             f"{did.smile:6.3f}   {did.swapped:.3f}{golden}")  # fmt: skip
    print_list("problems", found.problems)
    return EXIT_PROBLEM if found.problems else 0


def _fetch(name: str | None, accept_licence: bool, as_json: bool) -> int:
    from facer.pipeline.cards.fetch import terms
    from facer.pipeline.functions.models import models as of_models
    from facer.stages.features.rec.cards.card import bundled_cards

    if name is None or (not name.endswith(".toml") and name not in bundled_cards()):
        path = str(of_models("fetch", name))
        if as_json:
            print_json({"path": path})
        else:
            echo(path)
        return 0
    for line in terms(name).splitlines():
        log(line)
    if not accept_licence and sys.stdin.isatty():
        accept_licence = click.confirm("Accept this licence and fetch?", err=True)
    found = of_models("fetch", name, accept_licence=accept_licence)
    if as_json:
        print_json(found)
        return 0
    echo(f"{found.path}  sha256 {found.sha256}")
    log("fetched" if found.n_bytes else "it was there already")
    if found.golden:
        log(f"recorded for later checks: {found.golden}")
    if found.problem:
        log(f"warning: the card cannot use it: {found.problem}")
    log(f"next: facer models check {name}; facer extract VIDEO_DIR --rec {name}")
    return 0
