"""Remarks: what is computed under a table from the measured accuracies of its rows.

Whether rows stand in the paper's order and differences have the paper's sign, which is what mini runs can show. And
what the paper's text says in numbers about the table, such as "an average improvement of ...": the sentences and how
they follow from the table's cells stand in paper/audit.yaml, which recomputes them from the paper's own digits; here
the same expressions are evaluated on what was measured.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from pathlib import Path

from tada.report.judge import Verdict
from tada.report.judge.cells import Filled, Key
from tada.report.judge.noise import UNKNOWN, Estimate, Training, holm, ranked, weighted_sum
from tada.report.judge.training import SeedSpreads, seed_spreads
from tada.report.measure.results import Line
from tada.report.measure.values import Value
from tada.report.paper.printed import Expression, Printed, show
from tada.report.paper.quantities import Difference, Metric
from tada.report.paper.sentences import AUDIT, Ordering, Sum, load_sentences
from tada.report.paper.tables import Table
from tada.runs.settings import Scale

ENOUGH = 4
"""Rows from which on a rank correlation says something; it can only be 1, 0.5, -0.5 or -1 with three."""


SHOWN = 10
"""How many pairs of rows in another order are named, first those that are furthest apart in the paper."""


@dataclass(frozen=True)
class Compared:
    """A number that the paper prints of a row, and its value here; `column` is that of the accuracies it is about."""

    row: str
    column: str
    filled: Filled
    printed: Printed
    value: Value

    @property
    def reported(self) -> float:
        """The printed number."""
        return float(self.printed.value)

    @property
    def here(self) -> float:
        """Mean over the seeds; of a value that is there."""
        return float(self.value.mean or 0.0)


@dataclass(frozen=True)
class Pair:
    """Two rows of which the paper has `better` above `worse`, and by how much it is above here, with its noise."""

    better: Compared
    worse: Compared
    estimate: Estimate

    @property
    def reported(self) -> float:
        """By how much `better` is above `worse` in the paper, exactly as printed."""
        return float(self.better.printed.value - self.worse.printed.value)

    @property
    def chance(self) -> float:
        """How probable so large a difference here, either way, is between equal networks."""
        return min(1.0, 2 * min(self.estimate.p_above, self.estimate.p_below))

    def __str__(self) -> str:
        reported, here = (show(number, 1, signed=True) for number in (self.reported, self.estimate.value))
        if self.estimate.noise == UNKNOWN:
            return f"{self.better.row} above {self.worse.row} (paper {reported}, here {here}, noise unknown)"
        low, high = (show(end, 1, signed=True) for end in self.estimate.interval())
        return f"{self.better.row} above {self.worse.row} (paper {reported}, here {here} [{low}, {high}])"


def order_of_rows(table: Table, cells: Mapping[Key, Filled], scale: Scale) -> list[str]:
    """Sentences on the order of each accuracy column's rows and on the signs of the differences."""
    spreads = _spreads(cells, scale)
    sentences, rest = [], []
    for column in table.columns:
        by_metric: dict[str, list[Compared]] = defaultdict(list)
        for row in table.rows:
            found = _compared(row.id, cells[row.id, column.name])
            if found and found.value.numbers and isinstance(metric := found.filled.cell.quantity, Metric):
                by_metric[metric.name].append(found)
        for rows in by_metric.values():
            if len(rows) < ENOUGH:
                rest += _pairs(rows, spreads)
                continue
            header = f"{column.over} {column.header}".strip()
            correlation = f" (rank correlation {_correlation(rows, spreads)}, {len(rows)} rows)"
            sentences.append(_order(header, _pairs(rows, spreads), correlation))
    if rest:
        sentences.append(_order("Columns of fewer than four measured rows", rest, ""))
    return sentences + _signs(table, cells)


def _spreads(cells: Mapping[Key, Filled], scale: Scale) -> SeedSpreads:
    return seed_spreads(
        scale, {one.cell.quantity: one.value for one in cells.values() if one.cell.quantity and one.value}
    )


