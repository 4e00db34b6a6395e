"""What a classification network is trained on (Appendix A.1): random clips, and cross-entropy."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tada.base import TadaError
from tada.data.clips import IGNORED
from tada.data.dataset import TrainClips
from tada.data.views import normalise
from tada.runs.settings import TrainSettings
from tada.runs.step import eager, fused_on_gpu
from tada.runs.trainer import epoch_batch

Validate = Callable[[nn.Module], dict[str, float]]


class ClassificationObjective:
    """Cross-entropy of clips, as `tada.runs.trainer.train` takes it.

    A step is `batch` clips, in micro-batches of `batch_per_device`. The last videos of an epoch that fill no step are
    left out.

    Args:
        dataset: maps (epoch, index) to (uint8 clip [3, T, H, W], label).
        settings: the schedule.
        seed: of the order of videos.
        validate: called every `settings.validate_every` epochs and after the last one; its figures join the curves.

    Raises:
        TadaError: fewer videos than a batch, or micro-batches that do not fill it.
    """

    section = "train"
    phase = "training"
    supply = "raise data.workers of the recipe where processors are free, or have the videos prepared (tada prepare)"
    sums = ("loss", "correct", "clips")
    static = True

    def __init__(self, dataset: TrainClips, settings: TrainSettings, seed: int, validate: Validate) -> None:
        batch, per_device = settings.batch, settings.batch_per_device
        if batch % per_device:
            raise TadaError(f"train.batch ({batch}) is not a multiple of train.batch_per_device ({per_device})")
        if len(dataset) < batch:
            raise TadaError(f"{len(dataset)} training videos do not fill one batch of {batch} (train.batch)")
        self.dataset, self.schedule, self.precision = dataset, settings, settings.precision
        self.steps_per_epoch, self.accumulation = len(dataset) // batch, batch // per_device
        self._seed, self._validate = seed, validate

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """See `make_optimizer`."""
        return make_optimizer(model, self.schedule)

    def micro_batches(self, step: int) -> list[list[tuple[int, int]]]:
        """Keys (epoch, index) of the clips of each micro-batch."""
        batch, size = self.schedule.batch, self.schedule.batch_per_device
        epoch, indices = epoch_batch(len(self.dataset), batch, self.steps_per_epoch, self._seed, step)
        return [[(epoch, int(index)) for index in indices[first : first + size]] for first in range(0, batch, size)]

    def loss(self, model: Callable[..., Any], batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Of clips [N, 3, T, H, W] and labels."""
        clips, labels = batch
        loss, correct, counted = loss_and_hits(model(normalise(clips)), labels)
        return loss, {"loss": loss.detach() * counted, "correct": correct, "clips": counted}

    def curves(self, sums: dict[str, float]) -> dict[str, float]:
        """Means over the epoch's clips: `train_loss`, and `train_top1` in percent."""
        clips = max(sums["clips"], 1)
        return {"train_loss": sums["loss"] / clips, "train_top1": 100.0 * sums["correct"] / clips}

    def validate(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """The figures of `validate` where they are due."""
        due = epoch % self.schedule.validate_every == 0 or epoch == self.schedule.epochs
        return self._validate(model) if due else {}


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; weight decay on convolution and linear weights alone.

    The decay is SGD's L2 term, or AdamW's decoupled one.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    fused = fused_on_gpu(parameters)
    if settings.optimizer == "adamw":
        return eager(torch.optim.AdamW)(groups, lr=settings.base_lr, fused=fused)
    nesterov = settings.momentum > 0
    sgd = eager(torch.optim.SGD)
    return sgd(groups, lr=settings.base_lr, momentum=settings.momentum, nesterov=nesterov, fused=fused)


def loss_and_hits(
    logits: Tensor | dict[str, Tensor], labels: Tensor | dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy (summed over tasks, if several), clips right in every task, and clips that count.

    Clips with the label IGNORED, stand-ins for undecodable videos, count nowhere.
    """
    if isinstance(logits, dict):
        assert isinstance(labels, dict)
        tasks = [(values, labels[task]) for task, values in logits.items()]
    else:
        assert isinstance(labels, Tensor)
        tasks = [(logits, labels)]
    counted = (tasks[0][1] != IGNORED).sum()
    sums = [F.cross_entropy(values.float(), truth, ignore_index=IGNORED, reduction="sum") for values, truth in tasks]
    right = torch.stack([values.argmax(1) == truth for values, truth in tasks]).all(0).sum()
    return torch.stack(sums).sum() / counted.clamp(min=1), right, counted
