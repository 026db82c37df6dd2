"""The report of a run: what it scores, how it learnt, and the clips that it gets most wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import EvaluateConfig
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.scoring.evaluate import evaluate
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.pipeline.intensity.seeds import read_curve, seed_folders
from facer.pipeline.intensity.sources.labels import labels_of_run
from facer.pipeline.views.report.clip_page import ClipPages
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.report.folder import ReportFolder, number
from facer.pipeline.views.report.store_page import flat
from facer.stages.intensity.metrics import METRICS
from facer.stages.intensity.statistics.intervals import Interval
from facer.storage import FeatureStore, IntensityLabels, match_clips
from facer.storage.files.json_files import read_json_lines
from facer.storage.schema import F32, OnCount
from facer.storage.text.typed_json import plain

_WORST_SHOWN = 50


def write_run_report(config: ReportConfig, folder: ReportFolder, on_page: OnCount) -> int:
    """Write a run's page and the pages of its worst-predicted clips; returns their number."""
    run = Path(config.source)
    record = read_run(run)
    split = None if record.is_whole_of_folds else config.split
    found = evaluate(
        EvaluateConfig(
            run, split, labels=config.labels, store=config.store, stores=config.stores,
            reading=config.reading,
        )
    )  # fmt: skip
    labels = labels_of_run(run, record, config.labels, config.reading)
    row_of = {clip: row for row, clip in enumerate(labels.clip_ids)}
    targets = labels.values[[row_of[clip] for clip in found.label_ids]]
    errors = clip_errors(found.predictions, targets)
    order = [int(i) for i in np.argsort(-errors, kind="stable") if np.isfinite(errors[i])]
    store = FeatureStore.open(config.store or record.store)
    shown = _clips_shown(config, store, labels, [found.label_ids[i] for i in order])
    facts = {
        shown[found.label_ids[i]]: _facts(found.names, found.predictions[i], targets[i])
        for i in order
        if found.label_ids[i] in shown
    }
    pages = ClipPages(store, folder, config.videos, config.embed, "the run")
    written = pages.write_all(facts, on_page)
    urls = {label: written[clip_id] for label, clip_id in shown.items()}
    data = _data(found, targets, urls) | {"curves": read_curves(run)}
    folder.page(
        "index", "run.html", data, title=str(run), split=found.split, n=len(found.label_ids),
        n_filled=found.n_filled, warnings=found.warnings, tiles=_tiles(found),
        scores=_scores(found), folds=_folds(found), fold_rule=found.fold_rule,
        unit=found.intervals.unit if found.intervals else "",
        worst=_worst(found, targets, errors, order, urls), curves=bool(data["curves"]),
        settings=flat({k: v for k, v in plain(record).items() if k != "store_provenance"}),
        provenance=flat(record.store_provenance),
    )  # fmt: skip
    return len(urls)


def _data(found: Evaluation, targets: F32, urls: Mapping[str, str]) -> dict[str, Any]:
    """What run.js draws."""
    return {
        "names": found.names,
        "labels": found.label_ids,
        "predicted": _columns(found.predictions),
        "labelled": _columns(targets),
        "pearson": [number(v, 3) for v in found.ensemble.pearson] if found.ensemble else [],
        "urls": [urls.get(label, "") for label in found.label_ids],
    }


