"""Mini Something-Something-V2 and Kinetics-400: videos of one action each, in the layouts of the real datasets.

A class of Something-Something-V2 is a motion, whatever digit moves. A class of Kinetics-400 is a digit and its motion,
so that part of it shows in a single frame, as it does in the real dataset. Motions that differ in the mirror are left
out there, since its recipes mirror clips.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tada.base.files import write_json
from tada.base.processes import ordered_map
from tada.data.mini.crowds import draw_act, draw_stage, paint_act
from tada.data.mini.rendering import SPLITS, RenderSpec, write_csv, write_video
from tada.data.mini.scenes import MOTIONS, Track, draw_digit, draw_track, draw_video


def _ssv2_class(template: str) -> str:
    return template.replace("[", "").replace("]", "")


TEMPLATES = sorted(MOTIONS, key=_ssv2_class)
"""Motions of Something-Something-V2 by class; classes are numbered in alphabetical order, as the real ones are."""


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


_SSV2_FOLDER = "20bn-something-something-v2"


ACTIVITIES = {
    "approaching": "Approaching [something] with your camera",
    "covering": "Covering [something]",
    "dropping": "Moving [something] down",
    "leaving": "Moving away from [something] with your camera",
    "lifting": "Moving [something] up",
    "uncovering": "Uncovering [something]",
}
"""Activity as Kinetics-400 would call it -> the motion."""


OBJECTS = {"one": 1, "zero": 0}
"""Two digits that a network of this size tells apart."""


K400_CLASSES = [f"{activity} {thing}" for activity in ACTIVITIES for thing in OBJECTS]
"""In alphabetical order, as the classes are numbered."""


_K400_SPLITS = {"train": "train", "validation": "val"}


_K400_HEADING = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")


_IDENTIFIER_SIGNS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))


def write_ssv2(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render Something-Something-V2 into an empty folder: numbered WebM files and JSON annotations.

    Returns:
        counts for the manifest: videos per split, classes.
    """
    (folder / _SSV2_FOLDER).mkdir(parents=True)
    videos = _ssv2_videos(spec)
    rows = list(ordered_map(partial(_render_ssv2, folder / _SSV2_FOLDER, spec), videos, workers))
    for split in SPLITS:
        annotated = [row for row, (_, (part, _)) in zip(rows, videos, strict=True) if part == split]
        write_json(folder / f"something-something-v2-{split}.json", annotated)
    labels = {_ssv2_class(template): str(index) for index, template in enumerate(TEMPLATES)}
    write_json(folder / "something-something-v2-labels.json", labels)
    return {"train": spec.train, "validation": spec.validation, "classes": len(TEMPLATES)}


def _render_ssv2(folder: Path, spec: RenderSpec, video: tuple[int, tuple[str, int]]) -> dict[str, Any]:
    """Render the video of a number and a place; returns its row of the annotations."""
    number, (split, place) = video
    rng = spec.rng(split, place)
    template, digit = _draw_ssv2(place, rng)
    write_video(folder / f"{number}.webm", _draw_action(template, digit, spec, rng), spec.fps)
    thing = f"a {DIGITS[digit]}" if DIGITS[digit] != "eight" else "an eight"
    label = template.replace("[something]", thing)
    return {"id": str(number), "label": label.lower(), "template": template, "placeholders": [thing]}


def _ssv2_videos(spec: RenderSpec) -> list[tuple[int, tuple[str, int]]]:
    """The number of every video, by which its file is called, with its split and its place in it."""
    numbers = np.random.default_rng(spec.seed).permutation(spec.train + spec.validation) + 1
    return list(zip(numbers.tolist(), spec.places(), strict=True))


def _draw_ssv2(place: int, rng: np.random.Generator) -> tuple[str, int]:
    """The motion of the video at a place, and the digit that moves."""
    return TEMPLATES[place % len(TEMPLATES)], int(rng.integers(10))


def find_ssv2(video: str, spec: RenderSpec) -> Track | None:
    """Where the object of a video is in each of its frames, drawn as when it was rendered; None of an unknown video."""
    split, place = dict(_ssv2_videos(spec)).get(int(video) if video.isdecimal() else 0, ("", 0))
    if not split:
        return None
    rng = spec.rng(split, place)
    template, _ = _draw_ssv2(place, rng)
    return _draw_track(template, spec, rng)


def write_k400(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render Kinetics-400 into an empty folder: mp4 files in folders named after the classes, and the CSV files.

    Returns:
        counts for the manifest: videos per split, classes.
    """
    for official in _K400_SPLITS.values():
        for name in K400_CLASSES:
            (folder / official / name).mkdir(parents=True)
    places = spec.places()
    rows = list(ordered_map(partial(_render_k400, folder, spec), places, workers))
    for split, official in _K400_SPLITS.items():
        annotated = [row for row, (part, _) in zip(rows, places, strict=True) if part == split]
        write_csv(folder / f"{official}.csv", _K400_HEADING, annotated, quote_texts=True)
    return {"train": spec.train, "validation": spec.validation, "classes": len(K400_CLASSES)}


def _render_k400(folder: Path, spec: RenderSpec, place: tuple[str, int]) -> tuple[str | int, ...]:
    """Render the video of a place; returns its row of the annotations."""
    split, number = place
    rng = spec.rng(split, number)
    name = K400_CLASSES[number % len(K400_CLASSES)]
    activity, thing = name.split()
    video = draw_identifier(rng)
    start = int(rng.integers(300))
    frames = _draw_action(ACTIVITIES[activity], OBJECTS[thing], spec, rng)
    official = _K400_SPLITS[split]
    write_video(folder / official / name / f"{video}_{start:06d}_{start + 10:06d}.mp4", frames, spec.fps)
    return name, video, start, start + 10, official, 0


def draw_identifier(rng: np.random.Generator) -> str:
    """The identifier of a video as YouTube has them; there are so many that none comes twice."""
    return "".join(rng.choice(_IDENTIFIER_SIGNS, 11))


def _draw_action(template: str, digit: int, spec: RenderSpec, rng: np.random.Generator) -> np.ndarray:
    """A digit that moves by a template, in a video of random length; uint8 RGB [T, height, width, 3]."""
    track = _draw_track(template, spec, rng)
    if spec.others is not None:
        stage = draw_stage(len(track.x), spec, rng)
        paint_act(stage, draw_digit(digit, rng), track, spec.texture, rng)
        return (255 * stage + 0.5).astype(np.uint8)
    return draw_video(draw_digit(digit, rng), track, spec.size, spec.texture, rng)


def _draw_track(template: str, spec: RenderSpec, rng: np.random.Generator) -> Track:
    length = int(rng.integers(spec.frames[0], spec.frames[1] + 1))
    if spec.others is not None:
        return draw_act(template, length, spec, rng)
    return draw_track(template, length, spec.strength, rng, spec.weak)
