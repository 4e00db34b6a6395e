"""Sentences of the paper, judged: claims by measurements, and numbers by other numbers of the paper (the audit).

By how much a claim's statement holds, its margin, is a weighted sum of measured values, and `noise` gives its interval.
A claim holds if each of its statements does, and fails if any of them fails. Claims are decided together, so that a
page of them has a wrong decision in one of twenty repetitions at most.

The audit recomputes printed numbers from printed digits. These are rounded, so there are three cases: the digits give
the number, or digits that were lost to rounding could give it, or no rounding explains it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from tada.base import TadaError, unknown
from tada.report.judge import OF_AUDIT, Verdict, among_others
from tada.report.judge.noise import EXACT, LEVEL, Estimate, holm, weighted_sum
from tada.report.judge.training import SeedSpreads, seed_spreads
from tada.report.measure.results import DONE, FAILED, Problem, Results
from tada.report.measure.values import Value, measure
from tada.report.paper.printed import Expression, Inequality, Interval, Printed, parse, show
from tada.report.paper.quantities import Quantity
from tada.report.paper.sentences import Audit, Bounds, Claim, Claims, Ordering, Statement, Sum
from tada.report.paper.tables import Paper


@dataclass(frozen=True)
class Margin:
    """By how much a statement holds (below zero: fails), with its noise."""

    statement: Statement
    estimate: Estimate

    @property
    def exact(self) -> bool:
        """Whether it is of counts alone, which have no noise."""
        return self.estimate.noise == EXACT

    @property
    def alone(self) -> Verdict:
        """What its interval says, were it the only statement of the page."""
        if self.exact:
            strict = self.statement.comparison.strict
            true = self.estimate.value > 0 or (self.estimate.value == 0 and not strict)
            return Verdict.HOLDS if true else Verdict.FAILS
        return (
            Verdict.HOLDS if self.estimate.low > 0 else Verdict.FAILS if self.estimate.high < 0 else Verdict.UNDECIDED
        )


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, the margins of its statements, and what is wrong with the runs behind it.

    `detectable` is the margin that would have decided it, for the statement that it hangs on; 0 of a count. It was
    decided together with all `among` claims that have noise, of which `left` are undecided.
    """

    claim: Claim
    verdict: Verdict
    margins: tuple[Margin, ...] = ()
    problems: tuple[Problem, ...] = ()
    detectable: float = 0.0
    among: int = 1
    left: int = 1

    @property
    def alone(self) -> Verdict:
        """What it would be, were it the only claim of the page."""
        if all(margin.exact for margin in self.margins):
            return self.verdict
        p_value, speaks_for = _two_sided(self)
        return speaks_for if p_value <= LEVEL else Verdict.UNDECIDED

    @property
    def said(self) -> str:
        """The verdict and, where the other claims change it, what it would be without them."""
        return among_others(self.verdict, self.alone, f"{self.among} claims")

    @property
    def level(self) -> float:
        """That of intervals which hold zero where the claims are undecided, if each has one statement."""
        return LEVEL / self.left

    @property
    def weakest(self) -> Margin | None:
        """The statement that the verdict hangs on: the lowest; beside others, a count decides only where it fails."""
        return min(self.margins, key=_by_weakness, default=None)


def _by_weakness(margin: Margin) -> tuple[int, float]:
    """Order of the statements of a claim: counts that fail, what has noise, counts that hold; each from the lowest."""
    rank = 1 if not margin.exact else 0 if margin.alone == Verdict.FAILS else 2
    return rank, margin.estimate.low


def judge_claims(claims: Claims, results: Results) -> list[Judged]:
    """Every claim at the scale of the results; a quantity that several claims name is measured once."""
    wanted = {quantity for claim in claims.claims for quantity in claim.quantities}
    values = {quantity: measure(quantity, results) for quantity in sorted(wanted, key=str)}
    spreads = seed_spreads(results.scale, values)
    return decide([_measured(claim, values, spreads) for claim in claims.claims])


def decide(found: Sequence[Judged]) -> list[Judged]:
    """The claims with verdicts: those whose margins have noise are decided together, by Holm's procedure.

    Of a claim of several statements, `holds` is as sure as the least sure of them, and `fails` is as sure as the
    surest, at a level divided by their number, counts left out.
    """
    tested = [place for place, one in enumerate(found) if one.verdict == Verdict.UNDECIDED]
    signs = [_two_sided(found[place]) for place in tested]
    decisions = holm([p for p, _ in signs])
    left = max(decisions.count(False), 1)
    judged = list(found)
    for place, (_, verdict), decided in zip(tested, signs, decisions, strict=True):
        one = found[place]
        judged[place] = replace(
            one,
            verdict=verdict if decided else Verdict.UNDECIDED,
            detectable=one.weakest.estimate.detectable(left) if one.weakest else 0.0,
            among=len(tested),
            left=left,
        )
    return judged


