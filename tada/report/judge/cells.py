"""Cells of a table filled in: the paper's text, what was reproduced, the difference and the verdict.

The paper's accuracy is that of a single training, so the difference to it has the noise of trainings here and there.
Its 90% interval within the points that count as the same is a match (two tests of 5% each), its 95% interval beside
zero is not, and else it is unclear. Accuracies are judged at the paper's scale alone: rendered datasets have levels of
their own. A parameter or FLOP count matches if it rounds to the printed digits.
"""

import math
from dataclasses import dataclass, fields, replace
from decimal import Decimal

import pandas as pd

from tada.base import TadaError
from tada.base.files import PAPER
from tada.report.judge import Verdict
from tada.report.judge.noise import LEVEL, Estimate, difference
from tada.report.judge.training import SeedSpreads, assumed, seed_spreads
from tada.report.measure.results import DONE, Results
from tada.report.measure.values import Number, Value, measure
from tada.report.paper import about_paper
from tada.report.paper.printed import Printed, rounded
from tada.report.paper.quantities import Difference, LayerSize, LibrarySize, Metric, NetworkSize, Quantity
from tada.report.paper.tables import Cell, Table
from tada.runs.settings import Scale


@dataclass(frozen=True)
class Filled:
    """A cell with its measurement. `reported` and `here` are texts, the numbers behind them are beside them.

    There is no `verdict` where nothing is measured. `gap` is the difference with its noise, of an accuracy that is
    judged; `note` says what would decide an unclear one.
    """

    cell: Cell
    reported: str
    verdict: Verdict | None = None
    here: str = ""
    value: Value | None = None
    printed: Printed | None = None
    difference: Number | None = None
    shown_difference: str = ""
    gap: Estimate | None = None
    note: str = ""

    @property
    def kind(self) -> str:
        """ "blank", "given", "cited", or the kind of quantity: "metric", "delta", "complexity", "layer", ..."""
        return self.cell.quantity.kind if self.cell.quantity else self.cell.kind


Key = tuple[str, str]
"""Id of a row and name of a column."""


def fill(table: Table, results: Results) -> dict[Key, Filled]:
    """Every cell of the table by (row, column), in reading order."""
    values = {quantity: measure(quantity, results) for quantity in dict.fromkeys(table.quantities)}
    spreads = seed_spreads(results.scale, values)
    return {
        (row.id, cell.column): _filled(cell, values[cell.quantity] if cell.quantity else None, spreads)
        for row, cell in table.cells()
    }


def problems(cells: dict[Key, Filled]) -> list[str]:
    """What is wrong with the results behind the cells, each run named once; empty if nothing is."""
    return list(dict.fromkeys(str(p) for cell in cells.values() if cell.value for p in cell.value.problems))


def _filled(cell: Cell, value: Value | None, spreads: SeedSpreads) -> Filled:
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
    filled = Filled(cell, text, None, here, value, printed, gap, shown)
    if not isinstance(cell.quantity, Metric | Difference):
        return replace(filled, verdict=compared(mean, printed, cell.quantity))
    return _accuracy(filled, value, printed, spreads)


_ROUNDING = 1e-9  # a tolerance of 0.3 takes in 63.8 - 63.5, whose binary difference is a hair above or below


def compared(reproduced: Number, printed: Printed, quantity: Quantity) -> Verdict:
    """Whether a count is the reported one; "library" where the network allows no verdict.

    Args:
        reproduced: in the printed number's unit.
        printed: the cell's number; an upper bound is met by any value below it.
        quantity: what is counted.
    """
    if isinstance(quantity, LibrarySize):
        return Verdict.LIBRARY
    same = reproduced < printed.value if printed.below else rounded(reproduced, printed.decimals) == printed.value
    return Verdict.MATCH if same else Verdict.OFF


