"""What is made of SLURM's answers, with commands that answer as SLURM was seen to, or not at all."""

import time
from itertools import pairwise

import pytest

from tada.base.errors import TadaError
from tada.cluster import scheduler
from tada.cluster.scheduler import Busy, Queue

BUSY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


def test_all_who_wait_share_an_answer(answer, tmp_path):
    count = answer("squeue", "7|RUNNING|tada-x|node1|None\\n8|PENDING|tada-y||Resources\\n")
    view = Queue(tmp_path).look()
    assert view.jobs["7"].state == "RUNNING" and view.jobs["7"].nodes == "node1"
    assert view.jobs["8"].reason == "Resources"
    assert Queue(tmp_path).look() == view and Queue(tmp_path).look() == view
    assert len(count.read_text().splitlines()) == 1
    Queue(tmp_path).look_now()
    assert len(count.read_text().splitlines()) == 2


def test_a_scheduler_without_an_answer_is_asked_less_and_less_often(answer, tmp_path, monkeypatch):
    answer("squeue", "7|RUNNING|tada-x|node1|None\\n")
    known = Queue(tmp_path).look()
    count = answer("squeue", error=BUSY, status=1)
    count.write_text("")
    asked, now = [], time.time()
    monkeypatch.setattr(scheduler.time, "time", lambda: now)
    for _ in range(1200):
        now += 1.0
        before = count.read_text()
        view = Queue(tmp_path).look()
        if count.read_text() > before:
            asked.append(now)
    gaps = [round(later - earlier) for earlier, later in pairwise(asked)]
    assert gaps == [20, 40, 80, 160, 300, 300]
    assert view.jobs == known.jobs and view.answered == known.answered and "Unable to contact" in view.error
    answer("squeue", "")
    now += 400
    assert Queue(tmp_path).look().jobs == {}


def test_busy_is_repeated_and_a_refusal_is_not(monkeypatch):
    replies, pauses, told = iter([Busy("not now")] * 6 + ["job 12"]), [], []
    monkeypatch.setattr(scheduler.time, "sleep", pauses.append)

    def ask() -> str:
        reply = next(replies)
        if isinstance(reply, Busy):
            raise reply
        return reply

    assert scheduler.patiently(ask, told.append) == "job 12"
    assert pauses == [10, 20, 40, 80, 160, 300] and "asking again in 40 s" in told[2]

    def refuse() -> None:
        raise TadaError("invalid account")

    with pytest.raises(TadaError, match="invalid account"):
        scheduler.patiently(refuse)


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
    assert type(scheduler.refusal(message)) is kind


def test_how_a_job_ended_that_squeue_has_forgotten(answer):
    answer("sacct", "CANCELLED by 1000\\n")
    assert scheduler.final_state("7") == "CANCELLED"
    answer("sacct", error="Slurm accounting storage is disabled", status=1)
    assert scheduler.final_state("7") == ""


def test_a_machine_without_slurm_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TadaError, match=r"squeue: no such command; .* login node"):
        Queue(tmp_path).look()


def test_cancelling_what_is_gone_is_no_fault(answer):
    answer("scancel", error="scancel: error: Kill job error on job id 7: Invalid job id specified", status=1)
    scheduler.cancel("7")
    answer("scancel", error="scancel: error: Kill job error on job id 7: Access/permission denied", status=1)
    with pytest.raises(TadaError, match="permission denied"):
        scheduler.cancel("7")
