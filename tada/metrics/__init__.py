"""How results are scored: accuracies, average precision, recall, the jackknife. Arrays and tables in, numbers out."""

from tada.metrics.accuracy import topk_accuracy, topk_hits
from tada.metrics.average_precision import AveragePrecision, mean_average_precision

__all__ = ["AveragePrecision", "mean_average_precision", "topk_accuracy", "topk_hits"]
