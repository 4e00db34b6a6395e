"""Mini EPIC-KITCHENS-100 and HACS Segments: long videos with annotated segments, in the layouts of the real datasets.

All that happens in a video happens before the same background, with a pause between two segments. In EPIC-KITCHENS-100
a segment has a verb, which is a motion, and a noun, which is a digit; in a pause nothing is there. In HACS a video has
one class of mini Kinetics-400. An activity is repeated until its segment ends, since segments last longer than its
videos; in a pause the object rests, paler, as it begins after or has ended before. Motions that differ in the mirror
are left out, as in tada.data.mini.trimmed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tada.base import TadaError
from tada.base.files import write_json
from tada.base.processes import ordered_map
from tada.data.mini.crowds import draw_act, draw_stage, paint_act
from tada.data.mini.rendering import SPLITS, RenderSpec, write_csv, write_video
from tada.data.mini.scenes import Track, draw_background, draw_digit, draw_track, paint_track
from tada.data.mini.trimmed import ACTIVITIES, OBJECTS, draw_identifier

VERBS = {
    "lift": "Moving [something] up",
    "drop": "Moving [something] down",
    "approach": "Approaching [something] with your camera",
    "leave": "Moving away from [something] with your camera",
    "uncover": "Uncovering [something]",
    "cover": "Covering [something]",
    "shake": "Shaking [something]",
    "hold": "Holding [something]",
}
"""By class: key of EPIC_100_verb_classes.csv -> the motion."""


NOUNS = ("zero", "one", "two", "three", "four", "five")
"""By class, which is the digit."""


_EK100_HEADING = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp",
    "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns",
    "all_noun_classes",
)  # fmt: skip


_VIDEOS_OF_A_PERSON = 10


HACS_CLASSES = [f"{activity.capitalize()} {thing}" for activity in ACTIVITIES for thing in OBJECTS]
"""In alphabetical order, as the classes are numbered."""


HACS_FILE = "HACS_segments_v1.1.1.json"


_HACS_SPLITS = {"train": "training", "validation": "validation"}


_FADED = 0.65
"""Opacity of an object in a pause. At 0, what a network says of pauses outweighs all else; at 1, nothing marks where an
action begins."""


_REPEATED = 36
"""About as many frames as an activity takes once."""


@dataclass(frozen=True)
class Timing:
    """When something happens in an untrimmed video; each range is the fewest and the most.

    Attributes:
        video: frames of a video.
        segments: annotated segments of a video; fewer where no more fit in.
        segment: frames of a segment.
        pause: fewest frames before, between and after the segments.
    """

    video: tuple[int, int]
    segments: tuple[int, int]
    segment: tuple[int, int]
    pause: int

    @classmethod
    def of(cls, spec: RenderSpec) -> "Timing":
        """What a spec says of untrimmed videos.

        Raises:
            TadaError: it lacks what they need, or the longest segment does not fit into the shortest video.
        """
        if spec.untrimmed is None or spec.segments is None or spec.pause is None:
            missing = next(key for key in ("untrimmed", "segments", "pause") if getattr(spec, key) is None)
            raise TadaError(f"data.render: {missing} is missing; videos of this dataset are untrimmed")
        needed = spec.frames[1] + 2 * spec.pause
        if spec.untrimmed[0] < needed:
            raise TadaError(
                f"data.render: untrimmed is [{spec.untrimmed[0]}, {spec.untrimmed[1]}], and the longest segment "
                f"needs {needed} frames with its pauses"
            )
        return cls(spec.untrimmed, spec.segments, spec.frames, spec.pause)

    def draw(self, rng: np.random.Generator) -> tuple[int, list[tuple[int, int]]]:
        """Length of a video and its segments, each from its first frame to the one after its last.

        Lengths and number of segments are drawn from their ranges; what is left of the video is divided at random among
        the pauses.
        """
        frames = int(rng.integers(self.video[0], self.video[1] + 1))
        count = rng.integers(self.segments[0], self.segments[1] + 1)
        lengths = rng.integers(self.segment[0], self.segment[1] + 1, count)
        lengths = lengths[np.cumsum(lengths + self.pause) + self.pause <= frames]
        spare = frames - lengths.sum() - (len(lengths) + 1) * self.pause
        cuts = np.sort(rng.integers(0, spare + 1, len(lengths)))
        begins = np.cumsum([0, *lengths[:-1]]) + self.pause * np.arange(1, len(lengths) + 1) + cuts
        return frames, [(int(begin), int(begin + length)) for begin, length in zip(begins, lengths, strict=True)]


@dataclass(frozen=True)
class _KitchenVideo:
    """A video of EPIC-KITCHENS-100: the `number`-th of the dataset; its first segment is the `first`-th of the split.

    `times` are its segments, in frames.
    """

    number: int
    split: str
    first: int
    frames: int
    times: list[tuple[int, int]]

    @property
    def person(self) -> str:
        """Identifier of the participant, P01 the first."""
        return f"P{self.number // _VIDEOS_OF_A_PERSON + 1:02d}"

    @property
    def name(self) -> str:
        """Identifier of the video, P01_01 the first."""
        return f"{self.person}_{self.number % _VIDEOS_OF_A_PERSON + 1:02d}"


def write_ek100(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render EPIC-KITCHENS-100 into an empty folder: mp4 files in a folder of each participant, and the CSV files.

    Returns:
        counts for the manifest: segments per split, videos, verbs, nouns.

    Raises:
        TadaError: a spec that lacks what untrimmed videos need.
    """
    videos = _plan_ek100(spec, Timing.of(spec))
    for video in videos:
        (folder / video.person / "videos").mkdir(parents=True, exist_ok=True)
    rendered = list(ordered_map(partial(_render_ek100, folder, spec), videos, workers))
    for split in SPLITS:
        rows = [row for video, of in zip(videos, rendered, strict=True) if video.split == split for row in of]
        write_csv(folder / f"EPIC_100_{split}.csv", _EK100_HEADING, rows)
    info = [(video.name, video.frames / spec.fps, spec.fps, f"{spec.width}x{spec.height}") for video in videos]
    write_csv(folder / "EPIC_100_video_info.csv", ("video_id", "duration", "fps", "resolution"), info)
    for task, names in (("verb", VERBS), ("noun", NOUNS)):
        lines = [(number, name, f"['{name}']", "mini") for number, name in enumerate(names)]
        write_csv(folder / f"EPIC_100_{task}_classes.csv", ("id", "key", "instances", "category"), lines)
    counts = {"train": spec.train, "validation": spec.validation, "videos": len(videos)}
    return {**counts, "verbs": len(VERBS), "nouns": len(NOUNS)}


