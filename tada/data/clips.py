"""What every dataset is read into: clips with labels, and an account of what could not be used."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tada.base import TadaError

Label = int | dict[str, int]
"""A class, or one per task (EPIC-KITCHENS-100: verb and noun)."""

IGNORED = -100
"""Label of a sample whose video turned out to be unusable: cross-entropy leaves it out, and so must every count."""


@dataclass(frozen=True, slots=True)
class Clip:
    """An annotated video, or the part of it from `start` to `end` (seconds; None: its beginning, its end).

    `name` tells it from the other clips of its split: the video's identifier, or that of the annotated part. Where the
    video is a folder of images, `fps` is the rate at which they were taken (frames per second).
    """

    name: str
    path: Path
    label: Label
    start: float | None = None
    end: float | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Split:
    """The training or validation part of a dataset: usable clips, and the reason for every one that is not."""

    name: str
    clips: tuple[Clip, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def listed(self) -> int:
        """Number of annotated clips, usable or not."""
        return len(self.clips) + len(self.skipped)

    def without(self, reasons: Mapping[str, str]) -> "Split":
        """The same split with the clips named in `reasons` skipped for these reasons."""
        kept = tuple(clip for clip in self.clips if clip.name not in reasons)
        gone = {clip.name: reasons[clip.name] for clip in self.clips if clip.name in reasons}
        return replace(self, clips=kept, skipped={**self.skipped, **gone})

    def counts(self) -> "Counts":
        """What belongs beside every accuracy: clips listed, clips used, and the names of those skipped."""
        return Counts(self.listed, len(self.clips), sorted(self.skipped))

    def check(self, max_skipped: float) -> "Split":
        """This split, if no more than the share `max_skipped` of it is unusable.

        Raises:
            TadaError: more of it is (names how many clips for which reason, and examples), or no clip is left.
        """
        too_many(self.name, self.skipped, self.listed, max_skipped)
        if not self.clips:
            raise TadaError(f"{self.name}: no videos: the annotations list {self.listed}, of which none can be used")
        return self


@dataclass(frozen=True)
class Counts:
    """Videos or segments of a split: how many its annotations list, how many were used, and names of the others.

    `not_finite` names those that were tested and have no finite scores, if any: they count as wrong.
    """

    listed: int
    used: int
    skipped: list[str]
    not_finite: list[str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class SplitRows:
    """Collects a split row by row. A name that comes again is skipped, since scores are told apart by it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._clips: dict[str, Clip] = {}
        self._skipped: dict[str, str] = {}

    def use(self, clip: Clip) -> None:
        """A usable clip."""
        if clip.name in self._clips or clip.name in self._skipped:
            self.skip(clip.name, "listed more than once")
        else:
            self._clips[clip.name] = clip

    def skip(self, name: str, reason: str) -> None:
        """A clip that cannot be used."""
        unique, times = name, 1
        while unique in self._clips or unique in self._skipped:
            times += 1
            unique = f"{name} (row {times} of it)"
        self._skipped[unique] = reason

    def split(self) -> Split:
        """What was collected."""
        return Split(self.name, tuple(self._clips.values()), self._skipped)


@dataclass(frozen=True)
class Annotations:
    """A dataset as read from a user's disk.

    Attributes:
        train: the training split.
        validation: the validation split.
        classes: names of the classes, or of each task's classes.
        mirror: class that a class becomes in the mirror, where it becomes another one.
        layout: which files were found where, in words.
        unlisted: video files that no annotation names.
    """

    train: Split
    validation: Split
    classes: tuple[str, ...] | dict[str, tuple[str, ...]]
    mirror: Mapping[int, int]
    layout: str
    unlisted: tuple[Path, ...] = ()


def too_many(split: str, skipped: Mapping[str, str], listed: int, max_skipped: float) -> None:
    """Raise a TadaError where more than the share `max_skipped` of a split's clips is unusable."""
    if len(skipped) <= max_skipped * listed:
        return
    by_reason = Counter(skipped.values()).most_common(5)
    examples = {reason: next(name for name, why in skipped.items() if why == reason) for reason, _ in by_reason}
    lines = [f"  {count} x {reason} (e.g. {examples[reason]})" for reason, count in by_reason]
    raise TadaError(
        f"{split}: {len(skipped)} of {listed} videos cannot be used, more than the {max_skipped:.1%} that "
        f"data.max_skipped of the recipe allows:\n" + "\n".join(lines)
    )


def mirror_classes(classes: Sequence[str]) -> dict[int, int]:
    """Classes that swap when a video is mirrored: their names differ by "left" and "right" exchanged, nothing else.

    In Something-Something-V2 these are 86 and 87, 93 and 94, 166 and 167.
    """
    opposite = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    place = {name: index for index, name in enumerate(classes)}
    mirrored = (re.sub(r"\b[Ll]eft\b|\b[Rr]ight\b", lambda word: opposite[word[0]], name) for name in classes)
    pairs = {index: place[name] for index, name in enumerate(mirrored) if name in place}
    return {index: other for index, other in pairs.items() if index != other}
