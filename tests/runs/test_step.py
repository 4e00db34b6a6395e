"""The training step where several processes take it together."""

import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

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


class Clips(torch.utils.data.Dataset):
    """Noise that depends on (epoch, index) alone."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, key):
        generator = torch.Generator().manual_seed(1000 * key[0] + key[1])
        return torch.randint(256, (3, 2, 8, 8), generator=generator, dtype=torch.uint8), key[1] % 2


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv3d(3, 4, (2, 3, 3)), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(4, 2),
    )  # fmt: skip


def trained(folder, group, stop=lambda: False):
    model, learned = network(), ClassificationObjective(Clips(), RECIPE, 0, lambda _: {})
    state = train(
        model, learned, seed=0, checkpoint=folder / "checkpoint.pt", identity={}, progress=Silent(), group=group,
        stop=stop,
    )  # fmt: skip
    return model, state


def one_of_two(rank, port, folder, stop_at):
    """What a process does; process 1 alone is asked to stop, after so many steps. Leaves its end in a file."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    os.environ.update(address | {"LOCAL_RANK": str(rank)})
    asked = iter(range(1, STEPS + 1))
    with ProcessGroup.from_environment() as group:
        try:
            model, state = trained(folder, group, lambda: next(asked) >= stop_at and rank == 1)
            end = {"weights": dict(model.named_parameters()), "curves": state.curves}
        except Interrupted as error:
            end = {"error": str(error)}
    torch.save(end, folder / f"{rank}.end")


def two_processes(folder, stop_at=STEPS + 1):
    """How both ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    mp.spawn(one_of_two, (port, folder, stop_at), nprocs=2)
    return [torch.load(folder / f"{rank}.end", weights_only=False) for rank in range(2)]


def test_two_processes_give_the_numbers_of_one(tmp_path):
    (tmp_path / "one").mkdir()
    model, state = trained(tmp_path / "one", ProcessGroup.single())
    first, second = two_processes(tmp_path)
    for name, weights in model.named_parameters():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], weights, rtol=1e-4, atol=1e-6)
    losses = [[row["train_loss"] for row in curves] for curves in (state.curves, first["curves"])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(("asked", "stopped"), [(3, AGREE_STEPS), (AGREE_STEPS, AGREE_STEPS), (AGREE_STEPS + 1, 15)])
def test_one_process_that_is_asked_to_stop_stops_both_at_the_same_step(tmp_path, asked, stopped):
    """They agree every `AGREE_STEPS` steps of an epoch, and at its end, here that of 15 steps."""
    ends = two_processes(tmp_path, asked)
    assert [end["error"].startswith(f"stopped at step {stopped} of {STEPS};") for end in ends] == [True, True]
