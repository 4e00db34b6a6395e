"""Training: one loop for every network, exact to resume at any step.

Nothing random is drawn from a state that a restart could lose: the order of videos is a function of (seed, epoch), a
sample's augmentation of (seed, epoch, video), dropout of (seed, step, group). The saved state is therefore weights,
optimiser and step; a run that was killed ends with the same numbers as one left alone.

A step sees `batch` clips in groups of `batch_per_device`. A group shares its batch-norm statistics on one device;
groups are spread over the devices there are, and accumulated on each, so the number of devices changes speed only.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tada.base.distributed import ProcessGroup
from tada.base.errors import TadaError
from tada.base.processes import Interrupted
from tada.base.progress import Progress
from tada.data.dataset import IGNORED
from tada.data.transforms import normalise
from tada.runs.checkpoints import State, load_state, save_state
from tada.runs.settings import TrainSettings

CHECKPOINT_SECONDS = 600.0
"""Longest work that a crash can cost; the state is saved at every epoch's end besides."""


def learning_rate(step: int, steps_per_epoch: int, recipe: TrainSettings) -> float:
    """Rate of a step: half a cosine over all epochs, entered by a linear warm-up (Appendix A.1).

    The warm-up climbs from `warmup_lr` to the value that the cosine has where the warm-up ends.
    """

    def cosine(epoch: float) -> float:
        return recipe.base_lr * 0.5 * (1.0 + math.cos(math.pi * epoch / recipe.epochs))

    epoch = step / steps_per_epoch
    if epoch >= recipe.warmup_epochs:
        return cosine(epoch)
    share = epoch / recipe.warmup_epochs
    return recipe.warmup_lr + share * (cosine(recipe.warmup_epochs) - recipe.warmup_lr)


