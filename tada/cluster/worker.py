"""What each process of a SLURM job does: find its fellows, execute the run, go back to the queue when time is up."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tada.base.files import read_json, write_json
from tada.base.processes import INTERRUPTED, StopFlag, free_port

CONTINUE = "continue"
"""Result of a job that had to stop and could not go back to the queue: another job has to continue."""


MEETING_SECONDS = 300.0


@dataclass(frozen=True)
class Task:
    """One run, as submitted. Nothing in it grows old: how far the run is, a process looks up when it starts."""

    arguments: dict[str, Any]
    working_folder: str
    signal_seconds: int

    def __call__(self) -> str | None:
        """Execute the run; its end, good or bad, is in outcome.json, and None is returned.

        Raises:
            SystemExit: the run failed, and its other processes are to be ended too; or it was told to stop.
        """
        stop = StopFlag(signal.SIGTERM, signal.SIGUSR2, on_signal=self._set_alarm)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])  # held back since the process started
        os.chdir(self.working_folder)
        _meet()
        from tada.execute import main  # imports torch, which the process that submits does without

        status = main(self.arguments, stop)
        if status == INTERRUPTED:
            return _leave(stop.number)
        if status:
            sys.exit(status)
        return None

    def _set_alarm(self, number: int) -> None:
        """Work that does not come to a stop in time is given up; it goes on from where it was last saved."""
        if number == signal.SIGUSR2 and _rank() == 0:
            signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(0 if _requeue() else 1))
            signal.alarm(max(int(self.signal_seconds * 0.75), 1))


def _leave(number: int | None) -> str:
    """After the state is saved: back to the queue, unless SIGTERM came since SLURM itself is about to end the job."""
    signal.alarm(0)
    if _rank() == 0:
        if number == signal.SIGTERM and not _still_running():
            sys.exit(128 + number)
        if not _requeue():
            return CONTINUE
        sys.exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(MEETING_SECONDS)  # the first process ends this one, by requeueing the job or by its own exit
    sys.exit(1)


def _requeue() -> bool:
    """Put this job back into the queue under the same id; False if SLURM does not do so within a minute."""
    command = ["scontrol", "requeue", os.environ["SLURM_JOB_ID"]]
    for pause in (1, 5, 10, 15):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return True
        print(f"scontrol requeue: {done.stderr.strip()}", file=sys.stderr, flush=True)
        time.sleep(pause)
    return False


def _still_running() -> bool:
    """Whether this job is neither cancelled nor requeued: then SIGTERM began the grace time of a preemption."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={os.environ['SLURM_JOB_ID']}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "RUNNING"


def _meet() -> None:
    """Tell `torch.distributed` where to meet: elsewhere at each start, since a former start may still hold its port."""
    size, rank = int(os.environ["SLURM_NTASKS"]), _rank()
    if size == 1:
        return
    folder = Path(os.environ["SUBMITIT_FOLDER"])
    start = f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"
    file = folder / f"{start}.meeting.json"
    if rank == 0:
        one_node = os.environ["SLURM_JOB_NUM_NODES"] == "1"
        address = "127.0.0.1" if one_node else os.environ.get("SLURMD_NODENAME", socket.gethostname())
        write_json(file, {"MASTER_ADDR": address, "MASTER_PORT": str(free_port())})
    end = time.monotonic() + MEETING_SECONDS
    # A listing, since a shared disk may go on for a while to say that a file it was asked for is not there.
    while file not in folder.iterdir():
        if time.monotonic() > end:
            raise RuntimeError(f"the first process has not written {file} within {MEETING_SECONDS:.0f} s")
        time.sleep(0.2)
    os.environ.update(read_json(file))
    os.environ.update({"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": os.environ["SLURM_LOCALID"]})


def _rank() -> int:
    return int(os.environ["SLURM_PROCID"])
