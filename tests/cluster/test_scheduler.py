"""What is made of SLURM's answers, with commands that answer as SLURM was seen to, or not at all."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from tada.base import TadaError
from tada.cluster import scheduler, slurm
from tada.cluster.jobs import ClusterSettings
from tada.cluster.scheduler import Busy, JobQueue, JobState, Phase

SLURM = slurm.SlurmScheduler(ClusterSettings(), Path())
BUSY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


@pytest.fixture
def clock(monkeypatch):
    """Seconds that have passed. A time of day, which differs from node to node, is not there to be asked for."""
    passed = SimpleNamespace(seconds=1000.0)

    def sleep(pause: float) -> None:
        passed.seconds += pause

    monkeypatch.setattr(scheduler, "time", SimpleNamespace(monotonic=lambda: passed.seconds, sleep=sleep))
    return passed


def asked(count: Path) -> int:
    return len(count.read_text().splitlines()) if count.exists() else 0


def test_all_who_wait_share_an_answer(answer, tmp_path, clock):
    count = answer("squeue", "7|RUNNING|tada-x|node1|None\\n8|PENDING|tada-y||Resources\\n")
    waiting = [JobQueue(tmp_path, "slurm") for _ in range(5)]
    view = waiting[0].snapshot()
    assert view.jobs["7"].word == "RUNNING" and view.jobs["7"].nodes == "node1"
    assert view.jobs["8"].reason == "Resources"
    for queue in waiting:
        queue.snapshot()
    before = asked(count)
    for _ in range(60):  # a minute in which each looks every second
        clock.seconds += 1
        assert all(queue.snapshot().jobs == view.jobs for queue in waiting)
    assert asked(count) - before <= 6
    waiting[3].current()
    assert asked(count) - before <= 7


def test_an_answer_of_another_node_is_of_unknown_age(answer, tmp_path, clock):
    """By its clock it may be of tomorrow; a job that was submitted since is not in it."""
    answer("squeue", "")
    elsewhere = JobQueue(tmp_path, "slurm")
    assert elsewhere.snapshot().jobs == {}
    answer("squeue", "7|RUNNING|tada-x|node1|None\\n")
    here = JobQueue(tmp_path, "slurm")
    began = here.number()
    assert not here.snapshot(max_age=3600).is_after(began)  # of unknown age: it is asked, maybe for before the job
    clock.seconds += 11
    view = here.snapshot()
    assert view.is_after(began) and view.is_active("7")
    assert JobQueue(tmp_path, "slurm").current().is_active("7")


def test_a_damaged_answer_is_asked_for_again_and_numbers_go_on(answer, tmp_path, clock):
    answer("squeue", "7|RUNNING|tada-x|node1|None\\n")
    queue = JobQueue(tmp_path, "slurm")
    queue.snapshot()
    clock.seconds += 11
    number = queue.snapshot().number
    for content in ("", "[]", "{", '{"number": "1", "jobs": {}}', '{"number": 1, "jobs": [1]}'):
        queue.file.write_text(content)
        clock.seconds += 11
        view = queue.snapshot()
        assert view.number > number and view.is_active("7")
        number = view.number


def test_a_scheduler_without_an_answer_is_asked_less_and_less_often(answer, tmp_path, clock):
    answer("squeue", "7|RUNNING|tada-x|node1|None\\n")
    queue = JobQueue(tmp_path, "slurm")
    known = queue.snapshot()
    count = answer("squeue", error=BUSY, status=1)
    count.write_text("")
    times = []
    for _ in range(1200):
        clock.seconds += 1.0
        before = asked(count)
        view = queue.snapshot()
        if asked(count) > before:
            times.append(clock.seconds)
        if times:
            assert JobQueue(tmp_path, "slurm").snapshot() == view  # a new one leaves it in peace, too
    assert [round(later - earlier) for earlier, later in pairwise(times)] == [20, 40, 80, 160, 300, 300]
    assert view.jobs == known.jobs and view.number == known.number and "Unable to contact" in view.error
    answer("squeue", "")
    clock.seconds += 400
    assert queue.snapshot().jobs == {}


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
    answer("sacct", "CANCELLED by 1000|0:15\\n")
    state = SLURM.final_state("7", None)
    assert state.word == "CANCELLED" and not state.active
    answer("sacct", "")
    assert SLURM.final_state("7", None) is None
    answer("sacct", error="Slurm accounting storage is disabled", status=1)
    assert SLURM.final_state("7", None) is None


@pytest.mark.parametrize(
    ("code", "phase"),
    [
        *(("140:0", "interrupted"), ("143:0", "interrupted"), ("0:12", "interrupted"), ("0:15", "interrupted")),
        *(("1:0", "ended"), ("137:0", "ended"), ("0:9", "ended")),
    ],
)
def test_a_job_that_a_warning_has_ended_did_not_fail(code, phase, answer):
    """128 and the number of the signal, USR2 or TERM, is what srun ends with when a process dies of it; where it is
    the job's script, SLURM notes the signal itself."""
    failed = JobState("7", "tada-x", Phase.ENDED, "FAILED")
    answer(
        "scontrol", f"JobId=7 JobName=tada-x\\n   JobState=FAILED Reason=NonZeroExitCode\\n   ExitCode={code} X=1:0\\n"
    )
    assert SLURM.final_state("7", failed).phase == phase
    answer("sacct", f"FAILED|{code}\\n")
    assert SLURM.final_state("7", None).phase == phase
    answer("scontrol", error="slurm_load_jobs error: Invalid job id specified", status=1)
    assert SLURM.final_state("7", failed) == failed


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
