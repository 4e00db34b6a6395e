"""Has a run trained, on this machine or by a job of a cluster, and puts its end on record, however it comes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tada.base.processes import INTERRUPTED, free_port
from tada.cluster.allocation import fitting_processes, load_cluster
from tada.runs.record import record_outcome
from tada.runs.run import Run

PATIENCE_SECONDS = 30.0
"""Time for a run's other processes to end by themselves after one has died."""


def launch(
    run: Run,
    data_root: str,
    attempt: int = 1,
    processes: int = 0,
    cluster: Path | None = None,
    weights: str = "",
) -> dict[str, Any]:
    """Have `run` trained and tested unless it is, wait for it, and return the content of its outcome.json.

    Args:
        run: what to train.
        data_root: folder of its videos and annotations.
        attempt: number noted in outcome.json.
        processes: on this machine; 0: one for each GPU that the recipe wants and the machine has, or a single one.
        cluster: settings of the SLURM cluster that is to train it; None: this machine does.
        weights: local file of torchvision's ResNet-50 (empty: torchvision downloads it where it is needed), or the
            released checkpoint that is tested.

    Raises:
        TadaError: unknown scale, dataset or model, or a fault in the cluster's settings.
        SystemExit: this process was told to stop. On this machine (status 130) the run has saved its state, and the
            next launch goes on; on a cluster the job goes on, and the next launch attaches to it.
    """
    expected = run.signature  # fails here, with a clear message, before anything is started
    if run.read("metrics.json") is not None:
        print(f"[{run}] finished before with signature {expected}", file=sys.stderr)
        return record_outcome(run, attempt)
    run.file("outcome.json").unlink(missing_ok=True)
    place = {"scale": run.scale, "dataset": run.dataset, "model": run.model, "seed": run.seed}
    inputs = {"data_root": data_root, "weights": weights}
    arguments = {**place, "results": str(run.results), **inputs, "attempt": attempt}
    if cluster:
        from tada.cluster.slurm import train_on_cluster

        problem = train_on_cluster(run, arguments, load_cluster(cluster))
    else:
        problem = _train_here(arguments, processes or fitting_processes(run.recipe, _gpus_wanted(run)))
    if run.read("metrics.json") is not None:
        return record_outcome(run, attempt)
    if outcome := run.read("outcome.json"):
        return record_outcome(run, attempt, error=outcome["error"])
    with run.file("log.txt").open("a", encoding="utf-8") as log:
        print(f"[{run}] {problem}", file=log)
    return record_outcome(run, attempt, error=problem)


def _gpus_wanted(run: Run) -> int:
    wanted = run.recipe.resources.gpus
    if not wanted:
        return 1
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return min(wanted, len([device for device in visible.split(",") if device]))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 1
    return min(wanted, listed.count("GPU "))


def _train_here(arguments: dict[str, Any], processes: int) -> str | None:
    """Start the processes and wait for them; returns what went wrong without the run's own doing.

    Raises:
        SystemExit: the run was asked to stop.
    """
    command = [sys.executable, "-m", "tada.execute", json.dumps(arguments)]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen(command, env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    statuses = _wait(started)
    if INTERRUPTED in statuses:
        raise SystemExit(INTERRUPTED)
    return next((_died(status) for status in statuses if status), None)


def _wait(started: list[subprocess.Popen]) -> list[int]:
    """Exit statuses, that of the first to end first; SIGTERM and Ctrl-C are passed on, so that state is saved."""

    def pass_on(number: int, _frame: Any) -> None:
        for process in started:
            process.send_signal(number)

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if len(started) == 1:
            return [started[0].wait()]
        return _wait_for_all(started)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait_for_all(started: list[subprocess.Popen]) -> list[int]:
    """As `_wait`; after one process has died, the others, which would wait for it, are ended."""
    running, statuses, deadline = list(started), [], None
    while running:
        for process in [process for process in running if process.poll() is not None]:
            running.remove(process)
            statuses.append(process.returncode)
            if process.returncode and deadline is None:
                deadline = time.monotonic() + PATIENCE_SECONDS
        if deadline and time.monotonic() > deadline:
            for process in running:
                process.kill()
        time.sleep(0.1)
    return statuses


def _died(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        reason = " (often: out of memory)" if name == "SIGKILL" else ""
        return f"the run's process was ended by {name}{reason}; its saved state is kept"
    return f"the run's process ended with status {status} and left no result"
