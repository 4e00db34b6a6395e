"""One list of packages in three files: what pyproject.toml asks for and pins, what conda takes, what holds pip."""

import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tada.base.files import PROJECT

NUMBERS_DEPEND_ON = {
    "torch", "torchvision", "numpy", "pandas", "decord", "av", "fvcore", "scikit-learn", "snakemake", "submitit",
    "matplotlib",
}  # fmt: skip


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins(pyproject) -> dict[str, str]:
    """Name -> the exact version that a checkout has."""
    pinned = [
        re.fullmatch(r"([\w-]+)==([\w.]+)", entry) for entry in pyproject["tool"]["uv"]["constraint-dependencies"]
    ]
    return {match[1]: match[2] for match in pinned if match}


@pytest.fixture(scope="module")
def asked_for(pyproject) -> list[Requirement]:
    project = pyproject["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(entry) for group in (project["dependencies"], *extras) for entry in group]


@pytest.fixture(scope="module")
def constraints() -> dict[str, set[str]]:
    """Name -> versions in constraints.txt, several where Pythons need different ones."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (PROJECT / "constraints.txt").read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_what_numbers_depend_on_is_pinned_exactly(pyproject, pins):
    assert set(pins) == NUMBERS_DEPEND_ON
    assert len(pyproject["tool"]["uv"]["constraint-dependencies"]) == len(pins)


def test_pins_are_versions_that_the_package_takes(asked_for, pins):
    ranges = {requirement.name: requirement.specifier for requirement in asked_for}
    assert all(version in ranges[name] for name, version in pins.items())


def test_core_needs_no_exact_version(pyproject):
    assert "==" not in " ".join(pyproject["project"]["dependencies"])
    assert {Requirement(entry).name for entry in pyproject["project"]["dependencies"]} >= {"torch", "numpy"}


def test_conda_environment_says_the_same_as_pyproject(asked_for, pins):
    packages = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]
    pip = {one.name: one for one in map(Requirement, next(one["pip"] for one in packages if isinstance(one, dict)))}
    assert set(pip) == {requirement.name for requirement in asked_for}
    for requirement in asked_for:
        expected = f"=={pins[requirement.name]}" if requirement.name in pins else str(requirement.specifier)
        assert str(pip[requirement.name].specifier) == expected
        assert pip[requirement.name].marker == requirement.marker


def test_constraints_hold_every_package_to_a_version_and_its_hashes(asked_for, pins, constraints):
    text = (PROJECT / "constraints.txt").read_text()
    for requirement in asked_for:
        assert all(version in requirement.specifier for version in constraints[requirement.name])
    assert {name: constraints[name] for name in pins} == {name: {version} for name, version in pins.items()}
    entries = re.split(r"\n(?=\S)", text.strip())[1:]  # behind the line that says where it comes from
    assert len(entries) == sum(map(len, constraints.values()))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)
    assert "://" not in text and "[" not in text
