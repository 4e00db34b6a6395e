"""Training of BMN: it learns, and ends with the same numbers however often it is interrupted."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tada.base import TadaError, tensorboard
from tada.base.devices import ProcessGroup
from tada.base.processes import Interrupted
from tada.base.progress import Progress, Silent
from tada.base.tensorboard import TensorBoard
from tada.localization.bmn_training import BmnObjective, build_bmn
from tada.localization.windows import Window
from tada.runs.checkpoints import load_state
from tada.runs.localization_settings import BmnSettings
from tada.runs.trainer import train

SETTINGS = BmnSettings(
    window=8.0,
    stride=4.0,
    temporal=16,
    durations=16,
    base=16,
    summed=16,
    confidence=8,
    samples=8,
    batch=4,
    epochs=3,
)
IDENTITY = {"signature": "abc", "seed": 0}
ALONE = ProcessGroup(0, 1, torch.device("cpu"))


def windows(count: int, settings: BmnSettings = SETTINGS, channels: int = 8) -> list[Window]:
    """One action each, in which some channels are higher."""
    made = []
    for index in range(count):
        random = np.random.default_rng(index)
        length = random.uniform(0.2, 0.6) * settings.temporal
        start = random.uniform(0, settings.temporal - length)
        cells = np.arange(settings.temporal) + 0.5
        inside = (cells > start) & (cells < start + length)
        features = random.normal(0, 0.3, (channels, settings.temporal)) + inside * (np.arange(channels) % 2)[:, None]
        made.append(Window(f"v{index}", 0, 0.5, features.astype(np.float32), np.array([[start, start + length]])))
    return made


def run(folder, settings=SETTINGS, model=None, data=None, **options):
    torch.manual_seed(0)
    model = model or build_bmn(8, settings)
    options = {"progress": Silent(), "identity": IDENTITY} | options
    objective = BmnObjective(windows(10) if data is None else data, settings, channels=8, seed=0)
    state = train(model, objective, seed=0, checkpoint=folder / "bmn.pt", group=ALONE, **options)
    return model, state


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def curves(state):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in state.curves]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_it_learns_to_find_actions(tmp_path):
    settings = replace(SETTINGS, epochs=10)
    model, state = run(tmp_path, settings, data=windows(60))
    assert state.curves[-1]["loss"] < 0.6 * state.curves[0]["loss"]
    (unseen,) = windows(61)[60:]
    with torch.no_grad():
        maps = model.eval()(torch.from_numpy(unseen.features)[None]).sigmoid()
    start, end = unseen.segments[0]
    assert abs(maps.start[0].argmax().item() - start) <= 2
    assert abs(maps.end[0].argmax().item() - end) <= 2


def test_curves_have_a_row_an_epoch(undisturbed):
    _, state = undisturbed
    assert [row["epoch"] for row in state.curves] == [1, 2, 3]
    assert {"lr", "loss", "boundary", "regression", "classification", "seconds"} < set(state.curves[0])
    for row in state.curves:
        assert row["loss"] == pytest.approx(row["boundary"] + 10 * row["regression"] + row["classification"], rel=1e-4)


def test_trained_for_fewer_epochs_it_is_what_the_whole_training_was_then(tmp_path, undisturbed):
    """The cosine is that of all epochs: the authors test epoch 9 of 10."""
    model, state = run(tmp_path, epochs=2)
    assert curves(state) == curves(undisturbed[1])[:2]
    assert state.step == 2 * 3
    _, whole = run(tmp_path, model=model)
    assert curves(whole) == curves(undisturbed[1])
    assert same(model, undisturbed[0])


@pytest.mark.parametrize("decay_biases", [True, False])
def test_weight_decay_of_biases(decay_biases):
    """With a rate of 1 and no gradient, AdamW takes the decay's share away and nothing else."""
    settings = replace(SETTINGS, base_lr=1.0, weight_decay=0.25, decay_biases=decay_biases)
    model = build_bmn(8, settings)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = BmnObjective(windows(2), settings, channels=8, seed=0).optimizer(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        share = 1.0 if name.endswith("bias") and not decay_biases else 0.75
        torch.testing.assert_close(parameter.detach(), share * before[name])


def test_every_epoch_visits_every_window_once():
    objective = BmnObjective(windows(10), SETTINGS, channels=8, seed=1)
    assert objective.steps_per_epoch == 3
    steps = [batch for step in range(9) for batch in objective.micro_batches(step)]
    assert [len(step) for step in steps] == [4, 4, 2] * 3
    for epoch in range(3):
        assert sorted(i for step in steps[3 * epoch : 3 * epoch + 3] for i in step) == list(range(10))
    assert steps[:3] != steps[3:6]


@pytest.mark.parametrize("last", range(1, 9))
def test_stopped_after_any_step_it_ends_the_same(tmp_path, undisturbed, last):
    asked = iter(range(1, 100))
    with pytest.raises(Interrupted, match=f"step {last} of 9"):
        run(tmp_path, stop=lambda: next(asked) == last)
    model, state = run(tmp_path)
    assert same(model, undisturbed[0])
    assert curves(state) == curves(undisturbed[1])
    assert state.resumes == 1


class Crash(Silent):
    """Progress that fails at a step."""

    def __init__(self, at):
        self.at = at

    def step(self, done, **facts):
        if done == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("last", [1, 3, 5, 9])
def test_crashed_at_a_step_it_goes_on_from_the_last_epoch(tmp_path, undisturbed, last):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Crash(last))
    model, state = run(tmp_path)
    assert same(model, undisturbed[0])
    assert curves(state) == curves(undisturbed[1])


