"""How results are scored: accuracies, average precision, recall, the jackknife. Arrays and tables in, numbers out.

Average precision is loaded when it is first asked for: accuracies do without pandas, which loads slowly.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tada.metrics.accuracy import topk_accuracy, topk_hits

if TYPE_CHECKING:
    from tada.metrics.average_precision import AveragePrecision, mean_average_precision

__all__ = ["AveragePrecision", "mean_average_precision", "topk_accuracy", "topk_hits"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("tada.metrics.average_precision"), name)
