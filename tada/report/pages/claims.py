"""The claims as a page: each with the paper's own numbers, and its verdict at either scale."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from tada.base.files import write_text
from tada.report.judge import OF_CLAIMS, Verdict
from tada.report.judge.cells import fill
from tada.report.judge.claims import Judged, Margin, judge_claims
from tada.report.judge.noise import EXACT
from tada.report.judge.remarks import order_of_rows
from tada.report.measure.results import DONE, Results
from tada.report.pages.footer import Line, about_code, about_runs
from tada.report.pages.sheet import EMPTY, Head, Piece, Sheet
from tada.report.pages.writing import write_pages
from tada.report.paper.printed import Interval, show
from tada.report.paper.quantities import InitialDifference, LayerSize, Metric, NetworkSize
from tada.report.paper.sentences import CLAIMS, Claim, Claims, Statement, load_claims
from tada.report.paper.tables import Paper, load_table
from tada.runs.settings import Scale

METHOD: tuple[Line, ...] = (
    *((str(verdict), verdict.meaning) for verdict in (Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED)),
    (
        "Noise",
        "all networks are tested on the same videos, so differences are taken video by video; their spread gives the "
        "noise of the mean, and two made-up videos, one for and one against, keep a handful from deciding. Where runs "
        "have several seeds, the spread between seeds is added. With one seed, the verdict is about the networks as "
        "trained once: another training may differ by more.",
    ),
    (
        "Scales",
        "mini and paper scale are apart: mini says whether an order of networks shows in a controlled setting. Start "
        "and costs are measured on the full-size networks and are the same at both.",
    ),
)


def build_claims(scale: str, seeds: int, results: Path, out: Path, *, spec: Path = CLAIMS) -> list[str]:
    """Write `<out>/claims.md`, `.tex`, `.html` and `.csv` from what is under `results`, of both scales.

    Args:
        scale: "mini" or "paper", whose missing runs are told.
        seeds: runs used of each (dataset, model): seeds 0 to seeds - 1.
        results: the folder `results`.
        out: folder of the files.
        spec: the claims.

    Returns:
        One line for each failed or missing run of that scale.

    Raises:
        TadaError: a faulty spec.
    """
    claims, paper = load_claims(spec), Paper()
    available = {name: Results(results, name, seeds) for name in Scale if name.trains}
    judged = {name: judge_claims(claims, found) for name, found in available.items()}
    sheet = _lay_out(claims, judged, available, paper)
    write_pages(sheet, out)
    write_text(out / "claims.csv", _to_csv(claims, judged, paper))
    return list(dict.fromkeys(str(problem) for one in judged[scale] for problem in one.problems))


def counts(judged: Sequence[Judged]) -> str:
    """ "12 holds, 3 undecided", in the order of `OF_CLAIMS`."""
    found = Counter(one.verdict for one in judged)
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in OF_CLAIMS if found[verdict])


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


def _lay_out(claims: Claims, judged: dict[str, list[Judged]], available: dict[str, Results], paper: Paper) -> Sheet:
    lines, rules, notes = [], set(), []
    sections = [claim.place.split(",")[0] for claim in claims.claims]
    for number, (claim, mini, full) in enumerate(zip(claims.claims, *judged.values(), strict=True)):
        if number and sections[number] != sections[number - 1]:
            rules.add(number)
        notes.append(_note(claim, mini, full, paper))
        own = [margin for statement in claim.holds if (margin := papers_margin(statement, paper)) is not None]
        least = min((margin.value for margin in own), default=None) if len(own) == len(claim.holds) else None
        pieces = [Piece(claim.says, note=number + 1), Piece(claim.place)]
        pieces.append(Piece(EMPTY if least is None else _points(float(least), claim.holds[0])))
        for one in (mini, full):
            pieces += [Piece(_interval(one.weakest) if one.weakest else ""), Piece(one.verdict)]
        lines.append(tuple(pieces))
    heads = [Head("Claim", left=True), Head("Place", left=True), Head("paper's own margin")]
    for name in judged:
        heads += [Head("margin", over=f"{name} scale"), Head("verdict", over=f"{name} scale", left=True)]
    done = [(name, found) for name, found in available.items() if _any_done(claims, found)]
    return Sheet(
        name="claims",
        title=claims.title,
        scale="",
        caption=f"{claims.caption} "
        + " ".join(f"At {name} scale: {counts(found)}." for name, found in judged.items() if _said(found)),
        place=claims.place,
        heads=tuple(heads),
        lines=tuple(lines),
        rules=frozenset(rules),
        notes=tuple(notes),
        order=tuple(_orders(claims, available)),
        footer=(*METHOD, *_about(claims, done)),
    )


def _said(judged: Sequence[Judged]) -> bool:
    """Whether any verdict hangs on runs of this scale."""
    return any(one.claim.runs and one.margins for one in judged) or not any(one.claim.runs for one in judged)


def _any_done(claims: Claims, results: Results) -> bool:
    return any(result.status == DONE for result in results.all_runs(claims.runs))


def _about(claims: Claims, done: Sequence[tuple[str, Results]]) -> list[Line]:
    """Data, cost and code of the runs of each scale."""
    lines: list[Line] = []
    for name, results in done:
        runs = results.all_runs(claims.runs)
        lines += [(f"{label}, {name}", text) for label, text in about_runs(runs, results)]
        lines += [
            (f"{label}, {name}", text)
            for label, text in about_code([run.record["environment"] for run in runs if run.status == DONE])
        ]
    return lines


def _orders(claims: Claims, available: dict[str, Results]) -> list[str]:
    """How the rows of the tables that the spec names stand, at each scale that has runs."""
    sentences = []
    for name in claims.correlations:
        table = load_table(name)
        found = {scale: order_of_rows(table, fill(table, results)) for scale, results in available.items()}
        told = [f"{table.title}, {scale} scale: {text}" for scale, texts in found.items() for text in texts]
        sentences += told or [f"{table.title}: no row is measured yet."]
    return sentences


def _note(claim: Claim, mini: Judged, full: Judged, paper: Paper) -> str:
    """The paper's words, and each statement with its margins."""
    parts = [f"“{claim.quote}”"]
    for number, statement in enumerate(claim.holds):
        text = statement.comparison.shown(_short(statement))
        found = []
        if (own := papers_margin(statement, paper)) is not None:
            found.append(f"paper {_points(float(own.value), statement)}")
        exact = not claim.runs
        for name, one in (("here", mini),) if exact else (("mini", mini), ("paper scale", full)):
            if one.margins:
                margin = one.margins[number]
                noise = "" if margin.estimate.noise == EXACT else f", noise of {margin.estimate.noise}"
                found.append(f"{name} {_interval(margin)} {margin.verdict}{noise}")
        parts.append(f"{text}" + (f": {'; '.join(found)}" if found else ""))
    text = ". ".join([parts[0], "; ".join(parts[1:])]) + "."
    return f"{text} {claim.note}".strip()


