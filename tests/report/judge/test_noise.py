"""Noise of sums of measurements against intervals computed by scipy, McNemar's test and simulated trainings."""

import math

import numpy as np
import pytest
from scipy import stats

from tada.report.judge.noise import Estimate, rank_correlation, weighted_sum
from tada.report.measure.results import DONE
from tada.report.measure.samples import Hits
from tada.report.measure.values import Value


def value(*numbers, **about):
    """A finished measurement, a number for each seed."""
    return Value(DONE, dict(enumerate(numbers)), **about)


def hits(right, videos=None):
    """Samples of which `right` [videos] or [seeds, videos] are right."""
    right = np.atleast_2d(right)
    names = [str(n) for n in range(right.shape[1])] if videos is None else videos
    return Hits(np.array(names), np.zeros(right.shape[1], int), right)


def first(count, videos=400):
    return np.arange(videos) < count


def test_counts_are_exact():
    found = weighted_sum([1.0, -2.0], [value(3.0, exact=True), value(1.0, exact=True)], constant=0.5)
    assert (found.value, found.error, found.noise) == (1.5, 0.0, "exact")
    assert (found.low, found.high, found.sign()) == (1.5, 1.5, 1)


def test_a_difference_is_paired_over_videos():
    generator = np.random.default_rng(0)
    one, two = generator.random(2000) < 0.6, generator.random(2000) < 0.5
    found = weighted_sum([1.0, -1.0], [hits(one), hits(two)])
    differences = 100.0 * (one.astype(float) - two)
    paired = stats.ttest_rel(100.0 * one, 100.0 * two).confidence_interval()
    assert found.value == pytest.approx(differences.mean())
    assert (found.noise, found.videos) == ("videos", 2000)
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), rel=0.01)


@pytest.mark.parametrize("more", range(1, 12))
def test_a_handful_of_videos_decides_as_in_mcnemars_exact_test(more):
    found = weighted_sum([1.0, -1.0], [hits(first(200 + more)), hits(first(200))])
    assert bool(found.sign()) == (stats.binomtest(more, more).pvalue < 0.05)


def test_only_common_videos_count_and_none_leave_the_noise_unknown():
    names = [str(n) for n in range(400)]
    one, two = hits(first(300), videos=names), hits(first(200, 390), videos=names[:390])
    found = weighted_sum([1.0, -1.0], [one, two])
    assert (found.videos, found.value) == (390, pytest.approx(100 * 100 / 390))
    strangers = hits(first(200), videos=[f"x{n}" for n in range(400)])
    found = weighted_sum([1.0, -1.0], [one, strangers])
    assert (found.noise, found.sign()) == ("unknown", 0)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_seeds_give_students_interval():
    one, two = [32.0, 33.0, 35.0], [30.0, 30.5, 28.0]
    found = weighted_sum([1.0, -1.0], [value(*one), value(*two)])
    pooled = stats.ttest_ind(one, two).confidence_interval()
    assert found.noise == "seeds"
    assert (found.low, found.high) == pytest.approx((pooled.low, pooled.high))


def test_videos_and_seeds_add_up():
    right = np.stack([first(300), first(306)])
    found = weighted_sum([1.0], [hits(right)])
    over_videos = (100.0 * right.mean(0)).var(ddof=1) / 400
    seeds = weighted_sum([1.0], [value(75.0, 76.5)])
    assert found.noise == "videos and seeds"
    assert found.error**2 == pytest.approx(over_videos + seeds.error**2, rel=0.04)  # two made-up videos among 400
    assert found.freedom > seeds.freedom == 1


def test_a_share_of_videos_that_are_not_known_one_by_one():
    found = weighted_sum([1.0, -1.0], [value(50.0, share_of=400), value(40.0, share_of=400)])
    binomial = math.sqrt((50 * 50 + 40 * 60) / 400)
    assert found.error == pytest.approx(binomial, rel=0.03)
    assert weighted_sum([1.0], [value(100.0, share_of=400)]).error > 0


def test_one_number_without_samples_has_no_noise_that_could_be_told():
    assert weighted_sum([1.0, -1.0], [value(60.0), value(20.0)]).noise == "unknown"


def test_one_of_many_is_below_zero_by_chance():
    found = Estimate(-2.0, 1.0, "videos", ())
    assert (found.sign(), found.sign(among=3)) == (-1, 0)  # p is 0.046, more than 0.05 / 3
    above = Estimate(2.0, 1.0, "videos", ())
    assert (above.sign(), above.sign(among=3)) == (1, 1)


def test_rank_correlation_against_scipys():
    reported, here = [32.0, 37.5, 37.5, 56.5, 59.2], [40.0, 30.0, 95.0, 94.0, 94.0]
    found = rank_correlation(reported, here)
    assert found == pytest.approx(stats.spearmanr(reported, here).statistic)
    assert rank_correlation(reported, [50.0] * 5) is None
