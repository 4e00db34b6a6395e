"""`tada status`, `cancel` and `logs` on planted results."""

from pathlib import Path

import pytest
from filelock import FileLock
from planting import plant_outcome, plant_record
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.files import DiskError, write_json
from tada.cli import app
from tada.cluster.jobs import JobRecord, write_job
from tada.cluster.status import ORDER, find_runs, run_states, summary
from tada.runs.recipes import load_recipe
from tada.runs.run import Run

MODELS = ("tsn", "tada2d", "tsn+avg", "tsn+tada")


@pytest.fixture
def plant(tmp_path):
    """Plants the files of a run that is in some state."""

    def files(run: Run, outcome: str = "", job: str = "", progress: dict | None = None, signature: str = "") -> Run:
        run.folder.mkdir(parents=True)
        if outcome:
            plant_outcome(run, "ValueError: no" if outcome == "failed" else None)
        if outcome == "done":
            plant_record(run, {"top1": 45.67, "top5": 90.0}, signature=signature or run.signature)
        if job:
            write_job(run, JobRecord(job, "name", run.signature, 1))
        if progress:
            write_json(run.file("progress.json"), progress)
        return run

    return files


@pytest.fixture
def results(plant, tmp_path, answer) -> Path:
    """Runs in every state; jobs 7 and 8 are running and queued, as SLURM said a moment ago."""
    root = tmp_path / "results"
    told = {"phase": "training", "done": 30, "total": 60, "seconds_left": 3725, "epoch": 12.5, "loss": 1.25}
    told |= {"val_top1": 31.25, "val_top5": 80.0, "data_wait": 0.43}
    plant(Run("mini", "ssv2", "tsn", 0, root), outcome="done", job="5")
    plant(Run("mini", "ssv2", "tsn", 1, root), job="7", progress=told)
    plant(Run("mini", "ssv2", "tada2d", 0, root), job="8")
    plant(Run("mini", "ssv2", "tsn+avg", 0, root), outcome="failed", job="6")
    plant(Run("paper", "ssv2", "tsn", 0, root), progress=told)
    plant(Run("mini", "ssv2", "tsn+tada", 0, root), outcome="done", signature="another")
    answer("squeue", "7|RUNNING|x|node3|None\\n8|PENDING|y||Resources\\n6|FAILED|z|node3|None\\n")
    return root


def test_every_state_is_told(results):
    found = {f"{s.run.scale}/{s.run.model}/{s.run.seed}": s for s in run_states(find_runs(results), results)}
    assert {name: status.state for name, status in found.items()} == {
        "mini/tsn/0": "done",
        "mini/tsn/1": "running",
        "mini/tada2d/0": "queued",
        "mini/tsn+avg/0": "failed",
        "paper/tsn/0": "stopped",
        "mini/tsn+tada/0": "outdated",
    }
    assert found["mini/tsn/1"].remark == "job 7 on node3"
    assert found["mini/tada2d/0"].remark == "job 8 (Resources)"
    assert found["mini/tsn+avg/0"].remark == "ValueError: no"
    order = [status.state for status in run_states(find_runs(results), results)]
    assert order == sorted(order, key=ORDER.index)
    assert summary(list(found.values())).startswith("6 runs: 1 running, 1 queued, 1 failed")


def test_a_run_of_this_machine_holds_its_folder(results):
    run = Run("paper", "ssv2", "tsn", 0, results)
    with FileLock(run.file(".lock")):
        (status,) = run_states([run], results)
    assert status.state == "running" and status.remark == "on this machine"
    assert run_states([run], results)[0].state == "stopped"


def test_the_table_shows_how_far_a_run_is(results):
    shown = CliRunner().invoke(app, ["status", "--results", str(results)], env={"COLUMNS": "150"})
    assert shown.exit_code == 0
    (running,) = [line for line in shown.output.splitlines() if "tsn/seed1" in line]
    epochs = load_recipe("mini", "ssv2", "tsn").train.epochs
    for figure in ("running", f"12.5/{epochs}", "1.250", "31.2", "43%", "1 h 02 min", "job 7 on node3"):
        assert figure in running
    assert "45.7" in shown.output


def test_reasons_stand_under_the_table_over_its_whole_width_each_once(tmp_path):
    reason = "TadaError: /videos: no such folder; name the folder of Something-Something V2 as data.ssv2 [config.yaml]"
    for model in ("tada2d", "tsn", "tsn+avg", "tsn+tada"):
        run = Run("mini", "ssv2", model, 0, tmp_path)
        run.folder.mkdir(parents=True)
        plant_outcome(run, reason)
    shown = CliRunner().invoke(app, ["status", "--results", str(tmp_path)], env={"COLUMNS": "80"}).output
    *table, first, second = shown.splitlines()
    assert [line.split() for line in table if "ssv2/" in line] == [
        [f"ssv2/{model}", "failed"] for model in ("tada2d", "tsn", "tsn+avg", "tsn+tada")
    ]
    assert f"{first.rstrip()} {second}" == f"ssv2/tada2d, ssv2/tsn, ssv2/tsn+avg and 1 more: {reason}"