def _short(statement: Statement) -> Callable[[str], str]:
    """Names of models alone where all references are accuracies of one dataset and metric."""
    kinds = {(type(r), getattr(r, "dataset", ""), getattr(r, "name", "")) for r in statement.references.values()}
    if len(kinds) > 1 or not all(isinstance(r, Metric) for r in statement.references.values()):
        return str
    return lambda text: " & ".join(statement.references[text].models)


def _interval(margin: Margin) -> str:
    estimate = margin.estimate
    if all(isinstance(one, InitialDifference) for one in margin.statement.references.values()):
        return "equal" if not any(estimate.values) else f"equal to {max(estimate.values):.0e}"
    value = _points(estimate.value, margin.statement)
    if estimate.noise == EXACT:
        return value
    if not math.isfinite(estimate.error):
        return f"{value} [?]"
    low, high = (show(end, 1, signed=True) for end in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def _points(value: float, statement: Statement) -> str:
    kinds = {type(reference) for reference in statement.references.values()}
    if kinds <= {NetworkSize, LayerSize}:
        return f"{show(value, 4, signed=True)} GFLOPs"
    return show(value, 1, signed=True)


def _to_csv(claims: Claims, judged: dict[str, list[Judged]], paper: Paper) -> str:
    """One line for each statement and scale."""
    lines = []
    for scale, found in judged.items():
        for one in found:
            for number, statement in enumerate(one.claim.holds):
                margin = one.margins[number] if one.margins else None
                estimate = margin.estimate if margin else None
                own = papers_margin(statement, paper)
                lines.append(
                    {
                        "claim": one.claim.id,
                        "place": one.claim.place,
                        "scale": scale if one.claim.runs else "any",
                        "verdict": one.verdict,
                        "statement": statement.comparison.text,
                        "statement_verdict": margin.verdict if margin else "",
                        "papers_margin": None if own is None else f"{float(own.value):.10g}",
                        "margin": estimate and f"{estimate.value:.10g}",
                        "low": estimate and f"{estimate.low:.10g}",
                        "high": estimate and f"{estimate.high:.10g}",
                        "noise": estimate.noise if estimate else "",
                        "videos": estimate.videos if estimate else "",
                        "quote": one.claim.quote,
                    }
                )
    frame = pd.DataFrame(lines)
    return frame[~((frame["scale"] == "any") & frame.duplicated(["claim", "statement"]))].to_csv(index=False)