class CrashWithLogs(Progress):
    """Progress with logs that fails after a step is logged, before any state can be saved."""

    def __init__(self, folder, at):
        super().__init__("test", board=TensorBoard(folder))
        self.at = at

    def step(self, done, **facts):
        super().step(done, **facts)
        if done == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("last", [1, 5, 6, 9])
def test_a_log_for_tensorboard_has_each_step_once(tmp_path, undisturbed, last, monkeypatch):
    monkeypatch.setattr(tensorboard, "STEPS_AT_ONCE", 1)  # also steps that no saved state holds are in the log
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=CrashWithLogs(tmp_path / "logs", last))
    [file] = (
        tmp_path / "logs"
    ).iterdir()  # named by second and process: that of the second attempt would be a later one
    file.rename(tmp_path / "logs" / "events.out.tfevents.1000000000.machine.1.0")
    progress = Progress("test", board=TensorBoard(tmp_path / "logs"))
    model, _ = run(tmp_path, progress=progress)
    progress.close()
    reader = EventAccumulator(str(tmp_path / "logs"))
    reader.Reload()
    assert [event.step for event in reader.Scalars("step/loss")] == list(range(1, 10))
    rows = {event.step: event.value for event in reader.Scalars("epoch/loss")}
    assert rows == pytest.approx({3 * row["epoch"]: row["loss"] for row in undisturbed[1].curves}, rel=1e-6)
    assert same(model, undisturbed[0])


KILLED = """
import importlib.util, os, signal, sys, torch
from pathlib import Path
spec = importlib.util.spec_from_file_location("test_bmn_training", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
save, saves = torch.save, []

def dies_while_saving(content, path):
    save(content, path)
    saves.append(path)
    if len(saves) == 2:
        Path(path).write_bytes(Path(path).read_bytes()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = dies_while_saving
module.run(Path(sys.argv[2]))
"""


def test_killed_while_it_saves_it_ends_the_same(tmp_path, undisturbed):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, __file__, str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert load_state(tmp_path / "bmn.pt", IDENTITY, build_bmn(8, SETTINGS)).step == 3
    model, state = run(tmp_path)
    assert same(model, undisturbed[0])
    assert curves(state) == curves(undisturbed[1])


def test_processes_that_prepare_batches_change_nothing(tmp_path, undisturbed):
    assert same(run(tmp_path, workers=1)[0], undisturbed[0])


def test_another_runs_state_is_left_unused(tmp_path, undisturbed):
    run(tmp_path)
    model = build_bmn(8, SETTINGS)
    _, state = run(tmp_path, model=model, identity={"signature": "other"})
    assert state.resumes == 0
    assert len(state.curves) == 3


def test_faulty_windows_are_refused(tmp_path):
    with pytest.raises(TadaError, match="no training window holds an action"):
        run(tmp_path, data=[])
    with pytest.raises(TadaError, match=r"video v\d+: windows of shape \[12, 16\].*takes \[8, 16\]"):
        run(tmp_path, data=windows(10, channels=12))


def test_a_loss_that_is_not_finite_ends_it(tmp_path):
    model = build_bmn(8, SETTINGS)
    torch.nn.init.constant_(model.start[0].bias, float("nan"))
    with pytest.raises(TadaError, match="the loss is nan at step 1;"):
        run(tmp_path, model=model)
    assert not (tmp_path / "bmn.pt").exists()
