"""Inside a job: what each process does, and the start of several processes on one machine.

A process finds the others of its job, executes the run, and goes back to the queue when time is up. Schedulers that
start commands call `python -m tada.cluster.worker TASK.json`, which starts the processes of the job on its machine.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tada.base import TadaError
from tada.base.files import read_json, write_json
from tada.base.processes import INTERRUPTED, MEMORY, StopFlag, free_port
from tada.cluster.jobs import ClusterSettings, job_folder
from tada.cluster.scheduler import Busy, JobProcess, JobResult, Phase, Scheduler, load_scheduler, result_file
from tada.runs.run import Run

CONTINUE = "continue"
"""Result of a job that had to stop and could not go back to the queue: another job has to continue."""


RENDEZVOUS_SECONDS = 300.0
"""Time in which the processes of a job have to find each other, or to end together."""


REQUEUE_PAUSES = (1, 5, 10, 15)
"""Seconds between the attempts to go back to the queue."""


PATIENCE_SECONDS = 30.0
"""Time for a job's other processes to end by themselves after one has died."""


HOLD_SIGNAL = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""A process of a job starts with this code: a warning, USR2, would kill a Python that is still loading; so it waits."""


_COMMAND = [sys.executable, "-S", "-c", HOLD_SIGNAL, "-m", "tada.cluster.worker"]


@dataclass(frozen=True)
class Task:
    """One run, as submitted. Nothing in it grows old: how far the run is, a process looks up when it starts."""

    arguments: dict[str, Any]
    working_folder: str
    signal_seconds: int
    scheduler: str = "slurm"

    def __call__(self) -> str | None:
        """Execute the run; its end, good or bad, is in outcome.json, and None is returned.

        Raises:
            SystemExit: the run failed, and its other processes are to be ended too; or it was asked to stop.
        """
        os.chdir(self.working_folder)
        scheduler = load_scheduler(ClusterSettings(scheduler=self.scheduler), self.run.results)
        job = _Job(scheduler, self.signal_seconds)
        stop = StopFlag(signal.SIGTERM, signal.SIGUSR2, on_signal=job.set_alarm)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])  # held back since the process started
        job.rendezvous(job_folder(self.run))
        from tada.execute import main  # imports torch, which the process that submits does without

        status = main(self.arguments, stop)
        if status == INTERRUPTED:
            return job.leave(stop.number)
        if status:
            sys.exit(status)
        return None

    @property
    def run(self) -> Run:
        """The run that is executed; its folder is relative to the working folder."""
        place = {name: self.arguments[name] for name in ("scale", "dataset", "model", "seed")}
        return Run(**place, results=Path(self.arguments["results"]))


class _Job:
    """The job that this process belongs to."""

    def __init__(self, scheduler: Scheduler, signal_seconds: int) -> None:
        self.scheduler, self.signal_seconds = scheduler, signal_seconds
        self.process: JobProcess = scheduler.process()
        os.environ["TADA_RESTARTS"] = str(self.process.restarts)  # for the record of the run's cost

    def set_alarm(self, number: int) -> None:
        """Work that does not come to a stop in time is given up; it goes on from where it was last saved."""
        if number == signal.SIGUSR2 and self.process.rank == 0:
            # A job that cannot go back to the queue ends as if the warning had ended it: another one goes on.
            signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(0 if self._requeue() else 128 + number))
            signal.alarm(max(int(self.signal_seconds * 0.75), 1))

    def leave(self, number: int | None) -> str:
        """After the state is saved: back to the queue, unless SIGTERM came since the scheduler itself ends the job."""
        signal.alarm(0)
        if self.process.rank == 0:
            if number == signal.SIGTERM and not self._still_running():
                sys.exit(128 + number)
            if not self._requeue():
                return CONTINUE
            sys.exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(RENDEZVOUS_SECONDS)  # the first process ends this one, by requeueing the job or by its own exit
        sys.exit(1)

    def rendezvous(self, folder: Path) -> None:
        """Set the variables by which the processes of `torch.distributed` find each other.

        Address and port are others at each start, since a former start may still hold its port.
        """
        process = self.process
        if process.size == 1 or not process.address:
            return
        file = folder / f"{process.job_id}.{process.restarts}.rendezvous.json"
        if process.rank == 0:
            write_json(file, {"MASTER_ADDR": process.address, "MASTER_PORT": str(free_port())})
        end = time.monotonic() + RENDEZVOUS_SECONDS
        # A listing, since a shared disk may go on for a while to say that a file it was asked for is not there.
        while file not in folder.iterdir():
            if time.monotonic() > end:
                raise RuntimeError(f"the first process has not written {file} within {RENDEZVOUS_SECONDS:.0f} s")
            time.sleep(0.2)
        os.environ.update(read_json(file))
        os.environ.update(
            {"RANK": str(process.rank), "WORLD_SIZE": str(process.size), "LOCAL_RANK": str(process.local_rank)}
        )

    def _requeue(self) -> bool:
        """Put this job back into the queue under the same id; False if that fails for a while."""
        for pause in REQUEUE_PAUSES:
            try:
                self.scheduler.requeue(self.process.job_id)
                return True
            except (Busy, TadaError) as error:
                print(f"requeue: {error}", file=sys.stderr, flush=True)
                time.sleep(pause)
        return False

    def _still_running(self) -> bool:
        """Whether this job is neither cancelled nor requeued: then SIGTERM began the grace time of a preemption."""
        try:
            states = self.scheduler.states()
        except (Busy, TadaError):
            return False
        return any(state.id == self.process.job_id and state.phase is Phase.RUNNING for state in states)


def job_command(task: Task, processes: int, file: Path) -> list[str]:
    """A command that starts the processes of a job on one machine; `file` is written for it."""
    write_json(file, {"task": asdict(task), "processes": processes})
    return [*_COMMAND, str(file)]


def run_processes(command: Sequence[str], processes: int, signals: Sequence[int]) -> list[int]:
    """Start `processes` processes of one training on this machine, and wait for them.

    Args:
        command: of each process; RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT are set for it.
        processes: how many.
        signals: that are passed on, so that state is saved.

    Returns:
        Exit statuses, that of the first process to end first. A negative one is that of a signal.
    """
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
    started = [
        # Files that were left open for this process's children stay open: a lock that says that the job runs.
        subprocess.Popen(
            command,
            env={**MEMORY, **os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            close_fds=False,
        )
        for rank in range(processes)
    ]

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for process in started:
            process.send_signal(number)

    previous = {number: signal.signal(number, pass_on) for number in signals}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    try:
        return [started[0].wait()] if len(started) == 1 else _wait_for_all(started)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait_for_all(started: list[subprocess.Popen[bytes]]) -> list[int]:
    """Exit statuses; after one process has died, the others, which would wait for it, are ended."""
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


def _execute_task(task: Task) -> int:
    """Call the task in this process, and leave its result where `Scheduler.result` looks for it."""
    try:
        result = JobResult(continues=task() == CONTINUE)
    except Exception:
        result = JobResult(error=traceback.format_exc())
        print(result.error, file=sys.stderr, flush=True)
    process = load_scheduler(ClusterSettings(scheduler=task.scheduler), task.run.results).process()
    write_json(result_file(job_folder(task.run), process.job_id, process.rank), asdict(result))
    return int(bool(result.error))


def main(file: Path, is_process: bool) -> int:
    """Start the processes of a job, or be one of them; returns the exit status."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if is_process:
        return _execute_task(Task(**content["task"]))
    command = [*_COMMAND, str(file), "process"]
    statuses = run_processes(command, content["processes"], [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
    return next((abs(status) for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), is_process=len(sys.argv) > 2))
