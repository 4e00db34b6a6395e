"""The measured value of a cell: read from runs and complexity files, or counted on a layer or network right here."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from tada.report.measures import Complexity, Layer, Library, Measure, Metric, Structure
from tada.report.results import DONE, FAILED, PENDING, Problem, Results, RunResult, Unusable


@dataclass(frozen=True)
class Value:
    """A measurement, one number for each seed (one in all where there are no seeds), or a text for a structure.

    `status` is "done" as soon as one seed is, and `problems` then say what is wrong with the others. `videos` is the
    number of test videos behind an accuracy.
    """

    status: str
    numbers: dict[int, float | Decimal] = field(default_factory=dict)
    text: str = ""
    wanted: int = 1
    problems: tuple[Problem, ...] = ()
    sources: tuple[Path, ...] = ()
    videos: int | None = None

    @property
    def mean(self) -> float | Decimal | None:
        """Mean over the seeds that are done; None if there is none."""
        return sum(self.numbers.values()) / len(self.numbers) if self.numbers else None

    @property
    def log(self) -> Path | None:
        """The log of the first run that failed."""
        return next((problem.log for problem in self.problems if problem.log), None)

    @property
    def std(self) -> float | None:
        """Standard deviation of a single seed (n - 1 in the denominator); None with fewer than two seeds."""
        return statistics.stdev(map(float, self.numbers.values())) if len(self.numbers) > 1 else None


def measure(what: Measure, results: Results) -> Value:
    """The value of anything but a difference of rows, which is made of two values: see `difference`."""
    match what:
        case Metric():
            return accuracy(what.dataset, what.models, what.name, results)
        case Complexity():
            return _complexity(what, results)
        case Layer():
            return Value(DONE, {0: _layer(what)})
        case Library():
            from tada.report import peers

            return Value(DONE, {0: peers.gflops(what.network, what.frames, what.resolution)})
        case Structure():
            from tada.report import structures

            describe = structures.output_size if what.output else structures.layers
            return Value(DONE, text=describe(what.model, what.stage))
    raise TypeError(f"a {type(what).__name__} is not measured alone")


def difference(value: Value, base: Value) -> Value:
    """`value` less `base`, seed by seed; not there as long as they have no seed in common."""
    common = value.numbers.keys() & base.numbers.keys()
    numbers = {seed: value.numbers[seed] - base.numbers[seed] for seed in sorted(common)}
    status = DONE if numbers else FAILED if FAILED in (value.status, base.status) else PENDING
    return Value(
        status,
        numbers,
        wanted=value.wanted,
        problems=tuple(dict.fromkeys(value.problems + base.problems)),
        sources=tuple(dict.fromkeys(value.sources + base.sources)),
        videos=value.videos,
    )


def accuracy(dataset: str, models: Sequence[str], name: str, results: Results) -> Value:
    """The metric `name` of a model's runs, or of the summed scores of several models' runs."""
    by_model = [results.runs(dataset, model) for model in models]
    numbers, sources, unfinished, videos = {}, [], [], None
    for seed, runs in enumerate(zip(*by_model, strict=True)):
        if missing := [result for result in runs if result.status != DONE]:
            unfinished += missing
            continue
        try:
            numbers[seed] = _of_one_seed(runs, name)
            sources += [result.run.file("metrics.json") for result in runs]
            videos = runs[0].record["dataset"]["validation"]["used"]
        except Unusable as error:
            unfinished.append(replace(runs[0], status=FAILED, reason=str(error)))
    failed = any(result.status == FAILED for result in unfinished)
    return Value(
        DONE if numbers else FAILED if failed else PENDING,
        numbers,
        wanted=results.seeds,
        problems=tuple(result.problem for result in unfinished),
        sources=tuple(sources),
        videos=videos,
    )


def _of_one_seed(runs: tuple[RunResult, ...], name: str) -> float:
    """From metrics.json, or of several networks from their saved scores, on the videos that all of them scored."""
    if len(runs) > 1:
        from tada.report.hits import read_hits  # and with it torch, which most tables do without

        return float(read_hits([runs], name).by_seed[0])
    metrics = runs[0].record["metrics"]
    if name not in metrics:
        raise Unusable(f"metrics.json has no {name!r}, only {', '.join(metrics)}")
    return float(metrics[name])


def _complexity(what: Complexity, results: Results) -> Value:
    key, digits = ("params", 6) if what.quantity == "params" else ("macs", 9)
    total, problems, sources = Decimal(0), [], []
    for model, sign in [*((model, 1) for model in what.models), *([(what.minus, -1)] if what.minus else [])]:
        path = results.complexity_file(model, what.classes, what.resolution)
        record = results.complexity(model, what.classes, what.resolution)
        if record is None:
            network = f"complexity of {model} ({what.classes} classes, {what.resolution} pixels)"
            problems.append(Problem(network, PENDING, "not measured yet"))
            continue
        total += Decimal(sign * record[key]).scaleb(-digits)
        sources.append(path)
    if problems:
        return Value(PENDING, problems=tuple(problems))
    return Value(DONE, {0: total}, sources=tuple(sources))


def _layer(what: Layer) -> Decimal:
    from tada.operations import measure_operation

    def count(operation: str) -> int:
        counted = measure_operation(operation, dict(what.setting))
        return counted.params if what.quantity == "params" else counted.macs

    number = Decimal(count(what.operation) - (count(what.minus) if what.minus else 0))
    return number.scaleb(-9) if what.quantity == "gflops" else number
