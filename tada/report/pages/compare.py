"""Two sets of results side by side: do the same runs, here and there, say the same?

Either is a folder of results or a snapshot. Networks that both have were trained by the same recipe and are tested on
the same videos. On one machine a seed gives the same network, to the bit: then runs are paired by seed, and any
difference is apart, since there is no noise between them. On another processor, or with other versions, rounding
differs and a seed gives another network: then either side has trainings of its own, and the noise of their difference
is that of training (`tada.report.judge.noise.difference`). All differences are decided together, by Holm's procedure,
so that of two sets from one truth any difference at all is called apart in one of twenty comparisons at most.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from tada.base import TadaError, counted
from tada.report.judge import Verdict, count_verdicts
from tada.report.judge.noise import EXACT, LEVEL, POWER, UNKNOWN, Estimate, Training, difference, holm
from tada.report.judge.sentences import Judged, judge_claims
from tada.report.judge.training import SeedSpreads, seed_spreads
from tada.report.measure.archive import RunKey
from tada.report.measure.results import (
    DONE,
    SAME,
    STALE,
    Line,
    Results,
    RunResult,
    compared_provenance,
    of_all_seeds,
)
from tada.report.measure.samples import Hits
from tada.report.measure.values import Value, measure
from tada.report.pages import ColumnHead, Grid, Page, Piece
from tada.report.pages.forest import margin_text
from tada.report.pages.markup import write_page
from tada.report.paper.printed import show, show_ends
from tada.report.paper.quantities import Metric, Quantity
from tada.report.paper.sentences import load_claims
from tada.report.plan import Wanted
from tada.runs.record import RunRecord, same_weights
from tada.runs.settings import Scale

NAMES = ("A", "B")


DECIMALS = 1


WORDS = {
    Verdict.AGREES: "agree",
    Verdict.APART: "are apart",
    Verdict.OPPOSED: "are opposed",
    Verdict.UNDECIDED: "are undecided",
}
"""How the verdicts are counted, in this order."""


@dataclass(frozen=True)
class Side:
    """One of both sets of results: its finished runs of this version's recipes, and how many are of others."""

    folder: Path
    results: Results
    runs: Mapping[RunKey, RunResult]
    stale: int

    def records(self, keys: Sequence[RunKey]) -> list[RunRecord]:
        """Of some of its runs."""
        return [self.runs[key].record for key in keys]


@dataclass(frozen=True)
class MetricPair:
    """A metric that both sides have.

    Attributes:
        metric: what was measured.
        values: on either side.
        seeds: those of either side that are compared: the ones that both have, if their weights are the same; else all.
        estimate: B less A, in points.
        training: noise of training that was known beforehand.
        videos: test videos that the numbers are on; None where they are not known one by one.
        same: whether the compared runs have the very same weights.
        verdict: "agrees" or "apart"; "undecided" where the noise is not known.
    """

    metric: Metric
    values: tuple[Value, Value]
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    estimate: Estimate
    training: Training
    videos: int | None
    same: bool
    verdict: Verdict = Verdict.UNDECIDED

    @property
    def name(self) -> str:
        """Dataset, models and metric."""
        return f"{self.metric.dataset}/{' & '.join(self.metric.models)} {self.metric.name}"


@dataclass(frozen=True)
class ClaimPair:
    """A claim that both sides can judge: "agrees", "opposed", or "undecided" where one decides it and one does not."""

    sides: tuple[Judged, Judged]

    @property
    def verdict(self) -> Verdict:
        """What both verdicts say together."""
        verdicts = {one.verdict for one in self.sides}
        if len(verdicts) == 1:
            return Verdict.AGREES
        return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.OPPOSED


@dataclass(frozen=True)
class Comparison:
    """All that two sets of results have in common, and what they have not."""

    scale: Scale
    sides: tuple[Side, Side]
    metrics: tuple[MetricPair, ...]
    claims: tuple[ClaimPair, ...]

    @property
    def agrees(self) -> bool:
        """Whether no difference is beyond its noise, and no claim is decided oppositely."""
        apart = any(pair.verdict == Verdict.APART for pair in self.metrics)
        return not apart and not any(pair.verdict == Verdict.OPPOSED for pair in self.claims)

    @cached_property
    def common(self) -> list[RunKey]:
        """The runs that both sides have."""
        return sorted(self.sides[0].runs.keys() & self.sides[1].runs.keys())

    def only(self, place: int) -> list[RunKey]:
        """The runs that one of the sides has alone."""
        return sorted(self.sides[place].runs.keys() - self.sides[1 - place].runs.keys())


