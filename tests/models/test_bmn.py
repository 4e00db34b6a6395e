"""The boundary-matching network against a sampling written out proposal by proposal."""

import math

import pytest
import torch
from torch.nn import functional as F

from tada.base import TadaError
from tada.models.bmn import BMN, BoundaryMatching, sampling_weights

SMALL = {"temporal": 12, "durations": 7, "samples": 5, "per_bin": 3}


def interpolated(x: torch.Tensor, position: float, extend: bool) -> torch.Tensor:
    """x [C, T] between its cells; zero beyond them, or up to a cell before the first as that one."""
    position = 0.0 if extend and -1 < position < 0 else position
    below = math.floor(position)
    share = position - below
    cells = {below: 1 - share, below + 1: share}
    return sum((x[:, cell] * weight for cell, weight in cells.items() if 0 <= cell < x.shape[1]), torch.zeros(len(x)))


def sampled(
    x: torch.Tensor, temporal: int, durations: int, samples: int, per_bin: int, ratio: float, extend: bool = True
) -> torch.Tensor:
    """The boundary-matching map [C, samples, D, T] of x [C, T], one proposal, sample and point after the other."""
    out = torch.zeros(len(x), samples, durations, temporal)
    for duration in range(durations):
        for start in range(temporal - duration):
            margin = ratio * (duration + 1)
            first, last = start - margin, start + duration + margin
            step = (last - first) / (samples * per_bin - 1)
            for sample in range(samples):
                points = [first + step * (sample * per_bin + point) for point in range(per_bin)]
                out[:, sample, duration, start] = sum(interpolated(x, point, extend) for point in points) / per_bin
    return out


@pytest.mark.parametrize("extend", [True, False])
@pytest.mark.parametrize("ratio", [0.5, 0.25, 0.0])
def test_sampled_map_is_the_interpolation_of_every_proposal(ratio, extend):
    torch.manual_seed(0)
    channels, samples = 3, SMALL["samples"]
    layer = BoundaryMatching(channels, channels * samples, boundary_ratio=ratio, extend_first=extend, **SMALL)
    with torch.no_grad():  # one output for each (channel, sample) makes the sum the sampled map itself
        layer.weight.copy_(torch.eye(channels * samples).view(-1, channels, samples))
        layer.bias.zero_()
    x = torch.randn(2, channels, SMALL["temporal"])
    expected = torch.stack([sampled(one, ratio=ratio, extend=extend, **SMALL) for one in x])
    actual = layer(x).view(2, channels, samples, SMALL["durations"], SMALL["temporal"])
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_layer_and_gradients_equal_a_3d_convolution_of_the_sampled_map():
    torch.manual_seed(0)
    layer = BoundaryMatching(4, 6, **SMALL)
    x = torch.randn(2, 4, SMALL["temporal"], requires_grad=True)
    maps = torch.stack([sampled(one, ratio=0.5, **SMALL) for one in x])
    expected = F.conv3d(maps, layer.weight[..., None, None], layer.bias).squeeze(2)
    actual = layer(x)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(actual)
    inputs = (x, layer.weight, layer.bias)
    for ours, theirs in zip(
        torch.autograd.grad((actual * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_sample_of_a_proposal_amid_the_window_is_a_mean():
    shares = sampling_weights(temporal=40, durations=4).toarray().reshape(4, 40, 32, 40).sum(-1)
    assert shares[:, 10:30] == pytest.approx(1)
    assert (shares[3, 37:] == 0).all()  # would end beyond the window
    assert shares[0, 39, 31] < 1  # ends with the window, whose other side is nothing


def test_points_less_than_a_cell_before_the_window_are_its_first_cell():
    """Proposal (2, 0): 3 cells, read at -1.5, -0.5, ..., 3.5. The authors' `modf` gives -0.5 the whole of cell 0."""
    points = {"temporal": 6, "durations": 3, "samples": 6, "per_bin": 1, "boundary_ratio": 0.5}
    read = {extend: sampling_weights(**points, extend_first=extend).toarray() for extend in (True, False)}
    shares = {extend: of.reshape(3, 6, 6, 6)[2, 0] for extend, of in read.items()}
    for extend, first in ((True, 1.0), (False, 0.5)):
        assert shares[extend][0].tolist() == [0] * 6  # a whole cell before the window and more
        assert shares[extend][1].tolist() == [first, 0, 0, 0, 0, 0]
        assert shares[extend][2].tolist() == [0.5, 0.5, 0, 0, 0, 0]


def test_published_sizes():
    model = BMN(2048)
    convolutions = {
        "base": 3 * 2048 * 256 // 4 + 256 + 3 * 256 * 256 // 4 + 256,
        "start": 3 * 256 * 256 // 4 + 256 + 256 + 1,
        "end": 3 * 256 * 256 // 4 + 256 + 256 + 1,
        "proposals": 3 * 256 * 256
        + 256
        + 32 * 256 * 512
        + 512
        + 512 * 128
        + 128
        + 2 * (9 * 128 * 128 + 128)
        + 128 * 2
        + 2,
    }
    for part, size in convolutions.items():
        assert sum(p.numel() for p in getattr(model, part).parameters()) == size, part
    assert not any("shares" in name or "columns" in name for name in model.state_dict())


def test_shapes_probabilities_and_windows_apart():
    torch.manual_seed(0)
    model = BMN(8, temporal=16, durations=6, base=8, summed=12, confidence=4)
    x = torch.randn(3, 8, 16)
    maps = model(x)
    assert maps.start.shape == maps.end.shape == (3, 16)
    assert maps.regression.shape == maps.classification.shape == (3, 6, 16)
    assert all(part.min() > 0 and part.max() < 1 for part in maps.sigmoid())
    for ours, theirs in zip(maps, model(x[1:2]), strict=True):
        torch.testing.assert_close(ours[1:2], theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 12, 16), (1, 8, 15)])
def test_features_of_another_shape_are_refused(shape):
    model = BMN(8, temporal=16, durations=6, base=8, summed=4, confidence=4)
    with pytest.raises(TadaError, match=r"8 channels and 16 cells"):
        model(torch.zeros(shape))


def test_impossible_sizes_are_refused():
    with pytest.raises(TadaError, match="10 channels"):
        BMN(10)
    with pytest.raises(TadaError, match="up to 20 cells in a window of 16"):
        BMN(8, temporal=16, durations=20)
