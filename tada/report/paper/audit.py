"""What the audit recomputes: `paper/audit.yaml`, whose parts say which numbers follow from which others."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tada.base import files
from tada.base.errors import unknown
from tada.base.yaml_files import load_yaml
from tada.report.paper.expressions import Comparison, Expression
from tada.report.paper.quantities import Delta
from tada.report.paper.reported import Paper

AUDIT = files.PAPER / "audit.yaml"


@dataclass(frozen=True)
class Sum:
    """Printed numbers that have to be equal to what is computed; one of the `readings` has to fit all of them.

    `printed` are texts, or references to a cell in braces. `group` names the column that a table's number stands in.
    """

    id: str
    place: str
    quote: str
    printed: tuple[str, ...]
    readings: dict[str, tuple[Expression, ...]]
    note: str = ""
    group: str = ""


@dataclass(frozen=True)
class Bounds:
    """A printed number that has to lie between two others."""

    id: str
    place: str
    quote: str
    printed: str
    between: tuple[Expression, Expression]
    note: str = ""
    group: str = ""


@dataclass(frozen=True)
class Ordering:
    """A sentence that is true if all statements are."""

    id: str
    place: str
    quote: str
    holds: tuple[Comparison, ...]
    note: str = ""


@dataclass(frozen=True)
class Unchecked:
    """A number that cannot be recomputed, and why."""

    place: str
    quote: str
    why: str


@dataclass(frozen=True)
class Audit:
    """Everything that is to be recomputed, and the numbers known from elsewhere with their sources."""

    title: str
    place: str
    caption: str
    known: dict[str, tuple[float, str]]
    checks: tuple[Sum | Bounds | Ordering, ...]
    unchecked: tuple[Unchecked, ...]


def load_audit(path: Path, paper: Paper) -> Audit:
    """The spec, with a check for every difference to a base row that the paper's tables print.

    Raises:
        TadaError: a faulty key, or a column that is named and does not exist.
    """
    spec = load_yaml(path, "audit")
    checks: list[Sum | Bounds | Ordering] = [*_deltas(paper), *_columns(spec.get("columns", []), paper, path)]
    checks += [_sum(entry) for entry in spec.get("numbers", [])]
    checks += [_ordering(entry) for entry in spec.get("comparisons", [])]
    return Audit(
        title=spec["title"],
        place=spec["place"],
        caption=_line(spec["caption"]),
        known={name: (entry["value"], entry["source"]) for name, entry in spec.get("known", {}).items()},
        checks=tuple(checks),
        unchecked=tuple(Unchecked(e["place"], e["quote"], _line(e["why"])) for e in spec.get("unchecked", [])),
    )


def load_sentences(path: Path = AUDIT) -> tuple[list[Sum], list[Ordering]]:
    """The numbers and the comparisons of the paper's text alone, without those that tables print."""
    spec = load_yaml(path, "audit")
    return [_sum(entry) for entry in spec.get("numbers", [])], [_ordering(e) for e in spec.get("comparisons", [])]


def _deltas(paper: Paper) -> Iterator[Sum]:
    """Every printed difference of a column between a row and its base row."""
    for table, row, cell in paper.all_cells():
        if not isinstance(delta := cell.measure, Delta):
            continue
        headers = {column.name: column.header for column in table.columns}
        name = f"{table.name}/{row.id}/{cell.column}"
        formula = f"{{{table.name}/{row.id}/{delta.column}}} - {{{table.name}/{delta.base}/{delta.column}}}"
        quote = f"{row.id}: {headers[cell.column]} of {headers[delta.column]}"
        group = f"{headers[cell.column]} of {headers[delta.column]}"
        yield Sum(name, table.title, quote, (f"{{{name}}}",), {"": (Expression(formula),)}, group=group)


def _columns(entries: list[dict[str, Any]], paper: Paper, path: Path) -> Iterator[Sum | Bounds]:
    """The numbers of the columns that the spec names."""
    for entry in entries:
        if entry["table"] not in paper.tables:
            raise unknown("table", entry["table"], paper.tables, where=f"{path}: columns")
        table = paper.tables[entry["table"]]
        columns = {column.name: column for column in table.columns}
        if entry["column"] not in columns:
            raise unknown("column", entry["column"], columns, where=f"{path}: columns: {table.name}")
        column = columns[entry["column"]]
        group = f"{column.over} {column.header}".strip()
        for row in table.rows:
            if row.cells[column.name].measure is None:
                continue
            name = f"{table.name}/{row.id}/{column.name}"
            about = (name, table.title, f"{row.id}: {group}")
            note = _line(entry.get("note", ""))
            if "from" in entry:
                readings = {"": (_in_row(entry["from"], table.name, row.id),)}
                yield Sum(*about, (f"{{{name}}}",), readings, note, group)
            else:
                low, high = (_in_row(text, table.name, row.id) for text in entry["between"])
                yield Bounds(*about, f"{{{name}}}", (low, high), note, group)


def _in_row(text: str, table: str, row: str) -> Expression:
    """An expression of column names as one of whole references."""
    for column in Expression(text).references:
        text = text.replace(f"{{{column}}}", f"{{{table}/{row}/{column}}}")
    return Expression(text)


def _sum(entry: dict[str, Any]) -> Sum:
    printed = entry["printed"]
    readings = entry.get("readings") or {"": [entry["from"]]}
    return Sum(
        entry["id"],
        entry["place"],
        entry["quote"],
        tuple([printed] if isinstance(printed, str) else printed),
        {how: tuple(Expression(text) for text in texts) for how, texts in readings.items()},
        _line(entry.get("note", "")),
    )


def _ordering(entry: dict[str, Any]) -> Ordering:
    holds = tuple(Comparison(text) for text in entry["holds"])
    return Ordering(entry["id"], entry["place"], entry["quote"], holds, _line(entry.get("note", "")))


def _line(text: str) -> str:
    return " ".join(text.split())
