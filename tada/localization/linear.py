"""Softmax regression on the mean features of segments: the classes of proposals where there are features alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tada.localization.classification import Scores
from tada.localization.features import Features
from tada.localization.overlap import Floats

PENALTY = 1e-3
"""Of half the squared weights, beside the mean loss of a segment; features have a variance of 1."""

ITERATIONS = 200


class LinearClassifier(nn.Module):
    """Standardises features [N, C] and maps them to logits [N, classes], or a dict of them."""

    def __init__(self, mean: Tensor, spread: Tensor, classes: int | Mapping[str, int]) -> None:
        """`mean` and `spread` [C] of each channel; weights begin with zeros, since where they end is the same."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        sizes = classes if isinstance(classes, Mapping) else {"": classes}
        self.names = list(sizes)
        self.linear = nn.ModuleList(nn.Linear(len(mean), size) for size in sizes.values())
        for parameter in self.linear.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits of features [N, C]."""
        features = (features - self.mean) / self.spread
        logits = {name: linear(features) for name, linear in zip(self.names, self.linear, strict=True)}
        return logits.get("", logits)


def mean_features(features: Features, starts: Floats, ends: Floats) -> npt.NDArray[np.float32]:
    """The mean over the clips whose centres lie in each segment (seconds, [P]), [P, C]; if none does, the nearest's."""
    times = np.asarray(features.times)
    first, last = np.searchsorted(times, starts, "left"), np.searchsorted(times, ends, "right")
    nearest = np.searchsorted((times[1:] + times[:-1]) / 2, (np.asarray(starts) + np.asarray(ends)) / 2)
    empty = last <= first
    first, last = np.where(empty, nearest, first), np.where(empty, nearest + 1, last)
    means = [features.values[since:until].mean(0, dtype=np.float64) for since, until in zip(first, last, strict=True)]
    return np.array(means, np.float32).reshape(len(first), features.values.shape[1])


def fit_linear(
    features: npt.NDArray[np.float32],
    labels: Sequence[int] | Sequence[Mapping[str, int]],
    classes: int | Mapping[str, int],
    device: torch.device | None = None,
) -> LinearClassifier:
    """The classifier with the least cross entropy (the sum over tasks) and penalty: a convex problem, without chance.

    Args:
        features: [n, C], of training segments; finite.
        labels: [n], classes, or a class for each task.
        classes: how many there are, of each task.
        device: where to compute; the CPU if None.
    """
    inputs = torch.from_numpy(features).to(device)
    model = LinearClassifier(inputs.mean(0), inputs.std(0, correction=0).clamp_min(1e-6), classes).to(device)
    targets = {
        name: torch.tensor([label[name] if isinstance(label, Mapping) else label for label in labels], device=device)
        for name in model.names
    }
    weights = [linear.weight for linear in model.linear]
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = model(inputs)
        of_task = logits if isinstance(logits, dict) else {"": logits}
        value = sum(F.cross_entropy(of_task[name], target) for name, target in targets.items())
        value = value + 0.5 * PENALTY * sum(weight.square().sum() for weight in weights)
        value.backward()
        return value

    optimizer.step(loss)
    return model.eval()


def probabilities(model: LinearClassifier, features: npt.NDArray[np.float32]) -> Scores:
    """Class probabilities of features [P, C]: [P, classes], or a dict of them."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(features).to(model.mean.device))
    if isinstance(logits, dict):
        return {task: value.softmax(1).cpu().numpy() for task, value in logits.items()}
    return logits.softmax(1).cpu().numpy()
