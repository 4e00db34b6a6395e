"""`tada verify`: a good folder has no fault, and each planted damage is named once."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from planting import ENVIRONMENT, plant_outcome, plant_record
from torch import nn
from typer.testing import CliRunner

from tada.base.files import DiskError, write_arrays
from tada.base.typed_json import save_sealed, to_json
from tada.cli import app
from tada.cluster.status import find_runs, run_states
from tada.data.clips import Counts
from tada.localization.features import Features, FeatureStamp, save_features
from tada.report.measure.integrity import inspect_results
from tada.report.measure.results import read_run
from tada.runs.checkpoints import TrainingState, save_state
from tada.runs.record import RecordedFile
from tada.runs.run import Run
from tada.runs.verification import remove_damage

FILES = ("scores.npz", "curves.csv", "checkpoint.pt")
MODELS = ("tsn", "tsn+tada", "tada2d", "tada2d-max", "tada2d-mix")
SEEDS = 3


def plant(results, model, seed=0, videos=8, right=6):
    """A finished run with all of its files, whose scores get `right` of `videos` right."""
    run = Run("mini", "ssv2", model, seed, results)
    labels = np.arange(videos) % 4
    scores = np.eye(6, dtype=np.float32)[np.where(np.arange(videos) < right, labels, 5)]
    names = np.array([str(video) for video in range(videos)])
    write_arrays(run.file("scores.npz"), {"videos": names, "labels": labels, "scores": scores})
    run.file("curves.csv").write_text("epoch,train_loss\n1,0.5\n")
    network = nn.Linear(64, 64)  # so large that the middle of the file is of weights
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for step in (1, 2):
        identity = {"signature": run.signature, "seed": seed}
        save_state(run.file("checkpoint.pt"), identity, network, optimizer, TrainingState(step))
    return recorded(run, 100 * right / videos, videos)


def recorded(run, top1, videos=8):
    """The run with a record of its files as they are."""
    plant_record(
        run,
        {"top1": top1, "top5": 100.0},
        files={name: RecordedFile.of(run.file(name)) for name in FILES},
        dataset={"train": Counts(100, 99, ["7"]), "validation": Counts(videos, videos, [])},
    )
    plant_outcome(run)
    return run


@pytest.fixture
def results(tmp_path):
    """Fifteen runs and a counted network."""
    folder = tmp_path / "results"
    for model in MODELS:
        for seed in range(SEEDS):
            plant(folder, model, seed)
    environment = to_json(ENVIRONMENT)
    content = {"params": 24_000_000, "macs": 43, "uncounted": {}, "environment": environment}
    content |= {"model": "tsn", "classes": 400, "resolution": 256}
    save_sealed(folder / "complexity/tsn/400x256.json", content)
    return folder


def verify(results):
    return inspect_results(find_runs(results), results)


def test_a_good_folder_has_no_fault(results):
    found = verify(results)
    assert found.faults == []
    assert str(found) == "15 finished runs and 1 counted network: no faults"


def test_what_is_not_finished_or_of_another_recipe_is_counted_and_no_fault(results):
    unfinished = Run("mini", "ssv2", "tsn+avg", 0, results)
    shutil.copytree(results / "mini/ssv2/tsn/seed0", unfinished.folder)
    for name in ("metrics.json", "outcome.json", "scores.npz"):
        unfinished.file(name).unlink()
    plant_outcome(Run("mini", "ssv2", "r2plus1d", 0, results), "ValueError: no")
    outdated = Run("mini", "ssv2", "tsn+avg", 1, results)
    plant_record(outdated, {"top1": 1.0}, signature="another")
    Run("mini", "ssv2", "gone-model", 0, results).folder.mkdir(parents=True)
    found = verify(results)
    assert found.faults == []
    assert (found.finished, found.unfinished, found.outdated) == (15, 2, 2)


def rewritten(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def better(run):
    """A better top-1, by hand."""
    rewritten(run.file("metrics.json"), lambda content: content["metrics"].update(top1=99.0))


def flipped(file):
    """A bit in the middle is another one; the date stays, as where a disk has lost a block."""
    status, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def half_of_the_videos(run):
    """Scores of half of the videos, with a record that fits the file."""
    with np.load(run.file("scores.npz")) as scores:
        write_arrays(run.file("scores.npz"), {name: scores[name][:4] for name in scores.files})
    recorded(run, 100.0)


def linked_to_nothing(file):
    file.unlink()
    file.symlink_to("/nowhere/at/all")


def on_a_broken_disk(file):
    """A file of the system whose first byte nobody can read, not even root."""
    file.unlink()
    file.symlink_to("/proc/self/mem")


def of_no_split(run):
    """A record that does not say how many videos it is of."""
    recorded(run, 75.0)
    plant_record(run, {"top1": 75.0}, files={"scores.npz": RecordedFile.of(run.file("scores.npz"))}, dataset={})


def a_bit_of_features(run):
    features = Features(np.ones((3, 2), np.float32), np.array([0.1, 0.2, 0.3]))
    for video in ("1", "2"):
        save_features(run.file("features"), video, features, FeatureStamp("identity", None))
    content = bytearray(run.file("features/1.npy").read_bytes())
    content[130] ^= 1  # behind the header of 128 bytes
    run.file("features/1.npy").write_bytes(content)


DAMAGE = {
    "top-1 by hand": ("metrics.json", better),
    "another seed's record": (
        "metrics.json", lambda run: shutil.copy(run.folder.parent / "seed2/metrics.json", run.file("metrics.json"))
    ),
    "no record": ("metrics.json", lambda run: run.file("metrics.json").unlink()),
    "scores that do not give the metrics": ("scores.npz", lambda run: recorded(run, 95.0)),
    "half of the videos": ("scores.npz", half_of_the_videos),
    "truncated scores": ("scores.npz", lambda run: os.truncate(run.file("scores.npz"), 99)),
    "a bit of the scores": ("scores.npz", lambda run: flipped(run.file("scores.npz"))),
    "a bit of the weights": ("checkpoint.pt", lambda run: flipped(run.file("checkpoint.pt"))),
    "a bit of the state before": ("checkpoint.previous.pt", lambda run: flipped(run.file("checkpoint.previous.pt"))),
    "a state before that is a link to nothing": (
        "checkpoint.previous.pt", lambda run: linked_to_nothing(run.file("checkpoint.previous.pt"))
    ),
    "a record that no disk gives": ("metrics.json", lambda run: on_a_broken_disk(run.file("metrics.json"))),
    "a key twice in the record": (
        "metrics.json",
        lambda run: run.file("metrics.json").write_text(
            run.file("metrics.json").read_text().replace("{", '{"metrics": {"top1": 99.0},', 1)
        ),
    ),
    "a record without its videos": ("scores.npz", of_no_split),
    "curves by hand": ("curves.csv", lambda run: run.file("curves.csv").write_text("epoch,train_loss\n1,0.1\n")),
    "an outcome of another kind": ("outcome.json", lambda run: run.file("outcome.json").write_text("[1]")),
    "a bit of the features": ("features/1.npy", a_bit_of_features),
    "progress cut short": ("progress.json", lambda run: run.file("progress.json").write_text('{"phase": ')),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_named_once(results, kind):
    name, damage = DAMAGE[kind]
    run = Run("mini", "ssv2", "tada2d", 1, results)
    damage(run)
    (fault,) = verify(results).faults
    assert fault.startswith(f"{run.file(name)}: ")


def test_weights_scores_and_features_are_looked_at_without_torch(results):
    """Which takes longer to import than all else that the command does."""
    run = Run("mini", "ssv2", "tada2d", 1, results)
    for damage in (a_bit_of_features, lambda run: flipped(run.file("checkpoint.pt"))):
        damage(run)
    code = (
        "import sys; from typer.testing import CliRunner; from tada.cli import app\n"
        "print(CliRunner().invoke(app, sys.argv[1:]).output, {'torch', 'av', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "verify", "--results", str(results)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "features/1.npy: damaged" in shown and "checkpoint.pt: has changed" in shown and "2 faults" in shown
    assert shown.splitlines()[-1].endswith("set()")


def test_exchanged_folders_are_named_both(results):
    one, other = (Run("mini", "ssv2", model, 1, results) for model in ("tsn", "tada2d"))
    one.folder.rename(results / "aside")
    other.folder.rename(one.folder)
    (results / "aside").rename(other.folder)
    assert set(verify(results).faults) == {
        f"{there.file('metrics.json')}: is the record of mini/ssv2/{model}/seed1; was its folder moved or renamed?"
        for there, model in ((one, "tada2d"), (other, "tsn"))
    }


def test_a_run_that_no_disk_gives_is_told_everywhere_and_never_removed(results):
    run = Run("mini", "ssv2", "tada2d", 1, results)
    on_a_broken_disk(run.file("metrics.json"))
    (state,) = run_states([run], results)
    assert state.state == "failed" and "metrics.json: cannot be read" in state.remark
    assert "metrics.json: cannot be read" in read_run(run).reason
    with pytest.raises(DiskError, match="nothing was changed"):
        remove_damage(run)
    assert run.file("scores.npz").exists() and run.file("metrics.json").is_symlink()


@pytest.mark.parametrize("kind", ["a bit of the state before", "a bit of the features", "progress cut short"])
def test_what_a_finished_run_needs_no_more_is_removed_by_the_command(results, kind):
    name, damage = DAMAGE[kind]
    run = Run("mini", "ssv2", "tada2d", 1, results)
    damage(run)
    first = CliRunner().invoke(app, ["verify", "--results", str(results)])
    assert first.exit_code == 1 and "`tada verify --mend` removes it" in first.output and run.file(name).exists()
    CliRunner().invoke(app, ["verify", "--mend", "--results", str(results)])
    assert not run.file(name).exists() and verify(results).faults == []


def test_counts_changed_by_hand(results):
    file = results / "complexity/tsn/400x256.json"
    file.write_text(file.read_text().replace('"macs": 43', '"macs": 34'))
    (fault,) = verify(results).faults
    assert fault.startswith(f"{file}: its content does not give its checksum")


def test_counts_of_another_network(results):
    other = results / "complexity/tada2d/400x256.json"
    other.parent.mkdir()
    shutil.copy(results / "complexity/tsn/400x256.json", other)
    (fault,) = verify(results).faults
    assert fault.startswith(f"{other}: has the counts of tsn with 400 classes at 256 pixels")


def test_counts_of_an_earlier_version_are_no_fault_and_said_to_be_unsealed(results):
    file = results / "complexity/tsn/400x256.json"
    content = json.loads(file.read_text())
    del content["checksum"]
    file.write_text(json.dumps(content))
    found = verify(results)
    assert found.faults == []
    assert str(found) == (
        "15 finished runs and 1 counted network, 1 network without a checksum, not compared: no faults"
    )


def test_all_at_once_are_as_many_faults_and_status_1(results):
    for model in ("tsn+avg", "tsn+avg-sc"):
        plant(results, model)
    runs = sorted(find_runs(results), key=lambda run: run.seed)[: len(DAMAGE)]
    damaged = {run.file(name): damage(run) for run, (name, damage) in zip(runs, DAMAGE.values(), strict=True)}
    size = results / "complexity/tsn/400x256.json"
    size.write_text('{"params": null}')
    done = CliRunner().invoke(app, ["verify", "--results", str(results)])
    lines = done.output.splitlines()
    assert done.exit_code == 1 and len(lines) == len(damaged) + 2
    assert {line.split(": ")[0] for line in lines[:-1]} == {*map(str, damaged), str(size)}
    assert lines[-1].endswith("18 faults")
    nothing = CliRunner().invoke(app, ["verify", "--results", str(results / "nowhere")])
    assert nothing.exit_code == 1 and "nowhere: no such folder" in nothing.stderr
    other = CliRunner().invoke(app, ["verify", "--results", str(results.parent)])
    assert other.exit_code == 1 and "no run and no counted network in it" in other.stderr
