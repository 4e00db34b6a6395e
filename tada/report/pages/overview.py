"""The front page: what was reproduced, at which scale, with which verdicts and at what cost, and all of it below."""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tada.base.files import write_text
from tada.report.judge import OF_CELLS, Verdict
from tada.report.judge.cells import Filled, Key, fill
from tada.report.judge.sentences import Judged, Recomputed, judge_claims, recompute
from tada.report.measure.results import SCALE_MEANINGS, Line, Results, provenance
from tada.report.pages import ColumnHead, Grid, Page, Piece
from tada.report.pages.markup import render
from tada.report.pages.sentences import audit_page, claims_page, told_from
from tada.report.pages.settings import settings_page
from tada.report.pages.tables import table_at, table_page
from tada.report.paper import PaperAbout, about_paper, pages
from tada.report.paper.figures import Figure, figure_names, load_figure
from tada.report.paper.sentences import AUDIT, load_audit, load_claims
from tada.report.paper.tables import Paper, Table, table_names
from tada.runs.settings import Scale


@dataclass(frozen=True)
class Picture:
    """A figure's SVG in base64, and what stands below it."""

    name: str
    title: str
    caption: str
    data: str


@dataclass(frozen=True)
class Sentences:
    """How many sentences have which verdict, and a list of those that the reader should see first."""

    counted: str
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """The front page as a value; `pages` are those below it, each with the line that opens it."""

    paper: PaperAbout
    scale: str
    places: tuple[tuple[str, str], ...]
    numbers: Grid
    meanings: tuple[Line, ...]
    sentences: tuple[Sentences, ...]
    cost: tuple[Line, ...]
    pictures: tuple[Picture, ...]
    pages: tuple[tuple[str, Page], ...]


def build_overview(scale: Scale, seeds: int, results: Path, figures: Path, out: Path) -> None:
    """Write the page `out`, which holds everything, so that it can be sent by itself and read offline.

    Args:
        scale: whose runs are shown.
        seeds: runs shown of each (dataset, model).
        results: the folder `results`, of which all tables and sentences are made anew.
        figures: folder of the figures' pictures; one that is not there is left out.
        out: the file to write.
    """
    write_text(out, render("overview", overview=overview(scale, seeds, results, figures)))


def overview(scale: Scale, seeds: int, results: Path, figures: Path) -> Overview:
    """The front page; arguments as of `build_overview`."""
    here = Results(results, scale, seeds)
    tables = [table_at(scale, name) for name in table_names()]
    drawn = [load_figure(name) for name in figure_names()]
    cells = {table.name: fill(table, here) for table in tables}
    paper, claims = Paper(), load_claims()
    available = {one: Results(results, one, seeds) for one in Scale if one.trains and one.of_paper}
    judged = {name: judge_claims(claims, found) for name, found in available.items()}
    audit = load_audit(AUDIT, paper)
    findings = recompute(audit, paper)
    numbers, shown = _numbers(tables, cells)
    runs = here.all_runs(claims.runs.union(*(one.runs for one in [*tables, *drawn])))
    return Overview(
        paper=about_paper(),
        scale=SCALE_MEANINGS[here.scale],
        places=_places(drawn),
        numbers=numbers,
        meanings=tuple((verdict.value, verdict.meaning) for verdict in shown),
        sentences=tuple(
            counted
            for name, counted in (("claims", count_claims(judged.get(here.scale, ()))), ("audit", _audit(findings)))
            if name in pages()
        ),
        cost=tuple(_cost(provenance(runs, here))),
        pictures=tuple(_picture(figure, path) for figure in drawn if (path := figures / f"{figure.name}.svg").exists()),
        pages=(
            *((f"{table.title}, {table.place}", table_page(table, cells[table.name], here)) for table in tables),
            *([("Claims", claims_page(claims, judged, available, paper))] if "claims" in pages() else []),
            *([("Audit", audit_page(audit, findings))] if "audit" in pages() else []),
            ("Settings", settings_page()),
        ),
    )


def _places(figures: Sequence[Figure]) -> tuple[tuple[str, str], ...]:
    """Where one can go from the top of the page."""
    pictures = [(figure.name, figure.title) for figure in figures]
    first = [("sentences", "Sentences"), ("figures", "Figures")]
    last = [(name, name.capitalize()) for name in ("claims", "audit", "settings") if name in pages()]
    return (*first, *pictures, ("tables", "Tables"), *last)


def _numbers(tables: Sequence[Table], cells: Mapping[str, Mapping[Key, Filled]]) -> tuple[Grid, list[Verdict]]:
    """How many cells of each table have which verdict, and which verdicts there are."""
    found = {t.title: Counter(cell.verdict for cell in cells[t.name].values() if cell.verdict) for t in tables}
    shown = [verdict for verdict in OF_CELLS if any(counts[verdict] for counts in found.values())]
    lines = [
        tuple(map(Piece, (title, str(counts.total()), *(str(counts[verdict] or "") for verdict in shown))))
        for title, counts in {**found, "all": sum(found.values(), Counter())}.items()
    ]
    heads = (ColumnHead("", left=True), ColumnHead("numbers"), *(ColumnHead(verdict) for verdict in shown))
    return Grid(heads, tuple(lines), frozenset([len(lines) - 1])), shown


def count_claims(judged: Sequence[Judged]) -> Sentences:
    """How many claims hold, those that no training can change apart, and which do not."""
    trained = [one for one in judged if one.claim.runs]
    built = [one for one in judged if not one.claim.runs]
    counted = f"Of {len(trained)} claims on trained networks, {_counted(one.verdict for one in trained)}."
    counted += told_from(one.detectable for one in trained if one.verdict == Verdict.UNDECIDED)
    if built:
        counted += f" Of {len(built)} that follow from how networks are built and counted, whatever is trained, "
        counted += f"{_counted(one.verdict for one in built)}."
    return Sentences(counted, "Not so here", tuple(one.claim.says for one in judged if one.verdict == Verdict.FAILS))


def _audit(findings: Sequence[Recomputed]) -> Sentences:
    counted = (
        f"Of {len(findings)} numbers and statements that follow from others of the paper's numbers, "
        f"{_counted(finding.verdict for finding in findings)}."
    )
    differ: dict[str, Recomputed] = {}
    for finding in findings:
        if finding.verdict == Verdict.DIFFERS:
            differ.setdefault(finding.words, finding)
    return Sentences(counted, "What differs", tuple(f"{one.words} ({one.place})" for one in differ.values()))


def _counted(verdicts: Iterable[Verdict]) -> str:
    return ", ".join(f"{count} “{verdict}”" for verdict, count in Counter(verdicts).most_common())


def _cost(lines: Iterable[Line]) -> Iterable[Line]:
    """Of the provenance of all runs, what is not said at the top, and the time without that of each network."""
    return ((label, text.partition(":")[0] if label == "Time" else text) for label, text in lines if label != "Scale")


def _picture(figure: Figure, path: Path) -> Picture:
    data = base64.b64encode(path.read_bytes()).decode()
    reading = f" Reading: {figure.reading}" if figure.reading else ""
    return Picture(figure.name, figure.title, f"{figure.title}. {figure.caption} ({figure.place}){reading}", data)
