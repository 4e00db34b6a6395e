"""The two pages on the paper's sentences.

The claims: sentences as statements on measurements, each with the paper's own numbers, and its verdict at each scale.
The audit: numbers that follow from others of the paper's numbers, recomputed; what does not add up line by line, then,
a line for each column or sentence, what does.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd

from tada.report.judge import OF_AUDIT, Verdict, count_verdicts
from tada.report.judge.cells import fill
from tada.report.judge.noise import EXACT
from tada.report.judge.remarks import Order, order_of_rows, signs_of_differences
from tada.report.judge.sentences import Judged, Recomputed, judge_claims, papers_margin, recompute
from tada.report.judge.training import described
from tada.report.measure.results import DONE, PENDING, Line, Results, provenance
from tada.report.pages import EMPTY, ColumnHead, Grid, Notes, Page, Piece
from tada.report.pages.forest import forests, margin_text, points_text, power_text, statement_text
from tada.report.pages.markup import write_page
from tada.report.paper.printed import show
from tada.report.paper.sentences import AUDIT, CLAIMS, Audit, Claim, Claims, load_audit, load_claims
from tada.report.paper.tables import TABLES, Paper, load_table
from tada.runs.settings import Scale

CLAIMS_METHOD: tuple[Line, ...] = (
    *((str(verdict), verdict.meaning) for verdict in (Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED)),
    (
        "Intervals",
        "95% for each statement by itself, with the noise of the test videos, which networks share, and of training. "
        "With one seed the noise of training is known from other networks, or assumed; the lines below say from where.",
    ),
    (
        "Decisions",
        "all claims of a scale are decided together (Holm's procedure), so any of them is wrong with a probability "
        "of 5% at most. Of many claims that are idle some intervals lie beside zero by chance, so more is asked of "
        "each: a claim whose interval is beside zero can be undecided, and then the page says what it would be alone. "
        "The points that could have been told are the true margin that would have been decided in four of five "
        "repetitions.",
    ),
    (
        "Scales",
        "mini, gpu and paper scale are apart: mini and gpu say whether an order of networks shows in a controlled "
        "setting, of small networks and of the paper's.",
    ),
    (
        "By construction",
        "how networks start and what they cost follows from how they are built and counted, at full size and the same "
        "at all scales. No training can change such a verdict, so these claims are counted apart: an equal start "
        "tests this suite, and costs test the paper's arithmetic.",
    ),
)


ANY_SCALE = "any"
"""The scale, in the data, of claims that no training can change."""


OF_CLAIMS = tuple(scale for scale in Scale if scale.trains and scale.of_paper)
"""The scales at which the paper's networks are trained."""


CLAIMED = {
    Verdict.HOLDS: "hold",
    Verdict.FAILS: "fail",
    Verdict.UNDECIDED: "are undecided (inside the noise)",
    Verdict.FAILED: "need runs that failed",
    Verdict.PENDING: "need runs that are not there yet",
    Verdict.ELSEWHERE: "mean something at paper scale only",
}


AUDITED = {
    Verdict.ADDS_UP: "add up",
    Verdict.DIFFERS: "differ",
    Verdict.ROUNDING: "differ by rounding",
    Verdict.UNCHECKED: "cannot be checked",
}
"""`CLAIMED` and `AUDITED` are the words in which their verdicts are counted, in this order."""


CLAIMS_COLUMNS = (
    *("claim", "place", "scale", "verdict", "statement", "statement_verdict", "papers_margin", "margin", "low", "high"),
    *("noise", "videos", "seeds", "freedom", "detectable", "words"),
)


