"""What all mini datasets need: the specification of a recipe (`data.render`), and files of videos and rows."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from tada.base import TadaError, unknown

SPLITS = ("train", "validation")


_LARGEST = 213
"""Pixels of the short side of a photograph at half its size; see `tada.data.mini.scenes.draw_background`."""


@dataclass(frozen=True)
class RenderSpec:
    """Number and look of the videos; the defaults are those that the mini recipes were tuned with.

    Attributes:
        train: training videos; of EPIC-KITCHENS-100, annotated segments.
        validation: validation videos, or segments.
        seed: all randomness depends on it and on a video's place in its split.
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        frames: fewest and most frames of a video; where it is untrimmed, of a segment.
        fps: frames per second.
        strength: smallest and largest extent of a motion, in short sides of the frame.
        weak: share of motions that hardly show instead; see `tada.data.mini.scenes`.
        texture: contrast of the background; 1 is the photographs' own.
        others: fewest and most objects besides the digit that acts, in the scenes of `tada.data.mini.crowds`; None:
            the simple scenes.
        pan: how far the camera moves to either side, in short sides of the frame; None: it stands still.
        untrimmed: fewest and most frames of an untrimmed video (EPIC-KITCHENS-100, HACS).
        segments: fewest and most annotated segments of an untrimmed video; fewer where no more fit in.
        pause: fewest frames before, between and after the segments of an untrimmed video.
    """

    train: int = 2600
    validation: int = 2080
    seed: int = 0
    height: int = 30
    width: int = 30
    frames: tuple[int, int] = (20, 28)
    fps: int = 12
    strength: tuple[float, float] = (0.5, 0.9)
    weak: float = 0.25
    texture: float = 0.2
    others: tuple[int, int] | None = None
    pan: float | None = None
    untrimmed: tuple[int, int] | None = None
    segments: tuple[int, int] | None = None
    pause: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str = "data.render") -> "RenderSpec":
        """A spec from a recipe's mapping, which stands at `where`; what is not given has its default.

        Raises:
            TadaError: an unknown key, or a value that cannot be rendered.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown("key", key, known, where)
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        spec = cls(**plain)
        for key in ("train", "validation", "height", "width", "fps", "pause"):
            value = getattr(spec, key)
            if value is not None and value < 1:
                raise TadaError(f"{where}: {key} is {value}, and must be 1 or more")
        for key, least in (("frames", 2), ("strength", 0), ("others", 0), ("untrimmed", 1), ("segments", 1)):
            value = getattr(spec, key)
            if value is None:
                continue
            if not isinstance(value, tuple) or len(value) != 2 or not least <= value[0] <= value[1]:
                shown = list(value) if isinstance(value, tuple) else value
                raise TadaError(f"{where}: {key} is {shown}, and must be a range [low, high] from {least} up")
        if (spec.others is None) != (spec.pan is None):
            raise TadaError(f"{where}: others and pan: either both, which crowd the scenes, or neither")
        needed = max(spec.size) + 2 * spec.pan_pixels + 1
        if needed > _LARGEST:
            raise TadaError(f"{where}: frames need {needed} pixels of a background (with pan), which has {_LARGEST}")
        return spec

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames, in pixels."""
        return self.height, self.width

    @property
    def pan_pixels(self) -> int:
        """How far the camera moves to either side, in pixels, rounded up."""
        return math.ceil((self.pan or 0.0) * min(self.size))

    def places(self) -> list[tuple[str, int]]:
        """Split and place in it, from 0, of every video that `train` and `validation` count."""
        return [(split, place) for split in SPLITS for place in range(getattr(self, split))]

    def rng(self, split: str, *place: int) -> np.random.Generator:
        """The generator for all that is random in a split, or in its video at a place."""
        return np.random.default_rng((self.seed, SPLITS.index(split), *place))


# Settings by measured cost: a 24-frame clip of 64x48 takes 4 ms to write as VP9 and 2 ms as H.264, about 5 kB each.
_ENCODERS = {
    ".webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b:v": "0"}),
    # Without looking ahead, which on frames as small as these reads what happens to be in memory.
    ".mp4": ("libx264", {"preset": "veryfast", "tune": "zerolatency", "crf": "20"}),
}


def write_video(path: Path, frames: np.ndarray, fps: int = 12, keyframe_every: int = 250) -> None:
    """Encode frames as VP9 (.webm, what Something-Something-V2 uses) or H.264 (.mp4, even sizes only).

    Args:
        path: file to write; its suffix chooses the encoding.
        frames: uint8 RGB [T, H, W, 3].
        fps: frames per second.
        keyframe_every: most frames between two keyframes.
    """
    codec, options = _ENCODERS[path.suffix.lower()]
    with av.open(str(path), "w", container_options={"fflags": "bitexact"}) as container:  # no random identifiers
        options = {**options, "g": str(keyframe_every)}
        stream = cast(av.VideoStream, container.add_stream(codec, rate=fps, options=options))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # a frame-threaded encoder may write other bytes on another machine
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]], quote_texts: bool = False) -> None:
    """Write a heading and rows as CSV in UTF-8, lines ended by a line feed.

    Args:
        path: file to write.
        heading: names of the columns.
        rows: a value for each column.
        quote_texts: quote whatever is no number; otherwise only where a value would not be read back as it is.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(
            file,
            quoting=csv.QUOTE_NONNUMERIC if quote_texts else csv.QUOTE_MINIMAL,
            lineterminator="\n",
        )
        lines.writerows([heading, *rows])
