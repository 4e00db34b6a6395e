"""What runs left behind, and in words where it comes from.

A run that failed or is not there is a state with a reason, never an exception. Tables, sentences, figures and the
overview all say scale, seeds, data, time, code, hardware and versions of their runs in the same lines (`provenance`).
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from tada.base import TadaError, counted, first_line
from tada.base.files import DamagedFile, DiskError, obstacle
from tada.base.provenance import Environment, git_state, machine
from tada.data.clips import Counts
from tada.report.measure.archive import PACKED, RUNS, Archive, is_archive, load_archive, read_about
from tada.runs.exchange import is_of_today
from tada.runs.record import METRICS, OUTCOME, CountedNetwork, Initial, RunRecord, read_count, read_outcome, read_record
from tada.runs.run import Run
from tada.runs.settings import MOST_SEEDS, Scale
from tada.runs.verification import first_fault

if TYPE_CHECKING:
    import pandas as pd

DONE, FAILED, PENDING = "done", "failed", "pending"


STALE = "its results are of another recipe or network"
"""The reason of a pending run of which there are results, with another signature."""


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
    """A run's state: "done" with its record, or "failed" or "pending" with the reason.

    Its files lie in the run's folder or, of a snapshot's run, what is left of them in the `archive`.
    """

    run: Run
    status: str
    found: RunRecord | None = None
    reason: str = ""
    archive: Archive | None = None

    @property
    def record(self) -> RunRecord:
        """That of a run that is done."""
        if self.found is None:
            raise ValueError(f"{self.run} is {self.status}, and has no record")
        return self.found

    @property
    def problem(self) -> Problem:
        """What keeps the run from being done."""
        logged = self.status == FAILED and self.archive is None
        return Problem(str(self.run), self.status, self.reason, self.run.file("log.txt") if logged else None)

    @cached_property
    def packed(self) -> Archive | None:
        """What holds the values of its test videos in place of scores: the snapshot that it is read from, or, of a run
        that was imported from one, the part of it in the run's folder. None where the scores are there."""
        own = self.run.file(PACKED)
        return self.archive or (load_archive(own) if is_archive(own) else None)

    @property
    def source(self) -> Path:
        """The file that its metrics are read from."""
        return self.archive.folder / RUNS if self.archive else self.run.file(METRICS)

    def curves(self) -> "pd.DataFrame":
        """The content of curves.csv, a line an epoch.

        Raises:
            Unusable: there is no such file, or it cannot be read.
        """
        import pandas as pd  # here, since who asks for states alone starts sooner without it

        archived = self.archive.find(self.run) if self.archive else None
        try:
            return pd.read_csv(StringIO(archived.curves) if archived else self.run.file("curves.csv"))
        except (OSError, ValueError) as error:
            raise Unusable(f"curves.csv cannot be read: {error}") from None


@dataclass(frozen=True)
class Results:
    """The results of one scale, as many seeds of each run as asked for.

    `root` is a folder of results or a snapshot; that is the only place where they differ. With `earlier`, a snapshot's
    runs count, too, that are of recipes which have changed since.
    """

    root: Path
    scale: Scale
    seeds: int
    earlier: bool = False

    @cached_property
    def archive(self) -> Archive | None:
        """The content of a snapshot; None of a folder of results. Raises TadaError where it is damaged."""
        return load_archive(self.root) if is_archive(self.root) else None

    def runs(self, dataset: str, model: str) -> list[RunResult]:
        """The run of every seed."""
        runs = [Run(self.scale, dataset, model, seed, self.root) for seed in range(self.seeds)]
        if self.archive is None:
            return [read_run(run) for run in runs]
        return [find_run(run, self.archive, self.earlier) for run in runs]

    def all_runs(self, pairs: Iterable[tuple[str, str]]) -> list[RunResult]:
        """The runs of all (dataset, model), sorted by name."""
        return [result for dataset, model in sorted(pairs) for result in self.runs(dataset, model)]

    def complexity_file(self, model: str, classes: int, resolution: int) -> Path:
        """Where a network's parameters and multiply-adds stand, measured at full size whatever the scale."""
        return self.root / "complexity" / model / f"{classes}x{resolution}.json"

    def complexity(self, model: str, classes: int, resolution: int) -> CountedNetwork | None:
        """Content of that file, or None if it is not there or damaged; then it has to be counted again."""
        if self.archive is not None:
            return self.archive.networks.get((model, classes, resolution))
        try:
            return read_count(self.complexity_file(model, classes, resolution))
        except (FileNotFoundError, DamagedFile):
            return None


