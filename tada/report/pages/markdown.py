"""A sheet as Markdown."""

import os
from pathlib import Path

from tabulate import tabulate

from tada.report.pages.sheet import Head, Piece, Sheet

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def to_markdown(sheet: Sheet, folder: Path) -> str:
    """The whole page; links are relative to `folder`, where it will lie."""
    lines = [[_piece(piece) for piece in line] for line in sheet.lines]
    table = tabulate(
        lines,
        headers=[_head(sheet.heads, place) for place in range(len(sheet.heads))],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if head.left else "right" for head in sheet.heads],
    )
    title = f"# {sheet.title}, {sheet.source}" if sheet.source else f"# {sheet.title}"
    parts = [title, f"{_escaped(sheet.caption)} ({_escaped(sheet.place)})", table]
    if sheet.notes:
        parts.append("\n".join(f"{_raised(n)} {_escaped(note)}  " for n, note in enumerate(sheet.notes, start=1)))
    if sheet.order:
        parts.append("**Order of rows**\n\n" + "\n".join(f"- {_escaped(sentence)}" for sentence in sheet.order))
    if sheet.footer:
        parts.append("\n".join(f"- **{label}**: {_escaped(text)}" for label, text in sheet.footer))
    targets = {_piece(p): os.path.relpath(p.link, folder) for line in sheet.lines for p in line if p.link is not None}
    if targets:  # by reference, so that a link does not widen its column
        parts.append("\n".join(f"{name}: {target}" for name, target in targets.items()))
    return "\n\n".join(parts) + "\n"


def _head(heads: tuple[Head, ...], place: int) -> str:
    """Markdown has one line of headings: a shared heading stands at the first of its columns, before a colon."""
    head, before = heads[place], heads[place - 1] if place else None
    own = [head.sub] if head.sub else [head.header]
    if head.sub == "paper":
        own.insert(0, head.header)
    if head.over and (before is None or head.over != before.over):
        own.insert(0, head.over)
    return _escaped(": ".join(own))


def _piece(piece: Piece) -> str:
    text = _escaped(piece.text) + (_raised(piece.note) if piece.note else "")
    return f"[{text}]" if piece.link is not None else text


def _raised(number: int) -> str:
    return str(number).translate(_RAISED)


def _escaped(text: str) -> str:
    for sign in ("\\", "|", "*", "_", "<", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text
