"""Remarks: what is computed under a table from the measured accuracies of its rows.

Whether rows stand in the paper's order and differences have the paper's sign, which is what mini runs can show. And
what the paper's text says in numbers about the table, such as "an average improvement of ...": the sentences and how
they follow from the table's cells stand in paper/audit.yaml, which recomputes them from the paper's own digits; here
the same expressions are evaluated on what was measured.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations
from pathlib import Path

from tada.report.judge import Verdict, among_others
from tada.report.judge.cells import Filled, Key
from tada.report.judge.noise import LEVEL, UNKNOWN, Estimate, Training, holm, ranked, weighted_sum
from tada.report.judge.training import SeedSpreads, described, seed_spreads
from tada.report.measure.results import Line
from tada.report.measure.values import Value
from tada.report.paper.printed import Expression, Printed, show, show_ends
from tada.report.paper.quantities import Difference, Metric
from tada.report.paper.sentences import AUDIT, Ordering, Sum, load_sentences
from tada.report.paper.tables import Table
from tada.runs.settings import Scale

ENOUGH = 4
"""Rows from which on a rank correlation says something; it can only be 1, 0.5, −0.5 or −1 with three."""


SHOWN = 10
"""How many pairs of rows in another order are named where there is no room for all, first those that are decided."""


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

    @property
    def name(self) -> str:
        """Its networks' names, by which claims name it, too."""
        metric = self.filled.cell.quantity
        return " & ".join(metric.models) if isinstance(metric, Metric) else self.row


@dataclass(frozen=True)
class Pair:
    """Two rows of which the paper has `better` above `worse`, and by how much it is above here, with its noise.

    `verdict` says whether it holds here, decided together with all `among` pairs of the column. `of` says what is
    compared where pairs of several columns stand together.
    """

    better: Compared
    worse: Compared
    estimate: Estimate
    verdict: Verdict = Verdict.UNDECIDED
    among: int = 1
    of: str = ""

    @property
    def reported(self) -> float:
        """By how much `better` is above `worse` in the paper, exactly as printed."""
        return float(self.better.printed.value - self.worse.printed.value)

    @property
    def chance(self) -> float:
        """How probable so large a difference here, either way, is between equal networks."""
        return min(1.0, 2 * min(self.estimate.p_above, self.estimate.p_below))

    @property
    def turned(self) -> bool:
        """Whether `better` is not above `worse` here, be it by chance."""
        return self.estimate.value <= 0

    @property
    def speaks_for(self) -> Verdict:
        """What it says if it is no chance."""
        return Verdict.FAILS if self.turned else Verdict.HOLDS

    @property
    def alone(self) -> Verdict:
        """What it would be, were it the only pair."""
        return self.speaks_for if self.chance <= LEVEL else Verdict.UNDECIDED

    @property
    def said(self) -> str:
        """The verdict and, where the other pairs change it, what it would be without them."""
        return among_others(self.verdict, self.alone, f"{self.among} pairs")

    @property
    def name(self) -> str:
        """As the paper has it, in the words of a claim, e.g. "tada2d > tsn", or "tada2d > tsn, ssv2 top5"."""
        return f"{self.better.name} > {self.worse.name}" + (f", {self.of}" if self.of else "")

    @property
    def margin(self) -> str:
        """By how much it is so here and its interval, e.g. "−10.0 [−13.0, −7.0]"."""
        here = show(self.estimate.value, 1, signed=True)
        if self.estimate.noise == UNKNOWN:
            return f"{here}, noise unknown"
        return f"{here} {show_ends(self.estimate.interval(), 1)}"

    def __str__(self) -> str:
        return f"{self.name} (paper {show(self.reported, 1, signed=True)}, here {self.margin}) {self.said}"


DECIDED_TOGETHER: Line = (
    "Pairs of rows",
    "holds: as in the paper, beyond the noise; fails: turned around, beyond the noise; undecided: inside it. All pairs "
    "of a column are decided together (Holm's procedure), so any of them is wrong with a probability of 5% at most. "
    "Of many pairs of equal networks some intervals lie beside zero by chance, so more is asked of each: a pair whose "
    "interval is beside zero can be undecided, and then the page says what it would be alone. A claim on the same pair "
    "has the same name and margin; it is decided among the claims instead, and its verdict may be another one.",
)
"""What a reader has to know of the verdicts on pairs."""


