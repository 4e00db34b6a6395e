"""What every scheduler has to do, whatever it is."""

import os
import signal
import sys
from pathlib import Path

from background import wait_until

from tada.cluster.jobs import Allocation, job_output
from tada.cluster.scheduler import JobRequest, JobState, Scheduler

SCRIPT = """
import os, sys, time
restarts = os.environ["TADA_RESTARTS"]
print("start", restarts, "process", os.getpid(), flush=True)
while not os.path.exists(os.path.join(sys.argv[1], "end" + restarts)):
    time.sleep(0.05)
"""


def check_contract(scheduler: Scheduler, folder: Path) -> None:
    """Submit, list, requeue, cancel and kill jobs that wait for a file."""
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    request = JobRequest("tada-x", folder, Allocation(1, 1, 0, 1, 1, 1), print, command)

    def state(job_id: str) -> JobState:
        (found,) = [state for state in scheduler.states() if state.id == job_id]
        return found

    def printed(job_id: str) -> str:
        output = job_output(folder, job_id)
        return output.read_text() if output.exists() else ""

    first, second = scheduler.submit(request), scheduler.submit(request)
    try:
        assert first != second and state(first).active and state(first).name == "tada-x"
        wait_until(lambda: "start 0" in printed(first) and "start 0" in printed(second), 20)
        scheduler.requeue(first)
        (folder / "end0").touch()  # the processes of the first start end; so does the second job
        wait_until(lambda: "start 1" in printed(first) and not state(second).active, 20)
        assert state(first).active and len(scheduler.states()) == 2
        scheduler.cancel(first)
        wait_until(lambda: not state(first).active, 20)
        scheduler.cancel(first)
        (folder / "end0").unlink()
        killed = scheduler.submit(request)
        wait_until(lambda: "process" in printed(killed), 20)
        os.kill(int(printed(killed).split()[3]), signal.SIGKILL)
        wait_until(lambda: not state(killed).active, 20)
    finally:
        for name in ("end0", "end1"):
            (folder / name).touch()
