"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.commands.shared import POSITIVE, Device, Finite

if TYPE_CHECKING:
    from facer.storage.labels.options import LabelOptions

EXTRACT_OPTIONS = (
    click.option("--detector", default="facer-det", show_default=True, metavar="NAME",
                 help="facer-det, insightface:PACK (such as insightface:buffalo_l) or an ONNX "
                 "file in insightface's RetinaFace or SCRFD layout."),
    click.option("--det-size", default=None, type=int, metavar="PX",
                 help="Longer side that the detector sees. [default: 320 for facer-det, else 640]"),
    click.option("--det-threshold", default=None, type=Finite(0, 1),
                 help="Score from which on it is a face. [default: 0.5]"),
    click.option("--rec", default=("rec-small",), show_default=True, metavar="NAME", multiple=True,
                 help="rec-small, the path of .safetensors or .onnx weights, or a model card: the "
                 "path of a .toml, or a name of facer models list. Several: their columns are "
                 "merged."),
    click.option("--prefer", metavar="NAME", multiple=True,
                 help="Where several --rec give a column, whose it is: NAME, COLUMN=NAME or "
                 "GROUP=NAME (va, expr, au)."),
    click.option("--device", type=Device(), default="auto", show_default=True,
                 help="auto, cpu, cuda or cuda:N."),
    click.option("--face", default="track", show_default=True,
                 help="Which face of a frame counts: track (the one that dominates the clip), "
                 "largest, central, or all (one sequence a person: clip_id#0, clip_id#1 ...)."),
    click.option("--stride", default=1, show_default=True, help="Keep every Nth frame."),
    click.option("--detect-every", default=None, type=int, metavar="N",
                 help="The detector looks at every Nth frame, and wherever faces cannot be "
                 "followed; points are measured on all. [default: 4 for facer-det, else 1]"),
    click.option("--decoders", type=int, metavar="N",
                 help="Videos that each process decodes at once. [default: 1; on a GPU one per "
                 "core, at most 8]"),
    click.option("--embedding", is_flag=True,
                 help="Also store REC's pooled space, for heads on --features embedding."),
    click.option("--identify", is_flag=True,
                 help="Tell people apart by the identity embedding of a --rec card: the clip's "
                 "face is one person, also after a cut."),
    click.option("--batch-size", default=32, show_default=True,
                 help="Frames per run of the models; never changes results."),
)  # fmt: skip


LABEL_OPTIONS = (
    click.option("--kind", default="auto", show_default=True,
                 help="Of the labels: plain, eri, muse, emi or mimic."),
    click.option("--id-column", metavar="NAME",
                 help="Column of the clips' ids. [default: clip_id, filename, video ...]"),
    click.option("--targets", metavar="A,B",
                 help="Columns of the intensities. [default: all with numbers, save ids, ages, "
                 "folds, times and the like]"),
    click.option("--subject-column", metavar="NAME",
                 help="Column of who is seen, or none. [default: subject, participant ...]"),
    click.option("--split-column", metavar="NAME",
                 help="Column of train, val and test, or none. [default: split, partition ...]"),
    click.option("--missing-values", metavar="A,B",
                 help="Numbers or words that mean 'not rated', such as -1,999; none: numbers far "
                 "from all others are labels."),
)  # fmt: skip


def label_reading(options: dict[str, Any]) -> LabelOptions:
    """Take the options on labels out of a command's."""
    from facer.storage.labels.options import LabelOptions, comma_separated

    targets, missing_values = (
        comma_separated(options.pop(name)) for name in ("targets", "missing_values")
    )
    names = ("kind", "id_column", "subject_column", "split_column")
    return LabelOptions(
        targets=targets,
        missing_values=missing_values,
        **{name: options.pop(name) for name in names},
    )


SCHEDULER_OPTIONS = (
    click.option("--scheduler", metavar="ADDRESS",
                 help="A Dask scheduler, such as tls://host:8786, instead of processes here."),
    click.option("--tls-ca-file", type=click.Path(path_type=Path),
                 help="For tls://: certificate of the authority. [default: Dask's settings]"),
    click.option("--tls-cert", type=click.Path(path_type=Path),
                 help="For tls://: certificate of this client. [default: Dask's settings]"),
    click.option("--tls-key", type=click.Path(path_type=Path),
                 help="For tls://: its key. [default: Dask's settings]"),
)  # fmt: skip


def tls_files(options: dict[str, Any]) -> Any:
    """Return the files of the options on TLS."""
    from facer.pipeline.runtime.executors import TlsFiles

    return TlsFiles(options["tls_ca_file"], options["tls_cert"], options["tls_key"])


def extract_config(options: dict[str, Any]) -> Any:
    """Return which models, faces and frames the options say."""
    from facer.pipeline.settings import extract_config

    return extract_config(options)


FOLD_OPTIONS = (
    click.option("--folds", metavar="K",
                 help="Cross-validate: K folds, or 'subjects' to leave one out at a time."),
    click.option("--by", default="auto", show_default=True,
                 help="Divide by subject or clip; auto: by subject where every clip names one."),
    click.option("--fold-splits", default="train,val", show_default=True,
                 help="Splits of the label file that take part; without test, test stays unseen."),
)  # fmt: skip


INPUT_OPTIONS = (  # of train-head and ablate
    click.option("--learning-rate", type=POSITIVE, default=1e-4, show_default=True,
                 help="Of Adam."),
    click.option("--t", default=480, show_default=True, help="Frames a head sees."),
    click.option("--missing", default="hold", show_default=True,
                 help="Frames without a face: hold, zero or drop."),
    click.option("--standardise", is_flag=True,
                 help="Bring features to mean 0 and deviation 1 over the training frames."),
    click.option("--device", type=Device(), default="cpu", show_default=True,
                 help="auto, cpu or cuda."),
)  # fmt: skip


def refuse_without_folds(options: dict[str, Any]) -> None:
    """Refuse options on folds where no folds are asked for."""
    given = click.get_current_context().get_parameter_source
    for name in ("by", "fold_splits"):
        if options["folds"] is None and given(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')}: expected --folds beside it")
