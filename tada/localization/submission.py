"""Detections as the official submission files of HACS and ActivityNet, and of EPIC-KITCHENS-100.

Of what may be wrong with a file, errors are: numbers that are not finite, segments that end before they start,
missing keys, classes that cannot exist, videos that the ground truth does not know, and no predictions at all. What
the official evaluations bear is counted and noted instead: segments without length or outside their video (false
positives at worst), videos without predictions, and labels that the ground truth lacks (dropped). Predictions for
videos of another subset are left out and noted.

The score of a submission file against a file of ground truth: what `tada evaluate-detections` prints.
"""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tabulate import tabulate

from tada.base import TadaError, unknown
from tada.base.files import write_text
from tada.data.catalog import DATASETS, localization_of
from tada.data.readers import class_name
from tada.localization.ground_truth import (
    GroundTruth,
    check,
    load_object,
    note,
    odd_segments,
    read_ground_truth,
)
from tada.metrics.average_precision import (
    EK100_THRESHOLDS,
    HACS_THRESHOLDS,
    AveragePrecision,
    action_precision,
    check_table,
    mean_average_precision,
    of_known_actions,
)

PROTOCOLS = ("official", "authors")
"""Evaluations of EPIC-KITCHENS-100; see `of_known_actions`."""


def read_submission(path: Path, truth: GroundTruth) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predictions of a submission file for the videos of a ground truth.

    Returns:
        A table with the columns video, start, end (seconds), score and label ("hacs") or verb and noun ("ek100"), and
        what is odd about it, in words.

    Raises:
        TadaError: an error in the sense of this module; names file, video and values.
    """
    with _without_collection():
        results = load_object(path, "results")["results"]
        listed = _listed(path, results)
        videos = np.repeat(np.array(list(listed), object), [len(found) for found in listed.values()])
        entries = [entry for found in listed.values() for entry in found]
        if not entries:
            raise TadaError(f"{path}: no predictions; 'results' has {len(results)} videos and none under them")
        _check_kind(path, entries[0], truth)
        reader = _Columns(path, videos, entries)
        segment = reader.numbers("segment", 2)
        table = pd.DataFrame({"video": videos, "start": segment[:, 0], "end": segment[:, 1]})
        table["score"] = reader.numbers("score")
        table = table.assign(**(_labels(reader) if truth.kind == "hacs" else _classes(reader)))
    check(table, path, "predictions")
    left_out = _check_videos(path, listed, truth)
    notes = []
    if left_out:
        elsewhere = table["video"].isin(left_out)
        notes = note(table, elsewhere.to_numpy(), "predictions are left out, since their videos are of another subset")
        table = table[~elsewhere].reset_index(drop=True)
    if table.empty:
        raise TadaError(f"{path}: no predictions for the {len(truth.videos)} videos of {truth.path}")
    silent = len(truth.videos - set(table["video"]))
    notes += [f"{silent:,} of {len(truth.videos):,} videos have no predictions"] if silent else []
    notes += odd_segments(table, truth.durations, "predictions")
    notes += _ties(table, truth)
    return table, (*notes, *(_strange_labels(path, table, truth) if truth.kind == "hacs" else ()))


def _ties(table: pd.DataFrame, truth: GroundTruth) -> list[str]:
    """Which of several predictions with one score comes first is open in the official evaluations."""
    tied = table.duplicated(["score", *(("label",) if truth.kind == "hacs" else ("verb", "noun"))], keep=False)
    return note(
        table,
        tied.to_numpy(),
        "predictions share their score with others of their class: these are ordered by video and time here, and by "
        "whatever numpy's sorting leaves in the official evaluations, which may give other digits",
    )


def write_hacs(path: Path, predictions: pd.DataFrame, classes: Sequence[str] | None = None) -> None:
    """Write the submission file of HACS and ActivityNet, each video's detections from the best on.

    Args:
        path: the JSON file.
        predictions: columns video, label, start, end (seconds), score.
        classes: names of the classes where labels are their numbers.

    Raises:
        ValueError: as `check_table`.
    """
    check_table(predictions, "predictions", ("video", "label", "start", "end", "score"))
    ordered = predictions.sort_values(["video", "score"], ascending=[True, False], kind="stable")
    labels = ordered["label"].tolist()
    names = [str(label) for label in labels] if classes is None else [classes[label] for label in labels]
    entries = (
        {"label": name, "score": score, "segment": [start, end]}
        for name, score, start, end in zip(names, *_values(ordered), strict=True)
    )
    _write(path, {"version": "HACS Segments v1.1.1"}, ordered, entries, {"external_data": {}})


def write_ek100(path: Path, predictions: pd.DataFrame) -> None:
    """Write the submission file of EPIC-KITCHENS-100's detection challenge, each video's detections from the best on.

    Args:
        path: the JSON file.
        predictions: columns video, verb, noun (classes), start, end (seconds), score.

    Raises:
        ValueError: as `check_table`.
    """
    check_table(predictions, "predictions", ("video", "verb", "noun", "start", "end", "score"))
    ordered = predictions.sort_values(["video", "score"], ascending=[True, False], kind="stable")
    verbs, nouns = (ordered[task].astype(int).tolist() for task in DATASETS["ek100"].labels)
    entries = (
        {"verb": verb, "noun": noun, "action": f"{verb},{noun}", "score": score, "segment": [start, end]}
        for verb, noun, score, start, end in zip(verbs, nouns, *_values(ordered), strict=True)
    )
    # What was used in pretraining, labels and data, in the challenge's scale from 0 to 5.
    supervision = {"sls_pt": 2, "sls_tl": 3, "sls_td": 3}
    _write(path, {"version": "0.2", "challenge": "action_detection", **supervision}, ordered, entries)


class _Columns:
    """Columns out of a list of objects; the first that does not fit is an error that names its video and content."""

    def __init__(self, path: Path, videos: npt.NDArray[np.object_], entries: list[Any]) -> None:
        self._path, self._videos, self._entries = path, videos, entries

    def values(self, key: str) -> list[Any]:
        """What stands under a key in every entry."""
        try:
            return [entry[key] for entry in self._entries]
        except (KeyError, TypeError, IndexError):
            raise self.fault(lambda entry: entry[key], f"the key {key!r}") from None

    def numbers(self, key: str, each: int = 0) -> npt.NDArray[np.float64]:
        """Numbers, [entries], or lists of `each` numbers, [entries, each]."""
        values = self.values(key)
        shape = (each,) if each else ()
        try:
            result = np.array(values, np.float64)
        except (TypeError, ValueError):
            result = np.zeros(0)
        if result.shape != (len(values), *shape):

            def read(entry: Any) -> None:
                if np.array(entry[key], np.float64).shape != shape:
                    raise ValueError

            raise self.fault(read, f"{each} numbers under {key!r}" if each else f"a number under {key!r}")
        return result

    def whole_numbers(self, key: str, below: int) -> npt.NDArray[np.int64]:
        """Whole numbers from 0 to `below` - 1, [entries]."""
        values = self.numbers(key)
        right = (values >= 0) & (values < below) & (values == np.floor(values))
        self.require(right, f"a class from 0 to {below - 1} under {key!r}")
        return values.astype(np.int64)

    def require(self, right: npt.NDArray[np.bool_], expected: str) -> None:
        """Raise an error for the first entry that is not `right`, [entries]."""
        if not right.all():
            raise self._error(int(np.argmin(right)), expected)

    def fault(self, read: Callable[[Any], Any], expected: str) -> TadaError:
        """An error for the first entry that `read` cannot read."""
        for number, entry in enumerate(self._entries):
            try:
                read(entry)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError):
                return self._error(number, expected)
        return TadaError(f"{self._path}: results: expected {expected} in every prediction")

    def _error(self, number: int, expected: str) -> TadaError:
        video = self._videos[number]
        place = number - int(np.argmax(self._videos == video)) + 1
        found = json.dumps(self._entries[number])[:200]
        return TadaError(f"{self._path}: video {video}, prediction {place}: expected {expected}, found {found}")


def _listed(path: Path, results: dict[str, Any]) -> dict[str, list[Any]]:
    for video, found in results.items():
        if not isinstance(found, list):
            raise TadaError(f"{path}: video {video}: expected a list of predictions, found {json.dumps(found)[:80]}")
    return results


def _check_kind(path: Path, entry: Any, truth: GroundTruth) -> None:
    keys = set(entry) if isinstance(entry, dict) else set()
    kind = {"verb": "ek100", "label": "hacs"}.get("".join(keys & {"verb", "label"}))  # none if both
    if kind and kind != truth.kind:
        found, expected = (localization_of(name).annotated for name in (kind, truth.kind))
        raise TadaError(
            f"{path}: these are predictions for {found} (keys {', '.join(sorted(keys))}), but {truth.path} is "
            f"ground truth of {expected}"
        )


def _labels(reader: _Columns) -> dict[str, list[str]]:
    labels = reader.values("label")
    if not all(isinstance(label, str) for label in labels):
        raise reader.fault(lambda entry: class_name(entry["label"]), "a name under 'label'")
    names = {label: class_name(label) for label in set(labels)}
    return {"label": [names[label] for label in labels]}


def _classes(reader: _Columns) -> dict[str, npt.NDArray[np.int64]]:
    verb, noun = (reader.whole_numbers(task, below) for task, below in DATASETS["ek100"].labels.items())

    pairs = (f"{v},{n}" for v, n in zip(verb.tolist(), noun.tolist(), strict=True))
    agree = [str(action).replace(" ", "") == pair for action, pair in zip(reader.values("action"), pairs, strict=True)]
    reader.require(np.array(agree), "the verb and the noun as 'verb,noun' under 'action'")
    return {"verb": verb, "noun": noun}


def _check_videos(path: Path, listed: dict[str, list[Any]], truth: GroundTruth) -> set[str]:
    """Videos of other subsets; a TadaError where a video is in none."""
    named = {video for video, found in listed.items() if found}
    strangers = sorted(named - truth.videos - truth.others)
    if strangers:
        near = get_close_matches(strangers[0], truth.videos, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has, e.g., {min(truth.videos)!r}"
        which = f"video {strangers[0]!r} is" if len(strangers) == 1 else f"{len(strangers)} videos are"
        example = "" if len(strangers) == 1 else f", e.g. {strangers[0]!r}"
        raise TadaError(f"{path}: {which} not in {truth.path}{example}; {hint}")
    return named & truth.others


def _strange_labels(path: Path, table: pd.DataFrame, truth: GroundTruth) -> list[str]:
    known = set(truth.segments["label"])
    strange = ~table["label"].isin(known).to_numpy()
    if strange.all():
        first = str(unknown("label", table["label"].iloc[0], known, none="its videos have no segments"))
        raise TadaError(f"{path}: none of the predictions' labels is in {truth.path}: {first}")
    return note(table, strange, f"predictions are dropped, since {truth.path} lacks their labels")


def _values(table: pd.DataFrame) -> Iterator[list[float]]:
    return (table[name].to_numpy(np.float64).tolist() for name in ("score", "start", "end"))


def _write(
    path: Path, head: dict[str, Any], ordered: pd.DataFrame, entries: Iterator[dict[str, Any]], tail: dict | None = None
) -> None:
    results: dict[str, list[dict[str, Any]]] = {}
    for video, entry in zip(ordered["video"].tolist(), entries, strict=True):
        results.setdefault(str(video), []).append(entry)
    # One line, since Python's encoder is ten times slower where it indents.
    write_text(path, json.dumps({**head, "results": results, **(tail or {})}, allow_nan=False) + "\n")


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for cyclic garbage, which would look through millions of new objects again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(frozen=True)
class Score:
    """Mean average precision of a submission file.

    Attributes:
        kind: "hacs" or "ek100".
        protocol: one of `PROTOCOLS`.
        tasks: "label" ("hacs"), or "verb", "noun" and "action".
        counts: annotated segments, their videos, and predictions that were judged.
        notes: what is odd about the files, in words.
    """

    kind: str
    protocol: str
    tasks: dict[str, AveragePrecision]
    counts: dict[str, int]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """What `--out` holds: mAP in percent by task and threshold, with counts and notes."""
        return {
            "dataset": self.kind,
            "protocol": self.protocol,
            "map": {task: result.percent() for task, result in self.tasks.items()},
            "labels": {task: len(result.table) for task, result in self.tasks.items()},
            "dropped": {task: result.dropped for task, result in self.tasks.items()},
            "counts": self.counts,
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """A table of mAP in percent, a line per task, then counts and notes."""
        values = {task: result.percent() for task, result in self.tasks.items()}
        heads = [head if head == "average" else f"@{head}" for head in next(iter(values.values()))]
        lines = [["mAP" if task == "label" else task, *row.values()] for task, row in values.items()]
        counts = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        table = tabulate(lines, headers=["%", *heads], floatfmt=".2f")
        heading = f"{localization_of(self.kind).annotated}, {_PROTOCOL_WORDS[self.protocol]}: {counts}"
        return "\n".join([heading, "", table, *(f"note: {text}" for text in self.notes)])


_PROTOCOL_WORDS = {"official": "official protocol", "authors": "the authors' protocol"}


def score_files(
    ground_truth: Path, predictions: Path, subset: str = "validation", protocol: str = PROTOCOLS[0]
) -> Score:
    """Judge a submission by a protocol of its ground truth.

    Args:
        ground_truth: as `read_ground_truth`.
        predictions: submission file of the same dataset.
        subset: of the ground truth, where it has several.
        protocol: "official", or "authors" (EPIC-KITCHENS-100 alone): as the numbers of Tables 8 and A3 were made.

    Raises:
        TadaError: as `read_ground_truth` and `read_submission`, or a protocol that the dataset does not have.
    """
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    truth = read_ground_truth(ground_truth, subset)
    if protocol == "authors" and truth.kind != "ek100":
        raise TadaError(
            f"{ground_truth}: the authors' protocol is one of EPIC-KITCHENS-100; score {truth.kind} by the official one"
        )
    table, notes = read_submission(predictions, truth)
    if truth.kind == "ek100":
        judged = of_known_actions(truth.segments, table) if protocol == "authors" else table
        if len(judged) < len(table):
            notes += (
                f"{len(table) - len(judged):,} of {len(table):,} predictions are dropped for pairs of a verb and a "
                "noun that the ground truth lacks",
            )
        tasks = action_precision(truth.segments, judged, EK100_THRESHOLDS)
        notes += tuple(
            f"{result.dropped:,} of {len(table):,} predictions are dropped for {task}s that the ground truth lacks"
            for task, result in tasks.items()
            if result.dropped
        )
    else:
        tasks = {"label": mean_average_precision(truth.segments, table, HACS_THRESHOLDS)}
    counts = {"annotated segments": len(truth.segments), "videos": len(truth.videos), "predictions": len(table)}
    return Score(truth.kind, protocol, tasks, counts, (*truth.notes, *notes))
