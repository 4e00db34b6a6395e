"""The parts that the networks of the paper are made of: stem, bottleneck, temporal aggregation and head.

Everything takes and returns `[N, C, T, H, W]`. Names of parameters are torchvision's where torchvision has the layer.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tada.base import TadaError, unknown
from tada.conv import Calibration, TAdaConv1d, TAdaConv2d, TAdaConv3d, VideoConv, merged_space, split_space

EXPANSION = 4  # a bottleneck's output is four times as wide as its middle
POOLS = ("avg", "max", "mix")
KINDS = ("2d", "2+1d", "3d")
HEADS = ("uniform", "normal")


@dataclass(frozen=True)
class Design:
    """What the bottlenecks of a stage consist of.

    Attributes:
        kind: the middle convolution (Table A1): "2d" 1x3x3, "2+1d" 1x3x3 and then 3x1x1, "3d" 3x3x3.
        first_frames: temporal kernel size of the first 1x1 convolution, 3 in the temporal stages of SlowFast.
        tada: options of the TAdaConv in the middle convolution's place, None for a plain one.
        tada_temporal: whether the 3x1x1 of "2+1d" is a TAdaConv, too.
        aggregation: options of `AggregatedNorm` after the middle convolution, None for a plain batch norm.
        shift: whether a quarter of the input's channels is shifted in time, as in TSM.
    """

    kind: str = "2d"
    first_frames: int = 1
    tada: Mapping[str, Any] | None = None
    tada_temporal: bool = False
    aggregation: Mapping[str, Any] | None = None
    shift: bool = False
    frames: int = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of middle convolution", self.kind, KINDS)
        if self.tada_temporal and self.kind != "2+1d":
            raise TadaError(f"a temporal TAdaConv needs the 3x1x1 convolution of kind '2+1d', not {self.kind!r}")
        object.__setattr__(self, "frames", 3 if self.kind == "3d" else 1)


def video_conv(channels: int, out: int, frames: int, size: int, stride: int = 1) -> VideoConv:
    """A `frames` x `size` x `size` convolution without bias that keeps the frames and strides in space."""
    kernel, padding = (frames, size, size), (frames // 2, size // 2, size // 2)
    return VideoConv(channels, out, kernel, (1, stride, stride), padding, bias=False)


class Stem(nn.Sequential):
    """The first convolution, `frames` x 7 x 7 with spatial stride 2, and, in SlowFast's family, a max-pool."""

    def __init__(self, width: int, frames: int = 1, max_pool: bool = False) -> None:
        super().__init__()
        self.conv1 = video_conv(3, width, frames, 7, stride=2)
        self.bn1 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        if max_pool:
            self.max_pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


class AggregatedNorm(nn.BatchNorm3d):
    """Temporal feature aggregation around a batch norm (section 4, Table 3b).

    With shortcut and separate batch norm it is Eq. 7 without its ReLU, `BN1(y) + BN2(pool(y))`; BN2 starts at zero, in
    weight and bias, so that at first nothing is added. With just a shortcut it is `BN(y + pool(y))`, else
    `BN(pool(y))`. The pool sees three frames; "mix" is the sum of average and maximum. As in the released code, the
    zeros beyond the clip's ends count in the average.

    Args:
        channels: of y.
        pool: "avg", "max" or "mix".
        shortcut: whether y itself is added.
        separate_bn: whether y and the pooled y have batch norms of their own.
        fused: whether a GPU trains Eq. 7 by the Triton kernels of `tada.models.fused`, which round otherwise. Where
            Triton is missing, a warning says so, and torch's own operations compute all of it.

    Raises:
        TadaError: an unknown pool, a separate batch norm without shortcut, or fused for another form than Eq. 7.
    """

    def __init__(
        self, channels: int, pool: str = "avg", shortcut: bool = True, separate_bn: bool = True, fused: bool = False
    ) -> None:
        super().__init__(channels)
        if pool not in POOLS:
            raise unknown("aggregation pool", pool, POOLS)
        if separate_bn and not shortcut:
            raise TadaError("aggregation: a separate batch norm needs the shortcut, otherwise there is one branch only")
        if fused and not (pool == "avg" and separate_bn):
            raise TadaError("aggregation: fused is for Eq. 7, with the pool avg and a separate batch norm")
        self.pool, self.shortcut, self.fused = pool, shortcut, fused and _triton_is_there()
        self.pooled = nn.BatchNorm3d(channels) if separate_bn else None
        if self.pooled is not None:
            nn.init.zeros_(self.pooled.weight)

    def forward(self, y: Tensor) -> Tensor:
        """Normalised and aggregated, of the same shape."""
        pooled = temporal_pool(y, self.pool)
        if self.pooled is not None:
            joined = super().forward(y)
            joined += self.pooled(pooled)  # in place, since no gradient needs what a batch norm emits
            return joined
        return super().forward(y + pooled if self.shortcut else pooled)

    def rectified(self, y: Tensor) -> Tensor:
        """ReLU of what `forward` returns, of y's shape; `fused` concerns this one."""
        if self.fused and self.training and self.pooled is not None:
            from tada.models import fused  # needs Triton

            if fused.can_aggregate(y):
                return fused.aggregate(y, self, self.pooled)
        return F.relu(self(y), inplace=True)

    def extra_repr(self) -> str:
        """The aggregation's options before those of the batch norm."""
        return f"pool={self.pool}, shortcut={self.shortcut}, {super().extra_repr()}"


