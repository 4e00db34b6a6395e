"""Softmax regression on mean features."""

import numpy as np
import pytest
import torch

from tada.localization.classes import PENALTY, fit_linear, mean_features, probabilities
from tada.localization.features import Features


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = rng.normal(size=(60, 5)) + 3 * np.eye(5)[labels]
    return (10 + features * [1, 2, 5, 0.1, 1]).astype(np.float32), labels.tolist()


def test_means_of_the_clips_inside():
    values = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    times = np.arange(10) + 0.5
    starts, ends = np.array([0.0, 2.5, 3.6, 9.9, 0.1]), np.array([10.0, 4.5, 4.4, 10.0, 0.2])
    found = mean_features(Features(values, times), starts, ends)
    expected = [values.mean(0), values[2:5].mean(0), values[3], values[9], values[0]]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    assert mean_features(Features(values, times), np.empty(0), np.empty(0)).shape == (0, 4)
    assert (mean_features(Features(values[:1], times[:1]), starts, ends) == values[0]).all()


def test_what_can_be_told_apart_is_told_apart(examples):
    features, labels = examples
    found = probabilities(fit_linear(features, labels, 3), features)
    assert found.shape == (60, 3) and found.sum(1) == pytest.approx(1)
    assert (found.argmax(1) == labels).mean() > 0.95


def test_it_is_the_least_penalised_cross_entropy(examples):
    features, labels = examples
    model = fit_linear(features, labels, 3)
    inputs = torch.from_numpy(features).double()
    inputs = (inputs - inputs.mean(0)) / inputs.std(0, correction=0)
    weight, bias = (value.detach().double().requires_grad_() for value in model.linear[0].parameters())
    loss = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, torch.tensor(labels))
    (loss + PENALTY / 2 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 1e-3 and bias.grad.abs().max() < 1e-3


def test_tasks_are_learnt_as_if_alone(examples):
    features, labels = examples
    nouns = [label // 2 for label in labels]
    both = [{"verb": verb, "noun": noun} for verb, noun in zip(labels, nouns, strict=True)]
    found = probabilities(fit_linear(features, both, {"verb": 3, "noun": 2}), features)
    for task, alone, classes in (("verb", labels, 3), ("noun", nouns, 2)):
        expected = probabilities(fit_linear(features, alone, classes), features)
        np.testing.assert_allclose(found[task], expected, atol=0.02)


def test_twice_the_same(examples):
    features, labels = examples
    first, second = (probabilities(fit_linear(features, labels, 3), features) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_channel_that_never_changes_does_no_harm(examples):
    features, labels = examples
    features[:, 4] = 7
    assert np.isfinite(probabilities(fit_linear(features, labels, 3), features)).all()
