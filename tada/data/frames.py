"""Where the frames of a clip come from: its video file, or a cache (tada.data.cache) with the same two answers."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from tada.data.clips import Clip
from tada.data.images import FrameFolder
from tada.data.video import Video


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
    """Frames of a clip decoded from its video file, or read from its folder of images, each once per request.

    Raises:
        VideoError: the file cannot be used, or ends before the annotated part begins.
    """

    def __init__(self, clip: Clip) -> None:
        if clip.fps is None:
            self._video = Video(clip.path, clip.start, clip.end)
        else:
            self._video = FrameFolder(clip.path, clip.fps, clip.start, clip.end)
        self.length, self.fps = self._video.info.frames, self._video.info.fps

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3]; an index counts from the clip's first frame. Raises VideoError."""
        return self._video.read(indices)
