"""From the name of a model in `config/models.yaml` to its network."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from tada.errors import unknown
from tada.models.definitions import merge, model_options
from tada.models.resnet import ResNet
from tada.models.slowfast import SlowFast
from tada.settings import validate

NETWORKS = {"resnet": ResNet, "slowfast": SlowFast}


def build_model(name: str, num_classes: int | Mapping[str, int], **overrides: Any) -> nn.Module:
    """The network that `config/models.yaml` describes under `name`, freshly initialised from torch's seed.

    Args:
        name: e.g. "tsn", "tada2d", "slowonly+tada".
        num_classes: classes, or a mapping such as {"verb": 97, "noun": 300} for one head each.
        overrides: options of the network in place of the model's own, e.g. `depth=[1, 1, 1, 1], width=16`; mappings are
            merged.

    Raises:
        TadaError: an unknown name or option, with the nearest valid ones.
    """
    options = merge(model_options(name), overrides)
    validate({name: options}, "models", where="options of a model")
    network = NETWORKS[options.pop("network")]
    valid = list(inspect.signature(network).parameters)[1:]
    for key in options:
        if key not in valid:
            raise unknown("key", key, valid, where=f"options of a model: {name}")
    return network(num_classes, **options)
