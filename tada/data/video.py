"""Frames of video files: the only module that knows which library decodes.

A file is scanned once with PyAV: its frames in order of presentation, their times, and whether it ends before its
container says. decord then decodes, where it is installed and the file is of the plain kind that it gets right. PyAV
decodes all else and has the last word on every file that decord fails on. Both give the same pixels.

decord is not asked about every file because it repeats a neighbouring frame, silently, for one that it cannot decode;
because it may never return where the container counts more frames than there are; because it fails on some narrow
videos (48 or 72 pixels wide); and because it reads a file to its end before it gives the first frame.
"""

import importlib.util
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from tada.errors import TadaError

TRUNCATED_SHARE = 0.1
"""A file that lacks more than this share of its claimed duration is truncated; containers round by less."""

DECORD_FRAMES = 20_000
"""Longer videos are left to PyAV, which seeks in them."""

DECORD_SECONDS = 60.0
"""After so long decord will not return any more; PyAV does the rest of this process's work."""


class VideoError(TadaError):
    """A video file that cannot be used: which one, and why."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = Path(path), reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)  # worker processes hand it on by pickling


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file holds: number of frames, frames per second, width and height in pixels, duration in seconds."""

    frames: int
    fps: float
    width: int
    height: int
    duration: float


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Presentation times of the frames, in order and in the stream's unit, and which of them are keyframes.

    `exact`: the times tell the frames apart. `plain`: besides, nothing in the file is known to mislead decord.
    """

    times: np.ndarray
    keys: np.ndarray
    exact: bool
    plain: bool


def probe(path: Path | str) -> VideoInfo:
    """What a file holds, by its packets; decodes nothing. Raises VideoError as `Video` does."""
    return Video(path).info


def read_frames(path: Path | str, indices: Sequence[int]) -> np.ndarray:
    """Frames of a file, uint8 RGB [n, H, W, 3]. Raises VideoError as `Video` and `Video.read` do."""
    return Video(path).read(indices)


def file_state(path: Path) -> list[str | int | None]:
    """Name, size in bytes and date of a file: what is known about the file holds as long as these do."""
    try:
        status = path.stat()
    except OSError:
        return [path.name, None, None]
    return [path.name, status.st_size, status.st_mtime_ns]


class Video:
    """A video file, scanned on construction; no file stays open.

    Raises:
        VideoError: the file is missing or empty, is no video, or ends before its container says.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.info, self._timeline = _scan(self.path)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames by their place in order of presentation, uint8 RGB [n, H, W, 3].

        Each frame is decoded once, however often and in whatever order it is asked for.

        Raises:
            VideoError: the file has fewer frames than asked for, or one of them cannot be decoded.
        """
        wanted, order = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        if wanted[0] < 0 or wanted[-1] >= self.info.frames:
            raise VideoError(self.path, f"frame {wanted[-1]} was asked for, and it has {self.info.frames} frames")
        frames = _decord_frames(self.path, wanted, self.info.frames) if self._timeline.plain else None
        if frames is None:
            frames = _pyav_frames(self.path, wanted, self._timeline)
        return frames if len(wanted) == len(order) and (order[1:] > order[:-1]).all() else frames[order]


def _scan(path: Path) -> tuple[VideoInfo, _Timeline]:
    with _opened(path) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.size]
        shown = [packet for packet in packets if not packet.is_discard]
        unit = float(stream.time_base)
        rate = stream.average_rate or stream.guessed_rate
        width, height = stream.codec_context.width, stream.codec_context.height
        claimed_frames, claimed_seconds = stream.frames, _claimed_seconds(container, stream)
    if not shown or not width or not height:
        raise VideoError(path, "no video frame in it")
    exact = all(packet.pts is not None for packet in shown) and len({packet.pts for packet in shown}) == len(shown)
    if exact:
        shown.sort(key=lambda packet: packet.pts)
        times = np.array([packet.pts for packet in shown], dtype=np.int64)
        seconds = (times[-1] + (shown[-1].duration or 0) - min(times[0], 0)) * unit
    else:
        times = np.arange(len(shown))
        seconds = len(shown) / float(rate) if rate else 0.0
    fps = float(rate) if rate else len(shown) / seconds if seconds else 0.0
    slack = max(TRUNCATED_SHARE * claimed_seconds, 2 / fps if fps else 0)
    if len(packets) < (1 - TRUNCATED_SHARE) * claimed_frames:
        raise VideoError(path, f"truncated: {len(packets)} of {claimed_frames} frames are there")
    if seconds < claimed_seconds - slack:
        raise VideoError(path, f"truncated: its frames end at {seconds:.2f} s of {claimed_seconds:.2f} s")
    keys = np.flatnonzero([packet.is_keyframe for packet in shown])
    plain = exact and len(shown) == len(packets) <= DECORD_FRAMES and times[0] >= 0
    info = VideoInfo(len(shown), fps, width, height, claimed_seconds or seconds)
    return info, _Timeline(times, keys, exact, plain)


def _claimed_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Duration of the stream by its container; 0 where that says nothing."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # A WebM file states one duration for all its streams: the picture's, only if the picture is alone.
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else 0.0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The file's container and its picture stream; whatever FFmpeg has against the file becomes a VideoError."""
    try:
        if path.stat().st_size == 0:
            raise VideoError(path, "empty file (0 bytes)")
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(path, "no video stream in it")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # the caller's processes are the parallelism
            yield container, stream
    except FileNotFoundError:
        raise VideoError(path, "no such file") from None
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(path, f"damaged, or no video: {error.strerror or error}") from None


