"""Average recall of proposals at an average number of them per video (AR@AN), and sliding windows to compare with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tada.metrics.average_precision import HACS_THRESHOLDS, Floats, check_table, iou


@dataclass(frozen=True)
class Recall:
    """Share of the ground truth that proposals find.

    Attributes:
        counts: [counts], proposals per video at most.
        numbers: [counts], proposals per video that there were on average: AN.
        thresholds: [thresholds], intersections over union to reach.
        values: [counts, thresholds], recall as a share of 1.
    """

    counts: tuple[int, ...]
    numbers: Floats
    thresholds: tuple[float, ...]
    values: Floats

    @property
    def average(self) -> Floats:
        """Mean over thresholds, [counts]: AR@AN."""
        return self.values.mean(axis=1)


def average_recall(
    ground_truth: pd.DataFrame,
    proposals: pd.DataFrame,
    counts: Sequence[int] = (1, 5, 10, 50, 100),
    thresholds: Sequence[float] = HACS_THRESHOLDS,
) -> Recall:
    """How much of the ground truth the best proposals of each video find, whatever its labels.

    A segment is found if any of the first `count` proposals of its video, by score, overlaps it enough; one proposal
    may find several. Equal scores are ordered by start and end, so that the order of rows does not matter.

    Args:
        ground_truth: columns video, start, end (seconds); other columns are ignored.
        proposals: columns video, start, end and score. Videos without ground truth are ignored.
        counts: proposals per video, each at least 1.
        thresholds: intersections over union, above 0 and up to 1.

    Raises:
        ValueError: no ground truth, a missing column, a number that is not finite, a segment that ends before it
            starts, or counts or thresholds outside their range.
    """
    columns = ("video", "start", "end")
    check_table(ground_truth, "ground truth", columns)
    check_table(proposals, "proposals", (*columns, "score"))
    if ground_truth.empty:
        raise ValueError("ground truth: no segments, so recall is undefined")
    if not counts or min(counts) < 1:
        raise ValueError(f"counts {list(counts)}: at least one is needed, each at least 1")
    if not thresholds or not 0 < min(thresholds) <= max(thresholds) <= 1:
        raise ValueError(f"thresholds {list(thresholds)}: at least one is needed, each above 0 and up to 1")
    by_video = dict(iter(proposals.groupby("video", sort=False)))
    limits = np.round(thresholds, 9)
    found = np.zeros((len(counts), len(thresholds)))
    used = np.zeros(len(counts))
    videos = 0
    for video, segments in ground_truth.groupby("video", sort=False):
        videos += 1
        if video in by_video:
            best = _best_so_far(segments, by_video[video])
            taken = np.minimum(counts, best.shape[1])
            used += taken
            found += (best[:, taken - 1, None] >= limits).sum(axis=0)
    return Recall(tuple(counts), used / videos, tuple(limits.tolist()), found / len(ground_truth))


def sliding_windows(duration: float, lengths: Sequence[float], overlap: float = 0.5) -> tuple[Floats, Floats]:
    """Starts and ends of uniform windows over a video, evenly spread from its beginning to its end.

    Args:
        duration: of the video in seconds.
        lengths: of the windows in seconds; one longer than the video becomes the whole video, once.
        overlap: the share by which neighbours of a length overlap at least, from 0 up to but not including 1.

    Raises:
        ValueError: a duration or length that is not positive, or an overlap outside its range.
    """
    if not (duration > 0 and len(lengths) and min(lengths) > 0 and 0 <= overlap < 1):
        given = f"duration {duration}, lengths {list(lengths)}, overlap {overlap}"
        raise ValueError(f"{given}: the first two must be positive, and 0 <= overlap < 1")
    starts, ends = [], []
    for length in sorted({min(float(length), float(duration)) for length in lengths}):
        number = 1 + int(np.ceil((duration - length) / (length * (1 - overlap)) - 1e-9))
        first = np.linspace(0.0, duration - length, number)
        starts.append(first)
        ends.append(first + length)
    return np.concatenate(starts), np.minimum(np.concatenate(ends), duration)


def uniform_proposals(
    durations: Mapping[str, float], lengths: Sequence[float], overlap: float = 0.5, seed: int = 0
) -> pd.DataFrame:
    """Sliding windows of every video as a table of proposals with random scores, since none is preferred.

    What trained proposals must beat: the same lengths everywhere, and no look at the video.

    Args:
        durations: of each video in seconds.
        lengths: as in `sliding_windows`, e.g. quantiles of the training segments' lengths.
        overlap: as in `sliding_windows`.
        seed: of the scores; their order for a video does not depend on the other videos.

    Returns:
        Columns video, start, end, score.

    Raises:
        ValueError: as `sliding_windows`.
    """
    parts = []
    for video, duration in durations.items():
        starts, ends = sliding_windows(duration, lengths, overlap)
        generator = np.random.default_rng([seed, *video.encode()])
        scores = generator.random(len(starts))
        parts.append(pd.DataFrame({"video": video, "start": starts, "end": ends, "score": scores}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["video", "start", "end", "score"])


def _best_so_far(segments: pd.DataFrame, proposals: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The best overlap of each segment with the first 1, 2, ... proposals of its video, [segments, proposals]."""
    start, end, score = (proposals[name].to_numpy(np.float64) for name in ("start", "end", "score"))
    order = np.lexsort((end, start, -score))
    left, right = (segments[name].to_numpy(np.float64)[:, None] for name in ("start", "end"))
    return np.maximum.accumulate(iou(left, right, start[order], end[order]), axis=1)
