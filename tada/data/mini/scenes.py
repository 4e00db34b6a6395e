"""What a mini video shows: a handwritten digit that moves before a part of a photograph.

Digits and photographs are real and come with scikit-learn. A motion has a name in the manner of
Something-Something-V2. The two motions of a pair show the same frames in opposite order; the last three have no
opposite, and need several frames but no order. Where a motion begins is drawn from the same ranges for all of them, so
that a single frame does not tell the motion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tada.base import TadaError


@dataclass
class Track:
    """How the object is seen in each of T frames; every field [T].

    Attributes:
        x, y: place of its centre, to the right of and below the frame's, in short sides of the frame.
        size: its height, in short sides of the frame.
        angle: how far it is turned clockwise, in radians.
        opacity: 0 (not there) to 1.
    """

    x: np.ndarray
    y: np.ndarray
    size: np.ndarray
    angle: np.ndarray
    opacity: np.ndarray


def _right(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    track.x += strength * progress


def _down(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    track.y += strength * progress


def _closer(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    track.size *= np.exp(1.8 * strength * progress)


def _clockwise(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    track.angle += 3.0 * strength * progress


def _appearing(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    track.opacity *= 0.5 + min(1.6 * strength, 1.0) * progress


def _still(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    pass


def _shaking(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    swing = 0.35 * strength * np.sin(2 * np.pi * (rng.uniform(3, 5) * progress + rng.random()))
    _towards(track, swing, rng)


def _there_and_back(track: Track, progress: np.ndarray, strength: float, rng: np.random.Generator) -> None:
    _towards(track, strength * (0.5 - np.abs(2 * progress)), rng)


def _towards(track: Track, way: np.ndarray, rng: np.random.Generator) -> None:
    """Move by `way` in a direction drawn at random."""
    direction = rng.uniform(0, 2 * np.pi)
    track.x += way * np.cos(direction)
    track.y += way * np.sin(direction)


Motion = Callable[[Track, np.ndarray, float, np.random.Generator], None]


MOTIONS: dict[str, tuple[Motion, int]] = {
    "Pulling [something] from left to right": (_right, 1),
    "Pulling [something] from right to left": (_right, -1),
    "Moving [something] down": (_down, 1),
    "Moving [something] up": (_down, -1),
    "Approaching [something] with your camera": (_closer, 1),
    "Moving away from [something] with your camera": (_closer, -1),
    "Turning [something] to the right": (_clockwise, 1),
    "Turning [something] to the left": (_clockwise, -1),
    "Uncovering [something]": (_appearing, 1),
    "Covering [something]": (_appearing, -1),
    "Holding [something]": (_still, 1),
    "Shaking [something]": (_shaking, 1),
    "Moving [something] there and back": (_there_and_back, 1),
}
"""Template of a class -> its motion, and whether it runs forwards (1) or backwards (-1)."""


WEAKEST = 0.06
"""Largest extent of a motion that hardly shows: less than two pixels of a frame of 30."""


def draw_track(
    template: str, frames: int, strength: tuple[float, float], rng: np.random.Generator, weak: float = 0.0
) -> Track:
    """A track of `frames` frames for a class: random in all but the motion.

    Args:
        template: a key of `MOTIONS`.
        frames: length of the video.
        strength: smallest and largest extent of the motion, in short sides of the frame.
        rng: what randomness is drawn from.
        weak: share of motions that hardly show, whatever `strength` is.
    """
    motion, direction = MOTIONS[template]
    track = Track(
        x=np.full(frames, rng.uniform(-0.25, 0.25)),
        y=np.full(frames, rng.uniform(-0.15, 0.15)),
        size=np.full(frames, rng.uniform(0.3, 0.5)),
        angle=np.full(frames, rng.uniform(-0.4, 0.4)),
        opacity=np.ones(frames),
    )
    motion(track, direction * draw_progress(frames, rng), draw_strength(*strength, weak, rng), rng)
    return track


def draw_strength(low: float, high: float, weak: float, rng: np.random.Generator) -> float:
    """Clear for most videos, so that a short training ends where it always does, and next to nothing for a share.

    What hardly shows nobody can learn: it keeps the best networks away from 100%, where rows cannot be told apart.
    """
    if rng.random() < weak:
        return WEAKEST * rng.random()
    return low + (high - low) * rng.random()


def draw_progress(frames: int, rng: np.random.Generator) -> np.ndarray:
    """From -0.5 to 0.5, beginning and ending at random times, without jerks; [frames]."""
    begin, end = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
    time = ((np.arange(frames) / (frames - 1) - begin) / (end - begin)).clip(0, 1)
    return time * time * (3 - 2 * time) - 0.5


SEEN = 0.1
"""Opacity from which on an object is said to be seen."""


def object_masks(track: Track, frames: npt.NDArray[np.integer], short_side: int, crop: int) -> npt.NDArray[np.bool_]:
    """Whether the object, in whatever way it is turned, may reach a pixel: a disc as wide as it is high.

    Args:
        track: of the whole video.
        frames: numbers of the frames that are looked at, [T].
        short_side: pixels to which the short side of the video's frames is resized.
        crop: pixels of the square that is cut out of their centre.

    Returns:
        [T, crop, crop].
    """
    centres = np.arange(crop) + 0.5 - crop / 2
    x, y, size, opacity = (getattr(track, name)[frames, None, None] for name in ("x", "y", "size", "opacity"))
    distance = np.hypot(centres - short_side * x, centres[:, None] - short_side * y)
    return (distance <= short_side * size / 2) & (opacity >= SEEN)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits [n, 10, 10] in [0, 1], empty at the rim, and which digits they are [n]."""
    table = np.loadtxt(_shipped("data", "digits.csv.gz"), np.float32, delimiter=",")
    return np.pad(table[:, :64].reshape(-1, 8, 8) / 16, ((0, 0), (1, 1), (1, 1))), table[:, 64].astype(int)


