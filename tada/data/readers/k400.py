"""Kinetics-400 as users have it on disk: the official CSV files, lists of paths, or folders named after the classes."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tada.base import TadaError, counted
from tada.data.catalog import DATASETS
from tada.data.clips import Annotations, Clip, Split, SplitRows
from tada.data.readers import check_layout, check_root, class_name, read_text, rows, walk

EXPECTED = """expected there:
  annotations: train.csv and val.csv with label, youtube_id, time_start, time_end (or lists of "path label"), there or
    in annotations/; or none, where train/ and val/ have a folder for each class
  videos: <youtube_id>_<start>_<end>.mp4 (six digits each) or <youtube_id>.mp4, in folders of classes or in none"""


_SPLIT = r"(?P<split>train|val(?:id|idate|idation)?)"


_ANNOTATION_FILE = re.compile(
    rf"(?:kinetics[-_]?(?:400)?[-_]|k400[-_])?{_SPLIT}(?:_list)?(?:_videos)?\.(?:csv|txt|list)"
)


_ANNOTATION_FOLDER = re.compile(r"(?:annotations?|labels|lists?|kinetics.*|k400.*)", re.IGNORECASE)


_SPLIT_FOLDER = re.compile(rf"(?:videos_)?{_SPLIT}(?:ing)?(?:_\d+.*)?")


_LIST_LINE = re.compile(r"(?P<path>.*?)(?:\s*[,;]\s*|\s+)(?P<label>-?\d+)\s*")


_DEPTH = 4


def read(
    root: Path, annotations: Path | None = None, videos: Path | None = None, layout: str | None = None
) -> Annotations:
    """Training and validation clips with their labels; classes in the order of their names.

    Rows without a video and rows of unknown class are skipped, each with its reason; `Split.check` judges their number.

    Args:
        root: folder of the dataset.
        annotations: folder of the annotations where it is not in a usual place under `root`.
        videos: folder of the video files where that is not `root`.
        layout: "csv", "list" or "folders" where the recognised one is not the one that is meant.

    Raises:
        TadaError: the folder, the annotations or all videos are missing, or an annotation file is malformed.
    """
    check_layout(layout, DATASETS["k400"].layouts)
    check_root(root, EXPECTED)
    tables = {} if layout == "folders" else _annotation_files(annotations, root, layout)
    if not tables:
        return _from_folders(videos or root)
    files = _Files(videos or root)
    if tables["train"][1] == "csv":
        return _from_tables({split: path for split, (path, _) in tables.items()}, files)
    return _from_lists({split: path for split, (path, _) in tables.items()}, files)


class _Files:
    """The video files below a folder, and which of them were asked for.

    A file in replacement/ takes the place of the file of the same name elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        check_root(folder, EXPECTED)
        self.folder = folder
        found = list(walk(folder, _DEPTH))
        if not found:
            raise TadaError(f"{folder}: no video files; {EXPECTED}")
        replaced = [path for path in found if "replacement" in str(path.parent.relative_to(folder))]
        self.by_stem: dict[str, Path] = {}
        for path in (*replaced, *found):
            self.by_stem.setdefault(path.stem, path)
        self.by_path = {str(path): path for path in found}
        self.by_tail = {(path.parent.name, path.name): path for path in reversed(found)}
        self.alone = {stem for stem, count in Counter(path.stem for path in found).items() if count == 1}
        names = {path.stem for path in replaced}
        self.used: set[Path] = {path for path in found if path.stem in names and path not in replaced}

    def of_clip(self, video: str, start: int, end: int) -> Path | None:
        """The file of an official row."""
        return self._use(self.by_stem.get(f"{video}_{start:06d}_{end:06d}") or self.by_stem.get(video))

    def at(self, path: str, beside: Path) -> Path | None:
        """The file that a list calls `path`: relative to the videos or the list, or moved here from elsewhere."""
        found = self.by_path.get(str(self.folder / path)) or self.by_path.get(str(beside / path))
        listed = Path(path)
        if found is None:
            found = self.by_tail.get((listed.parent.name, listed.name))
        if found is None:  # made an mp4 since it was listed
            found = self.by_path.get(str((self.folder / path).with_suffix(".mp4")))
        if found is None and listed.stem in self.alone:
            found = self.by_stem[listed.stem]
        if found is None and listed.is_absolute() and listed.is_file():
            found = listed
        return self._use(found)

    def unlisted(self) -> tuple[Path, ...]:
        """Files that nobody asked for."""
        return tuple(path for path in self.by_path.values() if path not in self.used)

    def describe(self, splits: Iterable[Split]) -> str:
        """In words: how many videos the splits have, how their files are called, and in how many folders they lie."""
        paths = [clip.path for split in splits for clip in split.clips]
        timed = sum(bool(re.search(r"_\d{6}_\d{6}$", path.stem)) for path in paths)
        names = "<id>_<start>_<end>" if timed == len(paths) else "<id>" if not timed else "<id>[_<start>_<end>]"
        folders = len({path.parent for path in paths})
        return f"{counted(len(paths), 'video')} {names} in {counted(folders, 'folder')} of {self.folder}"

    def _use(self, path: Path | None) -> Path | None:
        if path is not None:
            self.used.add(path)
        return path


