"""Whole videos with the actions that happen in them, as localization needs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tada.data import catalog
from tada.data.catalog import Place
from tada.data.clips import Clip, Label, Split
from tada.data.readers import fault, inside
from tada.data.video.random_access import open_video
from tada.data.video.timeline import VideoError, stated_seconds


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


def read_untrimmed(dataset: str, place: Place, files: bool = True) -> UntrimmedSplits:
    """A dataset's whole videos that have a segment that can be used; these in the order of time.

    A video lasts as long as the annotations say (HACS: its entry, EPIC-KITCHENS-100: EPIC_100_video_info.csv), and
    where they do not, as long as its file says. A segment outside its video is skipped by name.

    Args:
        dataset: a name of `tada.data.catalog`, of a dataset of untrimmed videos.
        place: where it lies.
        files: the videos are there; otherwise only their annotations are read, for those who have features, and paths
            lead nowhere.

    Raises:
        TadaError: a dataset that is not annotated for localization, or as its reader.
    """
    catalog.localization_of(dataset)
    reader, annotated = catalog.find(dataset).load_reader(), place.options.get("annotations")
    folder = Path(annotated) if annotated else None
    annotations = catalog.read(dataset, place) if files else reader.read_annotated(place.root, folder)
    durations = reader.durations(place.root, folder)
    train, validation = (
        _videos(split, durations, reader.video_name) for split in (annotations.train, annotations.validation)
    )
    return UntrimmedSplits(
        train=train[0],
        validation=validation[0],
        classes=annotations.classes,
        skipped={"train": train[1], "validation": validation[1]},
        layout=annotations.layout,
    )


def _videos(
    split: Split, durations: Mapping[str, float], video_name: Callable[[Clip], str]
) -> tuple[tuple[Untrimmed, ...], dict[str, str]]:
    """The videos of a split, and why others, and segments, cannot be used."""
    skipped = dict(split.skipped)
    clips_of: dict[str, list[Clip]] = {}
    for clip in split.clips:
        clips_of.setdefault(video_name(clip), []).append(clip)
    videos = []
    for name, clips in clips_of.items():
        try:
            duration = durations[name] if name in durations else file_seconds(clips[0].path, clips[0].fps)
        except VideoError as error:
            skipped[name] = f"its duration cannot be found: {error.reason}"
            continue
        segments = []
        for clip in clips:
            start = 0.0 if clip.start is None else clip.start
            end = duration if clip.end is None else clip.end
            if reason := fault(start, end, duration):
                skipped[clip.name] = reason
            else:
                segments.append(Segment(*inside(start, end, duration), clip.label))
        if segments:
            segments.sort(key=lambda segment: (segment.start, segment.end))
            videos.append(Untrimmed(name, clips[0].path, duration, tuple(segments), clips[0].fps))
    return tuple(videos), skipped


def file_seconds(path: Path, fps: float | None = None) -> float:
    """Seconds of a whole video by its file, or its folder of images taken at `fps`; raises VideoError where that
    cannot be read."""
    stated = stated_seconds(path) if fps is None else 0.0
    return stated or open_video(path, fps).info.duration
