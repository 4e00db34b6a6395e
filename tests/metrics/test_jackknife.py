"""The jackknife over videos."""

import numpy as np
import pytest

from tada.metrics.average_precision import jackknife, units_of

VIDEOS = [f"v{number}" for number in range(40)]
VALUES = dict(zip(VIDEOS, np.random.default_rng(0).normal(size=40), strict=True))


def test_of_a_mean_the_shares_are_the_values_themselves():
    found = jackknife(VIDEOS, lambda names: {"mean": float(np.mean([VALUES[name] for name in names]))})
    assert found["videos"].tolist() == sorted(VIDEOS)
    assert found["shares_mean"] == pytest.approx([VALUES[name] for name in sorted(VIDEOS)])


def test_of_a_nonlinear_metric_they_give_the_variance_that_many_samples_have():
    rng = np.random.default_rng(1)

    def ratio(pairs: np.ndarray) -> float:
        return float(pairs[:, 0].mean() / pairs[:, 1].mean())

    def sample() -> np.ndarray:
        return rng.uniform(1, 3, (40, 2)).cumsum(1)

    spread = np.var([ratio(sample()) for _ in range(4000)])
    guesses = []
    for _ in range(100):
        pairs = dict(zip(VIDEOS, sample(), strict=True))
        shares = jackknife(VIDEOS, lambda names: {"r": ratio(np.stack([pairs[name] for name in names]))})["shares_r"]  # noqa: B023
        guesses.append(shares.var(ddof=1) / len(shares))
    assert np.mean(guesses) == pytest.approx(spread, rel=0.15)


def test_many_videos_are_left_out_in_groups_that_their_names_decide():
    units = units_of(VIDEOS, most=8)
    assert len(set(units)) <= 8
    assert units_of(VIDEOS[3:], most=8).tolist() == units[3:].tolist()
    calls = []
    jackknife(VIDEOS, lambda names: calls.append(len(names)) or {"m": 1.0}, most=8)
    assert calls[0] == 40
    assert sum(40 - count for count in calls[1:]) == 40


def test_a_single_video_tells_nothing_about_others():
    assert jackknife(["only"], lambda names: {"map": 30.0})["shares_map"].tolist() == [30.0]
