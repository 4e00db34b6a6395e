"""Progress: a bar where a person watches one run, plain lines in a log, and a small file for `tada status`.

Where they are asked for, TensorBoard's logs are written beside these.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tada.base import counted, typed_json
from tada.base.files import DamagedFile, DiskError

if TYPE_CHECKING:
    from tada.base.tensorboard import TensorBoard

STATUS_SECONDS = 5.0
"""Least time from one state of the status file to the next."""

LINE_SECONDS = 30.0
"""Least time from one line about steps to the next, where no bar is shown."""


class Progress:
    """Shows one run's progress on a terminal or in a log, and writes it to `status` (a JSON file) if given.

    `board` gets the figures of all steps and epochs.
    """

    def __init__(
        self,
        title: str,
        log: TextIO | None = None,
        status: Path | None = None,
        board: "TensorBoard | None" = None,
    ) -> None:
        """Write lines beginning with `title` to `log` and, where stderr is no terminal, to stderr."""
        self.title, self.log, self.status, self.board = title, log, status, board
        self.phase, self.total, self.first, self.began = "", 0, 0, time.monotonic()
        self.facts: dict[str, Any] = {}
        self._printed = self._noted = 0.0
        self._bar: RichProgress | None = None
        if sys.stderr.isatty():
            columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
            self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(title)

    def say(self, message: str) -> None:
        """One line, at once."""
        line = f"[{self.title}] {message}"
        if self.log:
            with suppress(OSError):  # a full disk, of which whatever matters more will tell
                print(line, file=self.log, flush=True)
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def start(self, total: int, done: int = 0, unit: str = "step", phase: str = "training") -> None:
        """A phase of `total` units begins, `done` of which an earlier attempt did."""
        self.phase, self.total, self.first, self.began = phase, total, done, time.monotonic()
        self._printed = self._noted = self.began
        if self.board:
            self.board.start(done)
        self.say(f"{phase}: {counted(total - done, unit)}" + (f", {done} done before" if done else ""))
        if self._bar:
            self._bar.update(self._task, description=f"{self.title} {phase}", total=total, completed=done)

    def step(self, done: int, **facts: SupportsFloat) -> None:
        """`done` units are finished; `facts` (loss, epoch, ...) are shown and noted now and then.

        They are read only then: a fact may be a scalar that a GPU is still computing.
        """
        if self.board:
            self.board.step(done, facts)
        now = time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=done)
        elif now - self._printed > LINE_SECONDS:
            self._printed = now
            shown = ", ".join(f"{name} {float(value):.4g}" for name, value in facts.items())
            self.say(f"{self.phase} {done}/{self.total}, {hours_and_minutes(self._left(done, now))} left; {shown}")
        if self.status and now - self._noted > STATUS_SECONDS:
            self._noted = now
            self.facts.update({name: float(value) for name, value in facts.items()})
            note = ProgressNote(self.phase, done, self.total, self._left(done, now), time.time(), dict(self.facts))
            with suppress(DiskError):
                typed_json.save(self.status, note)

    def epoch(self, epoch: int, epochs: int, row: dict[str, float]) -> None:
        """An epoch is finished, with its row of the curves."""
        self.facts.update(row)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "lr"))
        self.say(f"epoch {epoch}/{epochs}: {shown}")
        self._printed = time.monotonic()
        if self.board:
            self.board.epoch(row)

    def sync(self) -> None:
        """A state is about to be saved, from which a later attempt may go on: what led to it is on disk first."""
        if self.board:
            self.board.sync()

    def close(self) -> None:
        """The bar goes; the status file stays as it was."""
        if self._bar:
            self._bar.stop()
        if self.board:
            self.board.close()

    def _left(self, done: int, now: float) -> float:
        return (now - self.began) / max(done - self.first, 1) * (self.total - done)


@dataclass(frozen=True)
class ProgressNote:
    """progress.json: how far a run is in its phase, and its latest figures by name, such as "loss" and "val_top1"."""

    phase: str
    done: int
    total: int
    seconds_left: float
    time: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, float]:
        """Those of `extra` that are numbers."""
        return {name: value for name, value in self.extra.items() if isinstance(value, int | float)}


def read_progress(path: Path) -> ProgressNote | None:
    """The note in a file; None if there is none, or none that can be read, since the next one will soon replace it."""
    try:
        return typed_json.load(ProgressNote, path)
    except (FileNotFoundError, DamagedFile, DiskError):
        return None


class Silent(Progress):
    """Progress of something too short to be shown, or shown by another process."""

    def __init__(self) -> None:
        pass

    def start(self, total: int, done: int = 0, unit: str = "step", phase: str = "training") -> None:
        """Nothing."""

    def step(self, done: int, **facts: SupportsFloat) -> None:
        """Nothing."""

    def epoch(self, epoch: int, epochs: int, row: dict[str, float]) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""


@contextmanager
def reporting(
    title: str, log_file: Path, status: Path | None = None, board: "TensorBoard | None" = None
) -> Iterator[Progress]:
    """A `Progress` that appends to `log_file` while in use."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("a", encoding="utf-8") as log:
        progress = Progress(title, log, status, board)
        try:
            yield progress
        finally:
            progress.close()


def hours_and_minutes(seconds: float) -> str:
    """A time in words, e.g. "3 h 07 min"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
