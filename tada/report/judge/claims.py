"""Judges claims: whether what was measured bears a statement out, breaks it, or is inside the noise.

A statement's margin is a sum of accuracies with weights. Its noise has two parts. The test videos are a sample: since
all networks are tested on the same ones, the margin of each video is known, and the spread over videos tells the noise
of their mean. Training is chance, too: where runs have several seeds, their spread, pooled over the statement's
networks, adds to it. Both make a t interval; a statement holds if all of it is above zero.

Two made-up videos, one all for and one all against the statement, stand among the videos, so that a handful of videos
never decides: of single pairs of networks, 6 videos to 0 hold and 5 to 0 do not, as in McNemar's exact test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy import stats

from tada.base.errors import TadaError
from tada.report.measure.results import FAILED, PENDING, Problem
from tada.report.measure.values import Estimate
from tada.report.paper.claims import Claim, Statement
from tada.report.paper.quantities import Reference

HOLDS, FAILS, UNDECIDED, ELSEWHERE = "holds", "fails", "undecided", "other scale"


LEVEL = 0.05
"""Of the two-sided intervals, and of a claim's being called false although it is true."""


Measured = Mapping[Reference, Estimate | tuple[Problem, ...]]


@dataclass(frozen=True)
class Margin:
    """By how much a statement holds (below zero: fails), its interval, and what the interval takes into account.

    `values` are those of its references, in their order.
    `noise` is "exact", "videos", "seeds", "videos and seeds" or, where no noise can be told, "unknown".
    """

    statement: Statement
    value: float
    low: float
    high: float
    verdict: str
    noise: str
    values: tuple[float, ...] = ()
    videos: int = 0


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, the margins of its statements, and what is wrong with the runs behind it."""

    claim: Claim
    verdict: str
    margins: tuple[Margin, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def weakest(self) -> Margin | None:
        """The statement that the verdict hangs on."""
        return min(self.margins, key=lambda margin: margin.low) if self.margins else None


def judge(claim: Claim, measured: Measured, scale: str) -> Judged:
    """The claim at a scale.

    It holds if every statement holds, each at the 5% level. It fails if any fails, at a level that is divided by the
    number of statements, since one of many is easily below zero by chance.
    """
    if claim.at and claim.at != scale:
        return Judged(claim, ELSEWHERE)
    estimates = {reference: measured[reference] for reference in claim.references}
    problems = [problem for found in estimates.values() for problem in _problems(found)]
    problems = tuple(dict.fromkeys(sorted(problems, key=str)))
    if any(isinstance(found, tuple) for found in estimates.values()):
        failed = any(problem.status == FAILED for problem in problems)
        return Judged(claim, FAILED if failed else PENDING, problems=problems)
    margins = tuple(_margin(statement, estimates, len(claim.holds)) for statement in claim.holds)
    verdicts = {margin.verdict for margin in margins}
    verdict = FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS
    return Judged(claim, verdict, margins, problems)


def _problems(found: Estimate | tuple[Problem, ...]) -> tuple[Problem, ...]:
    return found if isinstance(found, tuple) else found.problems


def _margin(statement: Statement, estimates: Mapping[Reference, Estimate], statements: int) -> Margin:
    names = list(statement.references)
    parts = _aligned([estimates[statement.references[name]] for name in names])
    values = tuple(part.value for part in parts)
    weights, constant = _weights(statement, names)
    value = constant + float(np.dot(weights, values))
    if all(part.exact for part in parts):
        true = value > 0 or (value == 0 and not statement.comparison.strict)
        return Margin(statement, value, value, value, HOLDS if true else FAILS, "exact", values)
    by_videos, videos = _variance_over_videos(weights, parts)
    by_seeds, freedom = _variance_over_seeds(weights, parts)
    total = by_videos + by_seeds
    if total == 0.0:
        return Margin(statement, value, -math.inf, math.inf, UNDECIDED, "unknown", values)
    freedom = math.inf if by_seeds == 0 else freedom * (total / by_seeds) ** 2  # Satterthwaite's
    wide, strict = (stats.t.ppf(1 - level / 2, freedom) * math.sqrt(total) for level in (LEVEL, LEVEL / statements))
    verdict = HOLDS if value - wide > 0 else FAILS if value + strict < 0 else UNDECIDED
    noise = " and ".join(what for what, known in (("videos", by_videos), ("seeds", by_seeds)) if known)
    return Margin(statement, value, value - wide, value + wide, verdict, noise, values, videos)


def _weights(statement: Statement, names: Sequence[str]) -> tuple[np.ndarray, float]:
    """The margin's weight of each reference, and its constant part."""

    def at(values: Mapping[str, float]) -> float:
        return float(statement.comparison.margin.evaluate(values.__getitem__, number=float))

    zero = dict.fromkeys(names, 0.0)
    constant = at(zero)
    weights = np.array([at({**zero, name: 1.0}) - constant for name in names])
    probe = {name: float(place + 2) for place, name in enumerate(names)}
    if not math.isclose(at(probe), constant + float(np.dot(weights, list(probe.values()))), abs_tol=1e-6):
        raise TadaError(f"{statement.comparison.text!r}: products and quotients of measurements are not supported")
    return weights, constant


def _aligned(parts: Sequence[Estimate]) -> list[Estimate]:
    """The estimates over the videos that all of them have."""
    hits = [part.hits for part in parts if part.hits is not None]
    if not hits:
        return list(parts)
    videos = reduce(np.intersect1d, [one.videos for one in hits])
    if not len(videos):
        raise TadaError("runs that are compared have no video in common")
    aligned = [None if part.hits is None else part.hits.only(videos) for part in parts]
    return [
        part if hit is None else Estimate(hit.by_seed, hit, problems=part.problems)
        for part, hit in zip(parts, aligned, strict=True)
    ]


def _variance_over_videos(weights: np.ndarray, parts: Sequence[Estimate]) -> tuple[float, int]:
    """Variance of the margin over samples of videos, and the number of videos."""
    alone = sum(weight**2 * part.variance for weight, part in zip(weights, parts, strict=True))
    paired = [(weight, part.hits) for weight, part in zip(weights, parts, strict=True) if part.hits is not None]
    if not paired:
        return float(alone), 0
    margins = sum(weight * hits.shares.mean(0) for weight, hits in paired)
    most = 100.0 * max(abs(weight) for weight, _ in paired)
    margins = np.append(margins, [most, -most])
    videos = len(margins) - 2
    return float(alone + margins.var(ddof=1) * len(margins) / videos**2), videos


def _variance_over_seeds(weights: np.ndarray, parts: Sequence[Estimate]) -> tuple[float, int]:
    """Variance of the margin over trainings, and the degrees of freedom of its estimate."""
    noisy = [(weight, part.by_seed) for weight, part in zip(weights, parts, strict=True) if not part.exact]
    freedom = sum(len(values) - 1 for _, values in noisy)
    if not freedom:
        return 0.0, 0
    pooled = sum(((values - values.mean()) ** 2).sum() for _, values in noisy) / freedom
    return float(sum(weight**2 * pooled / len(values) for weight, values in noisy)), freedom
