"""Where a number comes from: code, packages, hardware and cost, recorded beside every result."""

import importlib.metadata
import os
import platform
import resource
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tada.base import files


@cache
def git_state(root: Path = files.PROJECT) -> dict[str, Any]:
    """The commit of the suite's code and whether tracked files differ from it; both None outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return {
            "git_commit": git("rev-parse", "HEAD").strip(),
            "git_dirty": bool(git("status", "--porcelain", "--untracked-files=no").strip()),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_dirty": None}


def packages() -> dict[str, str]:
    """Name and version of every installed package."""
    found = {dist.metadata["Name"]: dist.version for dist in importlib.metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, and names of the GPUs it sees (no host name: results are published)."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def environment() -> dict[str, Any]:
    """Code, interpreter, packages and hardware, as the `environment` part of metrics.json."""
    return {**git_state(), "python": platform.python_version(), "packages": packages(), "hardware": hardware()}


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
