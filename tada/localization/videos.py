"""Whole videos with the actions that happen in them, as localization needs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tada.data.clips import Label
from tada.data.datasets import Place


@dataclass(frozen=True, slots=True)
class Segment:
    """An action from `start` to `end` (seconds)."""

    start: float
    end: float
    label: Label


@dataclass(frozen=True, slots=True)
class Untrimmed:
    """A whole video of `duration` seconds. Where `path` is a folder of images, `fps` is the rate they were taken at."""

    name: str
    path: Path
    duration: float
    segments: tuple[Segment, ...]
    fps: float | None = None


@dataclass(frozen=True)
class UntrimmedSplits:
    """A dataset's whole videos.

    Attributes:
        train: training videos.
        validation: validation videos.
        classes: names of the classes, or of each task's classes.
        skipped: for each split, the reason for every video or segment that cannot be used.
        layout: which files were found where, in words.
    """

    train: tuple[Untrimmed, ...]
    validation: tuple[Untrimmed, ...]
    classes: tuple[str, ...] | dict[str, tuple[str, ...]]
    skipped: Mapping[str, Mapping[str, str]]
    layout: str


def read_untrimmed(dataset: str, place: Place) -> UntrimmedSplits:
    """The whole videos of "hacs" or "ek100".

    Raises:
        TadaError: a dataset that is not annotated for localization, or as its reader.
    """
    raise NotImplementedError
