"""Temporally-adaptive convolutions: section 3 of the paper in one file.

The kernel of output frame t is `W_t = α_t · W` (Eq. 3): one shared kernel `W`, calibrated per frame by weights
`α_t = 1 + F(x)` (Eq. 6) that a small function of the frames around t and of the whole clip emits.

No kernel per frame is ever built. A calibration of input channels scales the input, one of output channels scales the
output, and one of the kernel's taps scales an input in which every output position has its own copy of what it sees:
the same function around a single shared convolution, at a fraction of the time and memory.

Departures from the paper's text, after the authors' released code:

- the linear map of the global descriptor is added *before* the first local convolution, `F(v + FC(g))`, where Eq. 5
  prints it after. The local convolution's zero padding at the clip's ends therefore sees it;
- the first of two local convolutions has a bias, the last has none (a linear calibration has just the last).

The convolution of scaled frames, `W * (α_t · x_t)`, that keeps no scaled copy of its input while a network trains.

Left to autograd, the scaled frames stay in memory until the backward pass, and the products with which it computes the
gradients are as large again. Here the backward pass scales the frames anew, lets them go before the next large tensor
is made, and works out the two gradients of the scaling piece by piece, in the place where one of them will stand.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tada.base.errors import TadaError, unknown

DIMENSIONS = ("cin", "cout", "cin-cout", "k2")


class Calibration(nn.Module):
    """The weight generation function `G` of Eqs. 4 to 6 on frame descriptors, `v [N, T, C] -> α [N, T, emitted]`.

    With two `kernels` it is non-linear: `Conv1d(C -> C/r)`, batch norm, ReLU, `Conv1d(C/r -> emitted)`. With one it is
    linear: a single `Conv1d(C -> emitted)`. The last convolution starts at zero, so that α starts at exactly 1.

    Args:
        channels: `C`, channels of the input.
        emitted: length of α for each frame.
        kernels: temporal kernel size of each layer, odd: the `K` of Table 3a.
        global_context: whether the clip's mean descriptor is added to each frame's (the `G` of Table 3a).
        reduction: `r`, by which the hidden layer is narrower than the input.
    """

    def __init__(
        self,
        channels: int,
        emitted: int,
        kernels: Sequence[int] = (3, 3),
        global_context: bool = True,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        if len(kernels) not in (1, 2) or any(k < 1 or k % 2 == 0 for k in kernels):
            raise TadaError(f"calibration kernels {list(kernels)}: expected one (linear) or two (non-linear) odd sizes")
        self.global_fc = nn.Linear(channels, channels) if global_context else None
        hidden = channels
        self.reduce = self.norm = None
        if len(kernels) == 2:
            hidden = max(channels // reduction, 1)
            self.reduce = _FrameConv(channels, hidden, kernels[0])
            self.norm = nn.BatchNorm1d(hidden)
        self.emit = _FrameConv(hidden, emitted, kernels[-1], bias=False)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Kaiming-normal (fan out) weights and zero biases; zero weights in the last layer (section 3.2)."""
        for layer in (self.global_fc, self.reduce):
            if layer is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.emit.weight)

    def forward(self, descriptors: Tensor) -> Tensor:
        """α for every frame."""
        context = descriptors
        if self.global_fc is not None:
            context = context + self.global_fc(context.mean(1, keepdim=True))
        if self.reduce is not None:
            context = self.reduce(context)
            context = F.relu(self.norm(context.flatten(0, 1)).view_as(context))
        return 1 + self.emit(context)


