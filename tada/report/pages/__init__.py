"""What people read: a page is a value (`page.py`), and `write_page` is what writes it, in every form."""

from pathlib import Path

from tada.base.files import write_text
from tada.report.pages.markup import to_html, to_latex, to_markdown
from tada.report.pages.page import Page


def write_page(page: Page, out: Path) -> None:
    """Write `<out>/<name>.md`, `.tex`, `.html` and `.csv`."""
    write_text(out / f"{page.name}.md", to_markdown(page, out))
    write_text(out / f"{page.name}.tex", to_latex(page))
    write_text(out / f"{page.name}.html", to_html(page))
    write_text(out / f"{page.name}.csv", page.data.to_csv(index=False))
