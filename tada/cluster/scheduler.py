"""What SLURM says about this user's jobs, with or without accounting.

However many runs wait, the scheduler is asked once for all of them, at most every `POLL_SECONDS`: the answer lies in a
file that they share. A scheduler that does not answer is asked again after a pause that doubles each time.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from tada.base.errors import TadaError
from tada.base.files import read_json, write_json

POLL_SECONDS = 10.0


LONGEST_PAUSE = 300.0


ANSWER_SECONDS = 60.0


ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
"""States that a job does not leave by itself."""


_BUSY = (
    "unable to contact",
    "timed out",
    "temporarily",
    "try again",
    "not responding",
    "zero bytes",
    "transport endpoint",
    "connection refused",
    "connection reset",
    "communication",
    "maxsubmitjob",  # QOSMaxSubmitJobPerUserLimit, AssocMaxSubmitJobLimit: there is room when other jobs have ended
    "maximum number of jobs",
)


class Busy(Exception):
    """The scheduler gave no answer, or asked to be asked later."""


@dataclass(frozen=True)
class Job:
    """A job as squeue shows it."""

    id: str
    state: str
    name: str
    nodes: str
    reason: str


@dataclass(frozen=True)
class View:
    """The last answer: `jobs` by id, as of the time `answered`; `failures` questions went unanswered since."""

    answered: float = 0.0
    tried: float = 0.0
    failures: int = 0
    error: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def asked_again(self) -> float:
        """Time before which the scheduler is left in peace."""
        return self.tried + _pause(self.failures) if self.failures else 0.0


class Queue:
    """This user's jobs; `folder` is where all who wait for jobs share the answers."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "queue.json"

    def look(self, max_age: float | None = None) -> View:
        """The jobs as they were at most `max_age` (`POLL_SECONDS`) seconds ago, or as they were last known."""
        wanted = time.time() - (POLL_SECONDS if max_age is None else max_age)
        view = self._read()
        if view.answered >= wanted or time.time() < view.asked_again:
            return view
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_suffix(".lock")):
            view = self._read()  # somebody else may have asked while this process waited for the lock
            if view.answered >= wanted or time.time() < view.asked_again:
                return view
            view = _ask(view)
            write_json(self.file, asdict(view))
        return view

    def look_now(self) -> View:
        """The jobs as they are now; waits, however long it takes, for the scheduler to answer."""
        begin = time.time()
        while (view := self.look(max_age=time.time() - begin)).answered < begin:
            time.sleep(1.0)
        return view

    def _read(self) -> View:
        try:
            content = read_json(self.file)
            return View(**{**content, "jobs": {key: Job(**job) for key, job in content["jobs"].items()}})
        except (OSError, json.JSONDecodeError, TypeError, KeyError):
            return View()


def final_state(job: str) -> str:
    """The state in which a job ended that squeue no longer lists, from accounting; "" where there is none."""
    try:
        answer = command("sacct", "--allocations", "--noheader", "--parsable2", "--format=State", f"--jobs={job}")
    except (Busy, TadaError):
        return ""
    return answer.split()[0] if answer.split() else ""


def cancel(job: str) -> None:
    """End a job, queued or running; one that is gone already is no fault.

    Raises:
        TadaError: SLURM refuses, e.g. since the job is somebody else's.
    """
    try:
        patiently(lambda: command("scancel", job))
    except TadaError as error:
        if "invalid job id" not in str(error).lower():
            raise


def command(*arguments: str) -> str:
    """Output of one of SLURM's commands.

    Raises:
        Busy: no answer, or one that asks for patience.
        TadaError: a refusal, in SLURM's words, or no SLURM on this machine.
    """
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Busy(f"{arguments[0]}: no answer within {ANSWER_SECONDS:.0f} s") from None
    except FileNotFoundError:
        raise TadaError(
            f"{arguments[0]}: no such command; runs are submitted where SLURM's commands are, on a login node"
        ) from None
    if done.returncode:
        raise refusal(done.stderr.strip() or f"{arguments[0]} ended with status {done.returncode}")
    return done.stdout.strip()


def refusal(message: str) -> Exception:
    """`Busy` or `TadaError`, as SLURM's message asks for patience or not."""
    return Busy(message) if any(sign in message.lower() for sign in _BUSY) else TadaError(message)


def patiently(action: Callable[[], Any], tell: Callable[[str], None] | None = None) -> Any:
    """The value of `action`, which is repeated with growing pauses as long as it raises `Busy`."""
    failures = 0
    while True:
        try:
            return action()
        except Busy as busy:
            pause = _pause(failures)
            failures += 1
            (tell or _tell)(f"the scheduler is busy ({_last_line(busy)}); asking again in {pause:.0f} s")
            time.sleep(pause)


def _pause(failures: int) -> float:
    return min(POLL_SECONDS * 2 ** min(failures, 10), LONGEST_PAUSE)


def _ask(before: View) -> View:
    now = time.time()
    try:
        answer = command("squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%j|%N|%r")
    except (Busy, TadaError) as error:
        if isinstance(error, TadaError) and "no such command" in str(error):
            raise
        view = View(before.answered, now, before.failures + 1, _last_line(error), before.jobs)
        _tell(f"no answer from squeue ({view.error}); asking again in {view.asked_again - now:.0f} s")
        return view
    jobs = (Job(*line.split("|", 4)) for line in answer.splitlines() if line.count("|") >= 4)
    return View(answered=now, tried=now, jobs={job.id: job for job in jobs})


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
