"""The paper's tables: `paper/tables/<name>.yaml`, checked, as rows of cells that say which quantity each one reports.

A cell's quantity follows from its column (what is measured), its row (on which model) and, where the paper departs from
that, the cell itself. This module is imported to plan the work, so it loads no network, no pandas and no matplotlib.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tada.base import TadaError, files, unknown
from tada.base.yaml_files import load_yaml
from tada.data import catalog
from tada.report.paper.printed import NO_NUMBER, Interval, Printed, evaluate_formula, parse
from tada.report.paper.quantities import (
    Difference,
    LayerSize,
    LibrarySize,
    Metric,
    NetworkSize,
    Quantity,
    Structure,
    complexities_of,
    runs_of,
)
from tada.runs.recipes import published, released_checkpoints
from tada.runs.settings import Scale

TABLES = files.PAPER / "tables"


NO_SPECS = "no spec (NAME.yaml) lies in that folder; TADA_PAPER names the folder of another paper, if it is set"
"""Why no name is valid where there are no tables, or no figures."""


_QUANTITIES = ("metric", "delta_of", "complexity", "layer", "structure", "output_of", "collects")


@dataclass(frozen=True)
class Column:
    """A column of the paper's table; `measured` if any cell of it can be reproduced."""

    name: str
    header: str
    over: str = ""
    measured: bool = False


@dataclass(frozen=True)
class Tolerance:
    """How far the accuracy of a released checkpoint may be from what is published for it, in points, and why so far."""

    value: float
    why: str


@dataclass(frozen=True)
class Cell:
    """The paper's text and the quantity that it reports.

    `kind` is "blank" (the paper's cell is empty), "given" (text), "cited" (another paper's number) or "measured".
    What is published for a checkpoint has a `tolerance`. A `Difference` is one of the column `of` to the row `base`.
    With `formula` the text is a formula, which has a value at the layer's setting.
    """

    column: str
    reported: str
    kind: str
    quantity: Quantity | None = None
    note: str = ""
    tolerance: Tolerance | None = None
    of: str = ""
    base: str = ""
    formula: bool = False

    @property
    def as_cited(self) -> "Cell":
        """The same text, which nothing is compared with."""
        return Cell(self.column, self.reported, "cited", note=self.note)

    @property
    def number(self) -> Printed | None:
        """The reported number, of a formula its value; None where the paper prints none."""
        return parse(self.reported if self._value is None else str(self._value))

    @property
    def shown(self) -> str:
        """The paper's text; of a formula together with its value, e.g. "Co × Ci × k² = 36,864"."""
        return self.reported if self._value is None else f"{self.reported} = {self._value:,}"

    @property
    def _value(self) -> int | None:
        if not self.formula or not isinstance(self.quantity, LayerSize):
            return None
        return evaluate_formula(self.reported, dict(self.quantity.setting))


@dataclass(frozen=True)
class Row:
    """A row of the paper's table, one cell for each column."""

    id: str
    group: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """A table of the paper; `caption` has its words, `reading` how this suite understands what they leave open."""

    name: str
    title: str
    caption: str
    place: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    reading: str = ""

    def cells(self) -> Iterator[tuple[Row, Cell]]:
        """Every cell with its row, in reading order."""
        for row in self.rows:
            for cell in row.cells.values():
                yield row, cell

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """What the cells measure, in reading order."""
        return tuple(cell.quantity for _, cell in self.cells() if cell.quantity is not None)

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that the table needs."""
        return runs_of(self.quantities)

    @property
    def complexities(self) -> set[tuple[str, int, int]]:
        """(model, classes, resolution in pixels) of every network whose parameters and FLOPs the table needs."""
        return complexities_of(self.quantities)


def table_names(folder: Path = TABLES) -> list[str]:
    """Names of all tables that have a spec."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def load_table(name: str, folder: Path = TABLES) -> Table:
    """The spec `<folder>/<name>.yaml`.

    Raises:
        TadaError: no such table (the nearest names are given), or a key, column or row that does not exist.
    """
    path = folder / f"{name}.yaml"
    if not path.exists():
        raise unknown("table", name, table_names(folder), where=str(folder), none=NO_SPECS)
    return _Reader(path, load_yaml(path, "table", catalog.NAMES)).table()


