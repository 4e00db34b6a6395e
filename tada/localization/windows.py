"""Windows of a video's features, which BMN takes one by one (Appendix A.2; Qing et al., 2021a).

A video is divided into cells of equal length, and a window is `temporal` of them. One window is the whole video (HACS);
or windows of a fixed length slide over it (EPIC-KITCHENS-100: 53.33 s, every 26.67 s). Each begins where a cell of the
video begins, so that predictions on overlapping windows can be averaged cell by cell. Windows run on past the video's
end, and are zero there.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tada.base import TadaError
from tada.localization.features import Features, check_features
from tada.localization.videos import Untrimmed
from tada.runs.localization_settings import BmnSettings

INSIDE = 0.999
"""Share of an action that must lie within a window to count as inside; less than 1 for rounding only."""

LEAST = 0.2
"""Seconds of a video that a window must hold, unless it is the first (the authors' code)."""


@dataclass(frozen=True)
class WindowGrid:
    """Cells of a video, and the windows over them.

    Attributes:
        cell: length of a cell in seconds.
        cells: cells that cover the video; the last may reach beyond its end.
        temporal: cells in a window.
        firsts: the first cell of each window.
    """

    cell: float
    cells: int
    temporal: int
    firsts: tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """A part of a video, as BMN takes it.

    Attributes:
        video: the video's name.
        first: the window's first cell among the video's.
        cell: length of a cell in seconds.
        features: float32 [C, T], zero where the window reaches beyond the video.
        segments: float64 [n, 2], start and end of the actions that lie inside, in cells from the window's start.
    """

    video: str
    first: int
    cell: float
    features: np.ndarray
    segments: np.ndarray

    @property
    def begin(self) -> float:
        """Where the window begins, in seconds of the video."""
        return self.first * self.cell

    @property
    def length(self) -> float:
        """How long the window is, in seconds."""
        return self.features.shape[1] * self.cell


def grid_of(duration: float, settings: BmnSettings) -> WindowGrid:
    """Cells and windows of a video of `duration` seconds.

    Args:
        duration: of the video in seconds.
        settings: `window` None makes one window that is the whole video; `stride` is rounded to whole cells, and half a
            window if None. With `past_end` a window begins every stride as long as `LEAST` of the video is left;
            otherwise the last window ends with the video, if that is longer than a window.

    Raises:
        TadaError: a duration, length or stride that is not positive, or a stride that leaves gaps.
    """
    length, stride, temporal = settings.window, settings.stride, settings.temporal
    if not (math.isfinite(duration) and duration > 0):
        raise TadaError(f"a video of {duration} s cannot be divided into windows")
    if length is None:
        return WindowGrid(duration / temporal, temporal, temporal, (0,))
    stride = length / 2 if stride is None else stride
    if not 0 < stride <= length:
        raise TadaError(f"windows of {length} s every {stride} s do not cover a video; 0 < stride <= length is needed")
    cell = length / temporal
    cells = max(1, math.ceil(duration / cell - 1e-6))
    step = min(max(1, round(stride / cell)), temporal)
    if settings.past_end:
        firsts = [first for first in range(0, cells, step) if first == 0 or duration - first * cell >= LEAST]
        return WindowGrid(cell, cells, temporal, tuple(firsts))
    last = max(0, cells - temporal)
    return WindowGrid(cell, cells, temporal, (*range(0, last, step), last))


def at_times(video: Untrimmed, features: Features, times: np.ndarray) -> np.ndarray:
    """Features at `times` (seconds, [T]) by linear interpolation, float32 [C, T]; zero after the video's end.

    Before the first clip's centre and after the last one's they are that clip's. Only the rows that are needed are
    read, so `features.values` may be a memory map.

    Raises:
        TadaError: features that are not finite.
    """
    centres = np.asarray(features.times)
    right = np.searchsorted(centres, times).clip(1, max(1, len(centres) - 1))
    left, right = right - 1, np.minimum(right, len(centres) - 1)
    gap = np.where(right > left, centres[right] - centres[left], 1.0)
    share = ((times - centres[left]) / gap).clip(0, 1)[:, None].astype(np.float32)
    with np.errstate(invalid="ignore"):  # infinities get their message below
        values = np.asarray(features.values[left]) * (1 - share) + np.asarray(features.values[right]) * share
    values[times > video.duration] = 0
    _check(video, values, times, "cells")
    return np.ascontiguousarray(values.T, dtype=np.float32)


def aligned(
    video: Untrimmed, features: Features, begin: float, length: float | None, spacing: float, temporal: int
) -> np.ndarray:
    """The features whose clips have their centre in a window, resampled with aligned corners, float32 [C, T].

    They are resampled linearly by their number, so that the first becomes the first cell and the last the last one, as
    in the authors' code. A window has round(length / spacing) of them; after the video's end they are zero.

    Args:
        video: whose features they are.
        features: of the whole video.
        begin: of the window in seconds.
        length: of the window in seconds; None: the video's, with as many features as there are.
        spacing: seconds from a clip to the next.
        temporal: cells of the window, T.

    Raises:
        TadaError: features that are not finite.
    """
    end = video.duration if length is None else begin + length
    first = int(np.searchsorted(features.times, begin))
    last = int(np.searchsorted(features.times, end, side="right"))
    count = max(1, last - first if length is None else round(length / spacing))
    values = np.zeros((count, features.values.shape[1]), np.float32)
    held = min(last - first, count)
    values[:held] = features.values[first : first + held]
    _check(video, values[:held], features.times[first : first + held], "clips")
    places = np.linspace(0, count - 1, temporal)
    left = np.floor(places).astype(int)
    right = np.minimum(left + 1, count - 1)
    share = (places - left)[:, None].astype(np.float32)
    return np.ascontiguousarray((values[left] * (1 - share) + values[right] * share).T)


def _check(video: Untrimmed, values: np.ndarray, times: np.ndarray, what: str) -> None:
    """Raise a TadaError with the time of the first of the values [n, C] that is not finite."""
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise TadaError(
            f"features of video {video.name}: not finite around {times[bad][0]:.2f} s ({bad.sum()} of {len(bad)} "
            f"{what}); extract them again"
        )


def segments_inside(video: Untrimmed, grid: WindowGrid, first: int) -> np.ndarray:
    """Actions that lie inside the window from cell `first` on, float64 [n, 2] in cells from its start."""
    segments = np.array([(s.start, s.end) for s in video.segments], dtype=np.float64).reshape(-1, 2)
    cells = segments / grid.cell - first
    cut = cells.clip(0, grid.temporal)
    return cut[(cut[:, 1] - cut[:, 0]) >= INSIDE * (cells[:, 1] - cells[:, 0])]


def windows_of(
    video: Untrimmed, features: Features, settings: BmnSettings, spacing: float, channels: int | None = None
) -> list[Window]:
    """All windows of a video, in the order of time.

    Args:
        video: the video.
        features: of its clips.
        settings: which windows, and how features are resampled.
        spacing: seconds from a clip to the next.
        channels: that the features must have; None: any.

    Raises:
        TadaError: as `grid_of` and `check_features`, or features that are not finite.
    """
    check_features(features, video, channels=channels, whole=True)
    grid = grid_of(video.duration, settings)
    return [_window(video, features, grid, first, settings, spacing) for first in grid.firsts]


class TrainingWindows:
    """The windows of many videos that hold an action; `windows[i]` reads the features of its video."""

    def __init__(
        self,
        videos: Iterable[Untrimmed],
        load: Callable[[Untrimmed], Features],
        settings: BmnSettings,
        spacing: float,
        channels: int | None = None,
    ) -> None:
        """Windows as in `windows_of`; `load` reads a video's features."""
        self.load, self.settings, self.spacing, self.channels = load, settings, spacing, channels
        self.places = [
            (video, grid, first)
            for video in videos
            for grid in [grid_of(video.duration, settings)]
            for first in grid.firsts
            if len(segments_inside(video, grid, first))
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Window:
        video, grid, first = self.places[index]
        features = self.load(video)
        check_features(features, video, channels=self.channels, whole=True)
        return _window(video, features, grid, first, self.settings, self.spacing)


def _window(
    video: Untrimmed, features: Features, grid: WindowGrid, first: int, settings: BmnSettings, spacing: float
) -> Window:
    if settings.aligned_corners:
        values = aligned(video, features, first * grid.cell, settings.window, spacing, grid.temporal)
    else:
        values = at_times(video, features, (first + 0.5 + np.arange(grid.temporal)) * grid.cell)
    if settings.unit_features:
        values /= np.linalg.norm(values, axis=0).clip(1e-12)
    return Window(video.name, first, grid.cell, values, segments_inside(video, grid, first))
