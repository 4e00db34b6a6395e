"""Jobs that end in ways that are hard to bring about: SLURM's commands are played, all that follows is real."""

import pytest
from background import read
from planting import plant_outcome, plant_record

from tada.base import TadaError
from tada.cluster import launch as launcher
from tada.cluster import scheduler
from tada.cluster.jobs import ClusterSettings, job_name
from tada.cluster.launch import launch, train_on_cluster
from tada.runs.record import read_outcome
from tada.runs.run import Run

SETTINGS = ClusterSettings(poll_seconds=0.1, latency_seconds=0.2)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(launcher, "LOOK_SECONDS", 0.05)
    monkeypatch.chdir(tmp_path)
    return Run("mini", "ssv2", "tsn", 0)


@pytest.fixture
def slurm_says(answer, run):
    """Has squeue show job 7 of the run in a state, or no job; sbatch submits jobs 8, 9, ...; there is no accounting."""
    submitted = answer("sbatch")
    script = submitted.with_name("sbatch")
    script.write_text(f'#!/bin/sh\necho x >> {submitted}\necho "Submitted batch job $((7 + $(wc -l < {submitted})))"\n')
    answer("srun")
    answer("sacct", error="Slurm accounting storage is disabled", status=1)

    def say(state: str, jobs: str = "7 8 9 10 11") -> None:
        lines = [f"{job}|{state}|{job_name(run)}|node1|None" for job in jobs.split()] if state else []
        answer("squeue", "\\n".join([*lines, ""]))

    say.submitted = submitted
    return say


def jobs(slurm_says) -> int:
    return len(slurm_says.submitted.read_text().splitlines()) if slurm_says.submitted.exists() else 0


def test_a_vanished_job_is_noticed(run, slurm_says, monkeypatch):
    slurm_says("")
    problem = train_on_cluster(run, {}, SETTINGS)
    assert "job 8 vanished: SLURM no longer knows it" in problem and jobs(slurm_says) == 1


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "OUT_OF_MEMORY"])
def test_a_lost_job_is_the_runs_failure(state, run, slurm_says):
    slurm_says(state)
    problem = train_on_cluster(run, {}, SETTINGS)
    assert problem.startswith(f"job 8 {state.lower()}: ") and jobs(slurm_says) == 1


@pytest.mark.parametrize("state", ["NODE_FAIL", "TIMEOUT", "PREEMPTED"])
def test_another_job_goes_on_but_not_for_ever(state, run, slurm_says):
    slurm_says(state)
    problem = train_on_cluster(run, {}, SETTINGS)
    assert "3 jobs in a row" in problem and jobs(slurm_says) == 3


def test_jobs_that_save_something_go_on_until_the_run_is_finished(run, slurm_says, monkeypatch):
    slurm_says("TIMEOUT")
    say = launcher._say

    def watch(told: Run, message: str) -> None:
        say(told, message)
        if "processes" in message:  # a job was submitted: it saves its state, and the fifth one finishes
            (run.folder / "checkpoint.pt").write_bytes(b"")
            if jobs(slurm_says) == 5:
                plant_record(run, {"top1": 50.0})
                plant_outcome(run)

    monkeypatch.setattr(launcher, "_say", watch)
    assert train_on_cluster(run, {}, SETTINGS) is None
    assert jobs(slurm_says) == 5


def test_an_attached_job_is_not_submitted_again(run, slurm_says, monkeypatch):
    slurm_says("RUNNING", jobs="7")
    say = launcher._say
    monkeypatch.setattr(launcher, "_say", lambda told, message: (say(told, message), slurm_says("")))
    problem = train_on_cluster(run, {}, SETTINGS)
    assert "job 7 vanished" in problem and jobs(slurm_says) == 0
    assert read(run.folder, "job.json")["id"] == "7"


def test_a_refused_job_is_the_runs_failure(run, slurm_says, answer, tmp_path):
    slurm_says("")
    answer("sbatch", error="sbatch: error: invalid partition specified: gpus", status=1)
    (tmp_path / "cluster.yaml").write_text("partition: gpus\n")
    outcome = launch(run, "data", cluster=tmp_path / "cluster.yaml")
    assert outcome.failed and "invalid partition specified: gpus" in outcome.error
    assert outcome.error in run.file("log.txt").read_text()


def test_an_unknown_scheduler_is_answered_with_the_nearest(run, tmp_path):
    (tmp_path / "cluster.yaml").write_text("scheduler: slrum\n")
    with pytest.raises(TadaError, match=r"unknown scheduler 'slrum'; did you mean 'slurm'"):
        launch(run, "data", cluster=tmp_path / "cluster.yaml")


@pytest.mark.parametrize("missing", ["sbatch", "srun"])
def test_a_machine_with_half_of_slurm_is_one_line(missing, run, slurm_says, tmp_path, monkeypatch):
    slurm_says("")
    (tmp_path / "bin" / missing).unlink()
    (tmp_path / "cluster.yaml").write_text("poll_seconds: 1\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    outcome = launch(run, "data", cluster=tmp_path / "cluster.yaml")
    assert outcome.failed and f"{missing}: no such command; runs are submitted where SLURM's" in outcome.error
    assert len(outcome.error.splitlines()) == 1


@pytest.mark.parametrize("processes", [3, 256])
def test_processes_that_cannot_share_the_work_are_refused_before_any_starts(run, processes):
    with pytest.raises(TadaError, match=rf"--processes {processes}: the \d+ micro-batches .* is the next number that"):
        launch(run, "data", processes=processes)
    assert not run.folder.exists()


def test_a_finished_run_is_left_alone(run, capsys):
    """As in a folder that can only be read, or of results whose dates count."""
    plant_record(run, {"top1": 50.0})
    plant_outcome(run)
    before = {path: path.stat().st_mtime_ns for path in [run.folder, *run.folder.iterdir()]}
    assert not launch(run, "nowhere").failed
    assert not launch(run, "nowhere", attempt=1).failed  # that of the outcome
    assert {path: path.stat().st_mtime_ns for path in [run.folder, *run.folder.iterdir()]} == before
    assert capsys.readouterr().err.count("finished before") == 2


@pytest.mark.parametrize(("error", "attempt"), [("killed", 1), (None, 2)])
def test_the_outcome_of_a_finished_run_is_mended(error, attempt, run):
    plant_record(run, {"top1": 50.0})
    plant_outcome(run, error)
    outcome = launch(run, "nowhere", attempt=attempt)
    assert outcome == read_outcome(run) and not outcome.failed and outcome.attempt == attempt
