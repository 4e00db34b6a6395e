"""Claims in words and as forest plots: what each statement compares, with its interval, and where it is true.

A statement is a sum of measurements that has to lie above a threshold. Two that bound the same sum from both sides,
such as "within two points", are drawn as one, with what counts as the same between them. The thick line is the 95%
interval by itself, the thin one that of the level at which all claims of a page are decided together
(docs/statistics.md).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from tada.base import counted
from tada.report.judge import Verdict
from tada.report.judge.noise import EXACT, LEVEL, UNKNOWN
from tada.report.judge.sentences import Judged, Margin, papers_margin
from tada.report.pages import Ends, Forest, ForestGroup, ForestLine, Span
from tada.report.paper.printed import show, show_ends
from tada.report.paper.quantities import CalibrationCost, InitialDifference, LayerSize, Metric, NetworkSize, category_of
from tada.report.paper.sentences import Statement
from tada.report.paper.tables import Paper
from tada.runs.settings import Scale

BUILT = "By construction, whatever is trained"
"""Title of the claims that no training can change."""


def forests(judged: Mapping[Scale, Sequence[Judged]], paper: Paper) -> Iterator[Forest]:
    """One for each scale of which something is measured, or one of all that is pending; what no training can change
    stands once."""
    measured = [scale for scale, found in judged.items() if any(one.claim.runs and one.margins for one in found)]
    for number, scale in enumerate(measured or list(judged)[:1]):
        groups: dict[str, list[Judged]] = {}
        for one in judged[scale]:
            if one.claim.runs or not number:
                title = one.claim.place.split(", ")[-1] if one.claim.runs else BUILT
                groups.setdefault(title, []).append(one)
        yield Forest(scale, tuple(_group(title, members, paper) for title, members in groups.items()))


def _group(title: str, members: Sequence[Judged], paper: Paper) -> ForestGroup:
    lines = tuple(_line(one, paper) for one in members)
    ends = [0.0]
    for span in (span for line in lines for span in line.spans):
        of_paper = [] if span.paper is None else [span.paper]
        ends += [span.value, *of_paper, *(span.shared or ()), *(end for end in span.true if math.isfinite(end))]
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    return ForestGroup(title, lines, min(ends) - room, max(ends) + room)


def _line(one: Judged, paper: Paper) -> ForestLine:
    claim = one.claim
    notes = [claim.words]
    for place, statement in enumerate(claim.holds):
        notes.append(statement_text(statement, paper, {"here": one.margins[place]} if one.margins else {}))
    notes += [f"Undecided {power_text(one)}."] if power_text(one) else []
    notes += [claim.note] if claim.note else []
    notes += [str(problem) for problem in one.problems]
    text = margin_text(one.weakest) if one.weakest else ""
    spans = tuple(_spans(one, paper))
    return ForestLine(claim.id, claim.says, claim.place, one.verdict, one.said, text, spans, tuple(notes))


def _spans(one: Judged, paper: Paper) -> Iterator[Span]:
    """One for each sum that statements bound; nothing of what is exact, which no axis of points holds."""
    bounds: dict[tuple[tuple[str, float], ...], list[Margin]] = {}
    for margin in one.margins:
        if margin.estimate.noise == EXACT:
            continue
        weights, _ = margin.statement.comparison.margin.linear()
        turned = tuple(sorted((name, -weight) for name, weight in weights.items()))
        same = tuple(sorted(weights.items()))
        bounds.setdefault(turned if turned in bounds else same, []).append(margin)
    for margins in bounds.values():
        yield _span(margins, one.level, paper)


def _span(margins: Sequence[Margin], level: float, paper: Paper) -> Span:
    """The sum that the first of the margins bounds, and where all of their statements are true."""
    first = margins[0]
    weights, constant = first.statement.comparison.margin.linear()
    low, high = -math.inf, math.inf
    for margin in margins:
        own, shift = margin.statement.comparison.margin.linear()
        if own == weights:
            low = max(low, -shift)
        else:
            high = min(high, shift)
    estimate = first.estimate
    known = math.isfinite(estimate.error)
    value = estimate.value - constant
    interval, shared = (_shifted(estimate.interval(one), constant) if known else None for one in (LEVEL, level))
    of_paper = papers_margin(first.statement, paper)
    return Span(
        label=" and ".join(one.statement.comparison.shown(names_of(one.statement)) for one in margins),
        text=_interval_text(value, interval),
        value=value,
        interval=interval,
        shared=shared,
        true=(low, high),
        paper=None if of_paper is None else float(of_paper.value) - constant,
    )


def _shifted(ends: Ends, constant: float) -> Ends:
    return ends[0] - constant, ends[1] - constant


def _interval_text(value: float, interval: Ends | None) -> str:
    return f"{show(value, 1, signed=True)} {show_ends(interval, 1) if interval else '[?]'}"


def statement_text(statement: Statement, paper: Paper, margins: Mapping[str, Margin]) -> str:
    """A statement with its margin by the paper's own numbers and those that were measured, by where they are from."""
    found = [f"{name} {margin_text(margin)}{noise_text(margin)}" for name, margin in margins.items()]
    if (own := papers_margin(statement, paper)) is not None:
        found.insert(0, f"paper {points_text(float(own.value), statement)}")
    return ": ".join(filter(None, (statement.comparison.shown(names_of(statement)), "; ".join(found))))


def noise_text(margin: Margin) -> str:
    """How many seeds an interval is of, and where its noise is from."""
    estimate = margin.estimate
    if estimate.noise == EXACT:
        return ""
    if estimate.noise == UNKNOWN:
        return ", noise unknown"
    return f", {counted(estimate.seeds, 'seed')}, noise of {estimate.noise}"


def power_text(one: Judged) -> str:
    """What an undecided claim could have told; empty of any other."""
    if one.verdict != Verdict.UNDECIDED or one.weakest is None:
        return ""
    if not math.isfinite(one.detectable):
        return "whatever its margin, since the noise is unknown"
    return f"where {one.detectable:.1f} points could have been told"


def names_of(statement: Statement) -> Callable[[str], str]:
    """Names of models alone where all references are accuracies of one dataset and metric."""
    metrics = {text: one for text, one in statement.references.items() if isinstance(one, Metric)}
    kinds = {(metric.dataset, metric.name) for metric in metrics.values()}
    of_classes = any(category_of(metric.name) is not None for metric in metrics.values())
    if of_classes or len(kinds) > 1 or len(metrics) < len(statement.references):
        return str
    return lambda text: " & ".join(metrics[text].models)


def margin_text(margin: Margin) -> str:
    """A margin and its interval, e.g. "+3.2 [+1.0, +5.4]"; without one where it is a count."""
    estimate = margin.estimate
    if all(isinstance(one, InitialDifference) for one in margin.statement.references.values()):
        return "equal" if not any(estimate.values) else f"equal within {max(estimate.values):.0e}"
    value = points_text(estimate.value, margin.statement)
    if estimate.noise == EXACT:
        return value
    if not math.isfinite(estimate.error):
        return f"{value} [?]"
    return f"{value} {show_ends((estimate.low, estimate.high), 1)}"


def points_text(value: float, statement: Statement) -> str:
    """A margin in the unit of what the statement compares: GFLOPs of costs, points of all else."""
    kinds = {type(reference) for reference in statement.references.values()}
    if kinds <= {NetworkSize, LayerSize, CalibrationCost}:
        return f"{show(value, 4, signed=True)} GFLOPs"
    return show(value, 1, signed=True)
