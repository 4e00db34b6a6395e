"""What is made of SLURM's answers, with commands that answer as SLURM was seen to, or not at all."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from tada.base import TadaError
from tada.cluster import scheduler, slurm
from tada.cluster.jobs import ClusterSettings
from tada.cluster.scheduler import Busy, JobQueue

SLURM = slurm.SlurmScheduler(ClusterSettings(), Path())
BUSY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


def test_all_who_wait_share_an_answer(answer, tmp_path):
    count = answer("squeue", "7|RUNNING|tada-x|node1|None\\n8|PENDING|tada-y||Resources\\n")
    view = JobQueue(tmp_path, "slurm").snapshot()
    assert view.jobs["7"].word == "RUNNING" and view.jobs["7"].nodes == "node1"
    assert view.jobs["8"].reason == "Resources"
    assert JobQueue(tmp_path, "slurm").snapshot() == view and JobQueue(tmp_path, "slurm").snapshot() == view
    assert len(count.read_text().splitlines()) == 1
    JobQueue(tmp_path, "slurm").current()
    assert len(count.read_text().splitlines()) == 2


def test_a_scheduler_without_an_answer_is_asked_less_and_less_often(answer, tmp_path, monkeypatch):
    answer("squeue", "7|RUNNING|tada-x|node1|None\\n")
    known = JobQueue(tmp_path, "slurm").snapshot()
    count = answer("squeue", error=BUSY, status=1)
    count.write_text("")
    asked, now = [], time.time()
    monkeypatch.setattr(scheduler.time, "time", lambda: now)
    for _ in range(1200):
        now += 1.0
        before = count.read_text()
        view = JobQueue(tmp_path, "slurm").snapshot()
        if count.read_text() > before:
            asked.append(now)
    gaps = [round(later - earlier) for earlier, later in pairwise(asked)]
    assert gaps == [20, 40, 80, 160, 300, 300]
    assert view.jobs == known.jobs and view.answered == known.answered and "Unable to contact" in view.error
    answer("squeue", "")
    now += 400
    assert JobQueue(tmp_path, "slurm").snapshot().jobs == {}


def test_busy_is_repeated_and_a_refusal_is_not(monkeypatch):
    replies, pauses, told = iter([Busy("not now")] * 6 + ["job 12"]), [], []
    monkeypatch.setattr(scheduler.time, "sleep", pauses.append)

    def ask() -> str:
        reply = next(replies)
        if isinstance(reply, Busy):
            raise reply
        return reply

    assert scheduler.repeat_while_busy(ask, told.append) == "job 12"
    assert pauses == [10, 20, 40, 80, 160, 300] and "asking again in 40 s" in told[2]

    def refuse() -> None:
        raise TadaError("invalid account")

    with pytest.raises(TadaError, match="invalid account"):
        scheduler.repeat_while_busy(refuse)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Busy),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", Busy),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Job violates accounting/QOS policy", Busy),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", Busy),
        ("sbatch: error: invalid partition specified: gpus", TadaError),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", TadaError),
    ],
)
def test_messages_that_ask_for_patience(message, kind):
    assert type(slurm.refusal(message)) is kind


def test_how_a_job_ended_that_squeue_has_forgotten(answer):
    answer("sacct", "CANCELLED by 1000\\n")
    state = SLURM.final_state("7")
    assert state.word == "CANCELLED" and not state.active
    answer("sacct", error="Slurm accounting storage is disabled", status=1)
    assert SLURM.final_state("7") is None


def test_a_machine_without_slurm_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TadaError, match=r"squeue: no such command; .* login node"):
        JobQueue(tmp_path, "slurm").snapshot()


def test_cancelling_what_is_gone_is_no_fault(answer):
    answer("scancel", error="scancel: error: Kill job error on job id 7: Invalid job id specified", status=1)
    SLURM.cancel("7")
    answer("scancel", error="scancel: error: Kill job error on job id 7: Access/permission denied", status=1)
    with pytest.raises(TadaError, match="permission denied"):
        SLURM.cancel("7")
