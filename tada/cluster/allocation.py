"""What a run gets of a cluster: the recipe says what it needs, the cluster's settings what there is."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from tada.base.yaml_files import load_yaml
from tada.runs.settings import Recipe

LEAST_HOURS = 0.5


@dataclass(frozen=True)
class Cluster:
    """Settings of a cluster, e.g. `profiles/slurm/cluster.yaml`; what is None is left to SLURM or to the recipe."""

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


def load_cluster(path: Path) -> Cluster:
    """The settings in a YAML file.

    Raises:
        TadaError: no such file, or a key or value that is none.
    """
    return Cluster(**load_yaml(path, "cluster"))


def fitting_processes(recipe: Recipe, most: int) -> int:
    """Most processes, up to `most`, among which the groups of a batch can be shared out evenly.

    The batch stays the recipe's: the fewer the processes, the more groups each of them accumulates.
    """
    fitting = range(1, max(most, 1) + 1)
    return max(number for number in fitting if recipe.groups is None or recipe.groups % number == 0)


def allocate(recipe: Recipe, cluster: Cluster) -> Allocation:
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
