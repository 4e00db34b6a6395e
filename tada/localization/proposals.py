"""Proposals of a video: what BMN says of its windows, averaged, and the pairs of boundaries that it holds likely."""

from typing import NamedTuple

import numpy as np
import torch

from tada.localization.features import Features
from tada.localization.settings import BmnSettings
from tada.localization.targets import within
from tada.localization.videos import Untrimmed
from tada.localization.windows import Grid, Window, grid_of, windows_of
from tada.models.bmn import BMN


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
        start: float64 [n + 1], an action starts where cell t begins; the last entry is the video's end.
        end: float64 [n + 1], an action ends there.
        regression: float64 [D, n], of the proposal of d + 1 cells from t on.
        classification: float64 [D, n].
        known: bool [D, n], whether some window held the whole proposal.
    """

    start: np.ndarray
    end: np.ndarray
    regression: np.ndarray
    classification: np.ndarray
    known: np.ndarray


def propose(model: BMN, video: Untrimmed, features: Features, settings: BmnSettings) -> Proposals:
    """Proposals of a video.

    Raises:
        TadaError: features that are not finite, not the network's or not the video's.
    """
    grid = grid_of(video.duration, settings.window, settings.stride, model.temporal)
    windows = windows_of(video, features, settings.window, settings.stride, model.temporal, model.channels)
    maps = average(windows, predict(model, windows, settings.batch), grid)
    return candidates(maps, grid, video.duration, settings)


@torch.inference_mode()
def predict(model: BMN, windows: list[Window], batch: int) -> list[tuple[np.ndarray, ...]]:
    """Each window's probabilities: start [T], end [T], regression [D, T] and classification [D, T]."""
    device = next(model.parameters()).device
    model.eval()
    said = []
    for first in range(0, len(windows), batch):
        features = np.stack([window.features for window in windows[first : first + batch]])
        maps = model(torch.from_numpy(features).to(device)).sigmoid()
        said += zip(*(part.double().cpu().numpy() for part in maps), strict=True)
    return said


def average(windows: list[Window], said: list[tuple[np.ndarray, ...]], grid: Grid) -> Dense:
    """The mean over all windows that see a position, or hold a proposal (Appendix A.2)."""
    durations, temporal = said[0][2].shape
    size = max(grid.cells, temporal) + 1
    sums = [np.zeros(size), np.zeros(size), np.zeros((durations, size)), np.zeros((durations, size))]
    positions, proposals = np.zeros(size), np.zeros((durations, size))
    held = within(temporal, durations)
    for window, parts in zip(windows, said, strict=True):
        place = slice(window.first, window.first + temporal)
        for total, part in zip(sums, parts, strict=True):
            total[..., place] += part if part.ndim == 1 else part * held
        positions[place] += 1
        proposals[:, place] += held
    start, end = (total[: grid.cells + 1] / positions[: grid.cells + 1].clip(1) for total in sums[:2])
    inside = slice(0, grid.cells)
    regression, classification = (total[:, inside] / proposals[:, inside].clip(1) for total in sums[2:])
    fits = np.arange(grid.cells) + np.arange(1, durations + 1)[:, None] <= grid.cells
    return Dense(start, end, regression, classification, (proposals[:, inside] > 0) & fits)


def boundaries(probability: np.ndarray, peak: float) -> np.ndarray:
    """Positions that are local peaks or above `peak` of the highest, bool of the same shape (Lin et al., 4.4)."""
    chosen = probability > peak * probability.max()
    middle = probability[1:-1]
    chosen[1:-1] |= (middle > probability[:-2]) & (middle > probability[2:])
    return chosen


def candidates(maps: Dense, grid: Grid, duration: float, settings: BmnSettings) -> Proposals:
    """Proposals from each likely start to each likely end, with classification^1.2 x regression as their score.

    The video's own start and end count as likely too (Lin et al.'s released code). Boundary probabilities select
    proposals and do not enter the score (the published configuration).
    """
    starts, ends = boundaries(maps.start, settings.peak), boundaries(maps.end, settings.peak)
    starts[0] = ends[-1] = True
    durations, cells = maps.known.shape
    after = np.arange(cells) + np.arange(1, durations + 1)[:, None]
    duration_index, first = np.nonzero(maps.known & starts[:cells] & ends[after.clip(max=cells)])
    last = first + duration_index + 1
    classification = maps.classification[duration_index, first] ** settings.classification_power
    score = classification * maps.regression[duration_index, first] ** settings.regression_power
    kept = _best(score, first, last, settings.most, grid.temporal)
    seconds = (first[kept] * grid.cell, np.minimum(last[kept] * grid.cell, duration))
    return Proposals(*seconds, score[kept])


def _best(score: np.ndarray, first: np.ndarray, last: np.ndarray, most: int, temporal: int) -> np.ndarray:
    """Indices of the `most` best among those that start in each `temporal` cells, best first, earlier first if equal.

    A limit for the whole video would leave its quieter parts without any.
    """
    order = np.lexsort((last, first, -score))
    stretch = first[order] // temporal
    rank = np.empty(len(order), int)
    for one in np.unique(stretch):
        rank[stretch == one] = np.arange((stretch == one).sum())
    return order[rank < most]
