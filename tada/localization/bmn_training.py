"""Training of BMN on windows of features (Appendix A.2; Lin et al., 2019), exact to resume at any step.

The order of windows is a function of (seed, epoch) and the sample that the loss draws one of (seed, step), so the saved
state is weights, optimiser and step, as in `tada.runs.trainer`, whose schedule and checkpoints serve here too.

What BMN should say of a window: where actions start and end, and how well each proposal fits one (Lin et al., 2019).

All lengths are in cells of the window, of which there are T. Boundaries lie between cells: position t is where cell t
begins. Proposal (d, t) goes from t to t + d + 1.

The losses of BMN (Lin et al., 2019, section 4.3), with the constants of their released code, which the paper keeps.

    loss = boundaries + 10 x regression + classification

Boundaries (starts plus ends): logistic loss, positive where the label is above 0.5. Classification of proposals: the
same, positive where a proposal's IoU with an action is at least 0.9. In both, positives and negatives weigh one half
each, however few the positives are. Regression of that IoU: half the mean squared error over all proposals above 0.7,
and as many drawn from those of 0.3 to 0.7, and from those below that touch an action at all.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tada.base.distributed import ProcessGroup
from tada.base.errors import TadaError
from tada.base.processes import Interrupted
from tada.base.progress import Progress
from tada.localization.windows import Window
from tada.models.bmn import BMN, Maps
from tada.runs.checkpoints import State, load_state, save_state
from tada.runs.settings import BmnSettings
from tada.runs.trainer import CHECKPOINT_SECONDS, epoch_order, learning_rate


class Targets(NamedTuple):
    """Targets of a window (with a first dimension N, of a batch).

    Attributes:
        start: float32 [T], how much of each position's cell lies in a region around a start.
        end: float32 [T], the same of ends.
        overlap: float32 [D, T], IoU of proposal (d, t) with the action that it fits best; 0 for proposals that end
            beyond the window.
    """

    start: np.ndarray
    end: np.ndarray
    overlap: np.ndarray


def within(temporal: int, durations: int) -> np.ndarray:
    """Which proposals end within the window, bool [D, T]."""
    return np.arange(durations)[:, None] + np.arange(temporal) < temporal


def boundary_labels(boundaries: np.ndarray, temporal: int) -> np.ndarray:
    """Share of each position's cell that lies within half a region of a boundary [n], float32 [T] (Lin et al., 4.2).

    The cell of position t is t - 0.5 to t + 0.5. Of several boundaries the one that covers most of it counts.
    """
    reach = (BOUNDARY_REGION + 1) / 2 - np.abs(np.arange(temporal) - boundaries[:, None])
    return reach.clip(0, 1).max(0, initial=0).astype(np.float32)


def overlap_map(segments: np.ndarray, temporal: int, durations: int) -> np.ndarray:
    """IoU of every proposal with the best of the actions [n, 2], float32 [D, T] (Lin et al., 4.2)."""
    start = np.arange(temporal)
    end = start + np.arange(1, durations + 1)[:, None]
    best = np.zeros((durations, temporal), np.float32)
    for first, last in segments:
        shared = (np.minimum(end, last) - np.maximum(start, first)).clip(0)
        best = np.maximum(best, shared / (end - start + (last - first) - shared))
    return np.where(within(temporal, durations), best, 0).astype(np.float32)


def targets_of(segments: np.ndarray, temporal: int, durations: int) -> Targets:
    """Targets of a window in which the actions [n, 2] happen."""
    return Targets(
        boundary_labels(segments[:, 0], temporal),
        boundary_labels(segments[:, 1], temporal),
        overlap_map(segments, temporal, durations),
    )


class Losses(NamedTuple):
    """The loss of a batch and its parts before their weights (scalars)."""

    total: Tensor
    boundary: Tensor
    regression: Tensor
    classification: Tensor


def balanced_logistic(logits: Tensor, positive: Tensor, counted: Tensor | None = None) -> Tensor:
    """Logistic loss in which positives and negatives weigh half each.

    Args:
        logits: of any shape.
        positive: bool, of the same shape.
        counted: bool, entries that take part; all if None.
    """
    counted = torch.ones_like(positive) if counted is None else counted
    positives, negatives = positive & counted, ~positive & counted
    shares = [kind / kind.sum().clamp(min=1) for kind in (positives, negatives)]
    weight = 0.5 * sum(shares)  # a kind that is absent leaves its half out
    return F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), weight, reduction="sum")


def balanced_sample(overlap: Tensor, high: float, low: float, generator: torch.Generator) -> Tensor:
    """Proposals that regression learns from, bool of overlap's shape.

    All above `high`, and of those between, and of those at most `low` but not 0, each with the probability that makes
    them as many in expectation.
    """
    best = overlap > high
    sample = best
    for kind in ((overlap > low) & ~best, (overlap > 0) & (overlap <= low)):
        kept = torch.rand(overlap.shape, generator=generator).to(overlap.device)
        sample = sample | kind & (kept * kind.sum() < best.sum())
    return sample


def sampling_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of one step, which a resumed training draws again."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1)
    return torch.Generator().manual_seed(int(state))


def bmn_loss(
    maps: Maps,
    targets: Targets,
    generator: torch.Generator,
    *,
    regression_weight: float = 10.0,
    positive: float = 0.9,
    high: float = 0.7,
    low: float = 0.3,
) -> Losses:
    """The loss of a batch.

    Args:
        maps: the network's logits.
        targets: tensors of the same shapes.
        generator: draws the proposals that regression learns from.
        regression_weight: of the regression loss.
        positive: least IoU of a proposal that counts as an action.
        high: IoU above which regression learns from all proposals.
        low: IoU that parts the others into two kinds of equal number.
    """
    start, end, overlap = targets
    boundary = balanced_logistic(maps.start, start > 0.5) + balanced_logistic(maps.end, end > 0.5)
    proposals = torch.from_numpy(within(overlap.shape[2], overlap.shape[1])).to(overlap.device)
    sample = balanced_sample(overlap, high, low, generator)
    error = (maps.regression.sigmoid() - overlap).square()
    regression = 0.5 * (error * sample).sum() / sample.sum().clamp(min=1)
    classification = balanced_logistic(maps.classification, overlap >= positive, proposals.expand_as(overlap))
    return Losses(boundary + regression_weight * regression + classification, boundary, regression, classification)


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
    device = device or ProcessGroup.single().device
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


BOUNDARY_REGION = 3.0
"""Length of the region around a boundary in which positions count as it (Lin et al.'s released code), in cells."""
