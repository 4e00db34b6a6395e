"""A page in the languages that it is written in: Markdown and HTML, LaTeX (`latex.py`), and its numbers as CSV.

The HTML needs no other file and is readable in a browser and inside Snakemake's report; how it looks stands in
`templates/`, and here is what the templates ask for.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from tabulate import tabulate

from tada.base.files import remove_leftovers, write_text
from tada.report.judge import OF_CLAIMS, Verdict, counts_of
from tada.report.judge.remarks import Compared, Order, Pair
from tada.report.measure.results import Line
from tada.report.pages import ColumnHead, Forest, Grid, Page, Piece, turned_pairs
from tada.report.pages.latex import to_latex
from tada.report.paper.printed import show

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def to_markdown(page: Page, folder: Path) -> str:
    """The whole page; links are relative to `folder`, where it will lie."""
    parts = [f"# {page.heading}", _escaped(page.about), _table(page.grid)]
    if page.notes:
        parts.append("\n".join(f"{_raised(n)} {_escaped(note)}  " for n, note in enumerate(page.notes, start=1)))
    if page.orders or page.remarks:
        parts.append("**Order of rows**")
    for order in page.orders:
        parts.append(_escaped(f"{order.counted} {order.counted_turned}:" if order.turned else order.counted))
        if order.turned:
            parts.append(_table(turned_pairs(order)))
    if page.remarks:
        parts.append("\n".join(f"- {_escaped(sentence)}" for sentence in page.remarks))
    if page.footer:
        parts.append("\n".join(f"- **{label}**: {_escaped(text)}" for label, text in page.footer))
    targets = {
        _marked(p): os.path.relpath(p.link, folder) for line in page.grid.lines for p in line if p.link is not None
    }
    if targets:  # by reference, so that a link does not widen its column
        parts.append("\n".join(f"{name}: {target}" for name, target in targets.items()))
    return "\n\n".join(parts) + "\n"


def _table(grid: Grid) -> str:
    return tabulate(
        [[_marked(piece) for piece in line] for line in grid.lines],
        headers=[_heading(grid.heads, place) for place in range(len(grid.heads))],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if head.left else "right" for head in grid.heads],
    )


def _heading(heads: tuple[ColumnHead, ...], place: int) -> str:
    """Markdown has one line of headings: a shared heading stands at the first of its columns, before a colon."""
    head, before = heads[place], heads[place - 1] if place else None
    own = [head.sub] if head.sub else [head.header]
    if head.sub == "paper":
        own.insert(0, head.header)
    if head.over and (before is None or head.over != before.over):
        own.insert(0, head.over)
    return _escaped(": ".join(own))


def _marked(piece: Piece) -> str:
    text = _escaped(piece.text) + (_raised(piece.note) if piece.note else "")
    return f"[{text}]" if piece.link is not None else text


def _raised(number: int) -> str:
    return str(number).translate(_RAISED)


def _escaped(text: str) -> str:
    """No sign of the text does anything: no emphasis, code, link, picture or HTML."""
    for sign in ("\\", "|", "*", "_", "<", "`"):
        text = text.replace(sign, f"\\{sign}")
    text = re.sub(r"\](?=[(\[:])", r"\]", text)  # brackets alone are no link, and intervals stay readable
    return re.sub(r"&(?=#?\w+;)", "&amp;", text)


@dataclass(frozen=True)
class _Heading:
    """A heading over `span` columns (0: its own column alone)."""

    text: str
    classes: str
    span: int = 0


def to_html(page: Page) -> str:
    """The whole page."""
    return render("page", page=page)


def render(template: str, **values: Any) -> str:
    """The template `templates/<template>.html.j2` filled in; every text is escaped."""
    return _ENVIRONMENT.get_template(f"{template}.html.j2").render(**values)


def _heading_rows(heads: Sequence[ColumnHead]) -> list[list[_Heading]]:
    """One to three lines of headings, those shared by neighbours over all of them."""
    rows = []
    if any(head.over for head in heads):
        rows.append(_shared(head.over for head in heads))
    if any(head.sub for head in heads):
        rows.append(_shared(head.header if head.sub else "" for head in heads))
    rows.append([_Heading(head.sub or head.header, "left" if head.left else "") for head in heads])
    return rows


def _shared(texts: Iterable[str]) -> list[_Heading]:
    return [_Heading(text, "shared", len(list(group))) for text, group in groupby(texts)]


def _classes(cell: tuple[Piece, ColumnHead]) -> str:
    """How a cell stands, which colour it has, and whether it needs half of a narrow screen's line, or all of it."""
    piece, head = cell
    said = (verdict for verdict in Verdict if f"{piece.text} ".startswith(f"{verdict} "))
    colour = next((verdict.colour for verdict in said), "")  # the word stays, so nobody depends on the colours
    wide = "wide" if len(piece.text) > _HALF else "half" if len(piece.text) > _QUARTER else ""
    return " ".join(name for name in ("left" if head.left else "", colour, wide) if name)


