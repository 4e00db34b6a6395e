"""Which job trains a run: noted in the run's folder as job.json, and told by the job's name."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from tada.base.files import read_json, write_json
from tada.cluster.scheduler import ENDED, Queue, View
from tada.runs.run import Run


@dataclass(frozen=True)
class Record:
    """`job.json`: the job that trains a run, or last did."""

    id: str
    name: str
    signature: str
    processes: int
    submitted: float


def read_record(run: Run) -> Record | None:
    """The run's last job, of whatever signature, if there ever was one."""
    try:
        return Record(**read_json(run.file("job.json")))
    except (OSError, ValueError, TypeError):
        return None


def write_record(run: Run, record: Record) -> None:
    """Note, in one step, the job that trains a run."""
    write_json(run.file("job.json"), asdict(record))


def job_name(run: Run) -> str:
    """A name that no other run of this user has, and the same one whenever and wherever the run is asked for."""
    place = hashlib.sha256(str(run.results.absolute()).encode()).hexdigest()[:6]
    return f"tada-{run.scale}-{run.dataset}-{run.model}-{run.seed}-{run.signature}-{place}"


def job_folder(run: Run) -> Path:
    """Where submitit keeps what a run's jobs are given, print and return."""
    return run.folder.absolute() / "jobs"


def job_output(run: Run, record: Record) -> Path:
    """File with all that a job's first process prints."""
    return job_folder(run) / f"{record.id}_0_log.out"


def scheduler_queue(results: Path) -> Queue:
    """The view of the queue that all runs of a results folder share."""
    return Queue(results / ".scheduler")


def is_active(view: View, job: str) -> bool:
    """Whether a job is queued or running."""
    return job in view.jobs and view.jobs[job].state not in ENDED
