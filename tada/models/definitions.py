"""What `config/models.yaml` says of a model; needs no torch, so that the plan of all runs is made in a moment."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tada.errors import TadaError, unknown
from tada.paths import CONFIG
from tada.settings import load_yaml


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
    return load_yaml(folder / "models.yaml", "models")


def _resolve(name: str, entries: Mapping[str, Any], extending: tuple[str, ...]) -> dict[str, Any]:
    if name in extending:
        raise TadaError(f"models.yaml: {' extends '.join([*extending, name])}, which is a circle")
    if name not in entries:
        raise unknown("model", name, entries, where=f"{extending[-1]}: extends" if extending else "")
    entry = dict(entries[name])
    base = entry.pop("extends", None)
    return merge(_resolve(base, entries, (*extending, name)), entry) if base else merge({}, entry)
