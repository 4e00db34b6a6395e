"""Models by name: what `config/models.yaml` says of one, and the network that this describes.

Only building a network imports torch, so that the plan of all runs is made in a moment.
"""

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tada.base import TadaError, unknown
from tada.base.files import CONFIG
from tada.base.yaml_files import read_yaml, validate, without_sources

if TYPE_CHECKING:
    from tada.models.blocks import Network


def model_names(folder: Path = CONFIG) -> list[str]:
    """All names that `build_model` takes, in the order of `models.yaml`."""
    return list(_entries(folder))


def model_options(name: str, folder: Path = CONFIG) -> dict[str, Any]:
    """The options of a model with those of all the entries it extends, `network` included.

    Raises:
        TadaError: the name is unknown (the nearest are given), or the entries extend each other in a circle.
    """
    return _resolve(name, _entries(folder), ())


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` over it, mappings merged in turn."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping):
            merged[key] = merge(merged.get(key) or {}, value)
        else:
            merged[key] = list(value) if isinstance(value, tuple) else value
    return merged


@functools.cache
def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "models.yaml"
    content: dict[str, dict[str, Any]] = without_sources(read_yaml(path))
    validate(content, "models", str(path))
    return content


def _resolve(name: str, entries: Mapping[str, Any], extending: tuple[str, ...]) -> dict[str, Any]:
    if name in extending:
        raise TadaError(f"models.yaml: {' extends '.join([*extending, name])}, which is a circle")
    if name not in entries:
        raise unknown("model", name, entries, where=f"{extending[-1]}: extends" if extending else "")
    entry = dict(entries[name])
    base = entry.pop("extends", None)
    return merge(_resolve(base, entries, (*extending, name)), entry) if base else merge({}, entry)


def build_model(name: str, num_classes: int | Mapping[str, int], **overrides: Any) -> "Network":
    """The network that `config/models.yaml` describes under `name`, freshly initialised from torch's seed.

    Args:
        name: e.g. "tsn", "tada2d", "slowonly+tada".
        num_classes: classes, or a mapping such as {"verb": 97, "noun": 300} for one head each.
        overrides: options of the network in place of the model's own, e.g. `depth=[1, 1, 1, 1], width=16`; mappings are
            merged.

    Raises:
        TadaError: an unknown name or option, with the nearest valid ones, or options that do not go together.
    """
    return build_network(name, model_options(name), num_classes, **overrides)


def build_network(
    name: str, definition: Mapping[str, Any], num_classes: int | Mapping[str, int], **overrides: Any
) -> "Network":
    """The network that `definition` describes, as `model_options` gives it or a run's record keeps it.

    Raises:
        TadaError: as `build_model`, whose messages call it `name`.
    """
    from tada.models.networks import ResNet, SlowFast

    options = merge(definition, overrides)
    validate({name: options}, "models", where="options of a model")
    networks: dict[str, type[Network]] = {"resnet": ResNet, "slowfast": SlowFast}
    network = networks[options.pop("network")]
    valid = list(inspect.signature(network).parameters)[1:]
    for key in options:
        if key not in valid:
            raise unknown("key", key, valid, where=f"options of a model: {name}")
    try:
        return network(num_classes, **options)
    except ValueError as error:  # of tada.conv, which knows no error of ours
        raise TadaError(f"options of a model: {name}: {error}") from None
