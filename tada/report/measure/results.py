"""Reads what runs left behind; a run that failed or is not there is a state with a reason, never an exception."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tada.base import typed_json
from tada.base.errors import TadaError, first_line
from tada.base.typed_json import DamagedFile
from tada.runs.record import METRICS, OUTCOME, CountedNetwork, RunRecord, read_outcome, read_record
from tada.runs.run import Run
from tada.runs.settings import Scale

DONE, FAILED, PENDING = "done", "failed", "pending"


class Unusable(Exception):
    """A finished run whose files do not hold what is asked of them."""


@dataclass(frozen=True)
class Problem:
    """Why something that was to be measured is not there: `status` is "failed" (then there is a log) or "pending"."""

    subject: str
    status: str
    reason: str
    log: Path | None = None

    def __str__(self) -> str:
        return f"{self.subject}: {self.status}: {self.reason}" + (f" (log: {self.log})" if self.log else "")


@dataclass(frozen=True)
class RunResult:
    """A run's state: "done" with its record, or "failed" or "pending" with the reason."""

    run: Run
    status: str
    found: RunRecord | None = None
    reason: str = ""

    @property
    def record(self) -> RunRecord:
        """That of a run that is done."""
        if self.found is None:
            raise ValueError(f"{self.run} is {self.status}, and has no record")
        return self.found

    @property
    def problem(self) -> Problem:
        """What keeps the run from being done."""
        return Problem(
            str(self.run), self.status, self.reason, self.run.file("log.txt") if self.status == FAILED else None
        )


@dataclass(frozen=True)
class Results:
    """The results of one scale under `root`, as many seeds of each run as asked for."""

    root: Path
    scale: Scale
    seeds: int

    def runs(self, dataset: str, model: str) -> list[RunResult]:
        """The run of every seed."""
        return [read_run(Run(self.scale, dataset, model, seed, self.root)) for seed in range(self.seeds)]

    def all_runs(self, pairs: Iterable[tuple[str, str]]) -> list[RunResult]:
        """The runs of all (dataset, model), sorted by name."""
        return [result for dataset, model in sorted(pairs) for result in self.runs(dataset, model)]

    def complexity_file(self, model: str, classes: int, resolution: int) -> Path:
        """Where a network's parameters and multiply-adds stand, measured at full size whatever the scale."""
        return self.root / "complexity" / model / f"{classes}x{resolution}.json"

    def complexity(self, model: str, classes: int, resolution: int) -> CountedNetwork | None:
        """Content of that file, or None if it is not there or damaged; then it has to be counted again."""
        try:
            return typed_json.load(CountedNetwork, self.complexity_file(model, classes, resolution))
        except (FileNotFoundError, typed_json.DamagedFile):
            return None


def read_run(run: Run) -> RunResult:
    """State of a run from its outcome and record."""
    try:
        outcome = read_outcome(run)
        record = read_record(run) if outcome and not outcome.failed else None
    except DamagedFile as error:
        return RunResult(run, FAILED, reason=str(error))
    except TadaError as error:  # a dataset or model without a recipe at this scale cannot have been run
        return RunResult(run, PENDING, reason=str(error))
    if outcome is None:
        stale = run.file(OUTCOME).exists()
        return RunResult(
            run, PENDING, reason="its results are of another recipe or network" if stale else "not run yet"
        )
    if outcome.failed:
        return RunResult(run, FAILED, reason=first_line(outcome.error))
    if record is None:
        return RunResult(run, FAILED, reason=f"{METRICS} is missing or of another recipe")
    return RunResult(run, DONE, record)
