"""TensorBoard's logs of a training, where a user asks for them: the figures of each step, and each epoch's curves.

A training that is killed goes on from the state that it saved last, and makes the steps after it a second time. The log
has each step once all the same: it is on disk before a state is saved (`sync`), so none is missing; and a training that
goes on after step s begins its part of the log with a mark (`purge_step`) at which TensorBoard drops all it has read of
steps after s.
"""

import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

from tada.base import TadaError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
"""Of the logs, in a run's folder."""

STEPS_AT_ONCE = 100
"""Steps that are written together: a GPU is waited for when it is asked for a loss."""


def require_tensorboard() -> None:
    """Raise a TadaError where the package is not installed."""
    if find_spec("tensorboard") is None:
        raise TadaError(
            "TensorBoard's logs need the package tensorboard: pip install 'tada-reproducibility[tensorboard]'; or "
            "leave --tensorboard out, in config/config.yaml the key tensorboard"
        )


class TensorBoard:
    """Writes scalars of one run: `step/...` of every step, and `epoch/...` at the step that ends the epoch.

    Args:
        folder: of the run's logs; made with the first step.

    Raises:
        TadaError: the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require_tensorboard()
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._step = 0
        self._unwritten: list[tuple[int, float, Mapping[str, SupportsFloat]]] = []

    def start(self, done: int) -> None:
        """A phase begins, `done` steps of which an earlier attempt has made."""
        self.close()
        self._step = done

    def step(self, step: int, figures: Mapping[str, SupportsFloat]) -> None:
        """A step is done, counted from 1; its figures may still be on a GPU. Phases without any leave no log."""
        if not figures:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # here, since it takes a second

            self._writer = SummaryWriter(self.folder, purge_step=self._step + 1)
        self._step = step
        self._unwritten.append((step, time.time(), figures))
        if len(self._unwritten) >= STEPS_AT_ONCE:
            self._write_steps()

    def epoch(self, row: Mapping[str, float]) -> None:
        """The last step ended an epoch, with this row of the curves."""
        self._write_steps()
        self._add("epoch", row, self._step)

    def sync(self) -> None:
        """Bring all of it to the disk."""
        if self._writer is None:
            return
        self._write_steps()
        self._writer.flush()
        for file in self.folder.glob("events.*"):
            with file.open("rb") as written:
                os.fsync(written.fileno())

    def close(self) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            self._write_steps()
            self._writer.close()
            self._writer = None

    def _write_steps(self) -> None:
        for step, when, figures in self._unwritten:
            self._add("step", figures, step, when)
        self._unwritten.clear()

    def _add(self, kind: str, figures: Mapping[str, SupportsFloat], step: int, when: float | None = None) -> None:
        for name, value in figures.items():
            if name != "epoch" and self._writer is not None:
                self._writer.add_scalar(f"{kind}/{name}", float(value), step, when)