def build_claims(scale: Scale, seeds: int, results: Path, out: Path, *, spec: Path = CLAIMS) -> list[str]:
    """Write `<out>/claims.md`, `.tex`, `.html` and `.csv` from what is under `results`, of all scales.

    Args:
        scale: the scale whose missing runs are returned; the page has it, and all others that have a run.
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
    available = of_scales(claims, Results(results, scale, seeds))
    judged = {name: judge_claims(claims, found) for name, found in available.items()}
    write_page(claims_page(claims, judged, available, paper), out)
    return list(dict.fromkeys(str(problem) for one in judged.get(scale, ()) for problem in one.problems))


def of_scales(claims: Claims, asked: Results) -> dict[Scale, Results]:
    """The results of the scale that is asked for, and of each other at which a run that the claims need is there.

    Claims are of networks that are trained: checkpoints of the authors stand for none, so mini takes their place.
    """
    own = asked.scale if asked.scale in OF_CLAIMS else Scale.MINI
    found = {one: replace(asked, scale=one) for one in OF_CLAIMS}
    return {
        one: results
        for one, results in found.items()
        if one == own or any(run.status != PENDING for run in results.all_runs(claims.runs))
    }


def build_audit(out: Path, *, spec: Path = AUDIT, tables: Path = TABLES) -> list[Recomputed]:
    """Write `<out>/audit.md`, `.tex`, `.html` and `.csv` from the specs of the tables alone.

    Returns:
        The findings that do not add up.

    Raises:
        TadaError: a faulty spec, or one that names a number which the paper does not print.
    """
    paper = Paper(tables)
    audit = load_audit(spec, paper)
    findings = recompute(audit, paper)
    write_page(audit_page(audit, findings), out)
    return [finding for finding in findings if finding.verdict == Verdict.DIFFERS]


def claims_page(
    claims: Claims, judged: Mapping[Scale, Sequence[Judged]], available: Mapping[Scale, Results], paper: Paper
) -> Page:
    """The page of the claims: each with the paper's own numbers, and its verdict by the results of each scale."""
    lines: list[tuple[Piece, ...]] = []
    rules: set[int] = set()
    notes: list[str] = []
    sections = [claim.place.split(",")[0] for claim in claims.claims]
    for number, (claim, *found) in enumerate(zip(claims.claims, *judged.values(), strict=True)):
        if number and sections[number] != sections[number - 1]:
            rules.add(number)
        notes.append(_note(claim, dict(zip(judged, found, strict=True)), paper))
        own = [margin for statement in claim.holds if (margin := papers_margin(statement, paper)) is not None]
        least = min((margin.value for margin in own), default=None) if len(own) == len(claim.holds) else None
        pieces = [Piece(claim.says, note=number + 1), Piece(claim.place)]
        pieces.append(Piece(EMPTY if least is None else points_text(float(least), claim.holds[0])))
        for one in found:
            pieces += [Piece(margin_text(one.weakest) if one.weakest else ""), Piece(one.said)]
        lines.append(tuple(pieces))
    heads = [ColumnHead("Claim", left=True), ColumnHead("Place", left=True), ColumnHead("paper's own margin")]
    for name in judged:
        heads += [ColumnHead("margin", over=f"{name} scale"), ColumnHead("verdict", over=f"{name} scale", left=True)]
    counted = [f"At {name} scale: {count_trained(found)}." for name, found in judged.items() if _any_trained(found)]
    counted += [f"By construction: {text}." for text in {count_built(found) for found in judged.values()} if text]
    if missing := [str(scale) for scale in OF_CLAIMS if scale not in judged]:
        counted.append(f"There are no runs yet at {' and '.join(missing)} scale.")
    orders, remarks = _orders(claims, available)
    return Page(
        name="claims",
        title=claims.title,
        caption=" ".join([claims.caption, *counted]),
        place=claims.place,
        grid=Grid(tuple(heads), tuple(lines), frozenset(rules)),
        notes=tuple(notes),
        orders=tuple(orders),
        remarks=tuple(remarks),
        forests=tuple(forests(judged, paper)),
        footer=(
            *CLAIMS_METHOD,
            *_sources(judged),
            *(("Not judged", f"{one.words} ({one.place}). {one.why}") for one in claims.unjudged),
            *_about(claims, available),
        ),
        data=claims_data(judged, paper),
    )


