"""What the paper's text says in numbers about a table, such as "an average improvement of ...", computed from the runs.

The sentences and how they follow from the table's cells stand in paper/audit.yaml, which recomputes them from the
paper's own digits. Here the same expressions are evaluated on what was measured.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from tada.report.judge.cells import Filled, Key
from tada.report.judge.order import ENOUGH
from tada.report.measure.results import PENDING
from tada.report.paper.expressions import Expression
from tada.report.paper.printed import show
from tada.report.paper.quantities import Difference, Metric
from tada.report.paper.sentences import AUDIT, Ordering, Sum, load_sentences
from tada.report.paper.tables import Table

Line = tuple[str, str]
"""What a line is about, and what it says."""


def computed(table: Table, cells: Mapping[Key, Filled], audit: Path = AUDIT) -> list[Line]:
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
    lines = [("Text", _sentence(check, measured)) for check in said]
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


def _sentence(check: Sum, measured: Mapping[str, Filled]) -> str:
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
        return PENDING
    found = [expression.evaluate(lambda name, seed=seed: float(values[name][seed]), float) for seed in seeds]
    digits = _digits(expression, measured)
    text = show(statistics.mean(found), digits, signed=True)
    return text + (f" ± {show(statistics.stdev(found), digits)}" if len(found) > 1 else "")