def build_comparison(one: Path, other: Path, scale: Scale, out: Path) -> Comparison:
    """Write `<out>/comparison.md`, `.html`, `.tex` and `.csv`; arguments and errors as of `compare`."""
    comparison = compare(one, other, scale)
    write_page(comparison_page(comparison), out)
    return comparison


def compare(one: Path, other: Path, scale: Scale) -> Comparison:
    """Everything that both folders measure, and every claim that both can judge.

    Args:
        one: results or snapshot A, that `check_results` has let pass.
        other: results or snapshot B, likewise.
        scale: of the runs.

    Raises:
        TadaError: one is damaged, or they have nothing in common.
    """
    wanted = Wanted.of_the_paper()
    sides = _side(one, scale, wanted), _side(other, scale, wanted)
    measured = [[measure(metric, side.results) for side in sides] for metric in wanted.metrics]
    both = [
        (metric, (first, second))
        for metric, (first, second) in zip(wanted.metrics, measured, strict=True)
        if first.numbers and second.numbers
    ]
    if not both:
        raise TadaError(f"nothing to compare, since no metric is measured in both: {'; '.join(map(_had, sides))}")
    known: dict[Quantity, Value] = {metric: max(values, key=lambda one: len(one.numbers)) for metric, values in both}
    spreads = seed_spreads(scale, known)
    pairs = [_pair(metric, values, spreads) for metric, values in both]
    claims = load_claims()
    claims = replace(claims, claims=tuple(claim for claim in claims.claims if claim.runs))
    judged = (judge_claims(claims, side.results) for side in sides)
    there = [ClaimPair((a, b)) for a, b in zip(*judged, strict=True) if a.margins and b.margins]
    return Comparison(scale, sides, tuple(decide_pairs(pairs)), tuple(there))


def _side(folder: Path, scale: Scale, wanted: Wanted) -> Side:
    """The finished runs of a folder, of as many seeds as there are."""
    results = of_all_seeds(folder, scale)
    runs = results.all_runs(wanted.runs)
    done = {(one.run.dataset, one.run.model, one.run.seed): one for one in runs if one.status == DONE}
    return Side(folder, results, done, sum(one.reason == STALE for one in runs))


def _had(side: Side) -> str:
    stale = f" and {side.stale} of other recipes or networks than this version's" if side.stale else ""
    return f"{side.folder} has {counted(len(side.runs), 'finished run')}{stale}"


def _pair(metric: Metric, values: tuple[Value, Value], spreads: SeedSpreads) -> MetricPair:
    """The metric's difference, not decided yet."""
    shared = tuple(seed for seed in values[0].numbers if seed in values[1].numbers)
    same = bool(shared) and all(_same_networks(values, seed) for seed in shared)
    seeds = (shared, shared) if same else (tuple(values[0].numbers), tuple(values[1].numbers))
    by_seed, videos = _on_the_same_videos(values)
    numbers = [[found[seed] for seed in used] for found, used in zip(by_seed, seeds, strict=True)]
    training = spreads.training([metric])
    estimate = difference(numbers[1], numbers[0], training)
    if same:  # no training lies between them, and no noise of one
        estimate = replace(estimate, error=0.0, noise=EXACT)
    return MetricPair(metric, values, seeds, estimate, training, videos, same)


def _on_the_same_videos(values: tuple[Value, Value]) -> tuple[list[dict[int, float]], int | None]:
    """The number of each seed of either side, on the test videos that both have, and how many these are.

    A mean average precision stays that of its own videos.
    """
    one, other = (value.samples for value in values)
    numbers = [{seed: float(number) for seed, number in value.numbers.items()} for value in values]
    if one is None or other is None:
        return numbers, None
    videos = np.intersect1d(one.videos, other.videos)
    if isinstance(one, Hits) and isinstance(other, Hits) and 0 < len(videos) < max(len(one.videos), len(other.videos)):
        numbers = [
            dict(zip(value.numbers, samples.only(videos).by_seed.tolist(), strict=True))
            for value, samples in zip(values, (one, other), strict=True)
        ]
    return numbers, len(videos)


def _same_networks(values: tuple[Value, Value], seed: int) -> bool:
    """Whether networks of the very same weights gave a seed's number on either side."""
    one, other = (value.runs[list(value.numbers).index(seed)] for value in values)
    return all(same_weights(a.record, b.record) for a, b in zip(one, other, strict=True))


