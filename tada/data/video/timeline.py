"""What a video file holds, by its packets: its frames in order of presentation and their times. Decodes nothing."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tada.base import TadaError

TRUNCATED_SHARE = 0.1
"""A file that lacks more than this share of its claimed duration is truncated; containers round by less."""


HOLE_SECONDS = 1.0
"""Frames so far apart are no fault of any video; beyond it, and `TRUNCATED_SHARE` of the video, some are lost."""


RATE_SHARE = 0.1
"""A container's frame rate that is further off than this from the times of its frames is not believed."""


av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())  # `complaints` listens; nothing is printed besides
logging.getLogger("libav").propagate = False


class VideoError(TadaError):
    """A video file that cannot be used: which one, and why."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = Path(path), reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)  # worker processes hand it on by pickling


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file, or a part of it, holds: frames, frames per second, seconds."""

    frames: int
    fps: float
    duration: float


Held = tuple[list[av.Packet], VideoCodecContext]
"""Packets of a file in its order, the last one empty, and what decodes them; the file itself is closed."""


HELD_BYTES = 32 * 2**20
"""Most packets that a scan leaves in memory; those of larger files are read again."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Presentation times of the frames, in order and in the stream's unit, and which of them are keyframes.

    Attributes:
        exact: the times tell the frames apart; otherwise these are numbers, and frames are found by counting.
        whole: the first of these is the file's first.
        first: where the part begins that was asked for; the frames before it are there for the keyframe.
        held: what the scan has read; None: that was too much.
    """

    times: np.ndarray
    keys: np.ndarray
    exact: bool
    whole: bool = True
    first: int = 0
    held: Held | None = None


def file_state(path: Path, fps: float | None = None) -> list[str | int | float | None]:
    """Name, size in bytes and date of a file, and the rate at which a folder of images was taken (None: a file).

    What is known about it holds as long as these do.
    """
    rate = [] if fps is None else [fps]
    try:
        status = path.stat()
    except OSError:
        return [path.name, None, None, *rate]
    return [path.name, status.st_size, status.st_mtime_ns, *rate]


def stated_seconds(path: Path) -> float:
    """Duration by the head of a file, 0 where that says nothing; raises VideoError for what is no video."""
    with opened(path) as (container, stream):
        return _claimed_seconds(container, stream)


def scan(path: Path) -> tuple[VideoInfo, Timeline]:
    """All frames of a file.

    Raises:
        VideoError: the file is missing or empty, is no video, or ends before its container says.
    """
    with opened(path) as (container, stream):
        read = list(container.demux(stream))
        held = _held(read, stream)
        packets = [packet for packet in read if packet.size]
        shown = [packet for packet in packets if _is_shown(packet, stream)]
        unit = tick(stream)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        width, height = stream.codec_context.width, stream.codec_context.height
        claimed_frames, claimed_seconds = stream.frames, _claimed_seconds(container, stream)
        exact = has_times(container) and _tell_apart(shown)
    if not shown or not width or not height:
        raise VideoError(path, "no video frame in it")
    if exact:
        shown.sort(key=_time)
        times = np.array([packet.pts for packet in shown], dtype=np.int64)
        seconds = (times[-1] + (shown[-1].duration or 0) - min(times[0], 0)) * unit
        fps = _frame_rate(rate, times, unit)
    else:
        times = np.arange(len(shown))
        seconds = len(shown) / rate if rate else 0.0
        fps = rate or (len(shown) / claimed_seconds if claimed_seconds else 0.0)
    slack = max(TRUNCATED_SHARE * claimed_seconds, 2 / fps if fps else 0)
    if len(packets) < (1 - TRUNCATED_SHARE) * claimed_frames:
        raise VideoError(path, f"truncated: {len(packets)} of {claimed_frames} frames are there")
    if seconds < claimed_seconds - slack:
        raise VideoError(path, f"truncated: its frames end at {seconds:.2f} s of {claimed_seconds:.2f} s")
    if exact and len(times) > 1:
        hole = int(np.diff(times).argmax())
        begin, end = times[hole] * unit, times[hole + 1] * unit
        if end - begin > max(TRUNCATED_SHARE * seconds, HOLE_SECONDS) and _is_damaged(path):
            raise VideoError(path, f"damaged: no frame from {begin:.2f} s to {end:.2f} s")
    info = VideoInfo(len(shown), fps, float(claimed_seconds or seconds))
    return info, Timeline(times, _keyframes(shown), exact, held=held)


