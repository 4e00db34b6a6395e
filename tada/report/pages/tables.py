"""A table of the paper as a page: reported and reproduced numbers side by side, and as data, one line a cell.

Up to three measured columns of numbers, each is followed by what was reproduced, the difference and the verdict
("beside"). Otherwise a paper row becomes three lines, paper, here and verdict, so that the paper's columns stay as they
are ("stacked").
"""

from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from pathlib import Path

import pandas as pd

from tada.report.judge import Verdict
from tada.report.judge.cells import Filled, Key, fill, problems
from tada.report.judge.noise import UNKNOWN, weighted_sum
from tada.report.judge.remarks import (
    DECIDED_TOGETHER,
    noise_of_accuracies,
    numbers_of_text,
    order_of_rows,
    signs_of_differences,
)
from tada.report.judge.training import metrics_of, seed_spreads
from tada.report.measure.results import Results
from tada.report.measure.values import Value, measure
from tada.report.pages import EMPTY, ColumnHead, Grid, Notes, Page, Piece
from tada.report.pages.footer import footer
from tada.report.pages.markup import write_page
from tada.report.paper import about_paper
from tada.report.paper.quantities import Difference, Metric, Quantity, Structure
from tada.report.paper.tables import TABLES, Column, Table, against_published, load_table
from tada.runs.settings import Scale

BESIDE_AT_MOST = 3


NARROW = 25
"""Characters beyond which a reported text (a formula, a structure) leaves no room beside it."""


def build_table(name: str, scale: Scale, seeds: int, results: Path, out: Path, *, specs: Path = TABLES) -> list[str]:
    """Write `<out>/<name>.md`, `.tex`, `.html` and `.csv` from what is under `results`.

    A failed or missing run is a cell that says so; the rest of the table is there.

    Args:
        name: a spec's name, e.g. "table3b".
        scale: whose runs are shown.
        seeds: runs shown of each (dataset, model): seeds 0 to seeds - 1.
        results: the folder `results`.
        out: folder of the files.
        specs: folder of the specs.

    Returns:
        One line for each failed or missing run; empty if the table is complete.

    Raises:
        TadaError: the spec is unknown or faulty.
    """
    table = table_at(scale, name, specs)
    available = Results(results, scale, seeds)
    cells = fill(table, available)
    write_page(table_page(table, cells, available), out)
    return problems(cells)


def table_at(scale: Scale, name: str, specs: Path = TABLES) -> Table:
    """The table's spec; where checkpoints of the authors are tested, with what they publish for these."""
    table = load_table(name, specs)
    return table if scale.trains else against_published(table, scale)


def table_page(table: Table, cells: Mapping[Key, Filled], results: Results) -> Page:
    """The page of a table whose cells are filled from `results`."""
    notes = Notes()
    grid = _grid(table, cells, notes, results.scale)
    orders = order_of_rows(table, cells, results.scale)
    return Page(
        name=table.name,
        title=table.title,
        caption=table.caption,
        place=table.place,
        grid=grid,
        scale=results.scale if table.runs else None,
        notes=notes.texts,
        orders=tuple(orders),
        remarks=tuple(signs_of_differences(table, cells)),
        footer=(
            *([("Reading", table.reading)] if table.reading else []),
            *([DECIDED_TOGETHER] if orders else []),
            *numbers_of_text(table, cells, results.scale),
            *noise_of_accuracies(cells, results.scale),
            *footer(table, results),
        ),
        data=table_data(table.name, cells),
    )


def _grid(table: Table, cells: Mapping[Key, Filled], notes: Notes, scale: Scale) -> Grid:
    measured = [column for column in table.columns if column.measured]
    longest = max((len(filled.reported) for filled in cells.values() if filled.verdict), default=0)
    stacked = len(measured) > BESIDE_AT_MOST or longest > NARROW
    subs = {column.name: _subs(column, cells, scale) for column in measured}
    lines: list[tuple[Piece, ...]] = []
    rules = set()
    for previous, row in zip([None, *table.rows], table.rows, strict=False):
        if previous is not None and (stacked or row.group != previous.group):
            rules.add(len(lines))
        filled = {column.name: cells[row.id, column.name] for column in table.columns}
        new = _stacked(table, filled, notes) if stacked else [_beside(table, filled, notes, subs)]
        if table.runs:  # the models' names, under which results lie, and which the sentences on order use
            names = [Piece(_models(filled))] + [Piece()] * (len(new) - 1)
            new = [(*line, name) for line, name in zip(new, names, strict=True)]
        lines += new
    words = {name for (_, name), filled in cells.items() if isinstance(filled.cell.quantity, Structure)}
    heads = _heads(table.columns, stacked, subs, words) + ((ColumnHead("model", left=True),) if table.runs else ())
    return Grid(heads, tuple(lines), frozenset(rules), stacked)


