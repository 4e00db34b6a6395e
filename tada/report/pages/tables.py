"""Builds a table of the paper: reported and reproduced numbers side by side, as Markdown, LaTeX, HTML and CSV.

A filled table as CSV in long form: one line a cell, full precision, with its sources.
"""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd

from tada.base.files import write_text
from tada.report.judge.cells import Filled, Key, fill, problems
from tada.report.judge.remarks import numbers_of_text, order_of_rows
from tada.report.measure.results import Results
from tada.report.pages.footer import footer
from tada.report.pages.sheet import lay_out
from tada.report.pages.writing import write_pages
from tada.report.paper.tables import TABLES, against_published, load_table
from tada.runs.settings import Scale


def build_table(name: str, scale: str, seeds: int, results: Path, out: Path, *, specs: Path = TABLES) -> list[str]:
    """Write `<out>/<name>.md`, `.tex`, `.html` and `.csv` from what is under `results`.

    A failed or missing run is a cell that says so; the rest of the table is there.

    Args:
        name: a spec's name, e.g. "table3b".
        scale: "mini", "paper" or "released", whose runs are shown.
        seeds: runs shown of each (dataset, model): seeds 0 to seeds - 1.
        results: the folder `results`.
        out: folder of the files.
        specs: folder of the specs.

    Returns:
        One line for each failed or missing run; empty if the table is complete.

    Raises:
        TadaError: the spec is unknown or faulty.
    """
    table = load_table(name, specs)
    if not Scale(scale).trains:
        table = against_published(table)
    available = Results(results, scale, seeds)
    cells = fill(table, available)
    below = (*numbers_of_text(table, cells), *footer(table, available))
    sheet = replace(lay_out(table, cells, scale), order=tuple(order_of_rows(table, cells)), footer=below)
    write_pages(sheet, out)
    write_text(out / f"{name}.csv", to_csv(name, cells))
    return problems(cells)


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
    value, cell = filled.value, filled.cell
    line: dict[str, object] = {"table": name, "row": row, "column": column, "kind": filled.kind}
    line |= {"reported": cell.reported, "verdict": filled.verdict}
    if cell.quantity is not None:
        line["tolerance"] = cell.tolerance.value if cell.tolerance else "printed digits"
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