def scan_part(path: Path, start: float, end: float | None) -> tuple[VideoInfo, Timeline] | None:
    """The frames from `start` to `end` (seconds; None: the end of the file), found without reading the rest.

    A frame belongs to the part if it is nearer to a time in it than to any outside. None where the file's times do not
    tell, or where no frame is there: the whole file has to be scanned then.

    Raises:
        VideoError: the file is missing or empty, or is no video.
    """
    with opened(path) as (container, stream):
        unit = tick(stream)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        if not rate or not has_times(container):
            return None
        origin = stream.start_time or 0
        low = origin + (start - 0.5 / rate) / unit
        high = inf if end is None else origin + (end - 0.5 / rate) / unit
        if whole := low <= origin:
            low = -inf
        else:
            container.seek(int(low), stream=stream)
        read = list(takewhile(lambda packet: packet.dts is None or packet.dts < high, container.demux(stream)))
        shown = [packet for packet in read if packet.size and _is_shown(packet, stream)]
        held = _held(read, stream)
    if not shown or not _tell_apart(shown):
        return None
    shown.sort(key=_time)
    times = np.array([packet.pts for packet in shown], dtype=np.int64)
    keys = _keyframes(shown)
    first, behind = int(np.searchsorted(times, low, side="right")), int(np.searchsorted(times, high))
    if first >= behind or not keys.size or keys[0] > first:
        return None
    times = times[:behind]
    fps = _frame_rate(rate, times[first:], unit)
    info = VideoInfo(behind - first, fps, (behind - first) / fps)
    return info, Timeline(times, keys[keys < behind], exact=True, whole=whole, first=first, held=held)


def part_of(whole: tuple[VideoInfo, Timeline], start: float, end: float | None) -> tuple[VideoInfo, Timeline]:
    """The same from a scan of the whole file, by counting frames at its rate; of no frame where there is none."""
    info, timeline = whole
    first = int(np.floor(start * info.fps + 0.5))
    behind = info.frames if end is None else min(int(np.floor(end * info.fps + 0.5)), info.frames)
    frames = min(max(behind - first, 1), max(info.frames - first, 0))
    part = VideoInfo(frames, info.fps, frames / info.fps if info.fps else 0.0)
    return part, replace(timeline, first=first)


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file's container and its picture stream; whatever FFmpeg has against the file becomes a VideoError.

    Of several picture streams it is the default one, else the largest, as players choose. Cover art is none.
    """
    try:
        if path.is_dir():
            raise VideoError(path, "a folder, and no file")
        if path.stat().st_size == 0:
            raise VideoError(path, "empty file (0 bytes)")
        with av.open(str(path.absolute())) as container:  # a relative name with a colon would be taken for a protocol
            pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
            if not pictures:
                raise VideoError(path, "no video stream in it")
            stream = max(
                pictures, key=lambda one: (bool(one.disposition & Disposition.default), one.width * one.height)
            )
            stream.codec_context.thread_count = 1  # the caller's processes are the parallelism
            yield container, stream
    except FileNotFoundError:
        raise VideoError(path, "no such file") from None
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(path, f"damaged, or no video: {error.strerror or error}") from None


def _held(read: list[av.Packet], stream: VideoStream) -> Held | None:
    """What a scan has read, if it is not too much, with an empty packet at its end."""
    if sum(packet.size for packet in read) > HELD_BYTES:
        return None
    return ([*read, av.Packet()] if read and read[-1].size else read), stream.codec_context


def tick(stream: VideoStream) -> float:
    """Seconds of the unit that a stream's times are in."""
    return float(stream.time_base or 1)


def _time(packet: av.Packet) -> int:
    return packet.pts or 0


def has_times(container: InputContainer) -> bool:
    """Whether packets say when their frames are shown. AVI says in which order they are stored, and begins anywhere."""
    return container.format.name != "avi"


def _is_shown(packet: av.Packet, stream: VideoStream) -> bool:
    """Whether a frame comes of a packet; VP8 stores pictures that others are predicted from and nobody sees."""
    return not packet.is_discard and (stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & 0x10))


def _is_damaged(path: Path) -> bool:
    """Whether FFmpeg reports an error in the container. A frame that is shown for long is none."""
    with av.logging.Capture() as complaints, opened(path) as (container, stream):
        for _ in container.demux(stream):
            pass
        return bool(complaints)


def _tell_apart(packets: Sequence[av.Packet]) -> bool:
    return all(packet.pts is not None for packet in packets) and len({p.pts for p in packets}) == len(packets)


def _keyframes(packets: Sequence[av.Packet]) -> np.ndarray:
    return np.flatnonzero([packet.is_keyframe for packet in packets])


def _frame_rate(claimed: float, times: np.ndarray, unit: float) -> float:
    """Frames per second: what the container claims, unless the frames' own times say something else."""
    span = float(times[-1] - times[0]) * unit
    if len(times) < 5 or span <= 0:
        return claimed or len(times) / max(span + unit, unit)
    measured = (len(times) - 1) / span
    return claimed if abs(claimed - measured) <= RATE_SHARE * measured else measured


def _claimed_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Duration of the stream by its container; 0 where that says nothing."""
    if stream.duration:
        return stream.duration * tick(stream)
    # A WebM file states one duration for all its streams: the picture's, only if the picture is alone.
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else 0.0