def _triton_is_there() -> bool:
    try:
        import triton  # noqa: F401  (it comes with torch for GPUs on Linux)
    except ImportError:
        warnings.warn("aggregation: fused needs Triton, which is not installed; it is left out", stacklevel=3)
        return False
    return True


_WINDOW = ((3, 1), 1, (1, 0))
"""Kernel, stride and padding of the temporal pools, over (time, space)."""


class _AveragePool(torch.autograd.Function):
    """The average over three frames, whose gradient is the average over three frames of the gradient.

    It gives each frame what the two beside it got, as every pool of stride 1 that counts the zeros beyond the ends.
    On GPUs torch's own backward pass takes longer than its forward pass where the channels are last.
    """

    @staticmethod
    def forward(ctx: Any, lines: Tensor) -> Tensor:
        return F.avg_pool2d(lines, *_WINDOW)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return _AveragePool.apply(*gradient)


def temporal_pool(y: Tensor, pool: str) -> Tensor:
    """`y` `[N, C, T, H, W]` pooled over frames t-1 to t+1, stride 1."""
    lines = merged_space(y)  # torch's 3D pools take forty times as long
    if pool == "max":
        return split_space(F.max_pool2d(lines, *_WINDOW), y.shape[3:])
    trained_on_gpu = y.is_cuda and torch.is_grad_enabled()
    pooled = _AveragePool.apply(lines) if trained_on_gpu else F.avg_pool2d(lines, *_WINDOW)
    if pool == "mix":
        pooled = pooled + F.max_pool2d(lines, *_WINDOW)
    return split_space(pooled, y.shape[3:])


def temporal_shift(x: Tensor) -> Tensor:
    """TSM's shift: one eighth of the channels comes from the next frame, one eighth from the previous, zeros beyond."""
    fold = x.shape[1] // 8
    following = F.pad(x[:, :fold, 1:], (0, 0, 0, 0, 0, 1))
    previous = F.pad(x[:, fold : 2 * fold, :-1], (0, 0, 0, 0, 1, 0))
    return torch.cat([following, previous, x[:, 2 * fold :]], 1)