def _subs(column: Column, cells: Mapping[Key, Filled], scale: Scale) -> tuple[str, ...]:
    """What stands beside the paper's number: no difference where levels are not the paper's, and it says nothing."""
    of = [filled.cell.quantity for (_, name), filled in cells.items() if name == column.name]
    levels = all(isinstance(one, Metric | Difference) for one in of if one is not None)
    return ("here", "verdict") if levels and not scale.gives_verdicts else ("here", "diff.", "verdict")


def _heads(
    columns: tuple[Column, ...], stacked: bool, subs: Mapping[str, tuple[str, ...]], words: Set[str]
) -> tuple[ColumnHead, ...]:
    """`words` names the columns that are measured and have no numbers."""
    heads: list[ColumnHead] = []
    for place, column in enumerate(columns):
        if stacked:
            if place == _label_place(columns):
                heads.append(ColumnHead("", left=True))
            heads.append(ColumnHead(column.header, column.over, left=not column.measured or column.name in words))
        elif column.measured:
            names = ("paper", *subs[column.name])
            heads += [ColumnHead(column.header, column.over, name, left=name == "verdict") for name in names]
        else:
            heads.append(ColumnHead(column.header, column.over, left=True))
    return tuple(heads)


def _label_place(columns: tuple[Column, ...]) -> int:
    """Where the stacked lines' labels stand: before the first measured column."""
    return next(place for place, column in enumerate(columns) if column.measured)


def _beside(
    table: Table, filled: dict[str, Filled], notes: Notes, subs: Mapping[str, tuple[str, ...]]
) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for column in table.columns:
        cell = filled[column.name]
        if not column.measured:
            pieces.append(_text(cell, notes))
            continue
        if cell.verdict:
            pieces.append(Piece(cell.reported))
            found = {"here": _here(cell, notes), "verdict": Piece(cell.verdict)}
            found["diff."] = Piece(_difference(cell) or EMPTY)
        else:
            pieces.append(_text(cell, notes))
            found = {"verdict": Piece("cited" if cell.kind == "cited" else "")}
        pieces += [found.get(sub, Piece()) for sub in subs[column.name]]
    return tuple(pieces)


def _models(filled: dict[str, Filled]) -> str:
    """The models whose runs the row's accuracies are of."""
    quantities = [cell.cell.quantity for cell in filled.values()]
    return ", ".join(dict.fromkeys(name for one in quantities if isinstance(one, Metric) for name in one.models))


def _stacked(table: Table, filled: dict[str, Filled], notes: Notes) -> list[tuple[Piece, ...]]:
    any_measured = any(cell.verdict for cell in filled.values())
    cited = any(cell.kind == "cited" for cell in filled.values())
    labels = ("paper", "here", "verdict") if any_measured else ("cited" if cited else "",)
    lines = []
    for number, label in enumerate(labels):
        pieces: list[Piece] = []
        for place, column in enumerate(table.columns):
            if place == _label_place(table.columns):
                pieces.append(Piece(label))
            cell = filled[column.name]
            if number == 0:
                pieces.append(Piece(cell.reported) if cell.verdict else _text(cell, notes))
            elif not cell.verdict:
                pieces.append(Piece())
            else:
                pieces.append(_here(cell, notes) if number == 1 else Piece(_judged(cell)))
        lines.append(tuple(pieces))
    return lines


def _text(cell: Filled, notes: Notes) -> Piece:
    return Piece(cell.reported, note=notes.number(cell.cell.note))