def count_trained(judged: Iterable[Judged]) -> str:
    """Verdicts of the claims on trained networks, e.g. "12 hold, 3 fail"; empty without any."""
    return _counted(one for one in judged if one.claim.runs)


def count_built(judged: Iterable[Judged]) -> str:
    """Verdicts of the claims that follow from how networks are built and counted; empty without any."""
    return _counted(one for one in judged if not one.claim.runs)


def _counted(judged: Iterable[Judged]) -> str:
    return count_verdicts((one.verdict for one in judged), CLAIMED)


def _any_trained(judged: Sequence[Judged]) -> bool:
    """Whether any verdict hangs on runs of this scale."""
    return any(one.claim.runs and one.margins for one in judged)


def _sources(judged: Mapping[Scale, Sequence[Judged]]) -> list[Line]:
    """Where the noise of training is from, at each scale."""
    lines = []
    for scale, found in judged.items():
        noisy = [m.estimate.source for one in found for m in one.margins if m.estimate.noise != EXACT]
        lines += [(f"Training, {scale}", text) for text in described(noisy) if text]
    return lines


def _about(claims: Claims, available: Mapping[Scale, Results]) -> list[Line]:
    """Data, cost and code of the runs of each scale that has any."""
    lines: list[Line] = []
    for name, results in available.items():
        runs = results.all_runs(claims.runs)
        if any(run.status == DONE for run in runs):
            lines += [(f"{label}, {name}", text) for label, text in provenance(runs, results)]
    return lines


def _orders(claims: Claims, available: Mapping[Scale, Results]) -> tuple[list[Order], list[str]]:
    """How the rows of the tables that the spec names stand, at each scale that has runs, and what else to say of it."""
    orders: list[Order] = []
    remarks: list[str] = []
    for name in claims.correlations:
        table = load_table(name)
        before = len(orders)
        for scale, results in available.items():
            cells = fill(table, results)
            at = f"{table.title}, {scale} scale"
            orders += [replace(one, column=f"{at}: {one.column}") for one in order_of_rows(table, cells, scale)]
            remarks += [f"{at}: {text}" for text in signs_of_differences(table, cells)]
        if len(orders) == before:
            remarks.append(f"{table.title}: no row is measured yet.")
    return orders, remarks


def _note(claim: Claim, judged: Mapping[Scale, Judged], paper: Paper) -> str:
    """The paper's words, and each statement with its margins; those that no training can change stand once."""
    by_name = {str(scale) if scale.renders else f"{scale} scale": one for scale, one in judged.items()}
    if not claim.runs:
        by_name = {"here": next(iter(judged.values()))}
    parts = [claim.words]
    for number, statement in enumerate(claim.holds):
        margins = {name: one.margins[number] for name, one in by_name.items() if one.margins}
        parts.append(statement_text(statement, paper, margins))
    text = ". ".join([parts[0], "; ".join(parts[1:])]) + "."
    power = [f"at {scale} scale {power_text(one)}" for scale, one in judged.items() if power_text(one)]
    return " ".join([text, *(f"Undecided {one}." for one in power), claim.note]).strip()


def claims_counted(trained: Sequence[str], built: Sequence[str], margins: Iterable[float]) -> str:
    """How many claims have which verdict, in sentences.

    Args:
        trained: verdicts of the claims on trained networks.
        built: of those that no training can change.
        margins: in points, from which on each of the undecided would have been decided.
    """
    text = all_counted("sentences of the paper as statements on trained networks", trained, CLAIMED)
    if known := [margin for margin in margins if 0 < margin < math.inf]:
        text += f" Undecided ones would have been told with a margin of {show(median(known), 1)} points (median)."
    if built:
        about = "on how networks start and what they cost, which no training can change"
        text += f" {all_counted(about, built, CLAIMED)}"
    return text


def all_counted(what: str, verdicts: Sequence[str], words: Mapping[Verdict, str]) -> str:
    """How many of all `what` have which verdict, as a sentence."""
    return f"Of {len(verdicts)} {what}, {count_verdicts(verdicts, words)}." if verdicts else f"There are no {what}."


