"""Builds a table of the paper: reported and reproduced numbers side by side, as Markdown, LaTeX, HTML and CSV."""

from dataclasses import replace
from pathlib import Path

from tada.files import write_text
from tada.recipes import RELEASED
from tada.report.cells import fill, problems
from tada.report.footer import footer
from tada.report.longform import to_csv
from tada.report.order import describe
from tada.report.pages import write_pages
from tada.report.released import against_published
from tada.report.results import Results
from tada.report.sentences import computed
from tada.report.sheet import lay_out
from tada.report.table_spec import TABLES, load_table


def build_table(name: str, scale: str, seeds: int, results: Path, out: Path, *, specs: Path = TABLES) -> list[str]:
    """Write `<out>/<name>.md`, `.tex`, `.html` and `.csv` from what is under `results`.

    A failed or missing run is a cell that says so; the rest of the table is there.

    Args:
        name: a spec's name, e.g. "table3b".
        scale: "mini", "paper" or "released", whose runs are shown.
        seeds: runs shown of each (dataset, model): seeds 0 to seeds - 1.
        results: the folder `results`.
        out: folder of the files.
        specs: folder of the specs.

    Returns:
        One line for each failed or missing run; empty if the table is complete.

    Raises:
        TadaError: the spec is unknown or faulty.
    """
    table = load_table(name, specs)
    if scale == RELEASED:
        table = against_published(table)
    available = Results(results, scale, seeds)
    cells = fill(table, available)
    below = (*computed(table, cells), *footer(table, available))
    sheet = replace(lay_out(table, cells, scale), order=tuple(describe(table, cells)), footer=below)
    write_pages(sheet, out)
    write_text(out / f"{name}.csv", to_csv(name, cells))
    return problems(cells)
