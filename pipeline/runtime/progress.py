"""How a long run tells how it goes: a live bar on a terminal, plain lines elsewhere, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from facer.storage.errors import printable
from facer.storage.schema import Record


def log(message: str) -> None:
    """One line for the user; a stderr that takes none, on a full disk, ends no work."""
    with suppress(OSError):
        click.echo(f"facer: {printable(message)}", err=True)


def warn(text: str) -> None:
    """Say a warning."""
    log(f"warning: {text}")


def note_lines(notes: Iterable[str]) -> Iterator[str]:
    """Yield lines of notes on labels: the first says how they were read, the others warn."""
    for place, note in enumerate(notes):
        yield note if place == 0 else f"warning: {note}"


def clip_notes(records: Iterable[Record], where: str = "") -> list[str]:
    """Return a line on the clips that are there and about which something is odd, if any are.

    ``where`` is the store, whose status lists all of them.
    """
    odd = [record for record in records if record.reason and record.status != "failed"]
    listed = f"; facer status {where} lists them" if where else ""
    return [f"notes on {len(odd)} clips, such as {one.clip_id}: {one.reason}{listed}"
            for one in odd[:1]]  # fmt: skip


def echo(text: str) -> None:
    """Lines of a result: names in them come from files, so control characters are escaped."""
    click.echo("\n".join(map(printable, text.split("\n"))))


class Progress:
    """Who wants to hear how a run goes; this one ignores all of it."""

    def compared(self, done: int, total: int) -> None:
        """Before the start: videos with a new time were compared by their content."""

    def start(self, n_clips: int, n_done: int, workers: int) -> None:
        """Before the first clip."""

    def frames(self, count: int) -> None:
        """Frames were measured in this process, before their clip is committed."""

    def part(self, records: Sequence[Record]) -> None:
        """A part was committed."""

    def note(self, text: str) -> None:
        """Something the user should know, while the work goes on."""


@contextmanager
def progress_bar(shown: bool = True) -> Iterator[Any]:
    """A live bar on a terminal, plain lines elsewhere, always on stderr; or nothing at all."""
    if not (shown and sys.stderr.isatty()):
        yield PlainProgress() if shown else Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    with Bar(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("clips"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[bad]}"),
        console=Console(stderr=True),
    ) as bar:  # fmt: skip
        yield BarProgress(bar)


class PlainProgress(Progress):
    """Progress as lines, at most one in a few seconds."""

    interval_s = 5.0

    def __init__(self) -> None:
        self.n_clips = self.n_done = self.n_new = self.n_failed = 0
        self.n_measured = self.n_committed = 0
        self.started = self.spoke = time.monotonic()
        self._compared = CountReporter("videos with a new time compared by their content")

    def compared(self, done: int, total: int) -> None:
        """Say how far it is."""
        self._compared(done, total)

    def start(self, n_clips: int, n_done: int, workers: int) -> None:
        """Say what there is to do."""
        self.n_clips, self.n_done = n_clips, n_done
        self.started = self.spoke = time.monotonic()
        log(f"{n_clips - n_done} of {n_clips} clips to do, on {workers} worker(s)")

    def frames(self, count: int) -> None:
        """Count frames that were measured."""
        self.n_measured += count
        self._tick()

    def part(self, records: Sequence[Record]) -> None:
        """Count clips that were committed; several sequences of one video are one clip."""
        clips = {r.source: r for r in records}.values()
        self.n_new += len(clips)
        self.n_committed += sum(r.n_frames for r in clips)
        self.n_failed += sum(r.status == "failed" for r in clips)
        self._tick()

    def note(self, text: str) -> None:
        """Say it."""
        log(text)

    @property
    def rate(self) -> float:
        """Frames per second so far."""
        frames = max(self.n_measured, self.n_committed)
        return frames / max(time.monotonic() - self.started, 1e-3)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self.spoke < self.interval_s:
            return
        self.spoke = now
        left = self.n_clips - self.n_done - self.n_new
        text = f"{self.n_done + self.n_new}/{self.n_clips} clips, {self.rate:.0f} frames/s"
        if self.n_new:
            text += f", {(now - self.started) / self.n_new * left:.0f} s left"
        log(f"{text}, {self.n_failed} failed")


class BarProgress(PlainProgress):
    """Progress as a live bar of rich."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("extracting", total=None, rate="", bad="")

    def compared(self, done: int, total: int) -> None:
        """Fill the bar with the videos compared."""
        self._bar.update(self._task, description="comparing", total=total, completed=done)

    def start(self, n_clips: int, n_done: int, _workers: int) -> None:
        """Set the bar's length."""
        self.n_clips, self.n_done = n_clips, n_done
        self.started = time.monotonic()
        self._bar.update(self._task, description="extracting", total=n_clips,
                         completed=n_done)  # fmt: skip

    def note(self, text: str) -> None:
        """Say it, above the bar."""
        text = f"facer: {printable(text)}"
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _tick(self) -> None:
        self._bar.update(
            self._task, completed=self.n_done + self.n_new, rate=f"{self.rate:.0f} frames/s",
            bad=f"[red]{self.n_failed} failed" if self.n_failed else "",
        )  # fmt: skip


class CountReporter:
    """Counts things on stderr, at most one line in a few seconds."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._spoke = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` are done."""
        if time.monotonic() - self._spoke >= PlainProgress.interval_s:
            self._spoke = time.monotonic()
            log(f"{done}/{total} {self.what}")


class StepCounter:
    """Steps within an epoch on stderr, at most one line in a few seconds."""

    def __init__(self, steps: str = "steps of epoch {}") -> None:
        self._steps = steps
        self._count = CountReporter("")

    def __call__(self, epoch: int, done: int, total: int) -> None:
        """``done`` of an epoch's ``total`` steps are done."""
        self._count.what = self._steps.format(epoch)
        self._count(done, total)
