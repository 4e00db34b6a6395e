"""Writes a sheet in every form that is read by people."""

from pathlib import Path

from tada.base.files import write_text
from tada.report.pages.html import to_html
from tada.report.pages.latex import to_latex
from tada.report.pages.markdown import to_markdown
from tada.report.pages.sheet import Sheet


def write_pages(sheet: Sheet, out: Path) -> None:
    """`<out>/<name>.md`, `.tex` and `.html`."""
    write_text(out / f"{sheet.name}.md", to_markdown(sheet, out))
    write_text(out / f"{sheet.name}.tex", to_latex(sheet))
    write_text(out / f"{sheet.name}.html", to_html(sheet))
