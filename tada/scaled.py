"""The convolution of scaled frames, `W * (α_t · x_t)`, that keeps no scaled copy of its input while a network trains.

Left to autograd, the scaled frames stay in memory until the backward pass, and the products with which it computes the
gradients are as large again. Here the backward pass scales the frames anew, lets them go before the next large tensor
is made, and works out the two gradients of the scaling piece by piece, in the place where one of them will stand.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_PIECE = {"cpu": 2**18}  # numbers that the second-level cache of a processor core holds
_LARGE_PIECE = 2**24  # elsewhere, starting an operation costs more than memory that is soon free again

Geometry = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
"""Stride, padding, dilation and groups of a 2D convolution."""


def convolve_scaled(
    frames: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, overwrite: bool = False
) -> Tensor:
    """2D convolution of `frames` `[B, Cin, H, W]`, each channel of each frame times its `alpha` `[B, Cin]` before.

    With `overwrite`, and where no gradients are recorded, the frames are scaled in place.
    """
    if overwrite and not torch.is_grad_enabled():
        return F.conv2d(frames.mul_(alpha[..., None, None]), weight, bias, *geometry)
    if torch.is_grad_enabled() and not (torch.jit.is_tracing() or torch.compiler.is_compiling()):
        device = frames.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            kind = torch.get_autocast_dtype(device)  # autocast does not look into the function below
            frames, alpha, weight = frames.to(kind), alpha.to(kind), weight.to(kind)
            bias = None if bias is None else bias.to(kind)
        return _ConvolveScaled.apply(frames, alpha, weight, bias, geometry)
    return _convolve(frames, alpha, weight, bias, geometry)


def _convolve(frames: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    return F.conv2d(frames * alpha[..., None, None], weight, bias, *geometry)


class _ConvolveScaled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, frames: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(frames, alpha, weight, bias)
        ctx.geometry = geometry
        return _convolve(frames, alpha, weight, bias, geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        frames, alpha, weight, bias = ctx.saved_tensors
        needed = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted: leave it to autograd after all
            inputs = [value for value, wanted in zip(ctx.saved_tensors, needed, strict=True) if wanted]
            again = _convolve(frames, alpha, weight, bias, ctx.geometry)
            found = iter(torch.autograd.grad(again, inputs, gradient, create_graph=True))
            return *(next(found) if wanted else None for wanted in needed), None
        to_frames = to_alpha = to_weight = to_bias = None
        if needed[2] or needed[3]:
            scaled = frames * alpha[..., None, None]
            _, to_weight, to_bias = _gradients(gradient, scaled, weight, bias, ctx.geometry, (False, *needed[2:]))
            del scaled
        if needed[0] or needed[1]:
            to_frames, _, _ = _gradients(gradient, frames, weight, bias, ctx.geometry, (True, False, False))
            to_alpha = torch.empty_like(alpha)
            step = max(1, _PIECE.get(frames.device.type, _LARGE_PIECE) // frames[0].numel())
            for piece in (slice(first, first + step) for first in range(0, len(frames), step)):
                to_alpha[piece] = (to_frames[piece] * frames[piece]).sum((2, 3))
                to_frames[piece] *= alpha[piece, :, None, None]
        return to_frames, to_alpha, to_weight, to_bias, None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Gradients of a plain 2D convolution for its input, weight and bias, those that are `wanted`."""
    stride, padding, dilation, groups = geometry
    sizes = None if bias is None else list(bias.shape)
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, sizes, stride, padding, dilation, False, (0, 0), groups, wanted
    )
