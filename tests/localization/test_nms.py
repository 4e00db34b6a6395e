import math

import numpy as np
import pytest

from tada.localization.proposals import soft_nms


def reference(starts, ends, scores, duration, sigma=0.4, low=0.25, gain=0.65):
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
def test_equals_the_quadratic_reference(seed, number):
    proposals = random_proposals(seed, number)
    order, scores = soft_nms(*proposals, duration=100.0)
    expected_order, expected_scores = reference(*proposals, duration=100.0)
    assert order.tolist() == expected_order
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-12)


def test_other_settings_equal_the_reference():
    proposals = random_proposals(0, 200)
    order, scores = soft_nms(*proposals, duration=250.0, sigma=0.75, low=0.1, gain=0.8)
    expected = reference(*proposals, duration=250.0, sigma=0.75, low=0.1, gain=0.8)
    assert order.tolist() == expected[0]
    np.testing.assert_allclose(scores, expected[1], rtol=1e-12)


def test_kept_ones_are_the_first_of_all():
    proposals = random_proposals(1, 300)
    order, scores = soft_nms(*proposals, duration=100.0)
    first, kept = soft_nms(*proposals, duration=100.0, keep=17)
    assert first.tolist() == order[:17].tolist()
    assert kept.tolist() == scores[:17].tolist()


def test_the_same_segment_decays_and_a_distant_one_stays():
    order, scores = soft_nms([0, 0, 50], [10, 10, 60], [0.9, 0.8, 0.3], duration=100.0)
    assert order.tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores, [0.9, 0.3, 0.8 * math.exp(-1 / 0.4)])


def test_long_proposals_suppress_only_what_is_nearly_the_same():
    starts, ends, scores = [0, 0], [90, 70], [0.9, 0.8]  # overlap 0.78 against 0.25 + 0.65 * 0.9 = 0.835
    assert soft_nms(starts, ends, scores, duration=100.0)[1].tolist() == [0.9, 0.8]
    assert soft_nms(starts, ends, scores, duration=1000.0)[1][1] < 0.2


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
