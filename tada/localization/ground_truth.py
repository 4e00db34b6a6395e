"""Ground truth of detections from the official files of HACS and ActivityNet (JSON) and EPIC-KITCHENS-100 (CSV)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tada.base import TadaError, unknown
from tada.base.files import parse_json
from tada.data.readers import class_name, rows
from tada.data.readers.ek100 import seconds
from tada.metrics.average_precision import check_table, describe

_TOLERANCE = 0.05
"""Seconds by which a segment may leave its video before it is counted: about a frame, as times are rounded."""


_INFO = "EPIC_100_video_info.csv"


@dataclass(frozen=True)
class GroundTruth:
    """The annotated segments of a subset.

    Attributes:
        path: the file.
        kind: "hacs", also for ActivityNet's files, or "ek100".
        segments: columns video, start, end (seconds) and label ("hacs") or verb and noun ("ek100").
        videos: videos of the subset, annotated or not.
        others: videos that the file has in other subsets.
        durations: of the videos in seconds, where known.
        notes: what is odd about it, in words.
    """

    path: Path
    kind: str
    segments: pd.DataFrame
    videos: frozenset[str]
    others: frozenset[str]
    durations: Mapping[str, float]
    notes: tuple[str, ...]


def read_ground_truth(path: Path, subset: str = "validation") -> GroundTruth:
    """Read the official annotations of either kind.

    Segments that have no length or reach outside their video are kept, as in the official evaluations, and noted.

    Args:
        path: JSON {"database": {video: {"subset", "annotations": [{"label", "segment"}], "duration"}}}, or
            EPIC_100_validation.csv, next to which EPIC_100_video_info.csv tells the durations.
        subset: of the JSON file; a CSV file is a subset by itself.

    Raises:
        TadaError: the file is missing, malformed, or without segments of this subset; names the video and its values.
    """
    if path.suffix == ".csv":
        kind, table, videos, others, durations = "ek100", *_read_csv(path)
    elif path.suffix in (".pkl", ".pickle"):
        raise TadaError(f"{path}: pickled annotations may run code; give the .csv file of the same name instead")
    else:
        kind, table, videos, others, durations = "hacs", *_read_json(path, subset)
    if table.empty:
        raise TadaError(f"{path}: no annotated segments" + (f" of the subset {subset!r}" if kind == "hacs" else ""))
    check(table, path, "annotations")
    notes = odd_segments(table, durations, "annotated segments")
    return GroundTruth(path, kind, table, frozenset(videos), frozenset(others), durations, tuple(notes))


def load_object(path: Path, key: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        TadaError: the file is missing, is no JSON object, or has no object under `key`.
    """
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise TadaError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise TadaError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(content, dict):
        raise TadaError(f"{path}: expected a JSON object with the key {key!r}, found {_short(content)}")
    if key not in content:
        swapped = "database" if key == "results" else "results"
        hint = "; were ground truth and predictions exchanged?" if swapped in content else ""
        raise TadaError(f"{path}: no key {key!r}; it has {', '.join(map(repr, content)) or 'none'}{hint}")
    if not isinstance(content[key], dict):
        raise TadaError(f"{path}: {key}: expected an object with a key for each video, found {_short(content[key])}")
    return content


def check(table: pd.DataFrame, path: Path, what: str) -> None:
    """Raise a TadaError naming file, video and values where a number is not finite or a segment is reversed."""
    try:
        check_table(table, what, tuple(table.columns))
    except ValueError as error:
        raise TadaError(f"{path}: {error}") from None


def odd_segments(table: pd.DataFrame, durations: Mapping[str, float], what: str) -> list[str]:
    """Sentences on segments without length and on those that reach outside their video, with an example of each."""
    start, end = table["start"].to_numpy(float), table["end"].to_numpy(float)
    duration = table["video"].map(durations).to_numpy(float)  # NaN where unknown, which compares as false
    outside = (start < -_TOLERANCE) | (end > duration + _TOLERANCE)
    notes = note(table, start == end, f"{what} have no length, so that they match nothing")
    length = duration[int(np.argmax(outside))]
    ends = "" if np.isnan(length) else f" (the video ends at {length:g} s)"
    return notes + [text + ends for text in note(table, outside, f"{what} reach outside their video")]


def note(table: pd.DataFrame, which: npt.NDArray[np.bool_], what: str) -> list[str]:
    """A sentence on these rows of a table, if there are any, with the first as example."""
    if not which.any():
        return []
    return [f"{int(which.sum()):,} of {len(table):,} {what}; the first: {describe(table.iloc[int(np.argmax(which))])}"]


def _read_json(path: Path, subset: str) -> tuple[pd.DataFrame, list[str], list[str], dict[str, float]]:
    database = load_object(path, "database")["database"]
    found: list[tuple[str, str, Any, Any]] = []
    videos: dict[str, list[str]] = {}
    durations = {}
    for video, entry in database.items():
        if not isinstance(entry, dict) or "subset" not in entry:
            raise TadaError(f"{path}: video {video}: expected an object with the key 'subset', found {_short(entry)}")
        videos.setdefault(str(entry["subset"]), []).append(video)
        if entry["subset"] == subset:
            if "duration" in entry:
                durations[video] = _number(entry["duration"], f"{path}: video {video}: duration")
            found += _annotations(path, video, entry)
    if subset not in videos:
        raise unknown("subset", subset, videos, str(path), none="'database' has no videos")
    table = pd.DataFrame(found, columns=["video", "label", "start", "end"]).astype({"start": float, "end": float})
    others = [video for name, names in videos.items() if name != subset for video in names]
    return table, videos[subset], others, durations


def _annotations(path: Path, video: str, entry: dict[str, Any]) -> Iterable[tuple[str, str, float, float]]:
    annotations = entry.get("annotations")
    if not isinstance(annotations, list):
        raise TadaError(f"{path}: video {video}: expected a list under 'annotations', found {_short(annotations)}")
    for annotation in annotations:
        try:
            label, (start, end) = annotation["label"], annotation["segment"]
            yield video, class_name(label), float(start), float(end)
        except (KeyError, TypeError, ValueError, AttributeError):
            expected = '{"label": name, "segment": [start, end]}'
            raise TadaError(f"{path}: video {video}: expected {expected}, found {_short(annotation)}") from None


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[str], list[str], dict[str, float]]:
    found = []
    columns = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
    for line, row in enumerate(rows(path, columns), start=2):
        try:
            verb, noun = int(row["verb_class"]), int(row["noun_class"])
            start, end = seconds(row["start_timestamp"]), seconds(row["stop_timestamp"])
        except ValueError:
            values = ", ".join(f"{name} {row[name]!r}" for name in columns)
            raise TadaError(f"{path}: line {line} cannot be read: {values}") from None
        found.append((row["video_id"], verb, noun, start, end))
    table = pd.DataFrame(found, columns=["video", "verb", "noun", "start", "end"])
    return table, sorted(set(table["video"])), [], _durations(path.with_name(_INFO))


def _durations(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    return {
        row["video_id"]: _number(row["duration"], f"{path}: video {row['video_id']}: duration")
        for row in rows(path, ("video_id", "duration"))
    }


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TadaError(f"{where} is {_short(value)}, which is no number of seconds") from None


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
