"""Whole runs in processes of their own, disturbed in every way that a run is disturbed."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tada.base.progress import Silent
from tada.data.catalog import Place
from tada.data.prepared import Preparation, prepare
from tada.metrics.accuracy import topk_accuracy

FOLDER = "results/mini/ssv2/tada2d/seed0"


@pytest.fixture
def run(tada_command, tiny_ssv2, tmp_path):
    def start(*options, data=tiny_ssv2, cwd=tmp_path, **more):
        return tada_command("run", "ssv2", "tada2d", "--data", str(data), *options, cwd=cwd, **more)

    return start


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder for the run that the others are compared with; the first test that needs it fills it."""
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture
def finished(undisturbed, run):
    if not (undisturbed / FOLDER / "metrics.json").exists():
        process = run(cwd=undisturbed)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    return undisturbed / FOLDER


def results(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    curves = pd.read_csv(folder / "curves.csv").drop(columns="seconds")
    return metrics, curves, np.load(folder / "scores.npz")


def assert_same_numbers(folder, expected):
    metrics, curves, scores = results(folder)
    expected_metrics, expected_curves, expected_scores = results(expected)
    assert metrics["metrics"] == expected_metrics["metrics"]
    assert metrics["signature"] == expected_metrics["signature"]
    pd.testing.assert_frame_equal(curves, expected_curves, check_exact=True)
    np.testing.assert_array_equal(scores["scores"], expected_scores["scores"])


def wait_for(condition, process, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended too early: {process.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_run_leaves_a_full_account(finished):
    metrics, curves, scores = results(finished)
    assert metrics["run"] == {"scale": "mini", "dataset": "ssv2", "model": "tada2d", "seed": 0}
    assert metrics["dataset"]["train"] == {"listed": 36, "used": 36, "skipped": []}
    assert metrics["dataset"]["validation"]["used"] == 9
    assert metrics["environment"]["packages"]["torch"].startswith("2.")
    assert metrics["config"]["recipe"]["train"]["epochs"] == 4
    assert metrics["cost"]["training_seconds"] > 0 and metrics["cost"]["peak_memory_bytes"] > 1e7
    assert list(curves["epoch"]) == [1, 2, 3, 4]
    assert scores["views"].shape == (9, 6, 3)
    assert metrics["metrics"]["top1"] == topk_accuracy(scores["scores"], scores["labels"], 1)
    outcome = json.loads((finished / "outcome.json").read_text())
    assert outcome == {"status": "done", "attempt": 0, "signature": metrics["signature"], "error": None}
    assert "epoch 4/4" in (finished / "log.txt").read_text()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_disturbed_run_ends_with_the_same_numbers(how, run, tmp_path, finished):
    process = run()
    state = tmp_path / FOLDER / "checkpoint.pt"
    wait_for(state.exists, process)
    child = int(os.popen(f"pgrep -P {process.pid}").read().split()[0])
    os.kill(child if how == signal.SIGKILL else process.pid, how)
    output, _ = process.communicate(timeout=60)
    assert not (tmp_path / FOLDER / "metrics.json").exists(), "disturbed too late"
    if how == signal.SIGKILL:
        outcome = json.loads((tmp_path / FOLDER / "outcome.json").read_text())
        assert process.returncode == 1 and outcome["status"] == "failed" and "SIGKILL" in outcome["error"]
    else:
        assert process.returncode == 130 and "the state is saved" in output
        assert not (tmp_path / FOLDER / "outcome.json").exists()
    again = run()
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0 and "done before" in output, output
    assert_same_numbers(tmp_path / FOLDER, finished)


def test_a_killed_run_logs_each_step_once(run, tmp_path, finished):
    process = run("--tensorboard")
    wait_for((tmp_path / FOLDER / "checkpoint.previous.pt").exists, process)
    os.kill(int(os.popen(f"pgrep -P {process.pid}").read().split()[0]), signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (tmp_path / FOLDER / "metrics.json").exists(), "disturbed too late"
    output, _ = run("--tensorboard").communicate(timeout=120)
    assert "done before" in output, output
    assert_same_numbers(tmp_path / FOLDER, finished)
    reader = EventAccumulator(str(tmp_path / FOLDER / "tensorboard"))
    reader.Reload()
    assert [event.step for event in reader.Scalars("step/loss")] == list(range(1, 13))
    rows = pd.read_csv(tmp_path / FOLDER / "curves.csv")
    for name in ("train_loss", "val_top1"):
        logged = {event.step: event.value for event in reader.Scalars(f"epoch/{name}")}
        assert logged == pytest.approx(dict(zip(3 * rows["epoch"], rows[name], strict=True)), rel=1e-6)
    assert not (finished / "tensorboard").exists()


def test_a_run_on_prepared_videos_says_so(run, tmp_path, tiny_ssv2):
    how = Preparation("ssv2", short_side=20, group=4, crf=18.0)
    made = prepare("ssv2", Place(tiny_ssv2), tmp_path / "prepared", how, 1, Silent())
    process = run(data=tmp_path / "prepared")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and f"prepared videos: {made}" in output, output
    metrics, _, _ = results(tmp_path / FOLDER)
    assert (metrics["prepared"]["short_side"], metrics["prepared"]["manifest"]) == (20, made.manifest)
    assert metrics["dataset"]["train"] == {"listed": 36, "used": 36, "skipped": []}
    assert 0 <= metrics["cost"]["data_wait"] <= 1


def test_a_run_waits_for_no_half_prepared_videos(run, tmp_path, tiny_ssv2):
    how = Preparation("ssv2", short_side=20, group=4, crf=18.0)
    prepare("ssv2", Place(tiny_ssv2), tmp_path / "prepared", how, 1, Silent())
    about = tmp_path / "prepared" / "prepared.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"finished": False}))
    process = run(data=tmp_path / "prepared")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "call tada prepare again, which goes on there" in output


def test_a_finished_run_is_not_repeated(run, undisturbed, finished):
    before = (finished / "metrics.json").stat().st_mtime_ns
    process = run(cwd=undisturbed)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "finished before" in output
    assert (finished / "metrics.json").stat().st_mtime_ns == before


def edited(folder):
    """A better top-1, by hand."""
    record = json.loads((folder / "metrics.json").read_text())
    record["metrics"]["top1"] = 99.9
    (folder / "metrics.json").write_text(json.dumps(record))


def halved(folder):
    """The scores of half of the videos."""
    with np.load(folder / "scores.npz") as scores:
        half = {name: scores[name][::2] for name in scores.files}
    np.savez_compressed(folder / "scores.npz", **half)


def flipped(folder):
    """One bit of the last weights."""
    content = bytearray((folder / "checkpoint.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "checkpoint.pt").write_bytes(content)


def without_weights(folder):
    """No state of the training at all."""
    for file in folder.glob("checkpoint*"):
        file.unlink()


TESTED = "training: 0 steps, 12 done before"
DAMAGED = {
    "top-1 by hand": (edited, "metrics.json: its content does not give its checksum", TESTED),
    "half of the videos": (halved, "scores.npz: has", TESTED),
    "a flipped bit": (flipped, "checkpoint.pt: has changed since the record was written", "3 steps, 9 done before"),
    "no weights": (without_weights, "checkpoint.pt: is missing", "training: 12 steps\n"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_run_is_made_again_from_what_is_whole(kind, run, tmp_path, finished):
    damage, words, how = DAMAGED[kind]
    shutil.copytree(finished, tmp_path / FOLDER)
    damage(tmp_path / FOLDER)
    process = run()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and words in output and how in output and "Traceback" not in output, output
    assert_same_numbers(tmp_path / FOLDER, finished)
    again = run()
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 0 and "finished before" in output, output


def test_undecodable_videos_are_counted_and_named(run, tiny_ssv2, tmp_path):
    root = shutil.copytree(tiny_ssv2, tmp_path / "data")
    (root / "videos" / "3.webm").write_bytes(b"")
    (root / "videos" / "7.webm").write_bytes((root / "videos" / "7.webm").read_bytes()[:300])
    process = run(data=root)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    metrics, _, _ = results(tmp_path / FOLDER)
    assert metrics["dataset"]["train"] == {"listed": 36, "used": 34, "skipped": ["3", "7"]}


def test_too_many_undecodable_videos_fail_the_run(run, tiny_ssv2, tmp_path):
    root = shutil.copytree(tiny_ssv2, tmp_path / "data")
    for video in range(1, 6):
        (root / "videos" / f"{video}.webm").write_bytes(b"")
    process = run(data=root)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "5 of 36 videos cannot be used" in output and "Traceback" not in output
    outcome = json.loads((tmp_path / FOLDER / "outcome.json").read_text())
    assert outcome["status"] == "failed" and "max_skipped" in outcome["error"]


def test_missing_data_says_what_is_expected_where(tada_command, tmp_path):
    process = tada_command("run", "ssv2", "tsn", "--scale", "paper", cwd=tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "set data.ssv2 in config/config.yaml" in output
    assert "something-something-v2-" in output and "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "ssv2", "tda2d"), "unknown model 'tda2d'; did you mean 'tada2d'"),
        (("run", "ssv3", "tada2d"), "unknown dataset 'ssv3'; did you mean 'ssv2'"),
        (("run", "ssv2", "tada2d", "--scale", "big"), "unknown scale 'big'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(arguments, message, tada_command, tmp_path):
    process = tada_command(*arguments, cwd=tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in output and "Traceback" not in output


def test_a_killed_command_leaves_nobody_training(run, tmp_path, finished):
    process = run()
    state = tmp_path / FOLDER / "checkpoint.pt"
    wait_for(state.exists, process)
    child = int(os.popen(f"pgrep -P {process.pid}").read().split()[0])
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
    again = run()
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert_same_numbers(tmp_path / FOLDER, finished)


@pytest.fixture
def small_disk(tmp_path):
    """Gives a folder on a disk of so many KiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", place]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting a small disk is for root")
        return place

    yield mount
    subprocess.run(["umount", place], capture_output=True, check=False)


@pytest.mark.parametrize("size", [16, 48, 120])
def test_a_full_disk_is_one_line(size, run, small_disk, tiny_ssv2, finished):
    disk = small_disk(size)
    process = run(cwd=disk)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in output, output
    assert f"the disk at {disk} is full" in output
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    again = run(cwd=disk)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert_same_numbers(disk / FOLDER, finished)


def test_shared_memory_of_64_kib_makes_a_run_slow_and_changes_no_number(run, tiny_config, tmp_path, finished):
    """That is what a container has where nobody asked for more."""
    config = shutil.copytree(tiny_config, tmp_path / "config")
    recipes = yaml.safe_load((config / "recipes/mini.yaml").read_text())
    recipes["ssv2"]["data"]["workers"] = 2
    (config / "recipes/mini.yaml").write_text(yaml.safe_dump(recipes))
    small = "mount -t tmpfs -o size=64k none /dev/shm"
    if subprocess.run(["unshare", "--mount", "sh", "-c", small], capture_output=True, check=False).returncode:
        pytest.skip("a /dev/shm of one's own is for root")
    process = run(before=["unshare", "--mount", "sh", "-c", f'{small} && exec "$@"', "sh"], config=config)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert "the shared memory in /dev/shm is too small for 2 processes" in output
    assert_same_numbers(tmp_path / FOLDER, finished)
