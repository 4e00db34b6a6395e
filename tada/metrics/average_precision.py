"""Mean average precision of detections, by the protocol of ActivityNet, HACS and EPIC-KITCHENS-100 (section 6).

For each label, the predictions of all videos are ordered by score and take in turn the ground-truth segment of their
video that they overlap most among those not taken, if intersection over union reaches the threshold; otherwise they
are false positives. Average precision is the area under precision made monotone over recall (PASCAL VOC 2011); its
mean is over the labels that the ground truth has. Predictions of other labels are dropped.

Mean average precision is no mean over videos, so that two networks cannot be paired video by video. The jackknife over
videos says how much it depends on them: leaving out one video at a time gives each a pseudo-value, n * metric -
(n - 1) * metric without it (Tukey, 1958). Their mean is the metric but for its bias, and their variance over n is its
variance, that of differences between networks included.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


def iou(starts: Floats, ends: Floats, other_starts: Floats, other_ends: Floats) -> Floats:
    """Intersection over union of segments with other segments; shapes are broadcast. 0 where both are empty."""
    shared = np.minimum(ends, other_ends)
    shared -= np.maximum(starts, other_starts)
    np.maximum(shared, 0.0, out=shared)
    union = (ends - starts) + (other_ends - other_starts) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def check_table(table: pd.DataFrame, what: str, columns: Sequence[str]) -> None:
    """Refuse a table of segments that cannot be judged.

    Args:
        table: a segment per row; the columns start, end (seconds) and score must hold finite numbers.
        what: its name in messages, e.g. "predictions".
        columns: those it must have.

    Raises:
        ValueError: a column, a video or a label is missing, a number is not finite, or a segment ends before
            it starts; names the first such row by video and values, and how many there are.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"{what}: no column {missing[0]!r}; there are {', '.join(map(str, table.columns)) or 'none'}")
    for name in ("video", "label", "verb", "noun"):
        if name in columns:
            _refuse(table, table[name].isna().to_numpy(), what, f"without a {name}")
    for name in ("start", "end", "score"):
        if name in columns:
            _refuse(table, ~np.isfinite(as_numbers(table, name, what)), what, f"whose {name} is not a finite number")
    if "start" in columns and "end" in columns:
        reversed_ = table["end"].to_numpy(float) < table["start"].to_numpy(float)
        _refuse(table, reversed_, what, "that end before they start")


def as_numbers(table: pd.DataFrame, column: str, what: str) -> Floats:
    """A column as numbers, what is missing as NaN; raises ValueError where it holds something else."""
    try:
        return table[column].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: column {column!r} does not hold numbers: {error}") from None


def describe(row: pd.Series) -> str:
    """A row of a table of segments in words: its video, then its other values."""
    values = (f"{name} {value!s}" for name, value in row.items() if name != "video")
    return f"video {row.get('video')!s}: {', '.join(values)}"


def _refuse(table: pd.DataFrame, wrong: npt.NDArray[np.bool_], what: str, fault: str) -> None:
    if wrong.any():
        first = describe(table.iloc[int(np.argmax(wrong))])
        raise ValueError(f"{what}: {int(wrong.sum())} of {len(table)} segments {fault}; the first is {first}")


Ints = npt.NDArray[np.int64]


_AT_ONCE = 1 << 21
"""Pairs of a prediction and a ground-truth segment whose overlap is in memory together; about 200 MB."""


@dataclass(frozen=True)
class Grouped:
    """Segments, each with the number of its group; only segments of the same group can match."""

    group: Ints
    start: Floats
    end: Floats


@dataclass(frozen=True)
class Candidates:
    """The ground-truth segments that each prediction may match, best overlap first.

    Those of prediction p are `truth[first[p]:first[p + 1]]`, with overlaps `overlap[first[p]:first[p + 1]]`.
    """

    first: Ints
    truth: Ints
    overlap: Floats
    truths: int


def candidates(truth: Grouped, predicted: Grouped, at_least: float) -> Candidates:
    """All pairs of the same group whose intersection over union is `at_least` this.

    Args:
        truth: ground-truth segments, sorted by group. Among equal overlaps the one that stands first is preferred.
        predicted: predictions in any order; a group that no ground truth has gives no pairs.
        at_least: above 0.
    """
    groups, begin, size = np.unique(truth.group, return_index=True, return_counts=True)
    place = np.minimum(np.searchsorted(groups, predicted.group), len(groups) - 1)
    known = groups[place] == predicted.group
    begin, size = begin[place], np.where(known, size[place], 0)
    total = np.concatenate([[0], np.cumsum(size)])
    kept_prediction, kept_truth, kept_overlap = [], [], []
    low = 0
    while low < len(size):
        high = max(low + 1, int(np.searchsorted(total, total[low] + _AT_ONCE, side="right")) - 1)
        number = np.repeat(np.arange(low, high), size[low:high])
        other = np.arange(len(number)) - (total[number] - total[low]) + begin[number]
        overlap = iou(predicted.start[number], predicted.end[number], truth.start[other], truth.end[other])
        near = np.flatnonzero(overlap >= at_least)
        order = near[np.lexsort((-overlap[near], number[near]))]
        kept_prediction.append(number[order])
        kept_truth.append(other[order])
        kept_overlap.append(overlap[order])
        low = high
    pairs = np.bincount(_joined(kept_prediction, np.int64), minlength=len(size))
    first = np.concatenate([[0], np.cumsum(pairs)])
    return Candidates(first, _joined(kept_truth, np.int64), _joined(kept_overlap, np.float64), len(truth.group))