def noise_of_accuracies(cells: Mapping[Key, Filled], scale: Scale) -> list[Line]:
    """How far the accuracies of each dataset and metric may be off, and where their noise is from."""
    spreads = _spreads(cells, scale)
    by_metric: dict[tuple[str, str], list[Estimate]] = defaultdict(list)
    for filled in cells.values():
        metric = filled.cell.quantity
        if isinstance(metric, Metric) and filled.value is not None and filled.value.numbers:
            training = spreads.training([metric])
            by_metric[metric.dataset, metric.name].append(weighted_sum([1.0], [filled.value], training))
    if not by_metric:
        return []
    texts = []
    for (dataset, name), found in by_metric.items():
        halves = [one.high - one.value for one in found if one.noise != UNKNOWN]
        seeds = sorted({one.seeds for one in found})
        of = f"{dataset} {name}, {' or '.join(map(str, seeds))} seed{'' if seeds == [1] else 's'}"
        texts.append(f"{of}: ±{max(halves):.1f} at most" if halves else f"{of}: unknown")
    sources = dict.fromkeys(one.source for found in by_metric.values() for one in found)
    about = "95% intervals over other test videos and other trainings"
    return [("Noise", f"{about}; {'; '.join(texts)}."), *(("Training", text) for text in sources)]


def _compared(row: str, filled: Filled) -> Compared | None:
    """The cell's two numbers; None where the paper prints none or nothing is measured."""
    if filled.printed is None or filled.value is None:
        return None
    return Compared(row, filled.cell.of or filled.cell.column, filled, filled.printed, filled.value)


def _pairs(rows: Sequence[Compared], spreads: SeedSpreads) -> list[Pair]:
    """All pairs of rows to which the paper gives different numbers."""
    ordered = (sorted(pair, key=lambda one: one.printed.value) for pair in combinations(rows, 2))
    return [
        Pair(better, worse, weighted_sum([1.0, -1.0], [better.value, worse.value], _training([better, worse], spreads)))
        for worse, better in ordered
        if better.printed.value != worse.printed.value
    ]


def _training(rows: Iterable[Compared], spreads: SeedSpreads) -> Training:
    return spreads.training(quantity for one in rows if (quantity := one.filled.cell.quantity))


def _correlation(rows: Sequence[Compared], spreads: SeedSpreads) -> str:
    found = ranked([one.reported for one in rows], [one.value for one in rows], _training(rows, spreads))
    if found is None:
        return "undefined, since all are equal"
    interval = "noise unknown" if found.low is None else f"95% interval {found.low:.2f} to {found.high:.2f}"
    return f"{found.value:.2f}, {interval}"


def _order(header: str, found: Sequence[Pair], correlation: str) -> str:
    """How many pairs stand as in the paper; those that do not, first those whose turn is no chance.

    All pairs of a column are decided together.
    """
    beyond = holm([pair.chance for pair in found])
    turned = [(pair, sure) for pair, sure in zip(found, beyond, strict=True) if pair.estimate.value <= 0]
    turned.sort(key=lambda one: (not one[1], -one[0].reported))
    against = sum(sure for _, sure in turned)
    text = f"{header}: {len(found) - len(turned)} of {len(found)} pairs of rows stand in the paper's order{correlation}"
    text += f", {sum(beyond) - against} of them beyond the noise."
    if not turned:
        return text
    said = [f"{pair}{'' if sure else ' within noise'}" for pair, sure in turned[:SHOWN]]
    more = f"; and {len(turned) - SHOWN} more" if len(turned) > SHOWN else ""
    return f"{text} The paper has, and it is not so here, {against} of them beyond the noise: {'; '.join(said)}{more}."


