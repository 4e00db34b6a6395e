"""EPIC-KITCHENS-100 as users have it on disk: segments of long videos, as video files or as folders of frames."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path

import numpy as np

from tada.base import TadaError
from tada.data.catalog import DATASETS
from tada.data.clips import Annotations, Clip, Split, SplitRows
from tada.data.readers import check_layout, check_root, rows, walk
from tada.data.video.random_access import IMAGE, count_images

LAYOUTS = DATASETS["ek100"].layouts


EXPECTED = f"""expected there:
  annotations: EPIC_100_train.csv and EPIC_100_validation.csv, there or one or two folders below
  videos: P01/videos/P01_01.MP4, ..., or anywhere else with these names; or folders P01_01 of frames {IMAGE.format(1)},
    ..., at the rate by which the annotations' start_frame counts"""


DURATION_SECONDS, DURATION_SHARE = 1.0, 0.01
"""A video may last so much longer or shorter than stated, whichever is more; copies are cut at other keyframes."""


RATES = (60.0, 50.0)
"""Frames per second of the distributed folders: 60 of the videos of EPIC-KITCHENS-55, 50 of those that came later."""


ROUNDING = 2.0
"""Frames by which a frame's number may differ from its time's: times are rounded to hundredths of a second."""


_TRAIN = "EPIC_100_train.csv"


_INFO = "EPIC_100_video_info.csv"


