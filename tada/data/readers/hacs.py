"""HACS Segments as users have it on disk: annotated segments of untrimmed videos, and the official JSON file."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from tada.base import TadaError
from tada.data.clips import Annotations, Clip, SplitRows
from tada.data.readers import check_root, class_name, fault, inside, read_annotations, walk

EXPECTED = """expected there:
  annotations: HACS_segments_v1.1.1.json, there or one or two folders below
  videos: <class>/v_<youtube_id>.mp4 (spaces of a class's name may be underscores), or without folders or "v_\""""


SUBSETS = {"training": "train", "validation": "validation", "testing": None}
"""Name of a split there -> here; the testing videos are not annotated."""


_PATTERN = "HACS_segments*.json"


_DEPTH = 4


@dataclass(frozen=True)
class _Entry:
    """A video of the annotations: its split, seconds (None: they cannot be read), and rows as they stand there."""

    split: str
    duration: float | None
    rows: list[Any]


def read(root: Path, annotations: Path | None = None, videos: Path | None = None) -> Annotations:
    """Training and validation segments with their classes, which are numbered in the order of their names.

    The k-th segment of a video, from 0, is called `<youtube_id>_<k>`. What cannot be used is skipped, each segment with
    its reason; one that ends up to a second after its video is cut.

    Args:
        root: folder of the dataset.
        annotations: the annotation file, or its folder, where that is not `root` or up to two folders below.
        videos: folder of the videos where that is not `root`.

    Raises:
        TadaError: the folder, the annotations or all videos are missing, or the annotation file is malformed.
    """
    check_root(root, EXPECTED)
    file = _annotation_file(annotations, root)
    entries, testing = _entries(file)
    files = _files(videos or root)
    classes_of = {video: _class(entry.rows[0]) if entry.rows else "" for video, entry in entries.items()}
    paths = {video: path for video, name in classes_of.items() if (path := _file_of(video, name, files))}
    if not paths:
        raise TadaError(f"{videos or root}: none of the {len(entries):,} annotated videos is there; {EXPECTED}")
    known = {*entries, *testing}
    unlisted = [path for stem in files if not {stem, stem.removeprefix("v_")} & known for path in files[stem]]
    where = f"{len(paths):,} of them in {videos or root}"
    return _annotations(file, entries, paths, where, tuple(unlisted))


def read_annotated(root: Path, annotations: Path | None = None) -> Annotations:
    """What `read` returns for somebody who has all videos, for those who have features in their place.

    Raises:
        TadaError: the annotations are missing or malformed.
    """
    file = _annotation_file(annotations, root)
    entries, _ = _entries(file)
    return _annotations(file, entries, {video: root / f"v_{video}.mp4" for video in entries}, "without them", ())


def video_name(clip: Clip) -> str:
    """The identifier of a segment's video: its segments are called after it."""
    return clip.name.rpartition("_")[0]


def durations(root: Path, annotations: Path | None = None) -> dict[str, float]:
    """Seconds of each annotated video, by its identifier; raises TadaError as `read` does."""
    entries, _ = _entries(_annotation_file(annotations, root))
    return {video: entry.duration for video, entry in entries.items() if entry.duration is not None}


def _annotation_file(annotations: Path | None, root: Path) -> Path:
    if annotations and annotations.is_file():
        return annotations
    folder = annotations or root
    patterns = [_PATTERN] if annotations else ["".join(["*/"] * depth) + _PATTERN for depth in range(3)]
    for pattern in patterns:
        if found := sorted(folder.glob(pattern), key=lambda path: path.stem):
            return found[-1]  # the latest version
    raise TadaError(f"{folder}: no annotations of HACS Segments; {EXPECTED}")


def _entries(file: Path) -> tuple[dict[str, _Entry], list[str]]:
    """The training and validation videos, and the identifiers of those of the testing split."""
    content = read_annotations(file)
    database = content.get("database") if isinstance(content, Mapping) else None
    if not isinstance(database, Mapping):
        raise TadaError(f"{file}: no key 'database' with a video's entry for each identifier in it")
    entries: dict[str, _Entry] = {}
    testing: list[str] = []
    for video, entry in database.items():
        rows = entry.get("annotations", []) if isinstance(entry, Mapping) else None
        if not isinstance(rows, list) or entry.get("subset") not in SUBSETS:
            raise TadaError(
                f"{file}: the entry of video {video} is malformed: expected a list 'annotations', and a 'subset' that "
                f"is one of {', '.join(SUBSETS)}"
            )
        split = SUBSETS[entry["subset"]]
        if split is None:
            testing.append(video)
        else:
            entries[video] = _Entry(split, _seconds(entry.get("duration")), rows)
    for subset, split in SUBSETS.items():
        if split and not any(entry.split == split for entry in entries.values()):
            raise TadaError(f"{file}: no video of the subset {subset!r} in it")
    return entries, testing


def _annotations(
    file: Path, entries: Mapping[str, _Entry], paths: Mapping[str, Path], where: str, unlisted: tuple[Path, ...]
) -> Annotations:
    trained = {_class(row) for entry in entries.values() if entry.split == "train" for row in entry.rows}
    classes = sorted(trained - {""})
    index = {name: number for number, name in enumerate(classes)}
    splits = {split: SplitRows(split) for split in ("train", "validation")}
    for video, entry in entries.items():
        for place, row in enumerate(entry.rows):
            name = f"{video}_{place}"
            result = _segment(row, entry, index)
            if isinstance(result, str):
                splits[entry.split].skip(name, result)
            elif video not in paths:
                splits[entry.split].skip(name, f"no video v_{video}")
            else:
                start, end, label = result
                splits[entry.split].use(Clip(name, paths[video], label, start, end))
    counts = [sum(entry.split == split for entry in entries.values()) for split in splits]
    return Annotations(
        train=splits["train"].split(),
        validation=splits["validation"].split(),
        classes=tuple(classes),
        mirror={},
        layout=f"annotations of {counts[0]:,} training and {counts[1]:,} validation videos as {file}, {where}",
        unlisted=unlisted,
    )


def _files(folder: Path) -> dict[str, list[Path]]:
    check_root(folder, EXPECTED)
    files = defaultdict(list)
    for path in walk(folder, _DEPTH):
        files[path.stem].append(path)
    return files


def _file_of(video: str, name: str, files: Mapping[str, list[Path]]) -> Path | None:
    """A video's file; of several, that in the folder of its class."""
    found = files.get(f"v_{video}") or files.get(video) or []
    of_class = (path for path in found if class_name(path.parent.name).lower() == name.lower())
    return next(of_class, found[0] if found else None)


def _segment(row: Any, entry: _Entry, index: Mapping[str, int]) -> tuple[float, float, int] | str:
    """Start, end and class of a row of the annotations, or why it cannot be used."""
    name = _class(row)
    times = row.get("segment") if isinstance(row, Mapping) else None
    start, end = map(_seconds, times) if isinstance(times, list) and len(times) == 2 else (None, None)
    if start is None or end is None:
        return f"its segment {str(times)[:80]} is not two times"
    if name not in index:
        return f"class {name!r} is not among those of the training videos"
    if entry.duration is None:
        return "the duration of its video cannot be read"
    return fault(start, end, entry.duration) or (*inside(start, end, entry.duration), index[name])


def _class(row: Any) -> str:
    label = row.get("label") if isinstance(row, Mapping) else None
    return class_name(label) if isinstance(label, str) else ""


def _seconds(value: Any) -> float | None:
    """Of a finite number, or of its text, as the file has durations."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None
