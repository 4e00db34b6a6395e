"""What a run leaves behind for others to read: its record (metrics.json) and its outcome (outcome.json).

The record is written once, last of all, and says that the run is finished: metrics, data, cost, and where all of it
comes from. `tada.runs.verification` compares it with the files beside it. The outcome says how the last attempt ended.
Both belong to a signature; those of another one are of another run and count as not there. Only this module knows the
files' content.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tada.base import typed_json
from tada.base.files import DamagedFile, sha256
from tada.base.provenance import Environment
from tada.data.clips import Counts
from tada.data.prepared import Preparation
from tada.runs.run import Run

METRICS = "metrics.json"
OUTCOME = "outcome.json"


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
    """What the run took. Times in seconds; `devices` are GPUs, or processes where there is none.

    `data_wait` is the share of the training steps' time in which they waited for clips or features; None: not known.
    """

    wall_seconds: float
    training_seconds: float
    device_hours: float
    devices: int
    peak_memory_bytes: int
    resumes: int
    requeues: int
    data_wait: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Initial:
    """Weights that training started from: "scratch", "imagenet", "released", "features", "checkpoint" (a file that the
    recipe names), or a dataset's name.

    `file` and `sha256` are of the weights' file, `signature` of the run that trained them, whose `Checkpoint` says
    `weights`. Features that were extracted elsewhere have the `folder` they lie in and what gave the classes: a
    `classifier` fitted on them, or results.
    """

    kind: str
    file: str = ""
    sha256: str = ""
    signature: str = ""
    folder: str = ""
    classifier: str = ""
    weights: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The file of weights that was tested.

    `weights` is the SHA-256 of the weights alone (`tada.runs.checkpoints.weights_sha256`), since the file holds times,
    too, by which two trainings of one seed differ. It is empty where nothing was trained, and in older records.
    """

    file: str
    sha256: str
    weights: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedFile:
    """A file that a run has written, as it was then; `modified` is its date in nanoseconds since 1970."""

    sha256: str
    bytes: int
    modified: int
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> "RecordedFile":
        """The file as it is now."""
        status = path.stat()
        return cls(sha256(path), status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Computation:
    """How a run was computed where its signature leaves that open: numbers agree within the noise of rounding.

    `tf32`: convolutions in float32 multiplied in TF32, as GPUs from Ampere on do. `compiled`: networks were compiled by
    torch.compile; if not, `eager_because` says why.
    """

    tf32: bool
    compiled: bool
    eager_because: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """The archive that a finished run was taken from: its file's name and SHA-256; see `tada.runs.exchange`."""

    archive: str
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
        data_wait: share of the training steps' time in which they waited for data; None where nothing was trained.
        half_precision: what testing in it changed, where that was done.
    """

    metrics: dict[str, float]
    dataset: dict[str, Counts]
    initial: Initial
    checkpoint: Checkpoint
    curves: list[dict[str, float]] = field(default_factory=list)
    training_seconds: float = 0.0
    resumes: int = 0
    data_wait: float | None = None
    half_precision: HalfPrecision | None = None


@dataclass(frozen=True)
class RunRecord:
    """metrics.json. `metrics` are percentages by name, `dataset` counts by split, `config` the resolved recipe.

    `prepared` says how the videos were encoded anew (`tada prepare`); None: these are as the user has them. `files` are
    those that the metrics come from, or that others read beside them, by name. `imported` names the archive that the
    run was taken from; None: it was made here. The file is sealed.
    """

    run: RunName
    signature: str
    metrics: dict[str, float]
    dataset: dict[str, Counts]
    environment: Environment
    cost: Cost
    initial: Initial
    checkpoint: Checkpoint
    config: dict[str, Any]
    files: dict[str, RecordedFile]
    half_precision: HalfPrecision | None = None
    prepared: Preparation | None = None
    computation: Computation | None = None
    imported: Imported | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CountedNetwork:
    """results/complexity/<model>/<classes>x<resolution>.json: parameters and multiply-adds of a network at full size.

    `uncounted` are the operators that cost something and are not counted, with how often each occurs. `model`,
    `classes` and `resolution` (pixels) say of which network. The file is sealed, but for those of earlier versions.
    """

    params: int
    macs: int
    uncounted: dict[str, int]
    environment: Environment
    model: str = ""
    classes: int = 0
    resolution: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """outcome.json: how the last attempt at a run ended, with the error's text if it failed.

    `attempt` counts Snakemake's; it is 0 where the run was only executed by hand or imported, and Snakemake has no note
    of it.
    """

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
        DamagedFile: the file is there but its content is not a record, has been changed, or is another run's.
        DiskError: it cannot be read.
    """
    path, content = run.file(METRICS), _of(run, METRICS)
    if content is None:
        return None
    record = typed_json.from_sealed_json(RunRecord, content, str(path))
    found, expected = record.run, RunName(run.scale, run.dataset, run.model, run.seed)
    if replace(found, extra={}) != expected:
        name = f"{found.scale}/{found.dataset}/{found.model}/seed{found.seed}"
        raise DamagedFile(f"{path}: is the record of {name}; {typed_json.REMEDY}")
    return record


def read_record_of(folder: Path) -> RunRecord:
    """The record in a finished run's folder, wherever that lies now and whatever today's recipes say.

    Raises:
        FileNotFoundError: there is none.
        DiskError: it cannot be read.
        DamagedFile: it is no record, or has been changed.
    """
    return typed_json.load_sealed(RunRecord, folder / METRICS)


def without_places(record: RunRecord) -> RunRecord:
    """The record as others may have it: without folders of the machine that made it."""
    return replace(
        record,
        initial=replace(record.initial, file=Path(record.initial.file).name, folder="", extra={}),
        checkpoint=replace(record.checkpoint, file=Path(record.checkpoint.file).name, extra={}),
        extra={},
    )


def same_weights(one: RunRecord, other: RunRecord) -> bool:
    """Whether the very same weights were tested: by the weights, or by their files where a record says no more."""
    if one.checkpoint.weights and other.checkpoint.weights:
        return one.checkpoint.weights == other.checkpoint.weights
    return one.checkpoint.sha256 == other.checkpoint.sha256


def same_training(one: RunRecord, other: RunRecord) -> bool:
    """Whether both records are of one training: the same weights, with the same metrics."""
    return same_weights(one, other) and one.metrics == other.metrics


def write_record(run: Run, record: RunRecord) -> None:
    """Write the record in one step; from then on the run is finished."""
    typed_json.save_sealed(run.file(METRICS), record)


def read_count(file: Path) -> CountedNetwork:
    """The counts of a network; a file of an earlier version, which has no checksum, is taken as it is.

    Raises:
        FileNotFoundError: there is none.
        DiskError: it cannot be read.
        DamagedFile: as `count_of`.
    """
    return count_of(typed_json.read(file), file)


def count_of(content: Any, file: Path) -> CountedNetwork:
    """The counts that the content of `file` is.

    Raises:
        DamagedFile: it is no such counts, has been changed, or is another network's.
    """
    read = typed_json.from_sealed_json if typed_json.is_sealed(content) else typed_json.from_json
    counted = read(CountedNetwork, content, str(file))
    if counted.model and (counted.model, f"{counted.classes}x{counted.resolution}") != (file.parent.name, file.stem):
        name = f"{counted.model} with {counted.classes} classes at {counted.resolution} pixels"
        raise DamagedFile(f"{file}: has the counts of {name}; {typed_json.REMEDY}")
    return counted


def read_outcome(run: Run) -> Outcome | None:
    """How the last attempt at the run ended; None if there is no outcome of its signature.

    Raises:
        DamagedFile: the file is there but its content is not an outcome.
    """
    path, content = run.file(OUTCOME), _of(run, OUTCOME)
    return None if content is None else typed_json.from_json(Outcome, content, str(path))


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


def _of(run: Run, name: str) -> Any:
    """The content of a file of a run; None if it is absent or says itself that it belongs to another signature."""
    path, expected = run.file(name), run.signature
    try:
        content = typed_json.read(path)
    except FileNotFoundError:
        return None
    return None if isinstance(content, dict) and content.get("signature", expected) != expected else content
