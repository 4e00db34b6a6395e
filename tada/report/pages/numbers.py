"""All numbers of the paper's tables as a grid: each with its verdict, and with all that is known of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tada.report.judge import Verdict
from tada.report.judge.cells import Filled, Key
from tada.report.measure.results import DONE, Line, Results, about_code
from tada.report.measure.values import Value
from tada.report.pages import EMPTY, Ends
from tada.report.paper import about_paper
from tada.report.paper.printed import show_ends
from tada.report.paper.quantities import Quantity
from tada.report.paper.tables import Column, Table

NARROW = 9
"""Signs up to which a number is shown in its cell; a formula or a structure has its verdict's sign there alone."""


@dataclass(frozen=True)
class NumberCell:
    """A number of the paper: `text` is what fits into a cell, `about` all that is known of it."""

    text: str
    name: str
    verdict: Verdict
    about: tuple[Line, ...]


@dataclass(frozen=True)
class NumberBlock:
    """The numbers of a table: a line for each row that has any, a cell (or none) under each head."""

    name: str
    title: str
    place: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[NumberCell | None, ...]], ...]

    @property
    def verdicts(self) -> list[Verdict]:
        """Those of all of them."""
        return [cell.verdict for _, row in self.rows for cell in row if cell]


def number_blocks(
    tables: Sequence[Table],
    cells: Mapping[str, Mapping[Key, Filled]],
    results: Results,
    intervals: Mapping[Quantity, Ends],
) -> list[NumberBlock]:
    """The numbers of all tables that are measured; one that a table collects from another stands there alone.

    Args:
        tables: the specs.
        cells: those of each table by its name, filled.
        results: that they are filled from.
        intervals: of what was reproduced, at 95%.
    """
    names = {f"{table.name}/{row}/{column}" for table in tables for row, column in cells[table.name]}
    blocks = [_block(table, cells[table.name], names, results, intervals) for table in tables]
    return [block for block in blocks if block.rows]


def _block(
    table: Table,
    cells: Mapping[Key, Filled],
    names: set[str],
    results: Results,
    intervals: Mapping[Quantity, Ends],
) -> NumberBlock:
    of_row = {row.id: [cells[row.id, column.name] for column in table.columns] for row in table.rows}
    own = {row: found for row, found in of_row.items() if row not in names}
    shown = [place for place, _ in enumerate(table.columns) if any(found[place].verdict for found in own.values())]
    heads = tuple(_head(table, table.columns[place]) for place in shown)
    rows = []
    for row, found in own.items():
        line = tuple(
            _cell(found[place], f"{table.title}, {row}, {head}", results, intervals)
            for place, head in zip(shown, heads, strict=True)
        )
        if any(line):
            rows.append((row, line))
    return NumberBlock(table.name, table.title, table.place, heads, tuple(rows))


def _head(table: Table, column: Column) -> str:
    """The column's heading; that of differences says of what."""
    header = f"{column.over} {column.header}".strip()
    of = next((cell.of for _, cell in table.cells() if cell.column == column.name and cell.of), "")
    return f"{header} of {next(_head(table, one) for one in table.columns if one.name == of)}" if of else header


def _cell(filled: Filled, name: str, results: Results, intervals: Mapping[Quantity, Ends]) -> NumberCell | None:
    if filled.verdict is None:
        return None
    text = filled.cell.reported if len(filled.cell.reported) <= NARROW else ""
    return NumberCell(text, name, filled.verdict, tuple(_about(filled, results, intervals)))


def _about(filled: Filled, results: Results, intervals: Mapping[Quantity, Ends]) -> list[Line]:
    """What is known of a number, in the order in which a reader asks."""
    cell, value, verdict = filled.cell, filled.value, filled.verdict
    lines = [("reported", filled.reported), ("reproduced", filled.here)]
    if verdict is None or value is None or value.status != DONE:
        reasons = [str(problem) for problem in value.problems] if value else []
        return [*lines[:1], ("verdict", _meaning(verdict)), *(("reason", reason) for reason in reasons)]
    printed = filled.printed
    if printed and cell.quantity is not None and cell.quantity in intervals:
        ends = (printed.show(end) for end in intervals[cell.quantity])
        lines.append(("95% interval", f"{' to '.join(ends)}: other seeds, other test videos"))
    elif not value.exact:
        lines.append(("95% interval", f"{EMPTY} (its noise is unknown)"))
    if printed and filled.gap:
        same = about_paper().same
        ends_of_gap = show_ends(filled.gap.interval(), printed.decimals)
        lines.append(("difference", f"{filled.shown_difference} {ends_of_gap}"))
        lines += [("counts as the same", f"within ±{same.points:g} points")] if same else []
    elif value.exact and filled.shown_difference:
        lines.append(("difference", filled.shown_difference))
    if not value.exact:
        lines.append(("seeds", f"{len(value.numbers)} of {value.wanted}: {', '.join(map(str, value.numbers))}"))
    lines.append(("verdict", _meaning(verdict)))
    lines += [("note", note) for note in (filled.note, cell.note) if note]
    return lines + _provenance(value)


def _meaning(verdict: Verdict | None) -> str:
    return f"{verdict}: {verdict.meaning}" if verdict else ""


def _provenance(value: Value) -> list[Line]:
    """Runs, code and hardware that a number is from."""
    runs = [run for of_seed in value.runs for run in of_seed]
    for side in value.sides or ():
        runs += [run for of_seed in side.runs for run in of_seed]
    if not runs:
        return [("from", "counted on the network or layer that the suite builds")]
    names = dict.fromkeys(f"{run.run.dataset}/{run.run.model}" for run in runs)
    code = [(label.lower(), text) for label, text in about_code([run.record.environment for run in runs])[:2]]
    return [("from", f"runs of {' and '.join(names)}"), *code]
