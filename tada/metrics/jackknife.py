"""How much a localization metric depends on which videos it was measured on: the jackknife over videos.

Mean average precision is no mean over videos, so that two networks cannot be paired video by video. Leaving out one
video at a time gives each a pseudo-value, n * metric - (n - 1) * metric without it (Tukey, 1958). Their mean is the
metric but for its bias, and their variance over n is its variance, that of differences between networks included.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

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
