"""SlowFast (Feichtenhofer et al., 2019), unchanged from the original but for TAdaConv (Appendix B, Table 2)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tada.base.errors import TadaError
from tada.models.blocks import EXPANSION, Design, Head, Network, Stem, draw_seed, initialise, stage, video_conv
from tada.models.resnet import STAGES, tada_design

NARROWER = 8  # 1 / beta: the fast pathway has an eighth of the slow one's channels
FUSED = 2  # the lateral connections double the fast pathway's channels


class Fusion(nn.Sequential):
    """The lateral connection: a temporal convolution brings fast features to the slow pathway's frames."""

    def __init__(self, channels: int, kernel: int, alpha: int) -> None:
        conv = video_conv(channels, FUSED * channels, kernel, 1)
        conv.stride = (alpha, 1, 1)
        super().__init__(conv, nn.BatchNorm3d(FUSED * channels), nn.ReLU(inplace=True))


class SlowFast(Network):
    """A slow pathway on every `alpha`-th frame and a narrow fast one on all of them, joined after stem, res2, 3 and 4.

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
        tada: as `ResNet`'s, for the 1x3x3 convolutions of both pathways.

    Raises:
        TadaError: frames that alpha does not divide, and an input of another shape than `[N, 3, frames, H, W]`.
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
        tada: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if frames % alpha:
            raise TadaError(f"SlowFast with alpha {alpha} needs a multiple of {alpha} frames, not {frames}")
        seed = draw_seed()
        self.frames, self.alpha = frames, alpha
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
            joined = slow_channels + FUSED * fast_channels
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
        # As in the original, spread from the first frame to the last instead of every alpha-th from the first.
        chosen = torch.linspace(0, self.frames - 1, self.frames // self.alpha, device=x.device).long()
        slow = fast.index_select(2, chosen).contiguous(memory_format=torch.channels_last_3d)
        for name in self.slow:
            slow, fast = self.slow[name](slow), self.fast[name](fast)
            if name in self.fuse:
                slow = torch.cat([slow, self.fuse[name](fast)], 1)
        return torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
