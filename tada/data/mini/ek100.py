"""Mini EPIC-KITCHENS-100: longer rendered mp4 files, each with several annotated segments, and the official CSV files.

A verb is a motion and a noun is a digit. All that happens in a video happens before the same background, and between
two segments there is a pause in which nothing is there. Motions that differ in the mirror are left out, as in
tada.data.mini.k400.
"""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tada.data.mini.motions import draw_track
from tada.data.mini.scenes import draw_background, draw_digit, paint_track
from tada.data.mini.spec import RenderSpec
from tada.data.mini.writing import write_video
from tada.data.parallel import ordered_map

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
PAUSE = (3, 9)
"""Fewest and most frames between two segments."""

_VIDEOS_OF_A_PERSON = 10


def write(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render the whole dataset into an empty folder.

    Returns:
        counts for the manifest: segments per split, videos, verbs, nouns.
    """
    segments = spec.segments or 1
    videos = [(split, first) for split in SPLITS for first in range(0, getattr(spec, split), segments)]
    numbered = list(enumerate(videos))
    for number, _ in numbered:
        (folder / _names(number)[0] / "videos").mkdir(parents=True, exist_ok=True)
    rendered = list(ordered_map(partial(_render, folder, spec), numbered, workers))
    for split in SPLITS:
        rows = [row for (part, _), (_, of) in zip(videos, rendered, strict=True) if part == split for row in of]
        _write_csv(folder / f"EPIC_100_{split}.csv", HEADING, rows)
    resolution = f"{spec.width}x{spec.height}"
    info = [(_names(number)[1], frames / spec.fps, spec.fps, resolution) for number, (frames, _) in enumerate(rendered)]
    _write_csv(folder / "EPIC_100_video_info.csv", ("video_id", "duration", "fps", "resolution"), info)
    for task, names in (("verb", VERBS), ("noun", NOUNS)):
        lines = [(number, name, f"['{name}']", "mini") for number, name in enumerate(names)]
        _write_csv(folder / f"EPIC_100_{task}_classes.csv", ("id", "key", "instances", "category"), lines)
    counts = {"train": spec.train, "validation": spec.validation, "videos": len(videos)}
    return {**counts, "verbs": len(VERBS), "nouns": len(NOUNS)}


def _names(number: int) -> tuple[str, str]:
    """Participant and identifier of a video, P01 and P01_01 the first."""
    person, video = divmod(number, _VIDEOS_OF_A_PERSON)
    return f"P{person + 1:02d}", f"P{person + 1:02d}_{video + 1:02d}"


def _render(folder: Path, spec: RenderSpec, video: tuple[int, tuple[str, int]]) -> tuple[int, list[tuple[Any, ...]]]:
    """Render one video; returns its number of frames and its rows of the annotations."""
    number, (split, first) = video
    person, name = _names(number)
    rng = np.random.default_rng((spec.seed, SPLITS.index(split), first))
    background = draw_background((spec.height, spec.width), spec.texture, rng)
    parts, rows, begin = [], [], 0

    def pause() -> None:
        nonlocal begin
        parts.append(np.repeat(background[None], rng.integers(PAUSE[0], PAUSE[1] + 1), 0))
        begin += len(parts[-1])

    pause()
    for place in range(first, min(first + (spec.segments or 1), getattr(spec, split))):
        verb = list(VERBS)[place % len(VERBS)]
        noun = int(rng.integers(len(NOUNS)))
        track = draw_track(VERBS[verb], int(rng.integers(spec.frames[0], spec.frames[1] + 1)), spec.strength, rng)
        parts.append(paint_track(background, draw_digit(noun, rng), track, rng))
        end = begin + len(parts[-1])
        thing = NOUNS[noun]
        times = [_timestamp(frame / spec.fps) for frame in (begin, begin, end)]
        label = (f"{verb} {thing}", verb, list(VERBS).index(verb), thing, noun, f"['{thing}']", f"[{noun}]")
        rows.append((f"{name}_{len(rows)}", person, name, *times, begin + 1, end, *label))
        begin = end
        pause()
    frames = (255 * np.concatenate(parts) + 0.5).astype(np.uint8)
    write_video(folder / person / "videos" / f"{name}.MP4", frames, spec.fps, keyframe_every=spec.fps)
    return len(frames), rows


def _timestamp(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:05.2f}"


def _write_csv(path: Path, heading: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([heading, *rows])
