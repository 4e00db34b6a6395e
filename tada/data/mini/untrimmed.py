"""When something happens in an untrimmed mini video."""

import numpy as np

from tada.data.mini.spec import RenderSpec


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
