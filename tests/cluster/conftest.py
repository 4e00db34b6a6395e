"""The real SLURM, and runs submitted to it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from scratch_slurm import Slurm, missing_programs


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """SLURM on this machine; nothing is left of it after the tests."""
    if missing := missing_programs():
        pytest.skip(f"SLURM is not installed (no {', '.join(missing)}): apt-get install slurmctld slurmd slurm-client munge")
    running = Slurm()
    yield running
    running.close()


@pytest.fixture
def settings(tmp_path) -> Callable[..., Path]:
    """Writes a cluster's settings: one processor and little memory a process, unless said otherwise."""

    def write(**changes: object) -> Path:
        chosen = {"cpus_per_process": 1, "memory_gb_per_process": 1, "hours": 0.5, "signal_seconds": 10, **changes}
        file = tmp_path / "cluster.yaml"
        file.write_text(yaml.safe_dump(chosen))
        return file

    return write


@pytest.fixture
def start(slurm, tiny_config, tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a Python module's command on this cluster's login node, so to say; ends it and all jobs with the test."""
    started = []

    def run(*arguments: str, module: str = "tada", cwd: Path = tmp_path, **variables: str) -> subprocess.Popen:
        environment = {**slurm.environment, "TADA_CONFIG": str(tiny_config), "OMP_NUM_THREADS": "1", **variables}
        with (tmp_path / f"output{len(started)}.txt").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=cwd,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.output = Path(output.name)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
    slurm.cancel_all()


@pytest.fixture
def submit(start, settings, tiny_ssv2) -> Callable[..., subprocess.Popen]:
    """Starts `tada run ssv2 MODEL` as a job."""

    def run(model: str = "tsn", cluster: Path | None = None, **options: object) -> subprocess.Popen:
        cluster = cluster or settings()
        return start("run", "ssv2", model, "--data", str(tiny_ssv2), "--cluster", str(cluster), **options)

    return run