def _pyav_frames(path: Path, wanted: np.ndarray, timeline: _Timeline) -> np.ndarray:
    """Sorted frames, found by their times, so that none that is missing is taken for its neighbour."""
    runs = _runs(wanted, timeline)
    frames = _decode_runs(path, runs, timeline)
    if len(frames) < len(wanted) and runs[0][0] + len(runs) > 1:
        # The file's own list of keyframes may be wrong; decoding from the start depends on nothing.
        frames = _decode_runs(path, [(0, wanted)], timeline)
    if len(frames) < len(wanted):
        lost = next(int(index) for index in wanted if int(index) not in frames)
        raise VideoError(path, f"frame {lost} of {len(timeline.times)} cannot be decoded")
    return np.stack([frames[int(index)] for index in wanted])


def _runs(wanted: np.ndarray, timeline: _Timeline) -> list[tuple[int, np.ndarray]]:
    """Groups of frames that are decoded in one go, each with the frame where decoding starts."""
    if not timeline.exact or not timeline.keys.size:
        return [(0, wanted)]
    keys = timeline.keys[np.searchsorted(timeline.keys, wanted, side="right").clip(1) - 1]
    starts = [0, *(np.flatnonzero(keys[1:] > wanted[:-1] + 1) + 1)]  # seek where that skips a frame at least
    return [(int(keys[start]), run) for start, run in zip(starts, np.split(wanted, starts[1:]), strict=True)]


def _decode_runs(path: Path, runs: list[tuple[int, np.ndarray]], timeline: _Timeline) -> dict[int, np.ndarray]:
    """Frames by index, those that the decoder gives."""
    place = {int(time): index for index, time in enumerate(timeline.times)}
    convert = VideoReformatter().reformat  # one for all frames: setting it up costs more than a conversion
    frames: dict[int, np.ndarray] = {}
    with _opened(path) as (container, stream):
        for start, run in runs:
            if start > 0:
                container.seek(int(timeline.times[start]), stream=stream)
            missing = set(run.tolist())
            for count, frame in enumerate(container.decode(stream)):
                index = place.get(frame.pts) if timeline.exact else count
                if index in missing:
                    missing.remove(index)
                    frames[index] = convert(frame, format="rgb24").to_ndarray()
                if not missing or (index is not None and index >= run[-1]):
                    break
    return frames


@cache
def _decord() -> ModuleType | None:
    if importlib.util.find_spec("decord") is None:
        return None  # no wheel for this platform, e.g. Apple silicon
    import decord

    decord.logging.set_level(decord.logging.QUIET)  # PyAV tells what is wrong, once
    return decord


_decord_hangs = threading.Event()


def _decord_frames(path: Path, wanted: np.ndarray, frames: int) -> np.ndarray | None:
    """Sorted frames as decord decodes them; None where it fails or does not agree that there are `frames`."""
    decord = _decord()
    if decord is None or _decord_hangs.is_set():
        return None
    result: list[np.ndarray] = []

    def decode() -> None:
        try:
            # Below one frame of tolerance, so that a frame repeated in place of a broken one is an error.
            reader = decord.VideoReader(str(path), num_threads=1, fault_tol=0.5 / frames)
            if len(reader) == frames:
                result.append(reader.get_batch(wanted).asnumpy())
        except Exception:  # decord's own errors derive from nothing narrower
            pass

    # The library releases the interpreter's lock but cannot be interrupted, so it is waited for from outside.
    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    thread.join(DECORD_SECONDS)
    if thread.is_alive():
        _decord_hangs.set()
    return result[0] if result else None
