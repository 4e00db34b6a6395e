"""Runs as jobs of a real SLURM, disturbed in the ways of clusters."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from background import assert_same_numbers, curves, read, training_process

RUN = Path("results/mini/ssv2/tsn/seed0")


@pytest.fixture
def run(tmp_path) -> Path:
    """The run's folder."""
    return tmp_path / RUN


def test_two_processes_train_on_the_same_batches_as_one(train, settings, undisturbed, run, tmp_path):
    one, here = undisturbed(), tmp_path / "here"
    here.mkdir()
    commands = [train(cluster=settings(processes=2)), train(processes=2, folder=here)]
    for command in commands:
        assert command.wait(120) == 0, command.output
    assert read(run, "metrics.json")["cost"]["devices"] == 2
    columns = ["epoch", "lr", "train_loss", "train_top1"]
    # Each process keeps batch-norm statistics of its own groups for testing, so only training itself is the same.
    pd.testing.assert_frame_equal(curves(run)[columns], curves(one)[columns], rtol=1e-4)
    assert_same_numbers(run, here / RUN)
    with np.load(run / "scores.npz") as scores, np.load(one / "scores.npz") as expected:
        np.testing.assert_array_equal(scores["videos"], expected["videos"])
        np.testing.assert_array_equal(scores["labels"], expected["labels"])


@pytest.mark.parametrize("how", ["USR2", "TERM"])  # the two ways in which SLURM announces a preemption
def test_a_preempted_job_is_queued_again_and_ends_with_the_same_numbers(
    how, train, settings, undisturbed, long_config, run, slurm
):
    command = train(cluster=settings(), config=long_config)
    command.until((run / "checkpoint.pt").exists)
    job = read(run, "job.json")["id"]
    slurm.command("scancel", f"--signal={how}", job)
    command.until(lambda: slurm.jobs()[job] == "PENDING", 30)
    assert not (run / "metrics.json").exists(), "disturbed too late"
    slurm.start_now(job)
    assert command.wait(120) == 0, command.output
    assert list(slurm.jobs()) == [job]
    cost = read(run, "metrics.json")["cost"]
    assert cost["requeues"] == 1 and cost["resumes"] == 1
    assert_same_numbers(run, undisturbed(long_config))


def test_two_processes_stop_at_the_same_step_and_go_on_together(train, settings, long_config, run, tmp_path, slurm):
    (tmp_path / "here").mkdir()
    here = train(processes=2, config=long_config, folder=tmp_path / "here")
    assert here.wait(180) == 0, here.output
    command = train(cluster=settings(processes=2), config=long_config)
    command.until((run / "checkpoint.pt").exists)
    job = read(run, "job.json")["id"]
    slurm.command("scancel", "--signal=USR2", job)
    command.until(lambda: slurm.jobs()[job] == "PENDING", 60)
    assert not (run / "metrics.json").exists(), "disturbed too late"
    slurm.start_now(job)
    assert command.wait(180) == 0, command.output
    assert list(slurm.jobs()) == [job] and read(run, "metrics.json")["cost"]["requeues"] == 1
    assert_same_numbers(run, tmp_path / "here" / RUN)


def test_a_run_that_comes_to_its_time_limit_goes_on_in_the_next_job(
    train, settings, undisturbed, long_config, run, slurm
):
    """SLURM looks at time limits every 30 s: with a minute's limit and 29 s of warning a job trains for 30 s at most.

    Its process sleeps until SLURM wakes it, which it does before it warns: the limit comes too early for any machine.
    """
    command = train(cluster=settings(hours=1 / 60, signal_seconds=29), config=long_config)

    def queued_again_until(condition: Callable[[], object]) -> None:
        def holds() -> object:
            for job in (job for job, state in slurm.jobs().items() if state == "PENDING"):
                slurm.start_now(job)
            return condition()

        command.until(holds, 300)

    queued_again_until((run / "checkpoint.pt").exists)
    with suppress(AssertionError, ProcessLookupError):  # it may have been warned already
        os.kill(training_process(run), signal.SIGSTOP)
    queued_again_until(lambda: command.process.poll() is not None)
    assert command.wait(0) == 0, command.output
    cost = read(run, "metrics.json")["cost"]
    assert cost["requeues"] + len(slurm.jobs()) >= 2 and cost["resumes"] >= 1
    assert_same_numbers(run, undisturbed(long_config))


