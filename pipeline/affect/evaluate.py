"""What a REC is worth on a labelled data set: numbers for people and programs, two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.affect.config import EvaluateRecConfig
from facer.pipeline.views.score_pictures import au_bars_picture, confusion_picture
from facer.stages.affect.datasets.aligned import Aligner
from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.datasets.specs import parse_spec, read_spec
from facer.stages.affect.groups import Group, groups_of, table_groups
from facer.stages.affect.metrics import EXPRESSION_COLUMNS, evaluate
from facer.stages.affect.units.geometry import read_geometry
from facer.stages.affect.units.metrics import UnitMoves, move_units, unit_response
from facer.stages.affect.units.pairs import with_meshes
from facer.stages.detection.measure import share_interval
from facer.stages.features.rec import loading as recs
from facer.stages.features.rec.recognisers import Recogniser
from facer.storage.schema import AU_NAMES, EXPRESSIONS, F32, FEATURE_NAMES, VALENCE_AROUSAL, OnCount

_BATCH = 64


def evaluate_rec(
    config: EvaluateRecConfig, report: OnCount | None = None, on_align: OnCount | None = None
) -> dict[str, Any]:
    """Score REC weights (a name, .safetensors or .onnx) on one split of a data set.

    Returns plain JSON values: ``expression`` (accuracy, macro_f1, mean_recall, confusion, n
    ...) or None, ``au`` with auc, f1 and n per unit, ``va`` with ccc and n for valence and
    arousal; None wherever nothing is labelled. Valence and arousal that were derived from the
    expressions are no labels: they are scored apart, under ``va_derived``. With ``pictures``,
    a folder, confusion.png and action-units.png are written where there is something to draw;
    ``pictures`` of the result names those that were. With ``unit_geometry`` (displacements of
    units) and ``meshes`` (of the pack's crops), ``unit_response`` says whether each unit's output
    rises on faces that were moved by it; else it is None. With ``by_group``, ``by`` lists
    accuracy, and the share of units that rise, for skin tones, turn, sharpness and light; with
    ``groups``, a table, for the groups that its columns tell.
    """
    spec = parse_spec(config.data)
    model = recs.load_own(config.rec, config.device)
    data = read_spec(spec, config.split, Aligner(config.align, report=on_align))
    groups, notes = _groups(data, config)
    features = _features(model, data, report)
    scores = evaluate(features, data)
    moves = _moves(model, data, config)
    result = {
        "rec": model.name,
        "rec_sha256": model.sha256,
        "weak_features": list(model.weak_features),
        "data": config.data,
        "split": config.split,
        "n": len(data),
        "expression": scores["expression"],
        "au": scores["au"],
        "va": dict.fromkeys(VALENCE_AROUSAL) if data.va_is_weak else scores["va"],
        "va_derived": scores["va"] if data.va_is_weak else None,
        "unit_response": None if moves is None else unit_response(moves),
        "by": _by_group(data, groups, features, moves) if groups else None,
        "notes": [*data.notes, *notes],
    }
    if config.pictures is not None:
        result["pictures"] = _draw(config.pictures, result)
    return result


def _moves(model: Recogniser, data: AffectSet, config: EvaluateRecConfig) -> UnitMoves | None:
    if config.unit_geometry is None:
        return None
    geometry = read_geometry(Path(config.unit_geometry))
    data = with_meshes(data, [Path(path) for path in config.meshes])
    return move_units(model.predict, data, geometry)


def _groups(
    data: AffectSet, config: EvaluateRecConfig
) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """What a set is scored by, and notes on the table that tells it."""
    told, notes = ((), ()) if config.groups is None else table_groups(config.groups, data)
    return (*(groups_of(data) if config.by_group else ()), *told), notes


def _by_group(
    data: AffectSet, groups: tuple[Group, ...], features: F32, moves: UnitMoves | None
) -> list[dict[str, Any]]:
    """A row a group: how often the expression is right and how often a moved unit rises."""
    truth = data.expression_class
    right = features[:, EXPRESSION_COLUMNS].argmax(1) == truth
    rows = []
    for group in groups:
        told = group.rows[truth[group.rows] >= 0]
        row: dict[str, Any] = {"attribute": group.attribute, "group": group.name}
        row |= _share("accuracy", int(right[told].sum()), len(told))
        if moves is not None:
            faces = np.isin(moves.rows, group.rows)
            risen = moves.risen[faces]
            row |= _share("risen", int(risen.sum()), risen.size) | {"n_faces": int(faces.sum())}
        rows.append(row)
    return rows


def _share(name: str, hits: int, n: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson), None without any."""
    low, high = share_interval(hits, n) if n else (None, None)
    return {name: hits / n if n else None, f"{name}_n": n, f"{name}_interval": [low, high]}


def _features(model: Recogniser, data: AffectSet, report: OnCount | None) -> F32:
    """REC features (N, 26) of every crop of a set."""
    features = np.empty((len(data), len(FEATURE_NAMES)), np.float32)
    for rows, crops in data.batches(_BATCH):
        features[rows] = model.predict(crops)
        if report is not None:
            report(rows.stop, len(data))
    return features


def _draw(folder: Path, result: dict[str, Any]) -> list[str]:
    """Draw what is labelled; the pictures' paths."""
    drawn = []
    what = f"{result['rec']} ({result['rec_sha256'][:12]}) on {result['data']}, {result['split']}"
    if (expression := result["expression"]) is not None:
        drawn.append(str(folder / "confusion.png"))
        accuracy, f1 = (f"{expression[name]:.3f}" for name in ("accuracy", "macro_f1"))
        confusion_picture(
            drawn[-1], np.array(expression["confusion"]), EXPRESSIONS,
            f"Expressions: accuracy {accuracy}, macro F1 {f1}", f"{what}, n = {expression['n']}",
        )  # fmt: skip
    units = [result["au"][name] or {} for name in AU_NAMES]
    if any(units):
        drawn.append(str(folder / "action-units.png"))
        aucs, f1s = ([_nan(unit.get(name)) for unit in units] for name in ("auc", "f1"))
        counts = [unit.get("n", 0) for unit in units]
        au_bars_picture(drawn[-1], AU_NAMES, aucs, f1s, counts, "Action units", what)
    return drawn


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
