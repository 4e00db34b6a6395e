"""What tests/models/test_fused.py has computed in a process in which Triton interprets its kernels."""

import copy

import torch
from torch import Tensor, nn

from tada.models import fused
from tada.models.blocks import AggregatedNorm

LAST = torch.channels_last_3d


def layer(channels: int) -> AggregatedNorm:
    """With parameters that make a difference."""
    torch.manual_seed(0)
    norm = AggregatedNorm(channels, fused=True).train()
    assert norm.pooled is not None
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def plainly(y: Tensor, norm: AggregatedNorm) -> Tensor:
    """Eq. 7 from its definition, in y's precision; statistics are brought up to date as torch's batch norm does."""
    beyond = torch.zeros_like(y[:, :, :1])
    padded = torch.cat([beyond, y, beyond], 2)
    pooled = (padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]) / 3
    parts = []
    for values, of in ((y, norm), (pooled, norm.pooled)):
        mean, variance = values.mean((0, 2, 3, 4)), values.var((0, 2, 3, 4), unbiased=False)
        count = values.numel() / values.shape[1]
        with torch.no_grad():
            of.running_mean.copy_(0.9 * of.running_mean + 0.1 * mean)
            of.running_var.copy_(0.9 * of.running_var + 0.1 * variance * count / (count - 1))
            of.num_batches_tracked += 1
        scale = of.weight / (variance + of.eps).sqrt()
        parts.append((values - mean.view(-1, 1, 1, 1)) * scale.view(-1, 1, 1, 1) + of.bias.view(-1, 1, 1, 1))
    return (parts[0] + parts[1]).relu()


def differences(shape: tuple[int, ...], dtype: str, offset: float, layout: str) -> dict[str, float]:
    """Largest difference of result, gradients and buffers from the definition in float64, in shares of the largest."""
    norm = layer(shape[1])
    reference = copy.deepcopy(norm).double()
    values = (torch.randn(shape) + offset).to(getattr(torch, dtype))
    y = values.contiguous(memory_format=getattr(torch, layout)).requires_grad_()
    exact = values.detach().double().requires_grad_()
    gradient = torch.randn(shape).to(values.dtype)
    found, expected = norm.rectified(y), plainly(exact, reference)
    assert found.dtype == values.dtype
    assert found.is_contiguous(memory_format=LAST)
    found.backward(gradient)  # a gradient whose channels are not last
    expected.backward(gradient.double())
    pairs = {"result": (found, expected), "gradient of y": (y.grad, exact.grad)}
    for (name, mine), theirs in zip(norm.named_parameters(), reference.parameters(), strict=True):
        pairs[f"gradient of {name}"] = (mine.grad, theirs.grad)
    for (name, mine), theirs in zip(norm.named_buffers(), reference.buffers(), strict=True):
        pairs[name] = (mine, theirs)
    with torch.no_grad():
        return {
            name: float((mine.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1e-9))
            for name, (mine, theirs) in pairs.items()
        }


def compiled_is_the_same() -> bool:
    """Whether torch.compile takes the layer in whole, forward and backward, without changing a bit."""
    results = []
    for compiled in (False, True):
        norm, y = layer(6), torch.randn(2, 6, 4, 5, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        call = torch.compile(norm.rectified, backend="aot_eager", fullgraph=True) if compiled else norm.rectified
        out = call(y)
        out.square().sum().backward()
        results.append([out.detach(), y.grad, *(p.grad for p in norm.parameters()), *norm.buffers()])
    return all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def not_a_number_stays() -> bool:
    """Whether a value that is not finite shows in the result, as after torch's ReLU."""
    y = torch.randn(1, 2, 3, 4, 4)
    y[0, 0, 0, 0, 0] = float("nan")
    out = layer(2).rectified(y)
    return bool(out[:, 0].isnan().all()) and bool(out[:, 1].isfinite().all())


def custom_operations_are_sound() -> None:
    """torch's own checks of an operation: its shapes without values, its gradient, that it changes no input."""
    y = torch.randn(2, 3, 4, 2, 2).contiguous(memory_format=LAST).requires_grad_()
    parameters = torch.randn(4, 3, requires_grad=True)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(torch.ops.tada.aggregate, (y, parameters, 1e-5), test_utils=checks)
    assert fused.can_aggregate(y)
    assert not fused.can_aggregate(torch.zeros(1, 3, 1, 1, 1))
