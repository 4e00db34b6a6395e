"""Files of weights: read without running anything in them, and compared with a network key by key."""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tada.errors import TadaError
from tada.files import sha256


@dataclass(frozen=True)
class Loaded:
    """What a network took from a file.

    Attributes:
        file: its name.
        sha256: of its content.
        fresh: names of the network's parameters that the file has nothing for, and that keep their initial values.
    """

    file: str
    sha256: str
    fresh: tuple[str, ...]


def read_checkpoint(path: Path, kind: str = "weights") -> Any:
    """The content of a file that `torch.save` wrote: tensors and plain values, nothing else.

    Args:
        path: the file.
        kind: what it should hold, for messages.

    Raises:
        TadaError: the file is not there, is no such file or is cut short, or would execute code when loaded.
    """
    if not path.is_file():
        raise TadaError(f"{path}: no such file of {kind}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles; what matters is said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise TadaError(f"{path}: not a file of {kind} ({_first_line(error)})") from None
        raise TadaError(
            f"{path}: refused. Loading it would execute code ({found[1]}); {kind} are read from files of tensors and "
            "plain values only"
        ) from None
    except Exception as error:  # a damaged archive shows as one of many kinds of error
        raise TadaError(f"{path}: not a file of {kind}, or cut short ({_first_line(error)})") from None


def fill(network: nn.Module, found: Mapping[str, Tensor], wanted: set[str], path: Path, unknown: list[str]) -> Loaded:
    """Copy tensors into a network, all of them or none.

    Args:
        network: to be filled.
        found: the file's tensors, by the network's names; shapes may differ in dimensions of size one.
        wanted: names of the network that the file must have.
        path: of the file.
        unknown: names of the file that stand for nothing in the network.

    Raises:
        TadaError: each missing and each unexpected name and each shape that differs, one a line.
    """
    own = network.state_dict()
    faults = [f"missing: {name} {list(own[name].shape)}" for name in sorted(wanted - found.keys())]
    faults += [f"unexpected: {name}" for name in sorted([*unknown, *(found.keys() - own.keys())])]
    for name in sorted(found.keys() & own.keys()):
        shapes = [list(found[name].shape), list(own[name].shape)]
        if _without_ones(shapes[0]) != _without_ones(shapes[1]):
            faults.append(f"shape of {name}: {shapes[0]} in the file, {shapes[1]} in the network")
    if faults:
        raise TadaError("\n  ".join([f"{path} does not fit {type(network).__name__}:", *faults]))
    with torch.no_grad():
        for name, value in found.items():
            own[name].copy_(value.reshape(own[name].shape))
    fresh = (name for name, _ in network.named_parameters() if name not in found)
    return Loaded(path.name, sha256(path), tuple(fresh))


def tensors(content: Any, path: Path, key: str | None = None) -> dict[str, Tensor]:
    """The named tensors that a checkpoint's content is, or has under `key`.

    Raises:
        TadaError: it is something else; what is there is said.
    """
    state = content
    if key is not None:
        state = content.get(key) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        there = ", ".join(sorted(map(str, content)))[:200] if isinstance(content, dict) else type(content).__name__
        where = f" under the key {key!r}" if key is not None else ""
        raise TadaError(f"{path}: expected named tensors{where}, found: {there}")
    return dict(state)


def _without_ones(shape: list[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
