"""From the name of a model in `config/models.yaml` to its network."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from tada.errors import TadaError, unknown
from tada.models.resnet import ResNet
from tada.paths import CONFIG
from tada.settings import load_yaml

MODELS_FILE = CONFIG / "models.yaml"
NETWORKS = {"resnet": ResNet}


def model_names() -> list[str]:
    """All names that `build_model` takes, in the order of `config/models.yaml`."""
    return list(_entries())


def model_options(name: str) -> dict[str, Any]:
    """The options of a model with those of all the entries it extends, `network` included.

    Raises:
        TadaError: the name is unknown (the nearest are given), or the entries extend each other in a circle.
    """
    return _resolve(name, ())


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
    options = _merge(model_options(name), overrides)
    network = NETWORKS[options.pop("network")]
    valid = list(inspect.signature(network).parameters)[1:]
    for key in options:
        if key not in valid:
            raise unknown("option", key, valid, where=f"model {name}")
    return network(num_classes, **options)


@functools.cache
def _entries() -> dict[str, dict[str, Any]]:
    return load_yaml(MODELS_FILE, "models")


def _resolve(name: str, extending: tuple[str, ...]) -> dict[str, Any]:
    if name in extending:
        raise TadaError(f"{MODELS_FILE.name}: {' extends '.join([*extending, name])}, which is a circle")
    if name not in _entries():
        raise unknown("model", name, _entries(), where=f"{extending[-1]}: extends" if extending else "")
    entry = dict(_entries()[name])
    base = entry.pop("extends", None)
    return _merge(_resolve(base, (*extending, name)), entry) if base else _merge({}, entry)


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merge(inner or {}, value) if isinstance(value, Mapping) else value
    return merged
