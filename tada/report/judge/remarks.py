"""Remarks: what is computed under a table from the measured accuracies of its rows.

Whether rows stand in the paper's order and differences have the paper's sign, which is what mini runs can show. And
what the paper's text says in numbers about the table, such as "an average improvement of ...": the sentences and how
they follow from the table's cells stand in paper/audit.yaml, which recomputes them from the paper's own digits; here
the same expressions are evaluated on what was measured.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from pathlib import Path

from tada.report.judge.cells import Filled, Key
from tada.report.judge.noise import UNKNOWN, rank_correlation, weighted_sum
from tada.report.judge.verdicts import Verdict
from tada.report.measure.values import Value
from tada.report.paper.expressions import Expression
from tada.report.paper.printed import show
from tada.report.paper.quantities import Difference, Metric
from tada.report.paper.sentences import AUDIT, Ordering, Sum, load_sentences
from tada.report.paper.tables import Table

ENOUGH = 4
"""Rows from which on a rank correlation says something; it can only be 1, 0.5, -0.5 or -1 with three."""


SHOWN = 10
"""How many pairs of rows in another order are named, first those that are furthest apart in the paper."""


Line = tuple[str, str]
"""What a line is about, and what it says."""


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
        return "" if estimate.sign() else ", within noise"


def order_of_rows(table: Table, cells: dict[Key, Filled]) -> list[str]:
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
            sentences.append(_order(what, pairs(rows), f" (rank correlation {_correlation(rows)}, {len(rows)} rows)"))
    if rest:
        sentences.append(_order("Columns of fewer than four measured rows", rest, ""))
    return sentences + _signs(table, cells)


def pairs(rows: Sequence[tuple[str, Filled]]) -> list[Pair]:
    """All pairs of rows to which the paper gives different numbers."""
    found = []
    for pair in combinations(rows, 2):
        (worse, low), (better, high) = sorted(pair, key=lambda row: row[1].printed.value)
        if reported := float(high.printed.value - low.printed.value):
            found.append(Pair(better, worse, reported, high.value, low.value))
    return found


def _correlation(rows: Sequence[tuple[str, Filled]]) -> str:
    found = rank_correlation([float(f.printed.value) for _, f in rows], [f.value for _, f in rows])
    return "undefined, since all are equal" if found is None else f"{found:.2f}"


def _order(what: str, found: Sequence[Pair], correlation: str) -> str:
    turned = sorted((pair for pair in found if not pair.kept), key=lambda pair: -pair.reported)
    text = f"{what}: {len(found) - len(turned)} of {len(found)} pairs of rows stand in the paper's order{correlation}."
    if not turned:
        return text
    more = f"; and {len(turned) - SHOWN} more that are closer in the paper" if len(turned) > SHOWN else ""
    return f"{text} The paper has, and it is not so here: {'; '.join(map(str, turned[:SHOWN]))}{more}."


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


def numbers_of_text(table: Table, cells: Mapping[Key, Filled], audit: Path = AUDIT) -> list[Line]:
    """A line for each number of the text that follows from measured accuracies of this table alone.

    Improvements on which the text puts no number are averaged, too, where they are four or more.
    """
    measured = {
        f"{table.name}/{row}/{column}": filled
        for (row, column), filled in cells.items()
        if isinstance(filled.cell.quantity, Metric | Difference) and filled.printed is not None
    }
    numbers, orderings = load_sentences(audit)
    said = [check for check in numbers if _about(check, measured)]
    lines = [("Text", _number(check, measured)) for check in said]
    covered = {_column(measured[name]) for check in said for name in _references(check)}
    headers = {c.name: f"{c.over} {c.header}".strip() for c in table.columns if c.name not in covered}
    return lines + [("Average", text) for check in orderings if (text := _average(check, measured, headers))]


def _about(check: Sum, measured: Mapping[str, Filled]) -> bool:
    """Whether it is a number of the text, and of these cells."""
    names = _references(check)
    return bool(names) and names <= measured.keys() and not any(Expression(text).references for text in check.printed)


def _references(check: Sum) -> set[str]:
    return {name for reading in check.readings.values() for expression in reading for name in expression.references}


def _column(filled: Filled) -> str:
    """The column of accuracies that a cell is about."""
    return filled.cell.of or filled.cell.column


def _number(check: Sum, measured: Mapping[str, Filled]) -> str:
    texts = []
    for how, expressions in check.readings.items():
        here, paper = (" and ".join(f(one, measured) for one in expressions) for f in (_here, _of_paper))
        texts.append((f"{how}: " if how else "") + f"here {here}, by the paper's rows {paper}")
    return f"“{check.quote}” ({check.place}; prints {' and '.join(check.printed)}): {'; '.join(texts)}."


def _average(check: Ordering, measured: Mapping[str, Filled], headers: Mapping[str, str]) -> str:
    """The average of what a sentence says that something adds to networks, by column; empty without enough of them.

    A statement of such a sentence sets a row, e.g. "r3d+tada", above the one that it extends, "r3d". `headers` names
    the columns that are wanted.
    """
    by_column: dict[str, list[Expression]] = defaultdict(list)
    for statement in check.holds:
        above, below = (side.text.strip("{}") for side in statement.sides)
        if above not in measured or below not in measured or statement.sign != ">":
            return ""  # more than a cell on a side, or cells that are not measured here
        (row, column), (base, same) = above.rsplit("/", 1), below.rsplit("/", 1)
        if row.startswith(f"{base}+") and column == same and column in headers:
            by_column[column].append(statement.margin)
    texts = []
    for column, margins in by_column.items():
        if len(margins) >= ENOUGH:
            mean = Expression(f"mean({', '.join(margin.text for margin in margins)})")
            values = f"here {_here(mean, measured)}, by the paper's rows {_of_paper(mean, measured)}"
            texts.append(f"{headers[column]} {values} ({len(margins)} differences)")
    return f"“{check.quote}” ({check.place}): {'; '.join(texts)}." if texts else ""


def _digits(expression: Expression, measured: Mapping[str, Filled]) -> int:
    return max(measured[name].printed.decimals for name in expression.references)


def _of_paper(expression: Expression, measured: Mapping[str, Filled]) -> str:
    value = expression.evaluate(lambda name: measured[name].printed.fraction)
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return show(exact, _digits(expression, measured), signed=True)


def _here(expression: Expression, measured: Mapping[str, Filled]) -> str:
    """Mean and, if there are several seeds, standard deviation over the seeds that all cells have."""
    values = {name: measured[name].value.numbers for name in expression.references}
    seeds = sorted(set.intersection(*(set(numbers) for numbers in values.values())))
    if not seeds:
        return Verdict.PENDING
    found = [expression.evaluate(lambda name, seed=seed: float(values[name][seed]), float) for seed in seeds]
    digits = _digits(expression, measured)
    text = show(statistics.mean(found), digits, signed=True)
    return text + (f" ± {show(statistics.stdev(found), digits)}" if len(found) > 1 else "")
