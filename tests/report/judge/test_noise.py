"""Noise of sums of measurements against intervals by scipy, McNemar's test, a plain analysis of variance, and Holm."""

import math

import numpy as np
import pytest
from scipy import stats

from tada.report.judge.noise import (
    NOTHING_KNOWN,
    Estimate,
    NoiseSource,
    Training,
    difference,
    holm,
    rank_correlation,
    ranked,
    weighted_sum,
)
from tada.report.measure.results import DONE, RunResult
from tada.report.measure.samples import Hits, Shares, effective_number, group_sums, within_of
from tada.report.measure.values import Value
from tada.runs.run import Run
from tada.runs.settings import Scale

STEADY = Training(0.0, 0.0, 20)


def value(*numbers, **about):
    """A finished measurement, a number for each seed."""
    return Value(DONE, dict(enumerate(numbers)), **about)


def hits(right, videos=None, groups=None):
    """Samples of which `right` [videos] or [seeds, videos] are right."""
    right = np.atleast_2d(right)
    names = [str(n) for n in range(right.shape[1])] if videos is None else videos
    return Hits(np.array(names), np.zeros(right.shape[1], int), right, groups=groups)


def first(count, videos=400):
    return np.arange(videos) < count


def test_counts_are_exact():
    found = weighted_sum([1.0, -2.0], [value(3.0, exact=True), value(1.0, exact=True)], NOTHING_KNOWN, constant=0.5)
    assert (found.value, found.error, found.noise) == (1.5, 0.0, "exact")
    assert (found.low, found.high, found.p_above, found.p_below, found.detectable()) == (1.5, 1.5, 0.0, 1.0, 0.0)


def test_a_difference_is_paired_over_videos():
    generator = np.random.default_rng(0)
    one, two = generator.random(2000) < 0.6, generator.random(2000) < 0.5
    found = weighted_sum([1.0, -1.0], [hits(one), hits(two)], STEADY)
    differences = 100.0 * (one.astype(float) - two)
    paired = stats.ttest_rel(100.0 * one, 100.0 * two).confidence_interval()
    assert found.value == pytest.approx(differences.mean())
    assert (found.noise, found.videos, found.seeds) == ("videos and training", 2000, 1)
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), rel=0.01)


@pytest.mark.parametrize("more", range(1, 12))
def test_a_handful_of_videos_decides_as_in_mcnemars_exact_test(more):
    found = weighted_sum([1.0, -1.0], [hits(first(200 + more)), hits(first(200))], STEADY)
    assert (found.low > 0) == (stats.binomtest(more, more).pvalue < 0.05)


def test_only_common_videos_count_and_none_leave_the_noise_unknown():
    names = [str(n) for n in range(400)]
    one, two = hits(first(300), videos=names), hits(first(200, 390), videos=names[:390])
    found = weighted_sum([1.0, -1.0], [one, two], STEADY)
    assert (found.videos, found.value) == (390, pytest.approx(100 * 100 / 390))
    strangers = hits(first(200), videos=[f"x{n}" for n in range(400)])
    found = weighted_sum([1.0, -1.0], [one, strangers], STEADY)
    assert (found.noise, found.p_above, found.p_below) == ("unknown", 1.0, 1.0)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_one_seed_has_the_noise_of_training_that_is_known_beforehand():
    one, two = hits(first(300)), hits(first(200))
    alone = weighted_sum([1.0, -1.0], [one, two], STEADY)
    found = weighted_sum([1.0, -1.0], [one, two], Training(6.0, 2.0, 10, NoiseSource("elsewhere")))
    assert found.error**2 == pytest.approx(alone.error**2 + 2 * (6.0 - 2.0))  # of two networks
    assert found.freedom == pytest.approx(found.error**4 / (alone.error**4 / 399 + 2 * 6.0**2 / 10))
    assert found.source == NoiseSource("elsewhere")
    assert weighted_sum([1.0], [one], NOTHING_KNOWN).noise == "unknown"


