"""What BMN should say of a window: where actions start and end, and how well each proposal fits one (Lin et al., 2019).

All lengths are in cells of the window, of which there are T. Boundaries lie between cells: position t is where cell t
begins. Proposal (d, t) goes from t to t + d + 1.
"""

from typing import NamedTuple

import numpy as np

BOUNDARY_REGION = 3.0
"""Length of the region around a boundary in which positions count as it (Lin et al.'s released code), in cells."""


class Targets(NamedTuple):
    """Targets of a window (with a first dimension N, of a batch).

    Attributes:
        start: float32 [T], how much of each position's cell lies in a region around a start.
        end: float32 [T], the same of ends.
        overlap: float32 [D, T], IoU of proposal (d, t) with the action that it fits best; 0 for proposals that end
            beyond the window.
    """

    start: np.ndarray
    end: np.ndarray
    overlap: np.ndarray


def within(temporal: int, durations: int) -> np.ndarray:
    """Which proposals end within the window, bool [D, T]."""
    return np.arange(durations)[:, None] + np.arange(temporal) < temporal


def boundary_labels(boundaries: np.ndarray, temporal: int) -> np.ndarray:
    """Share of each position's cell that lies within half a region of a boundary [n], float32 [T] (Lin et al., 4.2).

    The cell of position t is t - 0.5 to t + 0.5. Of several boundaries the one that covers most of it counts.
    """
    reach = (BOUNDARY_REGION + 1) / 2 - np.abs(np.arange(temporal) - boundaries[:, None])
    return reach.clip(0, 1).max(0, initial=0).astype(np.float32)


def overlap_map(segments: np.ndarray, temporal: int, durations: int) -> np.ndarray:
    """IoU of every proposal with the best of the actions [n, 2], float32 [D, T] (Lin et al., 4.2)."""
    start = np.arange(temporal)
    end = start + np.arange(1, durations + 1)[:, None]
    best = np.zeros((durations, temporal), np.float32)
    for first, last in segments:
        shared = (np.minimum(end, last) - np.maximum(start, first)).clip(0)
        best = np.maximum(best, shared / (end - start + (last - first) - shared))
    return np.where(within(temporal, durations), best, 0).astype(np.float32)


def targets_of(segments: np.ndarray, temporal: int, durations: int) -> Targets:
    """Targets of a window in which the actions [n, 2] happen."""
    return Targets(
        boundary_labels(segments[:, 0], temporal),
        boundary_labels(segments[:, 1], temporal),
        overlap_map(segments, temporal, durations),
    )