def check_results(folder: Path, scale: Scale) -> None:
    """Raises TadaError where a folder is neither a snapshot nor a folder of results of this scale."""
    if is_archive(folder):
        if (found := read_about(folder).scale) != scale:
            raise TadaError(f"{folder}: a snapshot of scale {found}, and asked for is {scale}")
    elif not (folder / scale).is_dir():
        neither = f"neither a snapshot nor a folder of results with runs of scale {scale}"
        raise TadaError(f"{folder.absolute()}: {neither if folder.is_dir() else 'no such folder'}")


def of_all_seeds(folder: Path, scale: Scale) -> Results:
    """The results in a folder that `check_results` has let pass, of a snapshot's seeds, or of as many as there are.

    A run of a seed from `MOST_SEEDS` on was made by hand, and is in no table either.

    Raises:
        TadaError: a damaged snapshot.
    """
    if is_archive(folder):
        return Results(folder, scale, read_about(folder).seeds)
    names = (path.name.removeprefix("seed") for path in (folder / scale).glob("*/*/seed*"))
    found = (int(name) for name in names if name.isdecimal())
    return Results(folder, scale, max((seed for seed in found if seed < MOST_SEEDS), default=-1) + 1)


def read_run(run: Run) -> RunResult:
    """State of a run from its outcome and record."""
    try:
        outcome = read_outcome(run)
        record = read_record(run) if outcome and not outcome.failed else None
        fault = first_fault(run, record) if record else f"{METRICS} is missing or of another recipe"
    except (DamagedFile, DiskError) as error:
        return RunResult(run, FAILED, reason=str(error))
    except TadaError as error:  # a dataset or model without a recipe at this scale cannot have been run
        return RunResult(run, PENDING, reason=str(error))
    if outcome is None:
        stale = run.file(OUTCOME).exists()
        return RunResult(run, PENDING, reason=STALE if stale else obstacle(run.folder) or "not run yet")
    if outcome.failed:
        return RunResult(run, FAILED, reason=first_line(outcome.error))
    return RunResult(run, FAILED, reason=fault) if fault else RunResult(run, DONE, record)


def find_run(run: Run, archive: Archive, earlier: bool = False) -> RunResult:
    """State of a run from a snapshot; with `earlier` that of one of an earlier recipe, too."""
    found = archive.find(run)
    try:
        stale = found is not None and found.signature != run.signature
    except TadaError as error:  # a dataset or model without a recipe at this scale
        return RunResult(run, PENDING, reason=str(error), archive=archive)
    if found is None or (stale and not earlier):
        return RunResult(run, PENDING, reason=STALE if stale else "not in the snapshot", archive=archive)
    if found.record is None:
        return RunResult(run, FAILED, reason="it had failed when the snapshot was made", archive=archive)
    return RunResult(run, DONE, found.record, archive=archive)


def of_earlier_recipes(records: Iterable[RunRecord]) -> str:
    """That runs are of recipes that have changed since; empty if none is."""
    old = sum(not is_of_today(record.run, record.signature) for record in records)
    if not old:
        return ""
    return (
        f"{old} of these runs are of recipes or networks that have changed since: they say what was found with those, "
        "and a new run gives other numbers."
    )


Line = tuple[str, str]
"""What a line is about, and what it says."""


PACKAGES = ("torch", "torchvision", "numpy", "av", "decord", "fvcore", "tada-reproducibility")