_QUARTER, _HALF = 10, 24
"""Signs for which a quarter, or half, of a narrow screen has room."""


def _tint(verdict: Verdict) -> str:
    """The class of a verdict's colour; one that judges nothing has a colour of its own, too, in grids."""
    return verdict.colour or "plain"


def _bodies(grid: Grid) -> list[list[tuple[bool, tuple[Piece, ...]]]]:
    """The lines, each with whether a rule stands above it; those that stay together in one part."""
    bodies: list[list[tuple[bool, tuple[Piece, ...]]]] = [[]]
    for number, line in enumerate(grid.lines):
        if grid.stacked and number in grid.rules:
            bodies.append([])
        bodies[-1].append((number in grid.rules, line))
    return bodies


def _label(head: ColumnHead) -> str:
    """A column's whole heading on one line, beside its cells on a narrow screen."""
    return " ".join(filter(None, (head.over, head.header, head.sub)))


def _verdicts(forest: Forest) -> dict[Verdict, int]:
    """Which verdicts there are, and how many of each."""
    return counts_of((line.verdict for line in forest.lines), OF_CLAIMS)


def _pairs_of(order: Order, worse: Compared) -> list[Pair | None]:
    """The pairs of a row with each one above it in the paper; None where the paper gives both the same number."""
    above = order.rows[: order.rows.index(worse)]
    found = {pair.better.row: pair for pair in order.pairs if pair.worse.row == worse.row}
    return [found.get(better.row) for better in above]


def _about_pair(pair: Pair) -> str:
    return _lines([("paper", show(pair.reported, 1, signed=True)), ("here", pair.margin), ("verdict", pair.said)])


def _lines(lines: Iterable[Line]) -> str:
    """Lines as the script reads them: a label, a tabulator and a text in each."""
    return "\n".join(f"{label}\t{' '.join(text.split())}" for label, text in lines)


_ENVIRONMENT = Environment(
    loader=PackageLoader("tada.report.pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


_ENVIRONMENT.filters |= {"headings": _heading_rows, "classes": _classes, "tint": _tint, "bodies": _bodies}
_ENVIRONMENT.filters |= {"label": _label, "verdicts": _verdicts, "pairs_of": _pairs_of, "pair_lines": _about_pair}
_ENVIRONMENT.filters |= {"lines": _lines, "turned": turned_pairs, "signed": partial(show, decimals=0, signed=True)}


def write_page(page: Page, out: Path) -> None:
    """Write `<out>/<name>.md`, `.tex`, `.html` and `.csv`."""
    remove_leftovers(out)
    write_text(out / f"{page.name}.md", to_markdown(page, out))
    write_text(out / f"{page.name}.tex", to_latex(page))
    write_text(out / f"{page.name}.html", to_html(page))
    write_text(out / f"{page.name}.csv", page.data.to_csv(index=False))