def test_seeds_and_videos_by_an_analysis_of_variance():
    """Nothing is known: a network's luck is (mean square of seeds - of the rest) / (seeds * videos)."""
    generator = np.random.default_rng(3)
    hard = generator.normal(size=300)
    one = hard + 0.8 * generator.normal(size=(4, 1)) + generator.normal(size=(4, 300)) > 0.2
    two = hard + 0.4 * generator.normal(size=(4, 1)) + generator.normal(size=(4, 300)) > 0
    found = weighted_sum([1.0, -1.0], [hits(one), hits(two)], NOTHING_KNOWN)

    def squares_of(right):
        table = 100.0 * right
        rows, columns = table.mean(1), table.mean(0)
        rest = sum((table[s, v] - rows[s] - columns[v] + table.mean()) ** 2 for s in range(4) for v in range(300))
        return 300 * rows.var(ddof=1), rest / (3 * 299)

    videos = (100.0 * (one.mean(0) - two.mean(0))).var(ddof=1) / 300 + 2 * (100 / 300) ** 2
    (seeds_one, rest_one), (seeds_two, rest_two) = squares_of(one), squares_of(two)
    assert seeds_one > rest_one and seeds_two > rest_two
    assert found.error**2 == pytest.approx(videos + (seeds_one - rest_one + seeds_two - rest_two) / (4 * 300))
    uncertain = videos**2 / 299 + (seeds_one / 1200) ** 2 / 3 + (seeds_two / 1200) ** 2 / 3
    assert found.freedom == pytest.approx(found.error**4 / uncertain)
    assert (found.seeds, found.value) == (4, pytest.approx(100 * (one.mean() - two.mean())))


def test_seeds_are_shrunk_towards_what_is_known():
    """Each network's own: that of a steady one says nothing of a wild one."""
    wild, steady = hits(np.stack([first(300), first(308), first(301)])), hits(np.stack([first(200)] * 3))
    found = weighted_sum([1.0, -1.0], [wild, steady], Training(5.0, 0.0, 8))
    own = np.var([75.0, 77.0, 75.25], ddof=1)
    of_wild = (8 * 5.0 + 2 * own) / 10 - 2 * within_of(wild.shares) / 10
    of_steady = 8 * 5.0 / 10
    videos = (wild.shares - steady.shares).mean(0).var(ddof=1) / 400 + 2 * (100 / 400) ** 2
    assert found.error**2 == pytest.approx(videos + (of_wild + of_steady) / 3)


def test_trainings_of_two_networks_have_nothing_in_common():
    """Whether their seeds go up and down together, or one up where the other goes down, is chance."""
    right = np.stack([first(200), first(240), first(220), first(260)])
    better = np.roll(right, 8, 1) | right
    together = weighted_sum([1.0, -1.0], [hits(better), hits(right)], NOTHING_KNOWN)
    apart = weighted_sum([1.0, -1.0], [hits(better[::-1]), hits(right)], NOTHING_KNOWN)
    assert together == apart


def trained(right, name, *models):
    """A metric of runs of `models`, with samples [seeds, videos]."""
    runs = tuple(
        tuple(RunResult(Run(Scale.MINI, "ssv2", model, seed), DONE) for model in models) for seed in range(len(right))
    )
    samples = hits(right)
    found = value(*samples.by_seed.tolist(), metric=name, runs=runs)
    found.__dict__["samples"] = samples
    return found


def shared_luck(generator, seeds, videos=400):
    """Two metrics of one network whose seeds lie 5 points apart, and of which the second is 2 points lower."""
    level = 0.7 + 0.05 * generator.standard_normal((seeds, 1))
    drawn = generator.random((seeds, videos))
    return drawn < level, drawn + 0.02 < level


def test_what_shares_a_training_has_no_noise_of_it_beyond_that_of_its_difference():
    one, other = shared_luck(np.random.default_rng(3), 5)
    values = trained(one, "top1", "tada2d"), trained(other, "top1_other", "tada2d")
    found = weighted_sum([1.0, -1.0], values, Training(25.0, 0.0, 4))
    by_seed = 100.0 * (one.mean(1) - other.mean(1))
    over_videos = (100.0 * (one.astype(float) - other)).mean(0).var(ddof=1) / 400 + 2 * (100 / 400) ** 2
    beyond = max(by_seed.var(ddof=1) - within_of(100.0 * (one.astype(float) - other)), 0.0) / 5
    assert found.error**2 == pytest.approx(over_videos + beyond)
    apart = weighted_sum([1.0, -1.0], [values[0], trained(other, "top1", "tsn")], Training(25.0, 0.0, 4))
    assert apart.error > 4 * found.error


