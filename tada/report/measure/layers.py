"""Measured on networks as they are built: their layers, a peer's size, and how far apart two of them are untrained.

Layers are written in the notation of Table A1, e.g. "[1×1², 64; 1×3², 64; 1×1², 256] ×3". The peers' networks of
Table 7 are built by another library. Section 3.2 and Appendix F say that a network with TAdaConv computes, before any
training, the same as the one without.
"""

from decimal import Decimal
from functools import cache
from itertools import groupby

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import video

from tada.models import build_model

SIDE = 224
"""Height and width of Table A1's input; networks are built without values, so the size costs nothing."""


Shape = tuple[int, ...]


@cache
def _built(model: str) -> tuple[nn.Module, dict[str, tuple[Shape, Shape]]]:
    """The network and, for each of its direct parts, the shapes of its input and output."""
    with torch.device("meta"), torch.no_grad():
        network = build_model(model, 400).eval()
        shapes: dict[str, tuple[Shape, Shape]] = {}

        def watch(name: str) -> None:
            def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
                shapes[name] = (tuple(inputs[0].shape), tuple(output.shape))

            network.get_submodule(name).register_forward_hook(note)

        for name, _ in network.named_children():
            watch(name)
        network(torch.zeros(1, 3, network.frames, SIDE, SIDE))
    return network, shapes


def layers(model: str, stage: str) -> str:
    """The layers of a stage: "conv1", "res2" to "res5", or "head"."""
    network, shapes = _built(model)
    if stage == "conv1":
        conv = next(module for module in network.get_submodule("stem").modules() if isinstance(module, nn.Conv3d))
        return f"{_conv(conv)}; stride {conv.stride[0]}, {_squared(conv.stride[1:])}"
    if stage == "head":
        fed, _ = shapes["head"]
        pooled = ["global average pool"] if len(fed) == 2 else []
        return ", ".join(
            [*pooled, *("fc" for module in network.get_submodule("head").modules() if isinstance(module, nn.Linear))]
        )
    blocks = [_block(block) for block in network.get_submodule(stage).children()]
    return ", ".join(f"[{text}] ×{len(list(same))}" for text, same in groupby(blocks))


def output_size(model: str, stage: str) -> str:
    """Frames, height and width after a stage for a clip of 224×224 pixels, e.g. "8×56×56"."""
    _, shapes = _built(model)
    if stage == "head":
        fed, _ = shapes["head"]
        return "×".join(map(str, (*fed[2:], 1, 1, 1)[:3]))
    _, emitted = shapes["stem" if stage == "conv1" else stage]
    return "×".join(map(str, emitted[2:]))


def _block(block: nn.Module) -> str:
    """The convolutions on the residual branch, in order; those that generate calibration weights are none of them."""
    return "; ".join(
        _conv(module)
        for name, module in block.named_modules()
        if isinstance(module, nn.Conv3d) and not name.startswith("downsample")
    )


def _conv(conv: nn.Conv3d) -> str:
    return f"{conv.kernel_size[0]}×{_squared(conv.kernel_size[1:])}, {conv.out_channels}"


def _squared(pair: Shape) -> str:
    return f"{pair[0]}²" if pair[0] == pair[1] else f"{pair[0]}×{pair[1]}"


NETWORKS = {"torchvision.s3d": video.s3d}
"""Peers' networks by the name that a table's spec gives them."""


@cache
def gflops(network: str, frames: int, resolution: int) -> Decimal:
    """GFLOPs of a network of `NETWORKS` for one clip of `frames` frames and `resolution` x `resolution` pixels.

    As everywhere, a FLOP is a multiply-add of a convolution or linear layer; torch's counter counts two for each. The
    network is built without values, so its size costs no time.
    """
    with torch.device("meta"), torch.no_grad():
        built = NETWORKS[network](num_classes=400).eval()
        with FlopCounterMode(display=False) as counter:
            built(torch.empty(1, 3, frames, resolution, resolution))
    return Decimal(counter.get_total_flops() // 2).scaleb(-9)


_CLIP_SIDE = 64
"""Height and width of the input; weights and layers are those of the full-size network."""


@cache
def largest_difference(base: str, model: str) -> float:
    """Largest absolute difference of their logits for a random clip, as a share of the largest logit.

    Both compute in evaluation mode and in float32, whose rounding leaves shares of 1e-6 where sums are ordered
    differently.

    Args:
        base: name of a network, e.g. "tsn".
        model: name of another that is fed the same number of frames, e.g. "tada2d".
    """
    one, two = _outputs(base), _outputs(model)
    return float((one - two).abs().max() / one.abs().max())


@cache
def _outputs(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    network = build_model(name, 400).eval()
    clip = torch.randn(1, 3, network.frames, _CLIP_SIDE, _CLIP_SIDE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network(clip)
