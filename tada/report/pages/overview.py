"""The front page: all numbers, claims and differences with their verdicts, figures, tables and cost, in one file."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tada.base.files import write_text
from tada.report.judge import OF_AUDIT, OF_CELLS, OF_CLAIMS, Verdict, counts_of
from tada.report.judge.cells import fill
from tada.report.judge.sentences import Judged, Recomputed, judge_claims, recompute
from tada.report.measure.archive import is_archive
from tada.report.measure.results import DONE, SCALE_MEANINGS, Line, Results, of_earlier_recipes, provenance
from tada.report.pages import ColumnHead, Forest, Grid, Page, Piece
from tada.report.pages.forest import margin_text
from tada.report.pages.markup import render
from tada.report.pages.numbers import NumberBlock, number_blocks
from tada.report.pages.sentences import audit_page, claims_counted, claims_page, of_scales
from tada.report.pages.settings import settings_page
from tada.report.pages.tables import intervals_of, table_at, table_page
from tada.report.paper import PaperAbout, about_paper, pages
from tada.report.paper.figures import Figure, figure_names, load_figure
from tada.report.paper.sentences import AUDIT, load_audit, load_claims
from tada.report.paper.tables import Paper, table_names
from tada.report.plan import Wanted
from tada.runs.settings import Scale

FULL_WIDTH = 504.0
"""Points that the widest pictures are drawn for: seven inches."""


@dataclass(frozen=True)
class Picture:
    """A figure's SVG in base64, and what stands below it; `data` is empty of one that is not drawn yet.

    `share` is the part of a page's width that it is drawn for, so that letters are of one size in all figures.
    """

    name: str
    title: str
    caption: str
    data: str
    share: float = 1.0


@dataclass(frozen=True)
class Tally:
    """How many numbers or sentences have which verdict: `counts` are drawn, `text` says what they are of."""

    name: str
    title: str
    counts: Mapping[Verdict, int]
    text: str

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Listed:
    """Sentences that a reader should see first, as a table."""

    name: str
    title: str
    grid: Grid


@dataclass(frozen=True)
class Overview:
    """The front page as a value; `pages` are those below it, each with the line that opens it."""

    paper: PaperAbout
    scale: str
    notices: tuple[str, ...]
    tallies: tuple[Tally, ...]
    blocks: tuple[NumberBlock, ...]
    forest: Forest | None
    failing: Listed | None
    differing: Listed | None
    cost: tuple[Line, ...]
    pictures: tuple[Picture, ...]
    pages: tuple[tuple[str, Page], ...]


def build_overview(scale: Scale, seeds: int, results: Path, figures: Path, out: Path) -> None:
    """Write the page `out`, which holds everything, so that it can be sent by itself and read offline.

    Args:
        scale: whose runs are shown.
        seeds: runs shown of each (dataset, model).
        results: the folder `results` or a snapshot, of which all tables and sentences are made anew. A snapshot's runs
            count, too, that are of recipes which have changed since; the page says so.
        figures: folder of the figures' pictures; one that is not there is shown as pending.
        out: the file to write.
    """
    write_text(out, render("overview", overview=overview(scale, seeds, results, figures)))


def overview(scale: Scale, seeds: int, results: Path, figures: Path) -> Overview:
    """The front page; arguments as of `build_overview`."""
    here = Results(results, scale, seeds, earlier=is_archive(results))
    tables = [table_at(scale, name) for name in table_names()]
    drawn = [load_figure(name) for name in figure_names()]
    cells = {table.name: fill(table, here) for table in tables}
    paper, claims = Paper(), load_claims()
    available = of_scales(claims, here)
    judged = {name: judge_claims(claims, found) for name, found in available.items()}
    audit = load_audit(AUDIT, paper)
    findings = recompute(audit, paper)
    wanted = Wanted(tuple(tables), tuple(drawn), claims)
    runs = here.all_runs(wanted.runs)
    blocks = number_blocks(tables, cells, here, intervals_of(wanted.metrics, tables, here))
    of_claims = claims_page(claims, judged, available, paper) if "claims" in pages() else None
    of_audit = audit_page(audit, findings) if "audit" in pages() else None
    here_judged = judged.get(here.scale, ())
    forests = of_claims.forests if of_claims else ()
    return Overview(
        paper=about_paper(),
        scale=SCALE_MEANINGS[here.scale],
        notices=tuple(filter(None, [of_earlier_recipes(run.record for run in runs if run.status == DONE)])),
        tallies=tuple(tally for tally in (_numbers(blocks), _claims(here_judged), _audit(findings)) if tally.counts),
        blocks=tuple(blocks),
        forest=next((forest for forest in forests if forest.scale == here.scale), None),
        failing=failing_claims(here_judged),
        differing=_differing(findings),
        cost=tuple(_cost(provenance(runs, here))),
        pictures=tuple(_picture(figure, figures / f"{figure.name}.svg") for figure in drawn),
        pages=(
            *((f"{table.title}, {table.place}", table_page(table, cells[table.name], here)) for table in tables),
            *([("Claims", of_claims)] if of_claims else []),
            *([("Audit", of_audit)] if of_audit else []),
            ("Settings", settings_page()),
        ),
    )


def _numbers(blocks: Sequence[NumberBlock]) -> Tally:
    counts = counts_of((verdict for block in blocks for verdict in block.verdicts), OF_CELLS)
    return Tally("numbers", "numbers", counts, "of the paper's tables, each once")


def _claims(judged: Sequence[Judged]) -> Tally:
    return Tally("claims", "claims", counts_of((one.verdict for one in judged), OF_CLAIMS), count_claims(judged))


def count_claims(judged: Sequence[Judged]) -> str:
    """How many claims hold, those that no training can change apart."""
    trained, built = ([one for one in judged if bool(one.claim.runs) is runs] for runs in (True, False))
    margins = (one.detectable for one in trained if one.verdict == Verdict.UNDECIDED)
    return claims_counted([one.verdict for one in trained], [one.verdict for one in built], margins)


def failing_claims(judged: Sequence[Judged]) -> Listed | None:
    """The claims that do not hold here, by their margins; None if there is none."""
    lines = [
        (Piece(one.claim.says), Piece(one.claim.place), Piece(margin_text(one.weakest) if one.weakest else ""))
        for one in judged
        if one.verdict == Verdict.FAILS
    ]
    heads = (ColumnHead("Claim", left=True), ColumnHead("Place", left=True), ColumnHead("margin here"))
    return Listed("failing", f"Not so here: {len(lines)}", Grid(heads, tuple(lines))) if lines else None


def _audit(findings: Sequence[Recomputed]) -> Tally:
    text = "numbers and statements that follow from others of the paper's numbers, recomputed"
    return Tally("audit", "in the audit", counts_of((finding.verdict for finding in findings), OF_AUDIT), text)


def _differing(findings: Sequence[Recomputed]) -> Listed | None:
    """The findings that no rounding explains; None if there is none."""
    lines = [
        tuple(map(Piece, (one.words, one.place, one.printed, one.recomputed, one.difference)))
        for one in findings
        if one.verdict == Verdict.DIFFERS
    ]
    heads = tuple(ColumnHead(text, left=True) for text in ("What", "Place", "printed", "recomputed", "diff."))
    return Listed("differing", f"What differs: {len(lines)}", Grid(heads, tuple(lines))) if lines else None


def _cost(lines: Iterable[Line]) -> Iterable[Line]:
    """Of the provenance of all runs, what is not said at the top, and the time without that of each network."""
    return ((label, text.partition(":")[0] if label == "Time" else text) for label, text in lines if label != "Scale")


def _picture(figure: Figure, path: Path) -> Picture:
    content = path.read_bytes() if path.exists() else b""
    width = re.search(rb'<svg[^>]* width="([\d.]+)pt"', content)
    share = min(float(width[1]) / FULL_WIDTH, 1.0) if width else 1.0
    reading = f" Reading: {figure.reading}" if figure.reading else ""
    caption = f"{figure.caption} ({figure.place}){reading}"
    return Picture(figure.name, figure.title, caption, base64.b64encode(content).decode(), share)