def test_an_ensemble_shares_the_trainings_of_each_of_its_networks():
    one, other = shared_luck(np.random.default_rng(4), 5)
    ensemble, alone = trained(one | other, "top1", "tada2d", "tada2d-16f"), trained(one, "top1", "tada2d")
    second = trained(other, "top1", "tada2d-16f")
    for parts in ([ensemble, alone], [alone, ensemble], [ensemble, second]):
        assert weighted_sum([1.0, -1.0], parts, Training(25.0, 0.0, 4)).error < 1.5
    both = weighted_sum([1.0, -0.5, -0.5], [ensemble, alone, second], Training(25.0, 0.0, 4))
    gains = 100.0 * ((one | other).mean(1) - (one.mean(1) + other.mean(1)) / 2)
    assert both.value == pytest.approx(gains.mean())
    assert both.error < 1.5


def test_what_shares_a_training_stands_beside_another_network():
    """Two networks of the same weight and seeds, and then a second metric of either."""
    one, other = shared_luck(np.random.default_rng(7), 5)
    training = Training(25.0, 0.0, 4)
    third = trained(~one, "top1", "tsn")
    parts = [trained(one, "top1", "tada2d"), third, trained(other, "top1_other", "tada2d")]
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        found = weighted_sum([(1.0, 1.0, -1.0)[place] for place in order], [parts[place] for place in order], training)
        alone = weighted_sum([1.0], [third], training)
        assert found.error == pytest.approx(alone.error, rel=0.1)


def test_segments_that_share_a_training_stand_beside_a_category_of_them():
    """Whose samples are no segments any more, but contributions to the mean over all videos."""
    generator = np.random.default_rng(8)
    right, groups = generator.random((5, 400)) < 0.6, np.repeat(np.arange(40), 10).astype(str)
    whole, part = trained(right, "top1", "tada2d"), trained(right, "class_0", "tada2d")
    whole.__dict__["samples"] = hits(right, groups=groups)
    labels = np.arange(400) % 2
    category = Hits(np.arange(400).astype(str), labels, right, groups=groups, category=0).only(
        np.flatnonzero(labels == 0).astype(str)
    )
    part.__dict__["samples"] = category
    found = weighted_sum([1.0, -1.0], [whole, part], Training(25.0, 0.0, 4))
    assert found.value == pytest.approx(float(whole.samples.by_seed.mean() - category.by_seed.mean()))
    assert 0 < found.error < 5


def test_too_few_seeds_of_a_shared_training_count_as_if_nothing_were_shared():
    one, other = shared_luck(np.random.default_rng(5), 4)
    found, apart = (
        weighted_sum(
            [1.0, -1.0], [trained(one, "top1", "tada2d"), trained(other, "other", model)], Training(25.0, 0.0, 4)
        )
        for model in ("tada2d", "tsn")
    )
    assert (found.error, found.freedom) == (apart.error, apart.freedom)


def test_intervals_of_what_shares_a_training_hold_the_true_difference():
    generator, true, held = np.random.default_rng(6), 2.0, 0
    for _ in range(400):
        one, other = shared_luck(generator, 5)
        values = trained(one, "top1", "tada2d"), trained(other, "top1_other", "tada2d")
        found = weighted_sum([1.0, -1.0], values, Training(25.0, 0.0, 4))
        held += found.low <= true <= found.high
    assert 0.92 <= held / 400 <= 1


def test_without_a_common_seed_each_has_its_own():
    one, two = (Value(DONE, {seed: 75.0 for seed in seeds}, share_of=400) for seeds in ((0, 1), (2, 3, 4)))
    found = weighted_sum([1.0, -1.0], [one, two], Training(4.0, 0.0, 9))
    trained = 9 * 4.0 / 10 / 2 + 9 * 4.0 / 11 / 3
    assert (found.value, found.seeds) == (0.0, 2)
    assert found.error**2 == pytest.approx(weighted_sum([1.0, -1.0], [one, two], STEADY).error ** 2 + trained)


def test_only_common_seeds_count():
    one, two = hits(np.stack([first(300), first(320)])), hits(first(200))
    found = weighted_sum([1.0, -1.0], [one, two], Training(4.0, 0.0, 9))
    assert (found.value, found.seeds) == (25.0, 1)


def test_segments_of_a_video_are_no_independent_videos():
    """Ten segments each of forty videos that are all right or all wrong count as forty."""
    of_videos = np.random.default_rng(0).random(40) < 0.5
    groups = np.repeat([f"v{n}" for n in range(40)], 10)
    segments = hits(np.repeat(of_videos, 10), groups=groups)
    found = weighted_sum([1.0], [segments], STEADY)
    made_up = 2 * (100 / 400) ** 2
    assert found.error**2 == pytest.approx((100.0 * of_videos).var(ddof=1) / 40 + made_up)
    assert (found.freedom, found.videos) == (pytest.approx(39, rel=0.01), 400)
    assert weighted_sum([1.0], [hits(np.repeat(of_videos, 10))], STEADY).error < found.error / 2.5


