"""What two networks of one seed compute before any training (section 3.2 and Appendix F: the same)."""

from functools import cache

import torch

from tada.models import build_model

SIDE = 64
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
    clip = torch.randn(1, 3, network.frames, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network(clip)
