"""Is the noise that the pages state the noise that there is? Simulated runs, judged by the suite's own formulas.

    uv run python -m benchmarks.coverage [repetitions]

Nothing here uses the formulas of `tada.report.judge.noise` to make data. A video has a difficulty that all networks
share and one of its own for each network; so has the longer video that segments are cut from. A training has a luck of
its own, and is lucky or not on each video. A video is right where the sum is above zero, so that a network's true
accuracy, over all videos and all trainings, is a value of the normal distribution function.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from tada.metrics.average_precision import jackknife
from tada.report.judge import Verdict
from tada.report.judge.cells import against_single
from tada.report.judge.noise import Training, difference, ranked, weighted_sum
from tada.report.judge.sentences import Judged, Margin, decide
from tada.report.judge.training import COUNTED, SNAPSHOT, SeedSpread, read_spreads
from tada.report.measure.samples import Hits, Samples, Shares, within_of_samples
from tada.report.paper.printed import Inequality
from tada.report.paper.sentences import Claim, Statement
from tada.runs.settings import Scale

SEEDS = (1, 2, 3, 5)


@dataclass(frozen=True)
class World:
    """Where runs are simulated. Difficulties and luck are in units of the luck on a single video.

    Attributes:
        name: for the table.
        videos: number of test videos.
        share: true accuracy of the networks, 0 to 1.
        gap: how much better the better network of a pair is, 0 to 1.
        luck: standard deviation of a training's luck on all videos, in the median of the networks.
        groups: number of longer videos, of very different lengths, that the test videos are cut from; 0: of none.
        precision: average precision of a ranking is measured, and not the share of right videos.
        spread: standard deviation of the logarithm of `luck` between networks.
        known: number of other networks, of five seeds each, that tell how far trainings lie apart.
    """

    name: str
    videos: int
    share: float
    gap: float
    luck: float
    groups: int = 0
    precision: bool = False
    spread: float = 0.6
    known: int = 10

    @property
    def total(self) -> float:
        """Standard deviation of all that decides whether a video is right."""
        grouped = 2 * GROUPED**2 if self.groups else 0.0
        return math.sqrt(SHARED**2 + OWN**2 + grouped + self.luck**2 * math.exp(2 * self.spread**2) + 1.0)


SHARED, OWN, GROUPED = 1.5, 0.8, 0.5
"""Standard deviations of a video's difficulty for all networks and for one, and of both of a longer video's."""


WORLDS = (
    World("mini, SSV2 top-1", 2080, 0.60, 0.06, 0.11),
    World("mini, K400 top-1", 1560, 0.75, 0.06, 0.15),
    World("mini, EK100 segments", 1200, 0.30, 0.06, 0.09, groups=198),
    World("mini, HACS mAP", 183, 0.50, 0.06, 0.11, groups=60, precision=True, known=2),
    World("paper, SSV2 top-1", 24_777, 0.62, 0.01, 0.015),
    World("paper, EK100 segments", 9_668, 0.40, 0.01, 0.015, groups=138),
    World("paper, mAP in 100 groups", 1_500, 0.50, 0.02, 0.03, precision=True),
)
"""Numbers of test videos of the mini datasets and of the real ones. Seeds are about 3 and 0.4 points apart, pooled
over networks that differ in it as much as those of `snapshot/` do."""


@dataclass(frozen=True)
class Items:
    """The test videos of one repetition: what is hard about each for all networks [V], and its group."""

    names: npt.NDArray[np.str_]
    hard: npt.NDArray[np.float64]
    groups: npt.NDArray[np.int64] | None
    labels: npt.NDArray[np.int64]


@cache
def _names(videos: int) -> npt.NDArray[np.str_]:
    return np.sort(np.arange(videos).astype(str))


def draw_items(world: World, draw: np.random.Generator) -> Items:
    """Test videos, cut from longer ones whose numbers of segments are as uneven as EPIC-KITCHENS-100's."""
    names = _names(world.videos)
    hard = SHARED * draw.standard_normal(world.videos)
    labels = draw.integers(0, 10, world.videos)
    if not world.groups:
        return Items(names, hard, None, labels)
    lengths = draw.lognormal(0.0, 0.9, world.groups)
    groups = draw.choice(world.groups, world.videos, p=lengths / lengths.sum())
    return Items(names, hard + GROUPED * draw.standard_normal(world.groups)[groups], groups, labels)


def draw_network(world: World, items: Items, share: float, seeds: int, draw: np.random.Generator) -> Samples:
    """A network of a true accuracy, trained `seeds` times."""
    own = items.hard + OWN * draw.standard_normal(world.videos)
    if items.groups is not None:
        own = own + GROUPED * draw.standard_normal(world.groups)[items.groups]
    luck = world.luck * draw.lognormal(0.0, world.spread) * draw.standard_normal((seeds, 1))
    scores = stats.norm.ppf(share) * world.total + own + luck + draw.standard_normal((seeds, world.videos))
    if not world.precision:
        groups = None if items.groups is None else items.groups.astype(str)
        return Hits(items.names, items.labels, scores > 0, groups=groups)
    wrong = draw.standard_normal((seeds, world.videos)) * world.total  # a false detection in each video
    found = [_precision_by_video(items, *pair) for pair in zip(scores, wrong, strict=True)]
    return Shares(found[0][0], np.stack([one[1] for one in found]), np.array([one[2] for one in found]))


