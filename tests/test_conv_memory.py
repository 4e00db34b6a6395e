"""The memory-saving convolution of scaled frames against plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from tada.conv import convolve_scaled

GEOMETRY = ((1, 2), (1, 0), (1, 1), 2)


def values(dtype=torch.double, size=8):
    torch.manual_seed(0)
    shapes = ((3, 4, 5, size), (3, 4), (6, 2, 3, 3), (6,))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def plain(frames, alpha, weight, bias, geometry):
    return F.conv2d(frames * alpha[..., None, None], weight, bias, *geometry)


@pytest.mark.parametrize("wanted", [(0, 1, 2, 3), (0,), (1,), (2,), (3,), (1, 2)])
def test_gradients_of_any_choice_of_inputs(wanted):
    inputs = values()
    for number, value in enumerate(inputs):
        value.requires_grad_(number in wanted)
    chosen = [inputs[number] for number in wanted]
    y, expected = convolve_scaled(*inputs, GEOMETRY), plain(*inputs, GEOMETRY)
    torch.testing.assert_close(y, expected)
    direction = torch.randn_like(y)
    found = torch.autograd.grad(y, chosen, direction)
    torch.testing.assert_close(found, torch.autograd.grad(expected, chosen, direction))


def test_gradients_and_gradients_of_gradients_by_finite_differences():
    assert torch.autograd.gradcheck(lambda *inputs: convolve_scaled(*inputs, GEOMETRY), values(size=4))
    assert torch.autograd.gradgradcheck(lambda *inputs: convolve_scaled(*inputs, GEOMETRY), values(size=4))


def test_pieces_of_the_backward_pass_fit_together():
    torch.manual_seed(0)
    inputs = [torch.randn(9, 8, 80, 80), torch.randn(9, 8), torch.randn(4, 8, 3, 3)]  # 2**18 numbers: five frames
    for value in inputs:
        value.requires_grad_()
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    frames, alpha, weight = inputs
    found = torch.autograd.grad(convolve_scaled(frames, alpha, weight, None, geometry).square().mean(), inputs)
    expected = torch.autograd.grad(plain(frames, alpha, weight, None, geometry).square().mean(), inputs)
    torch.testing.assert_close(found, expected)


def test_autocast_reaches_the_convolution():
    frames, alpha, weight, bias = values(dtype=torch.float)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = convolve_scaled(frames, alpha, weight, bias, GEOMETRY)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert weight.grad.dtype == torch.float


def peak(function, *inputs):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        y = function(*inputs, ((1, 1), (1, 1), (1, 1), 1))
        y.backward(torch.ones_like(y))
    now = most = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def test_no_more_memory_than_the_plain_convolution_needs():
    shapes = ((32, 32, 64, 64), (32, 32), (32, 32, 3, 3))
    frames, alpha, weight = (
        torch.randn(shape).contiguous(memory_format=torch.channels_last if len(shape) == 4 else torch.contiguous_format)
        for shape in shapes
    )
    for value in (frames, alpha, weight):
        value.requires_grad_()
    without = peak(lambda x, _, w, geometry: F.conv2d(x, w, None, *geometry), frames, alpha, weight)
    frames.grad = weight.grad = None
    ours = peak(lambda x, a, w, geometry: convolve_scaled(x, a, w, None, geometry), frames, alpha, weight)
    assert ours < 1.1 * without
