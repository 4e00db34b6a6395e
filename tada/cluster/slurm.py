"""Runs as jobs of a SLURM cluster: submit or attach, wait, go on after a time limit. The only file that knows submitit.

A job belongs to its run: `job.json` in the run's folder names it, and so does the job's own name, which follows from
the run. Whoever asks for the run again, from wherever, finds the job that is queued or running and waits for that one.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import submitit
from filelock import FileLock
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths, pickle_load

from tada.base.errors import TadaError
from tada.base.files import Tail
from tada.cluster.allocation import Allocation, Cluster, allocate
from tada.cluster.records import (
    Record,
    is_active,
    job_folder,
    job_name,
    job_output,
    read_record,
    scheduler_queue,
    write_record,
)
from tada.cluster.scheduler import Queue, cancel, final_state, patiently, refusal
from tada.cluster.worker import CONTINUE, Task
from tada.runs.run import Run

GRACE_SECONDS = 15.0
"""Time in which a result may still appear on a shared disk after its job has ended."""


LOOK_SECONDS = 1.0
"""Pause between two looks at the run's folder, where a finished job shows first."""


FINISHED = "FINISHED"
"""The run has ended, well or badly, and has written its outcome.json."""


GOES_ON = frozenset({"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "TIMEOUT", CONTINUE})
"""States of a job that ended through no fault of its run: another job continues from the saved state."""


FRUITLESS = 3
"""Jobs in a row that may end that way without having saved anything."""


def train_on_cluster(run: Run, arguments: dict[str, Any], cluster: Cluster) -> str | None:
    """Have `run` trained by a job: attach to the one there is, or submit one; wait for it to end.

    Args:
        run: what to train.
        arguments: of `tada.execute.main`.
        cluster: where.

    Returns:
        None where the run itself has written how it ended (outcome.json), else what went wrong.

    Raises:
        SystemExit: this process was told to stop (Ctrl-C, SIGTERM). The job goes on.
    """
    queue = scheduler_queue(run.results)
    task = Task(arguments, str(Path.cwd()), cluster.signal_seconds)
    fruitless = 0
    with _stopped_politely(run):
        while True:
            try:
                record = submit_or_attach(run, task, cluster, queue)
            except TadaError as error:
                return f"the job was not submitted, check the settings that --cluster names: {error}"
            if record is None:
                return None
            state = _wait(run, record, queue)
            if state == FINISHED:
                if run.read("metrics.json") is None:
                    _tell(run, f"job {record.id} failed; the end of the log:\n{Tail(run.file('log.txt'), 12).read()}")
                return None
            if state not in GOES_ON:
                problem = _post_mortem(run, record, state)
                _tell(run, f"{problem}; the end of its output:\n{Tail(job_output(run, record), 12).read()}")
                return problem
            fruitless = 0 if _saved_since(run, record.submitted) else fruitless + 1
            if fruitless == FRUITLESS:
                return f"{FRUITLESS} jobs in a row ended ({state.lower()}) before they could save anything"
            _tell(run, f"job {record.id} has ended ({state.lower()}); another one goes on where it stopped")


def submit_or_attach(run: Run, task: Task, cluster: Cluster, queue: Queue) -> Record | None:
    """The job that trains `run`, submitted here if there is none; None if the run is finished.

    Raises:
        TadaError: SLURM refuses the job; the message is SLURM's.
    """
    job_folder(run).mkdir(parents=True, exist_ok=True)
    with FileLock(run.file(".submit.lock")):
        record = read_record(run)
        view = queue.look_now()
        while record and record.id in view.jobs and view.jobs[record.id].state == "COMPLETING":
            time.sleep(1.0)  # it may be about to end, or to be queued again
            view = queue.look_now()
        if run.read("metrics.json") is not None:
            return None
        if record is not None and is_active(view, record.id):
            if record.signature == run.signature:
                _tell(run, f"attached to job {record.id}")
                return record
            _tell(run, f"the configuration has changed; job {record.id} of the former one is cancelled")
            cancel(record.id)
            _until_gone(queue, record.id)
        allocation = allocate(run.recipe, cluster)
        executor = _executor(run, allocation, cluster)
        job = patiently(lambda: _adopt(run, task, queue) or _submit(executor, task), lambda line: _tell(run, line))
        record = Record(job, job_name(run), run.signature, allocation.processes, time.time())
        write_record(run, record)
        _tell(run, f"job {job}: {allocation.nodes} x {allocation.processes_per_node} processes")
        return record


_HOLD_SIGNAL = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""What a process of a job starts with: SLURM's warning would kill a Python that is still loading; it waits instead."""


def _executor(run: Run, allocation: Allocation, cluster: Cluster) -> submitit.SlurmExecutor:
    python = f"{shlex.quote(sys.executable)} -S -c {shlex.quote(_HOLD_SIGNAL)}"
    executor = submitit.SlurmExecutor(folder=job_folder(run), python=python)
    gpus = allocation.processes_per_node * allocation.gpus_per_process
    optional = {
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "exclude": cluster.exclude,
        "gpus_per_node": (f"{cluster.gpu_type}:{gpus}" if cluster.gpu_type else gpus) if gpus else None,
        "setup": cluster.setup or None,
    }
    executor.update_parameters(
        job_name=job_name(run),
        time=allocation.minutes,
        nodes=allocation.nodes,
        ntasks_per_node=allocation.processes_per_node,
        cpus_per_task=allocation.cpus_per_process,
        mem=f"{allocation.processes_per_node * allocation.memory_gb_per_process}GB",
        signal_delay_s=cluster.signal_seconds,
        stderr_to_stdout=True,
        # A process that dies takes its fellows with it, which would otherwise wait for it. srun does not inherit the
        # number of processors from sbatch.
        srun_args=["--kill-on-bad-exit=1", f"--cpus-per-task={allocation.cpus_per_process}"],
        wckey=None,
        # SLURM itself puts the job back in the queue when its node fails or it is preempted.
        additional_parameters={"requeue": True, **cluster.sbatch},
        **{key: value for key, value in optional.items() if value is not None},
    )
    return executor


def _submit(executor: submitit.SlurmExecutor, task: Task) -> str:
    try:
        with _outside_of_jobs():
            return executor.submit(task).job_id
    except FailedJobError as error:
        raise refusal(str(error)) from None


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hides the variables of the job that Snakemake may run in, which would end up in the one that is submitted."""
    configuration = os.environ.get("SLURM_CONF")
    with submitit.helpers.clean_env() if "SLURM_JOB_ID" in os.environ else nullcontext():
        if configuration:
            os.environ["SLURM_CONF"] = configuration  # not the job's, but the cluster's
        yield


def _adopt(run: Run, task: Task, queue: Queue) -> str | None:
    """The job that was submitted by a process which died before it could note the job's id."""
    view = queue.look_now()
    mine = [id for id, job in view.jobs.items() if job.name == job_name(run) and is_active(view, id)]
    if not mine:
        return None
    job = min(mine, key=int)
    submitted = JobPaths(job_folder(run), job_id=job).submitted_pickle
    if not submitted.exists():  # submitit moves it here only after sbatch has answered
        DelayedSubmission(task).dump(submitted)
    _tell(run, f"found job {job} in the queue")
    return job


def _wait(run: Run, record: Record, queue: Queue) -> str:
    """How the job ended: `FINISHED`, `CONTINUE`, "ERROR" (an exception outside of the run), or in SLURM's words."""
    began, gone_since, shown = time.time(), None, ""
    while True:
        if run.read("outcome.json") is not None:
            return FINISHED
        if (result := _result(run, record, 0)) is not None:
            success, value = result
            if value == CONTINUE:
                cancel(record.id)
                _until_gone(queue, record.id)
                return CONTINUE
            return FINISHED if success == "success" else "ERROR"
        view = queue.look()
        job = view.jobs.get(record.id)
        if job and job.state != shown:
            shown = job.state
            _tell(run, f"job {job.id} {shown.lower()} " + (f"on {job.nodes}" if job.nodes else f"({job.reason})"))
        if view.answered < began or is_active(view, record.id):
            gone_since = None
        elif gone_since is None:
            gone_since = time.monotonic()
        elif time.monotonic() - gone_since > GRACE_SECONDS:
            return job.state if job else final_state(record.id) or "VANISHED"
        time.sleep(LOOK_SECONDS)


def _result(run: Run, record: Record, process: int) -> tuple[str, Any] | None:
    """("success", value) or ("error", traceback) that a process of the job left, if it did."""
    paths = JobPaths(job_folder(run), job_id=record.id, task_id=process)
    # A listing, since shared disks may go on for a while to say that a file they were asked for is not there.
    return pickle_load(paths.result_pickle) if paths.result_pickle in paths.folder.iterdir() else None


def _post_mortem(run: Run, record: Record, state: str) -> str:
    """Why a job left no outcome: an exception outside of the run in one of its processes, or what SLURM says."""
    for process in range(record.processes):
        if (result := _result(run, record, process)) and result[0] == "error":
            return str(result[1]).strip()
    reasons = {
        "VANISHED": "SLURM no longer knows it and keeps no accounts",
        "CANCELLED": "by somebody or by SLURM",
        "OUT_OF_MEMORY": "it needs a larger memory_gb_per_process",
    }
    why = reasons.get(state, "its process was killed or could not start")
    return f"job {record.id} {state.lower()}: {why}; the next call continues from the saved state"


def _saved_since(run: Run, moment: float) -> bool:
    saved = (file for file in run.folder.rglob("*") if file.suffix in (".pt", ".npz", ".npy"))
    return any(file.stat().st_mtime > moment for file in saved)


def _until_gone(queue: Queue, job: str) -> None:
    while is_active(queue.look_now(), job):
        time.sleep(1.0)


@contextmanager
def _stopped_politely(run: Run) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the waiting, and leave the job as it is."""

    def leave(number: int, _frame: Any) -> None:
        if record := read_record(run):
            _tell(run, f"no longer waiting; job {record.id} goes on (`tada cancel` ends it)")
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _tell(run: Run, message: str) -> None:
    print(f"[{run}] {message}", file=sys.stderr, flush=True)
