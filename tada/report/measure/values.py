"""The measured value of a cell: read from runs and complexity files, or counted on a layer or network right here.

Measured values of the claims' references, each with what its uncertainty is made of.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from tada.report.measure import layers
from tada.report.measure.results import DONE, FAILED, PENDING, Problem, Results, RunResult
from tada.report.measure.samples import Hits, Shares, Unusable, read_hits, read_shares
from tada.report.paper.quantities import (
    CLASSES,
    RESOLUTION,
    Complexity,
    CurvePoint,
    Layer,
    LayerCost,
    Library,
    Measure,
    Metric,
    Reference,
    RunMetric,
    Size,
    Start,
    Structure,
)
from tada.report.paper.tables import load_table


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
            from tada.report.measure import layers

            return Value(DONE, {0: layers.gflops(what.network, what.frames, what.resolution)})
        case Structure():
            from tada.report.measure import layers

            describe = layers.output_size if what.output else layers.layers
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
        from tada.report.measure.samples import read_hits  # and with it torch, which most tables do without

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
    from tada.complexity import measure_operation

    def count(operation: str) -> int:
        counted = measure_operation(operation, dict(what.setting))
        return counted.params if what.quantity == "params" else counted.macs

    number = Decimal(count(what.operation) - (count(what.minus) if what.minus else 0))
    return number.scaleb(-9) if what.quantity == "gflops" else number


@dataclass(frozen=True)
class Estimate:
    """A measured value: exact, or one with noise.

    `by_seed` is its value for each seed; `hits` are the videos behind it, by which it is paired with others; `variance`
    is that of a value whose videos are not known one by one.
    """

    by_seed: npt.NDArray[np.float64]
    hits: Hits | Shares | None = None
    variance: float = 0.0
    exact: bool = False
    problems: tuple[Problem, ...] = field(default=())

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return float(self.by_seed.mean())


def estimate(reference: Reference, results: Results) -> Estimate | tuple[Problem, ...]:
    """The value of a reference, or what keeps it from being measured."""
    match reference:
        case RunMetric():
            return _metric(reference, results)
        case CurvePoint():
            return _curve(reference, results)
        case Size():
            record = results.complexity(reference.model, CLASSES, RESOLUTION)
            if record is None:
                return (Problem(f"complexity of {reference.model}", "pending", "not measured yet"),)
            return _exact(record["params"] / 1e6 if reference.quantity == "params" else record["macs"] / 1e9)
        case LayerCost():
            from tada.complexity import measure_operation

            setting = next(m.setting for m in load_table("table1").measures if isinstance(m, Layer))
            return _exact(measure_operation(reference.operation, dict(setting)).macs / 1e9)
        case Start():
            return _exact(layers.largest_difference(reference.base, reference.model))
    raise TypeError(f"no estimate of a {type(reference).__name__}")


def _exact(value: float) -> Estimate:
    return Estimate(np.array([value]), exact=True)


def _metric(reference: RunMetric, results: Results) -> Estimate | tuple[Problem, ...]:
    seeds, problems = finished(reference.dataset, reference.models, results)
    if not seeds:
        return problems
    try:
        hits = (read_shares if reference.name.startswith("map") else read_hits)(seeds, reference.name)
        return Estimate(hits.by_seed, hits, problems=problems)
    except Unusable as error:
        values = [_recorded(runs, reference.name) for runs in seeds]
        if None in values:
            return (Problem(str(seeds[0][0].run), FAILED, str(error), seeds[0][0].run.file("log.txt")),)
        return Estimate(np.array(values), problems=problems)


def _recorded(runs: Sequence[RunResult], name: str) -> float | None:
    """What metrics.json says; of an ensemble it says nothing."""
    return float(runs[0].record["metrics"][name]) if len(runs) == 1 and name in runs[0].record["metrics"] else None


def _curve(reference: CurvePoint, results: Results) -> Estimate | tuple[Problem, ...]:
    seeds, problems = finished(reference.dataset, (reference.model,), results)
    if not seeds:
        return problems
    values, variance = [], 0.0
    for (result,) in seeds:
        try:
            value = _at(pd.read_csv(result.run.file("curves.csv")), reference)
        except (OSError, KeyError, ValueError, IndexError) as error:
            log = result.run.file("log.txt")
            return (Problem(str(result.run), FAILED, f"curves.csv has no {reference.column}: {error}", log),)
        part = "train" if reference.column.startswith("train") else "validation"
        videos = result.record["dataset"][part]["used"]
        variance = max(variance, (value + 1) * (101 - value) / videos)  # of a share, never quite zero
        values.append(value)
    return Estimate(np.array(values), variance=variance, problems=problems)


def _at(curves: pd.DataFrame, reference: CurvePoint) -> float:
    """The last value of the column at or before a share of the epochs; the first one's where that is none."""
    rows = curves.iloc[: max(1, round(reference.share * len(curves)))][reference.column].dropna()
    return float(rows.iloc[-1])


def finished(
    dataset: str, models: tuple[str, ...], results: Results
) -> tuple[list[tuple[RunResult, ...]], tuple[Problem, ...]]:
    """For each seed of which all models' runs are done, those runs; and what is wrong with the other runs."""
    by_seed = list(zip(*(results.runs(dataset, model) for model in models), strict=True))
    seeds = [runs for runs in by_seed if all(run.status == DONE for run in runs)]
    problems = [run.problem for runs in by_seed for run in runs if run.status != DONE]
    return seeds, tuple(dict.fromkeys(problems))