class Bottleneck(nn.Module):
    """A residual bottleneck whose middle convolution carries the spatial stride.

    Args:
        channels: of the input.
        middle: channels of the middle convolution; the output has `EXPANSION * middle`.
        stride: in space.
        design: of its convolutions.
    """

    def __init__(self, channels: int, middle: int, stride: int, design: Design) -> None:
        super().__init__()
        out = EXPANSION * middle
        self.shift = design.shift
        self.conv1 = video_conv(channels, middle, design.first_frames, 1)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = _middle_conv(middle, stride, design)
        self.bn2 = (
            nn.BatchNorm3d(middle) if design.aggregation is None else AggregatedNorm(middle, **design.aggregation)
        )
        self.temporal = _temporal_conv(middle, design) if design.kind == "2+1d" else None
        self.conv3 = video_conv(middle, out, 1, 1)
        self.bn3 = nn.BatchNorm3d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(video_conv(channels, out, 1, 1, stride), nn.BatchNorm3d(out))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels, T, H, W] -> [N, 4 * middle, T, H / stride, W / stride]`."""
        y = temporal_shift(x) if self.shift else x
        y = self.relu(self.bn1(self.conv1(y)))
        y, norm = self.conv2(y), self.bn2
        y = norm.rectified(y) if isinstance(norm, AggregatedNorm) and norm.fused else self.relu(norm(y))
        if self.temporal is not None:
            y = self.temporal(y)
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


def _middle_conv(channels: int, stride: int, design: Design) -> VideoConv:
    if design.tada is None:
        return video_conv(channels, channels, design.frames, 3, stride)
    if design.kind == "3d":
        return TAdaConv3d(channels, channels, 3, (1, stride, stride), 1, bias=False, **design.tada)
    return TAdaConv2d(channels, channels, 3, stride, 1, bias=False, **design.tada)


def _temporal_conv(channels: int, design: Design) -> nn.Sequential:
    conv = video_conv(channels, channels, 3, 1)
    if design.tada is not None and design.tada_temporal:
        conv = TAdaConv1d(channels, channels, 3, padding=1, bias=False, **design.tada)
    return nn.Sequential(conv, nn.BatchNorm3d(channels), nn.ReLU(inplace=True))


def stage(blocks: int, channels: int, middle: int, stride: int, design: Design) -> nn.Sequential:
    """`blocks` bottlenecks, the first of which strides and widens."""
    out = EXPANSION * middle
    return nn.Sequential(
        *(Bottleneck(out if i else channels, middle, 1 if i else stride, design) for i in range(blocks))
    )


class Head(nn.Module):
    """Dropout and one linear layer, or one for each key where `num_classes` is a mapping (verb and noun)."""

    def __init__(self, channels: int, num_classes: int | Mapping[str, int], dropout: float) -> None:
        super().__init__()
        self.classes = dict(num_classes) if isinstance(num_classes, Mapping) else num_classes
        self.dropout = nn.Dropout(dropout)
        self.linear: nn.Linear | nn.ModuleDict
        if isinstance(num_classes, Mapping):
            self.linear = nn.ModuleDict({name: nn.Linear(channels, count) for name, count in num_classes.items()})
        else:
            self.linear = nn.Linear(channels, num_classes)

    def forward(self, features: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits `[N, classes]` of pooled features `[N, channels]`, or a dict of them."""
        features = self.dropout(features)
        if isinstance(self.linear, nn.ModuleDict):
            return {name: linear(features) for name, linear in self.linear.items()}
        return self.linear(features)


@dataclass(frozen=True)
class InitialWeights:
    """How a network's weights start.

    Attributes:
        head: "uniform", PyTorch's default: weights and biases of the classification layer are drawn from
            ±1/sqrt(channels). "normal": the weights have a standard deviation of 0.01, the biases are zero.
        last_gamma: weight of the last batch norm of every residual branch. With 0 a block starts as its shortcut.
        imagenet: whether ImageNet's weights replace these, `last_gamma` included, in a run whose recipe starts from
            ImageNet.
    """

    head: str = "uniform"
    last_gamma: float = 1.0
    imagenet: bool = True

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise unknown("initial head", self.head, HEADS)


class Network(nn.Module):
    """What all networks of this suite are: features of a clip, then a head.

    Attributes:
        frames: T that an input must have.
        head: the last layer, which a dataset's classes decide.
        initial: how the weights start.
    """

    frames: int
    head: Head
    initial: InitialWeights

    def features(self, x: Tensor) -> Tensor:
        """The clip's pooled features `[N, channels]` of `x` `[N, 3, frames, H, W]`."""
        raise NotImplementedError

    def check(self, x: Tensor) -> None:
        """Refuse an input that is not `[N, 3, frames, H, W]`.

        Raises:
            TadaError: with the expected and the actual shape.
        """
        # While torch.jit traces, shapes are no numbers, and the example input has been through here before.
        if not torch.jit.is_tracing() and (x.dim() != 5 or x.shape[1:3] != (3, self.frames)):
            raise TadaError(f"input of shape {list(x.shape)}: expected [N, 3, {self.frames}, H, W]")

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits `[N, classes]` of `x` `[N, 3, frames, H, W]`, or a dict of them."""
        return self.head(self.features(x))


def draw_seed() -> int:
    """A seed for `initialise` from torch's generator, to be drawn before any layer draws from it."""
    return int(torch.randint(2**62, (), device="cpu"))


def initialise(network: Network, seed: int) -> None:
    """Draw all weights from `seed`, heads and last batch norms as `network.initial` says.

    Convolutions (Kaiming-normal, fan out) come first, then heads, then calibrations, so networks that differ in
    TAdaConv or aggregation alone start from the same base weights if their seeds agree. All of it is as in the authors'
    releases but for TAdaConv's base weights: their layer draws them from ±1/sqrt(its number of weights), which only
    shows where no ImageNet weights replace them; and of R(2+1)D's temporal convolutions, which no release has, Appendix
    B says "randomly" and no more.
    """
    device = next(network.parameters()).device
    if device.type == "meta":  # a network without values, built to be counted
        return
    generator = torch.Generator(device).manual_seed(seed)
    for module in network.modules():
        if isinstance(module, VideoConv):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    for linear in (module for module in network.head.modules() if isinstance(module, nn.Linear)):
        _draw_linear(linear, network.initial.head, generator)
    for module in network.modules():
        if isinstance(module, Calibration):
            module.reset_parameters(generator)
        elif isinstance(module, Bottleneck):
            nn.init.constant_(module.bn3.weight, network.initial.last_gamma)


def _draw_linear(linear: nn.Linear, how: str, generator: torch.Generator) -> None:
    if how == "normal":
        nn.init.normal_(linear.weight, std=0.01, generator=generator)
        nn.init.zeros_(linear.bias)
        return
    bound = linear.in_features**-0.5
    for values in (linear.weight, linear.bias):
        nn.init.uniform_(values, -bound, bound, generator=generator)
