"""Proposals of a video: averaged windows, likely boundaries, scores, soft-NMS."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tada.base import TadaError
from tada.localization.bmn_training import build_bmn
from tada.localization.features import Features
from tada.localization.proposals import Dense, average, boundaries, candidates, predict, propose, soft_nms
from tada.localization.videos import Untrimmed
from tada.localization.windows import Window, grid_of, windows_of
from tada.runs.localization_settings import BmnSettings, SuppressionSettings

SETTINGS = BmnSettings(
    window=8.0, stride=4.0, temporal=16, durations=10, base=8, summed=8, confidence=4, samples=4, batch=2
)


def case(duration: float, channels: int = 8, **changes):
    settings = replace(SETTINGS, **changes)
    torch.manual_seed(0)
    times = np.arange(0.25, duration, 0.5)
    values = np.random.default_rng(0).normal(size=(len(times), channels)).astype(np.float32)
    video = Untrimmed("v", Path("v.mp4"), duration, ())
    return build_bmn(8, settings), video, Features(values, times), settings


def averaged(duration: float, **changes):
    model, video, features, settings = case(duration, **changes)
    windows = windows_of(video, features, settings, 0.5)
    predictions = predict(model, windows, settings.batch)
    grid = grid_of(duration, settings)
    return windows, predictions, grid, average(windows, predictions, grid, settings.ends_with_video)


@pytest.mark.parametrize("past_end", [True, False])
@pytest.mark.parametrize("ends_with_video", [True, False])
@pytest.mark.parametrize("duration", [3.0, 8.0, 8.3, 21.3, 24.0])
def test_overlaps_are_averaged(duration, past_end, ends_with_video):
    windows, predictions, grid, dense = averaged(duration, past_end=past_end, ends_with_video=ends_with_video)
    assert len(dense.start) == len(dense.end) == grid.cells + ends_with_video
    for t in range(grid.cells):
        seen = [(w.first, s) for w, s in zip(windows, predictions, strict=True) if w.first <= t < w.first + 16]
        assert dense.start[t] == pytest.approx(np.mean([parts[0][t - first] for first, parts in seen]))
        assert dense.end[t] == pytest.approx(np.mean([parts[1][t - first] for first, parts in seen]))
        for d in range(10):
            holding = [(first, parts) for first, parts in seen if t + d + 1 <= first + 16]
            assert dense.known[d, t] == (bool(holding) and t + d + 1 <= grid.cells - (not ends_with_video))
            if holding:
                for k, part in ((2, dense.regression), (3, dense.classification)):
                    assert part[d, t] == pytest.approx(np.mean([parts[k][d, t - first] for first, parts in holding]))


def test_windows_that_overlap_by_half_leave_out_no_proposal():
    _, _, grid, dense = averaged(50.0, durations=8)
    fits = np.arange(grid.cells) + np.arange(1, 9)[:, None] < grid.cells
    assert (dense.known == fits).all()


def test_boundaries_are_peaks_or_high():
    probability = np.array([0.1, 0.2, 0.15, 0.15, 0.9, 0.5, 0.46, 0.3, 0.3, 0.2])
    assert np.flatnonzero(boundaries(probability, 0.5)).tolist() == [1, 4, 5, 6]


def test_candidates_are_pairs_of_boundaries_with_their_score():
    random = np.random.default_rng(0)
    cells, durations = 20, 6
    dense = Dense(random.random(21), random.random(21), *random.random((2, 6, 20)), random.random((6, 20)) < 0.8)
    dense.known[:] &= np.arange(20) + np.arange(1, 7)[:, None] <= 20
    grid = grid_of(10.0, SETTINGS)
    starts = {t for t in range(1, 20) if dense.start[t] > 0.5 * dense.start.max()} | {0}
    starts |= {t for t in range(1, 20) if dense.start[t] > max(dense.start[t - 1], dense.start[t + 1])}
    ends = {t for t in range(1, 20) if dense.end[t] > 0.5 * dense.end.max()} | {20}
    ends |= {t for t in range(1, 20) if dense.end[t] > max(dense.end[t - 1], dense.end[t + 1])}
    expected = {
        (t * 0.5, (t + d + 1) * 0.5): dense.classification[d, t] ** 1.2 * dense.regression[d, t]
        for t in range(cells)
        for d in range(durations)
        if t in starts and t + d + 1 in ends and dense.known[d, t]
    }
    actual = candidates(dense, grid, 10.0, SETTINGS)
    assert dict(zip(zip(actual.starts, actual.ends, strict=True), actual.scores, strict=True)) == pytest.approx(
        expected
    )
    assert (np.diff(actual.scores) <= 0).all()


@pytest.mark.parametrize("duration", [0.4, 3.1, 8.0, 8.2, 33.33])
@pytest.mark.parametrize("window", [8.0, None])
def test_no_proposal_leaves_the_video(duration, window):
    model, video, features, settings = case(duration, window=window)
    found = propose(model, video, features, settings, 0.5)
    assert len(found.starts) == len(found.ends) == len(found.scores) > 0
    assert (found.starts >= 0).all()
    assert (found.ends <= duration).all()
    assert (found.ends > found.starts).all()
    assert ((found.scores > 0) & (found.scores < 1)).all()
    assert len(set(zip(found.starts, found.ends, strict=True))) == len(found.starts)


def test_proposals_of_the_authors_end_where_the_last_cell_begins():
    """Of 6 cells, with every position likely: 5 + 4 proposals of 1 and 2 cells, where 6 + 5 would fit."""
    flat, confidence = np.full(6, 0.5), np.full((2, 6), 0.5)
    windows = [Window("v", 0, 0.5, np.zeros((8, 16), np.float32), np.zeros((0, 2)))]
    predictions = [(np.full(16, 0.5), np.full(16, 0.5), np.full((2, 16), 0.5), np.full((2, 16), 0.5))]
    grid = grid_of(3.0, SETTINGS)
    for ends_with_video, number, last in ((False, 9, 2.5), (True, 11, 3.0)):
        dense = average(windows, predictions, grid, ends_with_video)
        np.testing.assert_array_equal(dense.start[:6], flat)
        np.testing.assert_array_equal(dense.classification, confidence)
        found = candidates(dense, grid, 3.0, SETTINGS)
        assert (len(found.starts), found.ends.max()) == (number, last)


@pytest.mark.parametrize(
    ("keep", "every", "duration", "kept"),
    [(None, 1.0, 345.9, 346), (None, 1.0, 0.4, 1), (None, 2.0, 9.0, 5), (100, None, 345.9, 100)],
)
def test_proposals_that_remain(keep, every, duration, kept):
    assert SuppressionSettings(keep=keep, keep_every=every).kept(duration) == kept


def test_an_action_known_for_certain_is_the_best_proposal():
    start, end = np.full(41, 0.01), np.full(41, 0.01)
    start[12], end[18] = 0.9, 0.9
    confidence = np.full((10, 40), 0.05)
    confidence[5, 12] = 0.95
    fits = np.arange(40) + np.arange(1, 11)[:, None] <= 40
    found = candidates(Dense(start, end, confidence, confidence, fits), grid_of(20.0, SETTINGS), 20.0, SETTINGS)
    assert (found.starts[0], found.ends[0]) == (6.0, 9.0)
    assert found.scores[0] == pytest.approx(0.95**2.2)


def test_features_of_another_width_are_refused():
    model, video, features, settings = case(20.0, channels=12)
    with pytest.raises(TadaError, match="video v have 12 channels, and 8 are expected"):
        propose(model, video, features, settings, 0.5)


def test_features_with_nan_are_refused():
    model, video, features, settings = case(20.0)
    features.values[10, 3] = np.nan
    with pytest.raises(TadaError, match="video v: not finite"):
        propose(model, video, features, settings, 0.5)


def soft_nms_reference(starts, ends, scores, duration, sigma=0.4, low=0.25, gain=0.65):
    """One proposal and one pair at a time, as the rule is written."""
    left = {number: float(score) for number, score in enumerate(scores)}
    order, final = [], []
    while left:
        best = min(left, key=lambda number: (-left[number], -scores[number], starts[number], ends[number]))
        order.append(best)
        final.append(left.pop(best))
        for other in left:
            shared = max(0.0, min(ends[best], ends[other]) - max(starts[best], starts[other]))
            union = (ends[best] - starts[best]) + (ends[other] - starts[other]) - shared
            overlap = shared / union if union > 0 else 0.0
            if overlap > low + gain * (ends[best] - starts[best]) / duration:
                left[other] *= math.exp(-(overlap**2) / sigma)
    return order, final


def random_proposals(seed: int, number: int, duration: float = 100.0) -> tuple:
    generator = np.random.default_rng(seed)
    starts = generator.random(number) * duration * 0.9
    ends = np.minimum(starts + generator.exponential(duration / 8, number), duration)
    return starts, ends, generator.random(number)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("number", [1, 2, 40, 300])
def test_soft_nms_equals_the_quadratic_reference(seed, number):
    proposals = random_proposals(seed, number)
    order, scores = soft_nms(*proposals, duration=100.0)
    expected_order, expected_scores = soft_nms_reference(*proposals, duration=100.0)
    assert order.tolist() == expected_order
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-12)


def test_other_settings_equal_the_soft_nms_reference():
    proposals = random_proposals(0, 200)
    order, scores = soft_nms(*proposals, duration=250.0, sigma=0.75, low=0.1, gain=0.8)
    expected = soft_nms_reference(*proposals, duration=250.0, sigma=0.75, low=0.1, gain=0.8)
    assert order.tolist() == expected[0]
    np.testing.assert_allclose(scores, expected[1], rtol=1e-12)


def test_a_limit_leaves_the_first_of_all():
    proposals = random_proposals(1, 300)
    order, scores = soft_nms(*proposals, duration=100.0)
    first, scores_of_first = soft_nms(*proposals, duration=100.0, keep=17)
    assert first.tolist() == order[:17].tolist()
    assert scores_of_first.tolist() == scores[:17].tolist()


def test_the_same_segment_decays_and_a_distant_one_stays():
    order, scores = soft_nms([0, 0, 50], [10, 10, 60], [0.9, 0.8, 0.3], duration=100.0)
    assert order.tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores, [0.9, 0.3, 0.8 * math.exp(-1 / 0.4)])


def test_long_proposals_suppress_only_what_is_nearly_the_same():
    starts, ends, scores = [0, 0], [90, 70], [0.9, 0.8]  # overlap 0.78 against 0.25 + 0.65 * 0.9 = 0.835
    assert soft_nms(starts, ends, scores, duration=100.0)[1].tolist() == [0.9, 0.8]
    assert soft_nms(starts, ends, scores, duration=1000.0)[1][1] < 0.2


def test_thresholds_of_zero_weaken_all_that_overlap():
    """HACS: 0.8 x exp(-(1 / 19)^2 / 0.4) for one second of 19 that both share, whatever the video's length."""
    order, scores = soft_nms([0, 9], [10, 19], [0.9, 0.8], duration=20.0, low=0.0, gain=0.0)
    assert order.tolist() == [0, 1]
    np.testing.assert_allclose(scores, [0.9, 0.8 * math.exp(-((1 / 19) ** 2) / 0.4)])
    assert soft_nms([0, 10], [10, 19], [0.9, 0.8], duration=20.0, low=0.0, gain=0.0)[1].tolist() == [0.9, 0.8]


def test_equal_scores_do_not_depend_on_the_order_of_rows():
    generator = np.random.default_rng(0)
    starts, ends, _ = random_proposals(2, 100)
    scores = generator.integers(1, 4, 100) / 3
    order, decayed = soft_nms(starts, ends, scores, duration=100.0)
    shuffle = generator.permutation(100)
    again, same = soft_nms(starts[shuffle], ends[shuffle], scores[shuffle], duration=100.0)
    assert shuffle[again].tolist() == order.tolist()
    assert same.tolist() == decayed.tolist()


def test_nothing_stays_nothing():
    order, scores = soft_nms(np.zeros(0), np.zeros(0), np.zeros(0), duration=10.0)
    assert len(order) == len(scores) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [1, 2], [1], 10), "do not fit"),
        (([0], [1], [math.nan], 10), "finite"),
        (([0, 3], [1, 2], [1, 1], 10), "proposal 1 from 3.0 to 2.0"),
        (([0], [1], [-0.5], 10), "score -0.5"),
        (([0], [1], [1], 0), "duration 0 is not positive"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        soft_nms(*arguments)
