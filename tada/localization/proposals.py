"""Proposals of a video: from BMN's predictions on its windows to soft-NMS (Appendix A.2).

The predictions of overlapping windows are averaged. A proposal goes from a likely start to a likely end (Lin et al.,
2019). Soft non-maximum suppression (Bodla et al., 2017), in the form that BMN uses, then weakens those that overlap a
better one.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tada.localization.bmn_training import within
from tada.localization.features import Features
from tada.localization.videos import Untrimmed
from tada.localization.windows import Window, WindowGrid, grid_of, windows_of
from tada.metrics.average_precision import Floats, iou
from tada.models.bmn import BMN
from tada.runs.localization_settings import BmnSettings


class Proposals(NamedTuple):
    """Proposals of one video, best first, before soft-NMS.

    Attributes:
        starts: float64 [n], seconds.
        ends: float64 [n], seconds, after the starts and within the video.
        scores: float64 [n].
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray


class Dense(NamedTuple):
    """Probabilities over a whole video of n cells; see `tada.models.bmn.Maps`.

    Attributes:
        start: float64 [p], an action starts where cell t begins. There are p = n positions; or n + 1, where the video's
            end is one.
        end: float64 [p], an action ends there.
        regression: float64 [D, n], of the proposal of d + 1 cells from t on.
        classification: float64 [D, n].
        known: bool [D, n], whether some window held the whole proposal, and it ends at a position.
    """

    start: np.ndarray
    end: np.ndarray
    regression: np.ndarray
    classification: np.ndarray
    known: np.ndarray


def propose(model: BMN, video: Untrimmed, features: Features, settings: BmnSettings, spacing: float) -> Proposals:
    """Proposals of a video.

    Args:
        model: the network that `settings` describe.
        video: the video.
        features: of its clips.
        settings: windows, boundaries and scores.
        spacing: seconds from a clip to the next.

    Raises:
        TadaError: features that are not finite, not the network's or not the video's.
    """
    grid = grid_of(video.duration, settings)
    windows = windows_of(video, features, settings, spacing, model.channels)
    maps = average(windows, predict(model, windows, settings.batch), grid, settings.ends_with_video)
    return candidates(maps, grid, video.duration, settings)


@torch.inference_mode()
def predict(model: BMN, windows: list[Window], batch: int) -> list[tuple[np.ndarray, ...]]:
    """Each window's probabilities: start [T], end [T], regression [D, T] and classification [D, T]."""
    device = next(model.parameters()).device
    model.eval()
    predictions: list[tuple[np.ndarray, ...]] = []
    for first in range(0, len(windows), batch):
        features = np.stack([window.features for window in windows[first : first + batch]])
        maps = model(torch.from_numpy(features).to(device)).sigmoid()
        predictions += zip(*(part.double().cpu().numpy() for part in maps), strict=True)
    return predictions


def average(
    windows: list[Window], predictions: list[tuple[np.ndarray, ...]], grid: WindowGrid, ends_with_video: bool
) -> Dense:
    """The mean of what `predict` returns, over the windows that see a position or hold a proposal (Appendix A.2).

    With `ends_with_video` proposals can end with the last cell, else with the one before it, as the authors' do; that
    of a video of a single cell is the video.
    """
    durations, temporal = predictions[0][2].shape
    size = max(grid.cells, grid.firsts[-1] + temporal) + 1
    sums = [np.zeros(size), np.zeros(size), np.zeros((durations, size)), np.zeros((durations, size))]
    positions, proposals = np.zeros(size), np.zeros((durations, size))
    held = within(temporal, durations)
    for window, parts in zip(windows, predictions, strict=True):
        place = slice(window.first, window.first + temporal)
        for total, part in zip(sums, parts, strict=True):
            total[..., place] += part if part.ndim == 1 else part * held
        positions[place] += 1
        proposals[:, place] += held
    count = max(grid.cells + ends_with_video, 2)
    start, end = (total[:count] / positions[:count].clip(1) for total in sums[:2])
    inside = slice(0, grid.cells)
    regression, classification = (total[:, inside] / proposals[:, inside].clip(1) for total in sums[2:])
    fits = np.arange(grid.cells) + np.arange(1, durations + 1)[:, None] < count
    return Dense(start, end, regression, classification, (proposals[:, inside] > 0) & fits)


def boundaries(probability: np.ndarray, peak: float) -> np.ndarray:
    """Positions that are local peaks or above `peak` of the highest, bool of the same shape (Lin et al., 4.4)."""
    likely = probability > peak * probability.max()
    middle = probability[1:-1]
    likely[1:-1] |= (middle > probability[:-2]) & (middle > probability[2:])
    return likely


def candidates(maps: Dense, grid: WindowGrid, duration: float, settings: BmnSettings) -> Proposals:
    """Proposals from each likely start to each likely end, with the product of both confidences' powers as their score.

    The first and the last position count as likely too (Lin et al.'s released code). Boundary probabilities select
    proposals and do not enter the score (the published configuration).
    """
    starts, ends = boundaries(maps.start, settings.peak), boundaries(maps.end, settings.peak)
    starts[0] = ends[-1] = True
    durations, cells = maps.known.shape
    after = np.arange(cells) + np.arange(1, durations + 1)[:, None]
    duration_index, first = np.nonzero(maps.known & starts[:cells] & ends[after.clip(max=len(ends) - 1)])
    last = first + duration_index + 1
    classification = maps.classification[duration_index, first] ** settings.classification_power
    score = classification * maps.regression[duration_index, first] ** settings.regression_power
    best = np.lexsort((last, first, -score))  # of equal ones the earlier first
    seconds = (first[best] * grid.cell, np.minimum(last[best] * grid.cell, duration))
    return Proposals(*seconds, score[best])


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
    """Select proposals from the best on; each weakens those that overlap it and come later.

    When a proposal is selected, each of the others that overlaps it by more than `low + gain * width` has its score
    multiplied by exp(-overlap² / sigma). The width is that of the selected one as a share of the video, so that long
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
        Indices of the selected proposals in the order of selection, and the scores that they had then.

    Raises:
        ValueError: arrays of different lengths, a number that is not finite, a negative score, a proposal that ends
            before it starts, or a duration that is not positive.
    """
    starts, ends, scores = (np.asarray(values, np.float64) for values in (starts, ends, scores))
    _check(starts, ends, scores, duration)
    rank = np.lexsort((ends, starts, -scores))
    start, end, left = starts[rank], ends[rank], scores[rank]
    wanted = len(rank) if keep is None else min(keep, len(rank))
    order, final = np.empty(wanted, np.int64), np.empty(wanted)
    by_start = np.argsort(start, kind="stable")
    sorted_start, longest = start[by_start], (end - start).max(initial=0)
    for number in range(wanted):
        best = int(np.argmax(left))  # of equal ones the first
        order[number], final[number] = rank[best], left[best]
        # Only what starts before its end, and less than the longest before its start, can overlap it.
        since, until = np.searchsorted(sorted_start, [start[best] - longest, end[best]])
        near = by_start[since:until]
        overlap = iou(start[near], end[near], start[best], end[best])
        weakened = overlap > low + gain * (end[best] - start[best]) / duration
        left[near[weakened]] *= np.exp(-np.square(overlap[weakened]) / sigma)
        left[best] = -np.inf
    return order, final


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