def _precision_by_video(
    items: Items, scores: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float64], float]:
    """Units, the jackknife's values for them, and mean average precision in percent of one training."""
    every, right = np.concatenate([scores, wrong]), np.repeat([True, False], len(scores))
    labels, video = np.tile(items.labels, 2), np.tile(np.arange(len(scores)), 2)
    order = np.lexsort((-every, labels))
    right, labels, video = right[order], labels[order], video[order]
    names = items.names if items.groups is None else items.groups.astype(str)  # what is left out as one

    def measure(kept: npt.NDArray[np.str_]) -> dict[str, float]:
        there = np.isin(names, kept)[video]
        hit, label = right[there], labels[there]
        first = np.searchsorted(label, np.arange(10))
        found, tried = np.cumsum(hit), np.arange(1, len(hit) + 1) - first[label]
        found -= np.concatenate([[0], found])[first][label]
        positives = np.bincount(label[hit], minlength=10)
        precision = np.bincount(label[hit], (found / tried)[hit], minlength=10)
        return {"map": 100.0 * float((precision / np.maximum(positives, 1))[positives > 0].mean())}

    shares = jackknife(np.unique(names).tolist(), measure)
    return shares["videos"], shares["shares_map"], measure(names)["map"]


def draw_training(world: World, draw: np.random.Generator) -> Training:
    """The pooled noise of training of other networks, as a snapshot of five seeds tells it."""
    items = draw_items(world, draw)
    others = [draw_network(world, items, world.share, 5, draw) for _ in range(world.known)]
    within = [within_of_samples(one) for one in others]
    variances = [one.by_seed.var(ddof=1) for one in others]
    return Training(float(np.mean(variances)), float(np.mean(within)), COUNTED)


@dataclass(frozen=True)
class Rates:
    """Of the 95% intervals of a difference: the share that holds the true one, the share that wrongly decides between
    equal networks, the standard deviation of the estimates, and the mean of their stated errors (points)."""

    coverage: float
    wrong: float
    deviation: float
    stated: float


def rates_of(world: World, seeds: int, repetitions: int, draw: np.random.Generator) -> Rates:
    """Two networks with a gap between them, and two equal ones, compared again and again."""
    estimates, equal = [], []
    for _ in range(repetitions):
        training, items = draw_training(world, draw), draw_items(world, draw)
        base, same, better = (
            draw_network(world, items, share, seeds, draw)
            for share in (world.share, world.share, world.share + world.gap)
        )
        estimates.append(weighted_sum([1.0, -1.0], [better, base], training))
        equal.append(weighted_sum([1.0, -1.0], [same, base], training))
    values = np.array([one.value for one in estimates])
    true = values.mean() if world.precision else 100.0 * world.gap  # average precision has no closed form
    return Rates(
        coverage=float(np.mean([one.low <= true <= one.high for one in estimates])),
        wrong=float(np.mean([one.low > 0 or one.high < 0 for one in equal])),
        deviation=float(values.std(ddof=1)),
        stated=float(np.sqrt(np.mean([one.error**2 for one in estimates]))),
    )


def wrong_pages(seeds: int, repetitions: int, draw: np.random.Generator, claims: int = 40) -> float:
    """The share of pages of claims on twelve equal networks on which any claim is decided; some have two statements."""
    world, wrong = WORLDS[0], 0
    statement = Statement(Inequality("{a} > {b}"), {})
    for _ in range(repetitions):
        training, items = draw_training(world, draw), draw_items(world, draw)
        networks = [draw_network(world, items, world.share, seeds, draw) for _ in range(12)]
        page = []
        for number in range(claims):
            pairs = [draw.choice(12, 2, replace=False) for _ in range(1 + number % 2)]
            found = [weighted_sum([1.0, -1.0], [networks[one], networks[other]], training) for one, other in pairs]
            margins = tuple(Margin(statement, estimate) for estimate in found)
            page.append(Judged(Claim(str(number), "", "", "", (statement,)), Verdict.UNDECIDED, margins))
        wrong += any(one.verdict != Verdict.UNDECIDED for one in decide(page))
    return wrong / repetitions


def correlation_coverage(seeds: int, repetitions: int, draw: np.random.Generator) -> float:
    """The share of intervals of a rank correlation, of ten networks, that hold that of the true accuracies."""
    world, held = WORLDS[0], 0
    for _ in range(repetitions):
        training, items = draw_training(world, draw), draw_items(world, draw)
        true = draw.uniform(0.4, 0.9, 10)
        reported = true + draw.normal(0.0, 0.1, 10)
        networks = [draw_network(world, items, share, seeds, draw) for share in true]
        found = ranked(reported.tolist(), networks, training)
        exact = stats.spearmanr(reported, true).statistic
        held += found is not None and found.low is not None and found.low - 1e-9 <= exact <= (found.high or 0.0) + 1e-9
    return held / repetitions