@cache
def _photographs() -> list[np.ndarray]:
    """Two photographs, [H, W, 3] in [0, 1]."""
    names = ("china.jpg", "flower.jpg")
    return [np.asarray(Image.open(_shipped("images", name)), np.float32) / 255 for name in names]


def _shipped(*names: str) -> Path:
    """A file that scikit-learn brings; found without importing it, which would take every worker seconds."""
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise TadaError("scikit-learn is not installed; mini videos show its digits and photographs")
    return Path(package.submodule_search_locations[0], "datasets", *names)


def draw_digit(value: int, rng: np.random.Generator) -> np.ndarray:
    """Somebody's handwriting of a digit, [10, 10] in [0, 1]."""
    images, values = _digits()
    return images[rng.choice(np.flatnonzero(values == value))]


def draw_video(
    digit: np.ndarray, track: Track, size: tuple[int, int], texture: float, rng: np.random.Generator
) -> np.ndarray:
    """The video of a digit that follows a track, uint8 RGB [T, height, width, 3].

    Args:
        digit: the object, [10, 10] in [0, 1].
        track: where it is, frame by frame.
        size: height and width of the frames in pixels.
        texture: contrast of the background; 1 is the photograph's own.
        rng: what randomness is drawn from.
    """
    frames = paint_track(draw_background(size, texture, rng), digit, track, rng)
    return (255 * frames + 0.5).astype(np.uint8)


def paint_track(background: np.ndarray, digit: np.ndarray, track: Track, rng: np.random.Generator) -> np.ndarray:
    """The frames [T, height, width, 3] in [0, 1] of a digit that follows a track before a background."""
    height, width = background.shape[:2]
    frames = np.repeat(background[None], len(track.x), 0)
    colour = rng.uniform(0.6, 1.0, 3).astype(np.float32)  # brighter than any background
    unit = min(height, width)
    x, y = width / 2 + unit * track.x, height / 2 + unit * track.y
    _paint(frames, digit, colour, x, y, unit * track.size, track.angle, track.opacity)
    return frames


def draw_background(size: tuple[int, int], texture: float, rng: np.random.Generator) -> np.ndarray:
    """A part of a photograph at a scale, in a contrast and about a brightness of its own, [height, width, 3]."""
    height, width = size
    photograph = _photographs()[rng.integers(2)]
    zoom = int(rng.integers(2, min(photograph.shape[0] // height, photograph.shape[1] // width) + 1))
    top = rng.integers(photograph.shape[0] - zoom * height + 1)
    left = rng.integers(photograph.shape[1] - zoom * width + 1)
    part = photograph[top : top + zoom * height, left : left + zoom * width]
    part = part.reshape(height, zoom, width, zoom, 3).mean((1, 3))
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return (rng.uniform(0.15, 0.4) + texture * (part - part.mean((0, 1)))).clip(0, 1).astype(np.float32)


def _paint(
    frames: np.ndarray,
    digit: np.ndarray,
    colour: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    angle: np.ndarray,
    opacity: np.ndarray,
) -> None:
    """Paint a digit of height `size` around (x, y) into frames [T, H, W, 3]; lengths in pixels, one value a frame."""
    height, width = frames.shape[1:3]
    reach = int(np.ceil(size.max() * 0.75)) + 1  # half a window that holds the digit however it is turned
    left, top = np.floor(x).astype(int) - reach, np.floor(y).astype(int) - reach
    offsets = np.arange(2 * reach)
    right = (left + 0.5 - x)[:, None, None] + offsets
    below = (top + 0.5 - y)[:, None, None] + offsets[:, None]
    shares = opacity[:, None, None] * seen_from(digit, right, below, digit.shape[0] / size, angle)
    for frame, share, row, column in zip(frames, shares, top, left, strict=True):
        rows = slice(max(row, 0), max(min(row + 2 * reach, height), 0))
        columns = slice(max(column, 0), max(min(column + 2 * reach, width), 0))
        seen = share[rows.start - row : rows.stop - row, columns.start - column : columns.stop - column, None]
        if seen.size:  # not so where the object has left the frame
            frame[rows, columns] += seen * (colour - frame[rows, columns])


def seen_from(
    image: np.ndarray, right: np.ndarray, below: np.ndarray, scale: np.ndarray, angle: np.ndarray
) -> np.ndarray:
    """An object's picture, scaled and turned clockwise, as it is seen beside its centre.

    Args:
        image: of the object, [side, side], or [side, side, C].
        right: how far to the right of its centre, in pixels of the frame, [T, 1, w].
        below: how far below it, [T, w, 1].
        scale: pixels of the picture for one of the frame, [T].
        angle: how far it is turned, in radians, [T].

    Returns:
        Its values, [T, w, w] or [T, w, w, C].
    """
    cos, sin = (scale * np.cos(angle))[:, None, None], (scale * np.sin(angle))[:, None, None]
    side = image.shape[0]
    column = (cos * right + sin * below + side / 2 - 0.5).clip(0, side - 1.001).astype(np.float32)
    row = (cos * below - sin * right + side / 2 - 0.5).clip(0, side - 1.001).astype(np.float32)
    first_column, first_row = column.astype(np.intp), row.astype(np.intp)
    across, down = column - first_column, row - first_row
    values, corner = image.reshape(side * side, *image.shape[2:]), first_row * side + first_column
    if image.ndim == 3:
        across, down = across[..., None], down[..., None]
    upper = values[corner] * (1 - across) + values[corner + 1] * across
    lower = values[corner + side] * (1 - across) + values[corner + side + 1] * across
    return upper * (1 - down) + lower * down
