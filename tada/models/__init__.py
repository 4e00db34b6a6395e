"""The networks of the paper, by name. Importing this package alone does not import torch."""

from typing import TYPE_CHECKING, Any

from tada.models.definitions import model_names, model_options

if TYPE_CHECKING:
    from tada.models.zoo import build_model

__all__ = ["build_model", "model_names", "model_options"]


def __getattr__(name: str) -> Any:
    if name == "build_model":
        from tada.models.zoo import build_model

        return build_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
