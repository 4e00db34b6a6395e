"""What a mini dataset shows; `data.render` of a mini recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tada.errors import TadaError, unknown


@dataclass(frozen=True)
class RenderSpec:
    """Number and look of the videos; the defaults are those that the mini recipes were tuned with.

    Attributes:
        train: training videos.
        validation: validation videos.
        seed: all randomness depends on it and on a video's place in its split.
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        frames: fewest and most frames of a video.
        fps: frames per second.
        strength: smallest and largest extent of a motion, in short sides of the frame.
        texture: contrast of the background; 1 is the photographs' own.
        segments: annotated parts of a video, of EPIC-KITCHENS-100 alone; then `train`, `validation` and `frames` are of
            parts.
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
    segments: int | None = None

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
        for key in ("train", "validation", "height", "width", "fps", "segments"):
            value = getattr(spec, key)
            if value is not None and value < 1:
                raise TadaError(f"data.render: {key} is {value}, and must be 1 or more")
        for key, least in (("frames", 2), ("strength", 0)):
            low, high = getattr(spec, key)
            if not least <= low <= high:
                raise TadaError(f"data.render: {key} is [{low}, {high}], and must be a range from {least} up")
        return spec
