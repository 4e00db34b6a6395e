"""Noise: how far measured numbers may be off, since other test videos and other trainings give other numbers.

docs/statistics.md has the formulas and their reasons; `python -m benchmarks.coverage` tests them on simulated runs.
This is the only module that knows how. Three questions are asked of it:

- `weighted_sum`: a statement on networks, such as a difference or a mean of differences, with the noise of the test
  videos and of training. All networks are tested on the same videos; the trainings of two networks have nothing in
  common, but an ensemble shares those of its networks, and two metrics of a run share its training.
- `difference`: the same network trained here and there, tested on the same videos, with the noise of training alone.
  "There" is the paper's single training, or another machine's results: `difference(one, other, training)` with the
  numbers of each side's seeds gives the `Estimate` of one less other, with `interval()`.
- `holm`: which of several statements hold together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import compress

import numpy as np
import numpy.typing as npt
from scipy import stats

from tada.report.measure.samples import (
    Samples,
    effective_number,
    group_sums,
    groups_of,
    is_of_category,
    on_videos,
    summed,
    within_of_samples,
)
from tada.report.measure.values import Value
from tada.runs.run import Run

LEVEL = 0.05
"""Of the two-sided intervals, and of all wrong decisions of a page together."""

POWER = 0.8
"""Of a difference that "could have been told": the share of repetitions in which it is."""

DRAWS = 4000
"""Of the rows' values, for the interval of a rank correlation."""

TELLING = 4
"""Degrees of freedom from which on seeds alone tell the noise of parts that share trainings."""

EXACT, UNKNOWN = "exact", "unknown"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NoiseSource:
    """Where the noise of training is from: `words` for the pages, after the `points` that were measured, if any."""

    words: str = ""
    points: float | None = None

    def __str__(self) -> str:
        return self.words if self.points is None else f"{self.points:.2f} points {self.words}"


@dataclass(frozen=True)
class Training:
    """What is known beforehand of how far trainings of one network with other seeds lie apart.

    Attributes:
        variance: of one training's number, tested on fixed videos, in squared points.
        within: the part of it that differs from video to video, which the spread over videos holds already.
        freedom: degrees of freedom that it counts as; 0 where nothing is known.
        source: where it is from.
    """

    variance: float
    within: float
    freedom: float
    source: NoiseSource = NoiseSource()


