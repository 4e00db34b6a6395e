"""What is added to this project is one entry, one line or one file."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from contract import check_contract
from planting import plant_outcome, plant_record

from tada.base import files
from tada.cluster.jobs import ClusterSettings
from tada.cluster.scheduler import load_scheduler
from tada.runs.run import Run
from tada.runs.settings import Scale


@pytest.mark.slow
def test_a_new_network(tmp_path):
    """One entry of models.yaml is a network that can be built, counted and trained."""
    (tmp_path / "models.yaml").write_text(
        (files.CONFIG / "models.yaml").read_text() + "\nslim: {extends: tada2d, width: 16, depth: [1, 1, 1, 1]}\n"
    )
    command = [sys.executable, "-m", "tada", "complexity", "slim", "--classes", "5", "--resolution", "32"]
    environment = os.environ | {"TADA_CONFIG": str(tmp_path), "PYTHONPATH": str(files.PROJECT)}
    subprocess.run([*command, "--out", str(tmp_path / "slim.json")], env=environment, check=True)
    record = json.loads((tmp_path / "slim.json").read_text())
    assert record["model"] == "slim"
    assert 0 < record["params"] < 2_000_000
    assert record["macs"] == sum(record["by_operator"].values()) > 0


SCHEDULER = '''"""A scheduler of one's own: jobs are processes, and notes are files of JSON."""

import json
import os
import shutil
import subprocess

from tada.cluster.jobs import job_output
from tada.cluster.scheduler import JobState, Phase, Scheduler


class Desk(Scheduler):
    title = "Desk"

    def __init__(self, settings, folder):
        self.folder, self.children = folder, []

    def submit(self, request):
        self.folder.mkdir(parents=True, exist_ok=True)
        job_id = str(1 + len(list(self.folder.glob("*.json"))))
        self.start(job_id, request.name, list(request.command), str(request.folder), 0)
        return job_id

    def start(self, job_id, name, command, folder, restarts):
        from pathlib import Path
        environment = {**os.environ, "TADA_JOB_ID": job_id, "TADA_RESTARTS": str(restarts)}
        with job_output(Path(folder), job_id).open("a") as printed:
            child = subprocess.Popen(command, env=environment, stdout=printed, stderr=printed, start_new_session=True)
        self.children.append(child)
        note = {"name": name, "command": command, "folder": folder, "restarts": restarts, "pid": child.pid}
        (self.folder / f"{job_id}.json").write_text(json.dumps(note))

    def note(self, job_id):
        return json.loads((self.folder / f"{job_id}.json").read_text())

    def states(self):
        for child in self.children:
            child.poll()
        return [self.state(file.stem) for file in self.folder.glob("*.json")]

    def state(self, job_id):
        note = self.note(job_id)
        try:
            os.kill(note["pid"], 0)
        except ProcessLookupError:
            return JobState(job_id, note["name"], Phase.ENDED, "GONE")
        return JobState(job_id, note["name"], Phase.RUNNING, "BUSY", nodes="desk")

    def cancel(self, job_id):
        try:
            os.killpg(self.note(job_id)["pid"], 9)
        except ProcessLookupError:
            pass

    def requeue(self, job_id):
        note = self.note(job_id)
        self.start(job_id, note["name"], note["command"], note["folder"], note["restarts"] + 1)
'''


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """The one file of a third scheduler, and settings that name it."""
    (tmp_path / "site_desk").mkdir()
    (tmp_path / "site_desk/__init__.py").touch()
    (tmp_path / "site_desk/desk.py").write_text(SCHEDULER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return ClusterSettings(scheduler="site_desk.desk")


def test_a_new_scheduler(desk, tmp_path):
    """One file is a scheduler that does all that is asked of one."""
    scheduler = load_scheduler(desk, tmp_path / "results")
    assert scheduler.title == "Desk"
    check_contract(scheduler, tmp_path)


READER = '''"""Jester as users have it on disk: a list of videos for each split."""

from tada.data.clips import Annotations, Clip, SplitRows
from tada.data.readers import check_root, rows

EXPECTED = "expected there: train.csv and validation.csv with the columns video and label, and <video>.mp4"


def read(root, annotations=None, videos=None):
    """Clips with the labels that the lists give them; a row without a video is skipped."""
    check_root(root, EXPECTED)
    splits = {}
    for name in ("train", "validation"):
        split = SplitRows(name)
        for row in rows((annotations or root) / f"{name}.csv", ("video", "label")):
            path = (videos or root) / f"{row['video']}.mp4"
            if path.is_file():
                split.use(Clip(row["video"], path, int(row["label"])))
            else:
                split.skip(row["video"], "no video file")
        splits[name] = split.split()
    return Annotations(**splits, classes=("Swiping", "Waving"), mirror={}, layout=f"lists in {root}")