def decide_pairs(pairs: Sequence[MetricPair]) -> list[MetricPair]:
    """The pairs with verdicts; those whose noise is known are decided together."""
    known = [place for place, pair in enumerate(pairs) if pair.estimate.noise != UNKNOWN]
    chances = [2 * min(pairs[place].estimate.p_above, pairs[place].estimate.p_below, 0.5) for place in known]
    decided = list(pairs)
    for place, apart in zip(known, holm(chances), strict=True):
        decided[place] = replace(pairs[place], verdict=Verdict.APART if apart else Verdict.AGREES)
    return decided


def comparison_page(comparison: Comparison) -> Page:
    """The comparison to read: metrics, then claims, and below what differs in where the results come from."""
    lines = [_metric_line(pair) for pair in comparison.metrics] + [_claim_line(pair) for pair in comparison.claims]
    heads = (
        ColumnHead("", left=True),
        ColumnHead("seeds"),
        *(ColumnHead(name) for name in NAMES),
        ColumnHead("B less A"),
        ColumnHead("verdict", left=True),
    )
    return Page(
        name="comparison",
        title="A and B compared",
        caption=" ".join(summary(comparison)),
        place="; ".join(f"{name}: {side.folder}" for name, side in zip(NAMES, comparison.sides, strict=True)),
        grid=Grid(heads, tuple(lines), frozenset([len(comparison.metrics)] if comparison.claims else [])),
        scale=comparison.scale,
        footer=(*_method(comparison), *_only(comparison), *provenance_of_both(comparison)),
        data=_data(comparison),
    )


def _metric_line(pair: MetricPair) -> tuple[Piece, ...]:
    b, a = (show(value, DECIMALS) for value in pair.estimate.values)
    seeds = ", ".join(dict.fromkeys(str(len(used)) for used in pair.seeds))
    return tuple(map(Piece, (pair.name, seeds, a, b, _gap(pair), pair.verdict)))


def _claim_line(pair: ClaimPair) -> tuple[Piece, ...]:
    claim = pair.sides[0].claim
    texts = (f"{side.verdict} {margin_text(side.weakest)}" if side.weakest else side.verdict for side in pair.sides)
    return tuple(map(Piece, (f"{claim.says} ({claim.place})", "", *texts, "", pair.verdict)))


def summary(comparison: Comparison) -> list[str]:
    """A few sentences: what was compared, how many differences are beyond the noise, and which claims are opposed."""
    metrics, claims = comparison.metrics, comparison.claims
    alone = ", ".join(f"{len(comparison.only(place))} in {name} alone" for place, name in enumerate(NAMES))
    lines = [
        f"{counted(len(comparison.common), 'run is', 'runs are')} in both, {alone}.",
        f"Of {counted(len(metrics), 'metric')} {_counted(metrics)}{_same_weights(metrics)}.{_power(metrics)}",
    ]
    if apart := [f"{pair.name} {_gap(pair)}" for pair in metrics if pair.verdict == Verdict.APART]:
        lines.append(f"Apart: {'; '.join(apart)}.")
    if claims:
        lines.append(f"Of {counted(len(claims), 'claim')} {_counted(claims)}.")
    opposed = (pair.sides for pair in claims if pair.verdict == Verdict.OPPOSED)
    if said := [f"{a.claim.says} ({a.claim.place}): {a.verdict} by A, {b.verdict} by B" for a, b in opposed]:
        lines.append(f"Opposed: {'; '.join(said)}.")
    if other := [label for label, text in provenance_of_both(comparison) if not text.startswith(SAME)]:
        lines.append(f"Other in B than in A: {'; '.join(other)}.")
    return [*lines, "A and B agree." if comparison.agrees else "A and B do not agree."]


def _counted(pairs: Sequence[MetricPair] | Sequence[ClaimPair]) -> str:
    return count_verdicts((pair.verdict for pair in pairs), WORDS)


def _same_weights(metrics: Sequence[MetricPair]) -> str:
    same = sum(pair.same for pair in metrics)
    return f", {same} of them with the very same weights" if same else ""


def _gap(pair: MetricPair) -> str:
    """The difference with its interval."""
    if pair.same:
        return f"{show(pair.estimate.value, DECIMALS, signed=True)}, same weights"
    ends = (pair.estimate.low, pair.estimate.high)
    interval = "[?]" if pair.estimate.noise == UNKNOWN else show_ends(ends, DECIMALS)
    return f"{show(pair.estimate.value, DECIMALS, signed=True)} {interval}"


