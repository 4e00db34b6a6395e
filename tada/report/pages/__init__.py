"""What people read. A page is a value: headings, lines of cells, notes and footer, the same for every form."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tada.report.judge import Verdict
from tada.report.judge.remarks import Order
from tada.report.measure.results import Line
from tada.report.paper.printed import show
from tada.runs.settings import Scale

EMPTY = "–"
"""Stands where there is nothing to say."""


@dataclass(frozen=True)
class Piece:
    """Text of a cell, the log it points to, and the number of its note (0: none)."""

    text: str = ""
    link: Path | None = None
    note: int = 0


@dataclass(frozen=True)
class ColumnHead:
    """Heading of a printed column: `over` and `header` are shared by neighbours, `sub` is its own."""

    header: str
    over: str = ""
    sub: str = ""
    left: bool = False


@dataclass(frozen=True)
class Grid:
    """Lines of cells, one cell under each heading; a rule stands above the lines whose numbers are in `rules`.

    `stacked`: the lines between two rules are one row of the paper, and stay together.
    """

    heads: tuple[ColumnHead, ...]
    lines: tuple[tuple[Piece, ...], ...]
    rules: frozenset[int] = frozenset()
    stacked: bool = False


Ends = tuple[float, float]
"""Lower and upper end of an interval, in points; infinite where it has none."""


@dataclass(frozen=True)
class Span:
    """What a statement compares, drawn: its value in points, with its interval, and where the statement is true.

    Attributes:
        label: the statement in words.
        text: value and interval in words.
        value: the difference, or sum, that was measured.
        interval: of 95%, by itself; None where the noise is unknown.
        shared: the interval at the level at which the claims of the page are decided together.
        true: values of which the statement is true.
        paper: the value by the paper's own numbers; None where it does not print all of them.
    """

    label: str
    text: str
    value: float
    interval: Ends | None
    shared: Ends | None
    true: Ends
    paper: float | None


@dataclass(frozen=True)
class ForestLine:
    """A claim: `said` is its verdict in words, `notes` what stands below when it is opened."""

    id: str
    says: str
    place: str
    verdict: Verdict
    said: str
    text: str
    spans: tuple[Span, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ForestGroup:
    """The claims on one table or figure, drawn on one axis from `low` to `high`, in points."""

    title: str
    lines: tuple[ForestLine, ...]
    low: float = -1.0
    high: float = 1.0

    def at(self, value: float) -> float:
        """Where a value stands on the axis, in percent of its length; its ends are as far as one can go."""
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)

    @property
    def drawn(self) -> bool:
        """Whether any claim has something to draw."""
        return any(line.spans for line in self.lines)

    @property
    def ticks(self) -> list[int]:
        """Whole points on the axis, zero among them, four to nine of them where it is long enough."""
        step = next((s for s in (1, 2, 5, 10, 20, 50) if (self.high - self.low) / s <= _TICKS), 100)
        return list(range(math.ceil(self.low / step) * step, math.floor(self.high) + 1, step))


_TICKS = 8


@dataclass(frozen=True)
class Forest:
    """The claims at one scale, as forest plots."""

    scale: Scale
    groups: tuple[ForestGroup, ...]

    @property
    def title(self) -> str:
        """Where the results are from."""
        return f"{self.scale} scale"

    @property
    def lines(self) -> Iterable[ForestLine]:
        """The claims of all groups."""
        return (line for group in self.groups for line in group.lines)


@dataclass(frozen=True)
class Page:
    """A page ready to be written.

    `name` is that of its files. `scale` is None if it holds results of no run, or of both scales. `notes` are numbered
    from 1, as cells refer to them. `orders` say how rows stand, `remarks` what else there is to say of that, `footer`
    what a reader needs to judge the numbers, each line with what it is about. `forests` draw the claims that `grid`
    tells. `data` has one line for each number or statement, in full precision.
    """

    name: str
    title: str
    caption: str
    place: str
    grid: Grid
    scale: Scale | None = None
    notes: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()
    remarks: tuple[str, ...] = ()
    forests: tuple[Forest, ...] = ()
    footer: tuple[Line, ...] = ()
    data: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)

    @property
    def order(self) -> tuple[str, ...]:
        """How rows stand in sentences alone, which name few of the pairs that are turned."""
        return (*map(str, self.orders), *self.remarks)

    @property
    def source(self) -> str:
        """Where the results are from, in words for a heading; empty if from no run, or of both scales."""
        return f"{self.scale} {'scale' if self.scale.trains else 'checkpoints'}" if self.scale else ""

    @property
    def heading(self) -> str:
        """The title and where the results are from."""
        return f"{self.title}, {self.source}" if self.source else self.title

    @property
    def about(self) -> str:
        """The caption and, where the page is of one, the place in the paper."""
        return f"{self.caption} ({self.place})" if self.place else self.caption


def turned_pairs(order: Order) -> Grid:
    """The pairs of rows that do not stand as in the paper: the paper's difference, that here, and the verdict."""
    heads = (
        ColumnHead("in the paper", left=True),
        ColumnHead("paper"),
        ColumnHead("here, 95% interval"),
        ColumnHead("verdict", left=True),
    )
    lines = ((pair.name, show(pair.reported, 1, signed=True), pair.margin, pair.said) for pair in order.turned)
    return Grid(heads, tuple(tuple(map(Piece, line)) for line in lines))


class Notes:
    """Numbers notes in the order in which cells first refer to them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The note's number, from 1; 0 for no text."""
        return self._numbers.setdefault(text, len(self._numbers) + 1) if text else 0

    @property
    def texts(self) -> tuple[str, ...]:
        """All notes in the order of their numbers."""
        return tuple(self._numbers)
