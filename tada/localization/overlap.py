"""Tables of segments, and how far two segments overlap: shared by evaluation, recall and non-maximum suppression."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


def iou(starts: Floats, ends: Floats, other_starts: Floats, other_ends: Floats) -> Floats:
    """Intersection over union of segments with other segments; shapes are broadcast. 0 where both are empty."""
    shared = np.minimum(ends, other_ends)
    shared -= np.maximum(starts, other_starts)
    np.maximum(shared, 0.0, out=shared)
    union = (ends - starts) + (other_ends - other_starts) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def check_table(table: pd.DataFrame, what: str, columns: Sequence[str]) -> None:
    """Refuse a table of segments that cannot be judged.

    Args:
        table: a segment per row; the columns start, end (seconds) and score must hold finite numbers.
        what: its name in messages, e.g. "predictions".
        columns: those it must have.

    Raises:
        ValueError: a column, a video or a label is missing, a number is not finite, or a segment ends before
            it starts; names the first such row by video and values, and how many there are.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"{what}: no column {missing[0]!r}; there are {', '.join(map(str, table.columns)) or 'none'}")
    for name in ("video", "label", "verb", "noun"):
        if name in columns:
            _refuse(table, table[name].isna().to_numpy(), what, f"without a {name}")
    for name in ("start", "end", "score"):
        if name in columns:
            _refuse(table, ~np.isfinite(as_numbers(table, name, what)), what, f"whose {name} is not a finite number")
    if "start" in columns and "end" in columns:
        reversed_ = table["end"].to_numpy(float) < table["start"].to_numpy(float)
        _refuse(table, reversed_, what, "that end before they start")


def as_numbers(table: pd.DataFrame, column: str, what: str) -> Floats:
    """A column as numbers, what is missing as NaN; raises ValueError where it holds something else."""
    try:
        return table[column].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: column {column!r} does not hold numbers: {error}") from None


def describe(row: pd.Series) -> str:
    """A row of a table of segments in words: its video, then its other values."""
    values = (f"{name} {value!s}" for name, value in row.items() if name != "video")
    return f"video {row.get('video')!s}: {', '.join(values)}"


def _refuse(table: pd.DataFrame, wrong: npt.NDArray[np.bool_], what: str, fault: str) -> None:
    if wrong.any():
        first = describe(table.iloc[int(np.argmax(wrong))])
        raise ValueError(f"{what}: {int(wrong.sum())} of {len(table)} segments {fault}; the first is {first}")