def _signs(table: Table, cells: Mapping[Key, Filled]) -> list[str]:
    headers = {column.name: column.header for column in table.columns}
    by_column: dict[str, list[Compared]] = defaultdict(list)
    for row, cell in table.cells():
        found = _compared(row.id, cells[row.id, cell.column])
        if found and found.value.numbers and isinstance(cell.quantity, Difference):
            by_column[headers[cell.of]].append(found)
    sentences = []
    for header, rows in by_column.items():
        other = [one for one in rows if one.reported * one.here <= 0]
        count = f"{len(rows) - len(other)} of {len(rows)}"
        text = f"Δ of {header}: {count} differences to the base row have the paper's sign"
        named = "; ".join(f"{one.row} (paper {one.filled.reported}, here {one.filled.here})" for one in other)
        sentences.append(text + (f"; not: {named}." if other else "."))
    return sentences


def numbers_of_text(table: Table, cells: Mapping[Key, Filled], scale: Scale, audit: Path = AUDIT) -> list[Line]:
    """A line for each number of the text that follows from measured accuracies of this table alone, with its interval.

    Improvements on which the text puts no number are averaged, too, where they are four or more.
    """
    measured = {
        f"{table.name}/{row}/{column}": found
        for (row, column), filled in cells.items()
        if isinstance(filled.cell.quantity, Metric | Difference) and (found := _compared(row, filled))
    }
    spreads = _spreads(cells, scale)
    numbers, orderings = load_sentences(audit)
    said = [check for check in numbers if _about(check, measured)]
    lines = [("Text", _number(check, measured, spreads)) for check in said]
    covered = {measured[name].column for check in said for name in _references(check)}
    headers = {c.name: f"{c.over} {c.header}".strip() for c in table.columns if c.name not in covered}
    return lines + [("Average", text) for check in orderings if (text := _average(check, measured, headers, spreads))]


def _about(check: Sum, measured: Mapping[str, Compared]) -> bool:
    """Whether it is a number of the text, and of these cells."""
    names = _references(check)
    return bool(names) and names <= measured.keys() and not any(Expression(text).references for text in check.printed)


def _references(check: Sum) -> set[str]:
    return {name for reading in check.readings.values() for expression in reading for name in expression.references}


def _number(check: Sum, measured: Mapping[str, Compared], spreads: SeedSpreads) -> str:
    texts = []
    for how, expressions in check.readings.items():
        here = " and ".join(_here(one, measured, spreads) for one in expressions)
        paper = " and ".join(_of_paper(one, measured) for one in expressions)
        texts.append((f"{how}: " if how else "") + f"here {here}, by the paper's rows {paper}")
    return f"{check.words} ({check.place}; prints {' and '.join(check.printed)}): {'; '.join(texts)}."


def _average(
    check: Ordering, measured: Mapping[str, Compared], headers: Mapping[str, str], spreads: SeedSpreads
) -> str:
    """The average improvement of networks that a sentence speaks of, by column; empty without enough of them.

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
            values = f"here {_here(mean, measured, spreads)}, by the paper's rows {_of_paper(mean, measured)}"
            texts.append(f"{headers[column]} {values} ({len(margins)} differences)")
    return f"{check.words} ({check.place}): {'; '.join(texts)}." if texts else ""


def _digits(expression: Expression, measured: Mapping[str, Compared]) -> int:
    return max(measured[name].printed.decimals for name in expression.references)


def _of_paper(expression: Expression, measured: Mapping[str, Compared]) -> str:
    value = expression.evaluate(lambda name: measured[name].printed.fraction)
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return show(exact, _digits(expression, measured), signed=True)


def _here(expression: Expression, measured: Mapping[str, Compared], spreads: SeedSpreads) -> str:
    """The value and its 95% interval, over the seeds that all cells have."""
    weights, constant = expression.linear()
    cells = [measured[name] for name in weights]
    if not set.intersection(*(set(cell.value.numbers) for cell in cells)):
        return Verdict.PENDING
    found = weighted_sum([*weights.values()], [cell.value for cell in cells], _training(cells, spreads), constant)
    digits = _digits(expression, measured)
    text = show(found.value, digits, signed=True)
    if found.noise == UNKNOWN:
        return text
    low, high = (show(end, digits, signed=True) for end in found.interval())
    return f"{text} [{low}, {high}]"
