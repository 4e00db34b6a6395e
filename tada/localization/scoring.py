"""The score of a submission file against a file of ground truth: what `tada evaluate-detections` prints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from tada.localization.evaluation import (
    EK100_THRESHOLDS,
    HACS_THRESHOLDS,
    AveragePrecision,
    action_precision,
    mean_average_precision,
)
from tada.localization.ground_truth import NAMES, read_ground_truth
from tada.localization.submission import read_submission


@dataclass(frozen=True)
class Score:
    """Mean average precision of a submission file.

    Attributes:
        kind: "hacs" or "ek100".
        tasks: "label" ("hacs"), or "verb", "noun" and "action".
        counts: annotated segments, their videos, and predictions that were judged.
        notes: what is odd about the files, in words.
    """

    kind: str
    tasks: dict[str, AveragePrecision]
    counts: dict[str, int]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """What `--out` holds: mAP in percent by task and threshold, with counts and notes."""
        return {
            "protocol": self.kind,
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
        return "\n".join([f"{NAMES[self.kind]}: {counts}", "", table, *(f"note: {text}" for text in self.notes)])


def score_files(ground_truth: Path, predictions: Path, subset: str = "validation") -> Score:
    """Judge a submission by the official protocol of its ground truth.

    Args:
        ground_truth: as `read_ground_truth`.
        predictions: submission file of the same dataset.
        subset: of the ground truth, where it has several.

    Raises:
        TadaError: as `read_ground_truth` and `read_submission`.
    """
    truth = read_ground_truth(ground_truth, subset)
    table, notes = read_submission(predictions, truth)
    if truth.kind == "ek100":
        tasks = action_precision(truth.segments, table, EK100_THRESHOLDS)
        notes += tuple(
            f"{result.dropped:,} of {len(table):,} predictions are dropped for {task}s that the ground truth lacks"
            for task, result in tasks.items()
            if result.dropped
        )
    else:
        tasks = {"label": mean_average_precision(truth.segments, table, HACS_THRESHOLDS)}
    counts = {"annotated segments": len(truth.segments), "videos": len(truth.videos), "predictions": len(table)}
    return Score(truth.kind, tasks, counts, (*truth.notes, *notes))