_COLUMNS = ("narration_id", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")


_DEPTH = 4


def read(
    root: Path, annotations: Path | None = None, videos: Path | None = None, layout: str | None = None
) -> Annotations:
    """Training and validation segments with their labels {"verb": ..., "noun": ...}, by their times in seconds.

    A segment's name is its narration_id. Of a video file, frame numbers in the annotations are not used, since a copy
    may have another rate. Of folders of frames, they tell at which rate the frames were taken (`numbered_rate`), which
    is not that of the original video; a folder that contradicts them is not used. Rows that cannot be used are skipped,
    each with its reason.

    Args:
        root: folder of the dataset.
        annotations: folder of the annotations where that is not `root` or up to two folders below.
        videos: folder of the videos or frames where that is not `root`.
        layout: "videos" or "frames" where both are there; by default what more of the annotated videos are there as.

    Raises:
        TadaError: the folder, the annotations or all videos are missing, or an annotation file is malformed.
    """
    check_layout(layout, LAYOUTS)
    check_root(root, EXPECTED)
    folder = _annotation_folder(annotations, root)
    tables = _tables(folder)
    wanted = {row["video_id"] for table in tables.values() for row in table}
    layout, found, others = _find(videos or root, wanted, layout)
    rates = _rates(folder, tables, found) if layout == "frames" else {}
    what = "videos" if layout == "videos" else "folders of frames"
    return _annotations(
        folder,
        tables,
        found,
        rates,
        layout=f"annotations as {folder / _TRAIN}, {len(found)} of {len(wanted)} {what} in {videos or root}",
        unlisted=tuple(path for path in others if path.stem not in _tested(folder)),
    )


def read_annotated(root: Path, annotations: Path | None = None) -> Annotations:
    """What `read` returns for somebody who has all videos, for those who have features in their place.

    Raises:
        TadaError: the annotations are missing or malformed.
    """
    folder = _annotation_folder(annotations, root)
    tables = _tables(folder)
    found = {row["video_id"]: root / f"{row['video_id']}.MP4" for table in tables.values() for row in table}
    return _annotations(folder, tables, found, {}, layout=f"annotations as {folder / _TRAIN}, without videos")


def video_name(clip: Clip) -> str:
    """The identifier of a segment's video: segments need not be called after it, and its file always is."""
    return clip.path.stem


def durations(root: Path, annotations: Path | None = None) -> dict[str, float]:
    """Seconds of the videos by EPIC_100_video_info.csv, by their identifiers; empty where that file is not there.

    Raises:
        TadaError: the annotations are missing, or that file is malformed.
    """
    folder = _annotation_folder(annotations, root)
    return _info(folder, "duration") if (folder / _INFO).exists() else {}


def disagreement(found: float, stated: float, fps: float) -> str | None:
    """What is wrong with a video of `found` seconds that should have `stated`; None if they agree.

    Segments are cut out by their times, so that a copy whose frame rate is not true, or that lacks its end, gives other
    frames than were annotated, and no error.
    """
    if abs(found - stated) <= max(DURATION_SECONDS, DURATION_SHARE * stated):
        return None
    return (
        f"lasts {found:.2f} s at {fps:.4g} frames per second, and {_INFO} says {stated:.2f} s: "
        "its frame rate is not true, or a part of it is missing"
    )


def numbered_rate(frames: Sequence[int], times: Sequence[float]) -> float | None:
    """Frames per second by which `frames` are numbered that were annotated at `times` (seconds).

    One of RATES, or a whole number where neither fits, or any; None where no rate fits all frames within ROUNDING.
    """
    number, time = np.array(frames, float), np.array(times, float)
    if not time.any():
        return None
    measured = float(number @ time / (time @ time))
    nearest = sorted(RATES, key=lambda rate: abs(rate - measured))
    return next((rate for rate in (*nearest, round(measured), measured) if _fits(number, time, rate)), None)


def _fits(frames: np.ndarray, times: np.ndarray, rate: float) -> bool:
    return rate > 0 and bool((np.abs(frames - rate * times) <= ROUNDING).all())


def contradiction(folder: Path, rate: float, last: int, stated: float | None) -> str | None:
    """What is wrong with a folder of frames that are numbered at `rate` in the annotations; None if they agree.

    Args:
        folder: of frames.
        rate: frames per second by the annotations.
        last: number of the last annotated frame.
        stated: seconds that the video lasts by EPIC_100_video_info.csv; None where that does not say.
    """

    def is_there(number: float) -> bool:
        return (folder / IMAGE.format(max(round(number), 1))).is_file()

    slack = DURATION_SECONDS * rate
    agrees = is_there(last - slack)
    if stated is not None:
        agrees = agrees and is_there(stated * rate - slack) and not is_there(stated * rate + slack + 1)
    if agrees:
        return None
    count = count_images(folder)
    lasts = stated or last / rate
    return (
        f"its folder holds {count} frames, {count / lasts:.2f} a second of {lasts:.2f} s, and the annotations number "
        f"{rate:.2f} a second: they were taken at another rate, or a part of them is missing"
    )


def seconds(time: str) -> float:
    """Seconds of a time such as 01:02:03.45; raises ValueError for anything else."""
    hours, minutes, rest = time.split(":")
    value = 3600 * int(hours) + 60 * int(minutes) + float(rest)
    if value < 0:
        raise ValueError(time)
    return value


def _annotation_folder(annotations: Path | None, root: Path) -> Path:
    if annotations:
        return annotations
    found = [path for pattern in ("", "*/", "*/*/") for path in sorted(root.glob(pattern + _TRAIN))]
    if not found:
        raise TadaError(f"{root}: no annotations of EPIC-KITCHENS-100; {EXPECTED}")
    return found[0].parent


def _tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    return {split: rows(folder / f"EPIC_100_{split}.csv", _COLUMNS) for split in ("train", "validation")}


def _annotations(
    folder: Path,
    tables: Mapping[str, list[dict[str, str]]],
    found: Mapping[str, Path],
    rates: Mapping[str, float | str],
    layout: str,
    unlisted: tuple[Path, ...] = (),
) -> Annotations:
    classes = {task: _classes(folder, task) for task in DATASETS["ek100"].labels}
    train, validation = (_split(split, table, found, rates, classes) for split, table in tables.items())
    return Annotations(train, validation, classes, mirror={}, layout=layout, unlisted=unlisted)


def _find(root: Path, wanted: set[str], layout: str | None) -> tuple[str, dict[str, Path], list[Path]]:
    """The layout, its file or folder for each video that has one, and those that no annotation asks for."""
    check_root(root, EXPECTED)
    found: dict[str, dict[str, Path]] = {name: {} for name in LAYOUTS}
    others: dict[str, list[Path]] = {name: [] for name in LAYOUTS}
    for path in walk(root, _DEPTH, closed=lambda name: name in wanted or name == "flow_frames"):
        kind = "frames" if path.name in wanted else "videos"
        if kind == "frames" and not (path / IMAGE.format(1)).is_file():
            continue  # an empty folder, or one of optical flow
        if path.stem in wanted:
            found[kind].setdefault(path.stem, path)
        elif path.is_file():
            others[kind].append(path)
    layout = layout or max(LAYOUTS, key=lambda name: len(found[name]))
    if not found[layout]:
        raise TadaError(f"{root}: none of the {len(wanted)} annotated videos is there as {layout}; {EXPECTED}")
    return layout, found[layout], others[layout]


def _rates(
    folder: Path, tables: Mapping[str, list[dict[str, str]]], found: Mapping[str, Path]
) -> dict[str, float | str]:
    """Frames per second of each folder, or why they are not known."""
    annotated: dict[str, list[tuple[int, float]]] = {}
    for row in (row for table in tables.values() for row in table if row["video_id"] in found):
        for edge in ("start", "stop"):
            with suppress(KeyError, ValueError):  # a row without them is left to `_split`
                frame = int(row[f"{edge}_frame"]), seconds(row[f"{edge}_timestamp"])
                annotated.setdefault(row["video_id"], []).append(frame)
    lasting = _info(folder, "duration") if (folder / _INFO).exists() else {}
    rates: dict[str, float | str] = {}
    for video, path in found.items():
        frames, times = zip(*annotated.get(video, [(0, 0.0)]), strict=True)
        rate = numbered_rate(frames, times)
        if rate is None:
            rates[video] = f"start_frame and stop_frame of {video} do not tell the rate of its frames"
        else:
            rates[video] = contradiction(path, rate, max(frames), lasting.get(video)) or rate
    return rates


def _info(folder: Path, column: str) -> dict[str, float]:
    """A column of the table of videos; those for which it holds no positive number are left out."""
    values = {}
    for row in rows(folder / _INFO, ("video_id", column)):
        try:
            value = float(row[column])
        except ValueError:
            continue
        if isfinite(value) and value > 0:
            values[row["video_id"]] = value
    return values


def _classes(folder: Path, task: str) -> tuple[str, ...]:
    """Names of a task's classes in their order; their numbers where no file has names."""
    path = folder / f"EPIC_100_{task}_classes.csv"
    if not path.exists():
        return tuple(str(number) for number in range(DATASETS["ek100"].labels[task]))
    try:
        names = {int(row["id"]): row["key"] for row in rows(path, ("id", "key"))}
    except ValueError:
        raise TadaError(f"{path}: the column id does not hold numbers") from None
    if sorted(names) != list(range(len(names))):
        raise TadaError(f"{path}: the classes are not numbered 0 to {len(names) - 1}")
    return tuple(names[number] for number in range(len(names)))


def _split(
    name: str,
    table: list[dict[str, str]],
    found: Mapping[str, Path],
    rates: Mapping[str, float | str],
    classes: Mapping[str, tuple[str, ...]],
) -> Split:
    split = SplitRows(name)
    for row in table:
        segment, video = row["narration_id"], row["video_id"]
        try:
            start, end = seconds(row["start_timestamp"]), seconds(row["stop_timestamp"])
            label = {task: int(row[f"{task}_class"]) for task in classes}
        except ValueError as error:
            split.skip(segment, f"its times or classes cannot be read: {error}")
            continue
        outside = next((task for task in classes if not 0 <= label[task] < len(classes[task])), None)
        if outside:
            split.skip(segment, f"{outside} {label[outside]} is not one of the {len(classes[outside])} classes")
        elif end <= start:
            split.skip(segment, f"ends at {row['stop_timestamp']}, before it starts at {row['start_timestamp']}")
        elif video not in found:
            split.skip(segment, f"no video {video}")
        elif isinstance(rate := rates.get(video), str):
            split.skip(segment, rate)
        else:
            split.use(Clip(segment, found[video], label, start, end, rate))
    return split.split()


def _tested(folder: Path) -> set[str]:
    """Videos of the test split, which may lie beside the others."""
    return {row["video_id"] for path in sorted(folder.glob("EPIC_100_test*.csv")) for row in rows(path, ("video_id",))}
