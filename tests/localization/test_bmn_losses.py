"""BMN's losses against the formulae of Lin et al. written out, entry by entry."""

import math

import numpy as np
import pytest
import torch

from tada.localization.bmn_training import (
    Targets,
    balanced_logistic,
    balanced_sample,
    bmn_loss,
    sampling_generator,
    targets_of,
    within,
)
from tada.models.bmn import Maps

T, D = 16, 10


def batch(*segments):
    torch.manual_seed(0)
    count = len(segments)
    maps = Maps(torch.randn(count, T), torch.randn(count, T), torch.randn(count, D, T), torch.randn(count, D, T))
    each = [targets_of(np.array(one, dtype=float).reshape(-1, 2), T, D, 1.0) for one in segments]
    return maps, Targets(*(torch.from_numpy(np.stack(part)) for part in zip(*each, strict=True)))


def logistic(logits, positive):
    """Lin et al.'s weights: with r = entries / positives, r / 2 for positives and r / (r - 1) / 2 for negatives."""
    entries = list(zip(logits.tolist(), positive.tolist(), strict=True))
    ratio = len(entries) / sum(truth for _, truth in entries)
    total = 0.0
    for value, truth in entries:
        p = 1 / (1 + math.exp(-value))
        total -= 0.5 * ratio * math.log(p) if truth else 0.5 * ratio / (ratio - 1) * math.log(1 - p)
    return total / len(entries)


def test_losses_equal_the_formulae():
    maps, targets = batch([(2, 6), (9, 15)], [(3.2, 4.1)])
    losses = bmn_loss(maps, targets, sampling_generator(0, 0))
    boundary = sum(
        logistic(logits.flatten(), labels.flatten() > 0.5)
        for logits, labels in ((maps.start, targets.start), (maps.end, targets.end))
    )
    counted = torch.from_numpy(within(T, D)).expand(2, D, T)
    classification = logistic(maps.classification[counted], targets.overlap[counted] >= 0.9)
    sample = balanced_sample(targets.overlap, 0.7, 0.3, sampling_generator(0, 0))
    errors = [
        (p - g) ** 2
        for p, g in zip(maps.regression.sigmoid()[sample].tolist(), targets.overlap[sample].tolist(), strict=True)
    ]
    regression = 0.5 * sum(errors) / len(errors)
    assert losses.boundary.item() == pytest.approx(boundary, rel=1e-5)
    assert losses.classification.item() == pytest.approx(classification, rel=1e-5)
    assert losses.regression.item() == pytest.approx(regression, rel=1e-5)
    assert losses.total.item() == pytest.approx(boundary + 10 * regression + classification, rel=1e-5)


def test_regression_samples_as_many_of_each_kind():
    overlap = torch.zeros(8, 100, 100)
    overlap[:, :2], overlap[:, 2:20], overlap[:, 20:60] = 0.8, 0.5, 0.2
    sample = balanced_sample(overlap, 0.7, 0.3, sampling_generator(0, 0))
    counts = [int(sample[overlap == value].sum()) for value in overlap.unique()]
    assert counts[0] == 0  # touches no action
    assert counts[3] == 1600
    assert counts[1:3] == pytest.approx([1600, 1600], rel=0.1)


def test_kinds_that_are_fewer_are_taken_whole():
    overlap = torch.tensor([[[0.9, 0.8, 0.75, 0.7, 0.3, 0.0]]])
    assert balanced_sample(overlap, 0.7, 0.3, sampling_generator(0, 0)).tolist() == [[[True] * 5 + [False]]]


def test_sampling_depends_on_seed_and_step_alone():
    maps, targets = batch([(2, 6), (9, 15)], [(3.2, 9.1)])

    def regression(seed, step):
        return bmn_loss(maps, targets, sampling_generator(seed, step)).regression.item()

    first = regression(3, 7)
    torch.rand(5)
    assert regression(3, 7) == first
    assert len({first, regression(3, 8), regression(4, 7)}) == 3


def test_proposals_that_end_beyond_the_window_count_nowhere():
    maps, targets = batch([(2, 6)])
    changed = [part.clone() for part in maps]
    for part in changed[2:]:
        part[:, ~torch.from_numpy(within(T, D))] = 100.0
    before, after = (bmn_loss(m, targets, sampling_generator(0, 0)) for m in (maps, Maps(*changed)))
    assert before == after


def test_a_batch_without_positives_has_a_finite_loss_and_gradient():
    maps, targets = batch([])
    logits = [part.requires_grad_() for part in maps]
    losses = bmn_loss(Maps(*logits), targets, sampling_generator(0, 0))
    losses.total.backward()
    assert losses.regression == 0
    assert all(torch.isfinite(part.grad).all() for part in logits)


def test_positives_and_negatives_weigh_the_same():
    logits = torch.zeros(100)
    positive = torch.arange(100) < 3
    assert balanced_logistic(logits, positive).item() == pytest.approx(math.log(2))
    logits = torch.where(positive, 0.0, 50.0).requires_grad_()
    balanced_logistic(logits, positive).backward()
    assert logits.grad[positive].sum().item() == pytest.approx(-0.25)
    assert logits.grad[~positive].sum().item() == pytest.approx(0.5)