@pytest.mark.parametrize("there", [True, False])
def test_without_runs_it_says_so_and_what_to_do(there, tmp_path):
    results = tmp_path / "results"
    if there:
        (results / "mini").mkdir(parents=True)
    why = f"{results}: {'no run in it' if there else 'no such folder'}; results lie where snakemake ran"

    def tada(*words: str):
        return CliRunner().invoke(app, [*words, "--results", str(results)], env={"COLUMNS": "1000"})

    shown = tada("status")
    assert (shown.exit_code, shown.output.count("\n")) == (0, 1) and shown.output.startswith(why)
    for words in (["status", "ssv2/tsn"], ["logs", "ssv2/tsn"], ["export", "ssv2/tsn", "a.pt", "--to", "torch"]):
        done = tada(*words)
        assert done.exit_code == 1 and done.stderr.startswith(f"Error: unknown run 'ssv2/tsn'; {why}"), done.output
    assert tada("publish").stderr.startswith(f"Error: {why}")
    assert tada("cancel", "--all").stdout.startswith(why)


def test_runs_are_named_by_any_part_of_their_place(results, monkeypatch):
    def named(*names: str) -> list[str]:
        return [f"{run.scale} {run.model} {run.seed}" for run in find_runs(results, names)]

    assert named("ssv2/tsn") == ["mini tsn 0", "mini tsn 1", "paper tsn 0"]
    assert named("mini/ssv2/tsn") == ["mini tsn 0", "mini tsn 1"]
    assert named("tsn/seed1") == ["mini tsn 1"]
    assert named(f"{results}/paper/ssv2/tsn/seed0/") == ["paper tsn 0"]
    monkeypatch.chdir(results.parent)
    here = Path(results.name)
    assert [run.model for run in find_runs(here, [f"./{here}/paper/ssv2/tsn/seed0"])] == ["tsn"]
    with pytest.raises(TadaError, match=r"unknown run 'ssv2/tada2c'; did you mean 'ssv2/tada2d'"):
        named("ssv2/tada2c")


def test_a_folder_that_nobody_may_look_into_is_not_taken_for_an_empty_one(results, monkeypatch):
    there = Path.iterdir

    def denied(folder):
        if folder == results / "mini/ssv2":
            raise PermissionError(13, "Permission denied", str(folder))
        return there(folder)

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(DiskError, match=r"mini/ssv2: cannot be read \(Permission denied\)"):
        find_runs(results)


def test_many_runs_are_told(plant, tmp_path):
    root = tmp_path / "results"
    for seed in range(20):
        for model in MODELS:
            plant(Run("mini", "ssv2", model, seed, root), outcome="done" if seed % 2 else "", progress={"epoch": 1.0})
    assert summary(run_states(find_runs(root), root)) == "80 runs: 40 stopped, 40 done"


def test_logs_show_the_end_and_where_the_rest_is(results):
    run = Run("mini", "ssv2", "tsn+avg", 0, results)
    run.file("log.txt").write_text("".join(f"line {number}\n" for number in range(100)))
    (run.folder / "jobs").mkdir()
    (run.folder / "jobs/6_0_log.out").write_text("all\n")
    shown = CliRunner().invoke(app, ["logs", "ssv2/tsn+avg", "-n", "3", "--results", str(results)])
    assert shown.exit_code == 0
    assert "line 97\nline 98\nline 99\n" in shown.output and "line 96" not in shown.output
    assert "6_0_log.out" in shown.output and str(run.file("log.txt")) in shown.output


def test_cancel_wants_to_know_what(results):
    for arguments in ([], ["--all", "ssv2/tsn"]):
        shown = CliRunner().invoke(app, ["cancel", *arguments, "--results", str(results)])
        assert shown.exit_code == 1 and "or --all" in shown.output


def test_only_a_folder_named_as_a_runs_is_a_run(tmp_path):
    models = tmp_path / "mini/ssv2/tsn"
    for name in ("seed3", "seed03", "seed\N{ARABIC-INDIC DIGIT THREE}", "seed-1", "seed1e3", "seeds"):
        (models / name).mkdir(parents=True)
    (models / "seed4").write_text("a file")
    assert [str(run) for run in find_runs(tmp_path)] == ["ssv2/tsn seed 3"]