def _two_sided(one: Judged) -> tuple[float, Verdict]:
    """How probable margins so clear are by chance, and the verdict that they speak for."""
    holds = max(_chance(margin, Verdict.HOLDS) for margin in one.margins)
    tested = sum(not margin.exact for margin in one.margins)
    fails = min(1.0, tested * min(_chance(margin, Verdict.FAILS) for margin in one.margins))
    return min(1.0, 2 * min(holds, fails)), Verdict.HOLDS if holds < fails else Verdict.FAILS


def _chance(margin: Margin, verdict: Verdict) -> float:
    """How probable a margin that speaks for the verdict so clearly is by chance; of a count, 0 or 1."""
    if margin.exact:
        return 0.0 if margin.alone == verdict else 1.0
    return margin.estimate.p_above if verdict == Verdict.HOLDS else margin.estimate.p_below


def _measured(claim: Claim, values: Mapping[Quantity, Value], spreads: SeedSpreads) -> Judged:
    """The claim with the margins of its statements; what has noise is not decided yet."""
    if claim.at and claim.at != spreads.scale:
        return Judged(claim, Verdict.ELSEWHERE)
    found = [values[quantity] for quantity in claim.quantities]
    problems = tuple(sorted({problem for value in found for problem in value.problems}, key=str))
    if any(value.status != DONE for value in found):
        failed = any(problem.status == FAILED for problem in problems)
        return Judged(claim, Verdict.FAILED if failed else Verdict.PENDING, problems=problems)
    margins = tuple(_margin(statement, values, spreads) for statement in claim.holds)
    if not all(margin.exact for margin in margins):
        return Judged(claim, Verdict.UNDECIDED, margins, problems)
    true = all(margin.alone == Verdict.HOLDS for margin in margins)
    return Judged(claim, Verdict.HOLDS if true else Verdict.FAILS, margins, problems)


def _margin(statement: Statement, values: Mapping[Quantity, Value], spreads: SeedSpreads) -> Margin:
    weights, constant = statement.comparison.margin.linear()
    quantities = [statement.references[name] for name in weights]
    training = spreads.training(quantities)
    found = weighted_sum([*weights.values()], [values[one] for one in quantities], training, constant)
    return Margin(statement, found)


def papers_margin(statement: Statement, paper: Paper) -> Interval | None:
    """By how much the statement holds of the paper's own numbers; None where it does not print all of them."""
    values: dict[str, Interval] = {}
    for name, quantity in statement.references.items():
        value = paper.find(quantity)
        if value is None:
            return None
        values[name] = value
    margin = statement.comparison.margin.evaluate(values.__getitem__)
    return margin if isinstance(margin, Interval) else Interval.exact(margin)


@dataclass(frozen=True)
class Recomputed:
    """One number or statement: what is printed, what the others give, and by how much they differ."""

    id: str
    place: str
    words: str
    printed: str
    recomputed: str
    how: str
    difference: str
    verdict: Verdict
    note: str = ""
    group: str = ""


def recompute(audit: Audit, paper: Paper) -> list[Recomputed]:
    """A finding for each check of the audit, one for each statement of an ordering."""
    look_up = _Numbers(audit, paper)
    findings: list[Recomputed] = []
    for check in audit.checks:
        match check:
            case Sum():
                findings.append(_sum(check, look_up))
            case Bounds():
                findings.append(_bounds(check, look_up))
            case Ordering():
                findings += _ordering(check, look_up)
    findings += [
        Recomputed("", one.place, one.words, "", "", "", "", Verdict.UNCHECKED, one.why) for one in audit.unchecked
    ]
    return sorted(findings, key=lambda finding: OF_AUDIT.index(finding.verdict))  # within, in the paper's order


class _Numbers:
    """Looks numbers up by name, for arithmetic and for print."""

    def __init__(self, audit: Audit, paper: Paper) -> None:
        self.known, self.paper = audit.known, paper

    def __call__(self, name: str) -> Interval:
        if not name.startswith("known/"):
            return self.paper.interval(name, "paper/audit.yaml")
        return Interval.exact(Fraction(str(self._known(name))))

    def text(self, name: str) -> str:
        number = self.number(name)
        return show(number.value, number.decimals)

    def number(self, name: str) -> Printed:
        """What a name points to: a number of a table, or one of `known`, which is a whole one."""
        if name.startswith("known/"):
            return Printed(name, Decimal(str(self._known(name))), 0)
        return self.paper.printed(name, "paper/audit.yaml")

    def printed(self, text: str, where: str) -> Printed:
        """A text, or the text that a reference in braces points to."""
        references = Expression(text).references
        number = self.paper.printed(references[0], where) if references else parse(text)
        if number is None:
            raise TadaError(f"paper/audit.yaml: {where}: {text!r} is not a number")
        return number

    def statement(self, statement: Inequality) -> str:
        """A comparison in the rows' names, e.g. "tada2d > tanet-8 (Top-5)": its place names the table."""
        columns = {column.name: column for table in self.paper.tables.values() for column in table.columns}
        cells = [name for name in statement.references if not name.startswith("known/")]
        compared = [name for name in cells if not self.paper.printed(name).below]
        about = [columns[name] for name in dict.fromkeys(name.rsplit("/", 1)[1] for name in compared)]
        header = f" ({f'{about[0].over} {about[0].header}'.strip()})" if len(about) == 1 else ""
        return statement.shown(self._row) + header

    def _row(self, name: str) -> str:
        if name.startswith("known/"):
            return name.removeprefix("known/").replace("-", " ")
        number = self.paper.printed(name)
        return show(number.value, number.decimals) if number.below else name.split("/", 1)[1].rsplit("/", 1)[0]

    def _known(self, name: str) -> float:
        key = name.removeprefix("known/")
        if key not in self.known:
            raise unknown("number", key, self.known, where="paper/audit.yaml: known")
        return self.known[key][0]


