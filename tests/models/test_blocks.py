"""The parts of the networks against their formulas."""

import pytest
import torch
from torch import nn

from tada.models.blocks import AggregatedNorm, Head, temporal_pool, temporal_shift


def neighbours(y, beyond):
    """Frames before, at and after every frame of `y`, with `beyond` outside the clip."""
    edge = torch.full_like(y[:, :, :1], beyond)
    padded = torch.cat([edge, y, edge], 2)
    return torch.stack([padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_temporal_pools(layout):
    y = torch.randn(2, 5, 6, 3, 4).contiguous(memory_format=layout)
    mean = neighbours(y, 0.0).sum(0) / 3  # the zeros beyond the ends count
    largest = neighbours(y, -float("inf")).amax(0)
    torch.testing.assert_close(temporal_pool(y, "avg"), mean)
    torch.testing.assert_close(temporal_pool(y, "max"), largest)
    torch.testing.assert_close(temporal_pool(y, "mix"), mean + largest)


def normalise(y, norm):
    statistics = (y.mean((0, 2, 3, 4)), y.var((0, 2, 3, 4), unbiased=False))
    mean, variance, weight, bias = (v[:, None, None, None] for v in (*statistics, norm.weight, norm.bias))
    return (y - mean) / (variance + 1e-5).sqrt() * weight + bias


def norms(**options):
    torch.manual_seed(0)
    norm = AggregatedNorm(5, **options).double()
    for each in (norm, norm.pooled):
        if each is not None:
            nn.init.normal_(each.weight)
            nn.init.normal_(each.bias)
    return norm


def test_aggregation_follows_equation_7():
    norm, y = norms(), torch.randn(2, 5, 6, 3, 4, dtype=torch.double)
    expected = normalise(y, norm) + normalise(temporal_pool(y, "avg"), norm.pooled)
    torch.testing.assert_close(norm(y), expected)


def test_aggregation_without_separate_norm_or_shortcut():
    y = torch.randn(2, 5, 6, 3, 4, dtype=torch.double)
    norm = norms(separate_bn=False)
    torch.testing.assert_close(norm(y), normalise(y + temporal_pool(y, "avg"), norm))
    norm = norms(pool="max", shortcut=False, separate_bn=False)
    torch.testing.assert_close(norm(y), normalise(temporal_pool(y, "max"), norm))


def test_shift_moves_an_eighth_each_way():
    x = torch.randn(2, 16, 4, 3, 3)
    y = temporal_shift(x)
    assert torch.equal(y[:, :2, :-1], x[:, :2, 1:])
    assert torch.equal(y[:, 2:4, 1:], x[:, 2:4, :-1])
    assert torch.equal(y[:, 4:], x[:, 4:])
    assert not y[:, :2, -1].any()
    assert not y[:, 2:4, 0].any()


def test_dropout_stands_before_the_classification_layer():
    head = Head(1000, 3, 0.5)
    features = torch.ones(1, 1000)
    seen = []
    head.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head.train()(features)
    head.eval()(features)
    assert 0.4 < (seen[0] == 0).float().mean() < 0.6
    assert torch.equal(seen[1], features)
