"""The networks of the paper, by name."""

from tada.models.zoo import build_model, model_names, model_options

__all__ = ["build_model", "model_names", "model_options"]
