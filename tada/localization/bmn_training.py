"""Training of BMN: targets of windows of features, losses and objective (Lin et al., 2019; Appendix A.2).

Lengths are in cells of a window, of which there are T. Boundaries lie between cells: position t is where cell t begins.
Proposal (d, t) goes from t to t + d + 1.

The loss has three parts, with the constants of the authors' released code, which the paper keeps (Lin et al., 4.3):

    loss = boundaries + 10 x regression + classification

- Boundaries (starts plus ends): logistic loss, positive where the label is above 0.5.
- Classification of proposals: logistic loss, positive where the proposal's IoU with an action is at least 0.9.
- Regression of that IoU: half the mean squared error. It is taken over all proposals with an IoU above 0.7, and over as
  many drawn from those of 0.3 to 0.7, and from those below 0.3 that touch an action at all.

In the two logistic losses positives and negatives weigh one half each, however few the positives are.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tada.base import TadaError
from tada.localization.windows import TrainingWindows, Window
from tada.models.bmn import BMN, Maps
from tada.runs.localization_settings import BmnSettings
from tada.runs.step import eager, fused_on_gpu, seed_of
from tada.runs.trainer import epoch_batch

BOUNDARY_REGION = 3.0
"""Length of the region around a boundary in which positions count as it (Lin et al.'s released code), in cells."""


Array = TypeVar("Array", np.ndarray, Tensor)

Windows = Sequence[Window] | TrainingWindows


class Targets(NamedTuple, Generic[Array]):
    """Targets of a window, as arrays; or of a batch of N windows, as tensors with a first dimension N.

    Attributes:
        start: float32 [T], how much of each position's anchor lies in a region around a start.
        end: float32 [T], the same of ends.
        overlap: float32 [D, T], IoU of proposal (d, t) with the action that it fits best; 0 for proposals that end
            beyond the window.
    """

    start: Array
    end: Array
    overlap: Array


def within(temporal: int, durations: int) -> np.ndarray:
    """Which proposals end within the window, bool [D, T]."""
    return np.arange(durations)[:, None] + np.arange(temporal) < temporal


def boundary_labels(boundaries: np.ndarray, temporal: int, anchor: float) -> np.ndarray:
    """Share of each position's anchor that lies in the region around a boundary [n], float32 [T] (Lin et al., 4.2).

    The anchor of position t is `anchor` cells long and begins at t - 0.5: t - 0.5 to t + 1.5 in the authors' code. Of
    several boundaries the one that covers most of it counts.
    """
    begin = np.arange(temporal) - 0.5
    first, last = (boundaries[:, None] + side * BOUNDARY_REGION / 2 for side in (-1, 1))
    shared = np.minimum(begin + anchor, last) - np.maximum(begin, first)
    return (shared.clip(0) / anchor).max(0, initial=0).astype(np.float32)


def overlap_map(segments: np.ndarray, temporal: int, durations: int) -> np.ndarray:
    """IoU of every proposal with the best of the actions [n, 2], float32 [D, T] (Lin et al., 4.2)."""
    start = np.arange(temporal)
    end = start + np.arange(1, durations + 1)[:, None]
    best = np.zeros((durations, temporal), np.float32)
    for first, last in segments:
        shared = (np.minimum(end, last) - np.maximum(start, first)).clip(0)
        best = np.maximum(best, shared / (end - start + (last - first) - shared))
    return np.where(within(temporal, durations), best, 0).astype(np.float32)


def targets_of(segments: np.ndarray, temporal: int, durations: int, anchor: float) -> Targets[np.ndarray]:
    """Targets of a window in which the actions [n, 2] happen."""
    return Targets(
        boundary_labels(segments[:, 0], temporal, anchor),
        boundary_labels(segments[:, 1], temporal, anchor),
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
    of_positives, of_negatives = (kind / kind.sum().clamp(min=1) for kind in (positives, negatives))
    weight = 0.5 * (of_positives + of_negatives)  # a kind that is absent leaves its half out
    return F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), weight, reduction="sum")


