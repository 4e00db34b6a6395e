"""Has a run trained, on this machine or by a scheduler's jobs, and puts its end on record, however it comes.

A job belongs to its run: `job.json` in the run's folder names it, and so does the job's own name, which follows from
the run. Whoever asks for the run again, from wherever, finds the job that is queued or running and waits for that one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock

from tada.base import TadaError
from tada.base.files import Tail, make_folder, on_disk, remove, wanted_precision
from tada.base.processes import INTERRUPTED
from tada.base.tensorboard import require_tensorboard
from tada.cluster.jobs import (
    ClusterSettings,
    JobRecord,
    allocate,
    fitting_processes,
    job_folder,
    job_name,
    job_output,
    load_cluster,
    read_job,
    write_job,
)
from tada.cluster.scheduler import JobQueue, JobRequest, JobState, Phase, Scheduler, load_scheduler, repeat_while_busy
from tada.cluster.worker import Task, job_command, run_processes
from tada.runs.record import OUTCOME, Outcome, last_outcome, record_outcome
from tada.runs.run import Run
from tada.runs.verification import is_finished

LOOK_SECONDS = 1.0
"""Pause between two looks at the run's folder, where a finished job shows first."""


FRUITLESS = 3
"""Jobs in a row that may be interrupted without having saved anything."""


def launch(
    run: Run,
    data_root: str,
    attempt: int = 0,
    processes: int = 0,
    cluster: Path | None = None,
    weights: str = "",
    tensorboard: bool = False,
    compiles: bool | None = None,
) -> Outcome:
    """Have `run` trained and tested unless it is, wait for it, and return its outcome.

    Args:
        run: what to train.
        data_root: folder of its videos and annotations.
        attempt: number of Snakemake's attempt, noted in outcome.json; 0: by hand, and the number there stays.
        processes: on this machine; 0: one for each GPU that the recipe wants and the machine has, or a single one.
        cluster: settings of the cluster that is to train it; None: this machine does.
        weights: local file of torchvision's ResNet-50 (empty: torchvision downloads it where it is needed), or the
            released checkpoint that is tested.
        tensorboard: whether the training is logged for TensorBoard.
        compiles: whether networks are compiled; None: on a GPU, if they are large.

    Raises:
        TadaError: unknown scale, dataset or model, a fault in the cluster's settings, or no package tensorboard where
            its logs are asked for; or its work cannot be shared by so many processes.
        SystemExit: this process was asked to stop. On this machine (status 130) the run has saved its state, and the
            next launch goes on; on a cluster the job goes on, and the next launch attaches to it.
    """
    expected = run.signature  # fails here, with a clear message, before anything is started
    if tensorboard:
        require_tensorboard()
    before = last_outcome(run)
    if not attempt and before:
        attempt = before.attempt
    if is_finished(run):
        print(f"[{run}] finished before with signature {expected}", file=sys.stderr)
        if before and not before.failed and before.attempt == attempt:
            return before  # nothing is written: the folder may be of a disk that only reads
        return record_outcome(run, attempt)
    if not cluster:
        processes = _processes(run, processes)
    with on_disk(run.folder):
        make_folder(run.folder)
    remove(run.file(OUTCOME))
    place = {"scale": run.scale, "dataset": run.dataset, "model": run.model, "seed": run.seed}
    inputs = {"data_root": data_root, "weights": weights, "tensorboard": tensorboard, "compiles": compiles}
    inputs |= wanted_precision()  # a job may have another environment
    arguments = {**place, "results": str(run.results), **inputs, "attempt": attempt}
    problem = train_on_cluster(run, arguments, load_cluster(cluster)) if cluster else _train_here(arguments, processes)
    if is_finished(run):
        return record_outcome(run, attempt)
    if outcome := last_outcome(run):
        return record_outcome(run, attempt, error=outcome.error)
    with suppress(OSError), run.file("log.txt").open("a", encoding="utf-8") as log:
        print(f"[{run}] {problem}", file=log)
    return record_outcome(run, attempt, error=problem)


