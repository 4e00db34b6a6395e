"""The training step: compiled, and where several processes take it together, it gives the same numbers."""

import os
import socket
from dataclasses import replace

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from tada.base.compilation import Compiler
from tada.base.devices import ProcessGroup
from tada.base.processes import Interrupted
from tada.base.progress import Silent
from tada.classification.training import ClassificationObjective
from tada.runs.settings import TrainSettings
from tada.runs.trainer import AGREE_STEPS, train

RECIPE = TrainSettings(
    epochs=2, warmup_epochs=1, base_lr=0.05, warmup_lr=0.005, batch=4, batch_per_device=1, scale=(8, 8), crop=8,
    flip=False, initial="scratch",
)  # fmt: skip
STEPS = 2 * 15
ALONE = ProcessGroup(0, 1, torch.device("cpu"))


class Clips(torch.utils.data.Dataset):
    """Noise that depends on (epoch, index) alone."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, key):
        generator = torch.Generator().manual_seed(1000 * key[0] + key[1])
        return torch.randint(256, (3, 2, 8, 8), generator=generator, dtype=torch.uint8), key[1] % 2


def network() -> nn.Module:
    torch.manual_seed(1)
    stem = nn.Sequential(nn.Conv3d(3, 4, (2, 3, 3)), nn.BatchNorm3d(4), nn.ReLU())
    return nn.Sequential(stem, nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)))


def trained(folder, group, stop=lambda: False):
    model, learned = network(), ClassificationObjective(Clips(), RECIPE, 0, lambda _: {})
    state = train(
        model, learned, seed=0, checkpoint=folder / "checkpoint.pt", identity={}, progress=Silent(), group=group,
        stop=stop,
    )  # fmt: skip
    return model, state


def compiled(group, folder, said):
    """The same group, which compiles; CPUs do where they are asked to."""
    return replace(group, compiler=Compiler.of(True, group.device, folder / "code", said.append))


def one_of_two(rank, port, folder, stop_at, compiles):
    """What a process does; process 1 alone is asked to stop, after so many steps. Leaves its end in a file."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    os.environ.update(address | {"LOCAL_RANK": str(rank)})
    asked = iter(range(1, STEPS + 1))
    with ProcessGroup.from_environment() as plain:
        group = compiled(plain, folder, []) if compiles else plain
        try:
            model, state = trained(folder, group, lambda: next(asked) >= stop_at and rank == 1)
            end = {"weights": dict(model.named_parameters()), "curves": state.curves}
            assert group.compiler.active == compiles
        except Interrupted as error:
            end = {"error": str(error)}
    torch.save(end, folder / f"{rank}.end")


def two_processes(folder, stop_at=STEPS + 1, compiles=False):
    """How both ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    mp.spawn(one_of_two, (port, folder, stop_at, compiles), nprocs=2)
    return [torch.load(folder / f"{rank}.end", weights_only=False) for rank in range(2)]


def assert_same(weights, model, curves, state):
    """Equal but for another order of sums, which two epochs of training make somewhat larger."""
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(weights[name], parameter, rtol=1e-3, atol=1e-5)
    losses = [[row["train_loss"] for row in rows] for rows in (curves, state.curves)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("compiles", [False, True])
def test_two_processes_give_the_numbers_of_one(tmp_path, compiling, compiles):
    (tmp_path / "one").mkdir()
    model, state = trained(tmp_path / "one", ALONE)
    first, second = two_processes(tmp_path, compiles=compiles)
    for name, weights in first["weights"].items():
        assert torch.equal(weights, second["weights"][name])
    assert_same(first["weights"], model, first["curves"], state)


def test_compiled_training_gives_the_numbers_of_eager_training(tmp_path, compiling):
    (tmp_path / "eager").mkdir()
    expected, state = trained(tmp_path / "eager", ALONE)
    group = compiled(ALONE, tmp_path, said := [])
    model, found = trained(tmp_path, group)
    assert group.compiler.active and not said
    assert_same(dict(model.named_parameters()), expected, found.curves, state)
    for name, statistic in model.named_buffers():  # the trial left them alone
        torch.testing.assert_close(statistic, dict(expected.named_buffers())[name], rtol=1e-3, atol=1e-5)
    shapes = {name: value.shape for name, value in expected.state_dict().items()}
    assert {name: value.shape for name, value in model.state_dict().items()} == shapes


def test_a_backward_pass_that_cannot_be_compiled_leaves_the_numbers_of_eager_training(tmp_path, compiling, monkeypatch):
    """It fails after the forward pass, when statistics have changed; the first micro-batch is taken anew."""
    (tmp_path / "eager").mkdir()
    expected, state = trained(tmp_path / "eager", ALONE)

    def fail(*arguments, **options):
        raise RuntimeError("killed")

    monkeypatch.setattr(torch.autograd, "grad", fail)
    group = compiled(ALONE, tmp_path, said := [])
    model, found = trained(tmp_path, group)
    assert not group.compiler.active and len(said) == 1 and "RuntimeError: killed" in said[0]
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    assert [row["train_loss"] for row in found.curves] == [row["train_loss"] for row in state.curves]


@pytest.mark.parametrize(("asked", "stopped"), [(3, AGREE_STEPS), (AGREE_STEPS, AGREE_STEPS), (AGREE_STEPS + 1, 15)])
def test_one_process_that_is_asked_to_stop_stops_both_at_the_same_step(tmp_path, asked, stopped):
    """They agree every `AGREE_STEPS` steps of an epoch, and at its end, here that of 15 steps."""
    ends = two_processes(tmp_path, asked)
    assert [end["error"].startswith(f"stopped at step {stopped} of {STEPS};") for end in ends] == [True, True]
