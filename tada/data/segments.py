"""Annotated parts of untrimmed videos: which of them can be used."""

from math import isfinite

SLACK = 1.0
"""Seconds that a segment may lie outside its video: annotators and containers round, and count seconds differently."""


def fault(start: float, end: float, duration: float | None = None) -> str | None:
    """Why a segment (seconds) of a video that lasts `duration` cannot be used; None if it can, cut by `inside`."""
    if not (isfinite(start) and isfinite(end)):
        return f"its times {start} and {end} are not finite"
    if end == start:
        return f"no length: begins and ends at {start:.2f} s"
    if end < start:
        return f"ends at {end:.2f} s, before it starts at {start:.2f} s"
    if start < -SLACK:
        return f"begins at {start:.2f} s, before its video does"
    if duration is not None and (start >= duration or end > duration + SLACK):
        return f"lasts from {start:.2f} s to {end:.2f} s, outside its video of {duration:.2f} s"
    return None


def inside(start: float, end: float, duration: float) -> tuple[float, float]:
    """The part of a segment that lies inside its video."""
    return max(start, 0.0), min(end, duration)
