r"""A page as LaTeX, for an appendix: `\input` it into any document that loads the packages it names.

Tables are never shrunk: the print is that of footnotes. What is too wide for a line gives its long texts several lines,
then the page is turned, then the columns are split into parts that each begin with the columns that name the lines.
How wide a text is, is known roughly, from the widths of signs in Computer Modern. A line has to be as long as in
LaTeX's own class `article`; a longer one is filled.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from tada.report.pages import ColumnHead, Grid, Page, Piece, turned_pairs

PACKAGES = ("array", "longtable", "lscape")
"""Part of every LaTeX. Where a document loads booktabs as well, it draws the rules."""


UPRIGHT, TURNED = 345.0, 550.0
"""Points that a line of the class `article` has on an upright and on a turned page."""


GAP = 6.0
"""Points between two columns."""


LONG = 64.0
"""Points from which on a text may have several lines."""


FEW = 5
"""Lines of a text beyond which a table is set on a turned page, where lines are longer."""


_WIDTHS = {
    **dict.fromkeys("ijlf.,:;'!| ", 2.9),
    **dict.fromkeys("rstI()[]-", 3.4),
    **dict.fromkeys("mwMWGOQ%+=<>×±−≤≥∼“”", 7.2),
}
"""Points of signs in footnotes' print that are narrower or wider than most."""


_CUTS = re.compile(r"(?<=\S{12}[/_+=&,;.-])(?=\S{6})")
"""Where a long word, such as a path, may be broken."""


_TOGETHER = re.compile(r" (?=\[[^]]*\]$)|(?<=\d,) (?=[^ ]*\]$)|(?:(?<=Table)|(?<=Figure)|(?<=Section)) (?=[A-F\d])")
"""Spaces at which no line ends: those of a number with its interval, and of a place in the paper."""


_RULES = r"""
\providecommand{\toprule}{\hline\noalign{\vskip 2pt}}%
\providecommand{\midrule}{\noalign{\vskip 2pt}\hline\noalign{\vskip 2pt}}%
\providecommand{\bottomrule}{\noalign{\vskip 2pt}\hline}%
\providecommand{\addlinespace}{\noalign{\vskip 3pt}}\ifdefined\cmidrule\else\def\cmidrule(#1)#2{\cline{#2}}\fi%
""".strip()
"""What booktabs defines, more plainly, for documents that do not load it."""


_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a line it would be an option of the line before
    "✗": r"$\times$",
    "✓": r"$\surd$",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "−": "$-$",
    "–": "--",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "∼": r"$\sim$",
    "“": "``",
    "”": "''",
    "⋆": r"$^\star$",
    "↑": r"$\uparrow$",
    "\u00a0": "~",
    "²": "$^2$",
    "³": "$^3$",
    "α": r"$\alpha$",
}


_OPENING = re.compile(r'(?<![^\s(\[])"(?=\S)')
"""A straight quotation mark that opens; others close, as LaTeX has them by itself."""


def escaped(text: str) -> str:
    """`text` with every sign that LaTeX would take for a command, or would not find in its fonts, written out."""
    return "".join(_SIGNS.get(sign, sign) for sign in _OPENING.sub("“", text))


@dataclass(frozen=True)
class _Column:
    """Points that a column's widest text takes in one line, and those that it needs if long texts have several."""

    natural: float
    least: float
    left: bool

    @property
    def long(self) -> bool:
        """Whether it may become narrower than its texts."""
        return self.least < self.natural


def to_latex(page: Page) -> str:
    """The table, its notes, what is said of the order of its rows, and its footer; all may be broken over pages."""
    title = page.title  # claims, audit and settings are no tables of the paper
    if title.startswith("Table "):
        title += f", reproduced at {page.source}" if page.source else ", reproduced"
    caption = rf"\caption{{{_words(f'{title}. {page.caption}')}}}\label{{tab:{page.name}}}\\"
    tables = [_table(grid, "" if number else caption) for number, grid in enumerate(_split(page.grid))]
    notes = [f"$^{{{number}}}$ {_words(note)}" for number, note in enumerate(page.notes, start=1)]
    below = [_paragraph(note) for note in notes]
    for order in page.orders:
        below.append(_paragraph(rf"\textbf{{Order of rows}}: {_words(order.counted)} {_words(order.counted_turned)}"))
        below += [_table(turned_pairs(order), "")] if order.turned else []
    below += [_paragraph(_words(text)) for text in page.remarks]
    below += [_paragraph(rf"\textbf{{{escaped(label)}}}: {_words(text)}") for label, text in page.footer]
    needs = f"% Needs the packages {', '.join(PACKAGES)}."
    return "\n".join([needs, _RULES, r"{\footnotesize\raggedright", *tables, *below, "}"]) + "\n"


