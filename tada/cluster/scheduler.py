"""Schedulers: the protocol that each of them follows, and the answers that all who wait for jobs share.

A scheduler is one module with one class that has the four methods `submit`, `states`, `cancel` and `requeue` of
`Scheduler`. `tada.cluster.slurm` is one, `LocalScheduler` below is the other; a third needs no change elsewhere.

However many runs wait, the scheduler is asked once for all of them, at most every `POLL_SECONDS`: the answer lies in a
file that they share. A scheduler that does not answer is asked again after a pause that doubles each time.

Those who share it may sit on nodes whose clocks differ. So an answer carries a number and no time: how old it is, each
process knows from when it first saw that number, by its own clock.
"""

import fcntl
import importlib
import math
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock

from tada.base import TadaError, unknown
from tada.base.files import read_json, write_json
from tada.cluster.jobs import Allocation, ClusterSettings, job_output

POLL_SECONDS = 10.0
"""Pause between two questions to a scheduler, where the cluster's settings do not name another."""


LONGEST_PAUSE = 300.0
"""Longest pause, in seconds, after which a scheduler that gave no answer is asked again."""


_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""Variables that say a process's place in its job; a job that it starts, or its own once more, inherits none."""


class Busy(Exception):
    """The scheduler gave no answer, or asked to be asked later."""


class Phase(StrEnum):
    """How far a job is, in the words that all schedulers share."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDING = "ending"
    """Its processes are being stopped; it ends, or goes back to the queue."""
    INTERRUPTED = "interrupted"
    """It ended through no fault of its run: another job continues from the saved state."""
    ENDED = "ended"


@dataclass(frozen=True)
class JobState:
    """A job as the scheduler lists it; `word` is the scheduler's own word for the phase, in capitals."""

    id: str
    name: str
    phase: Phase
    word: str
    nodes: str = ""
    reason: str = ""

    @property
    def active(self) -> bool:
        """Whether the job is queued, running or about to leave."""
        return self.phase not in (Phase.INTERRUPTED, Phase.ENDED)

    @property
    def place(self) -> str:
        """E.g. "on node3", or the reason why it waits: "(Resources)"."""
        return f"on {self.nodes}" if self.nodes else f"({self.reason})"


@dataclass(frozen=True)
class JobRequest:
    """What a scheduler is asked to start.

    Args:
        name: of the job, which all who ask for the run derive alike.
        folder: where the job's files go.
        allocation: number of processes, and what each of them needs.
        task: what each process calls, for schedulers that start Python functions; it can be pickled.
        command: what to start once, on one node, for schedulers that start commands; it starts the processes itself.
    """

    name: str
    folder: Path
    allocation: Allocation
    task: Callable[[], Any]
    command: Sequence[str]


@dataclass(frozen=True)
class JobProcess:
    """A process's place in its job; `restarts` counts how often the job went back to the queue.

    `address` is where the other processes reach this one's node; empty where MASTER_ADDR and MASTER_PORT are set.
    """

    job_id: str
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    restarts: int = 0
    address: str = ""


@dataclass(frozen=True)
class JobResult:
    """What a process of a job left apart from the run's own files.

    `continues`: it saved its state and could not go back to the queue. `error`: an exception outside of the run.
    """

    continues: bool = False
    error: str = ""


class Scheduler(Protocol):
    """What the launcher and the processes of a job ask of a scheduler; implementations inherit from it.

    The four methods without a body have to be written. Each of them raises `Busy` where the scheduler gives no answer,
    and `TadaError` where it refuses, in the scheduler's words.
    """

    title: str
    """What a person calls it, e.g. "SLURM"."""

    def __init__(self, settings: ClusterSettings, folder: Path) -> None:
        """`folder`, which may not exist yet, is for the scheduler's own notes, of all runs of a results folder."""

    def submit(self, request: JobRequest) -> str:
        """Put a job into the queue and return its id.

        All that the job's first process prints goes to `tada.cluster.jobs.job_output(request.folder, id)`.
        """
        raise NotImplementedError

    def states(self) -> list[JobState]:
        """This user's jobs, those that ended lately among them."""
        raise NotImplementedError

    def cancel(self, job_id: str) -> None:
        """End a job, queued or running; a job that is gone already is no error."""
        raise NotImplementedError

    def requeue(self, job_id: str) -> None:
        """Put a running job back into the queue under the same id; its processes end. A process of the job asks."""
        raise NotImplementedError

    def process(self) -> JobProcess:
        """The place of the process that calls this, inside a job."""
        rank, size, local_rank = (int(os.environ.get(name, "0")) for name in _PLACE)
        restarts = int(os.environ.get("TADA_RESTARTS") or 0)
        return JobProcess(os.environ.get("TADA_JOB_ID", ""), rank, max(size, 1), local_rank, restarts)

    def final_state(self, job_id: str, listed: JobState | None) -> JobState | None:
        """How a job ended of which `states` last said `listed`, or that it no longer lists; None: nobody knows."""
        return listed

    def adopt(self, request: JobRequest, job_id: str) -> None:
        """Complete the files of a job whose submitter died before it could note the job's id."""
        return

    def result(self, folder: Path, job_id: str, rank: int) -> JobResult | None:
        """What a process of a job left, if it did."""
        file = result_file(folder, job_id, rank)
        # A listing, since shared disks may go on for a while to say that a file they were asked for is not there.
        return JobResult(**read_json(file)) if file in folder.iterdir() else None


