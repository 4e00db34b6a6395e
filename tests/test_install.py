"""The wheel and the source archive, used in an empty folder by environments that hold what they declare, no more.

An environment's packages are links to those of the tests' own: what the package needs and does not declare is missing.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from tada.base.files import PROJECT
from tada.cli import app
from tada.complexity import report

NAME = "tada-reproducibility"
Run = Callable[..., subprocess.CompletedProcess[str]]

pytest.importorskip("hatchling", reason="builds the package")


def build(root: Path, out: Path, target: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return next(out.glob("*.whl" if target == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(PROJECT, tmp_path_factory.mktemp("wheel"), "wheel")


def needed(requirements: Iterable[str], extras: tuple[str, ...] = ("",)) -> set[str]:
    """Names of the installed packages that these requirements and all of theirs come to."""
    found: set[str] = set()
    todo = [(requirement, extras) for requirement in requirements]
    seen = set()
    while todo:
        text, asked = todo.pop()
        requirement = Requirement(text)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in asked):
            continue
        if (requirement.name, *requirement.extras) in seen:
            continue
        seen.add((requirement.name, *requirement.extras))
        found.add(requirement.name)
        theirs = ("", *requirement.extras)
        todo += [(one, theirs) for one in importlib.metadata.requires(requirement.name) or []]
    return found


@pytest.fixture(scope="module")
def pip(tmp_path_factory) -> Path:
    venv.create(folder := tmp_path_factory.mktemp("pip"), symlinks=True, with_pip=True)
    return folder / "bin/pip"


def environment(folder: Path, pip: Path, wheel: Path, extras: tuple[str, ...]) -> Run:
    """Installs the wheel into a new environment; what is returned runs a command of it."""
    venv.create(folder, symlinks=True)
    install = [pip, "--python", folder / "bin/python", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    [site] = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = (name for name in archive.namelist() if name.endswith("/METADATA"))
        about = importlib.metadata.PathDistribution(zipfile.Path(archive, metadata.removesuffix("METADATA")))
        packages = needed(about.requires or [], ("", *extras))
    for package in packages:
        distribution = importlib.metadata.distribution(package)
        for part in {Path(file).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / part).exists():
                (site / part).symlink_to(Path(str(distribution.locate_file(part))).resolve())

    def run(command: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        others = ("PYTHON", "TADA_", "VIRTUAL_ENV")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(others)}
        kept["PATH"] = f"{folder / 'bin'}{os.pathsep}{kept['PATH']}"
        return subprocess.run(
            [folder / "bin" / command, *arguments], cwd=cwd, env=kept, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="module")
def core(tmp_path_factory, pip, wheel) -> Run:
    return environment(tmp_path_factory.mktemp("core"), pip, wheel, ())


@pytest.fixture(scope="module")
def suite(tmp_path_factory, pip, wheel) -> Run:
    return environment(tmp_path_factory.mktemp("suite"), pip, wheel, ("suite", "snakemake", "fvcore"))


COUNT = """
import sys, torch
from tada.complexity import report
from tada.conv import TAdaConv2d
clip = torch.zeros(1, 4, 3, 5, 5)
print(tuple(TAdaConv2d(4, 6, kernel_size=3, padding=1)(clip).shape))
print(report("tada2d", 174, 32)["macs"])
print({"pandas", "typer", "fvcore"} & set(sys.modules))
"""


def test_core_has_tadaconv_the_networks_and_their_cost(core, tmp_path):
    done = core("python", "-c", COUNT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(1, 6, 3, 5, 5)", str(report("tada2d", 174, 32)["macs"]), "set()"]


@pytest.mark.parametrize("command", [("tada",), ("python", "-m", "tada")])
def test_core_says_in_a_line_what_a_table_needs(core, tmp_path, command):
    done = core(*command, "table", "table1", cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    [line] = done.stderr.splitlines()
    assert f"pip install '{NAME}[suite]'" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("list",), ("plan",), ("plan", "--config", "scale=paper", "tables/table2.md")])
def test_what_is_printed_is_the_same_as_in_a_checkout(suite, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = suite("tada", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == CliRunner().invoke(app, arguments).stdout
    assert done.stdout.count("\n") > 3


CODE = re.compile(r"commit [0-9a-f]{10}( with uncommitted changes)?|not in a git checkout")


@pytest.mark.parametrize("page", ["audit", "table1"])
def test_pages_are_the_same_as_in_a_checkout(suite, tmp_path, monkeypatch, page):
    arguments = [page] if page == "audit" else ["table", page]
    for folder in ("installed", "checkout"):
        (tmp_path / folder).mkdir()
    done = suite("tada", *arguments, cwd=tmp_path / "installed")
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path / "checkout")
    assert CliRunner().invoke(app, arguments).exit_code == 0
    for form in ("md", "tex", "html", "csv"):
        installed, checkout = (tmp_path / folder / f"tables/{page}.{form}" for folder in ("installed", "checkout"))
        assert CODE.sub("", installed.read_text()) == CODE.sub("", checkout.read_text())


def test_a_project_of_ones_own_is_planned(suite, tmp_path):
    done = suite("tada", "init", "study", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    planned = suite("python", "-m", "snakemake", "-n", "tables/table3b.md", cwd=tmp_path / "study")
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"^run +10$", planned.stdout + planned.stderr, re.MULTILINE)


def assert_same_content(one: Path, other: Path) -> None:
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        assert {file.filename: file.CRC for file in first.infolist()} == {
            file.filename: file.CRC for file in second.infolist()
        }


def test_source_archive_builds_the_same_wheel(wheel, tmp_path):
    archive = build(PROJECT, tmp_path, "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    assert_same_content(wheel, build(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path / "out", "wheel"))


def test_files_of_the_apptainer_image_build_the_same_wheel(wheel, tmp_path):
    definition = (PROJECT / "apptainer.def").read_text()
    copied = re.findall(r"^    (\S+) /opt/tada/(\S+)$", definition, re.MULTILINE)
    root = tmp_path / "tada"
    root.mkdir()
    for source, target in copied:
        assert source == target
        copy = shutil.copytree if (PROJECT / source).is_dir() else shutil.copy
        copy(PROJECT / source, root / target)
    assert_same_content(wheel, build(root, tmp_path / "out", "wheel"))


def test_what_the_apptainer_image_tests_of_itself(suite, tmp_path):
    part = (PROJECT / "apptainer.def").read_text().partition("%test\n")[2].partition("\n%")[0]
    script = part.replace("snakemake", "python -m snakemake")  # a link to a package brings no command
    done = suite("python", "-c", f"import os; os.execvp('sh', ['sh', '-c', {script!r}])", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tables/table3b.md" in done.stdout
