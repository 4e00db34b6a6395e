"""Training of BMN on windows of features (Appendix A.2; Lin et al., 2019), exact to resume at any step.

The order of windows is a function of (seed, epoch) and the sample that the loss draws one of (seed, step), so the saved
state is weights, optimiser and step, as in `tada.training`, whose schedule and checkpoints serve here too.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tada.distributed import World
from tada.errors import TadaError
from tada.localization.losses import Losses, bmn_loss, sampling_generator
from tada.localization.settings import BmnSettings
from tada.localization.targets import Targets, targets_of
from tada.localization.windows import Window
from tada.models.bmn import BMN
from tada.progress import Progress
from tada.training import CHECKPOINT_SECONDS, Interrupted, State, epoch_order, learning_rate, load_state, save_state


def build_bmn(channels: int, settings: BmnSettings) -> BMN:
    """The network for features of `channels`, freshly initialised from torch's seed."""
    sizes = ("temporal", "durations", "base", "summed", "confidence", "groups", "samples", "per_bin", "boundary_ratio")
    return BMN(channels, **{name: getattr(settings, name) for name in sizes})


def train_bmn(
    model: BMN,
    windows: Sequence[Window],
    settings: BmnSettings,
    *,
    seed: int,
    checkpoint: Path,
    identity: dict[str, Any],
    progress: Progress,
    device: torch.device | None = None,
    workers: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> State:
    """Train `model` in place to the end of its schedule, continuing from `checkpoint` where that is there.

    Args:
        model: the network, see `build_bmn`.
        windows: training windows, e.g. `TrainingWindows`, which reads features as they are needed.
        settings: schedule and loss.
        seed: of the order of windows and of the loss's sample.
        checkpoint: file of the training state.
        identity: what the checkpoint must belong to (signature and seed); another one's is left unused.
        progress: told about every step.
        device: where to train; the first GPU, or the CPU, if None.
        workers: processes that prepare batches; 0 prepares them in this one.
        stop: asked after every step; once true, the state is saved and `Interrupted` raised.

    Returns:
        How training went; `curves` has a row an epoch: epoch, lr, loss, boundary, regression, classification, seconds.

    Raises:
        TadaError: no windows, windows of another shape than the network's, or a loss that is not finite.
        Interrupted: `stop` said so.
    """
    if not len(windows):
        raise TadaError("bmn: no training window holds an action; check the annotation and the length of windows")
    device = device or World.single().device
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.base_lr, weight_decay=settings.weight_decay)
    state = load_state(checkpoint, identity, model, optimizer) or State(running=dict.fromkeys(Losses._fields, 0.0))
    steps_per_epoch = math.ceil(len(windows) / settings.batch)
    total = settings.epochs * steps_per_epoch
    loader = iter(
        torch.utils.data.DataLoader(
            _Examples(windows, model),
            batch_sampler=batches(len(windows), settings, seed, state.step),
            num_workers=workers,
            pin_memory=device.type == "cuda",
        )
    )
    mark = saved = time.monotonic()
    progress.start(total=total, done=state.step, unit="step", phase="proposal network")
    while state.step < total:
        rate = learning_rate(state.step, steps_per_epoch, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = _step(model, optimizer, next(loader), settings, sampling_generator(seed, state.step), device)
        if not math.isfinite(losses["total"]):
            raise TadaError(f"bmn: the loss is {losses['total']} at step {state.step}; lower base_lr or warm up longer")
        state.step += 1
        state.running = {name: state.running[name] + value for name, value in losses.items()}
        progress.step(state.step, epoch=state.step / steps_per_epoch, loss=losses["total"], lr=rate)
        now = time.monotonic()
        state.seconds, mark = state.seconds + now - mark, now
        epoch, within = divmod(state.step, steps_per_epoch)
        if within == 0:
            row = {"epoch": epoch, "lr": rate} | {n: value / steps_per_epoch for n, value in state.running.items()}
            row["loss"] = row.pop("total")
            state.running = dict.fromkeys(state.running, 0.0)
            state.curves.append(row | {"seconds": state.seconds})
            progress.epoch(epoch, settings.epochs, row)
        stopping = stop()
        if within == 0 or stopping or now - saved > CHECKPOINT_SECONDS:
            saved = now
            save_state(checkpoint, identity, model, optimizer, state)
        if stopping and state.step < total:
            raise Interrupted(f"stopped at step {state.step} of {total}; the state is saved in {checkpoint}")
    return state


def batches(windows: int, settings: BmnSettings, seed: int, first_step: int) -> Iterator[list[int]]:
    """Windows of each step from `first_step` to the end; an epoch's last batch is what is left of it."""
    steps_per_epoch = math.ceil(windows / settings.batch)
    for step in range(first_step, settings.epochs * steps_per_epoch):
        epoch, place = divmod(step, steps_per_epoch)
        yield epoch_order(windows, seed, epoch)[place * settings.batch : (place + 1) * settings.batch].tolist()


class _Examples(torch.utils.data.Dataset):
    """Features and targets of windows."""

    def __init__(self, windows: Sequence[Window], model: BMN) -> None:
        self.windows, self.shape, self.durations = windows, (model.channels, model.temporal), model.durations

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Targets]:
        window = self.windows[index]
        if window.features.shape != self.shape:
            raise TadaError(
                f"features of video {window.video}: windows of shape {list(window.features.shape)} "
                f"[channels, cells], where the network takes {list(self.shape)}"
            )
        return window.features, targets_of(window.segments, window.features.shape[1], self.durations)


def _step(
    model: BMN,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Targets],
    settings: BmnSettings,
    generator: torch.Generator,
    device: torch.device,
) -> dict[str, float]:
    """One optimiser step; returns the losses."""
    features, targets = batch
    targets = Targets(*(part.to(device, non_blocking=True) for part in targets))
    optimizer.zero_grad(set_to_none=True)
    names = ("regression_weight", "positive", "high", "low")
    losses = bmn_loss(
        model(features.to(device, non_blocking=True)),
        targets,
        generator,
        **{name: getattr(settings, name) for name in names},
    )
    losses.total.backward()
    optimizer.step()
    return {name: float(value) for name, value in zip(Losses._fields, torch.stack(losses).tolist(), strict=True)}
