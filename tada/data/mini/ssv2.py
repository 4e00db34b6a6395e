"""Mini Something-Something-V2: rendered videos in its own layout, numbered WebM files and JSON annotations."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tada.base.files import write_json
from tada.base.processes import ordered_map
from tada.data.mini.rendering import RenderSpec, write_video
from tada.data.mini.scenes import MOTIONS, draw_digit, draw_track, draw_video


def _class_name(template: str) -> str:
    return template.replace("[", "").replace("]", "")


TEMPLATES = sorted(MOTIONS, key=_class_name)
"""By class, which are numbered in alphabetical order as those of the real dataset are."""


SPLITS = ("train", "validation")


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


FOLDER = "20bn-something-something-v2"


def write(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render the whole dataset into an empty folder.

    Returns:
        counts for the manifest: videos per split, classes.
    """
    (folder / FOLDER).mkdir(parents=True)
    numbers = np.random.default_rng(spec.seed).permutation(spec.train + spec.validation) + 1
    places = [(split, place) for split in SPLITS for place in range(getattr(spec, split))]
    videos = list(zip(numbers.tolist(), places, strict=True))
    rows = list(ordered_map(partial(_render, folder / FOLDER, spec), videos, workers))
    for split in SPLITS:
        annotated = [row for row, (_, (part, _)) in zip(rows, videos, strict=True) if part == split]
        write_json(folder / f"something-something-v2-{split}.json", annotated)
    labels = {_class_name(template): str(index) for index, template in enumerate(TEMPLATES)}
    write_json(folder / "something-something-v2-labels.json", labels)
    return {"train": spec.train, "validation": spec.validation, "classes": len(TEMPLATES)}


def _render(folder: Path, spec: RenderSpec, video: tuple[int, tuple[str, int]]) -> dict[str, Any]:
    """Render one video; returns its row of the annotations."""
    number, (split, place) = video
    rng = np.random.default_rng((spec.seed, SPLITS.index(split), place))
    template = TEMPLATES[place % len(TEMPLATES)]
    digit = int(rng.integers(10))
    track = draw_track(template, int(rng.integers(spec.frames[0], spec.frames[1] + 1)), spec.strength, rng)
    frames = draw_video(draw_digit(digit, rng), track, (spec.height, spec.width), spec.texture, rng)
    write_video(folder / f"{number}.webm", frames, spec.fps)
    thing = f"a {DIGITS[digit]}" if DIGITS[digit] != "eight" else "an eight"
    label = template.replace("[something]", thing)
    return {"id": str(number), "label": label.lower(), "template": template, "placeholders": [thing]}