def _here(cell: Filled, notes: Notes) -> Piece:
    """What was reproduced, with a note on what is wrong with it; of a cell that has a verdict."""
    value = cell.value
    if value is None:
        return Piece(cell.here, note=notes.number(cell.cell.note))
    # What is pending needs no name: all such cells share a note.
    reasons = list(dict.fromkeys(str(p) if p.log else f"{p.status}: {p.reason}" for p in value.problems))
    if value.numbers and reasons:
        reasons.insert(0, f"{len(value.numbers)} of {value.wanted} seeds")
    reasons += [cell.note] if cell.note else []
    note = " ".join(part for part in (cell.cell.note, "; ".join(reasons)) if part)
    return Piece(cell.here, link=value.log, note=notes.number(note))


def _judged(cell: Filled) -> str:
    """Verdict and difference in one piece, e.g. "match −0.3"; a text or an unfinished run has a verdict only."""
    return f"{cell.verdict} {_difference(cell)}".strip() if cell.difference else str(cell.verdict)


def _difference(cell: Filled) -> str:
    """The difference to the paper; nothing where levels are not the paper's, so that it would say nothing."""
    return "" if cell.verdict in (Verdict.MINI, Verdict.GPU) else cell.shown_difference


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
    "low",
    "high",
    "source",
)


def table_data(name: str, cells: Mapping[Key, Filled]) -> pd.DataFrame:
    """One line for each cell that is not blank in the paper; text cells have their text as `reported`."""
    lines = [_line(name, row, column, filled) for (row, column), filled in cells.items() if filled.cell.kind != "blank"]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype({"n": "Int64"})


def _line(name: str, row: str, column: str, filled: Filled) -> dict[str, object]:
    value, cell = filled.value, filled.cell
    line: dict[str, object] = {"table": name, "row": row, "column": column, "kind": filled.kind}
    line |= {"reported": cell.reported, "verdict": str(filled.verdict or "")}
    if cell.quantity is not None:
        line["tolerance"] = _tolerance(filled)
    if value is not None and value.log is not None:
        line["source"] = value.log.as_posix()
    if value is not None and value.status == "done":
        line |= {
            "reproduced": value.text or _plain(value.mean),
            "std": _plain(value.std),
            "n": len(value.numbers) or None,
            "difference": _plain(filled.difference),
            "low": _plain(filled.gap.low if filled.gap else None),
            "high": _plain(filled.gap.high if filled.gap else None),
            "source": "; ".join(path.as_posix() for path in value.sources),
        }
    return line


def _tolerance(filled: Filled) -> str:
    """Points that count as no difference; of a count the printed digits; nothing where nothing is judged."""
    if not isinstance(filled.cell.quantity, Metric | Difference):
        return "printed digits"
    if filled.cell.tolerance:
        return f"{filled.cell.tolerance.value:g}"
    same = about_paper().same
    return f"{same.points:g}" if filled.gap and same else ""


def intervals_of(
    metrics: Sequence[Metric], tables: Sequence[Table], results: Results
) -> dict[Quantity, tuple[float, float]]:
    """The 95% interval of every accuracy, and of every difference of two, that the tables show.

    `metrics` are all that they are made of; the noise of training is taken from all of them.
    """
    values: dict[Quantity, Value] = {metric: measure(metric, results) for metric in metrics}
    spreads = seed_spreads(results.scale, values)
    found = {}
    for quantity in {quantity for table in tables for quantity in table.quantities}:
        of = metrics_of(quantity)
        if not of or any(values[metric].mean is None for metric in of):
            continue
        estimate = weighted_sum([1.0, -1.0][: len(of)], [values[metric] for metric in of], spreads.training(of))
        if estimate.noise != UNKNOWN:
            found[quantity] = estimate.interval()
    return found


def with_intervals(
    table: Table, frame: pd.DataFrame, intervals: Mapping[Quantity, tuple[float, float]]
) -> pd.DataFrame:
    """The cells of a table with the interval of what was reproduced: columns `here_low` and `here_high`."""
    by_place = {(row.id, cell.column): intervals.get(cell.quantity) for row, cell in table.cells() if cell.quantity}
    ends = [by_place.get(place) for place in zip(frame["row"], frame["column"], strict=True)]
    low, high = ([f"{end[side]:.10g}" if end else "" for end in ends] for side in (0, 1))
    return frame.assign(here_low=low, here_high=high)


NO_CELLS = table_data("", {}).assign(here_low="", here_high="")
"""The same of a paper without tables."""


def _plain(number: float | Decimal | None) -> str | None:
    """A number without the noise of binary fractions, e.g. "0.3" for 0.2999999999999972."""
    return None if number is None else f"{float(number):.10g}"
