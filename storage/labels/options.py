"""How a label file is to be read, where its names do not say it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Literal, get_args

from facer.storage.errors import OptionError, named
from facer.storage.files.cells import parse_number
from facer.storage.settings import Setting, check

LabelKind = Literal["plain", "eri", "muse", "emi", "mimic"]
KINDS: tuple[LabelKind, ...] = get_args(LabelKind)

PREDICTION_COLUMNS = ("clip_id", "status")
"""The columns of a plain file of predictions beside the intensities, the first and the last."""
NOTHING_ABSENT = "none"  # among ``missing_values``: every number is a label


@dataclass(frozen=True)
class LabelOptions:
    """Decisions by hand on a label file; what is not given is found by name.

    ``missing_values`` are texts of cells that mean "not rated", such as ``("-1", "999")``;
    ``none`` among them says that numbers far from all others are labels, which are refused
    otherwise.
    """

    kind: Annotated[
        Literal["auto"] | LabelKind, Setting("Of the labels: plain, eri, muse, emi or mimic.")
    ] = "auto"
    id_column: Annotated[
        str | None,
        Setting("Column of the clips' ids.", none="clip_id, filename, video ...", metavar="NAME"),
    ] = None
    targets: Annotated[
        tuple[str, ...],
        Setting(
            "Columns of the intensities.",
            none="all with numbers, save ids, ages, folds, times and the like",
            metavar="A,B",
        ),
    ] = ()
    subject_column: Annotated[
        str | None,
        Setting("Column of who is seen, or none.", none="subject, participant ...", metavar="NAME"),
    ] = None
    split_column: Annotated[
        str | None,
        Setting(
            "Column of train, val and test, or none.", none="split, partition ...", metavar="NAME"
        ),
    ] = None
    missing_values: Annotated[
        tuple[str, ...],
        Setting(
            "Numbers or words that mean 'not rated', such as -1,999; none: numbers far from all "
            "others are labels.",
            metavar="A,B",
        ),
    ] = ()

    def __post_init__(self) -> None:
        check(self)
        if len(set(self.targets)) < len(self.targets):
            raise OptionError(
                f"{named('targets')}: found {', '.join(self.targets)}, expected each once"
            )
        if cut := [
            word for word in self.missing_values if word.isdecimal() and word != str(int(word))
        ]:
            raise OptionError(
                f"{named('missing_values')}: found {cut[0]!r}, expected numbers with a decimal "
                "point, since a comma stands between them"
            )
        if taken := [name for name in self.targets if name in PREDICTION_COLUMNS]:
            raise OptionError(
                f"{named('targets')}: found {taken[0]}, which files of predictions call a column "
                "of their own; rename it in the label file"
            )

    def over(self, others: LabelOptions) -> LabelOptions:
        """Return these options, and the other ones' where these say nothing."""
        nothing = asdict(LabelOptions())
        given = {name: value for name, value in asdict(self).items() if value != nothing[name]}
        return LabelOptions(**{**asdict(others), **given})

    @cached_property
    def numbers_absent(self) -> tuple[float, ...]:
        """The numbers among ``missing_values``."""
        values = [parse_number(text) for text in self.missing_values]
        return tuple(value for value in values if value is not None and value == value)

    @cached_property
    def words_absent(self) -> frozenset[str]:
        """All ``missing_values`` as words, in lower case."""
        return frozenset(text.strip().lower() for text in self.missing_values)
