"""Weights from elsewhere: ImageNet's from torchvision, the authors' released networks, and this suite's own runs.

Files are read without running anything in them, and compared with a network key by key.
"""

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tada.base import TadaError
from tada.base.files import DamagedFile, check_archive, existing_file, sha256
from tada.models.blocks import Network
from tada.models.networks import SlowFast
from tada.models.registry import build_model


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


_ARRAYS: list[Any] = [
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in ("float16", "float32", "float64")),
    *((np.empty(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""What torch has to know of NumPy, of its first version too, to read arrays of numbers."""


def read_checkpoint(path: Path, kind: str = "weights") -> Any:
    """The content of a file that `torch.save` wrote: tensors, arrays of numbers and plain values, nothing else.

    The checksums of the archive's members are compared, which torch itself does not do.

    Args:
        path: the file.
        kind: what it should hold, for messages.

    Raises:
        DamagedFile: the file is no such file, is cut short or has changed, or would execute code when loaded.
        TadaError: it is not there, or cannot be read from its disk.
    """
    existing_file(path, f" of {kind}")
    try:
        if _is_archive(path):
            check_archive(path, f"a file of {kind}")
        with warnings.catch_warnings(), torch.serialization.safe_globals(_ARRAYS):
            warnings.simplefilter("ignore")  # of unusual pickles; what matters is said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except DamagedFile:
        raise
    except OSError as error:
        raise TadaError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged file shows as one of many kinds of error
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise DamagedFile(
                f"{path}: refused. Loading it would execute code ({found[1]}); {kind} are read from files of tensors "
                "and plain values only"
            ) from None
        # Torch's own words are left out: they go on with how to load files that could run code.
        what = "it is empty" if not path.stat().st_size else "torch.save has not written it so"
        raise DamagedFile(f"{path}: not a file of {kind}, or cut short ({what})") from None


def _is_archive(path: Path) -> bool:
    """Whether a file begins as what `torch.save` writes; older files are no archives, and have no checksums."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


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


_COUNTERS = "num_batches_tracked"  # older files lack them, and nothing is computed from them


def load_imagenet(network: nn.Module, path: Path | None = None) -> Loaded:
    """Start a network from torchvision's ImageNet ResNet-50, as the paper does (Appendices A and B).

    A kernel of three frames gets the 2D kernel, divided by three, at each of them. What ImageNet has nothing for keeps
    its initial values: head, calibration, BN2, temporal convolutions, lateral connections; in SlowFast also all layers
    whose channels differ, which is the fast pathway and what directly follows a lateral connection.

    Args:
        network: any of `build_model`, of full depth and width.
        path: a file of torchvision's weights, e.g. `resnet50-0676ba61.pth`; None downloads it to torch's cache.

    Raises:
        TadaError: the download fails, the file is refused, or names and shapes differ, each of which is named.
    """
    path = Path(path or _download_imagenet())
    state = tensors(read_checkpoint(path), path)
    own = network.state_dict()
    sources = {name: source for name in own if (source := _imagenet_name(name))}
    found = {name: _inflated(state[source], own[name]) for name, source in sources.items() if source in state}
    used = set(sources.values())
    if isinstance(network, SlowFast):
        for name in [name for name, value in found.items() if value.shape != own[name].shape]:
            del sources[name], found[name]
    unknown = [key for key in state if key not in used and not key.startswith("fc.") and _COUNTERS not in key]
    return fill(network, found, set(sources), path, unknown)


def load_backbone(network: nn.Module, path: Path) -> Loaded:
    """Start a network from a checkpoint of one of this suite's runs of the same model, or of the authors' TAda2D, its
    head excepted.

    Raises:
        TadaError: the file is refused, or names and shapes differ, each of which is named.
    """
    content = read_checkpoint(path)
    if isinstance(content, dict) and "model_state" in content:
        translated, unknown = _translated(tensors(content, path, "model_state"))
        found = {name: value for name, value in translated.items() if not name.startswith("head.")}
        wanted = {name for name in _without_counters(network.state_dict()) if not name.startswith("head.")}
        return fill(network, found, wanted, path, unknown)
    state = tensors(content, path, "model")
    found = {name: value for name, value in state.items() if not name.startswith("head.")}
    return fill(network, found, {name for name in network.state_dict() if not name.startswith("head.")}, path, [])


@dataclass(frozen=True)
class Released:
    """A network that the authors released.

    Attributes:
        network: in evaluation mode.
        loaded: file and SHA-256, since the published links carry no hashes to compare with.
        frames: number of frames that the file says, or None.
    """

    network: Network
    loaded: Loaded
    frames: int | None


def load_released(path: Path, frames: int | None = None) -> Network:
    """The network alone of `read_released`."""
    return read_released(path, frames).network


def read_released(path: Path, frames: int | None = None) -> Released:
    """The TAda2D network of a checkpoint that the authors released.

    Classes are read from the file, and so is the number of frames unless it is given (8 if the file does not say).

    Raises:
        TadaError: the file is refused, has another layout, has no calibration and is thus no TAda2D at all, or is of
            another architecture: each name and shape that differs is named.
    """
    path = Path(path)
    content = read_checkpoint(path)
    state = tensors(content, path, "model_state")
    found, unknown = _translated(state)
    if not any(".calibration." in name for name in found):
        some = ", ".join(list(state)[:2])
        raise TadaError(f"{path}: no TAda2D of any release: of its {len(state)} tensors ({some}, ...) none calibrates")
    said = _released_frames(content)
    network = build_model("tada2d", _classes(found), frames=frames or said or 8)
    loaded = fill(network, found, _without_counters(network.state_dict()), path, unknown)
    return Released(network.eval(), loaded, said)


def _translated(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """A released checkpoint's tensors by our names, and the names of those that TAda2D has nothing of."""
    names = {key: _released_name(key) for key in state}
    found = {name: state[key] for key, name in names.items() if name is not None}
    return found, [key for key, name in names.items() if name is None]


_BLOCK_LAYER = re.compile(r"(conv[123]|bn[123]|downsample\.[01])\.(weight|bias|running_mean|running_var)")


def _imagenet_name(name: str) -> str | None:
    """Our name of a base weight -> torchvision's; None for what an image network does not have."""
    name = name.removeprefix("slow.").removeprefix("fast.")
    if found := re.fullmatch(r"stem\.((?:conv1|bn1)\..+)", name):
        return None if _COUNTERS in name else found[1]
    found = re.fullmatch(r"res([2-5])\.(\d+)\.(.+)", name)
    if found is None or not _BLOCK_LAYER.fullmatch(found[3]):
        return None
    return f"layer{int(found[1]) - 1}.{found[2]}.{found[3]}"


def _inflated(value: Tensor, own: Tensor) -> Tensor:
    """A 2D kernel spread evenly over the frames of a 3D one."""
    if value.dim() != 4 or own.dim() != 5:
        return value
    frames = own.shape[2]
    return value.unsqueeze(2).expand(-1, -1, frames, -1, -1) / frames


def _download_imagenet() -> Path:
    from torchvision.models import ResNet50_Weights

    weights = ResNet50_Weights.IMAGENET1K_V1
    target = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not target.exists():
        try:
            weights.get_state_dict(progress=False, check_hash=True)
        except OSError as error:
            raise TadaError(
                f"torchvision's ImageNet weights cannot be downloaded ({error}); fetch {target.name} elsewhere and set "
                "imagenet_weights in config/config.yaml to its path"
            ) from None
    return target


# The released names of a block's parts -> ours; `b` is the TAdaConv, `b_rf` its calibration function.
_RELEASED_PARTS = {
    "short_cut": "downsample.0",
    "short_cut_bn": "downsample.1",
    "conv_branch.a": "conv1",
    "conv_branch.a_bn": "bn1",
    "conv_branch.b": "conv2",
    "conv_branch.b_rf.g": "conv2.calibration.global_fc",
    "conv_branch.b_rf.a": "conv2.calibration.reduce",
    "conv_branch.b_rf.bn": "conv2.calibration.norm",
    "conv_branch.b_rf.b": "conv2.calibration.emit",
    "conv_branch.b_bn": "bn2",
    "conv_branch.b_avgpool_bn": "bn2.pooled",
    "conv_branch.c": "conv3",
    "conv_branch.c_bn": "bn3",
}


_RELEASED_OUTSIDE = {
    "backbone.conv1.a": "stem.conv1",
    "backbone.conv1.a_bn": "stem.bn1",
    "head.out": "head.linear",
    "head.linear1": "head.linear.verb",
    "head.linear2": "head.linear.noun",
}


def _released_name(key: str) -> str | None:
    """A released name -> ours; None if TAda2D has nothing of that name."""
    layer, _, value = key.rpartition(".")
    if layer in _RELEASED_OUTSIDE:
        return f"{_RELEASED_OUTSIDE[layer]}.{value}"
    found = re.fullmatch(r"backbone\.conv([2-5])\.res_(\d+)\.(.+)", layer)
    if found is None or found[3] not in _RELEASED_PARTS:
        return None
    return f"res{found[1]}.{int(found[2]) - 1}.{_RELEASED_PARTS[found[3]]}.{value}"


def _classes(found: dict[str, Tensor]) -> int | dict[str, int]:
    """Classes of a released head, by its weights; those of Kinetics if it has none, so that the rest is compared."""
    if "head.linear.verb.weight" in found and "head.linear.noun.weight" in found:
        return {task: len(found[f"head.linear.{task}.weight"]) for task in ("verb", "noun")}
    return len(found["head.linear.weight"]) if "head.linear.weight" in found else 400


def _released_frames(content: dict) -> int | None:
    try:
        return int(json.loads(content["cfg"])["DATA"]["NUM_INPUT_FRAMES"])
    except (KeyError, TypeError, ValueError):
        return None


def _without_counters(names: Iterable[str]) -> set[str]:
    return {name for name in names if _COUNTERS not in name}