def test_a_job_that_a_warning_ends_while_it_starts_is_followed_by_another(train, settings, undisturbed, run, slurm):
    """Python dies of a signal until it has come to hold it back; here a shell does, since that moment is short."""
    dies = 'until [ -e warned ]; do touch warned; sh -c "kill -USR2 \\$\\$"; exit $?; done'
    command = train(cluster=settings(setup=[dies]))
    assert command.wait(120) == 0, command.output
    first, _second = slurm.jobs().values()
    assert first == "FAILED"
    assert "has ended (warned); another one goes on" in command.output
    assert_same_numbers(run, undisturbed())


def test_a_job_whose_script_is_ended_is_followed_by_another(train, settings, undisturbed, long_config, run, slurm):
    """As where a grace time reaches the script itself: its processes save their state, and SLURM says FAILED."""
    command = train(cluster=settings(), config=long_config)
    command.until((run / "checkpoint.pt").exists)
    slurm.command("scancel", "--signal=TERM", "--batch", read(run, "job.json")["id"])
    assert command.wait(120) == 0, command.output
    first, _second = slurm.jobs().values()
    assert first == "FAILED"
    assert "has ended (warned); another one goes on" in command.output
    assert_same_numbers(run, undisturbed(long_config))


def test_whoever_asks_again_attaches_to_the_job(train, settings, run, slurm):
    command = train(cluster=settings())
    command.until((run / "job.json").exists)
    job = read(run, "job.json")["id"]
    command.kill()
    (run / "job.json").unlink()  # as if it had been killed before it could note the job
    (run / "jobs" / f"{job}_submitted.pkl").unlink()  # or submitit put the job's content in place
    others = [train(cluster=settings()), train(cluster=settings())]
    for other in others:
        assert other.wait(120) == 0, other.output
    assert list(slurm.jobs()) == [job]


def test_a_job_of_a_former_configuration_gives_way(train, settings, tiny_config, long_config, run, slurm):
    command = train(cluster=settings(), config=long_config)
    command.until((run / "checkpoint.pt").exists)
    command.process.terminate()
    assert command.wait(20) == 143 and "goes on" in command.output
    other = train(cluster=settings(), config=tiny_config)
    assert other.wait(120) == 0, other.output
    assert "is cancelled" in other.output and len(slurm.jobs()) == 2
    assert read(run, "metrics.json")["config"]["recipe"]["train"]["epochs"] == 4


def test_what_slurm_refuses_is_said_in_its_words(train, settings, run):
    command = train(cluster=settings(partition="gpus"))
    assert command.wait(30) == 1
    assert "invalid partition specified: gpus" in read(run, "outcome.json")["error"]
    assert "Traceback" not in command.output


def test_a_failing_run_says_why_also_in_a_folder_with_percent_signs(train, settings, tmp_path, tiny_ssv2):
    """SLURM takes %x for the job's name, among others, in the names of the files that a job prints to."""
    folder = tmp_path / "100%x 50%"
    folder.mkdir()
    run = folder / RUN
    (tiny_ssv2 / "something-something-v2-labels.json").rename(tiny_ssv2 / "hidden")
    try:
        command = train(cluster=settings(), folder=folder)
        assert command.wait(60) == 1
    finally:
        (tiny_ssv2 / "hidden").rename(tiny_ssv2 / "something-something-v2-labels.json")
    assert "labels.json" in read(run, "outcome.json")["error"]
    assert "labels.json" in command.output
    assert list((run / "jobs").glob("*_0_log.out"))


def test_a_warning_that_comes_while_a_job_starts_is_heeded(train, settings, undisturbed, run, slurm):
    command = train(cluster=settings())
    command.until((run / "job.json").exists)
    job = read(run, "job.json")["id"]
    output = run / f"jobs/{job}_0_log.out"
    command.until(lambda: output.exists() and "Starting with" in output.read_text(), 30)
    slurm.command("scancel", "--signal=USR2", job)
    command.until(lambda: slurm.jobs()[job] == "PENDING", 60)
    slurm.start_now(job)
    assert command.wait(120) == 0, command.output
    assert read(run, "metrics.json")["cost"]["requeues"] == 1
    assert_same_numbers(run, undisturbed())