def measured_spread(spreads: Sequence[SeedSpread]) -> tuple[float, float]:
    """How far networks differ in their noise: the median standard deviation over seeds, and the `spread` around it.

    The logarithm of a variance from S seeds is off by digamma((S - 1) / 2) - log((S - 1) / 2) in the mean, and has
    itself a variance of trigamma((S - 1) / 2), which is taken off.
    """
    half = np.array([spread.seeds - 1 for spread in spreads]) / 2
    logs = np.log([spread.variance for spread in spreads]) - special.digamma(half) + np.log(half)
    beyond = logs.var(ddof=1) - special.polygamma(1, half).mean()
    return float(np.exp(logs.mean() / 2)), math.sqrt(max(beyond, 0.0)) / 2


ASSUMED = Training(0.4**2, 0.0, 20)
SAME = 1.5
"""As paper/paper.yaml has them for the paper's scale."""


def verdict_rates(
    seeds: int, true: float, deviation: float, repetitions: int, draw: np.random.Generator
) -> dict[Verdict, float]:
    """How often an accuracy is called what against the paper's.

    Args:
        seeds: trainings here; the paper's number is of one.
        true: how far the two procedures are apart in truth, in points.
        deviation: of one training, here and there, in points.
        repetitions: how often all are trained.
        draw: of the trainings.
    """
    found = []
    for _ in range(repetitions):
        here, there = true + deviation * draw.standard_normal(seeds), deviation * draw.standard_normal(1)
        found.append(against_single(difference(here.tolist(), there.tolist(), ASSUMED), SAME))
    return {verdict: found.count(verdict) / repetitions for verdict in (Verdict.MATCH, Verdict.OFF, Verdict.UNCLEAR)}


def _intervals(repetitions: int, draw: np.random.Generator) -> Iterator[tuple[str, ...]]:
    for world in WORLDS:
        for seeds in SEEDS:
            times = max(repetitions // (4 ** (world.precision + (world.videos > 5000))), 1)  # where they take long
            found = rates_of(world, seeds, times, draw)
            share = (f"{100 * part:.1f}" for part in (found.coverage, found.wrong))
            yield world.name, str(seeds), str(times), *share, f"{found.deviation:.2f}", f"{found.stated:.2f}"


def _pages(repetitions: int, draw: np.random.Generator) -> Iterator[tuple[str, ...]]:
    for seeds in SEEDS:
        wrong, held = wrong_pages(seeds, repetitions, draw), correlation_coverage(seeds, repetitions, draw)
        yield str(seeds), str(repetitions), f"{100 * wrong:.1f}", f"{100 * held:.1f}"


def _verdicts(repetitions: int, draw: np.random.Generator) -> Iterator[tuple[str, ...]]:
    for true in (0.0, 0.4, 1.5, 3.0):
        for deviation in (0.3, 0.4):
            for seeds in SEEDS:
                rates = verdict_rates(seeds, true, deviation, repetitions, draw)
                yield f"{true}", f"{deviation}", str(seeds), *(f"{100 * rate:.1f}" for rate in rates.values())


def _spreads() -> Iterator[tuple[str, ...]]:
    for dataset in ("ssv2", "k400"):
        found = single_networks(dataset)
        middle, spread = measured_spread(found)
        yield dataset, str(len(found)), f"{middle:.2f}", f"{spread:.2f}"


def single_networks(dataset: str) -> list[SeedSpread]:
    """How far the seeds of a mini dataset's networks lie apart in top-1, by the committed snapshot."""
    found = read_spreads(SNAPSHOT, Scale.MINI)
    return [one for one in found if (one.dataset, one.metric) == (dataset, "top1") and "&" not in one.model]


def main(repetitions: int = 2000) -> None:
    """Print the tables, each line as soon as it is known."""
    draw = np.random.default_rng(0)
    parts: tuple[tuple[str, Iterator[tuple[str, ...]]], ...] = (
        ("simulated|seeds|repetitions|coverage %|wrong %|deviation|stated error", _intervals(repetitions, draw)),
        (
            "seeds|repetitions|pages of 40 claims with a wrong one %|rank correlation's coverage %",
            _pages(repetitions, draw),
        ),
        ("networks of snapshot/ on|number|median standard deviation|spread of its logarithm", _spreads()),
        ("true difference|deviation|seeds|match %|off %|unclear %", _verdicts(2 * repetitions, draw)),
    )
    for heads, lines in parts:
        print(f"\n| {heads.replace('|', ' | ')} |\n|{'---|' * (heads.count('|') + 1)}")
        for line in lines:
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