NOTHING_KNOWN = Training(0.0, 0.0, 0.0, NoiseSource("nothing says how far trainings of a network lie apart"))


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of measured values, in their unit, and its noise.

    Attributes:
        value: the sum, over the videos and seeds that all values have.
        error: its standard error; 0 of counts, infinite where the noise is unknown.
        noise: the sources of the error: "exact", "videos and training", "training" or "unknown".
        values: the means over seeds that are summed.
        freedom: degrees of freedom of the error (Satterthwaite).
        videos: number of test videos.
        seeds: number of seeds that are averaged.
        source: where the noise of training is from.
    """

    value: float
    error: float
    noise: str
    values: tuple[float, ...]
    freedom: float = math.inf
    videos: int = 0
    seeds: int = 0
    source: NoiseSource = NoiseSource()

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The two-sided t interval that misses the true value with a probability of `level`."""
        half = stats.t.ppf(1 - level / 2, self.freedom) * self.error if self.error else 0.0
        return self.value - half, self.value + half

    @property
    def low(self) -> float:
        """Lower end of the interval at `LEVEL`."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the interval at `LEVEL`."""
        return self.interval()[1]

    @property
    def p_above(self) -> float:
        """How probable so high a value is, or a higher one, if the true one is zero: small values say "above zero"."""
        if not self.error:
            return 0.0 if self.value > 0 else 1.0
        return float(stats.t.sf(self.value / self.error, self.freedom)) if math.isfinite(self.error) else 1.0

    @property
    def p_below(self) -> float:
        """The same for so low a value: small values say "below zero"."""
        if not self.error:
            return 0.0 if self.value < 0 else 1.0
        return float(stats.t.cdf(self.value / self.error, self.freedom)) if math.isfinite(self.error) else 1.0

    def detectable(self, among: int = 1) -> float:
        """The true value that is told from zero in a share `POWER` of repetitions.

        Args:
            among: number of statements that share the level.
        """
        if not self.error:
            return 0.0
        quantiles = stats.t.ppf([1 - LEVEL / (2 * among), POWER], self.freedom)
        return float(quantiles.sum() * self.error)


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of several hypotheses are rejected, so that with probability 1 - `level` none of them wrongly (Holm, 1979).

    The smallest p-value is compared with level / n, the next one with level / (n - 1), ..., until one is not smaller.
    """
    order = np.argsort(p_values, kind="stable")
    rejected = [False] * len(p_values)
    for place, number in enumerate(order):
        if p_values[number] > level / (len(p_values) - place):
            break
        rejected[number] = True
    return rejected


def difference(one: Sequence[float], other: Sequence[float], training: Training, networks: int = 1) -> Estimate:
    """The same network trained again: the mean of `one` less the mean of `other`, with the noise of training.

    Both sides are tested on the same videos, so that these add no noise. The spread over the seeds of both sides is
    shrunk towards `training`.

    Args:
        one: a number for each seed of one side, in percent; at least one.
        other: the same of the other side, e.g. another machine's, or the paper's single number.
        training: what is known beforehand.
        networks: how many trained networks each number is a sum or difference of.

    Returns:
        An estimate whose noise is "training", or "unknown" where nothing is known and no side has two seeds.
    """
    sides = [np.array(side, float) for side in (one, other)]
    means = tuple(float(side.mean()) for side in sides)
    own = sum(len(side) - 1 for side in sides)
    squares = float(sum(((side - side.mean()) ** 2).sum() for side in sides))
    freedom = training.freedom + own
    seeds = min(len(side) for side in sides)
    if not freedom:
        return Estimate(means[0] - means[1], math.inf, UNKNOWN, means, seeds=seeds, source=training.source)
    variance = (training.freedom * networks * training.variance + squares) / freedom
    error = math.sqrt(variance * sum(1 / len(side) for side in sides))
    noise = "training" if error else EXACT
    return Estimate(means[0] - means[1], error, noise, means, freedom, seeds=seeds, source=training.source)


@dataclass(frozen=True)
class _Part:
    """A value that is not exact: its number of each seed, its samples with a row for each of these seeds, its runs."""

    weight: float
    seeds: tuple[int, ...]
    by_seed: Floats
    samples: Samples | None
    share_of: int | None = None
    trainings: frozenset[Run] = frozenset()

    def only(self, seeds: Sequence[int]) -> "_Part":
        """That of some of its seeds."""
        rows = [self.seeds.index(seed) for seed in seeds]
        samples = None if self.samples is None else self.samples.of_seeds(rows)
        return replace(self, seeds=tuple(seeds), by_seed=self.by_seed[rows], samples=samples)


def weighted_sum(
    weights: Sequence[float], parts: Sequence[Value | Samples], training: Training, constant: float = 0.0
) -> Estimate:
    """The sum of `constant` and of measurements times their weights, with the noise of videos and of training.

    Args:
        weights: one for each part.
        parts: finished measurements of numbers, or the samples of one.
        training: what is known beforehand of the trainings' noise.
        constant: a number without noise.
    """
    weights, parts = _by_network(weights, parts)
    places = [place for place, part in enumerate(parts) if not (isinstance(part, Value) and part.exact)]
    noisy = _aligned(_on_common_seeds([_part(weights[place], parts[place]) for place in places]))
    found = dict(zip(places, (float(part.by_seed.mean()) for part in noisy), strict=True))
    means = tuple(found[place] if place in found else _exactly(part) for place, part in enumerate(parts))
    total = constant + float(np.dot(weights, means))
    if not noisy:
        return Estimate(total, 0.0, EXACT, means)
    seeds = min(len(part.seeds) for part in noisy)
    spread, lucks = _over_videos(noisy), _lucks(noisy, training)
    if spread is None or not all(luck.freedom for luck in lucks):
        return Estimate(total, math.inf, UNKNOWN, means, seeds=seeds, source=training.source)
    square = spread.variance + sum(luck.beyond for luck in lucks)
    uncertain = spread.variance**2 / spread.freedom + sum(luck.variance**2 / luck.freedom for luck in lucks)
    freedom = square**2 / uncertain if uncertain else math.inf
    noise = "videos and training"
    return Estimate(total, math.sqrt(square), noise, means, freedom, spread.videos, seeds, training.source)


def _by_network(
    weights: Sequence[float], parts: Sequence[Value | Samples]
) -> tuple[list[float], list[Value | Samples]]:
    """Differences taken apart, and each network named once, whose training counts once."""
    summed: dict[object, tuple[float, Value | Samples]] = {}

    def add(weight: float, part: Value | Samples) -> None:
        if isinstance(part, Value) and part.sides:
            for sign, side in zip((1.0, -1.0), part.sides, strict=True):
                add(sign * weight, side)
            return
        key: object = id(part)
        if isinstance(part, Value) and part.runs:
            key = part.metric, tuple(one.run for runs in part.runs for one in runs)
        summed[key] = (summed[key][0] + weight if key in summed else weight, part)

    for weight, part in zip(weights, parts, strict=True):
        add(weight, part)
    return [weight for weight, _ in summed.values()], [part for _, part in summed.values()]


def _exactly(part: Value | Samples) -> float:
    return float(part.mean or 0.0) if isinstance(part, Value) else 0.0


@dataclass(frozen=True)
class _Luck:
    """What training's luck adds to the sum by one network, or by what shares trainings: variance of the mean over its
    seeds, what of it the spread over videos does not hold already, and degrees of freedom."""

    variance: float
    beyond: float
    freedom: float


def _lucks(parts: Sequence[_Part], training: Training) -> list[_Luck]:
    """Of each network; of parts that share trainings together, of which nothing is known beforehand.

    With too few seeds to tell, these count by themselves, which for a difference is too much rather than too little.
    """
    found = []
    for group in _by_training(parts):
        seeds = {part.seeds for part in group}
        if len(group) > 1 and len(seeds) == 1 and len(*seeds) > TELLING:
            found.append(_luck(_summed(group), NOTHING_KNOWN))
        else:
            found += [_luck(part, training) for part in group]
    return found


def _by_training(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Parts in groups, of which no two have a training in common."""
    groups: list[list[_Part]] = []
    for part in parts:
        shares = [any(one.trainings & part.trainings for one in group) for group in groups]
        apart = [group for group, sharing in zip(groups, shares, strict=True) if not sharing]
        groups = [*apart, [*(one for group in compress(groups, shares) for one in group), part]]
    return groups


