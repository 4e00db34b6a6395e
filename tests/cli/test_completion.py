"""What the shell offers after a word and the Tab key, asked for as the scripts of `tada --install-completion` ask."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from planting import plant_record
from typer.testing import CliRunner

from tada.base.files import CONFIG, PAPER
from tada.cli import app
from tada.runs.run import Run


def offered(typed: str) -> list[str]:
    words = typed.split(" ")
    environment = {
        "_TADA_COMPLETE": "complete_bash",
        "COMP_WORDS": shlex.join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = CliRunner().invoke(app, [], prog_name="tada", env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout.split()


def test_tables_and_figures():
    assert offered("tada table table3") == ["table3a", "table3b"]
    assert offered("tada figure ") == sorted(file.stem for file in (PAPER / "figures").glob("*.yaml"))


def test_models_as_arguments_of_each_command_that_takes_one():
    named = list(yaml.safe_load((CONFIG / "models.yaml").read_text()))
    assert offered("tada complexity ") == [name for name in named]
    assert offered("tada run ssv2 slowfast-8") == [name for name in named if name.startswith("slowfast-8")]


def test_datasets_recipes_and_scales():
    assert offered("tada check-data ") == ["ssv2", "k400", "ek100", "hacs"]
    assert offered("tada run ek100") == ["ek100", "ek100-localization"]
    assert offered("tada claims --scale ") == ["mini", "gpu", "paper", "first-release", "later-release"]


def test_what_is_planned():
    assert offered("tada plan tables/table3") == ["tables/table3a.md", "tables/table3b.md"]
    assert offered("tada plan tables/table1.md al") == ["all"]
    assert offered("tada plan --settings ssv2/tada2d-1") == ["ssv2/tada2d-16f"]


@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_runs_are_those_that_are_there(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        plant_record(Run("mini", "ssv2", "tada2d", seed), {"top1": 50.0})
    plant_record(Run("mini", "k400", "tsn", 0, tmp_path / "elsewhere"), {"top1": 50.0})
    assert offered(f"tada {command} ssv2") == ["ssv2/tada2d"]
    assert offered(f"tada {command} mini/ssv2/tada2d/") == ["mini/ssv2/tada2d/seed0", "mini/ssv2/tada2d/seed1"]
    assert offered(f"tada {command} --results elsewhere k") == ["k400/tsn"]
    assert offered(f"tada {command} --results nowhere ") == []


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with a run, from which it could be published."""
    monkeypatch.chdir(tmp_path)
    plant_record(Run("mini", "ssv2", "tada2d", 0), {"top1": 50.0})


def test_what_is_published(published):
    assert offered("tada publish ssv2") == ["ssv2/tada2d"]
    assert offered("tada publish table3") == ["table3a", "table3b"]
    assert offered("tada publish ssv2/tada2d figure") == offered("tada figure ")
    assert offered("tada publish mini/") == ["mini/ssv2/tada2d/seed0"]
    assert offered("tada import ") == []  # then the shell offers the names of files


def test_zsh_is_offered_the_same(published):
    environment = {"_TADA_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "tada publish table3"}
    done = CliRunner().invoke(app, [], prog_name="tada", env=environment)
    assert done.stdout.startswith("_arguments '*: :((") and re.findall(r'"(\w+)"', done.stdout) == [
        "table3a",
        "table3b",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("tada publish table3", "table3a table3b"), ("tada publish mini/", "mini/ssv2/tada2d/seed0")],
)
def test_in_bash_itself(words, expected, published):
    """The script that `tada --install-completion` installs, called as bash calls it after the Tab key."""
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = subprocess.run(
        ["tada"], env={**path, "_TADA_COMPLETE": "source_bash"}, capture_output=True, text=True, check=True
    ).stdout
    typed = f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; _tada_completion tada"
    call = ["bash", "-c", f'{script}\n{typed}; echo "${{COMPREPLY[*]}}"']
    done = subprocess.run(call, env=path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected.split()


def test_a_spec_that_cannot_be_read_offers_nothing(tmp_path, monkeypatch):
    """The message belongs to the command, not between the letters that somebody is typing."""
    (tmp_path / "models.yaml").write_text("tsn: {networks: resnet}")
    code = "from tada.cli import completion; print(completion.models(''))"
    environment = {"TADA_CONFIG": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_key_press_waits_for_torch():
    code = "import sys, tada.cli, tada.cluster.status; print({'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