def _plan_ek100(spec: RenderSpec, timing: Timing) -> list[_KitchenVideo]:
    """Videos of each split until they have as many segments as `spec` asks for; the last one has what remains."""
    videos: list[_KitchenVideo] = []
    for split in SPLITS:
        first, wanted = 0, getattr(spec, split)
        rng = spec.rng(split)
        while first < wanted:
            frames, times = timing.draw(rng)
            videos.append(_KitchenVideo(len(videos), split, first, frames, times[: wanted - first]))
            first += len(times)
    return videos


def _render_ek100(folder: Path, spec: RenderSpec, video: _KitchenVideo) -> list[tuple[Any, ...]]:
    """Render a video; returns its rows of the annotations."""
    rng = spec.rng(video.split, video.first)
    frames = _draw_setting(video.frames, spec, rng)
    background = frames[0].copy()
    rows = []
    for place, (begin, end) in enumerate(video.times):
        verb = list(VERBS)[(video.first + place) % len(VERBS)]
        noun = int(rng.integers(len(NOUNS)))
        if spec.others is not None:
            track = draw_act(VERBS[verb], end - begin, spec, rng)
            paint_act(frames[begin:end], draw_digit(noun, rng), track, spec.texture, rng)
        else:
            track = draw_track(VERBS[verb], end - begin, spec.strength, rng, spec.weak)
            frames[begin:end] = paint_track(background, draw_digit(noun, rng), track, rng)
        thing = NOUNS[noun]
        times = [_timestamp(frame / spec.fps) for frame in (begin, begin, end)]
        label = (f"{verb} {thing}", verb, list(VERBS).index(verb), thing, noun, f"['{thing}']", f"[{noun}]")
        rows.append((f"{video.name}_{place}", video.person, video.name, *times, begin + 1, end, *label))
    _write_untrimmed(folder / video.person / "videos" / f"{video.name}.MP4", frames, spec.fps)
    return rows


