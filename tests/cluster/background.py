"""Commands that run while a test disturbs them, and what the runs that they start leave."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd


def wait_until(condition: Callable[[], object], seconds: float, fail: bool = True) -> None:
    """Return once `condition` holds; after `seconds` without it, fail the test (or just return)."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            if fail:
                raise AssertionError(f"did not happen within {seconds} s")
            return
        time.sleep(0.1)


class Command:
    """A command in the background, in a session of its own, as on a login node."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.file = folder / f".output-{len(list(folder.glob('.output-*')))}.txt"
        with self.file.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.file.read_text()

    def wait(self, seconds: float) -> int:
        """Its exit status, within so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.output}") from None

    def until(self, condition: Callable[[], object], seconds: float = 90.0) -> None:
        """Wait for a condition that holds before the command ends."""

        def checked() -> object:
            ended = self.process.poll() is not None
            holds = condition()
            assert holds or not ended, f"ended too early:\n{self.output}"
            return holds

        wait_until(checked, seconds)

    def kill(self) -> None:
        """SIGKILL to all its processes, as when a login node goes down."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def training_process(folder: Path) -> int:
    """The process that trains, found by the folder that it works in."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if "submitit.core._submit" in command and str(folder) in command and "srun" not in command:
            return int(process.name)
    raise AssertionError("no process trains")


def read(folder: Path, name: str) -> dict:
    """A JSON file of a run."""
    return json.loads((folder / name).read_text())


def curves(folder: Path) -> pd.DataFrame:
    """A run's curves without what differs each time."""
    return pd.read_csv(folder / "curves.csv").drop(columns="seconds")


def assert_same_numbers(folder: Path, expected: Path) -> None:
    """Compare all numbers of two runs, to the last bit."""
    assert read(folder, "metrics.json")["metrics"] == read(expected, "metrics.json")["metrics"]
    pd.testing.assert_frame_equal(curves(folder), curves(expected), check_exact=True)
    with np.load(folder / "scores.npz") as scores, np.load(expected / "scores.npz") as expected_scores:
        np.testing.assert_array_equal(scores["scores"], expected_scores["scores"])
