"""SLURM through submitit: its commands, options, words and environment variables stand in this file alone."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import submitit
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths, pickle_load

from tada.base import TadaError
from tada.cluster.jobs import ClusterSettings
from tada.cluster.scheduler import Busy, JobProcess, JobRequest, JobResult, JobState, Phase, Scheduler
from tada.cluster.worker import CONTINUE, HOLD_SIGNAL

ANSWER_SECONDS = 60.0
"""Time in which one of SLURM's commands has to answer."""


_PHASES = {
    "RUNNING": Phase.RUNNING,
    "COMPLETING": Phase.ENDING,
    "BOOT_FAIL": Phase.INTERRUPTED,
    "NODE_FAIL": Phase.INTERRUPTED,
    "PREEMPTED": Phase.INTERRUPTED,
    "TIMEOUT": Phase.INTERRUPTED,
    "CANCELLED": Phase.ENDED,
    "COMPLETED": Phase.ENDED,
    "DEADLINE": Phase.ENDED,
    "FAILED": Phase.ENDED,
    "OUT_OF_MEMORY": Phase.ENDED,
}
"""Phases by SLURM's words; a job in any other state waits."""


_WARNED = tuple(code for number in (signal.SIGUSR2, signal.SIGTERM) for code in (f"{128 + number}:0", f"0:{number:d}"))
"""Exit codes, `status:signal`, of a job whose process, or whose script, was warned before Python could hold that back.

A process that trains takes a warning as a request to save its state, and ends in another way.
"""


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


_LOGIN_NODE = "runs are submitted where SLURM's commands are, on a login node"


class NoSlurm(TadaError):
    """SLURM's commands are not on this machine."""


