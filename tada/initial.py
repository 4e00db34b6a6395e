"""Weights that a run starts from, as its recipe says (Appendix A.1)."""

from pathlib import Path
from typing import Any

from torch import nn

from tada.errors import TadaError
from tada.models.weights import load_imagenet


def set_initial_weights(model: nn.Module, initial: str, imagenet: Path | None) -> dict[str, Any]:
    """Fill `model` in place; returns what metrics.json tells of it: kind, and file and SHA-256 if there is one.

    Args:
        model: freshly built.
        initial: `train.initial` of the recipe.
        imagenet: local file of torchvision's ResNet-50; None lets torchvision download it.

    Raises:
        TadaError: the file is missing, refused or of another network, or this kind of start is not there yet.
    """
    if initial == "scratch":
        return {"kind": initial}
    if initial == "imagenet":
        loaded = load_imagenet(model, imagenet)
        return {"kind": initial, "file": loaded.file, "sha256": loaded.sha256}
    raise TadaError(f"train.initial {initial!r}: runs cannot start from another dataset's run yet")
