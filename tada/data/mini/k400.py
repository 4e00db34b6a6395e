"""Mini Kinetics-400: rendered mp4 files in folders named after the classes, and the official CSV files.

A class is an object and what happens to it, so that part of it shows in a single frame, as it does in Kinetics. Motions
that differ in the mirror are left out, since recipes flip its videos.
"""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tada.base.processes import ordered_map
from tada.data.mini.rendering import RenderSpec, write_video
from tada.data.mini.scenes import draw_digit, draw_track, draw_video

ACTIVITIES = {
    "approaching": "Approaching [something] with your camera",
    "covering": "Covering [something]",
    "dropping": "Moving [something] down",
    "leaving": "Moving away from [something] with your camera",
    "lifting": "Moving [something] up",
    "uncovering": "Uncovering [something]",
}
"""What Kinetics would call it -> the motion."""


OBJECTS = {"one": 1, "zero": 0}
"""Two digits that a network of this size tells apart."""


CLASSES = [f"{activity} {thing}" for activity in ACTIVITIES for thing in OBJECTS]
"""In alphabetical order, as the classes are numbered."""


SPLITS = {"train": "train", "validation": "val"}
"""Name of a split here -> there."""


HEADING = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")


_SIGNS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))


def write(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render the whole dataset into an empty folder.

    Returns:
        counts for the manifest: videos per split, classes.
    """
    for split in SPLITS.values():
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
    places = [(split, place) for split in SPLITS for place in range(getattr(spec, split))]
    rows = list(ordered_map(partial(_render, folder, spec), places, workers))
    for split, theirs in SPLITS.items():
        annotated = [row for row, (part, _) in zip(rows, places, strict=True) if part == split]
        with (folder / f"{theirs}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
            writer.writerows([HEADING, *annotated])
    return {"train": spec.train, "validation": spec.validation, "classes": len(CLASSES)}


def draw_identifier(rng: np.random.Generator) -> str:
    """The identifier of a video as YouTube has them; there are so many that none comes twice."""
    return "".join(rng.choice(_SIGNS, 11))


def _render(folder: Path, spec: RenderSpec, place: tuple[str, int]) -> tuple[str | int, ...]:
    """Render one video; returns its row of the annotations."""
    split, number = place
    rng = np.random.default_rng((spec.seed, list(SPLITS).index(split), number))
    name = CLASSES[number % len(CLASSES)]
    activity, thing = name.split()
    video = draw_identifier(rng)
    start = int(rng.integers(300))
    track = draw_track(ACTIVITIES[activity], int(rng.integers(spec.frames[0], spec.frames[1] + 1)), spec.strength, rng)
    frames = draw_video(draw_digit(OBJECTS[thing], rng), track, (spec.height, spec.width), spec.texture, rng)
    theirs = SPLITS[split]
    write_video(folder / theirs / name / f"{video}_{start:06d}_{start + 10:06d}.mp4", frames, spec.fps)
    return name, video, start, start + 10, theirs, 0