def _annotation_files(annotations: Path | None, root: Path, layout: str | None) -> dict[str, tuple[Path, str]]:
    """For each split its file, and whether that is a "csv" or a "list"; empty if there are none.

    Raises:
        TadaError: they are there in part, or the user has named their folder or layout and they are not there.
    """
    folders = [annotations] if annotations else [root, *_subfolders(root, _ANNOTATION_FOLDER.fullmatch)]
    for folder in folders:
        found: dict[str, tuple[Path, str]] = {}
        for path in sorted(folder.iterdir(), key=lambda path: (path.suffix, path.name)) if folder.is_dir() else []:
            if match := _ANNOTATION_FILE.fullmatch(path.name.lower()):
                split = "train" if match["split"] == "train" else "validation"
                kind = _kind(path)
                if layout in (None, kind):
                    found.setdefault(split, (path, kind))
        if len(found) == 1:
            (split, (path, _)), *_ = found.items()
            other = "validation" if split == "train" else "training"
            raise TadaError(f"{path}: is there, and the {other} annotations beside it are not; {EXPECTED}")
        if found:
            if len({kind for _, kind in found.values()}) > 1:
                raise TadaError(f"{folder}: one annotation file is the official CSV and the other a list; {EXPECTED}")
            return found
    if annotations or layout:
        raise TadaError(f"{annotations or root}: no annotations of Kinetics-400; {EXPECTED}")
    return {}


def _kind(path: Path) -> str:
    return "csv" if "youtube_id" in read_text(path).partition("\n")[0] else "list"


def _from_tables(tables: dict[str, Path], files: _Files) -> Annotations:
    columns = ("label", "youtube_id", "time_start", "time_end")
    content = {split: rows(path, columns) for split, path in tables.items()}
    classes = sorted({class_name(row["label"]) for row in content["train"]} - {""})
    index = {name: number for number, name in enumerate(classes)}
    splits = {split: SplitRows(split) for split in tables}
    for split, table in content.items():
        for row in table:
            video, name = row["youtube_id"], class_name(row["label"])
            try:
                start, end = int(float(row["time_start"])), int(float(row["time_end"]))
            except ValueError:
                splits[split].skip(video, f"time {row['time_start']!r} to {row['time_end']!r} is no time")
                continue
            path = files.of_clip(video, start, end)
            if name not in index:
                splits[split].skip(video, f"class {name!r} is not among those of the training videos")
            elif path is None:
                splits[split].skip(video, "no video file")
            else:
                splits[split].use(Clip(video, path, index[name]))
    for path in tables["train"].parent.glob("*test*.csv"):  # its videos may lie beside the others
        for row in rows(path, columns[1:]) if _kind(path) == "csv" else []:
            if row["time_start"].isdigit() and row["time_end"].isdigit():
                files.of_clip(row["youtube_id"], int(row["time_start"]), int(row["time_end"]))
    return _annotations(splits, classes, f"official CSV as {tables['train']}", files)


def _from_lists(lists: dict[str, Path], files: _Files) -> Annotations:
    """A list has no names of classes: its labels run from 0 to their number less one."""
    classes = DATASETS["k400"].labels["label"]
    splits = {split: SplitRows(split) for split in lists}
    for split, source in lists.items():
        for number, line in enumerate(read_text(source).splitlines(), start=1):
            match = _LIST_LINE.fullmatch(line)
            if not line.strip() or (number == 1 and not match and "label" in line.lower()):
                continue
            if match is None:
                splits[split].skip(f"line {number}", f"no label at the end of {line[:80]!r}")
                continue
            name, label = match["path"].strip().strip("\"'"), int(match["label"])
            path = files.at(name, source.parent)
            if not 0 <= label < classes:
                splits[split].skip(name, f"label {label} is not one of the {classes} classes")
            elif path is None:
                splits[split].skip(name, "no video file")
            else:
                splits[split].use(Clip(name, path, label))
    return _annotations(splits, [str(number) for number in range(classes)], f"lists as {lists['train']}", files)


def _from_folders(root: Path) -> Annotations:
    found: dict[str, Path] = {}
    for folder in _subfolders(root, _SPLIT_FOLDER.fullmatch):
        split = "train" if "train" in folder.name else "validation"
        found.setdefault(split, folder)
    if len(found) < 2 or not (training := _subfolders(found["train"])):
        raise TadaError(f"{root}: no annotations and no class folders of Kinetics-400; {EXPECTED}")
    classes = sorted({class_name(folder.name) for folder in training})
    index = {name: number for number, name in enumerate(classes)}
    splits = {split: SplitRows(split) for split in found}
    for split, folder in found.items():
        for path in walk(folder, _DEPTH):
            name = class_name(path.relative_to(folder).parts[0])
            clip = re.sub(r"_\d{6}_\d{6}$", "", path.stem)
            if path.parent == folder:
                splits[split].skip(clip, f"lies in {folder.name}/ and not in the folder of a class")
            elif name not in index:
                splits[split].skip(clip, f"class {name!r} is not among those of the training videos")
            else:
                splits[split].use(Clip(clip, path, index[name]))
    if not any(rows.split().clips for rows in splits.values()):
        raise TadaError(f"{root}: no video files; {EXPECTED}")
    where = f"no annotations, classes by the folders of {found['train']} and {found['validation']}"
    return _annotations(splits, classes, where, None)


def _annotations(
    rows_of: dict[str, SplitRows], classes: Sequence[str], where: str, files: _Files | None
) -> Annotations:
    splits = {split: collected.split() for split, collected in rows_of.items()}
    return Annotations(
        train=splits["train"],
        validation=splits["validation"],
        classes=tuple(classes),
        mirror={},
        layout=f"{where}, {files.describe(splits.values())}" if files else where,
        unlisted=files.unlisted() if files else (),
    )


def _subfolders(folder: Path, wanted: Callable[[str], object] = bool) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and wanted(path.name) and path.name[0] != ".")
