"""Mini HACS Segments: untrimmed mp4 files in folders named after their one class, and the official JSON file.

The classes are those of mini Kinetics-400. Actions last longer than there: the activity is repeated until its segment
ends. In the pauses its object rests, paler, as it begins after or has ended before.
"""

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tada.base.files import write_json
from tada.base.processes import ordered_map
from tada.data.mini.k400 import ACTIVITIES, OBJECTS, draw_identifier
from tada.data.mini.rendering import RenderSpec, draw_times, write_video
from tada.data.mini.scenes import Track, draw_background, draw_digit, draw_track, paint_track

CLASSES = [f"{activity.capitalize()} {thing}" for activity in ACTIVITIES for thing in OBJECTS]
"""In alphabetical order, as the classes are numbered."""


SPLITS = {"train": "training", "validation": "validation"}
"""Name of a split here -> there."""


FILE = "HACS_segments_v1.1.1.json"


FADED = 0.65
"""Opacity of an object in a pause. At 0, what a network says of pauses outweighs all else; at 1, nothing marks where an
action begins."""


REPEATED = 36
"""About as many frames as an activity takes once."""


def write(folder: Path, spec: RenderSpec, workers: int) -> dict[str, Any]:
    """Render the whole dataset into an empty folder.

    Returns:
        counts for the manifest: segments per split, videos, classes.

    Raises:
        TadaError: a spec that lacks what untrimmed videos need.
    """
    spec.check_untrimmed()
    for name in CLASSES:
        (folder / _folder_of(name)).mkdir(parents=True)
    places = [(split, place) for split in SPLITS for place in range(getattr(spec, split))]
    videos = dict(ordered_map(partial(_render, folder, spec), places, workers))
    write_json(folder / FILE, {"database": videos})
    counts = {
        split: sum(len(video["annotations"]) for video in videos.values() if video["subset"] == theirs)
        for split, theirs in SPLITS.items()
    }
    return {**counts, "videos": len(videos), "classes": len(CLASSES)}


def _folder_of(name: str) -> str:
    return name.replace(" ", "_")


def _render(folder: Path, spec: RenderSpec, place: tuple[str, int]) -> tuple[str, dict[str, Any]]:
    """Render a video; returns its identifier and its entry of the annotations."""
    split, number = place
    rng = np.random.default_rng((spec.seed, list(SPLITS).index(split), number))
    name = CLASSES[number % len(CLASSES)]
    activity, thing = name.lower().split()
    video = draw_identifier(rng)
    length, times = draw_times(spec, rng)
    background = draw_background((spec.height, spec.width), spec.texture, rng)
    frames = np.repeat(background[None], length, 0)
    middles = [(end + begin) // 2 for (_, end), (begin, _) in pairwise(times)]
    for (begin, end), since, until in zip(times, [0, *middles], [*middles, length], strict=True):
        track = _repeated(ACTIVITIES[activity], end - begin, spec.strength, rng)
        frames[begin:end] = paint_track(background, draw_digit(OBJECTS[thing], rng), track, rng)
        frames[since:begin] += FADED * (frames[begin] - background)
        frames[end:until] += FADED * (frames[end - 1] - background)
    pixels = (255 * frames + 0.5).astype(np.uint8)
    write_video(folder / _folder_of(name) / f"v_{video}.mp4", pixels, spec.fps, keyframe_every=spec.fps)
    return video, {
        "annotations": [{"label": name, "segment": [begin / spec.fps, end / spec.fps]} for begin, end in times],
        "subset": SPLITS[split],
        "duration": f"{length / spec.fps:.6f}",
        "url": f"https://www.youtube.com/watch?v={video}",
    }


def _repeated(template: str, frames: int, strength: tuple[float, float], rng: np.random.Generator) -> Track:
    """A track of `frames` frames in which the motion is seen once or more, each time from elsewhere."""
    times = max(round(frames / REPEATED), 1)
    tracks = [draw_track(template, len(part), strength, rng) for part in np.array_split(np.arange(frames), times)]
    return Track(**{name: np.concatenate([vars(track)[name] for track in tracks]) for name in vars(tracks[0])})
