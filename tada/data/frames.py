"""Where the frames of a clip come from: its video file, or a cache (tada.data.cache) with the same two answers."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from tada.data.clips import Clip
from tada.data.video import Video, VideoError


class Frames(Protocol):
    """The frames of one clip: how many, at which rate (frames per second), and those asked for."""

    length: int
    fps: float

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3]; an index counts from the clip's first frame. Raises VideoError."""
        ...


Source = Callable[[Clip], Frames]
"""Opens a clip's frames; raises VideoError where they cannot be used."""


class FileFrames:
    """Frames of a clip decoded from its video file, each once per request.

    Raises:
        VideoError: the file cannot be used, or ends before the annotated part begins.
    """

    def __init__(self, clip: Clip) -> None:
        self._video = Video(clip.path)
        info = self._video.info
        self.fps = info.fps
        self._first = 0 if clip.start is None else math.floor(clip.start * info.fps + 0.5)
        end = info.frames if clip.end is None else math.floor(clip.end * info.fps + 0.5)
        self.length = max(1, min(end, info.frames) - self._first)
        if self._first >= info.frames:
            raise VideoError(clip.path, f"ends at {info.frames / info.fps:.2f} s, before {clip.name} begins")

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3]; an index counts from the clip's first frame. Raises VideoError."""
        return self._video.read(np.asarray(indices) + self._first)
