"""GPUs whose training steps were measured (`benchmarks.training`), and what they take to be fed. Imports no torch."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from tada.base import TadaError
from tada.base.files import MEASURED, PRECISIONS, DamagedFile, read_json

MEASURED_FRAMES, MEASURED_SIDE = 8, 224
"""Of the clips whose steps are measured."""


_FORMS = ("R2D", "TAda2D")


@dataclass(frozen=True)
class Card:
    """A GPU whose training steps were measured.

    Attributes:
        name: as torch gives it.
        conditions: how the steps were measured, in words.
        clips: in such a step.
        rates: clips per second by precision and network, "R2D" and "TAda2D".
        peaks: most memory of such a step in bytes, likewise; empty where it was not measured.
    """

    name: str
    conditions: str
    clips: int
    rates: Mapping[str, Mapping[str, float]]
    peaks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str, folder: Path = MEASURED) -> "Card":
        """The card whose file's name has `name` in it.

        Raises:
            TadaError: none or several were measured, which are named, or the file is damaged.
        """
        files = {file.stem: file for file in sorted(folder.glob("*.json")) if "gpu" in _measured(file)}
        found = [stem for stem in files if name.lower() in stem]
        if len(found) != 1:
            raise TadaError(
                f"--gpu {name}: {'several such were' if found else 'was not'} measured; measured: "
                f"{', '.join(found or files) or 'none'}. `python -m benchmarks.training` measures the GPU of a machine"
            )
        return cls._read(files[found[0]])

    @classmethod
    def here(cls, folder: Path = MEASURED) -> "Card | None":
        """The first GPU of this machine, if it was measured; None of another, or without one.

        Raises:
            TadaError: the file of a measured card is damaged.
        """
        names = _gpus_here()
        files = (file for file in sorted(folder.glob("*.json")) if names and _measured(file).get("gpu") == names[0])
        return next((cls._read(file) for file in files), None)

    @classmethod
    def _read(cls, file: Path) -> "Card":
        content = _measured(file)
        try:
            measured = {name: content[name] for name in PRECISIONS if name in content}
            rates = {
                precision: {form: float(of[form]["clips_per_second"]) for form in _FORMS}
                for precision, of in measured.items()
            }
            peaks = {
                precision: {form: float(of[form]["peak_bytes"]) for form in _FORMS}
                for precision, of in measured.items()
                if all("peak_bytes" in of[form] for form in _FORMS)
            }
            how = f"steps of {content['clips']} clips, {'eager' if content['mode'] == 'eager' else 'compiled'}"
            return cls(content["gpu"], how, int(content["clips"]), rates, peaks)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFile(
                f"{file}: not what benchmarks.training writes ({error!r}); measure that GPU again"
            ) from None


def _gpus_here() -> list[str]:
    """Names of this machine's GPUs, as their driver gives them; none without a driver."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line.strip() for line in listed.splitlines() if line.strip()]


def _measured(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{file}: cannot be read as JSON ({error}); measure again") from None
    return content if isinstance(content, dict) else {}


def needed_workers(card: Card, datasets: Iterable[str], folder: Path = MEASURED) -> list[str]:
    """For each processor whose clips were measured, how many processes keep the card fed with TAda2D's clips."""
    lines = []
    for file in sorted(folder.glob("*.json")):
        content = _measured(file)
        for kind in content.get("kinds", ()):
            if kind["dataset"] not in datasets:
                continue
            rates = {form: kind[form]["clips_per_second"] for form in ("original", "prepared")}
            fed = card.rates["float32"]["TAda2D"]
            needs = [f"{ceil(fed / rate)} with {form} ones ({rate:g}/s each)" for form, rate in rates.items()]
            lines.append(
                f"{fed:g} clips/s of videos as {kind['videos']} need so many processes: {', '.join(needs)}; on cores "
                f"of {content['cpu']}"
            )
    return lines