def test_segments_stay_in_their_videos_beside_a_category_of_them():
    generator = np.random.default_rng(0)
    names, labels = np.array([f"{n:03}" for n in range(400)]), np.tile([0, 1], 200)
    right = np.repeat(generator.random(40) < 0.5, 10)[None]
    everything = Hits(names, labels, right, groups=np.repeat([f"v{n:02}" for n in range(40)], 10))
    category = Hits(names, labels, right, category=0).only(names[labels == 0])
    one = weighted_sum([1.0, -0.1], [category, everything], STEADY)
    other = weighted_sum([-0.1, 1.0], [everything, category], STEADY)
    assert one.error == pytest.approx(other.error) and one.freedom == pytest.approx(other.freedom)
    assert one.freedom == pytest.approx(39, rel=0.01)


def test_unequal_groups_count_as_fewer():
    assert effective_number(np.array(list("aabbcc"))) == pytest.approx(3)
    assert effective_number(np.array(list("aaaaab"))) == pytest.approx(36 / 26)
    right = np.arange(40) % 3 == 0
    found = weighted_sum([1.0], [hits(right, groups=np.repeat(["a", "b", "c"], [20, 10, 10]))], STEADY)
    sums = [100 * (right[part] - right.mean()).sum() for part in (slice(20), slice(20, 30), slice(30, 40))]
    effective = 1600 / 600
    plain = sum(one**2 for one in sums) / 1600 * effective / (effective - 1)
    assert found.error**2 == pytest.approx(plain + 2 * (100 / 40) ** 2)
    alone = weighted_sum([1.0], [hits(right, groups=np.repeat(["a"], 40))], STEADY)
    assert alone.noise == "unknown"  # one video says nothing of others


def test_units_of_unequal_groups_keep_the_mean():
    values = np.array([[1.0, 2.0, 3.0, 10.0], [0.0, 0.0, 4.0, 4.0]])
    units = group_sums(values, np.array(["a", "a", "a", "b"]))
    # Around the means 4 and 2: groups of (-3 - 2 - 1, 6) and (-2 - 2 + 2, 2), times 2 groups / 4 videos
    assert units == pytest.approx(np.array([[4 - 3, 4 + 3], [2 - 1, 2 + 1]]))


def test_made_up_videos_are_worth_as_much_as_those_that_they_stand_for():
    """Where the mean over classes is measured, a video of a rare class is worth more than others."""
    labels = np.repeat([0, 1], [30, 10])
    right = np.arange(40) % 2 == 0
    found = weighted_sum([1.0], [Hits(np.arange(40).astype(str), labels, right[None], by_class=True)], STEADY)
    by_video = np.where(labels == 0, 100 * 40 / 60, 100 * 40 / 20) * right
    assert found.error**2 == pytest.approx(by_video.var(ddof=1) / 40 + 2 * (200 / 40) ** 2)


def test_average_precision_has_no_made_up_videos():
    """Two made-up videos of 100 points each would make margins of 2.8 points among 100 units."""
    generator = np.random.default_rng(0)
    names, common = np.array([f"u{n:03d}" for n in range(100)]), generator.normal(30, 40, 100)
    one, two = (
        Shares(names, (common + generator.normal(gain, 3, 100))[None], np.array([30 + gain])) for gain in (1, 0)
    )
    found = weighted_sum([1.0, -1.0], [one, two], STEADY)
    assert found.error == pytest.approx((one.shares - two.shares)[0].std(ddof=1) / 10)
    assert found.value == pytest.approx(1.0)  # the metric itself, without the jackknife's correction for bias
    assert found.high - found.value < 1.0


def test_a_share_of_videos_that_are_not_known_one_by_one():
    found = weighted_sum([1.0, -1.0], [value(50.0, share_of=400), value(40.0, share_of=400)], STEADY)
    binomial = math.sqrt((50 * 50 + 40 * 60) / 400)
    assert found.error == pytest.approx(binomial, rel=0.03)
    assert weighted_sum([1.0], [value(100.0, share_of=400)], STEADY).error > 0


