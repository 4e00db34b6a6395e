"""Measured values of the claims' references, each with what its uncertainty is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from tada.report import start
from tada.report.hits import Hits, Shares, Unusable, read_hits, read_shares
from tada.report.measures import Layer
from tada.report.references import (
    CLASSES,
    RESOLUTION,
    CurvePoint,
    LayerCost,
    Reference,
    RunMetric,
    Size,
    Start,
)
from tada.report.results import DONE, FAILED, Problem, Results, RunResult
from tada.report.table_spec import load_table


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
            from tada.operations import measure_operation

            setting = next(m.setting for m in load_table("table1").measures if isinstance(m, Layer))
            return _exact(measure_operation(reference.operation, dict(setting)).macs / 1e9)
        case Start():
            return _exact(start.largest_difference(reference.base, reference.model))
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
