"""Where a number comes from: code, packages and hardware, recorded beside every result.

`tada.base.devices.environment` makes an Environment: it asks torch for the GPUs, and whoever reads records need not.
"""

import importlib.metadata
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tada
from tada.base import counted, files


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


def machine(hardware: Hardware) -> str:
    """Processor, cores and GPUs in words, e.g. "AMD EPYC, 2 cores"."""
    gpus = Counter(hardware.gpus)
    parts = [
        f"{hardware.cpu}, {counted(hardware.cores, 'core')}",
        *(f"{count} × {name}" for name, count in gpus.items()),
    ]
    return ", ".join(parts)


@cache
def git_state(root: Path = files.PROJECT) -> tuple[str | None, bool | None]:
    """The commit of the suite's code and whether tracked files differ from it; both None outside a git checkout.

    A package that is installed somewhere below a repository of another project is none of that project's files.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        if not git("ls-files", "--", "."):
            return None, None
        changed = bool(git("status", "--porcelain", "--untracked-files=no").strip())
        return git("rev-parse", "HEAD").strip(), changed
    except (OSError, subprocess.CalledProcessError):
        return None, None


def version_and_commit() -> str:
    """Of the suite, as people quote it: "0.1.0, commit 0123456789", or "0.1.0" where there is no checkout."""
    commit, changed = git_state()
    version = tada.__version__
    return f"{version}, commit {commit[:10]}{' with uncommitted changes' if changed else ''}" if commit else version


def packages() -> dict[str, str]:
    """Name and version of every installed package."""
    found = {dist.metadata["Name"]: dist.version for dist in importlib.metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))
