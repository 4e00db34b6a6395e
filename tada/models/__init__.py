"""The networks of the paper, by name. Importing this package alone does not import torch."""

from typing import TYPE_CHECKING, Any

from tada.models.registry import build_model, model_names, model_options

if TYPE_CHECKING:
    from tada.models.weights import load_backbone, load_imagenet, load_released

__all__ = ["build_model", "load_backbone", "load_imagenet", "load_released", "model_names", "model_options"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tada.models import weights

        return getattr(weights, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
