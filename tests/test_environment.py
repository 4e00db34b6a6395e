import re
import tomllib

import yaml

from tada.base.files import PROJECT

NUMBERS_DEPEND_ON = {
    "torch", "torchvision", "numpy", "pandas", "decord", "av", "fvcore", "scikit-learn", "snakemake", "submitit",
    "matplotlib",
}  # fmt: skip


def project_dependencies() -> list[str]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_conda_environment_says_the_same_as_pyproject():
    packages = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in packages if isinstance(entry, dict))
    assert set(pip) == set(project_dependencies())


def test_what_numbers_depend_on_is_pinned_exactly():
    pinned = {match[1] for entry in project_dependencies() if (match := re.match(r"([\w-]+)==[\w.]+", entry))}
    assert pinned == NUMBERS_DEPEND_ON