def _power(metrics: Sequence[MetricPair]) -> str:
    """Which difference could have been told."""
    noisy = [pair.estimate for pair in metrics if not pair.same and pair.estimate.noise not in (UNKNOWN, EXACT)]
    if not noisy:
        return ""
    points = median(estimate.detectable(len(metrics)) for estimate in noisy)
    return f" A difference of {show(points, DECIMALS)} points could have been told (the median of the metrics)."


def _method(comparison: Comparison) -> list[Line]:
    """What the verdicts mean, and which noise was reckoned with."""
    return [
        *((str(verdict), verdict.meaning) for verdict in WORDS if verdict != Verdict.UNDECIDED),
        (
            str(Verdict.UNDECIDED),
            "of a claim: one side decides it and the other does not; of a metric: its noise is not known. It speaks "
            "neither for A and B being alike nor against.",
        ),
        (
            "Noise",
            f"the test videos are the same, so a difference has the noise of training alone, and its {1 - LEVEL:.0%} "
            "interval stands beside it. The verdicts are stricter, since all metrics are decided together (Holm). A "
            f"difference that could have been told is apart in {POWER:.0%} of repetitions.",
        ),
        *_training(comparison),
    ]


def _training(comparison: Comparison) -> list[Line]:
    """How far trainings lie apart on each dataset, and where that is from."""
    lines: list[Line] = []
    for dataset in sorted({pair.metric.dataset for pair in comparison.metrics}):
        of = [pair for pair in comparison.metrics if pair.metric.dataset == dataset]
        low, high = (f"{end(pair.training.variance for pair in of) ** 0.5:.2f}" for end in (min, max))
        spread = low if low == high else f"{low} to {high}"
        lines.append((f"Training, {dataset}", f"{spread} points; of {of[0].name}: {of[0].training.source}"))
    return lines


def _only(comparison: Comparison) -> list[Line]:
    """What is in one of both alone."""
    lines: list[Line] = []
    for place, name in enumerate(NAMES):
        seeds: dict[str, list[str]] = defaultdict(list)
        for dataset, model, seed in comparison.only(place):
            seeds[f"{dataset}/{model}"].append(str(seed))
        if seeds:
            lines.append((f"Only in {name}", "; ".join(f"{run} seed {', '.join(of)}" for run, of in seeds.items())))
        if stale := comparison.sides[place].stale:
            lines.append(
                (f"Left out of {name}", f"{counted(stale, 'run')} of another recipe or network than this version's.")
            )
    return lines


def provenance_of_both(comparison: Comparison) -> list[Line]:
    """Code, versions, hardware and data of the compared runs: the same, or what they are on either side."""
    a, b = (side.records(comparison.common or list(side.runs)) for side in comparison.sides)
    lines = []
    for label, text in compared_provenance(a, b):
        of = [pair for pair in comparison.metrics if label == f"Data, {pair.metric.dataset}" and _other_videos(pair)]
        more = f"; not all test videos and labels are the same, {of[0].videos} videos are in both" if of else ""
        lines.append((label, f"{text.removeprefix(f'{SAME}: ')}{more}" if more else text))
    return lines


def _other_videos(pair: MetricPair) -> bool:
    """Whether the test videos of both sides, or their labels, are known and differ."""
    one, other = (value.samples for value in pair.values)
    if one is None or other is None:
        return False
    if not np.array_equal(one.videos, other.videos):
        return True
    return isinstance(one, Hits) and isinstance(other, Hits) and not np.array_equal(one.labels, other.labels)


def _data(comparison: Comparison) -> pd.DataFrame:
    """One line for each metric and claim, in full precision."""
    lines: list[dict[str, object]] = []
    for pair in comparison.metrics:
        b, a = pair.estimate.values
        line: dict[str, object] = {"what": "metric", "name": pair.name, "verdict": str(pair.verdict)}
        line |= {"seeds_a": len(pair.seeds[0]), "seeds_b": len(pair.seeds[1]), "a": f"{a:.10g}", "b": f"{b:.10g}"}
        line |= {"difference": f"{pair.estimate.value:.10g}", "low": f"{pair.estimate.low:.10g}"}
        lines.append(line | {"high": f"{pair.estimate.high:.10g}", "same_weights": pair.same, "videos": pair.videos})
    for claim in comparison.claims:
        a_verdict, b_verdict = (str(side.verdict) for side in claim.sides)
        about = {"what": "claim", "name": claim.sides[0].claim.id, "verdict": str(claim.verdict)}
        lines.append({**about, "a": a_verdict, "b": b_verdict})
    return pd.DataFrame(lines).astype({"seeds_a": "Int64", "seeds_b": "Int64", "videos": "Int64"})
