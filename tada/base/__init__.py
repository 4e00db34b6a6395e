"""What every room uses: errors (here), files, YAML, processes and devices, progress, provenance.

An error's message is all that a user needs: what was wrong, where, and what to do.
"""

import sys
from collections.abc import Iterable
from difflib import get_close_matches


class TadaError(Exception):
    """A mistake in input or surroundings; the command line prints its message without a traceback."""


def unknown(kind: str, name: str, valid: Iterable[str], where: str = "", none: str = "") -> TadaError:
    """An error for a `name` that is none of the `valid` ones, naming the nearest of them (or all, if none is near).

    Args:
        kind: what the name stands for, e.g. "model".
        name: the name that was given.
        valid: the names that exist.
        where: file and key in which it stood, e.g. "config/models.yaml: tada2d".
        none: said where there are no valid names: why, and what to do; by default that nothing of the kind is expected.
    """
    names = sorted(map(str, valid))
    if near := get_close_matches(name, names, n=3, cutoff=0.6):
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        hint = f"valid names: {', '.join(names)}." if names else none or f"no {kind} is expected there"
    return TadaError(f"{where + ': ' if where else ''}unknown {kind} {str(name)!r}; {hint}")


def counted(number: int, thing: str, things: str = "") -> str:
    """A number of things in words: "1 run", "1,200 runs"; `things` is the plural, by default with an s."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def first_line(error: str | None) -> str:
    """The line of an error that says most: the last one of a traceback, else the first."""
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    if not lines:
        return "no error was recorded"
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def require_posix() -> None:
    """Raise TadaError on Windows, whose file locks, signals and processes are others than runs rely on."""
    if sys.platform == "win32":
        raise TadaError(
            "runs and tables need Linux or macOS; on Windows install WSL (wsl --install) and use the same commands "
            "there (tada.conv, which needs torch alone, works on Windows, too)"
        )
