"""A page as LaTeX with booktabs; compiles as it is inside any document that loads the packages it names."""

from itertools import groupby

from tada.report.pages.page import Grid, Head, Page, Piece

PACKAGES = ("booktabs", "graphicx", "longtable", "pifont")


_PAGE = 45
"""Lines from which on a table is broken over pages."""


_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a line it would be an option of the line before
    "✗": r"\ding{55}",
    "✓": r"\ding{51}",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "−": "$-$",
    "–": "--",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "“": "``",
    "”": "''",
    "⋆": r"$^\star$",
    "↑": r"$\uparrow$",
    "²": "$^2$",
    "³": "$^3$",
    "α": r"$\alpha$",
}


def escaped(text: str) -> str:
    """`text` with every sign that LaTeX would take for a command, or would not find in its fonts, written out."""
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def to_latex(page: Page) -> str:
    """The table, its notes, order and footer as one float, or as a table over several pages if it is long."""
    long = len(page.grid.lines) > _PAGE
    align = "".join("l" if head.left else "r" for head in page.grid.heads)
    title = f"{page.title}, reproduced at {page.source}" if page.source else f"{page.title}, reproduced"
    caption = rf"\caption{{{escaped(f'{title}. {page.caption}')}}}"
    label = rf"\label{{tab:{page.name}}}"
    head = ["\\toprule", *_heading(page.grid.heads), "\\midrule"]
    body = _body(page.grid, stacked=not any(head.sub for head in page.grid.heads))
    below = [r"{\footnotesize", *(rf"\noindent {line}\par" for line in _below(page)), "}"]
    packages = f"% Needs the packages {', '.join(PACKAGES)}."
    if long:
        begin = [r"\begingroup\scriptsize\setlength{\tabcolsep}{2pt}", rf"\begin{{longtable}}{{@{{}}{align}@{{}}}}"]
        top = [f"{caption}{label}\\\\", *head, r"\endfirsthead", *head, r"\endhead"]
        lines = [*begin, *top, *body, r"\bottomrule", r"\end{longtable}", r"\endgroup", *below]
    else:
        fit = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
        table = [fit, rf"\begin{{tabular}}{{{align}}}", *head, *body, r"\bottomrule", r"\end{tabular}}"]
        lines = [
            r"\begin{table}[tbp]",
            r"\centering",
            caption + label,
            r"\par\smallskip",
            *table,
            r"\par\medskip",
            r"\raggedright",
        ]
        lines += [*below, r"\end{table}"]
    return "\n".join([packages, *lines]) + "\n"


def _heading(heads: tuple[Head, ...]) -> list[str]:
    """One to three lines of headings, those shared by neighbours spanning them, with a thin line below."""
    lines = []
    if any(head.over for head in heads):
        lines += _spanning([head.over for head in heads])
    if any(head.sub for head in heads):
        lines += _spanning([head.header if head.sub else "" for head in heads])
        lines.append(_line([escaped(head.sub or head.header) for head in heads]))
    else:
        lines.append(_line([escaped(head.header) for head in heads]))
    return lines


def _spanning(texts: list[str]) -> list[str]:
    cells, rules, place = [], [], 1
    for text, group in groupby(texts):
        width = len(list(group))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(text)}}}")
        if text:
            rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
        place += width
    return [_line(cells), " ".join(rules)]


def _body(grid: Grid, stacked: bool) -> list[str]:
    lines = []
    for number, line in enumerate(grid.lines):
        if number in grid.rules:
            lines.append(r"\addlinespace" if stacked else r"\midrule")
        lines.append(_line([_piece(piece) for piece in line]))
    return lines


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _piece(piece: Piece) -> str:
    return escaped(piece.text) + (f"$^{{{piece.note}}}$" if piece.note else "")


def _below(page: Page) -> list[str]:
    notes = [f"$^{{{number}}}$ {escaped(note)}" for number, note in enumerate(page.notes, start=1)]
    order = [rf"\textbf{{Order of rows}}: {escaped(' '.join(page.order))}"] if page.order else []
    return [*notes, *order, *(rf"\textbf{{{escaped(label)}}}: {escaped(text)}" for label, text in page.footer)]
