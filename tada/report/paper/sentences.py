"""Sentences of the paper to be checked: on measurements (`paper/claims.yaml`) or on its own digits (`audit.yaml`).

A claim is a sentence as statements on quantities. The audit says which printed numbers follow from which others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tada.base import TadaError, files, unknown
from tada.base.yaml_files import load_yaml
from tada.report.paper import table_of_layers
from tada.report.paper.printed import Expression, Inequality
from tada.report.paper.quantities import (
    Difference,
    LayerSetting,
    LayerSize,
    Quantity,
    complexities_of,
    parse_quantity,
    runs_of,
)
from tada.report.paper.tables import Paper, load_table

CLAIMS, AUDIT = files.PAPER / "claims.yaml", files.PAPER / "audit.yaml"


@dataclass(frozen=True)
class Statement:
    """A comparison, and the quantity that each of its references names, in their order."""

    comparison: Inequality
    references: dict[str, Quantity]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, or what its tables' cells say: true if all statements are.

    `words` are the paper's, in quotation marks, or say which cells are meant. `at` names the only scale at which the
    statements mean something.
    """

    id: str
    place: str
    says: str
    words: str
    holds: tuple[Statement, ...]
    at: str = ""
    note: str = ""

    @cached_property
    def quantities(self) -> set[Quantity]:
        """Everything that its statements compare."""
        return {quantity for statement in self.holds for quantity in statement.references.values()}

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of the runs that it needs; empty for a claim that no training can change."""
        return runs_of(self.quantities)


@dataclass(frozen=True)
class Unchecked:
    """A number that cannot be recomputed or a sentence that cannot be judged, and why."""

    place: str
    words: str
    why: str


@dataclass(frozen=True)
class Claims:
    """All claims, and the tables whose order of rows is compared."""

    title: str
    place: str
    caption: str
    claims: tuple[Claim, ...]
    correlations: tuple[str, ...]
    unjudged: tuple[Unchecked, ...] = ()

    @cached_property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that is needed."""
        tables = {run for name in self.correlations for run in load_table(name).runs}
        return tables | {run for claim in self.claims for run in claim.runs}

    @cached_property
    def complexities(self) -> set[tuple[str, int, int]]:
        """(model, classes, resolution) of every network whose size is needed."""
        return complexities_of(quantity for claim in self.claims for quantity in claim.quantities)


def load_claims(path: Path = CLAIMS) -> Claims:
    """The spec.

    Raises:
        TadaError: a faulty key, statement or reference, or an id that is used twice.
    """
    spec = _load(path, "claims")
    ids = [entry["id"] for entry in spec["claims"]]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise TadaError(f"{path}: {', '.join(twice)}: used by several claims")
    claims = []
    for entry in spec["claims"]:
        where = f"{path}: {entry['id']}"
        statements = []
        for text in entry["holds"]:
            comparison = Inequality(" ".join(text.split()))
            named = {name: parse_quantity(name, where, _setting) for name in comparison.references}
            statements.append(Statement(comparison, named))
        about = (entry["id"], entry["place"], entry["says"], _words(entry))
        claims.append(Claim(*about, tuple(statements), entry.get("at", ""), _line(entry.get("note", ""))))
    correlations = tuple(spec.get("correlations", []))
    return Claims(
        spec["title"], spec["place"], _line(spec["caption"]), tuple(claims), correlations, _unchecked(spec, "unjudged")
    )


def _setting() -> LayerSetting:
    """The sizes at which the paper counts single layers: those of the table of layers (Table 1, footnote 2)."""
    return next(
        quantity.setting for quantity in load_table(table_of_layers()).quantities if isinstance(quantity, LayerSize)
    )


@dataclass(frozen=True)
class Sum:
    """Printed numbers that have to be equal to what is computed; one of the `readings` has to fit all of them.

    `words` are the paper's, in quotation marks, or say what is read from cells. `printed` are texts, or references to a
    cell in braces. `group` names the column that a table's number stands in.
    """

    id: str
    place: str
    words: str
    printed: tuple[str, ...]
    readings: dict[str, tuple[Expression, ...]]
    note: str = ""
    group: str = ""


