"""GFLOPs of a peer's network as another library builds it, for the cited rows of Table 7."""

from decimal import Decimal
from functools import cache

import torch
from torchvision.models import video

from tada.complexity import measure

NETWORKS = {"torchvision.s3d": video.s3d}


@cache
def gflops(network: str, frames: int, resolution: int) -> Decimal:
    """GFLOPs of a network of `NETWORKS` for one clip of `frames` frames and `resolution` x `resolution` pixels."""
    with torch.random.fork_rng(devices=[]):
        built = NETWORKS[network](num_classes=400).eval()
    return Decimal(measure(built, (1, 3, frames, resolution, resolution)).macs).scaleb(-9)
