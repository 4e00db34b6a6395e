"""A filled table as CSV in long form: one line a cell, full precision, with its sources."""

from decimal import Decimal

import pandas as pd

from tada.report.cells import Filled, Key
from tada.report.measures import Delta, Metric

COLUMNS = (
    "table",
    "row",
    "column",
    "kind",
    "reported",
    "reproduced",
    "std",
    "n",
    "difference",
    "tolerance",
    "verdict",
    "source",
)


def to_csv(name: str, cells: dict[Key, Filled]) -> str:
    """One line for each cell that is not blank in the paper; text cells have their text as `reported`."""
    lines = [_line(name, row, column, filled) for (row, column), filled in cells.items() if filled.cell.kind != "blank"]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype({"n": "Int64"}).to_csv(index=False)


def _line(name: str, row: str, column: str, filled: Filled) -> dict[str, object]:
    value, what = filled.value, filled.cell.measure
    line: dict[str, object] = {"table": name, "row": row, "column": column, "kind": filled.kind}
    line |= {"reported": filled.cell.reported, "verdict": filled.verdict}
    if what is not None:
        line["tolerance"] = what.tolerance.value if isinstance(what, Metric | Delta) else "printed digits"
    if value is not None and value.log is not None:
        line["source"] = value.log.as_posix()
    if value is not None and value.status == "done":
        line |= {
            "reproduced": value.text or _plain(value.mean),
            "std": _plain(value.std),
            "n": len(value.numbers) or None,
            "difference": _plain(filled.difference),
            "source": "; ".join(path.as_posix() for path in value.sources),
        }
    return line


def _plain(number: float | Decimal | None) -> str | None:
    """A number without the noise of binary fractions, e.g. "0.3" for 0.2999999999999972."""
    return None if number is None else f"{float(number):.10g}"
