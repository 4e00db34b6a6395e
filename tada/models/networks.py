"""The networks of the paper (Appendix B): ResNets by name of their parts, and SlowFast, each with or without TAdaConv.

`ResNet` is R2D and its TAda2D, R(2+1)D, R3D and TSM (Table A1), and SlowFast's slow pathway alone. `SlowFast`
(Feichtenhofer et al., 2019) is the original, in which TAdaConv may take the place of spatial convolutions (Table 2).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tada.base import TadaError, unknown
from tada.models.blocks import (
    EXPANSION,
    Design,
    Head,
    InitialWeights,
    Network,
    Stem,
    draw_seed,
    initialise,
    stage,
    video_conv,
)

STAGES = (2, 3, 4, 5)
SLOW_FRAMES = ("strided", "spread")


class ResNet(Network):
    """A residual network over clips; with nothing but its defaults, the paper's R2D-50, which is its TSN baseline.

    No max-pool follows the stem and all four stages stride by two in space; time is never strided. Base weights come
    from torch's seed in the same order for every variant, so `tsn` and `tada2d` of one seed compute the same at first.

    Args:
        num_classes: classes, or a mapping from the name of each head to its classes.
        frames: T that an input must have.
        depth: bottlenecks of the stages res2 to res5.
        width: channels after the stem; 64 in ResNet-50.
        dropout: before the classification layer.
        kind: middle convolution of every bottleneck, "2d", "2+1d" or "3d".
        stem_frames: temporal kernel size of the stem, 3 in R3D.
        max_pool: SlowFast's stem: a max-pool instead of res2's stride.
        temporal_stages: stages whose first 1x1 convolutions are 3x1x1, as [4, 5] in SlowOnly.
        tada: None, or options of TAdaConv (`TAdaConv3d`'s: dimension, proportion, kernels, global_context, reduction),
            and: stages, those that have TAdaConv (all by default); temporal, true for the 3x1x1 of "2+1d" as well.
        aggregation: None, or options of `AggregatedNorm` in all blocks: pool, shortcut, separate_bn, fused.
        shift: TSM's temporal shift at the start of every residual branch.
        initial: how the weights start, as `InitialWeights`.

    Raises:
        TadaError: options that do not go together, and an input of another shape than `[N, 3, frames, H, W]`.
    """

    def __init__(
        self,
        num_classes: int | Mapping[str, int],
        *,
        frames: int = 8,
        depth: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        dropout: float = 0.5,
        kind: str = "2d",
        stem_frames: int = 1,
        max_pool: bool = False,
        temporal_stages: Sequence[int] = (),
        tada: Mapping[str, Any] | None = None,
        aggregation: Mapping[str, Any] | None = None,
        shift: bool = False,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if len(depth) != len(STAGES):
            raise TadaError(f"depth {list(depth)}: expected the number of blocks of four stages, res2 to res5")
        seed = draw_seed()
        self.frames, self.initial = frames, InitialWeights(**(initial or {}))
        self.stem = Stem(width, stem_frames, max_pool)
        channels = width
        for number, blocks in zip(STAGES, depth, strict=True):
            middle = width * 2 ** (number - 2)
            design = Design(
                kind=kind,
                first_frames=3 if number in temporal_stages else 1,
                aggregation=aggregation,
                shift=shift,
                **tada_design(tada, number),
            )
            stride = 1 if number == 2 and max_pool else 2
            self.add_module(f"res{number}", stage(blocks, channels, middle, stride, design))
            channels = EXPANSION * middle
        self.head = Head(channels, num_classes, dropout)
        initialise(self, seed)

    def features(self, x: Tensor) -> Tensor:
        """The clip's pooled features `[N, 32 * width]` of `x` `[N, 3, frames, H, W]`."""
        self.check(x)
        x = self.stem(x.contiguous(memory_format=torch.channels_last_3d))
        for number in STAGES:
            x = self.get_submodule(f"res{number}")(x)
        return x.mean((2, 3, 4))


def tada_design(tada: Mapping[str, Any] | None, number: int) -> dict[str, Any]:
    """The `tada` and `tada_temporal` of the `Design` of stage res`number`."""
    options = dict(tada or {})
    temporal = options.pop("temporal", False)
    if tada is None or number not in options.pop("stages", STAGES):
        return {}
    return {"tada": options, "tada_temporal": temporal}


NARROWER = 8  # 1 / beta: the fast pathway has an eighth of the slow one's channels
LATERAL = 2  # a lateral connection doubles the fast pathway's channels


class Fusion(nn.Sequential):
    """The lateral connection: a temporal convolution brings fast features to the slow pathway's frames."""

    def __init__(self, channels: int, kernel: int, alpha: int) -> None:
        conv = video_conv(channels, LATERAL * channels, kernel, 1)
        conv.stride = (alpha, 1, 1)
        super().__init__(conv, nn.BatchNorm3d(LATERAL * channels), nn.ReLU(inplace=True))


class SlowFast(Network):
    """A slow pathway on one of `alpha` frames and a narrow fast one on all of them, joined after stem, res2, 3 and 4.

    As PySlowFast's `SLOWFAST_4x16_R50` and `SLOWFAST_8x8_R50`: max-pool after the stems, temporal 3x1x1 convolutions
    first in the blocks of res4 and res5 on the slow pathway and of all stages on the fast one.

    Args:
        num_classes: classes, or a mapping from the name of each head to its classes.
        frames: T of the input, that of the fast pathway; a multiple of `alpha`.
        depth: bottlenecks of the stages res2 to res5, of both pathways.
        width: channels of the slow pathway's stem; 64 in ResNet-50.
        dropout: before the classification layer.
        alpha: fast frames for each slow one.
        fusion_kernel: temporal kernel size of the lateral connections.
        slow_frames: which frames the slow pathway sees: "strided", every `alpha`-th from the first on, as the authors'
            code; "spread", evenly from the first to the last and rounded down, as PySlowFast.
        tada: as `ResNet`'s, for the 1x3x3 convolutions of both pathways.
        initial: how the weights start, as `InitialWeights`.

    Raises:
        TadaError: frames that alpha does not divide, an unknown option, and an input of another shape than
            `[N, 3, frames, H, W]`.
    """

    def __init__(
        self,
        num_classes: int | Mapping[str, int],
        *,
        frames: int = 32,
        depth: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        dropout: float = 0.5,
        alpha: int = 8,
        fusion_kernel: int = 5,
        slow_frames: str = "strided",
        tada: Mapping[str, Any] | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if frames % alpha:
            raise TadaError(f"SlowFast with alpha {alpha} needs a multiple of {alpha} frames, not {frames}")
        if slow_frames not in SLOW_FRAMES:
            raise unknown("choice of slow frames", slow_frames, SLOW_FRAMES)
        seed = draw_seed()
        self.frames, self.alpha, self.slow_frames = frames, alpha, slow_frames
        self.initial = InitialWeights(**(initial or {}))
        narrow = max(width // NARROWER, 1)
        self.slow, self.fast, self.fuse = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.slow["stem"] = Stem(width, 1, max_pool=True)
        self.fast["stem"] = Stem(narrow, 5, max_pool=True)
        self.fuse["stem"] = Fusion(narrow, fusion_kernel, alpha)
        slow_channels, fast_channels = width, narrow
        for number, blocks in zip(STAGES, depth, strict=True):
            stride, wider = 1 if number == 2 else 2, 2 ** (number - 2)
            adaptive = tada_design(tada, number)
            slow = Design(first_frames=3 if number >= 4 else 1, **adaptive)
            fast = Design(first_frames=3, **adaptive)
            joined = slow_channels + LATERAL * fast_channels
            self.slow[f"res{number}"] = stage(blocks, joined, width * wider, stride, slow)
            self.fast[f"res{number}"] = stage(blocks, fast_channels, narrow * wider, stride, fast)
            slow_channels, fast_channels = EXPANSION * width * wider, EXPANSION * narrow * wider
            if number != STAGES[-1]:
                self.fuse[f"res{number}"] = Fusion(fast_channels, fusion_kernel, alpha)
        self.head = Head(slow_channels + fast_channels, num_classes, dropout)
        initialise(self, seed)

    def features(self, x: Tensor) -> Tensor:
        """Both pathways' pooled features, `[N, 36 * width]`, of `x` `[N, 3, frames, H, W]`."""
        self.check(x)
        fast = x.contiguous(memory_format=torch.channels_last_3d)
        if self.slow_frames == "strided":
            slow = fast[:, :, :: self.alpha]
        else:
            chosen = torch.linspace(0, self.frames - 1, self.frames // self.alpha, device=x.device).long()
            slow = fast.index_select(2, chosen)
        slow = slow.contiguous(memory_format=torch.channels_last_3d)
        for name in self.slow:
            slow, fast = self.slow[name](slow), self.fast[name](fast)
            if name in self.fuse:
                slow = torch.cat([slow, self.fuse[name](fast)], 1)
        return torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
