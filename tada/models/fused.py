"""Eq. 7 in training with few passes over memory: `ReLU(BN1(y) + BN2(pool(y)))` as Triton kernels for GPUs.

The pool is the average over three frames. PyTorch's own operations read and write a tensor of y's size a dozen times,
forward and backward; here the forward pass reads y twice and writes the result, and the backward pass reads y and the
gradient twice and writes y's gradient. Nothing but y and a few numbers for each channel is kept in between: neither
pooled frames nor the result, whose sign is worked out again.

Each program of a kernel owns a few positions and channels of one clip and walks over its frames, so that every frame
is read once though the pool needs its neighbours. `tada.models.blocks.AggregatedNorm` says when all of this is used.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

_INTERPRETED = triton.knobs.runtime.interpret  # by TRITON_INTERPRET=1, on any device

_NUMBERS = 2048  # that a program holds of a frame: a few in each thread of four warps


@triton.jit
def _frame(x, clip, t, rows, columns, frames, size, channels, inside):
    """Values of frame `t` at some positions and channels of a clip; zeros beyond the clip's ends."""
    place = ((clip * frames + t) * size + rows)[:, None] * channels + columns[None, :]
    return tl.load(x + place, mask=inside & (t >= 0) & (t < frames), other=0.0).to(tl.float32)


