"""What the datasets' readers share: files below a folder, annotation files, and which segments can be used.

Each reader makes clips with labels of the annotations and files on a user's disk.
"""

import codecs
import csv
import io
import os
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from tada.base import TadaError, unknown
from tada.base.files import parse_json

SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov")


def walk(folder: Path, depth: int, closed: Callable[[str], bool] = lambda name: False) -> Iterator[Path]:
    """Video files up to `depth` folders below `folder`, and folders whose name is `closed`, which are not entered.

    In order of their paths; what is hidden is left out.
    """
    with os.scandir(folder) as listing:
        entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.lower().endswith(SUFFIXES):
            yield Path(entry.path)
        elif entry.is_dir():
            if closed(entry.name):
                yield Path(entry.path)
            elif depth > 0:
                yield from walk(Path(entry.path), depth - 1, closed)


def read_text(path: Path) -> str:
    """The text of an annotation file, UTF-8 or UTF-16, as spreadsheets and editors of any system write them.

    Raises:
        TadaError: the file is missing, or of another encoding: signs of Latin-1 would be taken for others unnoticed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TadaError(f"{path}: no such file") from None
    except OSError as error:
        raise TadaError(f"{path}: cannot be read: {error.strerror}") from None
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TadaError(f"{path}: neither UTF-8 nor UTF-16, from byte {error.start} on; save it as UTF-8") from None


def rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file with a heading, quoted or not.

    Raises:
        TadaError: the file is missing or no text, or a column is not there.
    """
    return [row for _, row in numbered_rows(path, columns)]


def numbered_rows(
    path: Path, columns: tuple[str, ...], optional: tuple[str, ...] | None = None
) -> list[tuple[int, dict[str, str]]]:
    """The same with the number of each row's last line; where `optional` columns are given, there may be no others.

    Raises:
        TadaError: as `rows`, or a column that is none of these, or a row of more values than the heading has.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="", skipinitialspace=True)
    try:
        if missing := [name for name in columns if name not in (reader.fieldnames or [])]:
            found = ", ".join(reader.fieldnames or []) or "nothing"
            raise TadaError(f"{path}: no column {missing[0]!r}; its heading has {found}")
        other = [name for name in reader.fieldnames or [] if name not in (*columns, *(optional or ()))]
        if optional is not None and other:
            raise unknown("column", other[0], (*columns, *optional), where=f"{path}, line 1")
        found_rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise TadaError(f"{path}: no CSV file: {error}") from None
    if optional is not None and (line := next((line for line, row in found_rows if None in row), 0)):
        raise TadaError(f"{path}, line {line}: more values than columns; put a value with a comma in quotes")
    return found_rows


def read_annotations(path: Path) -> Any:
    """The content of a JSON file; raises TadaError where it is missing, no text, or no JSON."""
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise TadaError(f"{path}: not valid JSON: {error}") from None


def check_layout(layout: str | None, valid: tuple[str, ...]) -> None:
    """Raise a TadaError for a `layout` that the user asks for and that does not exist."""
    if layout is not None and layout not in valid:
        raise unknown("layout", layout, valid)


def check_root(root: Path, expected: str) -> None:
    """Raise a TadaError, telling what is `expected`, where a dataset's folder is not there."""
    if not root.is_dir():
        raise TadaError(f"{root}: no such folder; {expected}")


def class_name(name: str) -> str:
    """A class's name as the official files have it; folders often have underscores for its spaces."""
    return " ".join(name.replace("_", " ").split())


SLACK = 1.0
"""Seconds that a segment may lie outside its video: annotators and containers round, and count seconds differently."""


def fault(start: float, end: float, duration: float | None = None) -> str | None:
    """Why a segment (seconds) of a video that lasts `duration` cannot be used; None if it can, cut by `inside`."""
    if not (isfinite(start) and isfinite(end)):
        return f"its times {start} and {end} are not finite"
    if end == start:
        return f"no length: begins and ends at {start:.2f} s"
    if end < start:
        return f"ends at {end:.2f} s, before it starts at {start:.2f} s"
    if start < -SLACK:
        return f"begins at {start:.2f} s, before its video does"
    if duration is not None and (start >= duration or end > duration + SLACK):
        return f"lasts from {start:.2f} s to {end:.2f} s, outside its video of {duration:.2f} s"
    return None


def inside(start: float, end: float, duration: float) -> tuple[float, float]:
    """The part of a segment that lies inside its video."""
    return max(start, 0.0), min(end, duration)
