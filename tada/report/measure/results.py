"""Reads what runs left behind; a run that failed or is not there is a state with a reason, never an exception."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tada.base.errors import TadaError, first_line
from tada.base.files import read_json
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
    """A run's state: "done" with the content of its metrics.json, or "failed" or "pending" with the reason."""

    run: Run
    status: str
    record: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", Scale.named(self.scale))  # where a user names it

    def runs(self, dataset: str, model: str) -> list[RunResult]:
        """The run of every seed."""
        return [read_run(Run(self.scale, dataset, model, seed, self.root)) for seed in range(self.seeds)]

    def all_runs(self, pairs: Iterable[tuple[str, str]]) -> list[RunResult]:
        """The runs of all (dataset, model), sorted by name."""
        return [result for dataset, model in sorted(pairs) for result in self.runs(dataset, model)]

    def complexity_file(self, model: str, classes: int, resolution: int) -> Path:
        """Where a network's parameters and multiply-adds stand, measured at full size whatever the scale."""
        return self.root / "complexity" / model / f"{classes}x{resolution}.json"

    def complexity(self, model: str, classes: int, resolution: int) -> dict[str, Any] | None:
        """Content of that file, or None if it is not there."""
        try:
            return read_json(self.complexity_file(model, classes, resolution))
        except (FileNotFoundError, ValueError):
            return None


def read_run(run: Run) -> RunResult:
    """State of a run from its outcome.json and metrics.json."""
    try:
        outcome = run.read("outcome.json")
    except TadaError as error:  # a dataset or model without a recipe at this scale cannot have been run
        return RunResult(run, PENDING, reason=str(error))
    if outcome is None:
        stale = run.file("outcome.json").exists()
        return RunResult(
            run, PENDING, reason="its results are of another recipe or network" if stale else "not run yet"
        )
    if outcome["status"] != "done":
        return RunResult(run, FAILED, reason=first_line(outcome.get("error")))
    record = run.read("metrics.json")
    if record is None:
        return RunResult(run, FAILED, reason="metrics.json is missing, damaged or of another recipe")
    return RunResult(run, DONE, record)
