"""Logs as TensorBoard's own reader finds them, of phases that begin, are killed, and go on."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tada.base import TadaError, tensorboard
from tada.base.progress import Progress, Silent
from tada.base.tensorboard import TensorBoard


def scalars(folder, tag):
    """Step -> value, after checking that each step stands there once."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    found = [(event.step, event.value) for event in reader.Scalars(tag)]
    assert len(dict(found)) == len(found)
    return dict(found)


def train(folder, first, last, offset=0.0):
    """Steps of a training of 4 steps an epoch, after `first` of them; whoever is killed closes nothing."""
    progress = Progress("test", board=TensorBoard(folder))
    progress.start(total=12, done=first)
    for step in range(first + 1, last + 1):
        progress.step(step, epoch=step / 4, loss=step + offset, lr=0.5)
        if step % 4 == 0:
            progress.epoch(step // 4, 3, {"epoch": step // 4, "lr": 0.5, "val_top1": 10.0 * step + offset})
    progress.sync()
    return progress


def test_each_step_and_each_epoch(tmp_path):
    train(tmp_path, 0, 12).close()
    assert scalars(tmp_path, "step/loss") == {step: step for step in range(1, 13)}
    assert scalars(tmp_path, "step/lr") == dict.fromkeys(range(1, 13), 0.5)
    assert scalars(tmp_path, "epoch/val_top1") == {4: 40, 8: 80, 12: 120}


@pytest.mark.parametrize("saved", [0, 3, 4, 7])
def test_what_was_logged_after_the_saved_state_counts_once(tmp_path, saved):
    """Killed after step 8, it goes on from a state that was saved before: later values are those of the second time."""
    train(tmp_path, 0, 8)
    [file] = tmp_path.iterdir()  # named by second and process: that of the second attempt would be a later one
    file.rename(tmp_path / "events.out.tfevents.1000000000.machine.1.0")
    train(tmp_path, saved, 12, offset=0.25)
    assert scalars(tmp_path, "step/loss") == {step: step + 0.25 * (step > saved) for step in range(1, 13)}
    assert scalars(tmp_path, "epoch/val_top1") == {step: 10 * step + 0.25 * (step > saved) for step in (4, 8, 12)}


def test_losses_that_are_still_on_a_device(tmp_path):
    """More steps than are written at once; those since the last state are of no use to whoever goes on from it."""
    board = TensorBoard(tmp_path)
    board.start(0)
    for step in range(1, 251):
        board.step(step, {"loss": torch.tensor(float(step))})
    board.close()
    assert scalars(tmp_path, "step/loss") == {step: step for step in range(1, 251)}


def test_phases_without_figures_leave_no_log(tmp_path):
    progress = Progress("test", board=TensorBoard(tmp_path / "logs"))
    progress.start(total=2, unit="video", phase="testing")
    progress.step(1)
    progress.close()
    assert not (tmp_path / "logs").exists()


def test_progress_without_logs_takes_the_same_calls(tmp_path):
    for progress in (Progress("test"), Silent()):
        progress.start(1)
        progress.step(1, loss=1.0)
        progress.sync()
    assert not list(tmp_path.iterdir())


def test_without_the_package_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(TadaError, match=r"tensorboard: pip install 'tada-reproducibility\[tensorboard\]'"):
        TensorBoard(tmp_path)