def _sum(check: Sum, look_up: _Numbers) -> Recomputed:
    """The reading that fits best; the others, where none fits, are in the note."""
    printed = [look_up.printed(text, check.id) for text in check.printed]
    read = []
    for how, expressions in check.readings.items():
        if len(expressions) != len(printed):
            raise TadaError(f"paper/audit.yaml: {check.id}: {len(printed)} numbers, {len(expressions)} expressions")
        values = [expression.evaluate(look_up) for expression in expressions]
        values = [value if isinstance(value, Interval) else Interval.exact(value) for value in values]
        verdicts = [_fits(value, number) for value, number in zip(values, printed, strict=True)]
        gaps = [number.fraction - value.value for value, number in zip(values, printed, strict=True)]
        worst = min(verdicts, key=OF_AUDIT.index)
        read.append((how, worst, sum(map(abs, gaps)), values, gaps, expressions))
    how, verdict, _, values, gaps, expressions = min(read, key=lambda one: (-OF_AUDIT.index(one[1]), one[2]))
    texts = _both(values, printed)
    note = check.note
    if len(read) > 1 and verdict != Verdict.ADDS_UP:
        others = (f"{' and '.join(_both(one[3], printed))} ({one[0]})" for one in read)
        note = f"{note} Recomputed: {'; '.join(others)}.".strip()
    return Recomputed(
        check.id,
        check.place,
        check.words,
        " and ".join(number.text for number in printed),
        " and ".join(texts),
        "; ".join(expression.shown(look_up.text) for expression in expressions) + (f" ({how})" if how else ""),
        ""
        if verdict == Verdict.ADDS_UP
        else " and ".join(_gap(gap, number) for gap, number in zip(gaps, printed, strict=True)),
        verdict,
        note,
        check.group,
    )


def _fits(value: Interval, number: Printed) -> Verdict:
    if abs(value.value - number.fraction) <= Fraction(1, 2 * 10**number.decimals):
        return Verdict.ADDS_UP
    return Verdict.ROUNDING if value.overlaps(Interval.of(number)) else Verdict.DIFFERS


def _bounds(check: Bounds, look_up: _Numbers) -> Recomputed:
    number = look_up.printed(check.printed, check.id)
    low, high = (expression.evaluate(look_up) for expression in check.between)
    inside = low.value <= number.fraction <= high.value
    possible = Interval(low.low, number.fraction, high.high).overlaps(Interval.of(number))
    gap = min(number.fraction - low.value, 0) + max(number.fraction - high.value, 0)
    return Recomputed(
        check.id,
        check.place,
        check.words,
        number.text,
        f"{_shown(low.value, number)} to {_shown(high.value, number)}",
        " to ".join(expression.shown(look_up.text) for expression in check.between),
        _gap(gap, number) if gap else "",
        Verdict.ADDS_UP if inside else Verdict.ROUNDING if possible else Verdict.DIFFERS,
        check.note,
        check.group,
    )


def _ordering(check: Ordering, look_up: _Numbers) -> list[Recomputed]:
    findings = []
    for number, statement in enumerate(check.holds, start=1):
        margin = statement.margin.evaluate(look_up)
        true = margin.value > 0 or (margin.value == 0 and not statement.strict)
        verdict = Verdict.ADDS_UP if true else Verdict.ROUNDING if margin.high > 0 else Verdict.DIFFERS
        digits = max(look_up.number(name).decimals for name in statement.references)
        name = f"{check.id}/{number}" if len(check.holds) > 1 else check.id
        size = "" if true else show(_decimal(margin.value), digits)
        how = statement.shown(look_up.text)
        note = "" if true else check.note
        said = look_up.statement(statement)
        about = (name, check.place, check.words)
        findings.append(Recomputed(*about, said, how, how, size, verdict, note, group=check.words))
    return findings


def _both(values: list[Interval], printed: list[Printed]) -> list[str]:
    return [_shown(value.value, number) for value, number in zip(values, printed, strict=True)]


def _shown(value: Fraction, number: Printed) -> str:
    """`value` with up to two more decimals than the paper prints, without zeros at the end."""
    return _shortened(show(_decimal(value), number.decimals + 2))


def _gap(gap: Fraction, number: Printed) -> str:
    return _shortened(show(_decimal(gap), number.decimals + 2, signed=True))


def _shortened(text: str) -> str:
    """Without the last two decimals if they are zeros."""
    return text.removesuffix("0").removesuffix("0").removesuffix(".")


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
