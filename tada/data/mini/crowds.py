"""Crowded scenes, harder than those of `scenes`: one digit acts among other objects, before a camera that moves.

All objects are covered with parts of photographs. The others are no digits, and each glides and turns in its own way,
as fast as digits may move. Nobody can tell an action from a random frame, however well one looks: the frame is a ring
in both directions, so a digit is as likely at any place, and at any angle, whatever it does; and one whose size or
opacity stays the same has that of a random frame of one where it changes. Who knows when a frame was can tell a little:
what grows or fades has gone half its way in the middle of a video.
"""

import numpy as np

from tada.data.mini.rendering import RenderSpec
from tada.data.mini.scenes import (
    MOTIONS,
    Track,
    draw_background,
    draw_progress,
    draw_strength,
    seen_from,
)

_CHANGES = ("Approaching [something] with your camera", "Uncovering [something]")
"""The motions that change size and opacity; others change the place or the angle."""


_SIZES = (0.2, 0.32)
"""Of digits, before they grow or shrink, in short sides of the frame."""


_FAINTEST = 0.25
"""Least opacity of a digit, with which it can still be made out."""


_OTHER_SIZES = (0.15, 0.35)


_BRIGHT, _OTHER_BRIGHT = (0.55, 1.0), (0.3, 0.9)
"""Colours of digits, and of other objects, in each channel; backgrounds lie at 0.15 to 0.4."""


_COVER = 16
"""Pixels across the part of a photograph that covers an object."""


_TURN = 24
"""Frames in which another object glides as far as a digit does in an action; rates of the camera are per so many."""


_AT_ONCE = 48
"""Frames that are painted at once, of videos of up to a thousand."""


def _shapes() -> tuple[np.ndarray, ...]:
    """Square, disc, triangle, plus and bar, each [10, 10] in {0, 1}, empty at the rim as digits are."""
    down, right = np.indices((10, 10)) - 4.5
    inside = np.maximum(abs(down), abs(right)) < 4
    found = (
        inside,
        down**2 + right**2 < 16,
        inside & (abs(right) < (down + 4.5) / 2),
        inside & ((abs(right) < 1.1) | (abs(down) < 1.1)),
        inside & (abs(down) < 1.6),
    )
    return tuple(shape.astype(np.float32) for shape in found)


_SHAPES = _shapes()


def draw_stage(frames: int, spec: RenderSpec, rng: np.random.Generator) -> np.ndarray:
    """A scene without its digit: a background that the camera pans over, and the other objects.

    Args:
        frames: length of the video.
        spec: what to render; it says how many others there are, and how far the camera pans.
        rng: what randomness is drawn from.

    Returns:
        float32 RGB [frames, height, width, 3] in [0, 1].
    """
    assert spec.others is not None
    stage = _pan(frames, spec, rng)
    for _ in range(rng.integers(spec.others[0], spec.others[1] + 1)):
        shape = _SHAPES[rng.integers(len(_SHAPES))]
        turns = np.arange(frames) / _TURN
        direction, way = rng.uniform(0, 2 * np.pi), draw_strength(*spec.strength, spec.weak, rng)
        turn = rng.uniform(-3, 3) * draw_strength(*spec.strength, spec.weak, rng)
        track = Track(
            x=rng.uniform(-0.5, 0.5) + way * np.cos(direction) * turns,
            y=rng.uniform(-0.5, 0.5) + way * np.sin(direction) * turns,
            size=np.full(frames, rng.uniform(*_OTHER_SIZES)),
            angle=rng.uniform(0, 2 * np.pi) + turn * turns,
            opacity=np.ones(frames),
        )
        _paint(stage, shape, _draw_cover(_OTHER_BRIGHT, spec.texture, rng), track)
    return stage


