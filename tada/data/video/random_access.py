"""Any frames of a video file or of a folder of images, by their numbers, each decoded once.

A file is scanned once: its frames in order of presentation, their times and its keyframes. Frames are then decoded from
the keyframe before them and found by their times, so that none is ever taken for its neighbour. What the scan has read
is decoded from memory, so that a file of usual size is opened and read once. Where the decoder reports an error, the
file's list of keyframes may be wrong: the frames are decoded again from the file's beginning.

Where the frames of a clip come from: its file or folder, or a cache (tada.data.video.cache) with the same two answers.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from tada.base import counted
from tada.data.clips import Clip
from tada.data.video.decoding import Converter, decode
from tada.data.video.timeline import Timeline, VideoError, VideoInfo, opened, part_of, scan, scan_part

IMAGE = "frame_{:010d}.jpg"
"""Name of a frame by its number from 1, as EPIC-KITCHENS-100 is distributed."""


class Video:
    """A video file, or the part of it from `start` to `end` (seconds; None: its beginning, its end).

    It is scanned on construction, of a long file as much as the part needs; no file stays open.

    Raises:
        VideoError: the file is missing or empty, is no video, ends before its container says, or before `start`.
    """

    def __init__(self, path: Path | str, start: float | None = None, end: float | None = None) -> None:
        self.path = Path(path)
        if start is None and end is None:
            self.info, self._timeline = scan(self.path)
            return
        part = scan_part(self.path, start or 0.0, end)
        if part is None:
            whole = scan(self.path)
            part = part_of(whole, start or 0.0, end)
            if part[0].frames == 0:
                raise VideoError(self.path, f"ends at {whole[0].duration:.2f} s, before {start:.2f} s")
        self.info, self._timeline = part

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames by their place in order of presentation, uint8 RGB [n, H, W, 3]; a part counts from its first frame.

        Each frame is decoded once, however often and in whatever order it is asked for.

        Raises:
            VideoError: the file has fewer frames than asked for, or one of them cannot be decoded.
        """
        wanted, order = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        if wanted[0] < 0 or wanted[-1] >= self.info.frames:
            raise VideoError(
                self.path, f"frame {wanted[-1]} was asked for, and it has {counted(self.info.frames, 'frame')}"
            )
        wanted = wanted + self._timeline.first
        frames = _decode(self.path, wanted, self._timeline)
        return frames if len(wanted) == len(order) and (order[1:] > order[:-1]).all() else frames[order]

    def check(self) -> None:
        """Decode every frame, one at a time.

        Raises:
            VideoError: one cannot be decoded, or only in part, or the size of the picture changes.
        """
        missing = set(self._timeline.times.tolist())
        with opened(self.path) as (container, stream):
            for count, picture in enumerate(decode(self.path, container.demux(stream), stream.codec_context)):
                time = picture.frame.pts if self._timeline.exact else count
                if picture.damaged:
                    raise VideoError(self.path, f"damaged at {picture.frame.time or count / self.info.fps:.2f} s")
                missing.discard(time)
        if missing:
            lost = int(np.searchsorted(self._timeline.times, min(missing)))
            raise VideoError(self.path, f"damaged: frame {lost} of {self.info.frames} cannot be decoded")


_Run = tuple[int | None, np.ndarray]
"""Frames that are decoded in one go, and the keyframe where that starts; None: at the beginning of the file."""


def _decode(path: Path, wanted: np.ndarray, timeline: Timeline) -> np.ndarray:
    """Sorted frames, found by their times, so that none that is missing is taken for its neighbour."""
    runs = _runs(wanted, timeline)
    frames = _decode_runs(path, runs, timeline)
    if len(frames) < len(wanted) and any(key is not None for key, _ in runs):
        # The file's own list of keyframes may be wrong; decoding from the beginning depends on nothing.
        frames = _decode_runs(path, [(None, wanted)], replace(timeline, held=None))
    if len(frames) < len(wanted):
        lost = next(int(index) for index in wanted if int(index) not in frames)
        raise VideoError(path, f"damaged: frame {lost} of {len(timeline.times)} cannot be decoded")
    return np.stack([frames[int(index)] for index in wanted])


def _runs(wanted: np.ndarray, timeline: Timeline) -> list[_Run]:
    if not timeline.exact or not timeline.keys.size:
        return [(None, wanted)]
    keys = timeline.keys[np.searchsorted(timeline.keys, wanted, side="right").clip(1) - 1]
    firsts = [0, *(np.flatnonzero(keys[1:] > wanted[:-1] + 1) + 1)]  # seek where that skips a frame at least
    return [
        (None if timeline.whole and keys[first] == 0 else int(keys[first]), run)
        for first, run in zip(firsts, np.split(wanted, firsts[1:]), strict=True)
    ]


_Opened = tuple[Iterable[av.Packet], VideoCodecContext, int | None, np.ndarray]
"""What `decode` takes for a run, and the run's frames."""


