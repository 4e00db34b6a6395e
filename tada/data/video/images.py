"""Videos as folders of numbered images, as EPIC-KITCHENS-100 is distributed: frame_0000000001.jpg and so on."""

from bisect import bisect_left
from collections.abc import Sequence
from math import floor
from pathlib import Path

import numpy as np

from tada.data.video.timeline import VideoError, VideoInfo, opened

NAME = "frame_{:010d}.jpg"


class FrameFolder:
    """A folder of frames taken at `fps`, or the part of it from `start` to `end` (seconds; None: beginning, end).

    Its frames are counted by asking for few of them, since a folder of an hour takes long to list.

    Raises:
        VideoError: the folder has no frames, or none at `start`.
    """

    def __init__(self, path: Path, fps: float, start: float | None = None, end: float | None = None) -> None:
        self.path = path
        first = floor((start or 0.0) * fps + 0.5)
        if not self._file(first).is_file():
            there = _count(self, 0)
            reason = f"ends at {there / fps:.2f} s, before {start:.2f} s" if there else f"no {NAME.format(1)} in it"
            raise VideoError(path, reason)
        wanted = None if end is None else max(floor(end * fps + 0.5) - first, 1)
        frames = wanted if wanted and self._file(first + wanted - 1).is_file() else _count(self, first, wanted)
        height, width = self._read(first).shape[:2]
        self.info = VideoInfo(frames, fps, width, height, frames / fps)
        self._first = first

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames by their place, uint8 RGB [n, H, W, 3], each read once; raises VideoError as `Video.read` does."""
        wanted, order = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        if wanted[0] < 0 or wanted[-1] >= self.info.frames:
            raise VideoError(self.path, f"frame {wanted[-1]} was asked for, and it has {self.info.frames} frames")
        images = [self._read(self._first + int(index)) for index in wanted]
        if len({image.shape for image in images}) > 1:
            raise VideoError(self.path, "its frames differ in size")
        return np.stack(images)[order]

    def _file(self, index: int) -> Path:
        return self.path / NAME.format(index + 1)

    def _read(self, index: int) -> np.ndarray:
        path = self._file(index)
        try:
            with opened(path) as (container, stream):
                return next(container.decode(stream)).to_ndarray(format="rgb24")
        except VideoError as error:
            raise VideoError(self.path, f"{path.name}: {error.reason}") from None
        except StopIteration:
            raise VideoError(self.path, f"{path.name}: no picture in it") from None


def check(path: Path, fps: float) -> VideoInfo:
    """What a folder holds, after every frame of it has been read; raises VideoError for the first that cannot be."""
    folder = FrameFolder(path, fps)
    for index in range(folder.info.frames):
        folder.read([index])
    return folder.info


def _count(folder: FrameFolder, first: int, limit: int | None = None) -> int:
    """Frames in a row from `first`, up to `limit`."""
    if limit is None:
        limit = 1
        while folder._file(first + limit - 1).is_file():
            limit *= 2
    return bisect_left(range(limit), True, key=lambda frames: not folder._file(first + frames).is_file())