class _FrameConv(nn.Conv1d):
    """`nn.Conv1d` over frame descriptors `[N, T, C]`, zeros beyond the ends, as the small matrix product that it is."""

    def __init__(self, channels: int, out: int, kernel: int, bias: bool = True) -> None:
        super().__init__(channels, out, kernel, bias=bias)

    def forward(self, descriptors: Tensor) -> Tensor:
        kernel = self.kernel_size[0]
        near = F.pad(descriptors, (0, 0, kernel // 2, kernel // 2)).unfold(1, kernel, 1)  # [N, T, C, kernel]
        return F.linear(near.flatten(2), self.weight.flatten(1), self.bias)


class VideoConv(nn.Conv3d):
    """`nn.Conv3d` on `[N, C, T, H, W]`, executed in the form that runs fastest; values are the same up to rounding.

    A 1xkxk kernel runs as a 2D convolution over all frames at once, a kx1x1 kernel as one over (time, space). Both
    views are free where the memory format is channels-last. TAdaConv runs its shared kernel in the very same form.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The plain convolution."""
        return self.convolve(x, self.bias, self.stride, self.padding, self.dilation)

    def convolve(self, x: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple) -> Tensor:
        """This layer's weight over `x`, with the geometry that is given (each a triple for time, height, width)."""
        depth, *area = self.weight.shape[2:]
        if depth == 1 and stride[0] == 1 and padding[0] == 0:
            y = F.conv2d(
                merged_frames(x), self.weight.squeeze(2), bias, stride[1:], padding[1:], dilation[1:], self.groups
            )
            return split_frames(y, x.shape[0])
        if area == [1, 1] and stride[1:] == (1, 1) and padding[1:] == (0, 0):
            stride, padding, dilation = (stride[0], 1), (padding[0], 0), (dilation[0], 1)
            y = F.conv2d(merged_space(x), self.weight.squeeze(4), bias, stride, padding, dilation, self.groups)
            return split_space(y, x.shape[3:])
        return F.conv3d(x, self.weight, bias, stride, padding, dilation, self.groups)


class TAdaConv3d(VideoConv):
    """TAdaConv with a kxkxk kernel on `[N, Cin, T, H, W]`: output frame t is convolved with `α_t · W`.

    Takes the place of `nn.Conv3d` and, at initialisation, equals it. Geometry arguments are those of `nn.Conv3d`; in
    time the padding must keep one output frame for each `stride`-th input frame, whose α is then used.

    Args:
        dimension: what α calibrates (Table 4): "cin" input channels, "cout" output channels, "cin-cout" both, or "k2"
            the taps of the kernel.
        proportion: share of the calibrated channels (Figure 3), the first `max(1, round(proportion * channels))`; the
            context is always that of all channels.
        kernels, global_context, reduction: of the `Calibration`.

    Raises:
        TadaError: an unknown dimension, a proportion outside (0, 1] or of taps, or a geometry that is not supported.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: int | tuple[int, int, int] = 0,
        dilation: int | tuple[int, int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dimension: str = "cin",
        proportion: float = 1.0,
        kernels: Sequence[int] = (3, 3),
        global_context: bool = True,
        reduction: int = 4,
    ) -> None:
        _refuse_named_padding(padding)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        frames, needed = self.kernel_size[0], self.dilation[0] * (self.kernel_size[0] - 1) / 2
        if self.padding[0] != needed:
            raise TadaError(
                f"{type(self).__name__}: a kernel of {frames} frames, dilation {self.dilation[0]}, needs a temporal "
                f"padding of {needed:g}, not {self.padding[0]}, so that every output frame has an α"
            )
        if dimension not in DIMENSIONS:
            raise unknown("calibration dimension", dimension, DIMENSIONS)
        if not 0 < proportion <= 1 or (dimension == "k2" and proportion != 1):
            raise TadaError(f"proportion {proportion} of {dimension}: expected a share of channels above 0, at most 1")
        self.dimension, self.proportion = dimension, proportion
        self.overwrite = False  # the input may be scaled in place: see `benchmarks.folding`
        self._inputs = max(1, round(proportion * in_channels)) if dimension in ("cin", "cin-cout") else 0
        self._outputs = max(1, round(proportion * out_channels)) if dimension in ("cout", "cin-cout") else 0
        emitted = math.prod(self.kernel_size) if dimension == "k2" else self._inputs + self._outputs
        self.calibration = Calibration(in_channels, emitted, kernels, global_context, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Eq. 3 for every frame: `[N, Cin, T, H, W] -> [N, Cout, T', H', W']`."""
        check_input(x, self.in_channels)
        frames = merged_frames(x)
        alpha = self.calibration(frame_descriptors(frames, x.shape[0]))[:, :: self.stride[0]]
        if self.dimension == "k2":
            return self._convolve_scaled_taps(x, alpha)
        inputs = _with_ones(alpha[..., : self._inputs], self.in_channels)
        outputs = _with_ones(alpha[..., self._inputs :], self.out_channels)
        if not self._inputs:
            y = super().forward(x)
        elif self.kernel_size[0] == 1:
            y = self._convolve_scaled_frames(frames, inputs)
        else:
            y = self._convolve_scaled_clips(x, inputs)
        return self._scale_output(y, outputs) if self._outputs else y

    def extra_repr(self) -> str:
        """The convolution's geometry, then what is calibrated."""
        return f"{super().extra_repr()}, dimension={self.dimension}, proportion={self.proportion:g}"

    def _convolve_scaled_frames(self, frames: Tensor, alpha: Tensor) -> Tensor:
        """`(α_t · W) * x = W * (α_t · x)` for a kernel of one frame and α over input channels, `[N, T, Cin]`."""
        geometry = (self.stride[1:], self.padding[1:], self.dilation[1:], self.groups)
        weight, factors = self.weight.squeeze(2), alpha.flatten(0, 1)
        y = convolve_scaled(frames, factors, weight, self.bias, geometry, self.overwrite)
        return split_frames(y, alpha.shape[0])

    def _convolve_scaled_clips(self, x: Tensor, alpha: Tensor) -> Tensor:
        """The same for a kernel of several frames, with α `[N, T', Cin]` of each output frame."""
        # An input frame is seen by several output frames, each with an α of its own: every one gets its own copies.
        frames = self.kernel_size[0]
        seen = _windows(x, 2, frames, self.stride[0], self.padding[0], self.dilation[0])
        seen = _laid_out_like(x, (seen * alpha.transpose(1, 2)[..., None, None, None]).flatten(2, 3))
        stride, padding, dilation = (frames, *self.stride[1:]), (0, *self.padding[1:]), (1, *self.dilation[1:])
        return self.convolve(seen, self.bias, stride, padding, dilation)

    def _convolve_scaled_taps(self, x: Tensor, alpha: Tensor) -> Tensor:
        """α over the taps of the kernel, `[N, T', taps]`: each output position has its own copy of its taps, scaled."""
        seen = x
        for axis in (2, 1, 0):  # the last first, since each leaves one more dimension behind
            geometry = (self.kernel_size[axis], self.stride[axis], self.padding[axis], self.dilation[axis])
            seen = _windows(seen, 2 + axis, *geometry)
        taps = alpha.unflatten(2, self.kernel_size)[:, None, :, :, None, :, None, :]
        seen = _laid_out_like(x, (seen * taps).flatten(6, 7).flatten(4, 5).flatten(2, 3))
        return self.convolve(seen, self.bias, self.kernel_size, (0, 0, 0), (1, 1, 1))

    def _scale_output(self, y: Tensor, alpha: Tensor) -> Tensor:
        """`(α_t · W) * x = α_t · (W * x)` for α over output channels, `[N, T', Cout]`."""
        scaled = split_frames(merged_frames(y) * alpha.flatten(0, 1)[..., None, None], y.shape[0])
        if self.bias is None:
            return scaled
        # α calibrates the weight alone. Written so that α = 1 leaves y, into which the bias was added, to the bit.
        return scaled + ((1 - alpha) * self.bias).transpose(1, 2)[..., None, None]


class TAdaConv2d(TAdaConv3d):
    """TAdaConv with a kxk kernel on `[N, Cin, T, H, W]`, the paper's main form.

    Takes the place of `nn.Conv2d` applied to every frame or of `nn.Conv3d` with a 1xkxk kernel, and equals it at
    initialisation. Geometry arguments are numbers or pairs, as in `nn.Conv2d`; the others are `TAdaConv3d`'s.
    The weight is stored as `[Cout, Cin / groups, 1, k, k]`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        **calibration: object,
    ) -> None:
        _refuse_named_padding(padding)
        geometry = [
            (first, *_pair(value)) for first, value in ((1, kernel_size), (1, stride), (0, padding), (1, dilation))
        ]
        super().__init__(in_channels, out_channels, *geometry, groups, bias, **calibration)


class TAdaConv1d(TAdaConv3d):
    """TAdaConv with a temporal kx1x1 kernel on `[N, Cin, T, H, W]`, as in R(2+1)D + TAdaConv (2d+1d) of Table 2.

    Geometry arguments are numbers and concern time; the others are `TAdaConv3d`'s.
    The weight is stored as `[Cout, Cin / groups, k, 1, 1]`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        **calibration: object,
    ) -> None:
        geometry = [(value, rest, rest) for value, rest in ((kernel_size, 1), (stride, 1), (padding, 0), (dilation, 1))]
        super().__init__(in_channels, out_channels, *geometry, groups, bias, **calibration)


def calibrated(conv: nn.Conv2d | nn.Conv3d, **calibration: object) -> TAdaConv3d:
    """A TAdaConv that takes the place of `conv` and, until it is trained, computes the same; `conv` is left alone.

    Args:
        conv: an `nn.Conv2d` that was applied to every frame, or an `nn.Conv3d` with any kernel. Weight and bias are
            copied, device, type and mode kept.
        calibration: keyword arguments of `TAdaConv3d`, e.g. `dimension="cout"`.

    Raises:
        TadaError: the convolution pads with something else than zeros, or its geometry is not supported.
    """
    _refuse_named_padding(conv.padding)
    if conv.padding_mode != "zeros":
        raise TadaError(f"TAdaConv pads with zeros, the convolution to be replaced with {conv.padding_mode!r}")
    geometry = [conv.kernel_size, conv.stride, conv.padding, conv.dilation]
    kind: type[TAdaConv3d] = TAdaConv2d
    if isinstance(conv, nn.Conv3d):
        per_frame = (conv.kernel_size[0], conv.stride[0], conv.padding[0]) == (1, 1, 0)
        kind = TAdaConv2d if per_frame else TAdaConv3d
        geometry = [value[1:] for value in geometry] if per_frame else geometry
    new = kind(conv.in_channels, conv.out_channels, *geometry, conv.groups, conv.bias is not None, **calibration)
    new.to(conv.weight).train(conv.training)
    with torch.no_grad():
        new.weight.copy_(conv.weight.view_as(new.weight))
        if conv.bias is not None:
            new.bias.copy_(conv.bias)
    return new


def merged_frames(x: Tensor) -> Tensor:
    """`[N, C, T, H, W] -> [N * T, C, H, W]`, without a copy where the memory format is channels-last."""
    return x.transpose(1, 2).flatten(0, 1)


def split_frames(frames: Tensor, batch: int) -> Tensor:
    """`[N * T, C, H, W] -> [N, C, T, H, W]`, the inverse of `merged_frames`."""
    return frames.unflatten(0, (batch, -1)).transpose(1, 2)


def merged_space(x: Tensor) -> Tensor:
    """`[N, C, T, H, W] -> [N, C, T, H * W]`, in the same memory format."""
    # Flattened with the channels last: torch would lose the memory format of a single clip otherwise.
    return x.permute(0, 2, 3, 4, 1).flatten(2, 3).permute(0, 3, 1, 2)


def split_space(lines: Tensor, size: Sequence[int]) -> Tensor:
    """`[N, C, T, H * W] -> [N, C, T, H, W]`, the inverse of `merged_space`."""
    return lines.permute(0, 2, 3, 1).unflatten(2, tuple(size)).permute(0, 4, 1, 2, 3)


def frame_descriptors(frames: Tensor, batch: int) -> Tensor:
    """The means over space `v`, `[N, T, C]`, of merged frames `[N * T, C, H, W]` (the `GAPs` of section 3.2)."""
    # Reducing merged frames is several times faster than reducing five dimensions; and dividing the small sum, not the
    # large input, leaves autograd nothing of the input's size to write.
    return frames.sum((2, 3)).unflatten(0, (batch, -1)) / frames.shape[2:].numel()


def check_input(x: Tensor, channels: int, frames: int | None = None) -> None:
    """Refuse an input that is not `[N, channels, T, H, W]`, T being `frames` where that is given.

    Raises:
        TadaError: with the expected and the given shape.
    """
    if torch.jit.is_tracing():  # shapes are then no numbers, and the example input has been through here before
        return
    if x.dim() != 5 or x.shape[1] != channels or (frames is not None and x.shape[2] != frames):
        expected = f"[N, {channels}, {'T' if frames is None else frames}, H, W]"
        raise TadaError(f"input of shape {list(x.shape)}: expected {expected}")


def _refuse_named_padding(padding: object) -> None:
    if isinstance(padding, str):
        raise TadaError(f"padding {padding!r} of a TAdaConv: give it as numbers")


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _with_ones(alpha: Tensor, channels: int) -> Tensor:
    """`[N, T, calibrated]` continued to `[N, T, channels]` by ones: the other channels are left as they are."""
    return F.pad(alpha, (0, channels - alpha.shape[2]), value=1.0)


def _windows(x: Tensor, dim: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """Dimension `dim` as a pair (output position, tap): what each position of a convolution's output sees."""
    padded = F.pad(x, [0, 0] * (x.dim() - 1 - dim) + [padding, padding]) if padding else x
    return padded.unfold(dim, dilation * (kernel - 1) + 1, stride)[..., ::dilation].movedim(-1, dim + 1)


def _laid_out_like(x: Tensor, unrolled: Tensor) -> Tensor:
    """`unrolled` in the memory format of `x`, so that both take the same way through the backend, to the bit."""
    if not x.is_contiguous(memory_format=torch.channels_last_3d):
        return unrolled.contiguous()
    dense = unrolled.permute(0, 2, 3, 4, 1).contiguous()
    return dense.view(dense.shape).permute(0, 4, 1, 2, 3)  # a view, for the strides of a single clip to be regular


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