def greedy(pairs: Candidates, threshold: float) -> npt.NDArray[np.bool_]:
    """Whether each prediction finds a segment when all choose in turn the best one that nobody before them took.

    Predictions choose in the order in which they stand. Instead of one after the other they choose in rounds: everyone
    asks for the best segment not yet denied to them, a segment goes to the first in order who ever asked for it, and
    whoever is denied it, even later, goes on to their next. That ends in the same matching, since an earlier
    prediction never loses a segment to a later one.
    """
    enough = np.concatenate([[0], np.cumsum(pairs.overlap >= threshold)])
    place = pairs.first[:-1].copy()
    stop = place + enough[pairs.first[1:]] - enough[place]
    nobody = len(place)
    holder = np.full(pairs.truths, nobody)
    asking = np.flatnonzero(place < stop)
    while len(asking):
        wanted = pairs.truth[place[asking]]
        before = holder[wanted]
        np.minimum.at(holder, wanted, asking)
        won = holder[wanted] == asking
        ousted = before[won]
        asking = np.concatenate([asking[~won], ousted[ousted < nobody]])
        place[asking] += 1
        asking = asking[place[asking] < stop[asking]]
    found = np.zeros(nobody, bool)
    found[holder[holder < nobody]] = True
    return found


def _joined(parts: list[npt.NDArray], dtype: type) -> npt.NDArray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


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
    ground_truth: pd.DataFrame,
    predictions: pd.DataFrame,
    thresholds: Sequence[float] = EK100_THRESHOLDS,
    tasks: Sequence[str] = TASKS,
) -> dict[str, AveragePrecision]:
    """Average precision of verbs, nouns and actions, which are pairs of both, by one score (EPIC-KITCHENS-100).

    Args:
        ground_truth: columns video, verb, noun, start, end, a row per segment.
        predictions: the same and score.
        thresholds: as in `mean_average_precision`.
        tasks: some of `TASKS`.

    Raises:
        ValueError: as `mean_average_precision`.
    """
    for table, what in ((ground_truth, "ground truth"), (predictions, "predictions")):
        check_table(table, what, ("video", "verb", "noun"))
    return {
        task: mean_average_precision(with_label(ground_truth, task), with_label(predictions, task), thresholds)
        for task in tasks
    }


def of_known_actions(ground_truth: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions whose pair of a verb and a noun occurs in the ground truth, in any video.

    The authors' evaluation scores these alone, for verbs and nouns too (`utils/eval_tal` of their first release). For
    actions that changes nothing; of verbs and nouns it takes many false positives away.

    Args:
        ground_truth: columns verb and noun.
        predictions: the same and others.
    """
    known = set(zip(ground_truth["verb"], ground_truth["noun"], strict=True))
    pairs = zip(predictions["verb"], predictions["noun"], strict=True)
    return predictions[np.fromiter((pair in known for pair in pairs), bool, len(predictions))]


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


UNITS = 100
"""Most units that are left out one by one; more videos than that are left out in as many groups."""


def units_of(videos: Sequence[str], most: int = UNITS) -> npt.NDArray[np.str_]:
    """The unit of each video: its own name, or of more than `most` videos a group that depends on its name alone."""
    if len(videos) <= most:
        return np.array(videos)
    return np.array([f"group {int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % most}" for name in videos])


def jackknife(
    videos: Sequence[str],
    measure: Callable[[npt.NDArray[np.str_]], dict[str, float]],
    whole: dict[str, float] | None = None,
    most: int = UNITS,
) -> dict[str, npt.NDArray]:
    """Pseudo-values of every metric.

    Args:
        videos: names of all videos.
        measure: the metrics on some of them, given by name.
        whole: the metrics on all of them, where they are known already.
        most: units at most.

    Returns:
        `videos`: names of the units in order [U]; and for each metric `shares_<metric>`, float64 [U].
    """
    names, units = np.array(videos), units_of(videos, most)
    distinct = np.unique(units)
    whole, count = whole or measure(names), len(distinct)
    without = [measure(names[units != unit]) for unit in distinct] if count > 1 else [whole]
    values = {
        f"shares_{metric}": np.array([count * value - (count - 1) * part[metric] for part in without])
        for metric, value in whole.items()
    }
    return {"videos": distinct, **values}