def _accuracy(filled: Filled, value: Value, printed: Printed, spreads: SeedSpreads) -> Filled:
    """An accuracy, or a difference of two, with its verdict: against what is published for a checkpoint, or the paper.

    Checkpoints without such a number are other trainings than the paper's.
    """
    quantity, tolerance = filled.cell.quantity, filled.cell.tolerance
    if not spreads.scale.gives_verdicts or quantity is None:
        return replace(filled, verdict=Verdict(spreads.scale))
    if tolerance is not None:
        near = abs(float(filled.difference or 0.0)) <= tolerance.value + _ROUNDING
        return replace(filled, verdict=Verdict.MATCH if near else Verdict.OFF)
    same = about_paper().same
    if same is None:
        raise TadaError(f"{PAPER / 'paper.yaml'}: noise.same has to say how far apart accuracies count as the same")
    training = spreads.training([quantity]) if spreads.scale.trains else assumed(Scale.PAPER)
    numbers = [float(number) for number in value.numbers.values()]
    gap = difference(numbers, [float(printed.value)], training, 2 if isinstance(quantity, Difference) else 1)
    verdict = against_single(gap, same.points)
    note = ""
    if verdict == Verdict.UNCLEAR:
        seeds = seeds_needed(gap, len(numbers), same.points)
        note = f"a difference like this would be decided with {seeds} seeds" if seeds else _NEVER
    return replace(filled, verdict=verdict, gap=gap, note=note)


_NEVER = "no number of seeds would decide a difference like this, since the paper's number is of a single training"


def against_single(gap: Estimate, same: float) -> Verdict:
    """The verdict on a difference to the paper's number, of which `same` points count as none.

    A match is an equivalence test (two one-sided tests at `LEVEL`), off is a test for a difference at `LEVEL`.
    """
    low, high = gap.interval(2 * LEVEL)
    if -same <= low and high <= same:
        return Verdict.MATCH
    return Verdict.OFF if gap.low > 0 or gap.high < 0 else Verdict.UNCLEAR


MOST_SEEDS = 20
"""More than that nobody trains."""


def seeds_needed(gap: Estimate, seeds: int, same: float) -> int | None:
    """How many seeds would decide an unclear difference if their mean stays where it is; None if not `MOST_SEEDS`.

    Args:
        gap: the mean of `seeds` seeds less the paper's single number.
        seeds: those that there are.
        same: points that count as no difference.
    """
    of_one = gap.error**2 / (1 + 1 / seeds)
    for more in range(seeds + 1, MOST_SEEDS + 1):
        error = math.sqrt(of_one * (1 + 1 / more))
        then = replace(gap, error=error, freedom=gap.freedom + more - seeds)
        if math.isfinite(error) and against_single(then, same) != Verdict.UNCLEAR:
            return more
    return None


def _extra_decimals(quantity: Quantity) -> int:
    """Counts are known exactly, so they are shown with two more decimals than the paper prints of them."""
    if isinstance(quantity, LayerSize) and quantity.count != "gflops":
        return 0
    return 2 if isinstance(quantity, NetworkSize | LayerSize | LibrarySize) else 0


@dataclass(frozen=True)
class CellTexts:
    """A filled cell as a snapshot's numbers.csv holds it: texts, empty where there is nothing (yet)."""

    row: str
    column: str
    reported: str
    reproduced: str
    std: str
    n: str
    here_low: str
    here_high: str
    verdict: str

    @property
    def pair(self) -> tuple[float, float]:
        """Reported and reproduced number, of a cell that has both."""
        return float(self.reported), float(self.reproduced)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of the reproduced number; None where its noise is not known, or it has none."""
        return (float(self.here_low), float(self.here_high)) if self.here_low else None


def read_cells(numbers: pd.DataFrame, table: str) -> list[CellTexts]:
    """The cells of a table, in their order, from the cells of all tables: columns "table", "row", ..., all texts."""
    columns = numbers.loc[numbers["table"] == table, [field.name for field in fields(CellTexts)]]
    return [CellTexts(*map(str, values)) for values in columns.itertuples(index=False)]
