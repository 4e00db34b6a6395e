"""A sheet as an HTML page that needs no other file: readable in a browser, on a phone and inside Snakemake's report."""

from html import escape
from itertools import groupby

from tada.report.judge import Verdict
from tada.report.pages.sheet import Head, Piece, Sheet

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 1.2rem; }
h1 { font-size: 1.35rem; margin: 0 0 .4rem; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
p { max-width: 62rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .55rem; text-align: right; vertical-align: top; }
td { white-space: nowrap; }
th.left, td.left { text-align: left; white-space: normal; text-wrap: balance; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
thead th { border-bottom: 1px solid #777; font-weight: 600; }
thead th.shared { text-align: center; }
tbody tr.rule td { border-top: 1px solid #bbb; }
td.good { background: #d9ecf7; } td.bad { background: #fbdfcf; } td.open { background: #f0f0f0; }
ol.notes, dl, ul { font-size: .85rem; color: #333; max-width: 62rem; padding-left: 1.4rem; }
dl { padding-left: 0; } dt { font-weight: 600; } dd { margin: 0 0 .35rem; }
sup a { color: inherit; text-decoration: none; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figure img { width: 44rem; } figcaption { font-size: .87rem; max-width: 62rem; }
nav a { margin-right: .8rem; white-space: nowrap; }
details { border-top: 1px solid #ddd; padding: .3rem 0; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 600px) { body { margin: .6rem; font-size: 14px; } th, td { padding: .18rem .35rem; }
  td:first-child { max-width: 8rem; } }
"""


def page(title: str, *parts: str) -> str:
    """A whole page around parts in HTML."""
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join(part for part in parts if part)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def to_html(sheet: Sheet) -> str:
    """The whole page."""
    title = f"{sheet.title}, {sheet.scale} scale" if sheet.scale else sheet.title
    notes = "".join(
        f'<li id="{sheet.name}-note{number}">{escape(note)}</li>' for number, note in enumerate(sheet.notes, start=1)
    )
    order = "".join(f"<li>{escape(sentence)}</li>" for sentence in sheet.order)
    footer = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in sheet.footer)
    return page(
        title,
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(sheet.caption)} ({escape(sheet.place)})</p>",
        table(sheet),
        notes and f'<ol class="notes">{notes}</ol>',
        order and f"<h2>Order of rows</h2><ul>{order}</ul>",
        footer and f"<dl>{footer}</dl>",
    )


def table(sheet: Sheet) -> str:
    """The table alone; a wide one scrolls within its frame."""
    lines = [_line(sheet, number) for number in range(len(sheet.lines))]
    head, body = _heading(sheet.heads), "\n".join(lines)
    return f'<div class="scroll"><table><thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _heading(heads: tuple[Head, ...]) -> str:
    """One to three lines of headings, those shared by neighbours over all of them."""
    rows = []
    if any(head.over for head in heads):
        rows.append(_shared([head.over for head in heads]))
    if any(head.sub for head in heads):
        rows.append(_shared([head.header if head.sub else "" for head in heads]))
    rows.append("".join(_cell("th", escape(head.sub or head.header), head.left) for head in heads))
    return "".join(f"<tr>{row}</tr>" for row in rows)


def _shared(texts: list[str]) -> str:
    spans = ((text, len(list(group))) for text, group in groupby(texts))
    return "".join(f'<th class="shared" colspan="{width}">{escape(text)}</th>' for text, width in spans)


def _line(sheet: Sheet, number: int) -> str:
    cells = [_piece(piece, head, sheet.name) for piece, head in zip(sheet.lines[number], sheet.heads, strict=True)]
    rule = ' class="rule"' if number in sheet.rules else ""
    return f"<tr{rule}>{''.join(cells)}</tr>"


def _piece(piece: Piece, head: Head, name: str) -> str:
    text = escape(piece.text)
    if piece.note:
        text += f'<sup><a href="#{name}-note{piece.note}">{piece.note}</a></sup>'
    said = (verdict for verdict in Verdict if f"{piece.text} ".startswith(f"{verdict} "))
    kind = next((verdict.colour for verdict in said), "")  # the word stays, so nobody depends on the colours
    return _cell("td", text, head.left, kind)


def _cell(tag: str, content: str, left: bool, kind: str = "") -> str:
    classes = " ".join(name for name in ("left" if left else "", kind) if name)
    return f'<{tag} class="{classes}">{content}</{tag}>' if classes else f"<{tag}>{content}</{tag}>"