class _Reader:
    """Turns the content of one spec file into a `Table`; every message names the file and the place in it."""

    def __init__(self, path: Path, spec: dict[str, Any]) -> None:
        self.path, self.spec = path, spec
        self.columns: dict[str, dict[str, Any]] = spec["columns"]
        self.ids = [self._id(row, number) for number, row in enumerate(spec.get("rows", []))]

    def table(self) -> Table:
        for name, column in self.columns.items():
            self._check_column(name, column)
        if twice := sorted({name for name in self.ids if self.ids.count(name) > 1}):
            raise TadaError(
                f"{self.path}: rows: {', '.join(twice)}: used by several rows; give each an `id` of its own"
            )
        rows: list[Row] = []
        for included in self.spec.get("include", []):
            rows += _figures(load_table(included, self.path.parent), tuple(self.columns))
        rows += [self._row(name, row) for name, row in zip(self.ids, self.spec.get("rows", []), strict=True)]
        return Table(
            name=self.path.stem,
            title=self.spec["title"],
            caption=" ".join(self.spec["caption"].split()),
            place=self.spec["place"],
            columns=tuple(self._column(name) for name in self.columns),
            rows=tuple(rows),
            reading=" ".join(self.spec.get("reading", "").split()),
        )

    def _check_column(self, name: str, column: dict[str, Any]) -> None:
        where = f"{self.path}: columns.{name}"
        if len(several := [key for key in _QUANTITIES if key in column]) > 1:
            raise TadaError(f"{where}: {' and '.join(several)} exclude each other; keep one of them")
        if (of := column.get("delta_of")) and "metric" not in self.columns.get(of, {}):
            raise unknown(
                "metric column", of, (n for n, c in self.columns.items() if "metric" in c), f"{where}.delta_of"
            )

    def _column(self, name: str) -> Column:
        column = self.columns[name]
        measured = any(key in column for key in _QUANTITIES)
        return Column(name, column["header"], column.get("over", ""), measured)

    def _id(self, row: dict[str, Any], number: int) -> str:
        named = (row[key] for key in ("id", "model", "operation", "stage") if key in row)
        return next(named, f"row{number + 1}")

    def _row(self, name: str, row: dict[str, Any]) -> Row:
        where = f"{self.path}: rows.{name}"
        for column in row["cells"]:
            if column not in self.columns:
                raise unknown("column", column, self.columns, f"{where}.cells")
        if "base" in row and row["base"] not in self.ids:
            raise unknown("row", row["base"], self.ids, f"{where}.base")
        if "model" in row and "ensemble" in row:
            raise TadaError(f"{where}: model and ensemble exclude each other; keep one of them")
        cells = {column: self._cell(column, row, f"{where}.cells.{column}") for column in self.columns}
        return Row(name, row.get("group", ""), cells)

    def _cell(self, name: str, row: dict[str, Any], where: str) -> Cell:
        if name not in row["cells"]:
            return Cell(name, "", "blank")
        own = row["cells"][name]
        own = {"reported": own} if isinstance(own, str) else own
        column = self._column(name)
        quantity = None
        if own["reported"] not in NO_NUMBER and not own.get("cited"):
            quantity = self._quantity(name, row, where)
        note = " ".join(own.get("note", "").split())
        if quantity is None:
            cited = column.measured and own["reported"] not in NO_NUMBER
            cited = cited and not {"structure", "output_of"} & set(self.columns[name])
            return Cell(name, own["reported"], "cited" if cited else "given", note=note)
        settings = {**self.columns[name], **own}
        delta = isinstance(quantity, Difference)
        cell = Cell(
            name,
            own["reported"],
            "measured",
            quantity,
            note,
            of=settings["delta_of"] if delta else "",
            base=row["base"] if delta else "",
            formula=isinstance(quantity, LayerSize) and self.columns[name].get("formula", False),
        )
        if not isinstance(quantity, Structure) and cell.number is None:
            raise TadaError(f"{where}: {own['reported']!r} is no number, and one is measured here")
        return cell

    def _quantity(self, name: str, row: dict[str, Any], where: str) -> Quantity | None:
        """What the cell of a row measures in the column `name`; None where that cannot be reproduced."""
        own = row["cells"][name]
        column, own = self.columns[name], {} if isinstance(own, str) else own
        if "library" in own:
            return LibrarySize(**own["library"])
        models = tuple(row.get("ensemble", [row["model"]] if "model" in row else []))
        models = (own["model"],) if "model" in own else models
        settings = {**column, **own}
        if models:
            return self._of_models(models, settings, row, where)
        stage, operation = row.get("stage"), own.get("operation", row.get("operation"))
        if "layer" in settings and operation:
            setting = tuple(self.spec.get("setting", {}).items())
            return LayerSize(operation, settings["layer"], setting, own.get("layer_minus"))
        if stage and ("structure" in column or "output_of" in column):
            return Structure(column.get("structure") or column["output_of"], stage, "output_of" in column)
        return None

    def _of_models(
        self, models: tuple[str, ...], settings: dict[str, Any], row: dict[str, Any], where: str
    ) -> Quantity | None:
        if metric := settings.get("metric"):
            task = row.get("task", "")
            if "{task}" in metric and not task:
                raise TadaError(f"{where}: the column's metric {metric!r} needs a `task` in the row")
            return Metric(settings["dataset"], models, metric.format(task=task))
        if column := settings.get("delta_of"):
            if "base" not in row:
                raise TadaError(f"{where}: a difference to which row? Give the row a `base`")
            return Difference(self._metric(row, column, where), self._metric(self._named(row["base"]), column, where))
        if count := settings.get("complexity"):
            if missing := {"classes", "resolution"} - set(settings):
                raise TadaError(f"{where}: complexity needs {' and '.join(sorted(missing))}")
            minus = settings.get("minus")
            return NetworkSize(models, count, settings["classes"], settings["resolution"], minus)
        return None

    def _named(self, name: str) -> dict[str, Any]:
        return self.spec["rows"][self.ids.index(name)]

    def _metric(self, row: dict[str, Any], column: str, where: str) -> Metric:
        """What a difference is made of: the metric in a column of a row."""
        metric = self._quantity(column, row, where) if column in row["cells"] else None
        if not isinstance(metric, Metric):
            raise TadaError(f"{where}: a difference of {column}, which is not measured in both rows")
        return metric


