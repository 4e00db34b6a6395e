"""Cells of a table filled in: the paper's text, what was reproduced, the difference and the verdict.

An accuracy matches within the tolerance that its spec gives, and only at the paper's scale: the mini datasets have
levels of their own, so there it is shown and not judged. A parameter or FLOP count matches if it rounds to the printed
digits.
"""

from dataclasses import dataclass, fields
from decimal import Decimal

import pandas as pd

from tada.report.judge import Verdict
from tada.report.measure.results import DONE, Results
from tada.report.measure.values import Number, Value, measure
from tada.report.paper.printed import Printed, rounded
from tada.report.paper.quantities import LayerSize, LibrarySize, NetworkSize, Quantity
from tada.report.paper.tables import Cell, Table
from tada.runs.settings import Scale


@dataclass(frozen=True)
class Filled:
    """A cell with its measurement. `reported` and `here` are texts, the numbers behind them are beside them.

    There is no `verdict` where nothing is measured.
    """

    cell: Cell
    reported: str
    verdict: Verdict | None = None
    here: str = ""
    value: Value | None = None
    printed: Printed | None = None
    difference: Number | None = None
    shown_difference: str = ""

    @property
    def kind(self) -> str:
        """ "blank", "given", "cited", or the kind of quantity: "metric", "delta", "complexity", "layer", ..."""
        return self.cell.quantity.kind if self.cell.quantity else self.cell.kind


Key = tuple[str, str]
"""Id of a row and name of a column."""


def fill(table: Table, results: Results) -> dict[Key, Filled]:
    """Every cell of the table by (row, column), in reading order."""
    values = {quantity: measure(quantity, results) for quantity in dict.fromkeys(table.quantities)}
    return {
        (row.id, cell.column): _filled(cell, values[cell.quantity] if cell.quantity else None, results.scale)
        for row, cell in table.cells()
    }


def problems(cells: dict[Key, Filled]) -> list[str]:
    """What is wrong with the results behind the cells, each run named once; empty if nothing is."""
    return list(dict.fromkeys(str(p) for cell in cells.values() if cell.value for p in cell.value.problems))


def _filled(cell: Cell, value: Value | None, scale: Scale) -> Filled:
    if value is None or cell.quantity is None:
        return Filled(cell, cell.reported)
    if value.status == DONE and value.text:
        same = Verdict.MATCH if value.text == cell.reported else Verdict.OFF
        return Filled(cell, cell.reported, same, value.text, value)
    text, printed = cell.shown, cell.number
    if value.status != DONE or value.mean is None:
        return Filled(cell, text, Verdict(value.status), value.status, value, printed)
    extra = _extra_decimals(cell.quantity)
    if printed is None:
        return Filled(cell, text, here=f"{value.mean:,}", value=value)
    mean = value.mean
    here = printed.show(mean, extra)
    if value.std is not None:
        here += f" ± {printed.show(value.std, extra).lstrip('+')}"
    gap = mean - printed.value if isinstance(mean, Decimal) else mean - float(printed.value)
    shown = Printed("", printed.value, printed.decimals + extra, signed=True).show(gap)
    return Filled(cell, text, compared(mean, printed, cell, scale), here, value, printed, gap, shown)


_ROUNDING = 1e-9  # a tolerance of 0.5 takes in 63.8 - 63.3, whose binary difference is a hair above or below


def compared(reproduced: Number, printed: Printed, cell: Cell, scale: Scale) -> Verdict:
    """Whether a number is the reported one; "mini" where the scale, "library" where the network allows no verdict.

    Args:
        reproduced: in the printed number's unit.
        printed: the cell's number; an upper bound is met by any value below it.
        cell: where it is printed; an accuracy's has its tolerance.
        scale: of the runs.
    """
    if cell.tolerance is not None:
        if not scale.gives_verdicts:
            return Verdict.MINI
        same = abs(float(reproduced) - float(printed.value)) <= cell.tolerance.value + _ROUNDING
    elif isinstance(cell.quantity, LibrarySize):
        return Verdict.LIBRARY
    elif printed.below:
        same = reproduced < printed.value
    else:
        same = rounded(reproduced, printed.decimals) == printed.value
    return Verdict.MATCH if same else Verdict.OFF


def _extra_decimals(quantity: Quantity) -> int:
    """Counts are known exactly, so they are shown with two more decimals than the paper prints of them."""
    if isinstance(quantity, LayerSize) and quantity.count != "gflops":
        return 0
    return 2 if isinstance(quantity, NetworkSize | LayerSize | LibrarySize) else 0


@dataclass(frozen=True)
class CellTexts:
    """A filled cell as the CSV files hold it: texts, empty where there is nothing (yet)."""

    row: str
    column: str
    reported: str
    reproduced: str
    std: str
    verdict: str

    @property
    def pair(self) -> tuple[float, float]:
        """Reported and reproduced number, of a cell that has both."""
        return float(self.reported), float(self.reproduced)


def read_cells(numbers: pd.DataFrame, table: str) -> list[CellTexts]:
    """The cells of a table, in their order, from the cells of all tables: columns "table", "row", ..., all texts."""
    columns = numbers.loc[numbers["table"] == table, [field.name for field in fields(CellTexts)]]
    return [CellTexts(*map(str, values)) for values in columns.itertuples(index=False)]
