"""One pass over a video of any length, which never holds more than a frame of it."""

from collections.abc import Iterator
from math import floor
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from tada.data.video.decoding import Converter, decode
from tada.data.video.random_access import FrameFolder
from tada.data.video.timeline import VideoError, has_times, opened, tick

_ROUNDING = 1e-4
"""Seconds that a frame's time may be off by the units of its file."""


class SequentialReader:
    """Frames of a video file, or of a folder of images taken at `fps`, in the order in which they are shown.

    Attributes:
        ended: seconds at which the video ends, once its end was met.
        fault: why it could not be decoded any further, if that is why it ends there.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.path, self.fps = path, fps
        self.ended: float | None = None
        self.fault: str | None = None

    def frames(self, times: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The frames that are seen at `times` (seconds from the first frame, ascending), each decoded once.

        Of times before the video the first frame is seen, of those after it the last one.

        Yields:
            how many of the next times a frame is for, and the frame, uint8 RGB [H, W, 3].

        Raises:
            VideoError: the file is missing, is no video, or not a single frame can be decoded.
        """
        return self._from_file(times) if self.fps is None else self._from_folder(self.fps, times)

    def _from_file(self, times: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        convert = Converter(self.path)
        served, shown = 0, None
        for time, frame in self._decoded():
            if shown is not None:
                behind = int(np.searchsorted(times, time - _ROUNDING))
                if behind > served:
                    yield behind - served, convert(shown)
                    served = behind
                if served == len(times):
                    return
            shown = frame
        if shown is None:
            raise VideoError(self.path, self.fault or "no frame can be decoded")
        if served < len(times):
            yield len(times) - served, convert(shown)

    def _decoded(self) -> Iterator[tuple[float, VideoFrame]]:
        """Frames and their times in seconds; what stops them after the first is noted in `fault`."""
        time, lasts = 0.0, 0.0
        begun = False
        try:
            with opened(self.path) as (container, stream):
                rate = float(stream.average_rate or stream.guessed_rate or 0)
                lasts = 1 / rate if rate else 0.0
                origin = (stream.start_time or 0) * tick(stream)
                counted = not has_times(container)
                for count, picture in enumerate(decode(self.path, container, stream)):
                    frame = picture.frame
                    time = count * lasts if counted or frame.time is None else frame.time - origin
                    if picture.damaged:
                        raise VideoError(self.path, f"damaged at {time:.2f} s")
                    begun = True
                    yield time, frame
        except VideoError as error:
            if not begun:
                raise
            self.fault = error.reason
        self.ended = time + lasts

    def _from_folder(self, fps: float, times: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        folder = FrameFolder(self.path, fps)
        self.ended = folder.info.duration
        indices = np.array([floor((time + _ROUNDING) * fps) for time in times]).clip(0, folder.info.frames - 1)
        for index, count in zip(*np.unique(indices, return_counts=True), strict=True):
            yield int(count), folder.read([index])[0]