class SlurmScheduler(Scheduler):
    """A SLURM cluster, with or without accounting."""

    title = "SLURM"

    def __init__(self, settings: ClusterSettings, folder: Path) -> None:
        self.settings = settings

    def submit(self, request: JobRequest) -> str:
        """Submit with sbatch; SLURM itself puts the job back in the queue when its node fails or it is preempted."""
        for command in ("sbatch", "srun"):
            if shutil.which(command) is None:
                raise NoSlurm(f"{command}: no such command; {_LOGIN_NODE}")
        try:
            with _outside_of_jobs():
                return self._executor(request).submit(request.task).job_id
        except FailedJobError as error:
            raise refusal(str(error)) from None

    def states(self) -> list[JobState]:
        """Of squeue; any error but a missing SLURM is taken for a scheduler that is busy."""
        try:
            answer = run_command("squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%j|%N|%r")
        except NoSlurm:
            raise
        except TadaError as error:
            raise Busy(str(error)) from None
        lines = (line.split("|", 4) for line in answer.splitlines() if line.count("|") >= 4)
        return [_job_state(id, word, name, nodes, reason) for id, word, name, nodes, reason in lines]

    def cancel(self, job_id: str) -> None:
        """With scancel."""
        try:
            run_command("scancel", job_id)
        except TadaError as error:
            if "invalid job id" not in str(error).lower():
                raise

    def requeue(self, job_id: str) -> None:
        """With scontrol; SLURM ends the job's processes."""
        run_command("scontrol", "requeue", job_id)

    def process(self) -> JobProcess:
        """By the variables that srun sets."""
        one_node = os.environ["SLURM_JOB_NUM_NODES"] == "1"
        return JobProcess(
            job_id=os.environ["SLURM_JOB_ID"],
            rank=int(os.environ["SLURM_PROCID"]),
            size=int(os.environ["SLURM_NTASKS"]),
            local_rank=int(os.environ["SLURM_LOCALID"]),
            restarts=int(os.environ.get("SLURM_RESTART_COUNT", "0")),
            address="127.0.0.1" if one_node else os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        )

    def final_state(self, job_id: str, listed: JobState | None) -> JobState | None:
        """What SLURM noted of its end: in the queue while it lists the job, else in the accounts, where it keeps them.

        SLURM calls a job failed that a warning has ended; it was interrupted, and another one goes on.
        """
        accounts = ("--allocations", "--noheader", "--parsable2", "--format=State,ExitCode", f"--jobs={job_id}")
        try:
            if listed:
                status = run_command("scontrol", "show", "job", job_id).partition(" ExitCode=")[2]
            else:
                words, _, status = run_command("sacct", *accounts).partition("|")
                listed = _job_state(job_id, words.split()[0]) if words else None  # e.g. of "CANCELLED by 1000"
        except (Busy, TadaError):
            return listed
        if listed and listed.word == "FAILED" and status.startswith(_WARNED):
            return replace(listed, phase=Phase.INTERRUPTED, word="WARNED")
        return listed

    def adopt(self, request: JobRequest, job_id: str) -> None:
        """Put the task where the job looks for it: submitit moves it there only after sbatch has answered."""
        submitted = JobPaths(request.folder, job_id=job_id).submitted_pickle
        if not submitted.exists():
            DelayedSubmission(request.task).dump(submitted)

    def result(self, folder: Path, job_id: str, rank: int) -> JobResult | None:
        """What submitit saved: the task's value, or the text of an exception."""
        paths = JobPaths(folder, job_id=job_id, task_id=rank)
        # A listing, since shared disks may go on for a while to say that a file they were asked for is not there.
        if paths.result_pickle not in paths.folder.iterdir():
            return None
        status, value = pickle_load(paths.result_pickle)
        return JobResult(continues=value == CONTINUE) if status == "success" else JobResult(error=str(value))

    def _executor(self, request: JobRequest) -> submitit.SlurmExecutor:
        settings, allocation = self.settings, request.allocation
        python = f"{shlex.quote(sys.executable)} -S -c {shlex.quote(HOLD_SIGNAL)}"
        if named := [sign for sign in ("%j", "%t", "%A", "%a") if sign in str(request.folder)]:
            raise TadaError(f"{request.folder}: submitit takes {named[0]} for a pattern; rename the folder")
        printed = f"{str(request.folder).replace('%', '%%')}/%j_%t_log.out"  # where submitit looks for it
        executor = submitit.SlurmExecutor(folder=request.folder, python=python)
        gpus = allocation.processes_per_node * allocation.gpus_per_process
        optional = {
            "partition": settings.partition,
            "account": settings.account,
            "qos": settings.qos,
            "constraint": settings.constraint,
            "exclude": settings.exclude,
            "gpus_per_node": (f"{settings.gpu_type}:{gpus}" if settings.gpu_type else gpus) if gpus else None,
            "setup": settings.setup or None,
        }
        executor.update_parameters(
            job_name=request.name,
            time=allocation.minutes,
            nodes=allocation.nodes,
            ntasks_per_node=allocation.processes_per_node,
            cpus_per_task=allocation.cpus_per_process,
            mem=f"{allocation.processes_per_node * allocation.memory_gb_per_process}GB",
            signal_delay_s=settings.signal_seconds,
            stderr_to_stdout=True,
            # A process that dies takes the others with it, which would otherwise wait for it. srun does not inherit the
            # number of processors from sbatch.
            srun_args=["--kill-on-bad-exit=1", f"--cpus-per-task={allocation.cpus_per_process}", f"--output={printed}"],
            wckey=None,
            additional_parameters={"requeue": True, "output": printed.replace("%t", "0"), **settings.sbatch},
            **{key: value for key, value in optional.items() if value is not None},
        )
        return executor


def run_command(*arguments: str) -> str:
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
        raise NoSlurm(f"{arguments[0]}: no such command; {_LOGIN_NODE}") from None
    if done.returncode:
        raise refusal(done.stderr.strip() or f"{arguments[0]} ended with status {done.returncode}")
    return done.stdout.strip()


def refusal(message: str) -> Exception:
    """`Busy` or `TadaError`, as SLURM's message asks for patience or not."""
    return Busy(message) if any(sign in message.lower() for sign in _BUSY) else TadaError(message)


def _job_state(id: str, word: str, name: str = "", nodes: str = "", reason: str = "") -> JobState:
    return JobState(id, name, _PHASES.get(word, Phase.QUEUED), word, nodes, reason)


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hides the variables of the job that Snakemake may run in, which would end up in the one that is submitted."""
    configuration = os.environ.get("SLURM_CONF")
    with submitit.helpers.clean_env() if "SLURM_JOB_ID" in os.environ else nullcontext():
        if configuration:
            os.environ["SLURM_CONF"] = configuration  # not the job's, but the cluster's
        yield