def result_file(folder: Path, job_id: str, rank: int) -> Path:
    """File in which a process that was started by `JobRequest.command` leaves its `JobResult`."""
    return folder / f"{job_id}_{rank}_result.json"


def load_scheduler(settings: ClusterSettings, results: Path) -> Scheduler:
    """The scheduler that the settings name, with a folder for its notes in the folder of all results.

    The name is "local", a module of `tada.cluster` ("slurm"), or the dotted name of any importable module; the
    scheduler is the class in it that inherits from `Scheduler`.

    Raises:
        TadaError: there is no such module, or no scheduler in it; the nearest names are given.
    """
    name = settings.scheduler
    folder = results.absolute() / ".scheduler" / name
    if name == "local":
        return LocalScheduler(settings, folder)
    module_name = name if "." in name else f"{__package__}.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise TadaError(f"scheduler {name!r}: {error}") from None
        raise unknown("scheduler", name, _scheduler_names()) from None
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module_name and Scheduler in value.__mro__[1:]:
            return value(settings, folder)
    raise unknown("scheduler", name, _scheduler_names())


def _scheduler_names() -> list[str]:
    """Names of the modules beside this one that have a class of a scheduler, read without importing them."""
    folder = Path(__file__).parent
    modules = [module.name for module in pkgutil.iter_modules([str(folder)])]
    return ["local", *(name for name in modules if "(Scheduler)" in (folder / f"{name}.py").read_text("utf-8"))]


@dataclass(frozen=True)
class JobSnapshot:
    """An answer of the scheduler.

    Attributes:
        number: answers that there were so far; 0: none.
        failures: questions that went unanswered since.
        error: why the last of these did.
        jobs: by id.
    """

    number: int = 0
    failures: int = 0
    error: str = ""
    jobs: dict[str, JobState] = field(default_factory=dict)

    def is_active(self, job_id: str) -> bool:
        """Whether a job is queued or running."""
        return job_id in self.jobs and self.jobs[job_id].active

    def is_after(self, earlier: int) -> bool:
        """Whether the question was asked after answer number `earlier` was the last one: whoever asked next may have
        been about to, so it is the one after that."""
        return self.number >= earlier + 2


class JobQueue:
    """This user's jobs; all who wait for jobs of runs in `results` share the answers."""

    def __init__(self, results: Path, scheduler: str, load: Callable[[], Scheduler] | None = None) -> None:
        """The scheduler is loaded when the shared answer is too old."""
        self.file = results / ".scheduler" / f"{scheduler}.json"
        self._load = load or (lambda: load_scheduler(ClusterSettings(scheduler=scheduler), results))
        self._highest = 0
        self._seen: tuple[int, int] | None = None  # number and failures of what was read last, ...
        self._answered = self._tried = -math.inf  # ... and when they became that, as far as is known, by our clock

    def snapshot(self, max_age: float = POLL_SECONDS) -> JobSnapshot:
        """The jobs as they were at most `max_age` seconds ago, or as they were last known."""
        last = self._read()
        if self._suffices(last, max_age):
            return last
        with self._alone():
            last = self._read()  # another process may have asked while this one waited for the lock
            return last if self._suffices(last, max_age) else self._ask(last)

    def current(self) -> JobSnapshot:
        """The jobs as they are now; waits, however long it takes, for the scheduler to answer."""
        begin = self.number()
        while True:
            with self._alone():
                last = self._read()
                if not last.is_after(begin) and not self._in_peace(last):
                    last = self._ask(last)
                    if not last.failures:
                        return last
            if last.is_after(begin):
                return last
            time.sleep(1.0)

    def number(self) -> int:
        """That of the last answer."""
        return self._read().number

    def _suffices(self, last: JobSnapshot, max_age: float) -> bool:
        return time.monotonic() - self._answered <= max_age or self._in_peace(last)

    def _in_peace(self, last: JobSnapshot) -> bool:
        """Whether the scheduler is to be left in peace, since it did not answer lately."""
        return last.failures > 0 and time.monotonic() < self._tried + _pause(last.failures)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_suffix(".lock")):
            yield

    def _ask(self, before: JobSnapshot) -> JobSnapshot:
        scheduler = self._load()
        try:
            jobs = {state.id: state for state in scheduler.states()}
        except Busy as error:
            number = max(before.number, self._highest)
            last = replace(before, number=number, failures=before.failures + 1, error=_last_line(error))
            pause = _pause(last.failures)
            _print(f"no answer from {scheduler.title} ({last.error}); asking again in {pause:.0f} s")
        else:
            last = JobSnapshot(max(before.number, self._highest) + 1, jobs=jobs)  # counts on where the file was lost
            self._answered = time.monotonic()
        self._tried, self._seen, self._highest = time.monotonic(), (last.number, last.failures), last.number
        write_json(self.file, asdict(last))
        return last

    def _read(self) -> JobSnapshot:
        try:
            content = read_json(self.file)
            jobs = {key: JobState(**{**job, "phase": Phase(job["phase"])}) for key, job in content["jobs"].items()}
            last = JobSnapshot(**{**content, "jobs": jobs})
            if not (isinstance(last.number, int) and isinstance(last.failures, int)):
                raise TypeError("its numbers are no numbers")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            last = JobSnapshot()
        if self._seen is None:
            self._tried = time.monotonic()  # of unknown age: as if asked just now, and answered long ago
        elif self._seen != (last.number, last.failures):
            self._tried = time.monotonic()
            if last.number != self._seen[0]:  # a lower one is of a file that was lost or damaged
                self._answered = self._tried if last.number > self._highest else -math.inf
        self._seen, self._highest = (last.number, last.failures), max(self._highest, last.number)
        return last


