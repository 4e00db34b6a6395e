"""GFLOPs of a peer's network as another library builds it, for the cited rows of Table 7."""

from decimal import Decimal
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import video

NETWORKS = {"torchvision.s3d": video.s3d}


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
