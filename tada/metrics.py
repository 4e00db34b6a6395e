"""Accuracies from saved scores; shared by testing and by reports, which need no second pass over the videos.

Detections are judged by `mean_average_precision`, which stands with the rest of localization.
"""

import numpy as np
import numpy.typing as npt

from tada.localization.evaluation import AveragePrecision, mean_average_precision

__all__ = [
    "AveragePrecision",
    "Labels",
    "Scores",
    "mean_average_precision",
    "per_class_accuracy",
    "topk_accuracy",
    "topk_hits",
]

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]


def topk_accuracy(scores: Scores, labels: Labels, k: int) -> float:
    """Share of samples, in percent, whose label is among the k highest scores; see `topk_hits`."""
    return float(100.0 * topk_hits(scores, labels, k).mean())


def topk_hits(scores: Scores, labels: Labels, k: int) -> npt.NDArray[np.bool_]:
    """Whether each sample's label is among its k highest scores, [samples].

    Among equal scores the lower class index ranks first, so that a constant output earns no credit by chance.

    Args:
        scores: [samples, classes].
        labels: [samples], class indices.
        k: at least 1; capped at the number of classes.

    Raises:
        ValueError: no samples, NaN among the scores, or shapes that do not fit.
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} do not fit: [samples, classes], [samples]")
    if len(labels) == 0:
        raise ValueError("accuracy of no samples is undefined")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).any(1).sum())} samples have NaN scores")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (best == labels[:, None]).any(axis=1)


def per_class_accuracy(scores: Scores, labels: Labels) -> npt.NDArray[np.float64]:
    """Top-1 accuracy of each class in percent, [classes]; NaN for a class without samples (Figure A1)."""
    classes = scores.shape[1]
    correct = (np.argmax(scores, axis=1) == labels).astype(float)
    counts = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels, weights=correct, minlength=classes)
    with np.errstate(invalid="ignore"):
        return 100.0 * hits / counts