def balanced_sample(overlap: Tensor, high: float, low: float, generator: torch.Generator) -> Tensor:
    """Proposals that regression learns from, bool of overlap's shape.

    All above `high`, and of those between, and of those at most `low` but not 0, each with the probability that makes
    them as many in expectation.
    """
    best = overlap > high
    sample = best
    for kind in ((overlap > low) & ~best, (overlap > 0) & (overlap <= low)):
        drawn = torch.rand(overlap.shape, generator=generator).to(overlap.device)
        sample = sample | kind & (drawn * kind.sum() < best.sum())
    return sample


def sampling_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of one step, which a resumed training draws again."""
    return torch.Generator().manual_seed(seed_of(seed, step))


def bmn_loss(
    maps: Maps,
    targets: Targets[Tensor],
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
        positive: least IoU of a proposal that counts as an action; in the authors' code it is above that.
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
    return BMN(channels, **{name: getattr(settings, name) for name in (*sizes, "extend_first")})


class BmnObjective:
    """The losses of BMN on windows, as `tada.runs.trainer.train` takes them.

    A step is one micro-batch of `batch` windows. An epoch's last step is what is left of the windows.

    Args:
        windows: training windows; `TrainingWindows` reads features as they are needed.
        settings: schedule and losses.
        channels: of the features that the network takes.
        seed: of the order of windows and of the proposals that regression learns from.

    Raises:
        TadaError: no windows. A window of another shape than the network's is refused where it is read.
    """

    section = "bmn"
    phase = "proposal network"
    supply = "raise clips.workers of the recipe where processors are free"
    precision = "float32"
    accumulation = 1
    sums = Losses._fields
    static = False

    def __init__(self, windows: Windows, settings: BmnSettings, channels: int, seed: int) -> None:
        if not len(windows):
            raise TadaError("bmn: no training window holds an action; check the annotation and the length of windows")
        self.dataset = _Examples(windows, channels, settings)
        self.schedule = settings
        self.steps_per_epoch = math.ceil(len(windows) / settings.batch)
        self._seed = seed

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW, with weight decay on all parameters, or on all but biases."""
        decayed, plain = list[nn.Parameter](), list[nn.Parameter]()
        for name, parameter in model.named_parameters():
            exempt = name.endswith("bias") and not self.schedule.decay_biases
            (plain if exempt else decayed).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": self.schedule.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        return eager(torch.optim.AdamW)(groups, lr=self.schedule.base_lr, fused=fused_on_gpu([*decayed, *plain]))

    def micro_batches(self, step: int) -> list[list[int]]:
        """The windows of a step."""
        _, indices = epoch_batch(len(self.dataset), self.schedule.batch, self.steps_per_epoch, self._seed, step)
        return [indices.tolist()]

    def loss(self, model: Callable[..., Any], batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Of features [N, C, T] and `Targets`."""
        features, targets = batch
        names = ("regression_weight", "positive", "high", "low")
        weights = {name: getattr(self.schedule, name) for name in names}
        losses = bmn_loss(model(features), targets, sampling_generator(self._seed, step), **weights)
        return losses.total, {name: value.detach() for name, value in losses._asdict().items()}

    def curves(self, sums: dict[str, float]) -> dict[str, float]:
        """Means over the epoch's steps: `boundary`, `regression` and `classification`, and the whole `loss`."""
        means = {name: value / self.steps_per_epoch for name, value in sums.items()}
        total = means.pop("total")
        return means | {"loss": total}

    def validate(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Nothing: the localization that follows is what evaluates the network."""
        return {}


class _Examples(torch.utils.data.Dataset[tuple[np.ndarray, Targets[np.ndarray]]]):
    """Features and targets of windows."""

    def __init__(self, windows: Windows, channels: int, settings: BmnSettings) -> None:
        self.windows, self.shape, self.settings = windows, (channels, settings.temporal), settings

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Targets[np.ndarray]]:
        window = self.windows[index]
        if window.features.shape != self.shape:
            raise TadaError(
                f"features of video {window.video}: windows of shape {list(window.features.shape)} "
                f"[channels, cells], where the network takes {list(self.shape)}"
            )
        return window.features, targets_of(
            window.segments, self.settings.temporal, self.settings.durations, self.settings.anchor
        )
