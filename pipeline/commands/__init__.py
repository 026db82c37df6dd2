"""The commands, a file a subject: options become a config and one call into ``facer.pipeline``.

Each imports what it needs when it runs, so that ``facer --help`` is there at once. One that can end
with another exit code than 0 returns it.
"""

from collections.abc import Mapping, Sequence

import click

from facer.pipeline.commands import exchange, extract, machine, store, study, views
from facer.pipeline.commands.heads import ablation, endtoend, labels, scores, train
from facer.pipeline.commands.networks import detector, models, rec

SECTIONS: Mapping[str, Sequence[click.Command]] = {
    "Extract and look": (
        machine.demo, machine.bench, extract.extract, extract.extract_audio,
        store.status, store.verify, store.health, store.compact,
        views.report, views.view, views.picture, views.annotate,
    ),
    "A study's tables": (study.design, study.summarise, study.compare, study.figure,
        study.methods),
    "Heads": (
        labels.check, train.train_head, scores.evaluate, train.predict, scores.score, scores.fuse,
        ablation.ablate, ablation.sweep, endtoend.finetune, train.export_head,
    ),
    "Features of other tools": (exchange.import_, exchange.export),
    "REC and models": (models.models, rec.train_rec, rec.evaluate_rec, rec.export_rec),
    "Make the starter detector": (
        detector.train_detector, detector.train_points, detector.evaluate_detector,
    ),
}  # fmt: skip
"""The commands by subject, in the order in which help lists them."""
