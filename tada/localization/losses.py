"""The losses of BMN (Lin et al., 2019, section 4.3), with the constants of their released code, which the paper keeps.

    loss = boundaries + 10 x regression + classification

Boundaries (starts plus ends): logistic loss, positive where the label is above 0.5. Classification of proposals: the
same, positive where a proposal's IoU with an action is at least 0.9. In both, positives and negatives weigh one half
each, however few the positives are. Regression of that IoU: half the mean squared error over all proposals above 0.7,
and as many drawn from those of 0.3 to 0.7, and from those below that touch an action at all.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tada.localization.targets import Targets, within
from tada.models.bmn import Maps


class Losses(NamedTuple):
    """The loss of a batch and its parts before their weights (scalars)."""

    total: Tensor
    boundary: Tensor
    regression: Tensor
    classification: Tensor


def balanced_logistic(logits: Tensor, positive: Tensor, counted: Tensor | None = None) -> Tensor:
    """Logistic loss in which positives and negatives weigh half each.

    Args:
        logits: of any shape.
        positive: bool, of the same shape.
        counted: bool, entries that take part; all if None.
    """
    counted = torch.ones_like(positive) if counted is None else counted
    positives, negatives = positive & counted, ~positive & counted
    shares = [kind / kind.sum().clamp(min=1) for kind in (positives, negatives)]
    weight = 0.5 * sum(shares)  # a kind that is absent leaves its half out
    return F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), weight, reduction="sum")


def balanced_sample(overlap: Tensor, high: float, low: float, generator: torch.Generator) -> Tensor:
    """Proposals that regression learns from, bool of overlap's shape.

    All above `high`, and of those between, and of those at most `low` but not 0, each with the probability that makes
    them as many in expectation.
    """
    best = overlap > high
    sample = best
    for kind in ((overlap > low) & ~best, (overlap > 0) & (overlap <= low)):
        kept = torch.rand(overlap.shape, generator=generator).to(overlap.device)
        sample = sample | kind & (kept * kind.sum() < best.sum())
    return sample


def sampling_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of one step, which a resumed training draws again."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1)
    return torch.Generator().manual_seed(int(state))


def bmn_loss(
    maps: Maps,
    targets: Targets,
    generator: torch.Generator,
    *,
    regression_weight: float = 10.0,
    positive: float = 0.9,
    high: float = 0.7,
    low: float = 0.3,
) -> Losses:
    """The loss of a batch.

    Args:
        maps: the network's logits.
        targets: tensors of the same shapes.
        generator: draws the proposals that regression learns from.
        regression_weight: of the regression loss.
        positive: least IoU of a proposal that counts as an action.
        high: IoU above which regression learns from all proposals.
        low: IoU that parts the others into two kinds of equal number.
    """
    start, end, overlap = targets
    boundary = balanced_logistic(maps.start, start > 0.5) + balanced_logistic(maps.end, end > 0.5)
    proposals = torch.from_numpy(within(overlap.shape[2], overlap.shape[1])).to(overlap.device)
    sample = balanced_sample(overlap, high, low, generator)
    error = (maps.regression.sigmoid() - overlap).square()
    regression = 0.5 * (error * sample).sum() / sample.sum().clamp(min=1)
    classification = balanced_logistic(maps.classification, overlap >= positive, proposals.expand_as(overlap))
    return Losses(boundary + regression_weight * regression + classification, boundary, regression, classification)
