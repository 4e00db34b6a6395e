"""Mini EPIC-KITCHENS-100: untrimmed mp4 files, each with several annotated segments, and the official CSV files.

A verb is a motion and a noun is a digit. All that happens in a video happens before the same background, and between
two segments there is a pause in which nothing is there. Motions that differ in the mirror are left out, as in
tada.data.mini.k400.
"""

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tada.base.processes import ordered_map
from tada.data.mini.rendering import RenderSpec, draw_times, write_video
from tada.data.mini.scenes import draw_background, draw_digit, draw_track, paint_track

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


SPLITS = ("train", "validation")


HEADING = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp",
    "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns",
    "all_noun_classes",
)  # fmt: skip


_VIDEOS_OF_A_PERSON = 10


@dataclass(frozen=True)
class _Video:
    """A video to be rendered: the `number`-th of the dataset; its first segment is the `first`-th of the split."""

    number: int
    split: str
    first: int
    frames: int
    times: list[tuple[int, int]]


def write(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render the whole dataset into an empty folder.

    Returns:
        counts for the manifest: segments per split, videos, verbs, nouns.

    Raises:
        TadaError: a spec that lacks what untrimmed videos need.
    """
    spec.check_untrimmed()
    videos = _plan(spec)
    for video in videos:
        (folder / _names(video.number)[0] / "videos").mkdir(parents=True, exist_ok=True)
    rendered = list(ordered_map(partial(_render, folder, spec), videos, workers))
    for split in SPLITS:
        rows = [row for video, of in zip(videos, rendered, strict=True) if video.split == split for row in of]
        _write_csv(folder / f"EPIC_100_{split}.csv", HEADING, rows)
    resolution = f"{spec.width}x{spec.height}"
    info = [(_names(video.number)[1], video.frames / spec.fps, spec.fps, resolution) for video in videos]
    _write_csv(folder / "EPIC_100_video_info.csv", ("video_id", "duration", "fps", "resolution"), info)
    for task, names in (("verb", VERBS), ("noun", NOUNS)):
        lines = [(number, name, f"['{name}']", "mini") for number, name in enumerate(names)]
        _write_csv(folder / f"EPIC_100_{task}_classes.csv", ("id", "key", "instances", "category"), lines)
    counts = {"train": spec.train, "validation": spec.validation, "videos": len(videos)}
    return {**counts, "verbs": len(VERBS), "nouns": len(NOUNS)}


def _plan(spec: RenderSpec) -> list[_Video]:
    """Videos of each split until they have as many segments as `spec` asks for; the last one has what remains."""
    videos: list[_Video] = []
    for split in SPLITS:
        first, wanted = 0, getattr(spec, split)
        rng = np.random.default_rng((spec.seed, SPLITS.index(split)))
        while first < wanted:
            frames, times = draw_times(spec, rng)
            videos.append(_Video(len(videos), split, first, frames, times[: wanted - first]))
            first += len(times)
    return videos


def _names(number: int) -> tuple[str, str]:
    """Participant and identifier of a video, P01 and P01_01 the first."""
    person, video = divmod(number, _VIDEOS_OF_A_PERSON)
    return f"P{person + 1:02d}", f"P{person + 1:02d}_{video + 1:02d}"


def _render(folder: Path, spec: RenderSpec, video: _Video) -> list[tuple[Any, ...]]:
    """Render a video; returns its rows of the annotations."""
    person, name = _names(video.number)
    rng = np.random.default_rng((spec.seed, SPLITS.index(video.split), video.first))
    background = draw_background((spec.height, spec.width), spec.texture, rng)
    frames = np.repeat(background[None], video.frames, 0)
    rows = []
    for place, (begin, end) in enumerate(video.times):
        verb = list(VERBS)[(video.first + place) % len(VERBS)]
        noun = int(rng.integers(len(NOUNS)))
        track = draw_track(VERBS[verb], end - begin, spec.strength, rng)
        frames[begin:end] = paint_track(background, draw_digit(noun, rng), track, rng)
        thing = NOUNS[noun]
        times = [_timestamp(frame / spec.fps) for frame in (begin, begin, end)]
        label = (f"{verb} {thing}", verb, list(VERBS).index(verb), thing, noun, f"['{thing}']", f"[{noun}]")
        rows.append((f"{name}_{place}", person, name, *times, begin + 1, end, *label))
    pixels = (255 * frames + 0.5).astype(np.uint8)
    write_video(folder / person / "videos" / f"{name}.MP4", pixels, spec.fps, keyframe_every=spec.fps)
    return rows


def _timestamp(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:05.2f}"


def _write_csv(path: Path, heading: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([heading, *rows])