@dataclass(frozen=True)
class Order:
    """How the rows of a column stand, or those of several columns with few rows.

    `pairs` are all to which the paper gives different numbers. `rows` are those of one column, the paper's best first,
    and `correlation` says in words how their ranks agree with the paper's, and how sure that is.
    """

    column: str
    pairs: tuple[Pair, ...]
    rows: tuple[Compared, ...] = ()
    correlation: str = ""

    @property
    def turned(self) -> list[Pair]:
        """The pairs that do not stand as in the paper, first those that are decided, then by the paper's difference."""
        found = [pair for pair in self.pairs if pair.turned]
        return sorted(found, key=lambda pair: (pair.verdict != Verdict.FAILS, -pair.reported))

    @property
    def counted(self) -> str:
        """How many pairs stand as in the paper, and how many of them beyond the noise."""
        held = sum(pair.verdict == Verdict.HOLDS for pair in self.pairs)
        right = f"{len(self.pairs) - len(self.turned)} of {len(self.pairs)} pairs of rows stand in the paper's order"
        ranks = f" (rank correlation {self.correlation}, {len(self.rows)} rows)" if self.correlation else ""
        return f"{self.column}: {right}{ranks}, {held} of them beyond the noise."

    @property
    def counted_turned(self) -> str:
        """How many do not, without naming them; empty if all do."""
        against = sum(pair.verdict == Verdict.FAILS for pair in self.pairs)
        count = len(self.turned)
        not_so = "1 pair does" if count == 1 else f"{count} pairs do"
        return f"{not_so} not, {against} beyond the noise" if count else ""

    def __str__(self) -> str:
        if not self.turned:
            return self.counted
        named = "; ".join(map(str, self.turned[:SHOWN]))
        more = f"; and {len(self.turned) - SHOWN} more" if len(self.turned) > SHOWN else ""
        return f"{self.counted} {self.counted_turned}: {named}{more}."


def order_of_rows(table: Table, cells: Mapping[Key, Filled], scale: Scale) -> list[Order]:
    """The order of each accuracy column's rows."""
    spreads = _spreads(cells, scale)
    orders, rest = [], []
    for column in table.columns:
        by_metric: dict[str, list[Compared]] = defaultdict(list)
        for row in table.rows:
            found = _compared(row.id, cells[row.id, column.name])
            if found and found.value.numbers and isinstance(metric := found.filled.cell.quantity, Metric):
                by_metric[f"{metric.dataset} {metric.name}"].append(found)
        for of, rows in by_metric.items():
            if len(rows) < ENOUGH:
                rest += [replace(pair, of=of) for pair in _pairs(rows, spreads)]
                continue
            header = f"{column.over} {column.header}".strip()
            best_first = sorted(rows, key=lambda one: -one.reported)
            pairs = _decided(_pairs(rows, spreads))
            orders.append(Order(header, pairs, tuple(best_first), _correlation(rows, spreads)))
    if rest:
        if len({pair.of for pair in rest}) == 1:
            rest = [replace(pair, of="") for pair in rest]
        orders.append(Order("Columns of fewer than four measured rows", _decided(rest)))
    return orders


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
    widest: dict[str, dict[str, float]] = defaultdict(dict)
    for (dataset, name), found in by_metric.items():
        seeds = sorted({one.seeds for one in found})
        of = f"{dataset}, {' or '.join(map(str, seeds))} seed{'' if seeds == [1] else 's'}"
        halves = [one.high - one.value for one in found if one.noise != UNKNOWN]
        widest[of][name] = max(halves, default=math.inf)
    texts = [f"{of}: {', '.join(_widths(halves))}" for of, halves in widest.items()]
    sources = described(one.source for found in by_metric.values() for one in found)
    about = "95% intervals over other test videos and other trainings"
    return [("Noise", f"{about}; {'; '.join(texts)}."), *(("Training", text) for text in sources)]


def _widths(halves: Mapping[str, float]) -> list[str]:
    """How wide the intervals of metrics are, of more than two the narrowest and the widest; infinite: unknown."""
    known = sorted((half, name) for name, half in halves.items() if half < math.inf)
    unknown = [f"{name} unknown" for name, half in halves.items() if half == math.inf]
    if len(known) <= 2:
        return [*(f"{name} ±{half:.1f} at most" for half, name in known), *unknown]
    (least, narrow), (most, wide) = known[0], known[-1]
    of_all = f"from ±{least:.1f} at most ({narrow}) to ±{most:.1f} at most ({wide}), {len(known)} metrics"
    return [of_all, *unknown]


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
    if found.low is None or found.high is None:
        return f"{show(found.value, 2)}, noise unknown"
    return f"{show(found.value, 2)}, 95% interval {show(found.low, 2)} to {show(found.high, 2)}"


def _decided(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs with their verdicts, decided together by Holm's procedure."""
    sure = holm([pair.chance for pair in pairs])
    return tuple(
        replace(pair, verdict=pair.speaks_for if decided else Verdict.UNDECIDED, among=len(pairs))
        for pair, decided in zip(pairs, sure, strict=True)
    )


def signs_of_differences(table: Table, cells: Mapping[Key, Filled]) -> list[str]:
    """A sentence for each column of differences: how many have the paper's sign."""
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
        found = [_here(one, measured, spreads) for one in expressions]
        here = " and ".join(found if set(found) != {Verdict.PENDING} else found[:1])
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
    return f"{text} {show_ends(found.interval(), digits)}"
