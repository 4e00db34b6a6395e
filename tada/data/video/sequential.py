"""One pass over a video of any length, which never holds more than a frame of it: to read it, or to encode it anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from math import floor, lcm, log10
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tada.data.video.decoding import Converter, decode, resized_to
from tada.data.video.random_access import FrameFolder
from tada.data.video.timeline import VideoError, VideoInfo, has_times, opened, scan, tick

_ROUNDING = 1e-4
"""Seconds that a frame's time may be off by the units of its file."""


LEAST_PSNR = 20.0
"""Least PSNR of a new file's pictures in dB; below that, they are not the original's."""


_MOST_TICKS = 2**31 - 1
"""Of a second, in an MP4 file."""


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
                for count, picture in enumerate(decode(self.path, container.demux(stream), stream.codec_context)):
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


@dataclass(frozen=True)
class Encoding:
    """How a video is encoded anew, as H.264 in MP4, without sound.

    Attributes:
        short_side: of the picture in pixels, its ratio kept as clips keep it; a smaller one stays as it is.
        group: frames of a group of pictures, of which only the first is coded for itself; 1: all are.
        crf: x264's constant rate factor, smaller for better pictures and larger files.
    """

    short_side: int
    group: int
    crf: float


@dataclass(frozen=True)
class Encoded:
    """What was written: frames, frames per second, seconds, and how alike the pictures are.

    Attributes:
        info: what the file holds, as it is read.
        psnr: of all pixels of all frames against the resized original, in dB; 100 where they are the same.
    """

    info: VideoInfo
    psnr: float


def encode(source: Path, target: Path, how: Encoding) -> Encoded:
    """Encode a video file anew, upright, each frame at its time, and compare every frame with the original's.

    Args:
        source: any video that the suite reads.
        target: file to write.
        how: size and groups of pictures.

    Raises:
        VideoError: a frame cannot be decoded, or the new file does not read as the original does: frames, times, rate.
        OSError: `target` cannot be written.
    """
    info, times, second = _schedule(source)
    try:
        with target.open("wb") as file:
            _write(source, file, times, second, Fraction(info.fps).limit_denominator(1001 * 64), how)
    except av.error.FFmpegError as error:  # of closing a file that could not be written
        raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    made, again, unit = _schedule(target)
    moved = [abs(Fraction(one, second) - Fraction(other, unit)) for one, other in zip(times, again, strict=False)]
    if made.frames != info.frames or max(moved) > Fraction(1, 2 * second):
        raise VideoError(source, f"encoded anew it has {made.frames} frames, not {info.frames} at the same times")
    if abs(made.fps - info.fps) > 1e-6 * info.fps:
        raise VideoError(source, f"encoded anew it has {made.fps:g} frames per second, not {info.fps:g}")
    psnr = _likeness(source, target, how)
    if psnr < LEAST_PSNR:
        raise VideoError(source, f"encoded anew its pictures are others (PSNR {psnr:.1f} dB)")
    return Encoded(made, psnr)


def _schedule(path: Path) -> tuple[VideoInfo, list[int], int]:
    """What a file holds, and when its frames are shown: whole numbers, from 0, of which so many are a second."""
    info, timeline = scan(path)
    with opened(path) as (_, stream):
        unit = Fraction(stream.time_base or 1)
    rate = Fraction(info.fps).limit_denominator(1001 * 64)
    if not timeline.exact:  # frames are counted
        return info, [count * rate.denominator for count in range(info.frames)], rate.numerator
    # Fine enough that the last frame, too, can last until the rate is as it was.
    second = lcm(unit.denominator, rate.numerator)
    second = second if second <= _MOST_TICKS else unit.denominator
    scale = unit * second
    return info, [int((time - int(timeline.times[0])) * scale) for time in timeline.times.tolist()], second


def _write(source: Path, file: BinaryIO, times: list[int], second: int, rate: Fraction, how: Encoding) -> None:
    behind = max(round(len(times) * second / rate), times[-1] + 1)  # where the last frame ends
    lasts = {time: end - time for time, end in zip(times, [*times[1:], behind], strict=True)}
    with av.open(file, "w", format="mp4") as container:
        stream = None
        for time, picture in zip_longest(times, _resized(source, how.short_side)):
            if time is None or picture is None:
                raise VideoError(source, "its packets and its pictures are not as many")
            stream = stream or _stream(container, picture.shape, second, rate, how)
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, second)
            for packet in stream.encode(frame):
                packet.duration = lasts[cast(int, packet.pts)]
                container.mux(packet)
        for packet in stream.encode() if stream else ():
            packet.duration = lasts[cast(int, packet.pts)]
            container.mux(packet)


def _stream(
    container: av.container.OutputContainer, shape: tuple[int, ...], second: int, rate: Fraction, how: Encoding
) -> VideoStream:
    options = {"preset": "fast", "tune": "fastdecode", "crf": f"{how.crf:g}", "g": str(how.group), "bf": "0"}
    # Without the macroblock tree the same pictures always give the same file, and it is of little use in short groups.
    options |= {"keyint_min": str(how.group), "sc_threshold": "0", "mbtree": "0"}
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.height, stream.width = shape[:2]
    # Colours of half the size fit into even numbers of pixels alone.
    stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
    stream.time_base = stream.codec_context.time_base = Fraction(1, second)
    stream.codec_context.thread_count = 1  # the caller's processes are the parallelism
    return stream


def _resized(path: Path, short_side: int | None) -> Iterator[np.ndarray]:
    """All pictures, upright, uint8 RGB [h, w, 3], their short side at most that; raises VideoError at any damage."""
    convert, resize = Converter(path), VideoReformatter().reformat
    with opened(path) as (container, stream):
        for picture in decode(path, container.demux(stream), stream.codec_context):
            if picture.damaged:
                raise VideoError(path, f"damaged at {picture.frame.time or 0.0:.2f} s")
            pixels = convert(picture.frame)
            height, width = pixels.shape[:2]
            if short_side is not None and min(height, width) > short_side:
                height, width = resized_to(short_side, height, width)
                frame = VideoFrame.from_ndarray(pixels, format="rgb24")
                pixels = resize(frame, width, height, interpolation="BICUBIC").to_ndarray()
            yield pixels


def _likeness(source: Path, target: Path, how: Encoding) -> float:
    squares, pixels = 0.0, 0
    for one, other in zip(_resized(source, how.short_side), _resized(target, None), strict=True):
        difference = one.astype(np.float32) - other
        squares, pixels = squares + float(np.vdot(difference, difference)), pixels + difference.size
    return min(10 * log10(255**2 * pixels / squares), 100.0) if squares else 100.0