def claims_data(judged: Mapping[Scale, Sequence[Judged]], paper: Paper) -> pd.DataFrame:
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
                        "scale": scale if one.claim.runs else ANY_SCALE,
                        "verdict": one.verdict,
                        "statement": statement.comparison.text,
                        "statement_verdict": margin.alone if margin else "",
                        "papers_margin": None if own is None else f"{float(own.value):.10g}",
                        "margin": estimate and f"{estimate.value:.10g}",
                        "low": estimate and f"{estimate.low:.10g}",
                        "high": estimate and f"{estimate.high:.10g}",
                        "noise": estimate.noise if estimate else "",
                        "videos": estimate.videos if estimate else "",
                        "seeds": estimate.seeds if estimate else "",
                        "freedom": f"{estimate.freedom:.4g}" if estimate and estimate.error else "",
                        "detectable": f"{one.detectable:.4g}" if one.detectable else "",
                        "words": one.claim.words,
                    }
                )
    frame = pd.DataFrame(lines, columns=CLAIMS_COLUMNS)
    return frame[~((frame["scale"] == ANY_SCALE) & frame.duplicated(["claim", "statement"]))]


def audit_page(audit: Audit, findings: Sequence[Recomputed]) -> Page:
    """What does not add up line by line, then, a line for each column or sentence, what does."""
    summary = count_verdicts((finding.verdict for finding in findings), AUDITED)
    lines: list[tuple[Piece, ...]] = []
    rules: set[int] = set()
    notes = Notes()
    previous = None
    for finding in _merged(findings):
        if previous not in (None, finding.verdict):
            rules.add(len(lines))
        previous = finding.verdict
        what = Piece(finding.words, note=notes.number(finding.note))
        numbers = (finding.printed, finding.recomputed, finding.difference)
        lines.append((Piece(finding.verdict), Piece(finding.place), what, *map(Piece, numbers)))
    heads = ("verdict", "Place", "What", "printed", "recomputed", "diff.")
    sources = [
        ("Given", f"{name.replace('-', ' ')}, {value:,}: {source}") for name, (value, source) in audit.known.items()
    ]
    return Page(
        name="audit",
        title=audit.title,
        caption=f"{audit.caption} {len(findings)} numbers and statements{f': {summary}' if summary else ''}.",
        place=audit.place,
        grid=Grid(tuple(ColumnHead(text, left=True) for text in heads), tuple(lines), frozenset(rules)),
        notes=notes.texts,
        footer=(*((str(verdict), verdict.meaning) for verdict in OF_AUDIT), *sources),
        data=audit_data(findings),
    )


def _merged(findings: Sequence[Recomputed]) -> list[Recomputed]:
    """The findings that add up, those of one column or sentence as one."""
    merged: dict[tuple[str, str], list[Recomputed]] = {}
    lines = [finding for finding in findings if finding.verdict != Verdict.ADDS_UP]
    for finding in findings:
        if finding.verdict == Verdict.ADDS_UP:
            merged.setdefault((finding.place, finding.group or finding.id), []).append(finding)
    for (_, group), members in merged.items():
        first = members[0]
        if len(members) == 1:
            lines.append(first)
            continue
        total = sum(one.place == first.place and one.group == group for one in findings)
        counted = f"{len(members)} of {total}"
        lines.append(Recomputed(first.id, first.place, group, counted, "", "", "", Verdict.ADDS_UP, "", group))
    return lines


def audit_data(findings: Sequence[Recomputed]) -> pd.DataFrame:
    """One line for each number or statement; numbers as programs read them, with a hyphen for minus."""
    columns = [name for name in Recomputed.__dataclass_fields__ if name != "group"]
    frame = pd.DataFrame([{name: getattr(finding, name) for name in columns} for finding in findings], columns=columns)
    for name in ("printed", "recomputed", "difference"):
        frame[name] = frame[name].str.replace("−", "-").str.replace(r"(?<=\d),(?=\d{3})", "", regex=True)
    return frame
