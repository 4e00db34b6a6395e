"""Whether rows stand in the paper's order and differences have the paper's sign: what mini can show."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from tada.report.judge.cells import Filled, Key
from tada.report.judge.noise import UNKNOWN, weighted_sum
from tada.report.measure.values import Value
from tada.report.paper.printed import show
from tada.report.paper.quantities import Difference, Metric
from tada.report.paper.tables import Table

ENOUGH = 4
"""Rows from which on a rank correlation says something; it can only be 1, 0.5, -0.5 or -1 with three."""


_SHOWN = 10


@dataclass(frozen=True)
class Pair:
    """Two rows of which the paper has `better` above `worse`, by `reported`; `high` and `low` are their values here."""

    better: str
    worse: str
    reported: float
    high: Value
    low: Value

    @property
    def here(self) -> float:
        """By how much `better` is above `worse` here."""
        return float(self.high.mean - self.low.mean)

    @property
    def kept(self) -> bool:
        """Whether the paper's better row is the better one here."""
        return self.here > 0

    def __str__(self) -> str:
        numbers = f"paper {show(self.reported, 1, signed=True)}, here {show(self.here, 1, signed=True)}"
        return f"{self.better} above {self.worse} ({numbers}{self._noise})"

    @property
    def _noise(self) -> str:
        estimate = weighted_sum([1.0, -1.0], [self.high, self.low])
        if estimate.noise == UNKNOWN:
            return ", noise unknown"
        return ", within noise" if estimate.low <= 0 <= estimate.high else ""


def describe(table: Table, cells: dict[Key, Filled]) -> list[str]:
    """Sentences on the order of each accuracy column's rows and on the signs of the differences."""
    sentences, rest = [], []
    for column in table.columns:
        by_metric: dict[str, list[tuple[str, Filled]]] = defaultdict(list)
        for row in table.rows:
            filled = cells[row.id, column.name]
            if isinstance(what := filled.cell.quantity, Metric) and filled.difference is not None:
                by_metric[what.name].append((row.id, filled))
        for rows in by_metric.values():
            if len(rows) < ENOUGH:
                rest += pairs(rows)
                continue
            what = f"{column.over} {column.header}".strip()
            sentences.append(_sentence(what, pairs(rows), f" (rank correlation {spearman(rows)}, {len(rows)} rows)"))
    if rest:
        sentences.append(_sentence("Columns of fewer than four measured rows", rest, ""))
    return sentences + _signs(table, cells)


def pairs(rows: Sequence[tuple[str, Filled]]) -> list[Pair]:
    """All pairs of rows to which the paper gives different numbers."""
    found = []
    for pair in combinations(rows, 2):
        (worse, low), (better, high) = sorted(pair, key=lambda row: row[1].printed.value)
        if reported := float(high.printed.value - low.printed.value):
            found.append(Pair(better, worse, reported, high.value, low.value))
    return found


def spearman(rows: Sequence[tuple[str, Filled]]) -> str:
    """Spearman's rank correlation of reported and reproduced numbers, ties at their mean rank; two decimals."""
    frame = pd.DataFrame([(float(f.printed.value), float(f.value.mean)) for _, f in rows], columns=["reported", "here"])
    ranks = frame.rank()
    if ranks.nunique().min() < 2:
        return "undefined, since all are equal"
    return f"{ranks['reported'].corr(ranks['here']):.2f}"


def _sentence(what: str, found: Sequence[Pair], correlation: str) -> str:
    turned = sorted((pair for pair in found if not pair.kept), key=lambda pair: -pair.reported)
    text = f"{what}: {len(found) - len(turned)} of {len(found)} pairs of rows stand in the paper's order{correlation}."
    if not turned:
        return text
    more = f"; and {len(turned) - _SHOWN} more that are closer in the paper" if len(turned) > _SHOWN else ""
    return f"{text} The paper has, and it is not so here: {'; '.join(map(str, turned[:_SHOWN]))}{more}."


def _signs(table: Table, cells: dict[Key, Filled]) -> list[str]:
    headers = {column.name: column.header for column in table.columns}
    by_column: dict[str, list[tuple[str, Filled]]] = defaultdict(list)
    for row, cell in table.cells():
        filled = cells[row.id, cell.column]
        if isinstance(cell.quantity, Difference) and filled.difference is not None:
            by_column[headers[cell.of]].append((row.id, filled))
    sentences = []
    for header, deltas in by_column.items():
        other = [
            f"{name} (paper {filled.reported}, here {filled.here})"
            for name, filled in deltas
            if float(filled.printed.value) * float(filled.value.mean) <= 0
        ]
        count = f"{len(deltas) - len(other)} of {len(deltas)}"
        text = f"Δ of {header}: {count} differences to the base row have the paper's sign"
        sentences.append(text + (f"; not: {'; '.join(other)}." if other else "."))
    return sentences