def _held_runs(runs: list[_Run], timeline: Timeline) -> Iterator[_Opened]:
    """Runs whose packets the scan has left."""
    assert timeline.held is not None
    packets, codec = timeline.held
    for key, run in runs:
        codec.flush_buffers()
        if key is None:
            yield packets, codec, None, run
            continue
        begin = int(timeline.times[key])
        place = next(place for place, packet in enumerate(packets) if packet.pts == begin and packet.is_keyframe)
        yield packets[place:], codec, begin, run


def _read_runs(path: Path, runs: list[_Run], timeline: Timeline) -> Iterator[_Opened]:
    """Runs whose packets are read from the file once more."""
    with opened(path) as (container, stream):
        for key, run in runs:
            begin = None if key is None else int(timeline.times[key])
            if begin is not None:
                container.seek(begin, stream=stream)
            yield container.demux(stream), stream.codec_context, begin, run


def _decode_runs(path: Path, runs: list[_Run], timeline: Timeline) -> dict[int, np.ndarray]:
    """Frames by index, those that the decoder gives whole."""
    convert = Converter(path)
    frames: dict[int, np.ndarray] = {}
    for packets, codec, begin, run in _held_runs(runs, timeline) if timeline.held else _read_runs(path, runs, timeline):
        times = timeline.times[run] if timeline.exact else run
        missing = dict(zip(times.tolist(), run.tolist(), strict=True))
        for count, picture in enumerate(decode(path, packets, codec, begin)):
            if not timeline.exact and picture.damaged:
                break  # frames after it cannot be counted
            time = picture.frame.pts if timeline.exact else count
            if time in missing and not picture.damaged:
                frames[missing.pop(time)] = convert(picture.frame)
            if not missing or (time is not None and time >= times[-1]):
                break
    return frames


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
            there = count_images(path)
            reason = f"ends at {there / fps:.2f} s, before {start:.2f} s" if there else f"no {IMAGE.format(1)} in it"
            raise VideoError(path, reason)
        wanted = None if end is None else max(floor(end * fps + 0.5) - first, 1)
        frames = wanted if wanted and self._file(first + wanted - 1).is_file() else count_images(path, first, wanted)
        self.info = VideoInfo(frames, fps, frames / fps)
        self._first = first

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames by their place, uint8 RGB [n, H, W, 3], each read once; raises VideoError as `Video.read` does."""
        wanted, order = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        if wanted[0] < 0 or wanted[-1] >= self.info.frames:
            raise VideoError(
                self.path, f"frame {wanted[-1]} was asked for, and it has {counted(self.info.frames, 'frame')}"
            )
        images = [self._read(self._first + int(index)) for index in wanted]
        if len({image.shape for image in images}) > 1:
            raise VideoError(self.path, "its frames differ in size")
        return np.stack(images)[order]

    def _file(self, index: int) -> Path:
        return self.path / IMAGE.format(index + 1)

    def _read(self, index: int) -> np.ndarray:
        path = self._file(index)
        try:
            with opened(path) as (container, stream):
                for picture in decode(path, container.demux(stream), stream.codec_context):
                    if picture.damaged:
                        raise VideoError(path, "damaged")
                    return Converter(path)(picture.frame)
            raise VideoError(path, "no picture in it")
        except VideoError as error:
            raise VideoError(self.path, f"{path.name}: {error.reason}") from None

    def check(self) -> None:
        """Read every frame, one at a time; raises VideoError for the first that cannot be, or that differs in size."""
        shapes = {self.read([index]).shape for index in range(self.info.frames)}
        if len(shapes) > 1:
            raise VideoError(self.path, "its frames differ in size")


def count_images(folder: Path, first: int = 0, limit: int | None = None) -> int:
    """Frames in a row in a folder, from number `first` (counted from 0) on, up to `limit`; asks for few of them."""

    def is_there(frames: int) -> bool:
        return (folder / IMAGE.format(first + frames + 1)).is_file()

    if limit is None:
        limit = 1
        while is_there(limit - 1):
            limit *= 2
    return bisect_left(range(limit), True, key=lambda frames: not is_there(frames))


def open_video(
    path: Path, fps: float | None, start: float | None = None, end: float | None = None
) -> Video | FrameFolder:
    """A video file, or a folder of images that were taken at `fps`, or a part of it (seconds).

    Raises:
        VideoError: as `Video` and `FrameFolder`.
    """
    return Video(path, start, end) if fps is None else FrameFolder(path, fps, start, end)


class Frames(Protocol):
    """The frames of one clip: how many there are, at which rate, and those asked for."""

    @property
    def length(self) -> int:
        """Number of frames."""
        ...

    @property
    def fps(self) -> float:
        """Frames per second."""
        ...

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
        self._video = open_video(clip.path, clip.fps, clip.start, clip.end)
        self.length, self.fps = self._video.info.frames, self._video.info.fps

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3]; an index counts from the clip's first frame. Raises VideoError."""
        return self._video.read(indices)
