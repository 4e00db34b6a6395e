"""The real SLURM, and runs submitted to it."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from background import Command
from filelock import FileLock
from scratch_slurm import Slurm, missing_programs

RESULTS = Path("results/mini/ssv2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A second chance for tests that disturb a real scheduler at a moment of their choosing: on a busy machine the
    moment may have passed before they get their turn.
    """
    for item in items:
        if "slurm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """SLURM on this machine; nothing is left of it after the tests."""
    if missing := missing_programs():
        packages = "slurmctld slurmd slurm-client munge"
        pytest.skip(f"SLURM is not installed (no {', '.join(missing)}): apt-get install {packages}")
    running = Slurm()
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: pytest.exit("terminated"))
    yield running
    signal.signal(signal.SIGTERM, before)
    running.close()


@pytest.fixture(autouse=True)
def take_turns(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One test at a time has jobs at SLURM: those of another process would take its processors."""
    if "slurm" not in request.fixturenames:
        yield
        return
    with FileLock(tmp_path_factory.getbasetemp().parent / "slurm.lock"):
        yield


def changed(config: Path, folder: Path, **train: object) -> Path:
    """A copy of a config folder with another training schedule."""
    shutil.copytree(config, folder)
    recipes = yaml.safe_load((folder / "recipes/mini.yaml").read_text())
    recipes["ssv2"]["train"] |= train
    (folder / "recipes/mini.yaml").write_text(yaml.safe_dump(recipes))
    return folder


@pytest.fixture(scope="session")
def long_config(tiny_config, tmp_path_factory) -> Path:
    """The tiny recipes with so many epochs that there is time to disturb a run."""
    return changed(tiny_config, tmp_path_factory.mktemp("long") / "config", epochs=80, validate_every=40)


@pytest.fixture(scope="session")
def short_config(tiny_config, tmp_path_factory) -> Path:
    """The tiny recipes with hardly any training, for many runs."""
    return changed(tiny_config, tmp_path_factory.mktemp("short") / "config", epochs=2)


@pytest.fixture
def settings(tmp_path) -> Callable[..., Path]:
    """Writes a cluster's settings: one processor and little memory a process, unless said otherwise."""

    def write(**changes: object) -> Path:
        chosen = {"cpus_per_process": 1, "memory_gb_per_process": 1, "hours": 0.5, "signal_seconds": 20}
        chosen |= {"poll_seconds": 1, "latency_seconds": 3, **changes}
        file = tmp_path / "cluster.yaml"
        file.write_text(yaml.safe_dump(chosen))
        return file

    return write


@pytest.fixture
def start(slurm, tiny_config) -> Iterator[Callable[..., Command]]:
    """Starts the command of a Python module where SLURM is at hand; ends it, and all jobs, with the test."""
    started = []

    def run(folder: Path, *arguments: str, config: Path | None = None, path: Path | None = None) -> Command:
        environment = {**slurm.environment, "TADA_CONFIG": str(config or tiny_config), "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(path)} if path else {}
        started.append(Command(list(arguments), folder, environment))
        return started[-1]

    yield run
    for command in started:
        command.kill()
    slurm.cancel_all()
    slurm.forget()


@pytest.fixture
def train(start, tiny_ssv2, tmp_path) -> Callable[..., Command]:
    """Starts `tada run ssv2 MODEL`, here or, with a cluster's settings, as a job."""

    def run(
        model: str = "tsn",
        cluster: Path | None = None,
        config: Path | None = None,
        folder: Path = tmp_path,
        **more: int,
    ) -> Command:
        options = [f"--{name}={value}" for name, value in more.items()]
        options += [f"--cluster={cluster}"] if cluster else []
        return start(folder, "tada", "run", "ssv2", model, f"--data={tiny_ssv2}", *options, config=config)

    return run


@pytest.fixture(scope="session")
def references(tmp_path_factory) -> dict[object, Path]:
    """Folders of undisturbed runs on this machine, by configuration; filled as tests need them."""
    return {}


@pytest.fixture
def undisturbed(references, train, tmp_path_factory) -> Callable[[Path | None], Path]:
    """The folder of a run of tsn that nothing disturbed, made by one process of this machine."""

    def folder(config: Path | None = None) -> Path:
        if config not in references:
            place = tmp_path_factory.mktemp("undisturbed")
            command = train(config=config, folder=place)
            assert command.wait(200) == 0, command.output
            references[config] = place / RESULTS / "tsn/seed0"
        return references[config]

    return folder


@pytest.fixture
def answer(tmp_path, monkeypatch):
    """Puts commands of SLURM's names on the path that print what they are told, and count how often they were asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, output: str = "", error: str = "", status: int = 0) -> Path:
        count = folder / f"{name}.asked"
        lines = ["#!/bin/sh", f'echo "$@" >> {count}', f'printf "{error}" >&2', f'printf "{output}"', f"exit {status}"]
        (folder / name).write_text("\n".join(lines))
        (folder / name).chmod(0o755)
        return count

    return write