def make_optimizer(model: nn.Module, recipe: TrainSettings) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; weight decay on convolution and linear weights alone, as SGD's L2 term or
    AdamW's decoupled one."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.base_lr)
    return torch.optim.SGD(groups, lr=recipe.base_lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def epoch_order(videos: int, seed: int, epoch: int) -> np.ndarray:
    """Order in which an epoch visits the videos, [videos]."""
    return np.random.default_rng((seed, epoch)).permutation(videos)


def micro_batches(
    videos: int, recipe: TrainSettings, seed: int, first_step: int, group: ProcessGroup
) -> Iterator[list[tuple[int, int]]]:
    """Keys (epoch, index) of this process's micro-batches from `first_step` to the end, in the order of training.

    Of a step's micro-batches, rank r of n takes r, r + n, ...; the last videos that fill no step are left out.
    """
    steps_per_epoch = videos // recipe.batch
    for step in range(first_step, recipe.epochs * steps_per_epoch):
        epoch, place = divmod(step, steps_per_epoch)
        batch = epoch_order(videos, seed, epoch)[place * recipe.batch : (place + 1) * recipe.batch]
        for number in range(group.rank, recipe.batch // recipe.batch_per_device, group.size):
            indices = batch[number * recipe.batch_per_device : (number + 1) * recipe.batch_per_device]
            yield [(epoch, int(index)) for index in indices]


def loss_and_hits(
    logits: Tensor | dict[str, Tensor], labels: Tensor | dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy (summed over tasks, if several), clips right in every task, and clips that count.

    Clips with the label IGNORED, stand-ins for undecodable videos, count nowhere.
    """
    tasks = [(logits[task], labels[task]) for task in logits] if isinstance(logits, dict) else [(logits, labels)]
    counted = (tasks[0][1] != IGNORED).sum()
    sums = [F.cross_entropy(values.float(), truth, ignore_index=IGNORED, reduction="sum") for values, truth in tasks]
    right = torch.stack([values.argmax(1) == truth for values, truth in tasks]).all(0).sum()
    return torch.stack(sums).sum() / counted.clamp(min=1), right, counted


def train(
    model: nn.Module,
    dataset: torch.utils.data.Dataset,
    recipe: TrainSettings,
    *,
    seed: int,
    checkpoint: Path,
    identity: dict[str, Any],
    validate: Callable[[nn.Module], dict[str, float]],
    progress: Progress,
    group: ProcessGroup | None = None,
    workers: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> State:
    """Train `model` in place to the end of its schedule, continuing from `checkpoint` where that is there.

    Args:
        model: maps [N, 3, T, H, W] to logits.
        dataset: maps (epoch, index) to (uint8 clip [3, T, H, W], label); has a length.
        recipe: the schedule.
        seed: of order, augmentation and dropout.
        checkpoint: file of the training state.
        identity: what the checkpoint must belong to (signature and seed); another one's is left unused.
        validate: called every `recipe.validate_every` epochs; its figures join the epoch's row of the curves.
        progress: told about every step.
        group: this process's place among those that train together.
        workers: processes that prepare batches; 0 prepares them in this one.
        stop: asked after every step; once true, the state is saved and `Interrupted` raised.

    Raises:
        TadaError: fewer videos than a batch, groups that do not fill the batch or the processes, or a loss that is
            not finite.
        Interrupted: `stop` said so.
    """
    group = group or ProcessGroup.single()
    _check_sizes(len(dataset), recipe, group)
    model.to(group.device)
    optimizer = make_optimizer(model, recipe)
    state = load_state(checkpoint, identity, model, optimizer) or State()
    if not group.is_main:
        state.running = dict.fromkeys(state.running, 0.0)  # what was saved is the sum over all processes
    steps_per_epoch = len(dataset) // recipe.batch
    total = recipe.epochs * steps_per_epoch
    accumulated = recipe.batch // recipe.batch_per_device // group.size
    trained = group.wrap(model)
    loader = iter(
        torch.utils.data.DataLoader(
            dataset,
            batch_sampler=micro_batches(len(dataset), recipe, seed, state.step, group),
            num_workers=workers,
            pin_memory=group.device.type == "cuda",
            persistent_workers=False,
        )
    )
    mark = time.monotonic()
    saved = mark

    def account_time() -> None:
        nonlocal mark
        now = time.monotonic()
        state.seconds += now - mark
        mark = now

    progress.start(total=total, done=state.step, unit="step")
    model.train()
    while state.step < total:
        rate = learning_rate(state.step, steps_per_epoch, recipe)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate
        loss = _step(trained, optimizer, loader, accumulated, recipe, seed, state, group)
        state.step += 1
        epoch, within = divmod(state.step, steps_per_epoch)
        progress.step(state.step, epoch=state.step / steps_per_epoch, loss=loss, lr=rate)
        stopping, due = group.any(stop(), time.monotonic() - saved > CHECKPOINT_SECONDS)
        if within == 0:
            row = _close_epoch(state, group, epoch, rate)
            if epoch % recipe.validate_every == 0 or epoch == recipe.epochs:
                row |= validate(model)
                model.train()
            account_time()
            state.curves.append(row | {"seconds": state.seconds})
            progress.epoch(epoch, recipe.epochs, row)
        if within == 0 or stopping or due:
            account_time()
            saved = mark
            whole = replace(state, running=group.sum(state.running))
            if group.is_main:
                save_state(checkpoint, identity, model, optimizer, whole)
        if stopping and state.step < total:
            raise Interrupted(f"stopped at step {state.step} of {total}; the state is saved in {checkpoint}")
    account_time()
    return state


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Iterator[tuple[Tensor, Any]],
    accumulated: int,
    recipe: TrainSettings,
    seed: int,
    state: State,
    group: ProcessGroup,
) -> float:
    """One optimiser step; returns the mean loss of this process's groups."""
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=group.device)
    for turn in range(accumulated):
        clips, labels = next(loader)
        clips, labels = group.move(clips), group.move(labels)
        torch.manual_seed(_dropout_seed(seed, state.step, turn * group.size + group.rank))
        with group.synchronised(model, last=turn == accumulated - 1), group.autocast(recipe.precision):
            loss, hits, counted = loss_and_hits(model(normalise(clips)), labels)
            (loss / accumulated).backward()
        total += loss.detach()
        state.running["loss"] += float(loss.detach() * counted)
        state.running["correct"] += float(hits)
        state.running["clips"] += float(counted)
    mean = float(total) / accumulated
    if not math.isfinite(mean):
        raise TadaError(f"the loss is {mean} at step {state.step}; lower train.base_lr or lengthen the warm-up")
    optimizer.step()
    return mean


def _close_epoch(state: State, group: ProcessGroup, epoch: int, rate: float) -> dict[str, float]:
    """The epoch's row of the curves, over all processes; clears the running sums."""
    sums = group.sum(state.running)
    state.running = dict.fromkeys(state.running, 0.0)
    return {
        "epoch": epoch,
        "lr": rate,
        "train_loss": sums["loss"] / max(sums["clips"], 1),
        "train_top1": 100.0 * sums["correct"] / max(sums["clips"], 1),
    }


def _dropout_seed(seed: int, step: int, group: int) -> int:
    return int(np.random.SeedSequence((seed, step, group)).generate_state(1, np.uint64)[0] >> 1)


def _check_sizes(videos: int, recipe: TrainSettings, group: ProcessGroup) -> None:
    if recipe.batch % recipe.batch_per_device:
        raise TadaError(
            f"train.batch ({recipe.batch}) is not a multiple of train.batch_per_device ({recipe.batch_per_device})"
        )
    if (recipe.batch // recipe.batch_per_device) % group.size:
        raise TadaError(
            f"{recipe.batch // recipe.batch_per_device} micro-batches of "
            f"train.batch_per_device={recipe.batch_per_device} clips cannot be spread evenly over {group.size} processes; choose a number of devices that divides them"
        )
    if videos < recipe.batch:
        raise TadaError(f"{videos} training videos do not fill one batch of {recipe.batch} (train.batch)")
