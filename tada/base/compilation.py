"""Networks compiled by torch.compile, so that a GPU spends its time on convolutions and not on memory and launches.

Compilation is never needed: where it is not possible, or its code fails, a line says why, and the same functions are
computed as they are ("eagerly"). Numbers agree within the noise of another order of sums, and dropout draws the same.
Compiled code is kept in a folder, where the next run finds it.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from tada.base import first_line

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    "triton.cudagraphs": True,  # the whole network is one launch on a GPU
    "triton.cudagraph_skip_dynamic_graphs": True,  # of changing shapes each would be recorded, and kept in memory
    "fallback_random": True,  # torch's own random numbers
}
"""Of torch's compiler."""

OLDEST = (7, 0)
"""Least compute capability of a GPU that Triton writes code for."""


class Compiler:
    """Compiles the networks of a process, or leaves them as they are.

    Attributes:
        obstacle: why they are left as they are; empty where they are compiled.

    Args:
        obstacle: known beforehand.
        say: receives the line where compiled code fails.
    """

    def __init__(self, obstacle: str = "it was not asked for", say: Callable[[str], None] = lambda _: None) -> None:
        self.obstacle, self._say = obstacle, say

    @classmethod
    def of(
        cls, wanted: bool | None, device: torch.device, folder: Path, say: Callable[[str], None], pays: bool = True
    ) -> "Compiler":
        """A compiler for a device.

        Args:
            wanted: what the user says; None: compile on a GPU where it pays.
            device: that computes.
            folder: for compiled code; the variable TORCHINDUCTOR_CACHE_DIR, which may name another, is set to it.
            say: receives a line where compilation is not possible.
            pays: whether the networks are large enough for it to be worth a minute.
        """
        if wanted is False:
            return cls("it is switched off")
        if wanted is None and not (pays and device.type == "cuda"):
            return cls("it does not pay")
        folder = Path(os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.absolute())))
        if obstacle := _obstacle(device, folder):
            say(f"networks are not compiled, and slower: {obstacle}")
        return cls(obstacle, say)

    @property
    def active(self) -> bool:
        """Whether networks are compiled."""
        return not self.obstacle

    def compile(
        self, function: Callable[Arguments, Result], dynamic: bool | None = False
    ) -> Callable[Arguments, Result]:
        """`function` compiled, at its first call; itself where nothing is compiled.

        Should compilation fail, this and all later calls are eager.

        Args:
            function: of tensors.
            dynamic: whether shapes change, and code has to fit all; None: from the second shape on. Otherwise each
                shape is compiled for.
        """
        if not self.active:
            return function
        compiled = torch.compile(function, dynamic=dynamic, options=OPTIONS)

        def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
            if not self.active:
                return function(*arguments, **options)
            try:
                return compiled(*arguments, **options)
            except Exception as error:
                self.give_up(reason_of(error))
                return function(*arguments, **options)  # which raises what is no fault of the compiler

        return call

    def compile_stages(self, model: nn.Module) -> None:
        """Compile each stage of `model` in place, so that gradients of the last one are there before the first's.

        Calls fail where the compiler does; `give_up` makes them eager.
        """
        if self.active:
            for stage in _stages(model):
                stage.compile(dynamic=False, options=OPTIONS)

    def give_up(self, reason: str) -> None:
        """From now on all functions of this process are computed as they are; says why, once."""
        if self.active:
            folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
            advice = f"if it comes again, remove the compiled code, {folder}, or switch it off by --no-compile"
            self._say(f"networks are not compiled, and slower: {reason}; {advice}")
            self.obstacle = reason
            torch.compiler.set_stance("force_eager")


def repeated_to(length: int, batch: torch.Tensor) -> torch.Tensor:
    """A batch `[n, ...]` of at most `length` samples with the last one repeated: `[length, ...]`."""
    missing = length - len(batch)
    return torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])]) if missing else batch


def reason_of(error: Exception) -> str:
    """Kind and first line of the error that an error of torch's compiler comes from."""
    inner = getattr(error, "inner_exception", None) or error
    return f"{type(inner).__name__}: {first_line(str(inner))}"


def _obstacle(device: torch.device, folder: Path) -> str:
    """Why torch cannot compile for a device, as far as that is known before it tries; else empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder}, the folder for compiled code, cannot be made ({error.strerror})"
    if device.type != "cuda":
        return ""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if (capability := torch.cuda.get_device_capability(device)) < OLDEST:
        name, (major, minor) = torch.cuda.get_device_name(device), capability
        return f"{name}, of compute capability {major}.{minor}, is older than Triton supports"
    return ""


def _stages(model: nn.Module) -> list[nn.Module]:
    """The children of a network, or those in its dicts of stages."""
    children = list(model.children())
    return [stage for child in children for stage in (child.values() if isinstance(child, nn.ModuleDict) else [child])]
