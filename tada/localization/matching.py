"""Which predictions find a ground-truth segment: the matching of the official evaluations, for all labels at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tada.localization.overlap import Floats, iou

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