def _processes(run: Run, wanted: int) -> int:
    """How many processes are started on this machine; raises TadaError where the work cannot be shared by so many."""
    fitting = fitting_processes(run.recipe, wanted or _gpus_wanted(run))
    if run.scale.trains and wanted and wanted != fitting:
        raise TadaError(
            f"--processes {wanted}: the {run.recipe.micro_batches} micro-batches of a step cannot be spread evenly "
            f"over so many; {fitting} is the next number that fits"
        )
    return wanted or fitting


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
    """Start the processes and wait for them; returns what went wrong outside of the run.

    Raises:
        SystemExit: the run was asked to stop.
    """
    command = [sys.executable, "-m", "tada.execute", json.dumps(arguments)]
    statuses = run_processes(command, processes, [signal.SIGTERM, signal.SIGINT])
    if INTERRUPTED in statuses:
        raise SystemExit(INTERRUPTED)
    return next((_died(status) for status in statuses if status), None)


def _died(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        reason = " (often: out of memory)" if name == "SIGKILL" else ""
        return f"the run's process was ended by {name}{reason}; its saved state is kept"
    return f"the run's process ended with status {status} and left no result"


def train_on_cluster(run: Run, arguments: dict[str, Any], settings: ClusterSettings) -> str | None:
    """Have `run` trained by a job: attach to the one there is, or submit one; wait for it to end.

    Args:
        run: what to train.
        arguments: of `tada.execute.main`.
        settings: of the cluster, and which scheduler it has.

    Returns:
        None where the run itself has written how it ended (outcome.json), else what went wrong.

    Raises:
        TadaError: the settings name an unknown scheduler.
        SystemExit: this process was asked to stop (Ctrl-C, SIGTERM). The job goes on.
    """
    scheduler = load_scheduler(settings, run.results)
    jobs = _RunJobs(run, scheduler, settings)
    task = Task(arguments, str(Path.cwd()), settings.signal_seconds, settings.scheduler)
    fruitless = 0
    with _leaving_the_job(run):
        while True:
            saved = _saved(run)
            try:
                record = jobs.submit_or_attach(task)
            except TadaError as error:
                return f"the job was not submitted, check the settings that --cluster names: {error}"
            if record is None:
                return None
            end = jobs.wait(record)
            if end is None:
                if not is_finished(run):
                    _say(run, f"job {record.id} failed; the end of the log:\n{Tail(run.file('log.txt'), 12).read()}")
                return None
            if end.phase is not Phase.INTERRUPTED:
                problem = jobs.post_mortem(record, end)
                output = job_output(job_folder(run), record.id)
                _say(run, f"{problem}; the end of its output:\n{Tail(output, 12).read()}")
                return problem
            fruitless = 0 if _saved(run) != saved else fruitless + 1
            if fruitless == FRUITLESS:
                return f"{FRUITLESS} jobs in a row ended ({end.word.lower()}) before they could save anything"
            _say(run, f"job {record.id} has ended ({end.word.lower()}); another one goes on where it stopped")


class _RunJobs:
    """The jobs of one run at one scheduler."""

    def __init__(self, run: Run, scheduler: Scheduler, settings: ClusterSettings) -> None:
        self.run, self.scheduler, self.settings = run, scheduler, settings
        self.folder = job_folder(run)
        self.queue = JobQueue(run.results, settings.scheduler, lambda: scheduler)

    def submit_or_attach(self, task: Task) -> JobRecord | None:
        """The job that trains the run, submitted here if there is none; None if the run is finished.

        Raises:
            TadaError: the scheduler refuses the job; the message is the scheduler's.
        """
        run = self.run
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(run.file(".submit.lock")):
            record = read_job(run)
            if record and record.scheduler != self.settings.scheduler:
                record = None
            snapshot = self.queue.current()
            while record and record.id in snapshot.jobs and snapshot.jobs[record.id].phase is Phase.ENDING:
                time.sleep(1.0)  # it may be about to end, or to be queued again
                snapshot = self.queue.current()
            if is_finished(run):
                return None
            if record is not None and snapshot.is_active(record.id):
                if record.signature == run.signature:
                    _say(run, f"attached to job {record.id}")
                    return record
                _say(run, f"the configuration has changed; job {record.id} of the former one is cancelled")
                self._cancel(record.id)
            allocation = allocate(run.recipe, self.settings)
            command = job_command(task, allocation.processes, self.folder / f"{run.signature}.task.json")
            request = JobRequest(job_name(run), self.folder, allocation, task, command)
            job = repeat_while_busy(
                lambda: self._adopt(request) or self.scheduler.submit(request), lambda line: _say(run, line)
            )
            record = JobRecord(job, request.name, run.signature, allocation.processes, self.settings.scheduler)
            write_job(run, record)
            _say(run, f"job {job}: {allocation.nodes} x {allocation.processes_per_node} processes")
            return record

    def wait(self, record: JobRecord) -> JobState | None:
        """How the job ended; None where the run has written its outcome.json."""
        began, gone_since, shown = self.queue.number(), None, ""
        while True:
            if last_outcome(self.run) is not None:
                return None
            if (result := self.scheduler.result(self.folder, record.id, 0)) is not None:
                if result.continues:
                    self._cancel(record.id)
                    return JobState(record.id, record.name, Phase.INTERRUPTED, "CONTINUE")
                return JobState(record.id, record.name, Phase.ENDED, "ERROR") if result.error else None
            snapshot = self.queue.snapshot(self.settings.poll_seconds)
            state = snapshot.jobs.get(record.id)
            if state and state.word != shown:
                shown = state.word
                _say(self.run, f"job {state.id} {shown.lower()} {state.place}")
            if not snapshot.is_after(began) or snapshot.is_active(record.id):
                gone_since = None
            elif gone_since is None:
                gone_since = time.monotonic()
            elif time.monotonic() - gone_since > self.settings.latency_seconds:
                vanished = JobState(record.id, record.name, Phase.ENDED, "VANISHED")
                return self.scheduler.final_state(record.id, state) or vanished
            time.sleep(LOOK_SECONDS)

    def post_mortem(self, record: JobRecord, end: JobState) -> str:
        """Why a job left no outcome: an exception outside of the run in one of its processes, or what is known."""
        for rank in range(record.processes):
            if (result := self.scheduler.result(self.folder, record.id, rank)) and result.error:
                return result.error.strip()
        title = self.scheduler.title
        reasons = {
            "VANISHED": f"{title} no longer knows it and keeps no accounts",
            "CANCELLED": f"by somebody or by {title}",
            "OUT_OF_MEMORY": "it needs a larger memory_gb_per_process",
        }
        why = reasons.get(end.word, "its process was killed or could not start")
        return f"job {record.id} {end.word.lower()}: {why}; the next call continues from the saved state"

    def _adopt(self, request: JobRequest) -> str | None:
        """The job that was submitted by a process which died before it could note the job's id."""
        jobs = self.queue.current().jobs.values()
        mine = [job.id for job in jobs if job.name == request.name and job.active]
        if not mine:
            return None
        job_id = min(mine, key=lambda job: (len(job), job))  # the oldest: ids are counted
        self.scheduler.adopt(request, job_id)
        _say(self.run, f"found job {job_id} in the queue")
        return job_id

    def _cancel(self, job_id: str) -> None:
        repeat_while_busy(lambda: self.scheduler.cancel(job_id))
        while self.queue.current().is_active(job_id):
            time.sleep(1.0)


def _saved(run: Run) -> set[tuple[str, int, int]]:
    """The state of all that a run's jobs have saved so far; compared with a later one of these alone, as the clock of
    the node that writes may be another."""
    states = ((file, file.stat()) for file in run.folder.rglob("*") if file.suffix in (".pt", ".npz", ".npy"))
    return {(str(file), status.st_size, status.st_mtime_ns) for file, status in states}


@contextmanager
def _leaving_the_job(run: Run) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the waiting, and leave the job as it is."""

    def leave(number: int, _frame: FrameType | None) -> None:
        if record := read_job(run):
            _say(run, f"no longer waiting; job {record.id} goes on (`tada cancel` ends it)")
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _say(run: Run, message: str) -> None:
    print(f"[{run}] {message}", file=sys.stderr, flush=True)
