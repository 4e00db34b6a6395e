"""The paper's printed numbers by name, `table3b/tada2d/top1`: table, row and column of a spec."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tada.errors import TadaError, unknown
from tada.report.cells import reported
from tada.report.intervals import Interval
from tada.report.measures import Complexity, Metric
from tada.report.printed import Printed
from tada.report.table_spec import TABLES, Cell, Row, Table, load_table, table_names


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
