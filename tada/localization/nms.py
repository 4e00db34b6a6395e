"""Soft non-maximum suppression of proposals (Bodla et al., 2017), in the form that BMN uses it (appendix A.2)."""

import numpy as np
import numpy.typing as npt

from tada.localization.overlap import Floats, iou

_COMPACT = 128
"""Choices between which the chosen ones stay in the arrays; removing each at once would take longer."""


def soft_nms(
    starts: Floats,
    ends: Floats,
    scores: Floats,
    duration: float,
    *,
    sigma: float = 0.4,
    low: float = 0.25,
    gain: float = 0.65,
    keep: int | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Proposals from the best on, each weakening those that overlap it and come later.

    Whenever one is chosen, every other one left that overlaps it by more than `low + gain * width` has its score
    multiplied by exp(-overlap² / sigma). The width is that of the chosen one as a share of the video, so that long
    proposals suppress only what is nearly the same.

    Args:
        starts: [n], seconds or any other unit.
        ends: [n], the same unit.
        scores: [n], not negative. Among equal ones comes first which had the higher score before decay, then which
            starts, then which ends earlier.
        duration: of the video, the same unit.
        sigma: spread of the decay; greater is milder.
        low: overlap above which the shortest proposals suppress.
        gain: what a proposal as long as the video adds to that.
        keep: stop after so many; by default all n are returned.

    Returns:
        Indices of the chosen proposals in the order of choice, and the scores they then had.

    Raises:
        ValueError: arrays of different lengths, a number that is not finite, a negative score, a proposal that ends
            before it starts, or a duration that is not positive.
    """
    starts, ends, scores = (np.asarray(values, np.float64) for values in (starts, ends, scores))
    _check(starts, ends, scores, duration)
    rank = np.lexsort((ends, starts, -scores))
    start, end, left = starts[rank], ends[rank], scores[rank]
    wanted = len(rank) if keep is None else min(keep, len(rank))
    chosen, final = np.empty(wanted, np.int64), np.empty(wanted)
    for number in range(wanted):
        best = int(np.argmax(left))  # of equal ones the first: those left keep their order
        chosen[number], final[number] = rank[best], left[best]
        overlap = iou(start, end, start[best], end[best])
        near = np.flatnonzero(overlap > low + gain * (end[best] - start[best]) / duration)
        left[near] *= np.exp(-np.square(overlap[near]) / sigma)
        left[best] = -1.0
        if number % _COMPACT == _COMPACT - 1:
            open_ = left >= 0
            rank, start, end, left = rank[open_], start[open_], end[open_], left[open_]
    return chosen, final


def _check(starts: Floats, ends: Floats, scores: Floats, duration: float) -> None:
    if not starts.shape == ends.shape == scores.shape == (starts.size,):
        raise ValueError(f"starts {starts.shape}, ends {ends.shape} and scores {scores.shape} do not fit: all [n]")
    if not np.isfinite([starts, ends, scores]).all():
        raise ValueError("starts, ends and scores must be finite numbers")
    if (scores < 0).any() or (ends < starts).any():
        wrong = int(np.argmax((scores < 0) | (ends < starts)))
        raise ValueError(
            f"proposal {wrong} from {starts[wrong]} to {ends[wrong]} with score {scores[wrong]}: "
            "it must not end before it starts, nor have a negative score"
        )
    if not duration > 0:
        raise ValueError(f"duration {duration} is not positive")
