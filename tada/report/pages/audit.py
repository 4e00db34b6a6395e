"""The audit as a page: what does not add up line by line, then, a line for each column or sentence, what does."""

from collections import Counter
from pathlib import Path

import pandas as pd

from tada.base.files import write_text
from tada.report.judge import OF_AUDIT, Verdict
from tada.report.judge.audit import Recomputed, recompute
from tada.report.pages.sheet import Head, Piece, Sheet
from tada.report.pages.writing import write_pages
from tada.report.paper.sentences import AUDIT, Audit, load_audit
from tada.report.paper.tables import TABLES, Paper

_COUNTED = {
    Verdict.DIFFERS: "differ",
    Verdict.ROUNDING: "may be right but for rounding",
    Verdict.UNCHECKED: "cannot be checked",
    Verdict.ADDS_UP: "add up",
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
    sheet = _lay_out(audit, findings)
    write_pages(sheet, out)
    columns = [name for name in Recomputed.__dataclass_fields__ if name != "group"]
    frame = pd.DataFrame([{name: getattr(f, name) for name in columns} for f in findings], columns=columns)
    write_text(out / "audit.csv", frame.to_csv(index=False))
    return [finding for finding in findings if finding.verdict == Verdict.DIFFERS]


def _lay_out(audit: Audit, findings: list[Recomputed]) -> Sheet:
    """What does not add up line by line, then, a line for each column or sentence, what does."""
    counts = Counter(finding.verdict for finding in findings)
    summary = ", ".join(f"{counts[verdict]} {_COUNTED[verdict]}" for verdict in OF_AUDIT if counts[verdict])
    lines, rules, notes = [], set(), []
    previous = None
    for finding in _merged(findings):
        if previous not in (None, finding.verdict):
            rules.add(len(lines))
        previous = finding.verdict
        if finding.note and finding.note not in notes:
            notes.append(finding.note)
        number = notes.index(finding.note) + 1 if finding.note else 0
        texts = (finding.quote, finding.printed, finding.recomputed, finding.difference)
        lines.append(
            (Piece(finding.verdict), Piece(finding.place), Piece(texts[0], note=number), *map(Piece, texts[1:]))
        )
    heads = ("verdict", "Place", "What", "printed", "recomputed", "diff.")
    sources = [("Known from elsewhere", f"{name}: {source}") for name, (_, source) in audit.known.items()]
    return Sheet(
        name="audit",
        title=audit.title,
        scale="",
        caption=f"{audit.caption} {len(findings)} numbers and statements: {summary}.",
        place=audit.place,
        heads=tuple(Head(text, left=True) for text in heads),
        lines=tuple(lines),
        rules=frozenset(rules),
        notes=tuple(notes),
        footer=(*((str(verdict), verdict.meaning) for verdict in OF_AUDIT), *sources),
    )


def _merged(findings: list[Recomputed]) -> list[Recomputed]:
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
