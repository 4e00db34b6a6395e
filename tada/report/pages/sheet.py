"""A filled table laid out as lines of text pieces, the same for Markdown and LaTeX.

Up to three measured columns of numbers, each is followed by what was reproduced, the difference and the verdict
("beside"). Otherwise a paper row becomes three lines, paper, here and verdict, so that the paper's columns stay as they
are ("stacked").
"""

from dataclasses import dataclass, field
from pathlib import Path

from tada.report.judge.cells import Filled, Key
from tada.report.paper.quantities import Metric
from tada.report.paper.tables import Column, Table
from tada.runs.settings import Scale

BESIDE_AT_MOST = 3


NARROW = 25
"""Characters beyond which a reported text (a formula, a structure) leaves no room beside it."""


EMPTY = "–"


@dataclass(frozen=True)
class Piece:
    """Text of a cell, the log it points to, and the number of its note (0: none)."""

    text: str = ""
    link: Path | None = None
    note: int = 0


@dataclass(frozen=True)
class Head:
    """Heading of a printed column: `over` and `header` are shared by neighbours, `sub` is its own."""

    header: str
    over: str = ""
    sub: str = ""
    left: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table ready to be written; a rule stands above the lines whose numbers are in `rules`."""

    name: str
    title: str
    scale: str
    caption: str
    place: str
    heads: tuple[Head, ...]
    lines: tuple[tuple[Piece, ...], ...]
    rules: frozenset[int]
    notes: tuple[str, ...]
    order: tuple[str, ...] = ()
    footer: tuple[tuple[str, str], ...] = ()

    @property
    def source(self) -> str:
        """Where the results are from, in words for a heading; empty if from no run."""
        return f"{self.scale} {'scale' if Scale(self.scale).trains else 'checkpoints'}" if self.scale else ""


@dataclass
class _Notes:
    """Numbers notes in the order in which they are first referred to."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        if text and text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1 if text else 0


def lay_out(table: Table, cells: dict[Key, Filled], scale: str) -> Sheet:
    """The table without order and footer; `scale` is named in its title if it holds results of runs."""
    measured = [column for column in table.columns if column.measured]
    longest = max((len(filled.reported) for filled in cells.values() if filled.verdict), default=0)
    stacked = len(measured) > BESIDE_AT_MOST or longest > NARROW
    notes = _Notes()
    lines: list[tuple[Piece, ...]] = []
    rules = set()
    for previous, row in zip([None, *table.rows], table.rows, strict=False):
        if previous is not None and (stacked or row.group != previous.group):
            rules.add(len(lines))
        filled = {column.name: cells[row.id, column.name] for column in table.columns}
        new = _stacked(table, filled, notes) if stacked else [_beside(table, filled, notes)]
        if table.runs:  # the models' names, under which results lie, and which the sentences on order use
            names = [Piece(_models(filled))] + [Piece()] * (len(new) - 1)
            new = [(*line, name) for line, name in zip(new, names, strict=True)]
        lines += new
    return Sheet(
        name=table.name,
        title=table.title,
        scale=scale if table.runs else "",
        caption=table.caption,
        place=table.place,
        heads=_heads(table.columns, stacked) + ((Head("model", left=True),) if table.runs else ()),
        lines=tuple(lines),
        rules=frozenset(rules),
        notes=tuple(notes.texts),
    )


def _heads(columns: tuple[Column, ...], stacked: bool) -> tuple[Head, ...]:
    heads: list[Head] = []
    for place, column in enumerate(columns):
        if stacked:
            if place == _label_place(columns):
                heads.append(Head("", left=True))
            heads.append(Head(column.header, column.over, left=not column.measured))
        elif column.measured:
            subs = ("paper", "here", "diff.", "verdict")
            heads += [Head(column.header, column.over, sub, left=sub == "verdict") for sub in subs]
        else:
            heads.append(Head(column.header, column.over, left=True))
    return tuple(heads)


def _label_place(columns: tuple[Column, ...]) -> int:
    """Where the stacked lines' labels stand: before the first measured column."""
    return next(place for place, column in enumerate(columns) if column.measured)


def _beside(table: Table, filled: dict[str, Filled], notes: _Notes) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for column in table.columns:
        cell = filled[column.name]
        if not column.measured:
            pieces.append(_text(cell, notes))
        elif cell.verdict:
            pieces += [Piece(cell.reported), _here(cell, notes)]
            pieces += [Piece(cell.shown_difference or EMPTY), Piece(cell.verdict)]
        else:
            state = "cited" if cell.kind == "cited" else ""
            pieces += [_text(cell, notes), Piece(), Piece(), Piece(state)]
    return tuple(pieces)


def _models(filled: dict[str, Filled]) -> str:
    """The models whose runs the row's accuracies are of."""
    quantities = [cell.cell.quantity for cell in filled.values()]
    return ", ".join(dict.fromkeys(name for one in quantities if isinstance(one, Metric) for name in one.models))


def _stacked(table: Table, filled: dict[str, Filled], notes: _Notes) -> list[tuple[Piece, ...]]:
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


def _text(cell: Filled, notes: _Notes) -> Piece:
    return Piece(cell.reported, note=notes.number(cell.cell.note))


def _here(cell: Filled, notes: _Notes) -> Piece:
    value = cell.value
    # What is pending needs no name: all such cells share a note.
    reasons = list(dict.fromkeys(str(p) if p.log else f"{p.status}: {p.reason}" for p in value.problems))
    if value.numbers and reasons:
        reasons.insert(0, f"{len(value.numbers)} of {value.wanted} seeds")
    note = " ".join(part for part in (cell.cell.note, "; ".join(reasons)) if part)
    return Piece(cell.here, link=value.log, note=notes.number(note))


def _judged(cell: Filled) -> str:
    """Verdict and difference in one piece, e.g. "match −0.3"; a text or an unfinished run has a verdict only."""
    return f"{cell.verdict} {cell.shown_difference}".strip() if cell.difference else str(cell.verdict)
