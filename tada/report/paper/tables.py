"""Table specs: `paper/tables/<name>.yaml`, checked and turned into rows of cells that say what each one measures.

A cell's measure follows from its column (what is measured), its row (on which model) and, where the paper departs from
that, the cell itself. This module is imported to plan the work, so it loads no network, no pandas and no matplotlib.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tada.base import files
from tada.base.errors import TadaError, unknown
from tada.base.yaml_files import load_yaml
from tada.report.paper.printed import EMPTY
from tada.report.paper.quantities import Complexity, Delta, Layer, Library, Measure, Metric, Structure, Tolerance

TABLES = files.PAPER / "tables"


_MEASURES = ("metric", "delta_of", "complexity", "layer", "structure", "output_of", "collects")


@dataclass(frozen=True)
class Column:
    """A column of the paper's table; `measured` if any cell of it can be reproduced."""

    name: str
    header: str
    over: str = ""
    measured: bool = False


@dataclass(frozen=True)
class Cell:
    """The paper's text and what it is a measurement of.

    `kind` is "blank" (the paper's cell is empty), "given" (text), "cited" (another paper's number) or "measured".
    """

    column: str
    reported: str
    kind: str
    measure: Measure | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the paper's table, one cell for each column."""

    id: str
    group: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    name: str
    title: str
    caption: str
    place: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def cells(self) -> Iterator[tuple[Row, Cell]]:
        """Every cell with its row, in reading order."""
        for row in self.rows:
            for cell in row.cells.values():
                yield row, cell

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """What the cells measure, in reading order."""
        return tuple(cell.measure for _, cell in self.cells() if cell.measure is not None)

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that the table needs."""
        return {(m.dataset, model) for m in self.measures if isinstance(m, Metric) for model in m.models}

    @property
    def complexities(self) -> set[tuple[str, int, int]]:
        """(model, classes, resolution in pixels) of every network whose parameters and FLOPs the table needs."""
        return {
            (model, m.classes, m.resolution)
            for m in self.measures
            if isinstance(m, Complexity)
            for model in (*m.models, *([m.minus] if m.minus else []))
        }

    @property
    def networks(self) -> set[str]:
        """Names of config/models.yaml that the table mentions, for whatever reason."""
        described = {m.model for m in self.measures if isinstance(m, Structure)}
        return {model for _, model in self.runs} | {model for model, _, _ in self.complexities} | described


def table_names(folder: Path = TABLES) -> list[str]:
    """Names of all tables that have a spec."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def load_table(name: str, folder: Path = TABLES) -> Table:
    """The spec `<folder>/<name>.yaml`.

    Raises:
        TadaError: no such table (the nearest names are given), or a key, column, row or tolerance that does not exist.
    """
    path = folder / f"{name}.yaml"
    if not path.exists():
        raise unknown("table", name, table_names(folder), where=str(folder))
    return _Reader(path, load_yaml(path, "table")).table()


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
        )

    def _check_column(self, name: str, column: dict[str, Any]) -> None:
        where = f"{self.path}: columns.{name}"
        if len(given := [key for key in _MEASURES if key in column]) > 1:
            raise TadaError(f"{where}: {' and '.join(given)} exclude each other; keep one of them")
        if (of := column.get("delta_of")) and "metric" not in self.columns.get(of, {}):
            raise unknown(
                "metric column", of, (n for n, c in self.columns.items() if "metric" in c), f"{where}.delta_of"
            )
        if (tolerance := column.get("tolerance")) and tolerance not in self.spec.get("tolerances", {}):
            raise unknown("tolerance", tolerance, self.spec.get("tolerances", {}), f"{where}.tolerance")

    def _column(self, name: str) -> Column:
        column = self.columns[name]
        measured = any(key in column for key in _MEASURES)
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
        measure = None
        if own["reported"] not in EMPTY and not own.get("cited"):
            measure = self._measure(self.columns[name], row, own, where)
        if measure is not None:
            kind = "measured"
        elif not column.measured or own["reported"] in EMPTY or {"structure", "output_of"} & set(self.columns[name]):
            kind = "given"
        else:
            kind = "cited"
        return Cell(name, own["reported"], kind, measure, " ".join(own.get("note", "").split()))

    def _measure(self, column: dict[str, Any], row: dict[str, Any], own: dict[str, Any], where: str) -> Measure | None:
        if "library" in own:
            return Library(**own["library"])
        models = tuple(row.get("ensemble", [row["model"]] if "model" in row else []))
        models = (own["model"],) if "model" in own else models
        settings = {**column, **own}
        if models:
            return self._of_models(models, settings, row, where)
        stage, operation = row.get("stage"), own.get("operation", row.get("operation"))
        if "layer" in settings and operation:
            setting = tuple(self.spec.get("setting", {}).items())
            return Layer(operation, settings["layer"], setting, column.get("formula", False), own.get("layer_minus"))
        if stage and ("structure" in column or "output_of" in column):
            return Structure(column.get("structure") or column["output_of"], stage, "output_of" in column)
        return None

    def _of_models(
        self, models: tuple[str, ...], settings: dict[str, Any], row: dict[str, Any], where: str
    ) -> Measure | None:
        if metric := settings.get("metric"):
            task = row.get("task", "")
            if "{task}" in metric and not task:
                raise TadaError(f"{where}: the column's metric {metric!r} needs a `task` in the row")
            return Metric(settings["dataset"], models, metric.format(task=task), self._tolerance(settings))
        if column := settings.get("delta_of"):
            if "base" not in row:
                raise TadaError(f"{where}: a difference to which row? Give the row a `base`")
            return Delta(column, row["base"], self._tolerance(settings))
        if quantity := settings.get("complexity"):
            if missing := {"classes", "resolution"} - set(settings):
                raise TadaError(f"{where}: complexity needs {' and '.join(sorted(missing))}")
            return Complexity(models, quantity, settings["classes"], settings["resolution"], settings.get("minus"))
        return None

    def _tolerance(self, column: dict[str, Any]) -> Tolerance:
        chosen = self.spec["tolerances"][column["tolerance"]]
        return Tolerance(chosen["value"], " ".join(chosen["why"].split()))


def _figures(table: Table, columns: tuple[str, ...]) -> list[Row]:
    """A row (place, network, figure, value) for every parameter and FLOP figure that a table prints."""
    headers = {column.name: column.header for column in table.columns}
    rows = []
    for row, cell in table.cells():
        measure = cell.measure
        if not isinstance(measure, Complexity | Layer | Library) or (isinstance(measure, Layer) and measure.formula):
            continue
        texts = {"place": table.title, "network": _subject(measure), "figure": headers[cell.column]}
        cells = {name: Cell(name, texts.get(name, ""), "given") for name in columns}
        cells["value"] = Cell("value", cell.reported, "measured", measure, cell.note)
        rows.append(Row(f"{table.name}/{row.id}/{cell.column}", table.name, cells))
    return rows


def _subject(measure: Complexity | Layer | Library) -> str:
    match measure:
        case Complexity():
            return " + ".join(measure.models) + (f" − {measure.minus}" if measure.minus else "")
        case Layer():
            return measure.operation + (f" − {measure.minus}" if measure.minus else "")
        case Library():
            return measure.network


PAGES = {
    "audit": "Audit: numbers of the paper that follow from others of its numbers, recomputed",
    "claims": "Claims: sentences of the paper as statements on measurements, with verdicts",
}
"""Pages on the paper's text beside the tables, and what they say."""