def _paragraph(text: str) -> str:
    return rf"\noindent {text.strip()}\par"


def _table(grid: Grid, caption: str) -> str:
    """A longtable, on turned pages if it is too wide for upright ones."""
    columns = _columns(grid)
    turned = not _fits(columns, UPRIGHT, FEW)
    head = [r"\toprule", *_heading(grid.heads, columns), r"\midrule"]
    lines = [
        rf"\setlength{{\LTcapwidth}}{{\linewidth}}\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}%",
        rf"\begin{{longtable}}{{@{{}}{_alignment(columns, TURNED if turned else UPRIGHT)}@{{}}}}",
        *([caption] if caption else []),
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        *_body(grid, columns),
        r"\bottomrule",
        r"\end{longtable}" + ("" if caption else r"\addtocounter{table}{-1}"),
    ]
    return "\n".join([r"\begin{landscape}", *lines, r"\end{landscape}"] if turned else lines)


def _split(grid: Grid) -> list[Grid]:
    """The grid, or parts of it that a turned page holds; columns under a shared heading stay together.

    Each part begins with the columns before the first number.
    """
    columns = _columns(grid)
    named = next((place for place, column in enumerate(columns) if not column.left), 0)

    def fits(places: Sequence[int]) -> bool:
        return _fits([*columns[:named], *(columns[place] for place in places)], TURNED)

    parts: list[list[int]] = [[]]
    shared = [head.over or head.header for head in grid.heads]
    for _, places in groupby(range(named, len(columns)), lambda place: shared[place]):
        group = list(places)
        words = all(columns[place].left for place in group)  # may stand in any part
        part = next((part for part in (parts if words else parts[-1:]) if not part or fits([*part, *group])), None)
        if part is None:
            parts.append(group)
        else:
            part += group
    return [_part(grid, named, part) for part in parts] if len(parts) > 1 else [grid]


def _part(grid: Grid, named: int, places: Sequence[int]) -> Grid:
    """The first `named` columns and those at these places, of the lines that have a number there, if any has.

    What names a line that is left out names the next one, where that has no name of its own.
    """
    lines: list[tuple[Piece, ...]] = []
    rules: set[int] = set()
    above: list[Piece] = []
    asked = [place for place in places if not grid.heads[place].left] or places
    for number, line in enumerate(grid.lines):
        names = line[:named]
        if number in grid.rules:
            rules.add(len(lines))
        if names and names[0].text:
            above = []
        above = [new if new.text else old for new, old in zip_longest(names, above, fillvalue=Piece())]
        if any(line[place].text for place in asked):
            lines.append((*above, *(line[place] for place in places)))
            above = []
    heads = [grid.heads[place] for place in (*range(named), *places)]
    said = [place for place, head in enumerate(heads) if head.header or len({line[place].text for line in lines}) > 1]
    kept = tuple(tuple(line[place] for place in said) for line in lines)
    return Grid(tuple(heads[place] for place in said), kept, frozenset(rules - {0}), grid.stacked)


def _columns(grid: Grid) -> list[_Column]:
    return [_column(head, [line[place] for line in grid.lines]) for place, head in enumerate(grid.heads)]


def _column(head: ColumnHead, cells: Sequence[Piece]) -> _Column:
    """Notes' numbers count; the words of a column's own heading may stand one below the other."""
    texts = [piece.text + "1" * (piece.note > 0) for piece in cells]
    heading = max((_width(word) for word in (head.sub or head.header).split()), default=0.0)
    natural = max([heading, *map(_width, texts)])
    word = max([heading, *(_width(word) for text in texts for part in _parts(text) for word in part.split(" "))])
    return _Column(natural, max(word, min(natural, LONG)), head.left)


