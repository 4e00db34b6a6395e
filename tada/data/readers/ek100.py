"""EPIC-KITCHENS-100 as users have it on disk: segments of long videos, kept as video files or as folders of frames."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from tada.base.errors import TadaError
from tada.data.clips import Annotations, Clip, Split, SplitRows
from tada.data.readers.listing import check_layout, check_root, rows, walk
from tada.data.video.random_access import IMAGE

TASKS = {"verb": 97, "noun": 300}
"""Classes of each task where EPIC_100_{verb,noun}_classes.csv, which names them, is not there."""


LAYOUTS = ("videos", "frames")


EXPECTED = f"""expected there:
  annotations: EPIC_100_train.csv and EPIC_100_validation.csv, there or one or two folders below
  videos: P01/videos/P01_01.MP4, ..., or anywhere else with these names; or folders P01_01 of frames {IMAGE.format(1)},
    ..., which need EPIC_100_video_info.csv for their rates"""


DURATION_SECONDS, DURATION_SHARE = 1.0, 0.01
"""A video may last so much longer or shorter than stated, whichever is more; copies are cut at other keyframes."""


_TRAIN = "EPIC_100_train.csv"


_INFO = "EPIC_100_video_info.csv"


_COLUMNS = ("narration_id", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")


_DEPTH = 4


def read(
    root: Path, annotations: Path | None = None, videos: Path | None = None, layout: str | None = None
) -> Annotations:
    """Training and validation segments with their labels {"verb": ..., "noun": ...}, by their times in seconds.

    A segment's name is its narration_id. Frame numbers in the annotations are not used: they follow each video's own
    rate, which a resized copy may not have. Rows that cannot be used are skipped, each with its reason.

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
    rates = _info(folder, "fps") if layout == "frames" else {}
    what = "videos" if layout == "videos" else f"folders of frames (rates by {_INFO})"
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
    rates: Mapping[str, float],
    layout: str,
    unlisted: tuple[Path, ...] = (),
) -> Annotations:
    classes = {task: _classes(folder, task) for task in TASKS}
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
    chosen = layout or max(LAYOUTS, key=lambda name: len(found[name]))
    if not found[chosen]:
        raise TadaError(f"{root}: none of the {len(wanted)} annotated videos is there as {chosen}; {EXPECTED}")
    return chosen, found[chosen], others[chosen]


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
        return tuple(str(number) for number in range(TASKS[task]))
    try:
        names = {int(row["id"]): row["key"] for row in rows(path, ("id", "key"))}
    except ValueError:
        raise TadaError(f"{path}: the column id does not hold numbers") from None
    if sorted(names) != list(range(len(names))):
        raise TadaError(f"{path}: the {len(names)} classes are not numbered 0 to {len(names) - 1}")
    return tuple(names[number] for number in range(len(names)))


def _split(
    name: str,
    table: list[dict[str, str]],
    found: Mapping[str, Path],
    rates: Mapping[str, float],
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
        elif found[video].suffix == "" and video not in rates:
            split.skip(segment, f"no frame rate for {video} in {_INFO}")
        else:
            split.use(Clip(segment, found[video], label, start, end, rates.get(video)))
    return split.split()


def _tested(folder: Path) -> set[str]:
    """Videos of the test split, which may lie beside the others."""
    return {row["video_id"] for path in sorted(folder.glob("EPIC_100_test*.csv")) for row in rows(path, ("video_id",))}
