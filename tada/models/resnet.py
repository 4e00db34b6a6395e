"""The paper's ResNets (Appendix B, Table A1): R2D and its TAda2D, R(2+1)D, R3D, TSM, and SlowFast's slow path alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tada.base.errors import TadaError
from tada.models.blocks import EXPANSION, Design, Head, Network, Stem, draw_seed, initialise, stage

STAGES = (2, 3, 4, 5)


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
        aggregation: None, or options of `AggregatedNorm` in all blocks: pool, shortcut, separate_bn.
        shift: TSM's temporal shift at the start of every residual branch.

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
    ) -> None:
        super().__init__()
        if len(depth) != len(STAGES):
            raise TadaError(f"depth {list(depth)}: expected the number of blocks of four stages, res2 to res5")
        seed = draw_seed()
        self.frames = frames
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
