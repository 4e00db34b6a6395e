"""Videos of one's own, as a CSV file lists them: a video and its label a line, or a part of a video and its label."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tada.base import TadaError, counted, unknown
from tada.data.catalog import RECIPES
from tada.data.clips import Annotations, Clip, SplitRows, mirror_classes
from tada.data.readers import fault, numbered_rows

EXPECTED = (
    "expected there: a CSV file with the columns path, label and split (train or validation), or a folder with "
    "train.csv and validation.csv, which have path and label; columns start and end (seconds) take parts of videos"
)


SPLITS = ("train", "validation")


_COLUMNS = ("path", "label")


_OPTIONAL = ("start", "end", "split")


@dataclass(frozen=True)
class ListedVideos:
    """What the lists say, before a video is looked for.

    Attributes:
        files: the lists.
        rows: split, list, line in it, and the row's columns.
        classes: labels of the training videos in alphabetical order, which is that of their numbers.
        sha256: of the lists' content.
    """

    files: tuple[Path, ...]
    rows: tuple[tuple[str, Path, int, Mapping[str, str]], ...]
    classes: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class OwnVideos:
    """What a recipe's numbers depend on of a list, and where it lies.

    Attributes:
        path: the list, or the folder of two.
        classes: labels of the training videos, in the order of their numbers.
        sha256: of the lists' content.
    """

    path: str
    classes: tuple[str, ...]
    sha256: str


def list_videos(root: Path) -> ListedVideos:
    """Read the list `root`, or the two lists in the folder `root`; raises TadaError as `read` does."""
    files = [root / f"{split}.csv" for split in SPLITS] if root.is_dir() else [root]
    if missing := [file for file in files if not file.is_file()]:
        raise TadaError(f"{missing[0]}: no such file; {EXPECTED}")
    states = [(file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return _list_videos(tuple(files), tuple(states))


@lru_cache(maxsize=8)
def _list_videos(files: tuple[Path, ...], states: tuple[Any, ...]) -> ListedVideos:
    """The same of files in a state, so that a list that many ask for is read once."""
    rows = tuple(row for file in files for row in _rows(file, file.stem if len(files) > 1 else ""))
    for split in SPLITS:
        if not any(row[0] == split for row in rows):
            raise TadaError(f"{files[0]}: no video of the split {split}; {EXPECTED}")
    classes = sorted({row["label"] for split, _, _, row in rows if split == "train"} - {""})
    if len(classes) < 2:
        raise TadaError(
            f"{files[0]}: the training videos have {counted(len(classes), 'label')}; two are needed at least"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return ListedVideos(files, rows, tuple(classes), digest.hexdigest())


def _rows(file: Path, split: str) -> Iterator[tuple[str, Path, int, Mapping[str, str]]]:
    """The rows of a list; of one that is for both splits (`split` is empty), their column says which."""
    wanted = _COLUMNS if split else (*_COLUMNS, "split")
    for line, row in numbered_rows(file, wanted, _OPTIONAL):
        values = {column: value.strip() for column, value in row.items()}
        found = split or values["split"]
        if found not in SPLITS:
            raise unknown("split", found, SPLITS, where=f"{file}, line {line}")
        yield found, file, line, values


def read(root: Path, annotations: Path | None = None, videos: Path | None = None) -> Annotations:
    """Training and validation clips with their labels.

    A clip is called by its path as listed, or by that and its times. What cannot be used is skipped, each clip with
    the reason, its list and line; `Split.check` judges their number.

    Args:
        root: the list, or the folder of two.
        annotations: the same, where it is not `root`.
        videos: folder that paths are relative to, where it is not that of their list.

    Raises:
        TadaError: a list is missing or malformed, names another split than train and validation, or none or a single
            label for training.
    """
    listed = list_videos(annotations or root)
    number = {name: place for place, name in enumerate(listed.classes)}
    splits = {split: SplitRows(split) for split in SPLITS}
    for split, file, line, row in listed.rows:
        name = row["path"] + (f" {row['start']}-{row['end']}" if row.get("start") or row.get("end") else "")
        path = (videos or file.parent) / row["path"]
        times = _times(row)
        reason = times if isinstance(times, str) else _fault(row, path, number)
        if reason:
            splits[split].skip(name or f"line {line}", f"{reason} ({file}, line {line})")
        elif not isinstance(times, str):
            splits[split].use(Clip(name, path, number[row["label"]], *times))
    return Annotations(
        train=splits["train"].split(),
        validation=splits["validation"].split(),
        classes=listed.classes,
        mirror=mirror_classes([re.sub(r"[_-]", " ", label) for label in listed.classes]),
        layout=f"videos listed in {' and '.join(map(str, listed.files))}",
    )


def _fault(row: Mapping[str, str], path: Path, number: Mapping[str, int]) -> str | None:
    """Why a row's clip cannot be used, by its label and its file."""
    if not row["label"]:
        return "no label"
    if row["label"] not in number:
        return f"label {row['label']!r} is not among those of the training videos"
    if not row["path"]:
        return "no path"
    return None if path.is_file() else f"no video {path}"


def _times(row: Mapping[str, str]) -> tuple[float | None, float | None] | str:
    """Start and end of a row's part in seconds (None: those of its video), or what is wrong with them."""
    values: list[float | None] = []
    for column in ("start", "end"):
        text = row.get(column, "")
        try:
            values.append(float(text) if text else None)
        except ValueError:
            return f"its {column}, {text!r}, is no number of seconds"
    start, end = values
    if start is not None and start < 0:
        return f"begins at {start:.2f} s, before its video does"
    begin = start or 0.0
    return fault(begin, begin + 1.0 if end is None else end) or (start, end)


def own_videos(path: str, where: str) -> OwnVideos | None:
    """What a list says that a recipe names at `where`; None where it names none."""
    if not path:
        return None
    try:
        listed = list_videos(Path(path))
    except TadaError as error:
        raise TadaError(f"{where}: {error}") from None
    return OwnVideos(path, listed.classes, listed.sha256)


def check_recipes(content: Any, path: Path) -> dict[str, Any]:
    """The content of `recipes/own.yaml`, with a number of classes in its place until each list is read.

    Raises:
        TadaError: a recipe without a list or with a number of classes, or a name that cannot be.
    """
    if not isinstance(content, Mapping):
        raise TadaError(f"{path}: no recipe in it")
    for name, recipe in content.items():
        if not re.fullmatch(r"[a-z0-9-]+", name) or name in RECIPES:
            raise TadaError(
                f"{path}: {name!r} cannot be the name of a dataset of your own; lower-case letters, digits and hyphens "
                "can, but for the names of the published ones"
            )
        if not isinstance(recipe, Mapping) or not isinstance(recipe.get("data"), Mapping):
            continue  # which the schema says
        if "list" not in recipe["data"]:
            raise TadaError(f"{path}: {name}.data.list: no list of videos; name a CSV file, or a folder of two")
        if "classes" in recipe:
            raise TadaError(f"{path}: {name}.classes: these are the labels of {recipe['data']['list']}; leave it out")
    return {
        name: {"classes": 2, **recipe} if isinstance(recipe, Mapping) else recipe for name, recipe in content.items()
    }
