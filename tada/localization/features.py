"""Features of a whole video: one vector for each of many short clips."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Features:
    """Features of a video's clips, in the order of time.

    Attributes:
        values: float32 [n, C].
        times: float64 [n], the centre of each clip in seconds.
    """

    values: np.ndarray
    times: np.ndarray