T = TypeVar("T")


def repeat_while_busy(action: Callable[[], T], say: Callable[[str], None] | None = None) -> T:
    """The value of `action`, which is repeated with growing pauses as long as it raises `Busy`."""
    failures = 0
    while True:
        try:
            return action()
        except Busy as busy:
            pause = _pause(failures)
            failures += 1
            (say or _print)(f"the scheduler is busy ({_last_line(busy)}); asking again in {pause:.0f} s")
            time.sleep(pause)


def _pause(failures: int) -> float:
    return min(POLL_SECONDS * 2 ** min(failures, 10), LONGEST_PAUSE)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _print(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


class LocalScheduler(Scheduler):
    """Jobs in the background of this machine, which go on when the terminal is closed.

    A job starts at once; how many there are side by side is for the caller to limit. All its processes inherit an open,
    locked file: the job has ended when the lock is free, whatever its processes died of.
    """

    title = "this machine"

    def __init__(self, settings: ClusterSettings, folder: Path) -> None:
        self.folder = folder

    def submit(self, request: JobRequest) -> str:
        """Start the job's command; ids are counted from 1."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "submit.lock"):
            job_id = str(max((int(file.stem) for file in self.folder.glob("[0-9]*.json")), default=0) + 1)
            note = {"name": request.name, "command": list(request.command), "output": str(request.folder)}
            self._start(job_id, {**note, "restarts": 0, "cancelled": False})
        return job_id

    def states(self) -> list[JobState]:
        """All jobs that were ever submitted; whether one still runs follows from its lock."""
        return [self._state(file.stem) for file in self.folder.glob("[0-9]*.json")]

    def cancel(self, job_id: str) -> None:
        """End a job's processes with SIGTERM."""
        if self._locked(job_id):
            note = self._note(job_id)
            write_json(self._file(job_id), {**note, "cancelled": True})
            try:
                os.kill(note["pid"], signal.SIGTERM)  # the first process, which passes it on to those that it started
            except ProcessLookupError:
                os.killpg(note["pid"], signal.SIGTERM)

    def requeue(self, job_id: str) -> None:
        """Start the job's command once more; it begins when the processes of the former start have ended."""
        note = self._note(job_id)
        self._start(job_id, {**note, "restarts": note["restarts"] + 1})

    def _start(self, job_id: str, note: dict[str, Any]) -> None:
        output = job_output(Path(note["output"]), job_id)
        places = {"TADA_JOB_ID": job_id, "TADA_RESTARTS": str(note["restarts"])}
        inherited = {name: value for name, value in os.environ.items() if name not in _PLACE}
        lock = os.open(self._file(job_id).with_suffix(f".{note['restarts']}.lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with output.open("a") as printed:
                process = subprocess.Popen(
                    note["command"],
                    env={**inherited, **places},
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[lock],
                )
            write_json(self._file(job_id), {**note, "pid": process.pid})
        finally:
            os.close(lock)

    def _state(self, job_id: str) -> JobState:
        note, locked = self._note(job_id), self._locked(job_id)
        if note["cancelled"]:
            phase, word = (Phase.ENDING, "COMPLETING") if locked else (Phase.ENDED, "CANCELLED")
        else:
            phase, word = (Phase.RUNNING, "RUNNING") if locked else (Phase.ENDED, "ENDED")
        return JobState(job_id, note["name"], phase, word, nodes="this machine" if locked else "")

    def _locked(self, job_id: str) -> bool:
        try:
            file = self._file(job_id).with_suffix(f".{self._note(job_id)['restarts']}.lock")
            with file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def _note(self, job_id: str) -> dict[str, Any]:
        return read_json(self._file(job_id))

    def _file(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.json"
