"""Temporally-adaptive convolutions: section 3 of the paper in one file, which needs torch and nothing else.

The kernel of output frame t is `W_t = α_t · W` (Eq. 3): one shared kernel `W`, calibrated per frame by weights
`α_t = 1 + F(x)` (Eq. 6) that a small function of the frames around t and of the whole clip emits.

No kernel per frame is ever built. A calibration of input channels scales the input, one of output channels scales the
output, and one of the kernel's taps scales an input in which every output position has its own copy of what it sees:
the same function around one shared convolution, at a fraction of the time and memory. Nor is the scaled input kept for
the backward pass, which scales it again (`convolve_scaled`).

Departures from the paper's text, after the authors' released code:

- the linear map of the global descriptor is added *before* the first local convolution, `F(v + FC(g))`, where Eq. 5
  prints it after. The local convolution's zero padding at the clip's ends therefore sees it;
- the first of two local convolutions has a bias, the last has none (a linear calibration has just the last).

In a network of one's own: `TAdaConv2d(64, 64, kernel_size=3, padding=1)` on clips [N, 64, T, H, W], or
`block.conv2 = calibrated(block.conv2)`, which takes a convolution's place and computes the same until it is trained.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIMENSIONS = ("cin", "cout", "cin-cout", "k2")

Pair = tuple[int, int]
Triple = tuple[int, int, int]
Geometry = tuple[Pair, Pair, Pair, int]
"""Stride, padding, dilation and groups of a 2D convolution."""


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

    Raises:
        ValueError: another number of kernels, or a kernel of even size.
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
            raise ValueError(f"kernels {list(kernels)}: expected one (linear) or two (non-linear) of odd size")
        self.global_fc = nn.Linear(channels, channels) if global_context else None
        hidden = channels if len(kernels) == 1 else max(channels // reduction, 1)
        self.reduce = _FrameConv(channels, hidden, kernels[0]) if len(kernels) == 2 else None
        self.norm = nn.BatchNorm1d(hidden) if len(kernels) == 2 else None
        self.emit = _FrameConv(hidden, emitted, kernels[-1], bias=False)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Kaiming-normal (fan out) weights and zero biases; zero weights in the last layer (section 3.2)."""
        for layer in (self.global_fc, self.reduce):
            if layer is not None and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.emit.weight)

    def forward(self, descriptors: Tensor) -> Tensor:
        """α for every frame."""
        context = descriptors
        if self.global_fc is not None:
            context = context + self.global_fc(context.mean(1, keepdim=True))
        if self.reduce is not None and self.norm is not None:
            context = self.reduce(context)
            context = F.relu(self.norm(context.flatten(0, 1)).view_as(context))
        return 1 + self.emit(context)


