"""Noise: how far a weighted sum of measured values may be off, since other videos and trainings give other values.

This is the only module that knows how. Noise has two parts. The test videos are a sample. All networks are tested on
the same ones, so the contribution of each video to the sum is known, and the spread over videos gives the noise of
their mean. Training is chance, too: where runs have several seeds, their spread, pooled over the values, is added. Both
make a t interval.

Two made-up videos, one all for and one all against, stand among the videos, so that a handful of videos never decides:
of single pairs of networks, 6 videos to 0 decide and 5 to 0 do not, as in McNemar's exact test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy import stats

from tada.report.measure.samples import Samples
from tada.report.measure.values import Value

LEVEL = 0.05
"""Of the two-sided intervals."""


EXACT, UNKNOWN = "exact", "unknown"


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of measured values, in their unit, and its noise.

    Attributes:
        value: the sum, over the videos that all values have.
        error: its standard error; 0 of counts, infinite where the noise is unknown.
        noise: the sources of the error: "exact", "videos", "seeds", "videos and seeds" or "unknown".
        values: the means over seeds that are summed.
        freedom: degrees of freedom of the error.
        videos: number of test videos.
    """

    value: float
    error: float
    noise: str
    values: tuple[float, ...]
    freedom: float = math.inf
    videos: int = 0

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The two-sided t interval that misses the true value with a probability of `level`."""
        half = stats.t.ppf(1 - level / 2, self.freedom) * self.error if self.error else 0.0
        return self.value - half, self.value + half

    def sign(self, among: int = 1) -> int:
        """1 where the true value is above zero, -1 where it is below, 0 where noise leaves that open.

        Args:
            among: number of statements that all have to be above zero, of which this is one. One of many is easily
                below by chance, so for that the level is divided by their number.
        """
        below = self.interval(LEVEL / among)[1] < 0
        return 1 if self.low > 0 else -1 if below else 0

    @property
    def low(self) -> float:
        """Lower end of the interval at `LEVEL`."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the interval at `LEVEL`."""
        return self.interval()[1]


def weighted_sum(weights: Sequence[float], parts: Sequence[Value | Samples], constant: float = 0.0) -> Estimate:
    """The sum of `constant` and of measurements times their weights.

    Args:
        weights: one for each part.
        parts: finished measurements of numbers, or the samples of one.
        constant: a number without noise.
    """
    values = [part if isinstance(part, Value) else None for part in parts]
    samples = _aligned([part.samples if isinstance(part, Value) else part for part in parts])
    by_seed = [_by_seed(part, aligned) for part, aligned in zip(parts, samples, strict=True)]
    means = tuple(float(numbers.mean()) for numbers in by_seed)
    total = constant + float(np.dot(weights, means))
    noisy = [place for place, value in enumerate(values) if value is None or not value.exact]
    if not noisy:
        return Estimate(total, 0.0, EXACT, means)
    over_videos, videos = _variance_over_videos(weights, values, samples)
    over_seeds, freedom = _variance_over_seeds([(weights[place], by_seed[place]) for place in noisy])
    variance = over_videos + over_seeds
    if variance == 0.0:
        return Estimate(total, math.inf, UNKNOWN, means)
    satterthwaite = freedom * (variance / over_seeds) ** 2 if over_seeds else math.inf
    noise = " and ".join(name for name, known in (("videos", over_videos), ("seeds", over_seeds)) if known)
    return Estimate(total, math.sqrt(variance), noise, means, satterthwaite, videos)


def _aligned(samples: Sequence[Samples | None]) -> list[Samples | None]:
    """The samples over the videos that all of them have; None where they are not known.

    Runs that have no video in common cannot be paired, as if their videos were not known.
    """
    known = [one.videos for one in samples if one is not None]
    videos = reduce(np.intersect1d, known) if known else np.array([])
    return [one.only(videos) if one is not None and len(videos) else None for one in samples]


def _by_seed(part: Value | Samples, aligned: Samples | None) -> npt.NDArray[np.float64]:
    if aligned is not None:
        return aligned.by_seed
    return np.array(list(part.numbers.values()), float) if isinstance(part, Value) else part.by_seed


def _variance_over_videos(
    weights: Sequence[float], values: Sequence[Value | None], samples: Sequence[Samples | None]
) -> tuple[float, int]:
    """Variance of the sum over samples of videos, and the number of videos."""
    alone = sum(weight**2 * _variance_of_share(value) for weight, value in zip(weights, values, strict=True))
    paired = [(weight, one) for weight, one in zip(weights, samples, strict=True) if one is not None]
    if not paired:
        return float(alone), 0
    by_video = sum(weight * one.shares.mean(0) for weight, one in paired)
    most = 100.0 * max(abs(weight) for weight, _ in paired)
    by_video = np.append(by_video, [most, -most])
    videos = len(by_video) - 2
    return float(alone + by_video.var(ddof=1) * len(by_video) / videos**2), videos


def _variance_of_share(value: Value | None) -> float:
    """Binomial variance of a share in percent whose videos are not known one by one; never quite zero."""
    if value is None or value.share_of is None:
        return 0.0
    return max((float(share) + 1) * (101 - float(share)) / value.share_of for share in value.numbers.values())


def _variance_over_seeds(noisy: Sequence[tuple[float, npt.NDArray[np.float64]]]) -> tuple[float, int]:
    """Variance of the sum over trainings, and the degrees of freedom of its estimate."""
    freedom = sum(len(numbers) - 1 for _, numbers in noisy)
    if not freedom:
        return 0.0, 0
    pooled = sum(((numbers - numbers.mean()) ** 2).sum() for _, numbers in noisy) / freedom
    return float(sum(weight**2 * pooled / len(numbers) for weight, numbers in noisy)), freedom


def rank_correlation(reported: Sequence[float], reproduced: Sequence[float]) -> float | None:
    """Spearman's rank correlation of two or more numbers with as many others, ties at their mean rank.

    It is None where all numbers of a side are equal.
    """
    ranks = [stats.rankdata(numbers) for numbers in (reported, reproduced)]
    if any(np.ptp(numbers) == 0 for numbers in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])
