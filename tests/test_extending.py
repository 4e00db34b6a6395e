"""What is added to this project is one entry, one line or one file."""

import json
import os
import subprocess
import sys

import pytest
from contract import check_contract

from tada.base import files
from tada.cluster.jobs import ClusterSettings
from tada.cluster.scheduler import load_scheduler


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