class _FrameConv(nn.Conv1d):
    """`nn.Conv1d` over frame descriptors `[N, T, C]`, zeros beyond the ends, as the small matrix product that it is."""

    def forward(self, descriptors: Tensor) -> Tensor:
        kernel = self.kernel_size[0]
        near = F.pad(descriptors, (0, 0, kernel // 2, kernel // 2)).unfold(1, kernel, 1)  # [N, T, C, kernel]
        return F.linear(near.flatten(2), self.weight.flatten(1), self.bias)


class VideoConv(nn.Conv3d):
    """`nn.Conv3d` on `[N, C, T, H, W]`, executed in the form that runs fastest; values are the same up to rounding.

    A 1xkxk kernel runs as a 2D convolution over all frames at once, a kx1x1 kernel as one over (time, space). Both
    views are free where the memory format is channels-last. TAdaConv runs its shared kernel in the very same form.
    A padding by name ("same") or with something else than zeros is a ValueError.
    """

    kernel_size: Triple
    stride: Triple
    padding: Triple
    dilation: Triple

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _refuse_padding(self)

    def forward(self, x: Tensor) -> Tensor:
        """The plain convolution."""
        return self.convolve(x, self.bias, self.stride, self.padding, self.dilation)

    def convolve(self, x: Tensor, bias: Tensor | None, stride: Triple, padding: Triple, dilation: Triple) -> Tensor:
        """This layer's weight over `x`, with another geometry than its own, in time, height and width."""
        depth, *area = self.weight.shape[2:]
        if depth == 1 and stride[0] == 1 and padding[0] == 0:
            across: Geometry = (stride[1:], padding[1:], dilation[1:], self.groups)
            y = F.conv2d(merged_frames(x), self.weight.squeeze(2), bias, *across)
            return split_frames(y, x.shape[0])
        if area == [1, 1] and stride[1:] == (1, 1) and padding[1:] == (0, 0):
            along: Geometry = ((stride[0], 1), (padding[0], 0), (dilation[0], 1), self.groups)
            y = F.conv2d(merged_space(x), self.weight.squeeze(4), bias, *along)
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
        kernels: of the `Calibration`, as are global_context and reduction.

    Raises:
        ValueError: an unknown dimension, a proportion outside (0, 1] or of taps, a geometry that is not supported; in
            the forward pass, an input of another shape.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Triple,
        stride: int | Triple = 1,
        padding: int | Triple = 0,
        dilation: int | Triple = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dimension: str = "cin",
        proportion: float = 1.0,
        kernels: Sequence[int] = (3, 3),
        global_context: bool = True,
        reduction: int = 4,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        frames, needed = self.kernel_size[0], self.dilation[0] * (self.kernel_size[0] - 1) / 2
        if self.padding[0] != needed:
            raise ValueError(
                f"{type(self).__name__}: a kernel of {frames} frames, dilation {self.dilation[0]}, needs a temporal "
                f"padding of {needed:g}, not {self.padding[0]}, so that every output frame has an α"
            )
        if dimension not in DIMENSIONS:
            raise ValueError(f"unknown calibration dimension {dimension!r}; expected one of {', '.join(DIMENSIONS)}")
        if not 0 < proportion <= 1 or (dimension == "k2" and proportion != 1):
            raise ValueError(f"proportion {proportion} of {dimension}: expected a share of channels above 0, at most 1")
        self.dimension, self.proportion = dimension, proportion
        self._inputs = max(1, round(proportion * in_channels)) if dimension in ("cin", "cin-cout") else 0
        self._outputs = max(1, round(proportion * out_channels)) if dimension in ("cout", "cin-cout") else 0
        emitted = math.prod(self.kernel_size) if dimension == "k2" else self._inputs + self._outputs
        self.calibration = Calibration(in_channels, emitted, kernels, global_context, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Eq. 3 for every frame: `[N, Cin, T, H, W] -> [N, Cout, T', H', W']`."""
        _check_clips(x, self.in_channels)
        frames = merged_frames(x)
        alpha = self.calibration(frame_descriptors(frames, x.shape[0]))[:, :: self.stride[0]]
        if self.dimension == "k2":
            return self._convolve_scaled_taps(x, alpha)
        inputs = _with_ones(alpha[..., : self._inputs], self.in_channels)
        outputs = _with_ones(alpha[..., self._inputs :], self.out_channels)
        if not self._inputs:
            y = super().forward(x)
        elif self.kernel_size[0] == 1:  # (α_t · W) * x = W * (α_t · x)
            geometry = (self.stride[1:], self.padding[1:], self.dilation[1:], self.groups)
            y = convolve_scaled(frames, inputs.flatten(0, 1), self.weight.squeeze(2), self.bias, geometry)
            y = split_frames(y, x.shape[0])
        else:
            y = self._convolve_scaled_clips(x, inputs)
        return self._scale_output(y, outputs) if self._outputs else y

    def extra_repr(self) -> str:
        """The convolution's geometry, then what is calibrated."""
        return f"{super().extra_repr()}, dimension={self.dimension}, proportion={self.proportion:g}"

    def _convolve_scaled_clips(self, x: Tensor, alpha: Tensor) -> Tensor:
        """A kernel of several frames with α over input channels, `[N, T', Cin]`, of each output frame."""
        # An input frame is seen by several output frames, each with an α of its own: every one gets its own copies.
        frames = self.kernel_size[0]
        seen = _windows(x, 2, frames, self.stride[0], self.padding[0], self.dilation[0])
        seen = _laid_out_like(x, (seen * alpha.transpose(1, 2)[..., None, None, None]).flatten(2, 3))
        geometry = ((frames, *self.stride[1:]), (0, *self.padding[1:]), (1, *self.dilation[1:]))
        return self.convolve(seen, self.bias, *geometry)

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
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        **calibration: Any,
    ) -> None:
        geometry = ((1, *_pair(kernel_size)), (1, *_pair(stride)), (0, *_pair(padding)), (1, *_pair(dilation)))
        super().__init__(in_channels, out_channels, *geometry, groups, bias, **calibration)


class TAdaConv1d(TAdaConv3d):
    """TAdaConv with a temporal kx1x1 kernel on `[N, Cin, T, H, W]`, as in R(2+1)D + TAdaConv (2d+1d) of Table 2.

    Geometry arguments are numbers and concern time; the others are `TAdaConv3d`'s. The weight is stored as
    `[Cout, Cin / groups, k, 1, 1]`.
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
        **calibration: Any,
    ) -> None:
        geometry = ((kernel_size, 1, 1), (stride, 1, 1), (padding, 0, 0), (dilation, 1, 1))
        super().__init__(in_channels, out_channels, *geometry, groups, bias, **calibration)


def calibrated(conv: nn.Conv2d | nn.Conv3d, **calibration: Any) -> TAdaConv3d:
    """A TAdaConv that takes the place of `conv` and, until it is trained, computes the same; `conv` is left alone.

    A TAdaConv takes clips, since it needs to know which frames belong together. A network of `nn.Conv2d` passes frames
    around, `[N * T, C, H, W]`; there, one step before the layer makes clips `[N, C, T, H, W]`, and one after it makes
    frames again:

        y = merged_frames(layer(split_frames(x, batch=N)))

    Args:
        conv: an `nn.Conv2d` that was applied to every frame, or an `nn.Conv3d` with any kernel. Weight and bias are
            copied, device, type and mode kept.
        calibration: keyword arguments of `TAdaConv3d`, e.g. `dimension="cout"`.

    Raises:
        TypeError: another kind of layer.
        ValueError: the convolution pads with something else than zeros, or its geometry is not supported.
    """
    if not isinstance(conv, nn.Conv2d | nn.Conv3d) or isinstance(conv, TAdaConv3d):
        raise TypeError(f"a TAdaConv takes the place of an nn.Conv2d or nn.Conv3d, not of a {type(conv).__name__}")
    _refuse_padding(conv)
    per_frame = isinstance(conv, nn.Conv2d) or (conv.kernel_size[0], conv.stride[0], conv.padding[0]) == (1, 1, 0)
    kind: Any = TAdaConv2d if per_frame else TAdaConv3d
    sizes = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    geometry = (value[-2:] if per_frame else value for value in sizes)
    new = kind(conv.in_channels, conv.out_channels, *geometry, conv.groups, conv.bias is not None, **calibration)
    new.to(conv.weight).train(conv.training)
    with torch.no_grad():
        new.weight.copy_(conv.weight.view_as(new.weight))
        if conv.bias is not None and new.bias is not None:
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
    # Merged frames reduce several times faster than five dimensions, and to divide the small sum spares the large one.
    return frames.sum((2, 3)).unflatten(0, (batch, -1)) / frames.shape[2:].numel()


def _check_clips(x: Tensor, channels: int) -> None:
    # While torch.jit traces, shapes are no numbers, and the example input has been through here before.
    if not torch.jit.is_tracing() and (x.dim() != 5 or x.shape[1] != channels):
        hint = "; frames become clips by `split_frames(x, batch)`" if x.dim() == 4 else ""
        raise ValueError(f"input of shape {list(x.shape)}: expected [N, {channels}, T, H, W]{hint}")


def _refuse_padding(conv: nn.Conv2d | nn.Conv3d) -> None:
    if isinstance(conv.padding, str):
        raise ValueError(f"padding {conv.padding!r}: give it as numbers")
    if conv.padding_mode != "zeros":
        raise ValueError(f"padding mode {conv.padding_mode!r}: only zeros are supported")


def _pair(value: int | Pair) -> Pair:
    if isinstance(value, str):
        raise ValueError(f"padding {value!r}: give it as numbers")
    return (value, value) if isinstance(value, int) else (value[0], value[1])


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


# Numbers that the backward pass treats at a time. A core's second-level cache holds the smaller count; on a GPU,
# starting an operation costs more than memory that is soon free again.
_PIECE_ON_CPU, _PIECE = 2**18, 2**24


def convolve_scaled(x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """2D convolution of scaled frames, `W * (α · x)`, that keeps no scaled copy of its input while a network trains.

    Autograd would keep the scaled frames until the backward pass, and form products as large again. Here the backward
    pass scales the frames anew, lets them go before the next large tensor is made, and works out both gradients of the
    scaling piece by piece, in the place where one of them will stand.

    Shapes: `x` [B, Cin, H, W], `alpha` [B, Cin], `weight` [Cout, Cin / groups, k, k], `bias` [Cout].
    """
    if not torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return _convolve(x, alpha, weight, bias, geometry)
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)  # autocast does not look into the function below
        x, alpha, weight = x.to(kind), alpha.to(kind), weight.to(kind)
        bias = None if bias is None else bias.to(kind)
    return _ConvolveScaled.apply(x, alpha, weight, bias, geometry)


def _convolve(x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    return F.conv2d(x * alpha[..., None, None], weight, bias, *geometry)


class _ConvolveScaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, alpha, weight, bias)
        ctx.geometry = geometry
        return _convolve(x, alpha, weight, bias, geometry)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, alpha, weight, bias = ctx.saved_tensors
        needed = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted: leave it to autograd after all
            inputs = [value for value, wanted in zip(ctx.saved_tensors, needed, strict=True) if wanted]
            again = _convolve(x, alpha, weight, bias, ctx.geometry)
            found = iter(torch.autograd.grad(again, inputs, gradient, create_graph=True))
            return *(next(found) if wanted else None for wanted in needed), None

        def gradients(of: Tensor, *wanted: bool) -> tuple[Any, Any, Any]:
            """Those of a plain convolution `of` something for its input, weight and bias."""
            sizes = None if bias is None else list(bias.shape)
            *window, groups = ctx.geometry
            options = (sizes, *window, False, (0, 0), groups, wanted)
            return torch.ops.aten.convolution_backward(*gradient, of, weight, *options)

        to_x = to_alpha = to_weight = to_bias = None
        if needed[2] or needed[3]:
            scaled = x * alpha[..., None, None]
            _, to_weight, to_bias = gradients(scaled, False, *needed[2:])
            del scaled
        if needed[0] or needed[1]:
            to_x, _, _ = gradients(x, True, False, False)
            to_alpha = torch.empty_like(alpha)
            step = max(1, (_PIECE_ON_CPU if x.device.type == "cpu" else _PIECE) // x[0].numel())
            for piece in (slice(first, first + step) for first in range(0, len(x), step)):
                to_alpha[piece] = (to_x[piece] * x[piece]).sum((2, 3))
                to_x[piece] *= alpha[piece, :, None, None]
        return to_x, to_alpha, to_weight, to_bias, None