def _draw_setting(frames: int, spec: RenderSpec, rng: np.random.Generator) -> np.ndarray:
    """What is seen all along a video besides what acts, [frames, height, width, 3] in [0, 1]."""
    if spec.others is not None:
        return draw_stage(frames, spec, rng)
    return np.repeat(draw_background(spec.size, spec.texture, rng)[None], frames, 0)


def _timestamp(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:05.2f}"


def write_hacs(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render HACS Segments into an empty folder: mp4 files in folders named after the classes, and the JSON file.

    Returns:
        counts for the manifest: segments per split, videos, classes.

    Raises:
        TadaError: a spec that lacks what untrimmed videos need.
    """
    timing = Timing.of(spec)
    for name in HACS_CLASSES:
        (folder / _hacs_folder(name)).mkdir(parents=True)
    videos = dict(ordered_map(partial(_render_hacs, folder, spec, timing), spec.places(), workers))
    write_json(folder / HACS_FILE, {"database": videos})
    counts = {
        split: sum(len(video["annotations"]) for video in videos.values() if video["subset"] == official)
        for split, official in _HACS_SPLITS.items()
    }
    return {**counts, "videos": len(videos), "classes": len(HACS_CLASSES)}


def _hacs_folder(name: str) -> str:
    return name.replace(" ", "_")


def _render_hacs(folder: Path, spec: RenderSpec, timing: Timing, place: tuple[str, int]) -> tuple[str, dict[str, Any]]:
    """Render the video of a place; returns its identifier and its entry of the annotations."""
    split, number = place
    rng = spec.rng(split, number)
    name = HACS_CLASSES[number % len(HACS_CLASSES)]
    activity, thing = name.lower().split()
    video = draw_identifier(rng)
    length, times = timing.draw(rng)
    frames = _draw_setting(length, spec, rng)
    background = frames[0].copy()
    middles = [(end + begin) // 2 for (_, end), (begin, _) in pairwise(times)]
    for (begin, end), since, until in zip(times, [0, *middles], [*middles, length], strict=True):
        track = _repeat_activity(ACTIVITIES[activity], end - begin, spec, rng)
        if spec.others is not None:
            track = _with_pauses(track, begin - since, until - end)
            paint_act(frames[since:until], draw_digit(OBJECTS[thing], rng), track, spec.texture, rng)
            continue
        frames[begin:end] = paint_track(background, draw_digit(OBJECTS[thing], rng), track, rng)
        frames[since:begin] += _FADED * (frames[begin] - background)
        frames[end:until] += _FADED * (frames[end - 1] - background)
    _write_untrimmed(folder / _hacs_folder(name) / f"v_{video}.mp4", frames, spec.fps)
    return video, {
        "annotations": [{"label": name, "segment": [begin / spec.fps, end / spec.fps]} for begin, end in times],
        "subset": _HACS_SPLITS[split],
        "duration": f"{length / spec.fps:.6f}",
        "url": f"https://www.youtube.com/watch?v={video}",
    }


def _repeat_activity(template: str, frames: int, spec: RenderSpec, rng: np.random.Generator) -> Track:
    """A track of `frames` frames in which the motion is seen once or more, each time from elsewhere."""
    times = max(round(frames / _REPEATED), 1)
    parts = np.array_split(np.arange(frames), times)
    if spec.others is not None:
        return _joined([draw_act(template, len(part), spec, rng) for part in parts])
    return _joined([draw_track(template, len(part), spec.strength, rng, spec.weak) for part in parts])


def _with_pauses(track: Track, before: int, after: int) -> Track:
    """A track with so many frames before and after it, in which the object rests, paler."""
    rests = [
        Track(**{name: np.repeat(values[place], frames) for name, values in vars(track).items()})
        for place, frames in ((0, before), (-1, after))
    ]
    for rest in rests:
        rest.opacity *= _FADED
    return _joined([rests[0], track, rests[1]])


def _joined(tracks: Sequence[Track]) -> Track:
    """One track after the other."""
    return Track(**{name: np.concatenate([vars(track)[name] for track in tracks]) for name in vars(tracks[0])})


def _write_untrimmed(path: Path, frames: np.ndarray, fps: int) -> None:
    """Write frames [T, height, width, 3] in [0, 1] with a keyframe every second, so that segments are found fast."""
    write_video(path, (255 * frames + 0.5).astype(np.uint8), fps, keyframe_every=fps)