'''


ENTRY = """    Dataset(
        name="jester",
        title="Jester",
        classes=2,
        reader="tada.data.readers.jester",
        clips={"train": 3, "validation": 1},
    ),
"""


RECIPE = {
    "classes": 2,
    "sampling": {"kind": "segment"},
    "train": {
        "epochs": 2,
        "warmup_epochs": 0,
        "base_lr": 0.1,
        "warmup_lr": 0.1,
        "batch": 8,
        "batch_per_device": 8,
        "scale": [32, 32],
        "crop": 32,
        "flip": True,
        "initial": "k400",
    },
    "test": {"clips": 1, "crops": 3, "short_side": 32, "crop": 32},
    "data": {"max_skipped": 0.01},
}


def sourced(recipe):
    """The recipe with a source beside each value, as the paper's scale wants it."""
    if isinstance(recipe, dict):
        return {key: sourced(part) for key, part in recipe.items()}
    return {"value": recipe, "choice": "an example"}


TABLE = {
    "title": "Table J",
    "caption": "One row.",
    "place": "A test",
    "columns": {
        "name": {"header": "Model"},
        "top1": {"header": "Jester", "metric": "top1", "dataset": "jester"},
    },
    "rows": [{"model": "tada2d", "cells": {"name": "TAda2D", "top1": "95.0"}}],
}


@pytest.mark.slow
def test_a_new_dataset(tmp_path):
    """One reader, one entry of the catalog and one recipe are a dataset: a table plans it, and commands know it."""
    project, data = tmp_path / "project", tmp_path / "jester"
    for name in ("tada", "workflow", "config", "paper"):
        shutil.copytree(files.PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "environment.yml"):
        shutil.copy(files.PROJECT / name, project)
    (project / "tada/data/readers/jester.py").write_text(READER)
    catalog = project / "tada/data/catalog.py"
    before, after = catalog.read_text().split(")\n\n\nDATASETS")
    catalog.write_text(f"{before}{ENTRY})\n\n\nDATASETS{after}")
    with (project / "config/recipes/paper.yaml").open("a") as recipes:
        recipes.write("\n" + yaml.safe_dump({"jester": sourced(RECIPE)}))
    (project / "paper/tables/small.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    data.mkdir()
    (data / "train.csv").write_text("video,label\n1,0\n2,1\n")
    (data / "validation.csv").write_text("video,label\n3,1\n")

    def call(*arguments):
        environment = {key: value for key, value in os.environ.items() if key != "TADA_CONFIG"}
        environment |= {"PYTHONPATH": str(project)}
        command = [sys.executable, "-m", *map(str, arguments)]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    config = ("scale=paper", f"data={{jester: {data}}}")
    code, output = call("snakemake", "-n", "-p", "--config", *config, "--", "tables/small.md")
    assert code == 0, output
    assert "results/paper/jester/tada2d/seed0/outcome.json" in output
    assert "results/paper/k400/tada2d/seed0/outcome.json" in output  # whose weights it begins with
    assert f"--data={data}" in output
    code, output = call("tada", "check-data", "jester", "--data", data)
    assert code == 1 and "train: 2 clips annotated, and 3 expected" in output, output
    assert "validation: 1 clip annotated as expected" in output and "1 missing" in output
    code, output = call("tada", "check-data", "jestre", "--data", data)
    assert "unknown dataset 'jestre'; did you mean 'jester'?" in output


OTHER = {
    "paper.yaml": {"title": "Another Paper", "short": "Other", "venue": "Nowhere 2030"},
    "tables/results.yaml": {
        "title": "Table 1",
        "caption": "One row.",
        "place": "Section 4",
        "columns": {
            "name": {"header": "Model"},
            "top1": {"header": "Top-1", "metric": "top1", "dataset": "ssv2"},
        },
        "rows": [{"model": "tsn", "cells": {"name": "TSN", "top1": "33.3"}}],
    },
}


def write_specs(folder, specs):
    for place, content in specs.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def call_in(folder, paper, *arguments):
    """`python -m ...` in a folder, on the specs of `paper`."""
    environment = {key: value for key, value in os.environ.items() if key != "TADA_CONFIG"}
    environment |= {"TADA_PAPER": str(paper), "PYTHONPATH": str(files.PROJECT)}
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def plan_in(folder, paper, *targets):
    plan = (
        "-n",
        "-p",
        "--quiet",
        "host",
        "--snakefile",
        files.PROJECT / "workflow/Snakefile",
        "--cores",
        "1",
        "--directory",
        folder,
    )
    (folder / "config").mkdir(exist_ok=True)
    shutil.copy(files.CONFIG / "config.yaml", folder / "config")
    return call_in(folder, paper, "snakemake", *plan, "--", *targets)


@pytest.mark.slow
def test_a_new_row(tmp_path):
    """One line of a table's spec is a row: its run is planned, and its cell is there."""
    paper = tmp_path / "paper"
    shutil.copytree(files.PAPER, paper)
    spec = paper / "tables/table4.yaml"
    spec.write_text(spec.read_text() + '  - {model: tsm-16f, cells: {dimension: shift, top1: "1.0"}}\n')
    code, output = plan_in(tmp_path, paper, "tables/table4.md")
    assert code == 0 and "tada run ssv2 tsm-16f --scale mini" in output, output
    (tmp_path / "results").mkdir()
    code, output = call_in(tmp_path, paper, "tada", "table", "table4")
    assert code == 0 and "| shift" in (tmp_path / "tables/table4.md").read_text(), output


@pytest.mark.slow
def test_a_second_paper(tmp_path):
    """A folder of specs is a paper: its table is planned, and built from the runs that are there."""
    paper = tmp_path / "other"
    write_specs(paper, OTHER)
    code, output = plan_in(tmp_path, paper, "tables/results.md")
    assert code == 0 and "tada run ssv2 tsn --scale mini" in output, output
    run = Run(Scale.MINI, "ssv2", "tsn", 0, tmp_path / "results")
    plant_outcome(run)
    plant_record(run, {"top1": 44.4})
    code, output = call_in(tmp_path, paper, "tada", "table", "results")
    page = (tmp_path / "tables/results.md").read_text()
    assert code == 0 and "| TSN" in page and "33.3" in page and "44.4" in page, output
    code, output = call_in(tmp_path, paper, "tada", "list")
    assert [line.split()[0] for line in output.splitlines()] == [
        "tables/results.md", "tables/settings.md", "results/overview.html",
    ]  # fmt: skip
    code, output = call_in(tmp_path, paper, "tada", "overview")
    assert code == 0, output
    overview = (tmp_path / "results/overview.html").read_text()
    assert "<h1>Another Paper, reproduced</h1>" in overview and "TAda" not in overview.split("<style>")[0]
    code, output = call_in(tmp_path, paper, "tada", "--help")
    assert "Another Paper" in output


NOTHING = {
    "tables/results.yaml": OTHER["tables/results.yaml"] | {"rows": []},
    "claims.yaml": {"title": "Claims", "place": "all", "caption": "None so far.", "claims": []},
    "audit.yaml": {"title": "Audit", "place": "all", "caption": "None so far."},
}
PICTURE = yaml.safe_load((files.PAPER / "paper.yaml").read_text())["picture"]
ALL_PAGES = """
from pathlib import Path
from typer.testing import CliRunner
from tada.cli import app
from tada.report.pages.readme import BEGIN, END
Path("README.md").write_text(f"{BEGIN}\\n{END}\\n")
for command in ("list", "claims", "audit", "settings", "overview", "plan", "snapshot", "readme"):
    done = CliRunner().invoke(app, command)
    print(command, done.exit_code, done.exception)
"""


@pytest.mark.slow
@pytest.mark.parametrize("specs", [{}, NOTHING], ids=["absent", "empty"])
def test_a_paper_without_tables_claims_and_audit(specs, tmp_path):
    """Pages of nothing are short, and no error."""
    about = OTHER["paper.yaml"] | {"picture": PICTURE}
    write_specs(tmp_path / "other", {"paper.yaml": about, **specs})
    (tmp_path / "results/mini").mkdir(parents=True)
    environment = os.environ | {"TADA_PAPER": str(tmp_path / "other"), "PYTHONPATH": str(files.PROJECT)}
    command = [sys.executable, "-c", ALL_PAGES]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == ["0 None"] * 8, done.stdout
    assert "There are no sentences of the paper" in (tmp_path / "README.md").read_text()
    said = "None so far." if specs else "The paper has no claims.yaml."
    assert said in (tmp_path / "tables/claims.md").read_text()
    assert (tmp_path / "tables/claims.csv").read_text().startswith("claim,place,scale,verdict,")