def _summed(parts: Sequence[_Part]) -> _Part:
    """One part for the sum of some with the same seeds; its samples show what seeds do to videos, if all are known."""
    by_seed = np.sum([part.weight * part.by_seed for part in parts], axis=0)
    known = [(part.weight, part.samples) for part in parts if part.samples is not None]
    return _Part(1.0, parts[0].seeds, by_seed, summed(known, by_seed) if len(known) == len(parts) else None)


def _luck(part: _Part, training: Training) -> _Luck:
    """From a network's own seeds and from what is known of networks like it."""
    own = len(part.seeds) - 1
    freedom = training.freedom + own
    if not freedom:
        return _Luck(math.inf, math.inf, 0.0)
    variance, within = training.freedom * training.variance, training.freedom * training.within
    if own:
        variance += own * float(part.by_seed.var(ddof=1))
    if own and part.samples is not None:
        within += own * within_of_samples(part.samples)
    share = part.weight**2 / len(part.seeds) / freedom
    return _Luck(share * variance, share * max(variance - within, 0.0), freedom)


def _part(weight: float, part: Value | Samples) -> _Part:
    if not isinstance(part, Value):
        return _Part(weight, tuple(range(len(part.by_seed))), part.by_seed, part)
    numbers = np.array(list(part.numbers.values()), float)
    trainings = frozenset(one.run for runs in part.runs for one in runs)
    return _Part(weight, tuple(part.numbers), numbers, part.samples, part.share_of, trainings)


def _on_common_seeds(parts: Sequence[_Part]) -> list[_Part]:
    """On the seeds that all of them have, so that a sum fits the differences that are shown; else on their own."""
    common = sorted(set.intersection(*(set(part.seeds) for part in parts))) if parts else []
    return [part.only(common) for part in parts] if common else list(parts)


def _aligned(parts: Sequence[_Part]) -> list[_Part]:
    """On the videos that all of them have; without samples where they have no video in common.

    What is measured on the videos of one category takes no video away from what is measured on all of them.
    """
    known = [part.samples for part in parts if part.samples is not None]
    if not known or all(np.array_equal(known[0].videos, one.videos) for one in known):
        return list(parts)
    whole = [one.videos for one in known if not is_of_category(one)]
    videos = reduce(np.intersect1d, whole) if whole else reduce(np.union1d, [one.videos for one in known])
    aligned = []
    for part in parts:
        samples = on_videos(part.samples, videos) if part.samples is not None and len(videos) else None
        by_seed = samples.by_seed if samples is not None else part.by_seed
        aligned.append(replace(part, by_seed=by_seed, samples=samples))
    return aligned


