import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from tada.metrics.accuracy import topk_accuracy


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(7), generator.integers(0, 7, 193)])
    return generator.random((200, 7)) + 0.5 * np.eye(7)[labels], labels


@pytest.mark.parametrize("k", [1, 2, 5])
def test_topk_equals_scikit_learn(scored, k):
    scores, labels = scored
    assert topk_accuracy(scores, labels, k) == pytest.approx(100 * top_k_accuracy_score(labels, scores, k=k))


def test_constant_output_earns_the_first_class_only():
    labels = np.array([0, 1, 2, 3])
    assert topk_accuracy(np.zeros((4, 4)), labels, 1) == 25.0


def test_more_ranks_than_classes_is_always_right(scored):
    assert topk_accuracy(*scored, k=50) == 100.0


def test_a_sample_without_finite_scores_is_wrong_in_every_rank():
    scores = np.array([[np.nan, np.nan], [np.nan, 0.0], [1.0, 0.0]])
    assert topk_accuracy(scores, np.array([0, 1, 0]), 1) == pytest.approx(100 / 3)
    assert topk_accuracy(scores, np.array([0, 1, 0]), 2) == pytest.approx(100 / 3)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        topk_accuracy(np.zeros((0, 4)), np.zeros(0, int), 1)
    with pytest.raises(ValueError, match="do not fit"):
        topk_accuracy(np.zeros((3, 4)), np.zeros(2, int), 1)
