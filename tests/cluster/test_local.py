"""Jobs in the background of this machine."""

import json
import os
import signal

import pytest
from background import wait_until
from contract import check_contract

from tada.cluster.jobs import ClusterSettings
from tada.cluster.scheduler import LocalScheduler

RUN = "results/mini/ssv2/tsn/seed0"


def test_this_machine_keeps_the_contract(tmp_path):
    check_contract(LocalScheduler(ClusterSettings(), tmp_path / "notes"), tmp_path)


@pytest.fixture
def train(tada_command, tiny_ssv2, tmp_path):
    (tmp_path / "cluster.yaml").write_text("scheduler: local\nprocesses: 2\npoll_seconds: 0.5\nlatency_seconds: 1\n")
    return lambda: tada_command("run", "ssv2", "tsn", f"--data={tiny_ssv2}", "--cluster=cluster.yaml", cwd=tmp_path)


def test_a_job_outlives_its_caller_and_goes_back_to_the_queue(train, tmp_path):
    run = tmp_path / RUN
    first = train()
    wait_until((run / "checkpoint.pt").exists, 90)
    first.kill()
    first.wait()
    job = json.loads((tmp_path / "results/.scheduler/local/1.json").read_text())
    os.kill(job["pid"], signal.SIGUSR2)
    second = train()
    output, _ = second.communicate(timeout=150)
    assert second.returncode == 0 and "attached to job 1" in output, output
    cost = json.loads((run / "metrics.json").read_text())["cost"]
    assert cost["requeues"] == 1 and cost["resumes"] == 1 and cost["devices"] == 2


def test_a_killed_job_is_the_runs_failure(train, tmp_path):
    run = tmp_path / RUN
    process = train()
    wait_until((run / "checkpoint.pt").exists, 90)
    os.killpg(json.loads((tmp_path / "results/.scheduler/local/1.json").read_text())["pid"], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "job 1 ended: its process was killed" in output, output