def draw_act(template: str, frames: int, spec: RenderSpec, rng: np.random.Generator) -> Track:
    """A track of `frames` frames of a digit that acts: random in all but the motion.

    Args:
        template: a key of `MOTIONS`.
        frames: length of the track.
        spec: what to render; it says how strong motions are.
        rng: what randomness is drawn from.
    """
    motion, direction = MOTIONS[template]
    track = _unmoved(frames)
    for name in _CHANGES:
        change, _ = MOTIONS[name]
        if change is not motion:
            changed, frame = _unmoved(frames), rng.integers(frames)
            change(changed, draw_progress(frames, rng), draw_strength(*spec.strength, spec.weak, rng), rng)
            track.size *= changed.size[frame]
            track.opacity *= changed.opacity[frame]
    motion(track, direction * draw_progress(frames, rng), draw_strength(*spec.strength, spec.weak, rng), rng)
    across, down = spec.width / min(spec.size), spec.height / min(spec.size)
    track.x = (track.x + rng.uniform(0, across)) % across - across / 2
    track.y = (track.y + rng.uniform(0, down)) % down - down / 2
    track.size *= rng.uniform(*_SIZES)
    track.angle += rng.uniform(0, 2 * np.pi)
    track.opacity *= 1 - _FAINTEST
    track.opacity += _FAINTEST
    return track


def paint_act(stage: np.ndarray, digit: np.ndarray, track: Track, texture: float, rng: np.random.Generator) -> None:
    """Paint a digit that follows a track into a scene.

    Args:
        stage: as `draw_stage` gives it, or the part of it in which the digit acts.
        digit: its shape, [10, 10] in [0, 1].
        track: where it is, frame by frame.
        texture: contrast of its cover; 1 is the photograph's own.
        rng: what randomness is drawn from.
    """
    _paint(stage, digit, _draw_cover(_BRIGHT, texture, rng), track)


def _unmoved(frames: int) -> Track:
    """A track that motions are applied to."""
    return Track(*(np.full(frames, value) for value in (0.0, 0.0, 1.0, 0.0, 1.0)))


def _pan(frames: int, spec: RenderSpec, rng: np.random.Generator) -> np.ndarray:
    """A background that moves to and fro by up to `spec.pan` short sides, in both directions at rates of their own."""
    height, width = spec.size
    reach = spec.pan_pixels
    canvas = draw_background((height + 2 * reach + 1, width + 2 * reach + 1), spec.texture, rng)
    rates, phases = rng.uniform(0.1, 0.5, 2), rng.uniform(0, 2 * np.pi, 2)
    ways = reach * (1 + np.sin(2 * np.pi * rates * np.arange(frames)[:, None] / _TURN + phases))
    stage = np.empty((frames, height, width, 3), np.float32)
    for frame, (down, right) in zip(stage, ways, strict=True):
        top, left = int(down), int(right)
        seen = canvas[top : top + height + 1, left : left + width + 1]
        rows = seen[:-1] + np.float32(down - top) * (seen[1:] - seen[:-1])
        frame[:] = rows[:, :-1] + np.float32(right - left) * (rows[:, 1:] - rows[:, :-1])
    return stage


def _draw_cover(bright: tuple[float, float], texture: float, rng: np.random.Generator) -> np.ndarray:
    """A part of a photograph in a colour, [_COVER, _COVER, 3] in [0, 1]."""
    part = draw_background((_COVER, _COVER), texture, rng)
    return (rng.uniform(*bright, 3) + part - part.mean((0, 1))).clip(0, 1).astype(np.float32)


def _paint(stage: np.ndarray, shape: np.ndarray, cover: np.ndarray, track: Track) -> None:
    """Paint an object into all frames [T, H, W, 3]; what leaves a frame on one side enters it on the other."""
    height, width = stage.shape[1:3]
    unit = min(height, width)
    for begin in range(0, len(stage), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        x, y = width / 2 + unit * track.x[part], height / 2 + unit * track.y[part]
        size, angle = unit * track.size[part], track.angle[part]
        reach = min(int(np.ceil(size.max() * 0.75)) + 1, unit // 2)  # no pixel is painted twice
        left, top = np.floor(x).astype(int) - reach, np.floor(y).astype(int) - reach
        offsets = np.arange(2 * reach)
        right = (left + 0.5 - x)[:, None, None] + offsets
        below = (top + 0.5 - y)[:, None, None] + offsets[:, None]
        shares = seen_from(shape, right, below, shape.shape[0] / size, angle) * track.opacity[part, None, None]
        colours = seen_from(cover, right, below, shape.shape[0] / size * (len(cover) / len(shape)), angle)
        for frame, share, colour, row, column in zip(stage[part], shares, colours, top, left, strict=True):
            rows, columns = (row + offsets[:, None]) % height, (column + offsets) % width
            frame[rows, columns] += share[..., None].astype(np.float32) * (colour - frame[rows, columns])
