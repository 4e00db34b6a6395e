"""The paper's printed numbers by name, `table3b/tada2d/top1`: table, row and column of a spec.

Tables at scale released: the authors' checkpoints against what the authors publish for these very files.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from tada.base.errors import TadaError, unknown
from tada.report.paper.expressions import evaluate
from tada.report.paper.printed import Interval, Printed, parse
from tada.report.paper.quantities import Complexity, Delta, Layer, Library, Measure, Metric, Tolerance
from tada.report.paper.tables import TABLES, Cell, Row, Table, load_table, table_names
from tada.runs.recipes import released_checkpoints


class Paper:
    """What the specs in `folder` say that the paper prints."""

    def __init__(self, folder: Path = TABLES) -> None:
        self.folder = folder

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Every table by name."""
        return {name: load_table(name, self.folder) for name in table_names(self.folder)}

    @cached_property
    def _cells(self) -> dict[str, Cell]:
        return {f"{table.name}/{row.id}/{cell.column}": cell for table, row, cell in self.all_cells()}

    def all_cells(self) -> Iterator[tuple[Table, Row, Cell]]:
        """Every cell of every table."""
        for table in self.tables.values():
            for row, cell in table.cells():
                yield table, row, cell

    def printed(self, name: str, where: str = "") -> Printed:
        """The number in the cell `table/row/column`; of a formula of Table 1, its value.

        Raises:
            TadaError: no such cell, or one without a number.
        """
        if name not in self._cells:
            raise unknown("number of the paper", name, self._cells, where)
        number = reported(self._cells[name])[1]
        if number is None:
            raise TadaError(f"{where}: {name} holds no number but {self._cells[name].reported!r}")
        return number

    def interval(self, name: str, where: str = "") -> Interval:
        """The same number with what its rounding leaves open; a formula's value and an upper bound are exact."""
        number = self.printed(name, where)
        exact = number.below or getattr(self._cells[name].measure, "formula", False)
        return Interval.exact(number.fraction) if exact else Interval.of(number)

    def of_run(self, dataset: str, models: tuple[str, ...], metric: str) -> Interval | None:
        """What the first table that has it prints for a metric of a run, or None."""
        return next(
            (
                self.interval(name)
                for name, cell in self._cells.items()
                if isinstance(what := cell.measure, Metric)
                and (what.dataset, what.models, what.name) == (dataset, models, metric)
            ),
            None,
        )

    def of_network(self, model: str, quantity: str) -> Interval | None:
        """What the first table that has it prints for a network's "params" (millions) or "gflops", or None."""
        return next(
            (
                self.interval(name)
                for name, cell in self._cells.items()
                if isinstance(what := cell.measure, Complexity)
                and (what.models, what.quantity, what.minus) == ((model,), quantity, None)
            ),
            None,
        )


_OWN = "The reported number is published for this very checkpoint; the paper, whose network was another, prints {}."


_SUM = "Nothing is published for these checkpoints together; the reported number is the paper's, of other networks."


def against_published(table: Table) -> Table:
    """The table with each accuracy compared with the checkpoint's own; cells without a checkpoint are only shown."""
    content = released_checkpoints()
    tolerance = Tolerance(content["tolerance"]["value"], " ".join(content["tolerance"]["why"].split()))

    def accuracy(cell: Cell, what: Metric) -> Cell:
        published = [content["checkpoints"].get(what.dataset, {}).get(model) for model in what.models]
        if not all(published):
            return replace(cell, kind="cited", measure=None)
        if len(published) > 1:
            return replace(cell, note=_SUM)
        number = published[0].get(what.name)
        if number is None:
            return replace(cell, kind="cited", measure=None)
        return replace(
            cell, reported=number, measure=replace(what, tolerance=tolerance), note=_OWN.format(cell.reported)
        )

    def compared(cell: Cell) -> Cell:
        if isinstance(cell.measure, Metric):
            return accuracy(cell, cell.measure)
        return replace(cell, kind="cited", measure=None) if isinstance(cell.measure, Delta) else cell

    rows = (Row(row.id, row.group, {name: compared(cell) for name, cell in row.cells.items()}) for row in table.rows)
    return replace(table, rows=tuple(rows))


def reported(cell: Cell) -> tuple[str, Printed | None]:
    """The paper's text and number; of a formula, its value at the table's setting."""
    if isinstance(cell.measure, Layer) and cell.measure.formula:
        value = evaluate(cell.reported, dict(cell.measure.setting))
        return f"{cell.reported} = {value:,}", parse(str(value))
    return cell.reported, parse(cell.reported)


def _extra_decimals(what: Measure) -> int:
    """Counts are known exactly, so they are shown with two more decimals than the paper prints of them."""
    if isinstance(what, Layer) and what.quantity != "gflops":
        return 0
    return 2 if isinstance(what, Complexity | Layer | Library) else 0