def clip_errors(predictions: F32, targets: F32) -> F32:
    """Root mean square of predicted less labelled over each clip's labelled emotions, (n,).

    NaN for a clip without labels.
    """
    known = np.isfinite(targets)
    squares = np.where(known, (predictions - np.where(known, targets, 0)) ** 2, 0).sum(axis=1)
    counts = known.sum(axis=1)
    means = np.divide(squares, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return np.asarray(np.sqrt(means), np.float32)


def read_curves(run: Path) -> dict[str, dict[str, Any]]:
    """Epoch, training loss and val Pearson of every seed that has a curve, and the place of the
    epoch that was kept, by seed.
    """
    curves: dict[str, dict[str, Any]] = {}
    for seed, folder in seed_folders(run).items():
        if not (rows := read_curve(folder / "curve.csv")):
            continue
        columns = ("epoch", "train_loss", "val_pearson")
        curves[str(seed)] = {
            c: [number(float(getattr(row, c)), 12) for row in rows] for c in columns
        } | {"kept": _last([row.best for row in rows])}
    joint = run / "curve.jsonl"
    if not curves and joint.is_file():  # of facer finetune, which starts at an untrained epoch 0
        steps = read_json_lines(joint)[1:]
        names = {"epoch": "epoch", "train_loss": "loss", "val_pearson": "val_pearson"}
        curves["end to end"] = {name: [s[key] for s in steps] for name, key in names.items()} | {
            "kept": _last([s["best"] for s in steps])
        }
    return curves


def _last(best: Sequence[bool]) -> int:
    """The place of the last epoch that was the best so far."""
    return max((place for place, is_best in enumerate(best) if is_best), default=0)


def _clips_shown(
    config: ReportConfig, store: FeatureStore, labels: IntensityLabels, label_ids: Sequence[str]
) -> dict[str, str]:
    """Clips that get a page, by label id; ``label_ids`` are ranked worst predicted first."""
    joined = {labels.clip_ids[row]: clip for row, clip in match_clips(labels, store.clip_ids).pairs}
    there = {
        joined[label]: label
        for label in label_ids
        if label in joined and store.record(joined[label]).n_frames
    }
    return {there[clip_id]: clip_id for clip_id in config.choose(list(there))}


def _facts(names: Sequence[str], predicted: F32, labelled: F32) -> list[tuple[str, str]]:
    """One row an emotion for the head of a clip's page."""
    return [
        (name, f"predicted {p:z.2f}" + (f", labelled {t:.2f}" if np.isfinite(t) else ""))
        for name, p, t in zip(names, predicted, labelled, strict=True)
    ]


def _tiles(found: Evaluation) -> list[tuple[str, str]]:
    tiles = [("split", found.split), ("clips scored", f"{found.n_scored:,}"),
             ("seeds", str(found.n_seeds))]  # fmt: skip
    if found.ensemble is None or found.intervals is None or found.ensemble_intervals is None:
        return tiles
    spread = f" ± {found.std('pearson'):.3f}" if found.n_seeds > 1 else ""
    tiles += [
        ("mean Pearson, mean over seeds", f"{_figure(found.mean('pearson'))}{spread}"),
        ("its 95 % interval", _between(found.intervals.mean)),
        ("drawn for it", f"{found.intervals.n_units} {found.intervals.unit}s"),
        ("how", found.intervals.method),
    ]
    if found.n_seeds > 1:
        rho, ends = found.ensemble.mean("pearson"), found.ensemble_intervals.mean
        tiles += [
            ("mean Pearson of the seeds' mean prediction", _figure(rho)),
            ("95 % interval of that", _between(ends)),
        ]
    return tiles


def _figure(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:z.3f}"


def _between(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:z.3f} to {interval.high:z.3f}"


def _scores(found: Evaluation) -> list[tuple[str, ...]]:
    """Name, Pearson, its interval, other metrics, the mean prediction's Pearson, interval, n."""
    if found.ensemble is None or found.intervals is None or found.ensemble_intervals is None:
        return []
    own, averaged = found.intervals, found.ensemble_intervals
    columns = [found.per_emotion(metric) for metric in METRICS]
    table = [
        (name, [c[name] for c in columns], own.per_emotion[i], found.ensemble.pearson[i],
         averaged.per_emotion[i], int(found.ensemble.n[i]))
        for i, name in enumerate(found.names)
    ]  # fmt: skip
    means = [found.mean(metric) for metric in METRICS]
    rho = found.ensemble.mean("pearson")
    table.append(("mean", means, own.mean, rho, averaged.mean, found.n_scored))
    return [
        (name, _figure(first), _between(ends), *map(_figure, others), _figure(rho), _between(its),
         f"{n:,}")
        for name, (first, *others), ends, rho, its, n in table
    ]  # fmt: skip


def _folds(found: Evaluation) -> list[tuple[str, ...]]:
    """Fold, Pearson and its interval, other metrics, n; then mean and deviation over folds."""
    if found.folds is None:
        return []
    rows = [
        (one.group, [one.mean(m) for m in METRICS], one.interval, f"{one.n:,}")
        for one in found.folds.scores
    ]
    rows.append(("mean", [found.folds.mean(m) for m in METRICS], None, ""))
    rows.append(("deviation", [found.folds.std(m) for m in METRICS], None, ""))
    return [
        (name, _figure(first), _between(ends), *map(_figure, others), n)
        for name, (first, *others), ends, n in rows
    ]


def _worst(
    found: Evaluation, targets: F32, errors: F32, order: Sequence[int], urls: dict[str, str]
) -> list[dict[str, str]]:
    """The clips of largest error, with the emotion that is furthest off."""
    rows = []
    for row in order[:_WORST_SHOWN]:
        away = found.predictions[row] - targets[row]
        at = int(np.nanargmax(np.abs(away)))
        rows.append({
            "clip": found.label_ids[row],
            "url": urls.get(found.label_ids[row], ""),
            "error": f"{errors[row]:.3f}",
            "emotion": found.names[at],
            "predicted": f"{found.predictions[row, at]:z.2f}"
            + ("" if found.status[row] == "ok" else f" ({found.status[row]}: the training mean)"),
            "labelled": f"{targets[row, at]:.2f}",
        })  # fmt: skip
    return rows


def _columns(values: F32) -> list[list[float | None]]:
    """(n, E) as one list an emotion; None where there is no label."""
    return [[number(value) for value in column] for column in values.T]
