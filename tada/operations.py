"""The operations that Table 1 compares, as layers that can be built, run and counted.

Table 1 and its footnote count by a convention of their own. Parameters are those of convolution kernels alone. FLOPs
are the multiply-adds of the convolutions and, for TAdaConv, two things that `tada.complexity` leaves out: the pooling
of the frame descriptors (`Ci·T·H·W`) and the product of base and calibration weight for every frame (`Co·Ci·k²·T`).
TAdaConv is the published form there, with a kernel for every frame, and without global context.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from fvcore.nn.jit_handles import elementwise_flop_counter
from torch import Tensor, nn

from tada.complexity import Complexity, measure
from tada.conv import TAdaConv2d, VideoConv, frame_descriptors, merged_frames, split_frames
from tada.errors import unknown
from tada.models.blocks import temporal_shift, video_conv

# What Table 1 counts in addition: a sum costs what it reads (the pooling), a product what it writes (the kernels).
_ALSO = {"aten::sum": elementwise_flop_counter(1, 0), "aten::mul": elementwise_flop_counter(0, 1)}


class PerFrameTAdaConv2d(TAdaConv2d):
    """TAdaConv as published: builds the kernel of every frame and convolves all frames as groups of one convolution.

    The same function as `TAdaConv2d` over input channels, kept for Table 1 and as the baseline of the benchmarks.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Eq. 3 to the letter: `[N, Cin, T, H, W] -> [N, Cout, T, H', W']`."""
        merged = merged_frames(x)
        alpha = self.calibration(frame_descriptors(merged, x.shape[0])).flatten(0, 1)  # [N * T, Cin]
        kernels = (alpha[:, None, :, None, None] * self.weight.squeeze(2)).flatten(0, 1)
        joined = merged.reshape(1, -1, *x.shape[3:])
        y = F.conv2d(joined, kernels, None, self.stride[1:], self.padding[1:], self.dilation[1:], len(merged))
        y = split_frames(y.view(len(merged), self.out_channels, *y.shape[2:]), x.shape[0])
        return y if self.bias is None else y + self.bias[:, None, None, None]


class Shift(nn.Module):
    """TSM's temporal shift before a spatial convolution."""

    def __init__(self, c_in: int, c_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = video_conv(c_in, c_out, 1, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, Cin, T, H, W] -> [N, Cout, T, H, W]`."""
        return self.conv(temporal_shift(x))


class Correlation(nn.Module):
    """A frame's positions correlated with their neighbourhood in the next, under learned weights (Wang et al., 2020).

    The weights `Ci x T x k²` differ by channel, frame and neighbour. Since a position's own value is common to all its
    neighbours, their weighted sum is one depth-wise convolution of the next frame, times the value.
    """

    def __init__(self, channels: int, frames: int, kernel: int) -> None:
        super().__init__()
        self.channels, self.frames, self.kernel = channels, frames, kernel
        self.weight = nn.Parameter(torch.ones(frames * channels, 1, kernel, kernel))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, Ci, T, H, W] -> [N, Ci, T, H, W]`; the last frame is correlated with itself."""
        following = torch.cat([x[:, :, 1:], x[:, :, -1:]], 2).transpose(1, 2).flatten(1, 2)
        near = F.conv2d(following, self.weight, padding=self.kernel // 2, groups=self.frames * self.channels)
        return x * near.unflatten(1, (self.frames, self.channels)).transpose(1, 2)


def _tadaconv(c_in: int, c_out: int, k: int, r: int) -> nn.Module:
    options = {"kernels": (k, k), "global_context": False, "reduction": r}
    return PerFrameTAdaConv2d(c_in, c_out, k, padding=k // 2, bias=False, **options)


OPERATIONS = {
    "spatial": lambda s: video_conv(s["Ci"], s["Co"], 1, s["k"]),
    "temporal": lambda s: video_conv(s["Ci"], s["Co"], s["k"], 1),
    "shift": lambda s: Shift(s["Ci"], s["Co"], s["k"]),
    "factorised": lambda s: nn.Sequential(
        video_conv(s["Ci"], s["Co"], 1, s["k"]), video_conv(s["Co"], s["Co"], s["k"], 1)
    ),
    "volumetric": lambda s: video_conv(s["Ci"], s["Co"], s["k"], s["k"]),
    "correlation": lambda s: Correlation(s["Ci"], s["T"], s["k"]),
    "tadaconv": lambda s: _tadaconv(s["Ci"], s["Co"], s["k"], s["r"]),
}
"""Rows of Table 1 -> a layer on `[N, Ci, T, H, W]`, from sizes by the table's symbols."""


def measure_operation(operation: str, setting: Mapping[str, int]) -> Complexity:
    """Parameters and multiply-adds of a layer, measured on the layer by the convention of Table 1 (see the module).

    Args:
        operation: a key of `OPERATIONS`; "factorised" is (2+1)D, "volumetric" 3D.
        setting: sizes `Co`, `Ci`, `k`, `T`, `H`, `W` and, for TAdaConv, `r`.

    Raises:
        TadaError: an unknown operation.
    """
    if operation not in OPERATIONS:
        raise unknown("operation", operation, OPERATIONS)
    layer = OPERATIONS[operation](setting)
    shape = (1, setting["Ci"], setting["T"], setting["H"], setting["W"])
    counted = measure(layer, shape, _ALSO if operation == "tadaconv" else None)
    kernels = [module.weight for module in layer.modules() if isinstance(module, (VideoConv, nn.Conv1d, Correlation))]
    return replace(counted, params=sum(kernel.numel() for kernel in kernels))
