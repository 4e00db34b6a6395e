"""What a mini dataset shows; `data.render` of a mini recipe.

When something happens in an untrimmed mini video.

Writing frames as a real video file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import av
import numpy as np

from tada.base.errors import TadaError, unknown


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
        texture: contrast of the background; 1 is the photographs' own.
        untrimmed: fewest and most frames of an untrimmed video (EPIC-KITCHENS-100, HACS).
        segments: fewest and most annotated segments of an untrimmed video; fewer where no more fit in.
        pause: fewest frames before, between and after the segments of an untrimmed video.
    """

    train: int = 1600
    validation: int = 416
    seed: int = 0
    height: int = 42
    width: int = 56
    frames: tuple[int, int] = (20, 28)
    fps: int = 12
    strength: tuple[float, float] = (0.6, 0.9)
    texture: float = 0.2
    untrimmed: tuple[int, int] | None = None
    segments: tuple[int, int] | None = None
    pause: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "RenderSpec":
        """A spec from a recipe's mapping; what is not given has its default.

        Raises:
            TadaError: an unknown key, or a value that cannot be rendered.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown("key", key, known, where="data.render")
        spec = cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
        for key in ("train", "validation", "height", "width", "fps", "pause"):
            value = getattr(spec, key)
            if value is not None and value < 1:
                raise TadaError(f"data.render: {key} is {value}, and must be 1 or more")
        for key, least in (("frames", 2), ("strength", 0), ("untrimmed", 1), ("segments", 1)):
            value = getattr(spec, key)
            if value is None:
                continue
            if not isinstance(value, tuple) or len(value) != 2 or not least <= value[0] <= value[1]:
                shown = list(value) if isinstance(value, tuple) else value
                raise TadaError(f"data.render: {key} is {shown}, and must be a range [low, high] from {least} up")
        return spec

    def check_untrimmed(self) -> None:
        """Raise a TadaError where this spec lacks what untrimmed videos need, or a segment need not fit into one."""
        for key in ("untrimmed", "segments", "pause"):
            if getattr(self, key) is None:
                raise TadaError(f"data.render: {key} is missing; videos of this dataset are untrimmed")
        needed = self.frames[1] + 2 * self.pause
        if self.untrimmed[0] < needed:
            raise TadaError(
                f"data.render: untrimmed is [{self.untrimmed[0]}, {self.untrimmed[1]}], and the longest segment "
                f"needs {needed} frames with its pauses"
            )


def draw_times(spec: RenderSpec, rng: np.random.Generator) -> tuple[int, list[tuple[int, int]]]:
    """Length of a video and its segments, each from its first frame to the one after its last.

    The video's length, the number of its segments and the length of each are drawn from the ranges of `spec`; what is
    left of the video is divided at random among the pauses before, between and after them.
    """
    frames = int(rng.integers(spec.untrimmed[0], spec.untrimmed[1] + 1))
    lengths = rng.integers(spec.frames[0], spec.frames[1] + 1, rng.integers(spec.segments[0], spec.segments[1] + 1))
    fitting = np.cumsum(lengths + spec.pause) + spec.pause <= frames
    lengths = lengths[fitting]
    spare = frames - lengths.sum() - (len(lengths) + 1) * spec.pause
    cuts = np.sort(rng.integers(0, spare + 1, len(lengths)))
    begins = np.cumsum([0, *lengths[:-1]]) + spec.pause * np.arange(1, len(lengths) + 1) + cuts
    return frames, [(int(begin), int(begin + length)) for begin, length in zip(begins, lengths, strict=True)]


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
        stream = container.add_stream(codec, rate=fps, options={**options, "g": str(keyframe_every)})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # a frame-threaded encoder may write other bytes on another machine
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
