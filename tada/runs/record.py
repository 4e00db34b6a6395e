"""What a run leaves behind for others to read: its record (metrics.json) and its outcome (outcome.json).

The record is written once, last of all, and says that the run is finished: metrics, data, cost, and where all of it
comes from. The outcome says how the last attempt ended. Both belong to a signature; those of another one are of another
run and count as not there. Only this module knows the files' content.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tada.base import typed_json
from tada.base.files import read_json
from tada.base.provenance import Environment
from tada.base.typed_json import DamagedFile
from tada.data.clips import Counts
from tada.runs.run import Run

METRICS = "metrics.json"
OUTCOME = "outcome.json"

T = TypeVar("T", "RunRecord", "Outcome")


@dataclass(frozen=True)
class RunName:
    """Which run it is."""

    scale: str
    dataset: str
    model: str
    seed: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What the run took. Times in seconds; `devices` are GPUs, or processes where there is none."""

    wall_seconds: float
    training_seconds: float
    device_hours: float
    devices: int
    peak_memory_bytes: int
    resumes: int
    requeues: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Initial:
    """Weights that training started from: "scratch", "imagenet", "released", "features", or a dataset's name.

    `file` and `sha256` are of the weights' file, `signature` of the run that trained them. Features that were extracted
    elsewhere have the `folder` they lie in and the `classifier` that was fitted on them.
    """

    kind: str
    file: str = ""
    sha256: str = ""
    signature: str = ""
    folder: str = ""
    classifier: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The file of weights that was tested."""

    file: str
    sha256: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HalfPrecision:
    """What testing in half precision changed on the first videos; see `tada.classification.evaluation`."""

    precision: str
    videos: int
    largest_difference: float
    changed_top1: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskResult:
    """What a run's task gives, classification or localization; with cost and environment it becomes the record.

    Attributes:
        metrics: in percent, by name.
        dataset: what was listed and used of each split.
        initial: weights that training started from.
        checkpoint: the file of weights that was tested.
        curves: a row an epoch; none where nothing was trained.
        training_seconds: of all attempts together.
        resumes: how often training went on from a checkpoint.
        half_precision: what testing in it changed, where that was done.
    """

    metrics: dict[str, float]
    dataset: dict[str, Counts]
    initial: Initial
    checkpoint: Checkpoint
    curves: list[dict[str, float]] = field(default_factory=list)
    training_seconds: float = 0.0
    resumes: int = 0
    half_precision: HalfPrecision | None = None


@dataclass(frozen=True)
class RunRecord:
    """metrics.json. `metrics` are percentages by name, `dataset` counts by split, `config` the resolved recipe."""

    run: RunName
    signature: str
    metrics: dict[str, float]
    dataset: dict[str, Counts]
    environment: Environment
    cost: Cost
    initial: Initial
    checkpoint: Checkpoint
    config: dict[str, Any]
    half_precision: HalfPrecision | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CountedNetwork:
    """results/complexity/<model>/<classes>x<resolution>.json: parameters and multiply-adds of a network at full size.

    `uncounted` are the operators that cost something and are not counted, with how often each occurs.
    """

    params: int
    macs: int
    uncounted: dict[str, int]
    environment: Environment
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """outcome.json: how the last attempt at a run ended, with the error's text if it failed."""

    status: Literal["done", "failed"]
    attempt: int
    signature: str
    error: str | None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error."""
        return self.status == "failed"


def read_record(run: Run) -> RunRecord | None:
    """The record of a finished run; None if there is none of its signature.

    Raises:
        DamagedFile: the file is there but its content is not a record.
    """
    return _of(run, RunRecord, METRICS)


def write_record(run: Run, record: RunRecord) -> None:
    """Write the record in one step; from then on the run is finished."""
    typed_json.save(run.file(METRICS), record)


def is_finished(run: Run) -> bool:
    """Whether there is a record of the run's signature; a damaged one does not count, so that it is made again."""
    try:
        return read_record(run) is not None
    except DamagedFile:
        return False


def read_outcome(run: Run) -> Outcome | None:
    """How the last attempt at the run ended; None if there is no outcome of its signature.

    Raises:
        DamagedFile: the file is there but its content is not an outcome.
    """
    return _of(run, Outcome, OUTCOME)


def last_outcome(run: Run) -> Outcome | None:
    """The same, where a damaged file counts as none: who runs or starts runs writes a new one."""
    try:
        return read_outcome(run)
    except DamagedFile:
        return None


def record_outcome(run: Run, attempt: int, error: str | None = None) -> Outcome:
    """Write and return the outcome: "done", or "failed" with the error's text."""
    outcome = Outcome("failed" if error else "done", attempt, run.signature, error)
    typed_json.save(run.file(OUTCOME), outcome)
    return outcome


def _of(run: Run, kind: type[T], name: str) -> T | None:
    """The file of a run, unless it is absent or says itself that it belongs to another signature."""
    path, expected = run.file(name), run.signature
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise typed_json.damaged(path, error) from error
    if isinstance(content, dict) and content.get("signature", expected) != expected:
        return None
    return typed_json.from_json(kind, content, str(path))
