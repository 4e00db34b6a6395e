"""Where a number comes from: code, packages, hardware and cost, recorded beside every result."""

import importlib.metadata
import os
import platform
import resource
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tada.base import files


@dataclass(frozen=True)
class Hardware:
    """Processor, cores this process may use, and names of the GPUs it sees (no host name: results are published)."""

    cpu: str
    cores: int
    gpus: list[str]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment:
    """Code, interpreter, packages (name -> version) and hardware of a result.

    `git_commit` and `git_dirty` (whether tracked files differ from it) are None outside a git checkout.
    """

    git_commit: str | None
    git_dirty: bool | None
    python: str
    packages: dict[str, str]
    hardware: Hardware
    extra: dict[str, Any] = field(default_factory=dict)


@cache
def git_state(root: Path = files.PROJECT) -> tuple[str | None, bool | None]:
    """The commit of the suite's code and whether tracked files differ from it; both None outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = bool(git("status", "--porcelain", "--untracked-files=no").strip())
        return git("rev-parse", "HEAD").strip(), changed
    except (OSError, subprocess.CalledProcessError):
        return None, None


def packages() -> dict[str, str]:
    """Name and version of every installed package."""
    found = {dist.metadata["Name"]: dist.version for dist in importlib.metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hardware() -> Hardware:
    """That of this process."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Hardware(_cpu_name(), cores, [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())])


def environment() -> Environment:
    """That of this process."""
    return Environment(*git_state(), platform.python_version(), packages(), hardware())


def peak_memory_bytes() -> int:
    """Most memory held at once by this process: of the GPU where there is one, else resident memory."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if platform.system() == "Darwin" else usage * 1024  # macOS counts bytes, Linux kibibytes


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
