"""Mean average precision of detections, by the protocol of ActivityNet, HACS and EPIC-KITCHENS-100 (section 6).

For each label, the predictions of all videos are ordered by score and take in turn the ground-truth segment of their
video that they overlap most among those not taken, if intersection over union reaches the threshold; otherwise they
are false positives. Average precision is the area under precision made monotone over recall (PASCAL VOC 2011); its
mean is over the labels that the ground truth has. Predictions of other labels are dropped.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tada.localization.matching import Grouped, Ints, candidates, greedy
from tada.localization.overlap import Floats, check_table

HACS_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Of HACS and ActivityNet; their mean is the main number of Table 8."""

EK100_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)

TASKS = ("verb", "noun", "action")
"""Of EPIC-KITCHENS-100."""


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision, as a share of 1.

    Attributes:
        table: a row per label of the ground truth, a column per threshold.
        dropped: predictions of labels that the ground truth does not have.
    """

    table: pd.DataFrame
    dropped: int

    @property
    def per_threshold(self) -> Floats:
        """Mean over labels, [thresholds]."""
        return self.table.to_numpy().mean(axis=0)

    @property
    def mean(self) -> float:
        """Mean over labels and thresholds: the average mAP of Tables 8 and A3."""
        return float(self.per_threshold.mean())

    def percent(self) -> dict[str, float]:
        """Mean over labels in percent for each threshold, e.g. "0.5", and their mean as "average"."""
        names = [f"{threshold:g}" for threshold in self.table]
        return {**dict(zip(names, (100.0 * self.per_threshold).tolist(), strict=True)), "average": 100.0 * self.mean}


def mean_average_precision(
    ground_truth: pd.DataFrame, predictions: pd.DataFrame, thresholds: Sequence[float]
) -> AveragePrecision:
    """Average precision of each label at each threshold; `.mean` is the average mAP.

    The order of rows does not matter: equal scores are ordered by video, start and end. A segment without length is
    never found, and never finds any.

    Args:
        ground_truth: columns video, label (any hashable), start, end (seconds), a row per segment.
        predictions: the same and score; for a video that the ground truth lacks, a false positive. None at all is a
            precision of 0.
        thresholds: intersections over union to reach, above 0 and up to 1, e.g. HACS_THRESHOLDS.

    Raises:
        ValueError: no ground truth, a missing column, a number that is not finite, a segment that ends before it
            starts, or a threshold outside its range.
    """
    limits = _limits(thresholds)
    columns = ("video", "label", "start", "end")
    check_table(ground_truth, "ground truth", columns)
    check_table(predictions, "predictions", (*columns, "score"))
    if ground_truth.empty:
        raise ValueError("ground truth: no segments, so precision is undefined")

    labels = _sorted(set(ground_truth["label"]))
    number = {label: place for place, label in enumerate(labels)}
    predicted_label = np.fromiter((number.get(label, -1) for label in predictions["label"]), np.int64, len(predictions))
    known = predicted_label >= 0
    kept = predictions[known]
    video, videos = pd.factorize(kept["video"], sort=True)
    start, end, score = (kept[name].to_numpy(np.float64) for name in ("start", "end", "score"))
    order = np.lexsort((end, start, video, -score, predicted_label[known]))
    label = predicted_label[known][order]
    predicted = Grouped(label + video[order] * len(labels), start[order], end[order])

    truth_label = np.fromiter((number[label] for label in ground_truth["label"]), np.int64, len(ground_truth))
    pairs = candidates(_truth(ground_truth, truth_label, videos, len(labels)), predicted, limits[0])
    positives = np.bincount(truth_label, minlength=len(labels))
    found = {limit: greedy(pairs, limit) for limit in limits}
    by_threshold = {limit: _average_precision(found[limit], label, positives) for limit in _rounded(thresholds)}
    table = pd.DataFrame(by_threshold, index=pd.Index(labels, name="label", tupleize_cols=False))
    return AveragePrecision(table, int((~known).sum()))


def action_precision(
    ground_truth: pd.DataFrame, predictions: pd.DataFrame, thresholds: Sequence[float] = EK100_THRESHOLDS
) -> dict[str, AveragePrecision]:
    """Average precision of verbs, nouns and actions, which are pairs of both, by one score (EPIC-KITCHENS-100).

    Args:
        ground_truth: columns video, verb, noun, start, end, a row per segment.
        predictions: the same and score.
        thresholds: as in `mean_average_precision`.

    Raises:
        ValueError: as `mean_average_precision`.
    """
    for table, what in ((ground_truth, "ground truth"), (predictions, "predictions")):
        check_table(table, what, ("video", "verb", "noun"))
    return {
        task: mean_average_precision(with_label(ground_truth, task), with_label(predictions, task), thresholds)
        for task in TASKS
    }


def with_label(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The table with what a task judges as its label: the verb, the noun, or (verb, noun)."""
    pairs = list(zip(table["verb"], table["noun"], strict=True)) if task == "action" else table[task]
    return table.assign(label=pd.Series(pairs, index=table.index, dtype=object))


def _average_precision(found: npt.NDArray[np.bool_], label: Ints, positives: Ints) -> Floats:
    """Area under the interpolated precision for each label, [labels]; predictions are sorted by label, then score.

    Recall grows where something is found only, by one positive each time, and the precision that counts there is the
    highest at this recall or above.
    """
    hits = np.flatnonzero(found)
    bounds = np.searchsorted(label[hits], np.arange(len(positives) + 1))
    tried = hits - np.searchsorted(label, label[hits]) + 1
    right = np.arange(len(hits)) - bounds[label[hits]] + 1
    precision = right / tried
    area = np.zeros(len(positives))
    for number in np.flatnonzero(np.diff(bounds)):
        descending = precision[bounds[number] : bounds[number + 1]][::-1]
        area[number] = np.maximum.accumulate(descending).sum()
    return area / positives


def _truth(table: pd.DataFrame, label: Ints, videos: pd.Index, labels: int) -> Grouped:
    """Ground truth sorted by group, then by time so that its rows' order does not matter."""
    video = videos.get_indexer(pd.Index(table["video"]))  # -1, a group of its own, where nothing is predicted
    group = np.where(video >= 0, label + video * labels, -1)
    start, end = table["start"].to_numpy(np.float64), table["end"].to_numpy(np.float64)
    order = np.lexsort((end, start, group))
    return Grouped(group[order], start[order], end[order])


def _sorted(labels: Iterable[Hashable]) -> list:
    labels = list(labels)
    try:
        return sorted(labels)
    except TypeError:  # labels of different types
        return sorted(labels, key=lambda label: (type(label).__name__, repr(label)))


def _limits(thresholds: Sequence[float]) -> list[float]:
    limits = sorted(set(_rounded(thresholds)))
    if not limits or not 0 < limits[0] <= limits[-1] <= 1:
        raise ValueError(f"thresholds {list(thresholds)}: at least one is needed, each above 0 and up to 1")
    return limits


def _rounded(thresholds: Sequence[float]) -> list[float]:
    """Without the last digits by which sums like 0.1 + 0.2 miss their number."""
    return [round(float(threshold), 9) for threshold in thresholds]
