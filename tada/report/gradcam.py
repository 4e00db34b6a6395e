"""Where a trained network looks in the frames of a clip: Grad-CAM (Selvaraju et al., 2017) of one of its stages."""

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.nn import functional as F

from tada.data.transforms import normalise


def activation_maps(network: nn.Module, layer: str, clip: Tensor, category: int) -> npt.NDArray[np.float32]:
    """Grad-CAM of a category over a clip, [T, H, W], from 0 to 1.

    The channels of the layer's output are weighted by the gradient of the category's logit, averaged over all frames
    and places, and summed; what speaks against the category is cut off, and the largest value of the clip becomes 1.

    Args:
        network: of the resnet family, in evaluation mode.
        layer: "res2" to "res5".
        clip: uint8 [3, T, H, W].
        category: whose logit is looked at.
    """
    x = normalise(clip[None]).requires_grad_()
    found = LayerGradCam(network, network.get_submodule(layer)).attribute(x, target=category)  # [1, 1, T, h, w]
    heat = F.relu(found.detach())[0].transpose(0, 1)  # [T, 1, h, w]
    heat = F.interpolate(heat, size=clip.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return (heat / heat.max().clamp(min=1e-12)).numpy()


def deterministic() -> None:
    """One thread: sums in the same order give the same picture."""
    torch.set_num_threads(1)