@dataclass(frozen=True)
class Bounds:
    """A printed number that has to lie between two others."""

    id: str
    place: str
    words: str
    printed: str
    between: tuple[Expression, Expression]
    note: str = ""
    group: str = ""


@dataclass(frozen=True)
class Ordering:
    """A sentence that is true if all statements are."""

    id: str
    place: str
    words: str
    holds: tuple[Inequality, ...]
    note: str = ""


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
    spec = _load(path, "audit")
    checks: list[Sum | Bounds | Ordering] = [*_deltas(paper), *_columns(spec.get("columns", []), paper, path)]
    checks += [_sum(entry) for entry in spec.get("numbers", [])]
    checks += [_ordering(entry) for entry in spec.get("comparisons", [])]
    return Audit(
        title=spec["title"],
        place=spec["place"],
        caption=_line(spec["caption"]),
        known={name: (entry["value"], entry["source"]) for name, entry in spec.get("known", {}).items()},
        checks=tuple(checks),
        unchecked=_unchecked(spec, "unchecked"),
    )


def load_sentences(path: Path = AUDIT) -> tuple[list[Sum], list[Ordering]]:
    """The audit's numbers and comparisons of the paper's text alone, without those that tables print."""
    spec = _load(path, "audit")
    return [_sum(entry) for entry in spec.get("numbers", [])], [_ordering(e) for e in spec.get("comparisons", [])]


def _load(path: Path, schema: str) -> dict[str, Any]:
    """The spec, empty of a paper that has no such file."""
    if not path.exists():
        return {"title": schema.capitalize(), "place": "", "caption": f"The paper has no {path.name}.", "claims": []}
    return load_yaml(path, schema)


def _deltas(paper: Paper) -> Iterator[Sum]:
    """Every printed difference of a column between a row and its base row."""
    for table, row, cell in paper.all_cells():
        if not isinstance(cell.quantity, Difference):
            continue
        headers = {column.name: column.header for column in table.columns}
        name = f"{table.name}/{row.id}/{cell.column}"
        formula = f"{{{table.name}/{row.id}/{cell.of}}} - {{{table.name}/{cell.base}/{cell.of}}}"
        group = f"{headers[cell.column]} of {headers[cell.of]}"
        words = f"{row.id}: {group}"
        yield Sum(name, table.title, words, (f"{{{name}}}",), {"": (Expression(formula),)}, group=group)


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
            if row.cells[column.name].quantity is None:
                continue
            name = f"{table.name}/{row.id}/{column.name}"
            about = (name, table.title, f"{row.id}: {group}")
            note = _line(entry.get("note", ""))
            if "from" in entry:
                expected = _in_row(entry["from"], table.name, row.id)
                yield Sum(*about, (f"{{{name}}}",), {"": (expected,)}, note, group)
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
        _words(entry),
        tuple([printed] if isinstance(printed, str) else printed),
        {how: tuple(Expression(text) for text in texts) for how, texts in readings.items()},
        _line(entry.get("note", "")),
    )


def _ordering(entry: dict[str, Any]) -> Ordering:
    holds = tuple(Inequality(text) for text in entry["holds"])
    return Ordering(entry["id"], entry["place"], _words(entry), holds, _line(entry.get("note", "")))


def _unchecked(spec: dict[str, Any], key: str) -> tuple[Unchecked, ...]:
    return tuple(Unchecked(entry["place"], _words(entry), _line(entry["why"])) for entry in spec.get(key, []))


def _words(entry: dict[str, Any]) -> str:
    """The paper's words in quotation marks and what of them is meant, or what is read from cells of its tables."""
    if "cells" in entry:
        return _line(entry["cells"])
    about = f" ({entry['about']})" if "about" in entry else ""
    return f"“{_line(entry['quote'])}”{about}"


def _line(text: str) -> str:
    return " ".join(text.split())
