"""From packets to pictures as a player shows them; the only module that decodes.

A decoder that meets damage, or that begins where it should not, gives frames nonetheless: patched ones, or grey ones.
So what it reports is listened to, and such frames are told from good ones.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tada.data.video.timeline import VideoError

_SKEW = 0.01
"""Sine of the angle by which a display matrix may miss a quarter turn."""

_HARMLESS = "mmco: unref short failure"
"""H.264's decoder is to forget a picture that it never had, as behind a keyframe of an open group of pictures."""


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A decoded frame.

    Attributes:
        frame: as the decoder gives it; its `pts` is in the stream's unit.
        damaged: the decoder reported an error in it, or in one that it was predicted from.
    """

    frame: VideoFrame
    damaged: bool


def decode(
    path: Path, packets: Iterable[av.Packet], codec: VideoCodecContext, begin: int | None = None
) -> Iterator[DecodedPicture]:
    """The frames of a file's picture stream in order of presentation.

    Args:
        path: of the file, for errors.
        packets: in the order of the file, from its beginning or from a keyframe on; the last one is empty.
        codec: that decodes them, new or flushed.
        begin: presentation time of that keyframe in the stream's unit; None: the file is decoded from its beginning.

    Raises:
        VideoError: the size of the picture changes.
    """
    size = codec.width, codec.height
    spoilt: set[int | None] = set()  # times of frames that are not to be trusted
    broken = broken_before = False
    key = None
    with av.logging.Capture() as complaints:
        for packet in packets:
            if packet.is_keyframe:
                key, broken_before, broken = packet.pts, broken, False
            complaints.clear()
            try:
                frames = codec.decode(packet)
            except av.error.InvalidDataError:
                frames, failed = [], True
            else:
                failed = any(_HARMLESS not in message for _, _, message in complaints)
            # Frames that are shown before the keyframe where decoding begins lack what they were predicted from.
            early = begin is not None and packet.pts is not None and packet.pts < begin
            broken = broken or (failed and not early)
            behind_key = packet.pts is None or key is None or packet.pts >= key
            if early or broken or (broken_before and not behind_key):
                spoilt.add(packet.pts)
            for frame in frames:
                if (frame.width, frame.height) != size:
                    now, at = f"{frame.width}x{frame.height}", "" if frame.time is None else f" at {frame.time:.2f} s"
                    raise VideoError(path, f"the size of its picture changes from {size[0]}x{size[1]} to {now}{at}")
                yield DecodedPicture(frame, frame.is_corrupt or frame.pts in spoilt)


def resized_to(short_side: int, height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels of a picture whose short side becomes `short_side`, its ratio kept, rounded down."""
    if height <= width:
        return short_side, int(width / height * short_side)
    return int(height / width * short_side), short_side


class Converter:
    """Decoded frames to pixels. One for many frames: setting it up costs more than a conversion."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._convert = VideoReformatter().reformat

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """uint8 RGB [H, W, 3], turned and mirrored as the file's display matrix says.

        Raises:
            VideoError: by another angle than quarter turns.
        """
        pixels = self._convert(frame, format="rgb24").to_ndarray()
        for side in cast(Iterable[SideData], frame.side_data):
            if side.type == Type.DISPLAYMATRIX:
                return self._upright(pixels, np.frombuffer(memoryview(side), np.int32).reshape(3, 3))
        return pixels

    def _upright(self, pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """The matrix maps a column x and a row y of the stored picture to x a + y c and x b + y d of the shown one."""
        (a, b), (c, d) = matrix[:2, :2].astype(float)
        transposed = abs(b) > abs(a)
        if min(abs(a), abs(b)) > _SKEW * max(abs(a), abs(b)):
            raise VideoError(self.path, "turned by an angle that is no multiple of 90 degrees")
        if transposed:
            pixels = pixels.transpose(1, 0, 2)
        rows, columns = (b, c) if transposed else (d, a)
        return np.ascontiguousarray(pixels[:: -1 if rows < 0 else 1, :: -1 if columns < 0 else 1])
