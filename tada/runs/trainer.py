"""Training: one loop for every network, exact to resume at any step.

Nothing random is drawn from a state that a restart could lose. The order of samples is a function of (seed, epoch), a
sample's augmentation of (seed, epoch, sample), dropout of (seed, step, micro-batch). What is saved is therefore
weights, optimizer and step; a run that was killed ends with the same numbers as one left alone.

A step accumulates the gradients of its micro-batches. A micro-batch shares its batch-norm statistics on one device. The
micro-batches are spread over the processes of a group, so that the number of devices changes no step of the training.
It does change the running statistics that batch norms test with: each process keeps those of its own micro-batches, as
in the authors' code, and the main process's are saved.

What differs from network to network, its data, its loss and its curves, is an `Objective`.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tada.base import TadaError
from tada.base.devices import ProcessGroup
from tada.base.processes import Interrupted, prepared_batches
from tada.base.progress import Progress
from tada.runs.checkpoints import TrainingState, resume, save_state
from tada.runs.step import Figures, Supply, TrainingStep, check_weights

CHECKPOINT_SECONDS = 600.0
"""Longest work that a crash can cost; the state is saved at every epoch's end besides."""


AGREE_STEPS = 8
"""Steps after which the processes of a group agree on whether to stop or to save; they do at an epoch's end besides."""


class Schedule(Protocol):
    """Epochs and learning rates: half a cosine that is entered by a linear warm-up (Appendix A.1)."""

    @property
    def epochs(self) -> int:
        """Number of epochs."""

    @property
    def warmup_epochs(self) -> float:
        """Epochs of the warm-up."""

    @property
    def base_lr(self) -> float:
        """Rate that the cosine begins with."""

    @property
    def warmup_lr(self) -> float:
        """Rate that the warm-up begins with."""


