"""Many settings of a training tried on one cache, the best chosen by val; resumable.

DIR/
  rows/<id>/            each trial's run folder, with its scores (see ablation.trials)
  table.csv, table.md, table.json, table.png
  best.toml             the settings of the best trial, for facer train-head --config
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from facer.pipeline.intensity.ablation.ablate import read_joined
from facer.pipeline.intensity.ablation.trials import (
    OnRow,
    Trial,
    claim_output,
    read_scores,
    run_trials,
    trial_folder,
)
from facer.pipeline.intensity.config import AblateConfig, SweepConfig
from facer.pipeline.intensity.head_run import absolute_place, absolute_places
from facer.pipeline.intensity.sources.splits import facts_and_notes
from facer.pipeline.intensity.sweep.space import chosen_settings, title_of, trial_id
from facer.pipeline.intensity.sweep.table import SweepRow, SweepTable, write_table
from facer.pipeline.intensity.training import OnNote
from facer.pipeline.settings.configs import (
    fold_config,
    label_options,
    streams_config,
    train_head_config,
)
from facer.pipeline.settings.table import Settings
from facer.storage.errors import FacerError, OptionError


def sweep(
    config: SweepConfig, on_row: OnRow | None = None, on_note: OnNote | None = None
) -> SweepTable:
    """Train and score the trials that are not done yet, and write the table.

    Trials are scored on val, or out of fold; test is never looked at. A trial that cannot be
    trained, because its settings do not go together, say, has its reason in the table and the
    others go on. Raises FacerError where none can, and for an output that holds anything else.
    """
    claim_output(config.output, "facer sweep", "id,(?!groups,title,).*,n,pearson,std,seeds,")
    _, labels = read_joined(
        AblateConfig(
            config.store, config.labels, config.output, reading=label_options(config.settings),
            streams=streams_config(config.settings), folds=fold_config(config.settings),
        )
    )  # fmt: skip
    chosen = chosen_settings(config.space, config.trials, config.sample_seed)
    trials, errors = _trials(config, chosen)
    errors |= run_trials(trials, config, on_row, on_note)
    rows = [_row(config, settings, errors) for settings in chosen]
    if all(row.mean is None for row in rows):
        raise FacerError(f"{config.output}: no trial could be trained: {rows[0].reason}")
    table = SweepTable(
        names=labels.names,
        split="val" if fold_config(config.settings) is None else "out-of-fold",
        seeds=config.seeds,
        rows=tuple(sorted(rows, key=lambda row: -(row.mean if row.mean is not None else -2))),
        notes=facts_and_notes(labels),
    )
    write_table(table, config)
    return table


def _trials(config: SweepConfig, chosen: list[Settings]) -> tuple[list[Trial], dict[str, str]]:
    """The trials, and the reasons, by id, of those whose settings do not go together."""
    trials, errors = [], dict[str, str]()
    for settings in chosen:
        name = trial_id(settings)
        run = trial_folder(config.output, name).absolute()
        try:
            training = train_head_config(
                absolute_place(config.store), absolute_place(config.labels), run,
                {**config.settings, **settings, "seeds": config.seeds, "device": config.device,
                 "cache": config.cache, "resume": True},
            )  # fmt: skip
            training = replace(training, streams=absolute_places(training.streams))
        except OptionError as error:
            errors[name] = str(error)
        else:
            trials.append(Trial(name, title_of(settings), training))
    return trials, errors


def _row(config: SweepConfig, settings: Settings, errors: Mapping[str, str]) -> SweepRow:
    name = trial_id(settings)
    scores = read_scores(trial_folder(config.output, name), errors.get(name))
    return SweepRow(**vars(scores), id=name, settings=settings)
