"""Claims on measurements: whether the runs bear a sentence of the paper out, break it, or leave it inside the noise.

By how much a statement holds, its margin, is a weighted sum of measured values, and `noise` gives its interval. The
statement holds if all of the interval is above zero.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tada.base.errors import TadaError
from tada.report.judge import Verdict
from tada.report.judge.noise import EXACT, Estimate, weighted_sum
from tada.report.measure.results import DONE, FAILED, Problem, Results
from tada.report.measure.values import Value, measure
from tada.report.paper.printed import Interval
from tada.report.paper.quantities import Quantity
from tada.report.paper.sentences import Claim, Claims, Statement
from tada.report.paper.tables import Paper
from tada.runs.settings import Scale


@dataclass(frozen=True)
class Margin:
    """By how much a statement holds (below zero: fails), with its noise and verdict."""

    statement: Statement
    estimate: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, the margins of its statements, and what is wrong with the runs behind it."""

    claim: Claim
    verdict: Verdict
    margins: tuple[Margin, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def weakest(self) -> Margin | None:
        """The statement that the verdict hangs on."""
        return min(self.margins, key=lambda margin: margin.estimate.low) if self.margins else None


def judge_claims(claims: Claims, results: Results) -> list[Judged]:
    """Every claim at the scale of the results; a quantity that several claims name is measured once."""
    wanted = {quantity for claim in claims.claims for quantity in claim.quantities}
    values = {quantity: measure(quantity, results) for quantity in sorted(wanted, key=str)}
    return [_judged(claim, values, results.scale) for claim in claims.claims]


def _judged(claim: Claim, values: Mapping[Quantity, Value], scale: Scale) -> Judged:
    """The claim at a scale.

    It holds if every statement holds, and fails if any fails, which is harder for one of many; see `Estimate.sign`.
    """
    if claim.at and claim.at != scale:
        return Judged(claim, Verdict.ELSEWHERE)
    found = [values[quantity] for quantity in claim.quantities]
    problems = tuple(sorted({problem for value in found for problem in value.problems}, key=str))
    if any(value.status != DONE for value in found):
        failed = any(problem.status == FAILED for problem in problems)
        return Judged(claim, Verdict.FAILED if failed else Verdict.PENDING, problems=problems)
    margins = tuple(_margin(statement, values, len(claim.holds)) for statement in claim.holds)
    verdict = next(one for one in _WORST_FIRST if one in {margin.verdict for margin in margins})
    return Judged(claim, verdict, margins, problems)


_WORST_FIRST = (Verdict.FAILS, Verdict.UNDECIDED, Verdict.HOLDS)


def _margin(statement: Statement, values: Mapping[Quantity, Value], statements: int) -> Margin:
    weights, constant = _weights(statement)
    estimate = weighted_sum(weights, [values[quantity] for quantity in statement.references.values()], constant)
    if estimate.noise == EXACT and estimate.value == 0:
        return Margin(statement, estimate, Verdict.FAILS if statement.comparison.strict else Verdict.HOLDS)
    verdict = {1: Verdict.HOLDS, -1: Verdict.FAILS, 0: Verdict.UNDECIDED}[estimate.sign(statements)]
    return Margin(statement, estimate, verdict)


def _weights(statement: Statement) -> tuple[list[float], float]:
    """The margin's weight of each reference, and its constant part."""
    names = list(statement.references)

    def at(values: Mapping[str, float]) -> float:
        return float(statement.comparison.margin.evaluate(values.__getitem__, number=float))

    zero = dict.fromkeys(names, 0.0)
    constant = at(zero)
    weights = [at({**zero, name: 1.0}) - constant for name in names]
    probe = {name: float(place + 2) for place, name in enumerate(names)}
    if not math.isclose(at(probe), constant + float(np.dot(weights, list(probe.values()))), abs_tol=1e-6):
        raise TadaError(f"{statement.comparison.text!r}: products and quotients of measurements are not supported")
    return weights, constant


def papers_margin(statement: Statement, paper: Paper) -> Interval | None:
    """By how much the statement holds of the paper's own numbers; None where it does not print all of them."""
    values: dict[str, Interval] = {}
    for name, quantity in statement.references.items():
        value = paper.find(quantity)
        if value is None:
            return None
        values[name] = value
    margin = statement.comparison.margin.evaluate(values.__getitem__)
    return margin if isinstance(margin, Interval) else Interval.exact(margin)