@triton.jit
def _tile(size, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The clip, the positions and the channels of this program, and which of them there are."""
    blocks = tl.cdiv(size, ROWS)
    clip = (tl.program_id(0) // blocks).to(tl.int64)
    rows = (tl.program_id(0) % blocks) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    return clip, rows, columns, (rows < size)[:, None] & (columns < channels)[None, :]


@triton.jit
def _of_channels(x, number, columns, channels):
    """Numbers of these channels, to go with all positions: those of line `number` of `x`, [.., channels]."""
    return tl.load(x + number * channels + columns, mask=columns < channels, other=0.0)[None, :]


@triton.jit
def _store_sum(partial, number, of, values, columns, channels):
    """The sum of this program's values for each channel, as the given one `of` so many numbers."""
    place = (tl.program_id(0) * of + number) * channels + columns
    tl.store(partial + place, tl.sum(values, 0), mask=columns < channels)


@triton.jit
def _statistics(y, shifts, partial, frames, size, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Sums of y and pool(y), less the `shifts` of each, and of their squares: four numbers for each channel."""
    clip, rows, columns, inside = _tile(size, channels, ROWS, COLUMNS)
    off = _of_channels(shifts, 0, columns, channels)
    pooled_off = _of_channels(shifts, 1, columns, channels)
    first = tl.zeros((ROWS, COLUMNS), tl.float32)
    second, pooled_first, pooled_second, before = first, first, first, first
    here = _frame(y, clip, 0, rows, columns, frames, size, channels, inside)
    for t in range(frames):
        after = _frame(y, clip, t + 1, rows, columns, frames, size, channels, inside)
        value = tl.where(inside, here - off, 0.0)
        pooled = tl.where(inside, (before + here + after) / 3 - pooled_off, 0.0)
        first += value
        second += value * value
        pooled_first += pooled
        pooled_second += pooled * pooled
        before, here = here, after
    _store_sum(partial, 0, 4, first, columns, channels)
    _store_sum(partial, 1, 4, second, columns, channels)
    _store_sum(partial, 2, 4, pooled_first, columns, channels)
    _store_sum(partial, 3, 4, pooled_second, columns, channels)


@triton.jit
def _normalise(y, out, affine, frames, size, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """ReLU of `a y + b pool(y) + c`; `affine` holds a, b and c of each channel."""
    clip, rows, columns, inside = _tile(size, channels, ROWS, COLUMNS)
    a = _of_channels(affine, 0, columns, channels)
    b = _of_channels(affine, 1, columns, channels)
    c = _of_channels(affine, 2, columns, channels)
    before = tl.zeros((ROWS, COLUMNS), tl.float32)
    here = _frame(y, clip, 0, rows, columns, frames, size, channels, inside)
    for t in range(frames):
        after = _frame(y, clip, t + 1, rows, columns, frames, size, channels, inside)
        value = a * here + b * ((before + here + after) / 3) + c
        place = ((clip * frames + t) * size + rows)[:, None] * channels + columns[None, :]
        # Written so that what is not a number stays none, as in torch's ReLU.
        tl.store(out + place, tl.where(value <= 0, 0.0, value).to(out.dtype.element_ty), mask=inside)
        before, here = here, after


@triton.jit
def _gradient_sums(
    y, gradient, affine, means, partial, frames, size, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Sums of the gradient before ReLU, and of its products with centred y and pool(y): three numbers for each."""
    clip, rows, columns, inside = _tile(size, channels, ROWS, COLUMNS)
    a = _of_channels(affine, 0, columns, channels)
    b = _of_channels(affine, 1, columns, channels)
    c = _of_channels(affine, 2, columns, channels)
    mean = _of_channels(means, 0, columns, channels)
    pooled_mean = _of_channels(means, 1, columns, channels)
    plain = tl.zeros((ROWS, COLUMNS), tl.float32)
    product, pooled_product, before = plain, plain, plain
    here = _frame(y, clip, 0, rows, columns, frames, size, channels, inside)
    for t in range(frames):
        after = _frame(y, clip, t + 1, rows, columns, frames, size, channels, inside)
        pooled = (before + here + after) / 3
        g = _frame(gradient, clip, t, rows, columns, frames, size, channels, inside)
        g = tl.where(a * here + b * pooled + c <= 0, 0.0, g)
        plain += g
        product += g * (here - mean)
        pooled_product += g * (pooled - pooled_mean)
        before, here = here, after
    _store_sum(partial, 0, 3, plain, columns, channels)
    _store_sum(partial, 1, 3, product, columns, channels)
    _store_sum(partial, 2, 3, pooled_product, columns, channels)


@triton.jit
def _gradient(y, gradient, affine, factors, out, frames, size, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Gradient of y: `a g - p - q y`, and the pool of `b g - r - s pool(y)`, as the pool is its own adjoint.

    `g` is the gradient before ReLU; `factors` holds p, q, r and s of each channel. A step works out what frame t + 1
    gives to its neighbours, and writes frame t.
    """
    clip, rows, columns, inside = _tile(size, channels, ROWS, COLUMNS)
    a = _of_channels(affine, 0, columns, channels)
    b = _of_channels(affine, 1, columns, channels)
    c = _of_channels(affine, 2, columns, channels)
    p = _of_channels(factors, 0, columns, channels)
    q = _of_channels(factors, 1, columns, channels)
    r = _of_channels(factors, 2, columns, channels)
    s = _of_channels(factors, 3, columns, channels)
    before = tl.zeros((ROWS, COLUMNS), tl.float32)
    direct, given_before, given_here = before, before, before
    here = _frame(y, clip, 0, rows, columns, frames, size, channels, inside)
    for t in range(-1, frames):
        after = _frame(y, clip, t + 2, rows, columns, frames, size, channels, inside)
        pooled = (before + here + after) / 3
        g = _frame(gradient, clip, t + 1, rows, columns, frames, size, channels, inside)
        g = tl.where(a * here + b * pooled + c <= 0, 0.0, g)
        given_after = tl.where(t + 1 < frames, b * g - r - s * pooled, 0.0)
        place = ((clip * frames + t) * size + rows)[:, None] * channels + columns[None, :]
        value = direct + (given_before + given_here + given_after) / 3
        tl.store(out + place, value.to(out.dtype.element_ty), mask=inside & (t >= 0))
        direct = a * g - p - q * here
        before, here = here, after
        given_before, given_here = given_here, given_after


def _grid(y: Tensor) -> tuple[tuple[int, int], int, int]:
    """Programs over the clips and positions of `y`, and over its channels; positions and channels of each."""
    columns = min(64, triton.next_power_of_2(y.shape[1]))
    rows = _NUMBERS // columns
    programs = y.shape[0] * triton.cdiv(y.shape[3] * y.shape[4], rows)
    return (programs, triton.cdiv(y.shape[1], columns)), rows, columns


def _launch(kernel: Any, y: Tensor, *arguments: Tensor) -> None:
    """Start a kernel over all positions, clips and channels of `y`."""
    grid, rows, columns = _grid(y)
    kernel[grid](y, *arguments, y.shape[2], y.shape[3] * y.shape[4], y.shape[1], ROWS=rows, COLUMNS=columns)


def _sums(kernel: Any, y: Tensor, *arguments: Tensor, numbers: int) -> Tensor:
    """What a kernel sums over clips, frames and positions: float64 [numbers, C]."""
    (programs, _), _, _ = _grid(y)
    partial = y.new_empty((programs, numbers, y.shape[1]), dtype=torch.float32)
    _launch(kernel, y, *arguments, partial)
    return partial.sum(0, dtype=torch.float64)


def _affine(parameters: Tensor, means: Tensor, deviations: Tensor) -> Tensor:
    """Factors of y and of pool(y), and what is added, of both batch norms together: float32 [3, C]."""
    weights, biases = parameters[0::2].double(), parameters[1::2].double()
    scales = weights / deviations
    return torch.cat([scales, (biases - scales * means).sum(0, keepdim=True)]).float()


@torch.library.custom_op("tada::aggregate", mutates_args=())
def _aggregate(y: Tensor, parameters: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The result, and means and biased variances of y and pool(y), float64 [2, C]."""
    # Near the means, so that no digits are lost where these are large; a zero beyond each end counts in the pool.
    sample = y[0, :, 0, 0, 0].float()
    shifts = torch.stack([sample, sample * (1 - 2 / (3 * y.shape[2]))])
    count = y.numel() // y.shape[1]
    first, second, pooled_first, pooled_second = _sums(_statistics, y, shifts, numbers=4) / count
    offsets = torch.stack([first, pooled_first])
    variances = (torch.stack([second, pooled_second]) - offsets.square()).clamp(min=0)
    means = offsets + shifts
    out = torch.empty_like(y)
    _launch(_normalise, y, out, _affine(parameters, means, (variances + eps).sqrt()))
    return out, means, variances


@_aggregate.register_fake
def _(y: Tensor, parameters: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    statistics = y.new_empty((2, y.shape[1]), dtype=torch.float64)
    return torch.empty_like(y), statistics, torch.empty_like(statistics)


@torch.library.custom_op("tada::aggregate_backward", mutates_args=())
def _aggregate_backward(
    gradient: Tensor, y: Tensor, parameters: Tensor, means: Tensor, variances: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Gradients of y and of the parameters."""
    count, deviations = y.numel() // y.shape[1], (variances + eps).sqrt()
    affine = _affine(parameters, means, deviations)
    total, *products = _sums(_gradient_sums, y, gradient, affine, means.float(), numbers=3)
    to_weights = torch.stack(products) / deviations
    scales = parameters[0::2].double() / deviations
    slopes = scales * to_weights / deviations / count  # of y and pool(y)
    constants = scales * total / count - slopes * means
    factors = torch.stack([constants[0], slopes[0], constants[1], slopes[1]]).float()
    to_y = torch.empty_like(y)
    _launch(_gradient, y, gradient, affine, factors, to_y)
    return to_y, torch.stack([to_weights[0], total, to_weights[1], total]).to(parameters.dtype)


@_aggregate_backward.register_fake
def _(
    gradient: Tensor, y: Tensor, parameters: Tensor, means: Tensor, variances: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(y), torch.empty_like(parameters)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    y, parameters, ctx.eps = inputs
    ctx.save_for_backward(y, parameters, *output[1:])


def _backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:
    y, *others = ctx.saved_tensors
    # The kernels walk over both in the same steps.
    gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
    return *torch.ops.tada.aggregate_backward(gradient, y, *others, ctx.eps), None


torch.library.register_autograd("tada::aggregate", _backward, setup_context=_save)


def can_aggregate(y: Tensor) -> bool:
    """Whether `y` `[N, C, T, H, W]` lies where Triton's kernels run and has values enough for a variance."""
    return (y.is_cuda or _INTERPRETED) and y.numel() > y.shape[1]


def aggregate(y: Tensor, plain: nn.BatchNorm3d, pooled: nn.BatchNorm3d) -> Tensor:
    """`ReLU(plain(y) + pooled(pool(y)))` in training mode; both norms' running statistics are brought up to date.

    Args:
        y: `[N, C, T, H, W]`, float32, bfloat16 or float16, on a GPU.
        plain: the batch norm of y, of C channels, in training mode, with weight, bias and running statistics.
        pooled: that of y's average over frames t-1 to t+1, zeros beyond the ends; its eps is the first one's.

    Returns:
        Of y's shape and type, in memory with the channels last. It can be differentiated once.
    """
    y = y.contiguous(memory_format=torch.channels_last_3d)
    parameters = torch.stack([plain.weight, plain.bias, pooled.weight, pooled.bias])
    out, means, variances = torch.ops.tada.aggregate(y, parameters, plain.eps)
    count = y.numel() // y.shape[1]
    with torch.no_grad():
        for norm, mean, variance in zip((plain, pooled), means, variances, strict=True):
            assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
            unbiased = variance * (count / (count - 1))
            norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
    return out
