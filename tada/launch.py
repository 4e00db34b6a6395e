"""Starts a run in a process of its own and makes sure that its end, however it comes, is on record."""

import json
import signal
import subprocess
import sys
from typing import Any

from tada.files import write_json
from tada.run import Run

INTERRUPTED = 130
"""Exit status of a run that was asked to stop and saved its state."""


def launch(run: Run, data_root: str, attempt: int = 1) -> dict[str, Any]:
    """Execute `run` in a child process, wait for it, and return the content of its outcome.json.

    Raises:
        TadaError: unknown scale, dataset or model.
        SystemExit: with status 130: the run was interrupted; its state is saved and the next launch goes on.
    """
    expected = run.signature  # fails here, with a clear message, before anything is started
    finished = run.read("metrics.json")
    if finished is None:
        command = [sys.executable, "-m", "tada.execute", json.dumps(_arguments(run, data_root, attempt))]
        status = _wait(subprocess.Popen(command))
        if status == INTERRUPTED:
            raise SystemExit(INTERRUPTED)
        outcome = run.read("outcome.json")
        if outcome is not None and outcome["attempt"] == attempt and status in (0, 1):
            return outcome
        if run.read("metrics.json") is None:
            return record_outcome(run, attempt, error=_died(status))
    print(f"[{run}] finished before with signature {expected}", file=sys.stderr)
    return record_outcome(run, attempt)


def record_outcome(run: Run, attempt: int, error: str | None = None) -> dict[str, Any]:
    """Write and return outcome.json: "done", or "failed" with the error's text."""
    outcome = {
        "status": "failed" if error else "done",
        "attempt": attempt,
        "signature": run.signature,
        "error": error,
    }
    write_json(run.file("outcome.json"), outcome)
    return outcome


def _arguments(run: Run, data_root: str, attempt: int) -> dict[str, Any]:
    place = {"scale": run.scale, "dataset": run.dataset, "model": run.model, "seed": run.seed}
    return {**place, "results": str(run.results), "data_root": data_root, "attempt": attempt}


def _wait(process: subprocess.Popen) -> int:
    """The process's exit status; SIGTERM and Ctrl-C are passed on, and it is given time to save its state."""

    def pass_on(number: int, _frame: Any) -> None:
        process.send_signal(number)

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _died(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        reason = " (often: out of memory)" if name == "SIGKILL" else ""
        return f"the run's process was ended by {name}{reason}; its saved state is kept"
    return f"the run's process ended with status {status} and left no result"
