"""The command a user types, on a copy of the project with tiny recipes: whole chains, and what may disturb them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tada.base.files import PROJECT
from tada.report.paper.tables import load_table

COPIED = ["Snakefile", "pyproject.toml", "environment.yml", "tada", "workflow", "config", "profiles"]
COPIED += ["paper"]
RESULTS = Path("results/mini/ssv2")

TABLE = {
    "title": "Table T",
    "caption": "Two rows.",
    "place": "A test",
    "columns": {
        "name": {"header": "Model"},
        "top1": {"header": "Top-1", "metric": "top1", "dataset": "ssv2"},
        "delta": {"header": "Δ", "delta_of": "top1"},
    },
    "rows": [
        {"model": "tsn", "cells": {"name": "TSN", "top1": "32.0", "delta": "-"}},
        {"model": "tada2d", "base": "tsn", "cells": {"name": "TAda2D", "top1": "63.8", "delta": "+31.8"}},
    ],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_ssv2, tiny_config) -> Path:
    """The project as a fresh checkout, with one epoch of training and a table of two rows."""
    root = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source = PROJECT / name
        ignored = shutil.ignore_patterns("__pycache__", "*.md", "*.tex", "*.csv", "*.svg", "*.png")
        shutil.copytree(source, root / name, ignore=ignored) if source.is_dir() else shutil.copy(source, root)
    recipes = yaml.safe_load((tiny_config / "recipes" / "mini.yaml").read_text())
    recipes["ssv2"]["train"] |= {"epochs": 2, "warmup_epochs": 0}
    write_yaml(root / "config/recipes/mini.yaml", recipes)
    write_yaml(root / "paper/tables/small.yaml", TABLE)
    shutil.copytree(tiny_ssv2, root / "data/mini/ssv2")
    (root / "data/mini/ssv2/manifest.json").write_text("{}")
    return root


def write_yaml(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def start(project: Path, *arguments: str, paper: str = "paper", below: str = "") -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if key != "TADA_CONFIG"}
    environment |= {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1", "TADA_PAPER": str(project / paper)}
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=project / below,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # As at a terminal: commands in a script's background ignore Ctrl-C, and so do those that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def snakemake(project: Path, *arguments: str, paper: str = "paper", below: str = "") -> tuple[int, str]:
    process = start(project, *arguments, paper=paper, below=below)
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def trained(project: Path) -> dict[str, int]:
    return {file.parent.parent.name: file.stat().st_mtime_ns for file in (project / RESULTS).rglob("metrics.json")}


def numbers(project: Path) -> dict[str, dict[str, float]]:
    files = (project / RESULTS).rglob("metrics.json")
    return {file.parent.parent.name: json.loads(file.read_text())["metrics"] for file in files}


def test_one_command_makes_the_table_and_the_next_does_nothing(project):
    code, output = snakemake(project, "tables/small.md")
    assert code == 0, output
    table = (project / "tables/small.md").read_text()
    top1 = json.loads((project / RESULTS / "tada2d/seed0/metrics.json").read_text())["metrics"]["top1"]
    assert f"{top1:.1f}" in table and "63.8" in table
    assert (project / "tables/small.tex").exists() and (project / "tables/small.csv").exists()
    before = trained(project)
    code, output = snakemake(project, "tables/small.md")
    assert code == 0 and "Nothing to be done" in output
    assert trained(project) == before


def test_edited_code_retrains_nothing_and_an_edited_recipe_what_it_concerns(project):
    before = trained(project)
    (project / "tada/metrics.py").open("a").write("\n# a remark\n")
    code, output = snakemake(project, "tables/small.md")
    assert code == 0 and "Nothing to be done" in output
    models = project / "config/models.yaml"
    text = models.read_text()
    models.write_text(text.replace("tada2d: {extends: tsn+tada,", "tada2d: {dropout: 0.4, extends: tsn+tada,"))
    code, output = snakemake(project, "tables/small.md")
    assert code == 0, output
    after = trained(project)
    assert after["tsn"] == before["tsn"] and after["tada2d"] > before["tada2d"]


def test_a_failed_row_is_a_cell_and_the_next_call_repairs_it(project):
    spec = {**TABLE, "rows": [*TABLE["rows"], {"model": "tsn+avg", "cells": {"name": "Avg", "top1": "47.9"}}]}
    write_yaml(project / "paper/tables/small.yaml", spec)
    models = project / "config/models.yaml"
    text = models.read_text()
    assert "tsn+avg: {extends: tsn," in text
    broken = text.replace("tsn+avg: {extends: tsn,", "tsn+avg: {depth: [3000, 1, 1, 1], alpha: 4, extends: tsn,")
    models.write_text(broken)
    code, output = snakemake(project, "tables/small.md")
    assert code == 1
    assert re.search(r"1 run failed; .*\n.*tsn\+avg/seed0: .*alpha", output), output
    table = (project / "tables/small.md").read_text()
    assert "failed" in table and "63.8" in table and "tsn+avg/seed0/log.txt" in table
    models.write_text(text)
    before = trained(project)
    code, output = snakemake(project, "tables/small.md")
    assert code == 0, output
    assert "failed" not in (project / "tables/small.md").read_text()
    after = trained(project)
    assert after.keys() - before.keys() == {"tsn+avg"} and {m: after[m] for m in before} == before
    code, output = snakemake(project, "tables/small.md")
    assert code == 0 and "Nothing to be done" in output


def test_a_failed_run_ends_with_status_1_whatever_target_was_asked_for(project):
    models = project / "config/models.yaml"
    text = models.read_text()
    models.write_text(
        text.replace("tsn+avg: {extends: tsn,", "tsn+avg: {depth: [3000, 1, 1, 1], alpha: 4, extends: tsn,")
    )
    code, output = snakemake(project, str(RESULTS / "tsn+avg/seed0/outcome.json"))
    models.write_text(text)
    assert code == 1 and re.search(r"1 run failed; .*\n.*tsn\+avg/seed0: .*alpha", output), output
    code, output = snakemake(project, "tables/small.md")
    assert code == 0, output


def test_damage_is_repaired_and_not_called_up_to_date(project):
    before = numbers(project)
    runs = {model: project / RESULTS / model / "seed0" for model in before}
    tampered = runs["tsn"] / "metrics.json"
    tampered.write_text(tampered.read_text().replace('"top1": ', '"top1": 1'))
    os.truncate(runs["tada2d"] / "scores.npz", 100)
    (runs["tsn+avg"] / "outcome.json").write_text("[1]")
    code, output = snakemake(project, "-n", "tables/small.md")
    assert code == 0 and re.search(r"^run\s+3$", output, re.MULTILINE), output
    code, output = snakemake(project, "tables/small.md")
    assert code == 0 and "scores.npz: has 100 bytes" in output and "training: 0 steps" in output, output
    assert numbers(project) == before
    code, output = snakemake(project, "tables/small.md")
    assert code == 0 and "Nothing to be done" in output, output


def test_a_killed_snakemake_is_simply_called_again(project):
    spec = {**TABLE, "rows": [*TABLE["rows"], {"model": "tada2d-max", "cells": {"name": "Max", "top1": "63.5"}}]}
    write_yaml(project / "paper/tables/small.yaml", spec)
    process = start(project, "tables/small.md")
    state = project / RESULTS / "tada2d-max/seed0/checkpoint.pt"
    deadline = time.monotonic() + 90
    while not state.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)  # snakemake, the launcher and the training alike
    process.communicate()
    code, output = snakemake(project, "tables/small.md")
    assert code == 0, output
    metrics = json.loads((project / RESULTS / "tada2d-max/seed0/metrics.json").read_text())
    assert metrics["cost"]["resumes"] == 1
    assert "tada2d-max" in (project / "tables/small.md").read_text()


def test_runs_of_several_seeds_are_trained_in_parts(project):
    """Ctrl-C after the first new run; the same call goes on, nothing is trained twice, and no page is made."""
    tables = project / "one-table/tables"
    tables.mkdir(parents=True)
    shutil.copy(project / "paper/paper.yaml", tables.parent)
    write_yaml(tables / "small.yaml", TABLE)
    arguments = ("--cores", "1", "--config", "seeds=2", "--", "runs")

    def finished() -> dict[Path, int]:
        of = [
            project / RESULTS / model / f"seed{seed}/metrics.json" for model in ("tsn", "tada2d") for seed in range(3)
        ]
        return {file: file.stat().st_mtime_ns for file in of if file.exists()}

    first = finished()
    process = start(project, *arguments, paper="one-table")
    deadline = time.monotonic() + 120
    while finished() == first:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "Stopping as asked; the same command goes on where this one ends." in output
    assert "RuleException" not in output and "WorkflowError" not in output, output
    part = finished()
    assert len(first) < len(part) < 4 and part.items() >= first.items()
    code, output = snakemake(project, *arguments, paper="one-table")
    assert code == 0 and "rule table" not in output, output
    assert len(finished()) == 4 and finished().items() >= part.items()


def test_paper_scale_is_planned(project):
    code, output = snakemake(project, "-n", "--config", "scale=paper", "--", "tables/table3b.md")
    assert code == 0, output
    assert re.search(r"^run\s+10$", output, re.MULTILINE), output


def test_from_a_folder_below_it_is_told_where_the_project_is(project):
    code, output = snakemake(project, "-n", "tables/table3b.md", below="config")
    assert code != 0 and "No Snakefile found" in output
    words = "snakemake -s ../Snakefile --directory .."
    assert words in (PROJECT / "docs/tutorials/laptop.md").read_text(encoding="utf-8")
    code, output = snakemake(project, *words.split()[1:], "-n", "tables/table3b.md", below="config")
    jobs = re.compile(r"^[a-z]+\s+[0-9]+$", re.MULTILINE)
    _, above = snakemake(project, "-n", "tables/table3b.md")
    assert code == 0 and jobs.findall(output) == jobs.findall(above), output
    assert jobs.findall(output)


CLASSIFICATION = [f"tables/table{name}.md" for name in ("2", "5", "6", "7", "A2")]


def test_all_tables_of_classification_are_planned_with_the_runs_that_others_start_from(project):
    code, output = snakemake(project, "-n", "--config", "scale=paper", "--", *CLASSIFICATION)
    assert code == 0, output
    needed = {run for name in CLASSIFICATION for run in load_table(Path(name).stem).runs}
    started = {("k400", model) for dataset, model in needed if dataset == "ek100"}
    assert ("k400", "tsn") in started - needed, "Table 6 alone needs it"
    assert re.search(rf"^run\s+{len(needed | started)}$", output, re.MULTILINE), output


def test_table_6_asks_for_the_runs_that_its_networks_start_from(project):
    code, output = snakemake(project, "-n", "--config", "scale=paper", "--", "tables/table6.md")
    assert code == 0 and re.search(r"^run\s+4$", output, re.MULTILINE), output


@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_table_8_is_planned_from_the_videos_on(project, scale):
    recipes = project / "config/recipes/mini.yaml"
    text = recipes.read_text()
    shutil.copy(PROJECT / "config/recipes/mini.yaml", recipes)
    try:
        code, output = snakemake(project, "-n", "--config", f"scale={scale}", "--", "tables/table8.md")
    finally:
        recipes.write_text(text)
    assert code == 0, output
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE))
    # Of two networks: Kinetics-400, the two datasets that start from it, and localization in either.
    expected = {"run": "10", "table": "1"} | ({"render": "3"} if scale == "mini" else {})
    assert jobs == expected | {"total": str(sum(map(int, expected.values())))}, output


def test_released_checkpoints_are_planned_as_tests_alone(project):
    code, output = snakemake(project, "-n", "--config", "weights=released", "--", *CLASSIFICATION)
    assert code == 0, output
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE))
    assert jobs["run"] == "4" and jobs.keys() == {"complexity", "run", "table", "total"}, output  # nothing is rendered


def test_the_released_localization_is_planned_without_training(project):
    code, output = snakemake(project, "-n", "--config", "weights=released", "--", "tables/table8.md")
    assert code == 0, output
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE))
    assert jobs == {"run": "1", "table": "1", "total": "2"}, output


def test_several_seeds_are_planned(project):
    code, output = snakemake(project, "-n", "--config", "scale=paper", "seeds=3", "--", "tables/table3b.md")
    assert code == 0 and re.search(r"^run\s+30$", output, re.MULTILINE), output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tables/table3c.md",), "unknown table 'table3c'; did you mean 'table"),
        (("--config", "sede=3", "--", "tables/table3b.md"), "unknown key 'sede'; did you mean 'seeds'"),
        (("--config", "scale=mimi", "--", "tables/table3b.md"), "unknown value 'mimi'; did you mean 'mini'"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest_and_no_traceback(project, arguments, message):
    code, output = snakemake(project, *arguments)
    assert code != 0 and message in output, output
    assert "Traceback" not in output


def test_a_typo_in_a_recipe_names_file_and_key(project):
    recipes = project / "config/recipes/mini.yaml"
    text = recipes.read_text()
    recipes.write_text(text.replace("epochs: 2", "epoch: 2"))
    try:
        code, output = snakemake(project, "tables/small.md")
    finally:
        recipes.write_text(text)
    assert code != 0 and "Traceback" not in output
    fault = r"config/recipes/mini\.yaml: ssv2\.train: unknown key 'epoch'; did you mean '.*epochs'"
    assert re.search(fault, output), output


def tada(project: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "TADA_CONFIG"}
    command = [sys.executable, "-m", "tada", *arguments]
    environment |= {"PYTHONPATH": str(project), "TADA_PAPER": str(project / "paper")}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("marks", [True, False], ids=["with Snakemake's marks", "in a fresh folder"])
def test_imported_runs_are_not_trained_again(project, marks):
    """Neither where Snakemake remembers them, nor where it does not, nor where videos are rendered after the import."""
    for folder in ("tables", "results"):
        shutil.rmtree(project / folder, ignore_errors=True)
    write_yaml(project / "paper/tables/small.yaml", TABLE)  # other tests add rows
    assert snakemake(project, "tables/small.md")[0] == 0
    before = (project / "tables/small.md").read_text()
    assert "2 runs and 0 counted networks" in tada(project, "publish", "small", "--out", "runs.zip")
    shutil.rmtree(project / "results")
    if not marks:
        shutil.rmtree(project / ".snakemake")
    assert tada(project, "import", "runs.zip").startswith("2 runs taken in;")
    status, output = snakemake(project, "tables/small.md")
    assert status == 0 and "training" not in output and "finished before" not in output, output
    after = (project / "tables/small.md").read_text().splitlines()
    assert [line for line in after if not line.startswith("- **Imported**: from runs.zip")] == before.splitlines()
    os.utime(project / "data/mini/ssv2/manifest.json")
    status, output = snakemake(project, "tables/small.md")
    assert status == 0 and "training" not in output, output
    assert output.count("finished before") == (0 if marks else 2)  # with marks it knows the file's content


def test_damage_is_repaired_where_snakemake_remembers_nothing(project):
    """As where results were copied without the folder .snakemake."""
    write_yaml(project / "paper/tables/small.yaml", TABLE)
    assert snakemake(project, "tables/small.md")[0] == 0
    before = numbers(project)
    shutil.rmtree(project / ".snakemake")
    os.truncate(project / RESULTS / "tada2d/seed0/scores.npz", 100)
    code, output = snakemake(project, "tables/small.md")
    assert code == 0 and "scores.npz: has 100 bytes" in output, output
    assert numbers(project) == before