SCALE_MEANINGS = {
    Scale.MINI: (
        "mini: rendered videos and small networks. It can show orderings of rows and signs of differences, never "
        "levels: an accuracy's difference to the paper's says nothing here, so accuracies carry no verdict."
    ),
    Scale.GPU: (
        "gpu: rendered videos and the paper's networks at full depth and width, on pictures of half the paper's sides. "
        "Like mini it can show orderings of rows and signs of differences, never levels; accuracies carry no verdict."
    ),
    Scale.PAPER: "paper: the paper's datasets, networks and schedules; accuracies carry verdicts.",
    Scale.FIRST_RELEASE: (
        "first-release: the checkpoints of the authors' first release, tested and not trained. A verdict compares with "
        "what the authors publish for that very checkpoint, which are the paper's own numbers, and says nothing about "
        "a training; rows without a checkpoint are only shown."
    ),
    Scale.LATER_RELEASE: (
        "later-release: the checkpoints of the authors' later release, tested and not trained. A verdict compares with "
        "what the authors publish for that very checkpoint, not with the paper, and says nothing about a training; "
        "rows without a checkpoint are only shown."
    ),
}


def provenance(runs: Sequence[RunResult], results: Results) -> list[Line]:
    """All that can be said of the runs behind a figure or a page."""
    done = [run.record.environment for run in runs if run.status == DONE]
    return about_runs(runs, results) + about_code(done)


def about_runs(runs: Sequence[RunResult], results: Results) -> list[Line]:
    """Scale, seeds, data and cost of the runs behind a table or figure."""
    seeds = "seed 0" if results.seeds == 1 else f"seeds 0 to {results.seeds - 1}, mean ± standard deviation of one seed"
    lines = [("Scale", SCALE_MEANINGS[results.scale])] + ([("Seeds", seeds)] if results.scale.trains else [])
    done = [result for result in runs if result.status == DONE]
    if len(done) < len(runs):
        states = Counter(result.status for result in runs)
        lines.append(("Runs", ", ".join(f"{count} {status}" for status, count in states.items())))
    if not done:
        return lines
    for dataset in sorted({result.run.dataset for result in done}):
        of = [result for result in done if result.run.dataset == dataset]
        records = [result.record.dataset for result in of]
        unit = "segments " if of[0].run.recipe.task == "localization" else ""
        lines.append((f"Data, {dataset}", "; ".join(f"{part} {_counts(records, part, unit)}" for part in records[0])))
        lines += [(f"Videos, {dataset}", text) for text in _prepared([result.record for result in of])]
    lines += _imported(done)
    total = rounded_time(sum(result.record.cost.wall_seconds for result in done))
    if any(result.record.environment.hardware.gpus for result in done):
        total += f" ({sum(result.record.cost.device_hours for result in done):,.0f} GPU hours)"
    lines.append(("Time", f"{total} in {counted(len(done), 'run')}; mean of a run: {_times(done)}"))
    return lines


def _imported(done: Sequence[RunResult]) -> list[Line]:
    """The runs that were taken from archives, by archive and machine."""
    found: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for result in done:
        if origin := result.record.imported:
            key = origin.archive, origin.sha256, machine(result.record.environment.hardware)
            seeds = found.setdefault(key, {}).setdefault(f"{result.run.dataset}/{result.run.model}", [])
            seeds.append(str(result.run.seed))
    lines = []
    for (archive, content, where), of in found.items():
        runs = "; ".join(f"{run} seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" for run, seeds in of.items())
        lines.append(("Imported", f"from {archive} (SHA-256 {content[:16]}), made on {where}: {runs}"))
    return lines


def about_code(environments: Sequence[Environment]) -> list[Line]:
    """Commits, hardware and versions that the results come from, and whether the code has changed since."""
    if not environments:
        return []
    commits = Counter(_commit(found.git_commit, found.git_dirty) for found in environments)
    text = ", ".join(
        f"{name} ({counted(count, 'result')})" if len(commits) > 1 else name for name, count in commits.items()
    )
    commit, dirty = git_state()
    if len(commits) > 1:
        text = f"the results come from several states of the code: {text}"
    if any(found.git_commit != commit for found in environments):
        text += f"; the code is at {_commit(commit, dirty)} now"
    hardware = Counter(machine(found.hardware) for found in environments)
    versions = [
        f"{name} {', '.join(found)}" for name in PACKAGES if (found := _distinct(_versions(environments, name)))
    ]
    python = ", ".join(_distinct(found.python for found in environments))
    return [
        ("Code", text),
        ("Hardware", "; ".join(hardware)),
        ("Versions", ", ".join([f"Python {python}", *versions])),
    ]