class Objective(Protocol):
    """What a network learns, and from what."""

    @property
    def schedule(self) -> Schedule:
        """Epochs and learning rates."""

    @property
    def section(self) -> str:
        """Section of the recipe that the schedule stands in, for messages."""

    @property
    def phase(self) -> str:
        """Name of the training in the progress."""

    @property
    def supply(self) -> str:
        """What a user can do to have its data come faster, for messages."""

    @property
    def precision(self) -> str:
        """Of forward and backward pass: "float32", "bfloat16" or "float16"."""

    @property
    def dataset(self) -> torch.utils.data.Dataset:
        """Maps a sample's key to the sample."""

    @property
    def static(self) -> bool:
        """Whether all micro-batches are of one shape, so that the step can be compiled."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""

    @property
    def accumulation(self) -> int:
        """Micro-batches of a step."""

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the figures that are summed over an epoch's micro-batches for the curves."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the network's parameters; the loop sets its rate."""

    def micro_batches(self, step: int) -> list[list[Any]]:
        """Keys of the samples of each micro-batch of a step, a function of `step` alone."""

    def loss(self, model: Callable[..., Any], batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of a collated micro-batch (a scalar), and its figures under the names of `sums` (scalars).

        All stay on the device: whatever reads a number here makes a GPU wait.
        """

    def curves(self, sums: dict[str, float]) -> dict[str, float]:
        """An epoch's columns of the curves, from what was summed over all processes."""

    def validate(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Further columns after an epoch, counted from 1; empty where none is due."""


def learning_rate(step: int, steps_per_epoch: int, schedule: Schedule) -> float:
    """Rate of a step: half a cosine over all epochs, entered by a linear warm-up (Appendix A.1).

    The warm-up climbs from `warmup_lr` to the value that the cosine has where the warm-up ends.
    """

    def cosine(epoch: float) -> float:
        return schedule.base_lr * 0.5 * (1.0 + math.cos(math.pi * epoch / schedule.epochs))

    epoch = step / steps_per_epoch
    if epoch >= schedule.warmup_epochs:
        return cosine(epoch)
    share = epoch / schedule.warmup_epochs
    return schedule.warmup_lr + share * (cosine(schedule.warmup_epochs) - schedule.warmup_lr)


def epoch_batch(samples: int, batch: int, steps_per_epoch: int, seed: int, step: int) -> tuple[int, np.ndarray]:
    """The epoch of a step, from 0, and the indices of its `batch` samples; fewer where the epoch ends.

    An epoch visits its samples in an order that is a function of (seed, epoch).
    """
    epoch, place = divmod(step, steps_per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    return epoch, order[place * batch : (place + 1) * batch]


def train(
    model: nn.Module,
    objective: Objective,
    *,
    seed: int,
    checkpoint: Path,
    identity: dict[str, Any],
    progress: Progress,
    group: ProcessGroup | None = None,
    workers: int = 0,
    epochs: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingState:
    """Train `model` in place to the end of its schedule, continuing from `checkpoint` where that can be used.

    Args:
        model: what `objective` takes.
        objective: data, loss, schedule and curves.
        seed: of dropout.
        checkpoint: file of the training state.
        identity: what the checkpoint must belong to (signature and seed); another one's is left unused.
        progress: receives every step and epoch.
        group: the processes that train together; one alone if None.
        workers: processes that prepare batches; 0 prepares them in this one.
        epochs: of the schedule that are trained; None: all.
        stop: asked after every step; once true, the state is saved and `Interrupted` raised.

    Returns:
        How training went; `curves` has a row an epoch: epoch, lr, the objective's columns, seconds.

    Raises:
        TadaError: micro-batches that cannot be spread evenly over the processes, or a loss that is not finite, or a
            precision that the GPU lacks.
        Interrupted: `stop` said so.
    """
    group = group or ProcessGroup.single()
    if objective.accumulation % group.size:
        raise TadaError(
            f"{objective.accumulation} micro-batches a step ({objective.section}.batch / "
            f"{objective.section}.batch_per_device) cannot be spread evenly over {group.size} processes; choose a "
            "number of devices that divides them"
        )
    group.place(model)
    optimizer = objective.optimizer(model)
    state = resume(checkpoint, identity, model, optimizer, progress.say) or TrainingState()
    # What was saved is the sum over all processes; here it belongs to the main one.
    figures = Figures(objective.sums, state.running if group.is_main else {}, group.device)
    schedule, steps_per_epoch = objective.schedule, objective.steps_per_epoch
    total = (epochs := epochs or schedule.epochs) * steps_per_epoch
    batches = _batches(objective, range(state.step, total), group, workers, progress.say)
    supply = Supply(batches, state, objective.supply, group, progress.say)
    take_step = TrainingStep(model, objective, optimizer, supply, figures, seed, group, progress.say)
    mark = saved = time.monotonic()

    def account_time() -> None:
        nonlocal mark
        now = time.monotonic()
        state.seconds += now - mark
        mark = now

    progress.start(total=total, done=state.step, unit="step", phase=objective.phase)
    model.train()
    while state.step < total:
        rate = learning_rate(state.step, steps_per_epoch, schedule)
        take_step(state.step, rate)
        state.step += 1
        epoch, within = divmod(state.step, steps_per_epoch)
        progress.step(
            state.step, epoch=state.step / steps_per_epoch, loss=figures.loss, lr=rate, data_wait=state.data_wait or 0.0
        )
        wanted = (stop(), time.monotonic() - saved > CHECKPOINT_SECONDS)
        # Processes that asked each other at every step would wait for each other at every step.
        stopping, due = group.any(*wanted) if group.size == 1 or within % AGREE_STEPS == 0 else (False, False)
        saving = within == 0 or stopping or due
        figures.check(objective.section, at_once=saving)
        if within == 0:
            check_weights(model, state.step, objective.section)
            row = {"epoch": epoch, "lr": rate} | objective.curves(group.sum(figures.read()))
            figures.clear()
            row |= objective.validate(model, epoch)
            model.train()
            account_time()
            state.curves.append(row | {"seconds": state.seconds})
            progress.epoch(epoch, epochs, row)
        if saving:
            account_time()
            saved = mark
            state.running = group.sum(figures.read())
            if group.is_main:
                progress.sync()
                save_state(checkpoint, identity, model, optimizer, state)
        if stopping and state.step < total:
            raise Interrupted(f"stopped at step {state.step} of {total}; the state is saved in {checkpoint}")
    account_time()
    return state


def _micro_batches(objective: Objective, steps: range, group: ProcessGroup) -> Iterator[list[Any]]:
    """Keys of this process's micro-batches in the order of training: of each step, rank r of n takes r, r + n, ..."""
    for step in steps:
        yield from objective.micro_batches(step)[group.rank :: group.size]


def _batches(
    objective: Objective, steps: range, group: ProcessGroup, workers: int, say: Callable[[str], None]
) -> Iterator[Any]:
    """This process's micro-batches; see `tada.base.processes.prepared_batches`."""

    def loader(done: int, workers: int) -> Iterable[Any]:
        return torch.utils.data.DataLoader(
            objective.dataset,
            batch_sampler=islice(_micro_batches(objective, steps, group), done, None),
            num_workers=workers,
            pin_memory=group.device.type == "cuda",
        )

    return prepared_batches(loader, workers, "data", say)
