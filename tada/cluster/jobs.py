"""The job of a run: what it asks for, what it is called, and what the run's folder notes of it.

The recipe says what a run needs, the cluster's settings what there is; `allocate` brings the two together. The job that
trains a run, or last did, is noted in the run's folder as `job.json`.
"""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tada.base import typed_json
from tada.base.files import DamagedFile, DiskError
from tada.base.yaml_files import load_yaml
from tada.runs.run import Run
from tada.runs.settings import Recipe

LEAST_HOURS = 0.5


@dataclass(frozen=True)
class ClusterSettings:
    """Settings of a cluster, e.g. `profiles/slurm/cluster.yaml`; None leaves a value to the scheduler or the recipe.

    `scheduler` names a module, see `tada.cluster.scheduler.load_scheduler`; `options` are for a scheduler of one's own.
    """

    scheduler: str = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gpus: int | None = None
    gpus_per_node: int | None = None
    gpu_type: str | None = None
    processes: int = 1
    cpus_per_process: int | None = None
    memory_gb_per_process: int | None = None
    hours: float = 24.0
    signal_seconds: int = 120
    setup: list[str] = field(default_factory=list)
    sbatch: dict[str, str | int | bool] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    poll_seconds: float = 10.0
    latency_seconds: float = 15.0


@dataclass(frozen=True)
class Allocation:
    """Processes of a run, spread evenly over nodes, one GPU each (or none), and the time limit of one job."""

    nodes: int
    processes_per_node: int
    gpus_per_process: int
    cpus_per_process: int
    memory_gb_per_process: int
    minutes: int

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.nodes * self.processes_per_node

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.processes * self.gpus_per_process


def load_cluster(path: Path) -> ClusterSettings:
    """The settings in a YAML file.

    Raises:
        TadaError: there is no such file, or a key or value in it is not valid.
    """
    return ClusterSettings(**load_yaml(path, "cluster"))


def fitting_processes(recipe: Recipe, most: int) -> int:
    """Most processes, up to `most`, that the micro-batches of a step can be shared among evenly.

    The batch stays the recipe's: the fewer the processes, the more micro-batches each of them accumulates.
    """
    numbers, micro_batches = range(1, max(most, 1) + 1), recipe.micro_batches
    return max(number for number in numbers if micro_batches is None or micro_batches % number == 0)


def allocate(recipe: Recipe, cluster: ClusterSettings) -> Allocation:
    """Nodes, processes, GPUs, memory and minutes of one job of a run."""
    needs = recipe.resources
    on_gpus = needs.gpus > 0 and cluster.gpus != 0
    most = min(needs.gpus, cluster.gpus or needs.gpus) if on_gpus else cluster.processes
    processes = fitting_processes(recipe, most)
    per_node = cluster.gpus_per_node or needs.gpus_per_node if on_gpus else processes
    per_node = max(number for number in range(1, min(per_node, processes) + 1) if processes % number == 0)
    # Twice what is expected, since a job that asks for less waits less, while one that is cut short has to wait again.
    hours = max(2.0 * needs.hours * (needs.gpus / processes if on_gpus else 1.0), LEAST_HOURS)
    return Allocation(
        nodes=processes // per_node,
        processes_per_node=per_node,
        gpus_per_process=int(on_gpus),
        cpus_per_process=cluster.cpus_per_process or needs.cpus_per_gpu,
        memory_gb_per_process=cluster.memory_gb_per_process or needs.memory_gb_per_gpu,
        minutes=max(math.ceil(min(hours, cluster.hours) * 60), 1),
    )


@dataclass(frozen=True)
class JobRecord:
    """`job.json`: the job that trains a run, or last did."""

    id: str
    name: str
    signature: str
    processes: int
    scheduler: str = "slurm"
    extra: dict[str, Any] = field(default_factory=dict)


def read_job(run: Run) -> JobRecord | None:
    """The run's last job, of whatever signature; None if there never was one, or if its file is damaged."""
    try:
        return typed_json.load(JobRecord, run.file("job.json"))
    except (FileNotFoundError, DamagedFile, DiskError):
        return None


def write_job(run: Run, record: JobRecord) -> None:
    """Note, in one step, the job that trains a run."""
    typed_json.save(run.file("job.json"), record)


def job_name(run: Run) -> str:
    """A name that no other run of this user has, and the same one whenever and wherever the run is asked for."""
    place = hashlib.sha256(str(run.results.absolute()).encode()).hexdigest()[:6]
    return f"tada-{run.scale}-{run.dataset}-{run.model}-{run.seed}-{run.signature}-{place}"


def job_folder(run: Run) -> Path:
    """Folder of the files of a run's jobs: what they are given, print and return."""
    return run.folder.absolute() / "jobs"


def job_output(folder: Path, job_id: str) -> Path:
    """File in a job folder with all that the job's first process prints; every scheduler writes it there."""
    return folder / f"{job_id}_0_log.out"