@dataclass(frozen=True)
class _Spread:
    """Over the test videos: variance of the sum of the means over seeds, degrees of freedom, and number of videos."""

    variance: float
    freedom: float
    videos: int


def _over_videos(parts: Sequence[_Part]) -> _Spread | None:
    """Noise of the sum over samples of videos; None where it is not known.

    A share whose videos are not known one by one has a binomial variance, as if its videos were others than those of
    the rest; that is too much rather than too little.
    """
    alone = sum(part.weight**2 * _binomial(part) for part in parts if part.samples is None and part.share_of)
    if any(part.samples is None and not part.share_of for part in parts):
        return None
    paired = [(part, part.samples) for part in parts if part.samples is not None]
    if not paired:
        return _Spread(alone, math.inf, 0)
    by_video = np.sum([part.weight * samples.shares.mean(0) for part, samples in paired], axis=0)
    groups = groups_of(samples for _, samples in paired)
    units = group_sums(by_video[None], groups)[0]
    effective = len(units) if groups is None else effective_number(groups)
    if effective <= 1:
        return None
    variance = alone + units.var() / len(units) * effective / (effective - 1)
    most = max(abs(part.weight) * samples.most for part, samples in paired)
    variance += 2 * (most / len(by_video)) ** 2  # two made-up videos, one all for and one all against
    return _Spread(float(variance), effective - 1, len(by_video))


def _binomial(part: _Part) -> float:
    """Variance of a share in percent of so many videos; never quite zero."""
    return max((float(share) + 1) * (101 - float(share)) / (part.share_of or 1) for share in part.by_seed)


def rank_correlation(reported: Sequence[float], reproduced: Sequence[float]) -> float | None:
    """Spearman's rank correlation of two or more numbers with as many others, ties at their mean rank.

    It is None where all numbers of a side are equal.
    """
    ranks = [stats.rankdata(numbers) for numbers in (reported, reproduced)]
    if any(np.ptp(numbers) == 0 for numbers in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation and its 95% interval; the ends are None where the noise is unknown."""

    value: float
    low: float | None = None
    high: float | None = None


def ranked(reported: Sequence[float], values: Sequence[Value | Samples], training: Training) -> RankCorrelation | None:
    """Rank correlation of reported numbers with measured ones, and its interval.

    The measured ones are drawn anew from their noise, that of the videos, which they share, and that of each one's
    training; the interval holds 95 of 100 correlations of such draws, which are the same in every call.

    Args:
        reported: the paper's numbers.
        values: a finished measurement for each.
        training: what is known beforehand of the trainings' noise.

    Returns:
        None where all numbers of a side are equal.
    """
    parts = _aligned([_part(1.0, value) for value in values])
    means = np.array([part.by_seed.mean() for part in parts])
    found = rank_correlation(reported, means.tolist())
    if found is None:
        return None
    samples = [part.samples for part in parts if part.samples is not None]
    lucks = [_luck(part, training) for part in parts]
    if len(samples) < len(parts) or len(samples[0].videos) < 2 or not all(luck.freedom for luck in lucks):
        return RankCorrelation(found)
    draw = np.random.default_rng(0)
    units = np.stack([group_sums(one.shares, one.groups).mean(0) for one in samples])
    values_drawn = draw.multivariate_normal(means, np.cov(units) / units.shape[1], DRAWS, method="eigh")
    freedom = np.array([luck.freedom for luck in lucks])
    scales = np.sqrt([luck.beyond for luck in lucks] * freedom / draw.chisquare(freedom, (DRAWS, len(parts))))
    values_drawn += scales * draw.standard_normal(values_drawn.shape)
    ranks = stats.rankdata(values_drawn, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    target = stats.rankdata(reported) - (len(reported) + 1) / 2
    correlations = ranks @ target / np.sqrt((ranks**2).sum(1) * (target**2).sum())
    low, high = np.quantile(correlations, [LEVEL / 2, 1 - LEVEL / 2])
    return RankCorrelation(found, float(low), float(high))
