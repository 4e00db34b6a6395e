"""The noise that is stated is the noise that there is: the simulation of benchmarks/coverage.py, with few repetitions.

Each rate has to be so near to what it should be that a right theory fails once in a thousand calls, were they not
always the same; `python -m benchmarks.coverage` has the repetitions to tell 95% from 93%.
"""

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import (
    ASSUMED,
    SAME,
    SEEDS,
    WORLDS,
    correlation_coverage,
    measured_spread,
    rates_of,
    single_networks,
    verdict_rates,
    wrong_pages,
)
from tada.report.judge import Verdict
from tada.report.judge.noise import Training
from tada.report.judge.training import SeedSpread, assumed
from tada.report.paper import about_paper
from tada.runs.settings import Scale

FEW = {world.name: 20 if world.precision else 60 if world.videos > 5000 or world.groups else 200 for world in WORLDS}


def at_most(rate, limit, repetitions):
    """Whether so high a rate may come from one of `limit`."""
    return stats.binom.sf(round(rate * repetitions) - 1, repetitions, limit) > 1e-3


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(world, id=world.name, marks=pytest.mark.slow if world.videos > 5000 else ())
        for world in WORLDS
        if not world.precision
    ],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals(world, seeds):
    """Coverage of 92 to 97%, at most 6% wrong decisions, and the stated error is the deviation of the estimates."""
    times = FEW[world.name]
    found = rates_of(world, seeds, times, np.random.default_rng(seeds))
    assert at_most(1 - found.coverage, 0.08, times)
    assert at_most(found.coverage, 0.97, times)
    assert at_most(found.wrong, 0.06, times)
    assert found.stated == pytest.approx(found.deviation, rel=3.5 * deviation_is_off(world, times))


def deviation_is_off(world, times):
    """Standard error of a standard deviation from so many draws of luck, as a share of it: wild networks are rare."""
    kurtosis = 3 * np.exp(4 * world.spread**2)
    return np.sqrt((kurtosis - 1) / (4 * times))


@pytest.mark.slow
def test_intervals_of_average_precision():
    world = next(world for world in WORLDS if world.precision)
    found = rates_of(world, 2, 40, np.random.default_rng(0))
    assert at_most(1 - found.coverage, 0.08, 40)
    assert at_most(found.wrong, 0.06, 40)
    assert found.stated == pytest.approx(found.deviation, rel=3.5 * deviation_is_off(world, 40))


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_page_of_claims_is_wrong_in_one_of_twenty_at_most(seeds):
    assert at_most(wrong_pages(seeds, 40, np.random.default_rng(0)), 0.06, 40)


def test_rank_correlations():
    held = correlation_coverage(2, 60, np.random.default_rng(0))
    assert at_most(1 - held, 0.08, 60)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("deviation", [0.3, 0.4])
def test_verdicts_against_a_single_training(seeds, deviation):
    """A faithful reproduction is off in at most 5%, and one that is 1.5 points away a match in at most 10%."""
    draw = np.random.default_rng(0)
    assert at_most(verdict_rates(seeds, 0.0, deviation, 1000, draw)[Verdict.OFF], 0.05, 1000)
    assert at_most(verdict_rates(seeds, 1.5, deviation, 1000, draw)[Verdict.MATCH], 0.10, 1000)
    assert verdict_rates(seeds, 0.0, deviation, 1000, draw)[Verdict.MATCH] > 0.5
    assert verdict_rates(seeds, 4.0, deviation, 1000, draw)[Verdict.OFF] > 0.99


def test_what_is_simulated_is_what_is_assumed():
    paper = assumed(Scale.PAPER)
    assert (paper.variance, paper.freedom) == (pytest.approx(ASSUMED.variance), ASSUMED.freedom)
    assert about_paper().same.points == SAME


def test_networks_of_the_snapshot_differ_in_their_noise_as_simulated_ones_do():
    _, spread = measured_spread(single_networks("ssv2"))
    assert spread == pytest.approx(WORLDS[0].spread, abs=0.2)


def test_the_spread_of_networks_noise_is_found():
    draw = np.random.default_rng(0)
    true = 2.0 * draw.lognormal(0.0, 0.5, 4000)
    variances = true**2 * draw.chisquare(4, 4000) / 4
    spreads = [SeedSpread("ssv2", str(number), "top1", 5, one, 0.0) for number, one in enumerate(variances)]
    assert measured_spread(spreads) == pytest.approx((2.0, 0.5), rel=0.05)


def test_noise_of_the_videos_alone_is_too_little(monkeypatch):
    """The simulation finds the fault of forgetting training: a third of equal networks are then told apart."""
    steady = Training(0.0, 0.0, 20)
    monkeypatch.setattr("benchmarks.coverage.draw_training", lambda world, draw: steady)
    found = rates_of(WORLDS[0], 1, 200, np.random.default_rng(0))
    assert not at_most(found.wrong, 0.06, 200)
