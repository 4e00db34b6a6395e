"""Commands that make pages: what a user names wrongly ends with a message; what is incomplete is made again."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tada.base.typed_json import save_sealed
from tada.cli import app
from tada.report.measure.archive import FORMAT, AboutArchive
from tada.runs.settings import Scale


@pytest.mark.parametrize("command", ["table table3b", "figure figure3", "claims", "overview", "snapshot"])
def test_a_scale_that_does_not_exist(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command.split(), "--scale", "big"])
    assert done.exit_code == 1
    assert done.stderr == "Error: unknown scale 'big'; valid names: first-release, gpu, later-release, mini, paper.\n"
    assert not list(tmp_path.iterdir())


def test_a_misspelt_scale_is_answered_with_the_nearest_word():
    done = CliRunner().invoke(app, ["claims", "--scale", "papre"])
    assert (done.exit_code, done.stderr) == (1, "Error: unknown scale 'papre'; did you mean 'paper'?\n")


@pytest.mark.parametrize("command", ["table table3b", "figure figure3", "claims", "overview"])
def test_outside_of_a_folder_with_results(command, tmp_path, monkeypatch):
    """A page on which everything is pending would pass for a page."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 1
    assert f"{tmp_path}/results: no such folder; results lie where snakemake ran" in done.stderr
    assert not list(tmp_path.iterdir())


WRONG = {
    "compare nowhere nowhere": (2, "nowhere: no such folder"),
    "snapshot --results nowhere": (1, "nowhere: no such folder"),
    "snapshot --results empty": (1, "empty: neither a snapshot nor a folder of results with runs of scale mini"),
    "readme --results nowhere": (1, "nowhere: no such folder; `tada snapshot` writes one"),
    "readme --results empty": (1, "empty: no snapshot, since about.json is missing; `tada snapshot` writes one"),
    "import nowhere": (1, "nowhere: no such file"),
    "import empty": (1, "empty: a folder that is no snapshot, since about.json is missing. What can be imported is a "),
    "predict a.mp4 --checkpoint gone.pt": (1, "gone.pt: no such file of weights"),
    "features a.mp4 --checkpoint gone.pt --out features": (1, "gone.pt: no such file of weights"),
    "export gone/checkpoint.pt a.onnx --to onnx": (1, "gone/checkpoint.pt: no such file of weights"),
    "export ssv2/tsn empty --to onnx": (1, "empty: a folder; name a file to write"),
    "publish --out empty": (1, "empty: a folder; name a file to write"),
    "overview --out empty": (1, "empty: a folder; name a file to write"),
    "complexity tsn --out empty": (1, "empty: a folder; name a file to write"),
    "check-data ssv2 --data empty --out empty": (1, "empty: a folder; name a file to write"),
    "evaluate-detections a.json b.json --out empty": (1, "empty: a folder; name a file to write"),
}


def test_a_wrong_path_is_told_before_torch_and_pandas_are_imported(tmp_path):
    (tmp_path / "empty").mkdir()
    code = (
        "import json, sys; from typer.testing import CliRunner; from tada.cli import app\n"
        "found = [CliRunner().invoke(app, command.split()) for command in json.loads(sys.argv[1])]\n"
        "print(json.dumps([[one.exit_code, one.stderr] for one in found]))\n"
        "print(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, json.dumps([*WRONG])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    answers, imported = done.stdout.splitlines()
    assert imported == "[]"
    for (command, (status, message)), answer in zip(WRONG.items(), json.loads(answers), strict=True):
        assert answer[0] == status and message in answer[1] and answer[1].count("\n") == 1, command
    assert not list((tmp_path / "empty").iterdir()) and len(list(tmp_path.iterdir())) == 1


def test_a_folder_to_write_to_that_lies_in_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file/below"):
        done = CliRunner().invoke(app, ["audit", "--out", str(out)])
        assert done.exit_code == 1 and f"\nError: {tmp_path}/file: a file stands where results are to" in done.stderr


BUILDERS = {
    "table table3b": "pages.tables.build_table", "figure figure3": "figures.build_figure",
    "claims": "pages.sentences.build_claims", "overview": "pages.overview.build_overview",
    "snapshot": "pages.snapshot.collect",
}  # fmt: skip


@pytest.mark.parametrize("command", BUILDERS)
def test_a_snapshot_has_the_seeds_that_it_was_made_with(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/gpu").mkdir(parents=True)
    about = AboutArchive(FORMAT, "gpu", 3, 1, "", {}, {})
    (tmp_path / "kept").mkdir()
    save_sealed(tmp_path / "kept/about.json", about)
    asked = []

    def build(*arguments, **_):
        asked.append(arguments[arguments.index(Scale.GPU) + 1])
        return []

    monkeypatch.setattr(f"tada.report.{BUILDERS[command]}", build)
    for options in ("--results kept", "--results kept --seeds 2", "--seeds 2", ""):
        done = CliRunner().invoke(app, [*command.split(), "--scale", "gpu", *options.split()])
        assert done.exit_code == 0, done.output
    assert asked == [3, 2, 2, 1]


@pytest.mark.parametrize("name", ["audit", "table1"])
def test_the_seconds_before_a_page_is_there_are_not_silent(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [name] if name == "audit" else ["table", name])
    assert done.exit_code == 0 and done.stderr == f"[{name}] loads its libraries and builds the page: some seconds\n"
    assert (tmp_path / "tables" / f"{name}.md").exists()


def test_a_table_waits_for_no_library_that_one_cell_alone_needs():
    shown = subprocess.run(
        [sys.executable, "-c", "import sys, tada.report.pages.tables; print('torchvision' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "False\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "target"), [("table table4", "tables/table4.md"), ("figure figureA2", "figures/figureA2.svg")]
)
def test_a_page_from_before_its_results_does_not_stand_in_for_the_real_one(command, target, tmp_path, monkeypatch):
    assert CliRunner().invoke(app, ["init", str(tmp_path)]).exit_code == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0 and (tmp_path / target).exists(), done.output
    planned = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", target], capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0 and "run " in planned.stdout and "Nothing to be done" not in planned.stdout


@pytest.mark.slow
def test_a_page_of_another_scale_leaves_the_page_of_the_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for scale in ("mini", "paper"):
        done = CliRunner().invoke(app, ["table", "table4", "--scale", scale])
        assert done.exit_code == 0, done.output
    for suffix in ("md", "tex", "html", "csv"):
        last, mini, paper = (tmp_path / "tables" / folder / f"table4.{suffix}" for folder in (".", "mini", "paper"))
        assert last.read_bytes() == paper.read_bytes()
        assert suffix == "csv" or mini.read_bytes() != paper.read_bytes()