def test_numbers_without_samples_have_no_noise_that_could_be_told():
    assert weighted_sum([1.0, -1.0], [value(60.0), value(20.0)], STEADY).noise == "unknown"
    assert weighted_sum([1.0, -1.0], [value(60.0, 61.0), value(20.0, 21.0)], STEADY).noise == "unknown"


def test_the_same_network_trained_again():
    one, two = [63.9, 64.3, 63.5], [64.6, 64.4, 65.0]
    found = difference(one, two, NOTHING_KNOWN)
    pooled = stats.ttest_ind(one, two).confidence_interval()
    assert (found.low, found.high) == pytest.approx((pooled.low, pooled.high))
    assert (found.noise, found.freedom) == ("training", 4)
    single = difference([63.0], [63.8], Training(0.16, 0.1, 20))
    assert single.value == pytest.approx(-0.8)
    assert single.error == pytest.approx(math.sqrt(2 * 0.16))
    assert difference([1.0], [0.0], Training(0.16, 0.1, 20), networks=2).error == pytest.approx(math.sqrt(4 * 0.16))
    assert difference([63.0], [63.8], NOTHING_KNOWN).noise == "unknown"


def test_what_could_have_been_told_is_told_in_four_of_five_repetitions():
    estimate = Estimate(0.0, 1.5, "", (), freedom=12)
    for among in (1, 5):
        true = estimate.detectable(among)
        limit = stats.t.ppf(1 - 0.05 / (2 * among), 12)
        assert stats.nct.sf(limit, 12, true / 1.5) == pytest.approx(0.8, abs=0.02)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.2]) == [True, False, False, False]  # 0.03 > 0.05 / 3
    assert holm([0.01, 0.04, 0.015, 0.02]) == [True, True, True, True]  # below 0.05 / 4, / 3, / 2, / 1
    assert holm([0.5, 0.012]) == [False, True]
    assert holm([]) == []


def test_rank_correlation_against_scipys():
    reported, here = [32.0, 37.5, 37.5, 56.5, 59.2], [40.0, 30.0, 95.0, 94.0, 94.0]
    found = rank_correlation(reported, here)
    assert found == pytest.approx(stats.spearmanr(reported, here).statistic)
    assert rank_correlation(reported, [50.0] * 5) is None


def test_the_interval_of_a_rank_correlation_is_that_of_rows_drawn_anew():
    reported, counts = [30.0, 40.0, 50.0, 60.0], [150, 200, 210, 300]
    generator = np.random.default_rng(5)
    rows = [hits(generator.permutation(first(count))) for count in counts]
    found = ranked(reported, rows, Training(9.0, 0.0, 20))
    assert found.value == 1.0
    # Only the rows of 50 and 52.5 may well be turned around: 1 - 6 * 2 / (4 * 15)
    assert (found.low, found.high) == (pytest.approx(0.8), pytest.approx(1.0))
    assert ranked(reported, rows, Training(9.0, 0.0, 20)) == found
    assert ranked(reported, [value(n / 4) for n in counts], STEADY).low is None
    assert ranked(reported, rows, NOTHING_KNOWN).low is None
    assert ranked(reported, [hits(first(200))] * 4, STEADY) is None


def test_a_category_takes_no_video_from_the_mean_of_all():
    """80 of 100 videos of class 0, and 150 of 300 of the others: 80 less 57.5, not 80 less 80."""
    labels = np.repeat([0, 1], [100, 300])
    right = np.concatenate([first(80, 100), first(150, 300)])[None]
    names = np.array([f"{n:03}" for n in range(400)])
    everything = Hits(names, labels, right)
    category = Hits(names, labels, right, category=0).only(names[labels == 0])
    found = weighted_sum([1.0, -1.0], [category, everything], STEADY)
    assert found.value == pytest.approx(80 - 57.5) and found.videos == 400
    alone = weighted_sum([1.0], [category], STEADY)
    beside = weighted_sum([1.0, 0.0], [category, everything], STEADY)
    assert beside.value == alone.value == 80
    assert alone.error == pytest.approx(100 * np.sqrt(0.8 * 0.2 / 99 + 2 / 100**2), rel=0.01)
    assert beside.error == pytest.approx(alone.error, rel=0.02)
    other = Hits(names, labels, right, category=1).only(names[labels == 1])
    apart = weighted_sum([1.0, -1.0], [category, other], STEADY)
    assert apart.value == pytest.approx(80 - 50)
    assert apart.error == pytest.approx(100 * np.sqrt(0.8 * 0.2 / 100 + 0.5 * 0.5 / 300 + 2 / 100**2), rel=0.01)
