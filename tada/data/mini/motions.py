"""What happens in a mini video: one motion per class, named in the manner of Something-Something-V2.

Two classes of a pair show the same frames in opposite order. The last three need several frames but no order. What a
motion starts from is drawn from the same ranges in all classes, so that a single frame does not tell the class.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


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
    track.opacity *= 0.5 + progress


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


def draw_track(template: str, frames: int, strength: tuple[float, float], rng: np.random.Generator) -> Track:
    """A track of `frames` frames for a class: random in all but the motion.

    Args:
        template: a key of `MOTIONS`.
        frames: length of the video.
        strength: smallest and largest extent of the motion, in short sides of the frame.
        rng: what randomness is drawn from.
    """
    motion, direction = MOTIONS[template]
    track = Track(
        x=np.full(frames, rng.uniform(-0.25, 0.25)),
        y=np.full(frames, rng.uniform(-0.15, 0.15)),
        size=np.full(frames, rng.uniform(0.3, 0.5)),
        angle=np.full(frames, rng.uniform(-0.4, 0.4)),
        opacity=np.ones(frames),
    )
    motion(track, direction * _progress(frames, rng), rng.uniform(*strength), rng)
    return track


def _progress(frames: int, rng: np.random.Generator) -> np.ndarray:
    """From -0.5 to 0.5, beginning and ending at random times, without jerks; [frames]."""
    begin, end = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
    time = ((np.arange(frames) / (frames - 1) - begin) / (end - begin)).clip(0, 1)
    return time * time * (3 - 2 * time) - 0.5
