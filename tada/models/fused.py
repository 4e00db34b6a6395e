"""Temporal aggregation in few passes over memory, for training in bfloat16 under `torch.compile` on a GPU.

There, what counts is how often a large tensor is read or written. `aggregate` computes `ReLU(BN1(y) + BN2(pool(y)))`
(Eq. 7) by Triton kernels, which walk through a clip with the neighbouring frames in registers: the pooled frames are
never stored, neither forward nor backward, and there are as many passes as for a batch norm alone.

Without Triton, on a CPU, uncompiled or in evaluation the layers do their work one by one (`aggregates`).
"""

import os
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

# Triton takes a while to import, and is of use on a GPU alone; its interpreter, for tests, runs anywhere.
AVAILABLE = find_spec("triton") is not None and (torch.cuda.is_available() or "TRITON_INTERPRET" in os.environ)

CHANNELS = 64  # that a program of a Triton kernel treats at a time

# Positions of a frame that it treats at a time, and programs that share the sums over a tensor, as measured on an H200.
SUMS, GRADIENT_SUMS = (32, 264), (8, 528)
APPLY, GRADIENT = 16, 8

if AVAILABLE:
    import triton
    import triton.language as tl

    @triton.jit
    def _frame(tensor, clip, t: tl.constexpr, place, channel, there, area, C: tl.constexpr, T: tl.constexpr):
        """Frame t of a clip at some places and channels, as float32; zeros beyond the clip's end."""
        if t < T:
            row = (clip * T + t).to(tl.int64) * area + place
            values = tl.load(tensor + row[:, None] * C + channel[None, :], mask=there, other=0.0).to(tl.float32)
        else:
            values = tl.zeros(there.shape, tl.float32)
        return values

    @triton.jit
    def _row(tensor, number: tl.constexpr, channel, C: tl.constexpr):
        return tl.load(tensor + number * C + channel, mask=channel < C, other=0.0)[None, :]

    @triton.jit
    def _sums(y, means, out, blocks, area, C: tl.constexpr, T: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
        channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
        m = _row(means, 0, channel, C)
        s0 = tl.zeros((ROWS, WIDTH), tl.float32)
        s1, s2, s3 = s0, s0, s0
        parts = tl.cdiv(area, ROWS)
        for block in range(tl.program_id(0), blocks, tl.num_programs(0)):
            clip, place = block // parts, block % parts * ROWS + tl.arange(0, ROWS)
            there = (place < area)[:, None] & (channel < C)[None, :]
            before = tl.zeros((ROWS, WIDTH), tl.float32)
            now = _frame(y, clip, 0, place, channel, there, area, C, T)
            for t in tl.static_range(T):
                after = _frame(y, clip, t + 1, place, channel, there, area, C, T)
                own = tl.where(there, now - m, 0.0)
                pooled = tl.where(there, (before + now + after) / 3 - m, 0.0)
                s0 += own
                s1 += own * own
                s2 += pooled
                s3 += pooled * pooled
                before, now = now, after
        to = out + tl.program_id(0) * 4 * C + channel
        tl.store(to, tl.sum(s0, 0), mask=channel < C)
        tl.store(to + C, tl.sum(s1, 0), mask=channel < C)
        tl.store(to + 2 * C, tl.sum(s2, 0), mask=channel < C)
        tl.store(to + 3 * C, tl.sum(s3, 0), mask=channel < C)

    @triton.jit
    def _apply(y, factors, out, area, C: tl.constexpr, T: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
        channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
        a, b, c = _row(factors, 0, channel, C), _row(factors, 1, channel, C), _row(factors, 2, channel, C)
        parts = tl.cdiv(area, ROWS)
        clip, place = tl.program_id(0) // parts, tl.program_id(0) % parts * ROWS + tl.arange(0, ROWS)
        there = (place < area)[:, None] & (channel < C)[None, :]
        before = tl.zeros((ROWS, WIDTH), tl.float32)
        now = _frame(y, clip, 0, place, channel, there, area, C, T)
        for t in tl.static_range(T):
            after = _frame(y, clip, t + 1, place, channel, there, area, C, T)
            value = tl.maximum(a * now + b * ((before + now + after) / 3) + c, 0.0)
            row = (clip * T + t).to(tl.int64) * area + place
            tl.store(out + row[:, None] * C + channel[None, :], value.to(out.dtype.element_ty), mask=there)
            before, now = now, after

    @triton.jit
    def _gradient_sums(
        d,
        y,
        factors,
        out,
        blocks,
        area,
        C: tl.constexpr,
        T: tl.constexpr,
        ROWS: tl.constexpr,
        WIDTH: tl.constexpr,
    ):
        channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
        a, b, c = _row(factors, 0, channel, C), _row(factors, 1, channel, C), _row(factors, 2, channel, C)
        m1, m2 = _row(factors, 3, channel, C), _row(factors, 4, channel, C)
        s0 = tl.zeros((ROWS, WIDTH), tl.float32)
        s1, s2 = s0, s0
        parts = tl.cdiv(area, ROWS)
        for block in range(tl.program_id(0), blocks, tl.num_programs(0)):
            clip, place = block // parts, block % parts * ROWS + tl.arange(0, ROWS)
            there = (place < area)[:, None] & (channel < C)[None, :]
            before = tl.zeros((ROWS, WIDTH), tl.float32)
            now = _frame(y, clip, 0, place, channel, there, area, C, T)
            for t in tl.static_range(T):
                after = _frame(y, clip, t + 1, place, channel, there, area, C, T)
                pooled = (before + now + after) / 3
                g = _frame(d, clip, t, place, channel, there, area, C, T)
                g = tl.where(a * now + b * pooled + c > 0, g, 0.0)
                s0 += g
                s1 += g * (now - m1)
                s2 += g * (pooled - m2)
                before, now = now, after
        to = out + tl.program_id(0) * 3 * C + channel
        tl.store(to, tl.sum(s0, 0), mask=channel < C)
        tl.store(to + C, tl.sum(s1, 0), mask=channel < C)
        tl.store(to + 2 * C, tl.sum(s2, 0), mask=channel < C)

    @triton.jit
    def _gradient(d, y, factors, out, area, C: tl.constexpr, T: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
        channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
        a, b, c = _row(factors, 0, channel, C), _row(factors, 1, channel, C), _row(factors, 2, channel, C)
        c1, e1 = _row(factors, 3, channel, C), _row(factors, 4, channel, C)
        c2, e2 = _row(factors, 5, channel, C), _row(factors, 6, channel, C)
        parts = tl.cdiv(area, ROWS)
        clip, place = tl.program_id(0) // parts, tl.program_id(0) % parts * ROWS + tl.arange(0, ROWS)
        there = (place < area)[:, None] & (channel < C)[None, :]
        own = tl.zeros((ROWS, WIDTH), tl.float32)  # the gradient of frame t through BN1
        q0, q1 = own, own  # those of pooled frames t-1 and t through BN2
        before = own
        now = _frame(y, clip, 0, place, channel, there, area, C, T)
        for t in tl.static_range(T + 1):  # reads frame t, writes frame t-1
            q2, following = tl.zeros((ROWS, WIDTH), tl.float32), own
            after = _frame(y, clip, t + 1, place, channel, there, area, C, T)
            if t < T:
                pooled = (before + now + after) / 3
                g = _frame(d, clip, t, place, channel, there, area, C, T)
                g = tl.where(a * now + b * pooled + c > 0, g, 0.0)
                q2 = b * g - e2 * pooled - c2
                following = a * g - e1 * now - c1
            if t > 0:
                value = own + (q0 + q1 + q2) / 3
                row = (clip * T + t - 1).to(tl.int64) * area + place
                tl.store(out + row[:, None] * C + channel[None, :], value.to(out.dtype.element_ty), mask=there)
            own, q0, q1, before, now = following, q1, q2, now, after


def _dense(y: Tensor) -> Tensor:
    """Channels last, as the kernels read it; no copy where it is already."""
    return y.contiguous(memory_format=torch.channels_last_3d)


def _grid(y: Tensor, rows: int, most: int | None = None) -> tuple[tuple[int, int], int, int, dict[str, int]]:
    """Programs along blocks and channels, blocks, positions of a frame, and the sizes that kernels are compiled for."""
    clips, channels, frames, height, width = y.shape
    rows = triton.next_power_of_2(min(rows, height * width))
    blocks = clips * triton.cdiv(height * width, rows)
    across = triton.cdiv(channels, CHANNELS)
    programs = blocks if most is None else max(1, min(blocks, most // across))
    sizes = {"C": channels, "T": frames, "ROWS": rows, "WIDTH": triton.next_power_of_2(min(channels, CHANNELS))}
    return (programs, across), blocks, height * width, sizes


@torch.library.custom_op("tada::aggregation_sums", mutates_args=())
def aggregation_sums(y: Tensor, shift: Tensor) -> Tensor:
    """Sums of y, y², pool(y) and pool(y)², all less `shift` [C], in parts that remain to be added, [parts, 4, C]."""
    grid, blocks, area, sizes = _grid(y, *SUMS)
    out = torch.empty(grid[0], 4, y.shape[1], device=y.device)
    _sums[grid](_dense(y), shift, out, blocks, area, **sizes)
    return out


@aggregation_sums.register_fake
def _(y: Tensor, shift: Tensor) -> Tensor:
    return torch.empty(_grid(y, *SUMS)[0][0], 4, y.shape[1], device=y.device)


@torch.library.custom_op("tada::aggregation_apply", mutates_args=())
def aggregation_apply(y: Tensor, factors: Tensor) -> Tensor:
    """`ReLU(a y + b pool(y) + c)` for `factors` a, b, c, [3, C]."""
    grid, _, area, sizes = _grid(y, APPLY)
    out = torch.empty_like(y, memory_format=torch.channels_last_3d)
    _apply[grid](_dense(y), factors, out, area, **sizes)
    return out


@aggregation_apply.register_fake
def _(y: Tensor, factors: Tensor) -> Tensor:
    return torch.empty_like(y, memory_format=torch.channels_last_3d)


@torch.library.custom_op("tada::aggregation_gradient_sums", mutates_args=())
def aggregation_gradient_sums(d: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    """Sums of g, g (y - m1) and g (pool(y) - m2), g being `d` where the ReLU lets it through, [parts, 3, C].

    `factors` are a, b, c as in `aggregation_apply`, m1 and m2, [5, C].
    """
    grid, blocks, area, sizes = _grid(y, *GRADIENT_SUMS)
    out = torch.empty(grid[0], 3, y.shape[1], device=y.device)
    _gradient_sums[grid](_dense(d), _dense(y), factors, out, blocks, area, **sizes)
    return out


@aggregation_gradient_sums.register_fake
def _(d: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    return torch.empty(_grid(y, *GRADIENT_SUMS)[0][0], 3, y.shape[1], device=y.device)


@torch.library.custom_op("tada::aggregation_gradient", mutates_args=())
def aggregation_gradient(d: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    """`a g - e1 y - c1 + pool(b g - e2 pool(y) - c2)` for `factors` a, b, c, c1, e1, c2, e2, [7, C]."""
    grid, _, area, sizes = _grid(y, GRADIENT)
    out = torch.empty_like(y, memory_format=torch.channels_last_3d)
    _gradient[grid](_dense(d), _dense(y), factors, out, area, **sizes)
    return out


@aggregation_gradient.register_fake
def _(d: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    return torch.empty_like(y, memory_format=torch.channels_last_3d)


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, moments: Tensor) -> Tensor:
        m1, r1, m2, r2 = moments
        factors = torch.stack([w1 * r1, w2 * r2, b1 - w1 * r1 * m1 + b2 - w2 * r2 * m2])
        ctx.save_for_backward(y, factors, moments)
        return aggregation_apply(y, factors)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, factors, (m1, r1, m2, r2) = ctx.saved_tensors
        d = gradient[0]
        given = torch.cat([factors, torch.stack([m1, m2])])
        s0, s1, s2 = aggregation_gradient_sums(d, y, given).sum(0)
        count = y.numel() // y.shape[1]
        a, b, _ = factors
        e1, e2 = a * r1 * r1 * s1 / count, b * r2 * r2 * s2 / count
        given = torch.stack([*factors, a * s0 / count - e1 * m1, e1, b * s0 / count - e2 * m2, e2])
        return aggregation_gradient(d, y, given), r1 * s1, s0, r2 * s2, s0, None


def aggregate(y: Tensor, norm: Any) -> Tensor:
    """`ReLU(norm(y))` while training, running statistics included.

    Args:
        y: `[N, C, T, H, W]`, channels-last.
        norm: an `AggregatedNorm` with a separate batch norm of the average over frames.
    """
    with torch.no_grad():
        count = y.numel() // y.shape[1]
        shift = y[0, :, 0, 0, 0].float()  # near the mean, so that variances are no differences of large numbers
        s0, s1, s2, s3 = aggregation_sums(y, shift).sum(0) / count
        found = []
        for each, first, second in ((norm, s0, s1), (norm.pooled, s2, s3)):
            mean, variance = first + shift, (second - first * first).clamp(min=0)
            _track(each, mean, variance, count)
            found += [mean, (variance + each.eps).rsqrt()]
        moments = torch.stack(found)
    return _Aggregate.apply(y, norm.weight, norm.bias, norm.pooled.weight, norm.pooled.bias, moments)


def _track(norm: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update running statistics as a batch norm does."""
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)


def aggregates(y: Tensor, norm: nn.Module) -> bool:
    """Whether `aggregate` can take the place of `norm` (an `AggregatedNorm`, if so) and its ReLU on `y`."""
    return (
        AVAILABLE
        and torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and norm.training
        and getattr(norm, "pooled", None) is not None
        and norm.pool == "avg"
        and y.is_cuda
        and y.dtype == torch.bfloat16  # float32 has not been measured
        and y.is_contiguous(memory_format=torch.channels_last_3d)
    )
