"""Which frames and which pixels of a video make a clip, in training and in testing (section 5).

A sampling chooses the frames: one of each segment, or every so many-th. A transform makes pixels of them: it resizes
and crops. Training draws one clip at random; testing looks at several views of a video, each a clip and a crop. Both
follow the released code: a position in time is continuous until its last step, and frames are resized bilinearly
without a low-pass filter. Pixels stay uint8 until the clip is on the device that computes with it.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tada.base import TadaError
from tada.data.video.decoding import resized_to

MEAN, STD = 0.45, 0.225
"""Of every channel, for pixels in [0, 1]."""


class Sampling(Protocol):
    """Frames of a clip, as indices into a video of `length` frames at `fps` frames per second; int64 [frames]."""

    @property
    def frames(self) -> int:
        """Number of frames of a clip."""
        ...

    def train(self, length: int, fps: float, rng: np.random.Generator) -> np.ndarray:
        """A clip drawn at random."""
        ...

    def test(self, length: int, fps: float, clip: int, clips: int) -> np.ndarray:
        """Clip number `clip` (from 0) of `clips` that are spread over the video."""
        ...


@dataclass(frozen=True)
class SegmentSampling:
    """One frame of each of `frames` equal segments of the video (Something-Something-V2)."""

    frames: int

    def train(self, length: int, fps: float, rng: np.random.Generator) -> np.ndarray:
        """A place drawn uniformly inside each segment; `fps` plays no part."""
        return self._place(length, rng.random(self.frames))

    def test(self, length: int, fps: float, clip: int, clips: int) -> np.ndarray:
        """The same fraction of each segment: (clip + 1) / clips, or the middle for a single clip."""
        return self._place(length, 0.5 if clips == 1 else (clip + 1) / clips)

    def _place(self, length: int, fraction: np.ndarray | float) -> np.ndarray:
        places = (np.arange(self.frames) + fraction) * (length / self.frames)
        return np.rint(places.clip(0, length - 1)).astype(np.int64)  # half to even, as torch.round


@dataclass(frozen=True)
class IntervalSampling:
    """Every `interval`-th frame of a video at `target_fps` (Kinetics-400, EPIC-KITCHENS-100).

    A video at another rate is stepped through in proportion, so that a clip lasts equally long in any video.
    """

    frames: int
    interval: int
    target_fps: float

    def train(self, length: int, fps: float, rng: np.random.Generator) -> np.ndarray:
        """A clip that starts at a uniformly drawn place."""
        return self._place(length, fps, rng.random())

    def test(self, length: int, fps: float, clip: int, clips: int) -> np.ndarray:
        """A clip that starts at the fraction clip / clips of all starts, or in the middle for a single clip."""
        return self._place(length, fps, 0.5 if clips == 1 else clip / clips)

    def _place(self, length: int, fps: float, fraction: float) -> np.ndarray:
        # In a video of far fewer frames a second the clip is of a single frame, and not of frames in reverse.
        span = max(self.frames * self.interval * fps / self.target_fps, 1.0)
        start = max(length - span, 0.0) * fraction
        places = np.linspace(start, start + span - 1, self.frames)
        return places.clip(0, length - 1).astype(np.int64)  # truncated, as torch's .long()


def normalise(clips: Tensor) -> Tensor:
    """uint8 pixels of any shape as float32 with about zero mean and unit variance; call it on the training device."""
    return clips.float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


@dataclass(frozen=True)
class TrainTransform:
    """Short side resized to a random size, a random square cut out, mirrored in half of the clips (section 5).

    Sizes and places are whole numbers of pixels, the largest included; the released code never draws the largest.

    Args:
        short_side: smallest and largest size of the short side in pixels, both drawn.
        crop: height and width of the clip.
        flip: mirror at all.
    """

    short_side: tuple[int, int]
    crop: int
    flip: bool

    def __post_init__(self) -> None:
        _check_crop(self.crop, min(self.short_side))

    def __call__(self, frames: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, bool]:
        """uint8 frames [T, H, W, 3] to a uint8 clip [3, T, crop, crop], and whether it is mirrored."""
        low, high = self.short_side
        resized = resize_short_side(frames, int(rng.integers(low, high + 1)))
        top = int(rng.integers(0, resized.shape[2] - self.crop + 1))
        left = int(rng.integers(0, resized.shape[3] - self.crop + 1))
        mirrored = bool(rng.random() < 0.5) and self.flip
        clip = resized[:, :, top : top + self.crop, left : left + self.crop].transpose(0, 1)
        return (clip.flip(3) if mirrored else clip).contiguous(), mirrored


@dataclass(frozen=True)
class TestTransform:
    """Short side resized to one size, squares cut out at the start, centre and end of the long side (section 5).

    Args:
        short_side: size of the short side in pixels.
        crop: height and width of the clips.
        crops: 3, or 1 for the centre alone.
    """

    __test__ = False  # no test case, whatever pytest makes of its name

    short_side: int
    crop: int
    crops: int = 3

    def __post_init__(self) -> None:
        _check_crop(self.crop, self.short_side)
        if self.crops not in (1, 3):
            raise TadaError(f"a test clip is cropped 1 or 3 times, not {self.crops} times")

    def __call__(self, frames: np.ndarray, clips: np.ndarray) -> Tensor:
        """All views of a video: its uint8 frames [n, H, W, 3], and [clips, T] places in them that make the clips.

        Returns:
            uint8 [clips * crops, 3, T, crop, crop]: the crops of the first clip, those of the second, ...
        """
        resized = resize_short_side(frames, self.short_side)
        whole = resized[torch.from_numpy(clips)].transpose(1, 2)  # [clips, 3, T, h, w]
        cut = [whole[..., top : top + self.crop, left : left + self.crop] for top, left in self._corners(resized.shape)]
        return torch.stack(cut, 1).flatten(0, 1)

    def _corners(self, shape: torch.Size) -> list[tuple[int, int]]:
        down, across = shape[2] - self.crop, shape[3] - self.crop
        if self.crops == 1:
            return [(down // 2, across // 2)]
        if across >= down:
            return [(down // 2, left) for left in (0, across // 2, across)]
        return [(top, across // 2) for top in (0, down // 2, down)]


def resize_short_side(frames: np.ndarray, size: int) -> Tensor:
    """uint8 frames [n, H, W, 3] resized together to uint8 [n, 3, h, w] with min(h, w) = `size`, ratio kept."""
    # A permuted view keeps the colours of a pixel side by side, which is the layout that torch resizes fastest.
    images = torch.from_numpy(frames).permute(0, 3, 1, 2)
    height, width = images.shape[2:]
    if min(height, width) == size:
        return images
    return F.interpolate(images, size=resized_to(size, height, width), mode="bilinear", align_corners=False)


def _check_crop(crop: int, short_side: int) -> None:
    if crop > short_side:
        raise TadaError(f"a crop of {crop} pixels does not fit into frames whose short side is {short_side} pixels")
