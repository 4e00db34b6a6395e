"""The command before its commands: where it runs, what it lacks; and the project that it lays out."""

import errno
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import tada.__main__
from tada.base import files
from tada.base.provenance import git_state
from tada.cli import app


def test_windows_is_answered_with_wsl(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match=r"^Error: .*on Windows install WSL"):
        tada.__main__.main()


def test_a_module_of_the_suite_that_is_missing_is_a_fault_and_no_advice(monkeypatch):
    monkeypatch.setitem(sys.modules, "tada.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"tada\.cli"):
        tada.__main__.main()


def test_a_project_has_what_snakemake_needs_and_no_code_but_the_plans(tmp_path):
    done = CliRunner().invoke(app, ["init", str(tmp_path / "study")])
    assert done.exit_code == 0, done.output
    written = {str(file.relative_to(tmp_path / "study")) for file in (tmp_path / "study").rglob("*") if file.is_file()}
    assert {
        "workflow/Snakefile",
        "workflow/rules/runs.smk",
        "config/config.yaml",
        "profiles/slurm/cluster.yaml",
    } <= written
    assert [file for file in written if file.endswith(".py")] == ["workflow/targets.py"]
    assert not {"config/models.yaml", "workflow/schemas/models.schema.yaml"} & written


def test_a_project_says_what_its_plan_needs(tmp_path, monkeypatch):
    assert "pip install" not in CliRunner().invoke(app, ["init", str(tmp_path / "with")]).output
    monkeypatch.setattr("tada.cli.runs.find_spec", lambda name: None)
    said = CliRunner().invoke(app, ["init", str(tmp_path / "without")]).output
    assert "pip install 'tada-reproducibility[suite,snakemake]'" in said


def test_models_and_recipes_come_along_where_they_are_to_be_changed(tmp_path):
    done = CliRunner().invoke(app, ["init", str(tmp_path), "--models"])
    assert done.exit_code == 0, done.output
    assert f"export TADA_CONFIG={tmp_path / 'config'}" in done.output
    for name in ("models.yaml", "recipes/paper.yaml"):
        assert (tmp_path / "config" / name).read_text() == (files.CONFIG / name).read_text()


def test_nothing_that_is_there_is_written_over(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("scale: paper\n")
    done = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {tmp_path}/config/config.yaml: is there already, and nothing was written")
    assert [file.name for file in tmp_path.iterdir()] == ["config"]


def test_code_that_lies_in_another_repository_has_no_commit(tmp_path):
    """An environment inside of somebody's project: its commit says nothing of the suite."""
    (installed := tmp_path / "venv/tada/project").mkdir(parents=True)
    (installed / "paper.yaml").touch()
    (tmp_path / "own.txt").touch()
    who = ("-c", "user.name=A", "-c", "user.email=a@b")
    for command in (["init", "-q"], ["add", "own.txt"], [*who, "commit", "-qm", "Own"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert git_state(tmp_path)[1] is False
    assert git_state(installed) == (None, None)


@pytest.mark.parametrize(
    "command",
    [
        "table table3b --seeds 0", "claims --seeds -1", "overview --seeds 1000000000000", "run ssv2 tsn --seed -1",
        "run ssv2 tsn --seed 99999999999999999999", "run ssv2 tsn --processes -1", "run ssv2 tsn --processes 1000000",
        "render ssv2 --workers -1", "check-data ssv2 --data . --workers -1", "prepare ssv2 --out x --workers 100000",
        "logs ssv2/tsn --lines -1", "complexity tsn --classes 0",
    ],
)  # fmt: skip
def test_numbers_that_nothing_can_be_made_of_are_refused_with_their_option(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    done = CliRunner().invoke(app, command.split())
    option = command.split()[-2]
    assert done.exit_code == 2 and option in done.stderr and "than or equal to" in done.stderr, done.output
    assert [*tmp_path.iterdir()] == [tmp_path / "results"]


def test_a_name_that_no_page_could_say_is_refused():
    done = CliRunner().invoke(app, ["verify", "results\udcff"])
    assert done.exit_code == 2 and "no UTF-8; rename that" in done.output


def test_a_full_disk_is_that_of_the_copy(tmp_path, monkeypatch):
    def full(source, target, **_):
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))

    monkeypatch.setattr(files.shutil, "copyfile", full)
    done = CliRunner().invoke(app, ["init", str(tmp_path / "p")])
    assert done.exit_code == 1 and done.stderr.startswith(f"Error: {tmp_path}/p/environment.yml: not written: the disk")


def test_a_name_that_no_disk_takes_is_one_line(tmp_path):
    done = CliRunner().invoke(app, ["init", str(tmp_path / ("n" * 300))])
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    assert "a name longer than its disk takes" in done.stderr