def _width(text: str) -> float:
    """Points that a text takes in footnotes' print, rather too many than too few."""
    return sum(_WIDTHS.get(sign, 6.5 if sign.isupper() or not sign.isascii() else 4.7) for sign in text)


def _fits(columns: Sequence[_Column], line: float, lines: float = math.inf) -> bool:
    """Whether a line of so many points holds the columns, if no text may have more than about so many lines."""
    least = sum(max(column.least, column.natural / lines if column.long else 0.0) for column in columns)
    return least + GAP * (len(columns) - 1) <= line


def _alignment(columns: Sequence[_Column], line: float) -> str:
    """Of each column, for a line of so many points; long texts share what the other columns leave of the line."""
    gaps = GAP * (len(columns) - 1)
    if sum(column.natural for column in columns) + gaps <= line:
        return "".join("l" if column.left else "r" for column in columns)
    taken = gaps + sum(column.natural for column in columns if not column.long)
    more = line - taken - sum(column.least for column in columns if column.long)
    wanted = sum(column.natural - column.least for column in columns)
    signs = []
    for column in columns:
        if not column.long:
            signs.append("l" if column.left else "r")
            continue
        width = column.least + more * (column.natural - column.least) / wanted
        share = math.floor(1000 * width / (line - taken)) / 1000
        side = r"\raggedright" if column.left else r"\raggedleft"
        size = rf"{share:g}\dimexpr\linewidth-{math.ceil(taken)}pt\relax"
        signs.append(rf">{{{side}\arraybackslash}}p{{{size}}}")
    return "".join(signs)


def _heading(heads: Sequence[ColumnHead], columns: Sequence[_Column]) -> list[str]:
    """One to three lines of headings, those shared by neighbours spanning them, with a thin line below."""
    lines = []
    if any(head.over for head in heads):
        lines += _spanning([head.over for head in heads])
    if any(head.sub for head in heads):
        lines += _spanning([head.header if head.sub else "" for head in heads])
    own = [_own(head.sub or head.header, column) for head, column in zip(heads, columns, strict=True)]
    return [*lines, " & ".join(own) + r" \\"]


def _own(text: str, column: _Column) -> str:
    """A column's own heading, its words one below the other where they would make the column wider."""
    if _width(text) <= column.natural:
        return escaped(text)
    side = "l" if column.left else "r"
    words = r" \\ ".join(map(escaped, text.split()))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{words}\end{{tabular}}"


def _spanning(texts: list[str]) -> list[str]:
    cells, rules, place = [], [], 1
    for text, group in groupby(texts):
        width = len(list(group))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(text)}}}")
        if text:
            rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
        place += width
    return [" & ".join(cells) + r" \\", " ".join(rules) + r"\noalign{\vskip 2pt}"]


def _body(grid: Grid, columns: Sequence[_Column]) -> list[str]:
    """The lines of a row that is stacked have space above them and stay on one page."""
    lines = []
    for number, line in enumerate(grid.lines):
        if number in grid.rules:
            lines.append(r"\addlinespace" if grid.stacked else _rule(len(columns)))
        cells = [_piece(piece, column) for piece, column in zip(line, columns, strict=True)]
        last = not grid.stacked or number + 1 in grid.rules or number + 1 == len(grid.lines)
        end = r"\\" if last else r"\\*"
        lines.append(f"{' & '.join(cells)} {end}")
    return lines


def _rule(columns: int) -> str:
    r"""A line between rows; LaTeX would draw a `\midrule` again below the headings of a page that begins after it."""
    return rf"\noalign{{\nobreak\vskip 2pt}}\cmidrule(){{1-{columns}}}\noalign{{\vskip 2pt}}"


def _piece(piece: Piece, column: _Column) -> str:
    text = _words(piece.text) if column.long else escaped(piece.text)
    return text + (f"$^{{{piece.note}}}$" if piece.note else "")


def _words(text: str) -> str:
    """A text of several lines: what has no spaces, as paths have none, may be broken all the same."""
    return r"\allowbreak ".join(escaped(part) for part in _parts(text))


def _parts(text: str) -> list[str]:
    """The text cut after slashes and the like in its longest words; places and numbers with intervals are one word."""
    return _CUTS.split(_TOGETHER.sub("\u00a0", text))