SAME = "the same"


def compared_provenance(one: Sequence[RunRecord], other: Sequence[RunRecord]) -> list[Line]:
    """Code, versions, hardware, initial weights and data of two sets of runs, A and B.

    Each line says "the same: ..." or what it is on either side.
    """
    aspects: dict[str, Callable[[RunRecord], str]] = {
        "Code": lambda record: _commit(record.environment.git_commit, record.environment.git_dirty),
        "Python": lambda record: record.environment.python,
        **{name: partial(_version, name) for name in PACKAGES},
        "Hardware": lambda record: machine(record.environment.hardware),
        "Initial weights": lambda record: _initial(record.initial),
    }
    lines = [(label, [Counter(map(aspect, records)) for records in (one, other)]) for label, aspect in aspects.items()]
    for dataset in sorted({record.run.dataset for record in [*one, *other]}):
        of = [[record for record in records if record.run.dataset == dataset] for records in (one, other)]
        lines.append((f"Data, {dataset}", [Counter(_used(record) for record in records) for records in of]))
    return [(label, _on_either_side(found)) for label, found in lines if any(of.keys() - {""} for of in found)]


def _initial(weights: Initial) -> str:
    return f"{weights.kind} {(weights.weights or weights.sha256)[:10]}".strip()


def _version(package: str, record: RunRecord) -> str:
    return record.environment.packages.get(package, "")


def _used(record: RunRecord) -> str:
    parts = [f"{part} {of.used:,} of {of.listed:,} used" for part, of in record.dataset.items()]
    return "; ".join([*parts, f"prepared: {record.prepared}"] if record.prepared else parts)


def _on_either_side(found: Sequence[Counter[str]]) -> str:
    """ "the same: x" or "A: x; B: y (3 runs), z (2 runs)"."""
    if found[0].keys() == found[1].keys():
        return f"{SAME}: {', '.join(found[0])}"
    texts = [
        ", ".join(
            (text or "none") + (f" ({counted(count, 'run')})" if len(of) > 1 else "") for text, count in of.items()
        )
        for of in found
    ]
    return f"A: {texts[0]}; B: {texts[1]}"


def rounded_time(seconds: float) -> str:
    """ "48 s", "12 min", "3.4 h" or "5.2 days"."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _counts(records: Sequence[Mapping[str, Counts]], part: str, unit: str = "") -> str:
    """ "2,400 of 2,400 segments used", as a range where runs differ, with the number of skipped ones if any."""
    used = sorted({record[part].used for record in records})
    listed = sorted({record[part].listed for record in records})
    skipped = max(len(record[part].skipped) for record in records)
    text = f"{used[0]:,}" if len(used) == 1 else f"{used[0]:,} to {used[-1]:,}"
    text += f" of {' or '.join(f'{n:,}' for n in listed)} {unit}used"
    text += f" ({skipped} skipped, named in metrics.json)" if skipped else ""
    lost = max(len(record[part].not_finite or ()) for record in records)
    return text + (f" (up to {lost} without finite scores, which count as wrong)" if lost else "")


def _prepared(records: Sequence[RunRecord]) -> Iterator[str]:
    """How the videos of runs were prepared; of how many runs, where it is not all of them in one way."""
    ways = Counter(str(record.prepared) if record.prepared else "" for record in records)
    for way, count in ways.items():
        if way:
            of = f" (in {count} of {len(records)} runs)" if count < len(records) else ""
            yield f"encoded anew by tada prepare{of}: {way}."


def _times(done: Sequence[RunResult]) -> str:
    by_model: dict[str, list[float]] = {}
    for result in done:
        by_model.setdefault(result.run.model, []).append(result.record.cost.wall_seconds)
    return ", ".join(f"{model} {rounded_time(statistics.mean(seconds))}" for model, seconds in by_model.items())


def _commit(commit: str | None, dirty: bool | None) -> str:
    if commit is None:
        return "not in a git checkout"
    return f"commit {commit[:10]}" + (" with uncommitted changes" if dirty else "")


def _versions(environments: Iterable[Environment], name: str) -> list[str]:
    return [environment.packages[name] for environment in environments if name in environment.packages]


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
