"""Which frames of a video make a clip: one of each segment, or every so many-th (section 5).

Both follow the released code: a position is continuous until its last step. A class per way, so that a recipe builds
either and the datasets ask both the same two questions.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Sampling(Protocol):
    """Frames of a clip, as indices into a video of `length` frames at `fps` frames per second; int64 [frames]."""

    frames: int

    def train(self, length: int, fps: float, rng: np.random.Generator) -> np.ndarray:
        """A clip drawn at random."""
        ...

    def test(self, length: int, fps: float, clip: int, clips: int) -> np.ndarray:
        """Clip number `clip` (from 0) of `clips` that are spread over the video."""
        ...


@dataclass(frozen=True)
class SegmentSampling:
    """One frame of each of `frames` equal segments of the video (Something-Something-V2)."""

    frames: int

    def train(self, length: int, fps: float, rng: np.random.Generator) -> np.ndarray:
        """A place drawn uniformly inside each segment; `fps` plays no part."""
        return self._place(length, rng.random(self.frames))

    def test(self, length: int, fps: float, clip: int, clips: int) -> np.ndarray:
        """The same fraction of each segment: (clip + 1) / clips, or the middle for a single clip."""
        return self._place(length, 0.5 if clips == 1 else (clip + 1) / clips)

    def _place(self, length: int, fraction: np.ndarray | float) -> np.ndarray:
        places = (np.arange(self.frames) + fraction) * (length / self.frames)
        return np.rint(places.clip(0, length - 1)).astype(np.int64)  # half to even, as torch.round


@dataclass(frozen=True)
class IntervalSampling:
    """Every `interval`-th frame of a video at `target_fps` (Kinetics-400, EPIC-KITCHENS-100).

    A video at another rate is stepped through in proportion, so that a clip lasts equally long in any video.
    """

    frames: int
    interval: int
    target_fps: float

    def train(self, length: int, fps: float, rng: np.random.Generator) -> np.ndarray:
        """A clip that starts at a uniformly drawn place."""
        return self._place(length, fps, rng.random())

    def test(self, length: int, fps: float, clip: int, clips: int) -> np.ndarray:
        """A clip that starts at the fraction clip / clips of all starts, or in the middle for a single clip."""
        return self._place(length, fps, 0.5 if clips == 1 else clip / clips)

    def _place(self, length: int, fps: float, fraction: float) -> np.ndarray:
        span = self.frames * self.interval * fps / self.target_fps
        start = max(length - span, 0.0) * fraction
        places = np.linspace(start, start + span - 1, self.frames)
        return places.clip(0, length - 1).astype(np.int64)  # truncated, as torch's .long()
