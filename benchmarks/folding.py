"""Networks for testing: batch norms and temporal aggregation folded into the convolutions around them.

Nothing in the suite folds; this shows how little TAdaConv costs in a network that is used and no longer trained.
"""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from tada.conv import TAdaConv3d, VideoConv, frame_descriptors, merged_frames, split_frames
from tada.models.blocks import AggregatedNorm, Bottleneck

_BatchNorm = nn.modules.batchnorm._BatchNorm


def fold_for_testing(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode that computes the same, up to rounding, in fewer passes over memory.

    A batch norm that follows a convolution becomes part of its weight and bias. A batch norm with average aggregation
    (Eq. 7) becomes a convolution over three frames of each channel. Aggregation by maximum stays as it is. TAdaConv
    scales its input in place.

    Args:
        network: any of `build_model`; it is left alone. The copy cannot be trained: it has no batch norms any more.
    """
    folded = copy.deepcopy(network).eval()
    with torch.no_grad():
        for parent in list(folded.modules()):
            children = list(parent.named_children())
            for (_, conv), (name, norm) in pairwise(children):
                if isinstance(conv, nn.Conv1d | nn.Conv3d) and isinstance(norm, _BatchNorm):
                    setattr(parent, name, _folded(conv, norm))
            if isinstance(parent, Bottleneck) and isinstance(parent.conv2, TAdaConv3d):
                parent.add_module("conv2", scaled_in_place(parent.conv2))  # nothing else reads what it overwrites
    return folded


class ScaledInPlace(nn.Module):
    """A TAdaConv over all input channels with a kernel of one frame, which overwrites its input with the scaled one.

    Args:
        conv: the TAdaConv, whose parameters are used. There are no gradients.
    """

    def __init__(self, conv: TAdaConv3d) -> None:
        super().__init__()
        self.conv = conv

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """`[N, Cin, T, H, W] -> [N, Cout, T, H', W']`; `x` is lost."""
        frames = merged_frames(x)
        frames *= self.conv.calibration(frame_descriptors(frames, x.shape[0])).flatten(0, 1)[..., None, None]
        return VideoConv.forward(self.conv, split_frames(frames, x.shape[0]))


def scaled_in_place(conv: TAdaConv3d) -> nn.Module:
    """`conv` as a `ScaledInPlace` where that computes the same, else itself."""
    suits = conv.dimension == "cin" and conv.proportion == 1 and conv.kernel_size[0] == conv.stride[0] == 1
    return ScaledInPlace(conv) if suits else conv


def _folded(conv: nn.Conv1d | nn.Conv3d, norm: _BatchNorm) -> nn.Module:
    """What is left to do after `conv`, which takes in what it can of `norm`."""
    if not isinstance(norm, AggregatedNorm):
        scale, shift = _affine(norm)
        bias = torch.zeros_like(scale) if conv.bias is None else conv.bias
        conv.weight.mul_(scale.view(-1, *[1] * (conv.weight.dim() - 1)))
        conv.bias = nn.Parameter(bias * scale + shift)
        return nn.Identity()
    if norm.pool != "avg":
        return norm
    own, shift = _affine(norm)
    if norm.pooled is not None:
        pooled, more = _affine(norm.pooled)
        shift = shift + more
    else:
        pooled, own = own, own if norm.shortcut else torch.zeros_like(own)
    near = pooled / 3
    return _frame_filter(torch.stack([near, own + near, near], 1), shift)


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel in evaluation mode."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _frame_filter(weights: Tensor, shift: Tensor) -> VideoConv:
    """Each channel as a weighted sum, by `weights` `[C, 3]`, of the frames before, at and after, plus its `shift`."""
    channels = len(weights)
    conv = VideoConv(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=channels, bias=False).eval().to(weights)
    conv.weight.copy_(weights.view_as(conv.weight))
    conv.bias = nn.Parameter(shift)
    return conv