def _figures(table: Table, columns: tuple[str, ...]) -> list[Row]:
    """A row (place, network, figure, value) for every parameter and FLOP figure that a table prints."""
    headers = {column.name: column.header for column in table.columns}
    rows = []
    for row, cell in table.cells():
        size = cell.quantity
        if not isinstance(size, NetworkSize | LayerSize | LibrarySize) or cell.formula:
            continue
        texts = {"place": table.title, "network": _subject(size), "figure": headers[cell.column]}
        cells = {name: Cell(name, texts.get(name, ""), "given") for name in columns}
        cells["value"] = Cell("value", cell.reported, "measured", size, cell.note)
        rows.append(Row(f"{table.name}/{row.id}/{cell.column}", table.name, cells))
    return rows


def _subject(size: NetworkSize | LayerSize | LibrarySize) -> str:
    match size:
        case NetworkSize():
            return " + ".join(size.models) + (f" − {size.minus}" if size.minus else "")
        case LayerSize():
            return size.operation + (f" − {size.minus}" if size.minus else "")
        case LibrarySize():
            return size.network


class Paper:
    """All numbers that the tables' specs in `folder` say the paper prints, by name: `table3b/tada2d/top1`."""

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
        number = self._cells[name].number
        if number is None:
            raise TadaError(f"{where}: {name} holds no number but {self._cells[name].reported!r}")
        return number

    def interval(self, name: str, where: str = "") -> Interval:
        """The same number with the bounds that rounding leaves open; a formula's value and an upper bound are exact."""
        number = self.printed(name, where)
        exact = number.below or self._cells[name].formula
        return Interval.exact(number.fraction) if exact else Interval.of(number)

    def find(self, quantity: Quantity) -> Interval | None:
        """What the first table that has a quantity prints of it, or None; a layer's GFLOPs also from its formula."""
        cells = self._cells.items()
        found = next((self.interval(name) for name, cell in cells if cell.quantity == quantity), None)
        if found is None and isinstance(quantity, LayerSize) and quantity.count == "gflops":
            flops = self.find(replace(quantity, count="flops"))
            return flops / 10**9 if flops else None
        return found


_OWN = {
    "first": "The reported number is published for this very checkpoint; the paper prints {}.",
    "later": "The reported number is published for this very checkpoint; the paper, whose network was another, prints "
    "{}.",
}


_SUM = {
    "first": "Nothing is published for these checkpoints together; the reported number is the paper's.",
    "later": "Nothing is published for these checkpoints together; the reported number is the paper's, of other "
    "networks.",
}


def against_published(table: Table, scale: Scale) -> Table:
    """A table for the checkpoints of a release: each accuracy beside what the authors publish for that very file.

    Cells without a checkpoint are only shown.
    """
    content = released_checkpoints()
    tolerance = Tolerance(content["tolerance"]["value"], " ".join(content["tolerance"]["why"].split()))

    def accuracy(cell: Cell, metric: Metric) -> Cell:
        numbers = [published(scale, metric.dataset, model) for model in metric.models]
        if None in numbers:
            return cell.as_cited
        if len(numbers) > 1:
            return replace(cell, note=_SUM[scale.release])
        number = (numbers[0] or {}).get(metric.name)
        if number is None:
            return cell.as_cited
        of_paper = numbers[0] == published(Scale.FIRST_RELEASE, metric.dataset, metric.models[0])
        note = _OWN["first" if of_paper else scale.release].format(cell.reported)
        return replace(cell, reported=number, tolerance=tolerance, note=note)

    def compared(cell: Cell) -> Cell:
        if isinstance(cell.quantity, Metric):
            return accuracy(cell, cell.quantity)
        return cell.as_cited if isinstance(cell.quantity, Difference) else cell

    rows = (Row(row.id, row.group, {name: compared(cell) for name, cell in row.cells.items()}) for row in table.rows)
    return replace(table, rows=tuple(rows))
