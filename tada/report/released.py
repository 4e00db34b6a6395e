"""Tables at scale released: the authors' checkpoints against what the authors publish for these very files."""

from dataclasses import replace

from tada.recipes import released_checkpoints
from tada.report.measures import Delta, Metric, Tolerance
from tada.report.table_spec import Cell, Row, Table

_OWN = "The reported number is published for this very checkpoint; the paper, whose network was another, prints {}."
_SUM = "Nothing is published for these checkpoints together; the reported number is the paper's, of other networks."


def against_published(table: Table) -> Table:
    """The table with each accuracy compared with the checkpoint's own; cells without a checkpoint are only shown."""
    content = released_checkpoints()
    tolerance = Tolerance(content["tolerance"]["value"], " ".join(content["tolerance"]["why"].split()))

    def accuracy(cell: Cell, what: Metric) -> Cell:
        published = [content["checkpoints"].get(what.dataset, {}).get(model) for model in what.models]
        if not all(published):
            return replace(cell, kind="cited", measure=None)
        if len(published) > 1:
            return replace(cell, note=_SUM)
        number = published[0].get(what.name)
        if number is None:
            return replace(cell, kind="cited", measure=None)
        return replace(
            cell, reported=number, measure=replace(what, tolerance=tolerance), note=_OWN.format(cell.reported)
        )

    def compared(cell: Cell) -> Cell:
        if isinstance(cell.measure, Metric):
            return accuracy(cell, cell.measure)
        return replace(cell, kind="cited", measure=None) if isinstance(cell.measure, Delta) else cell

    rows = (Row(row.id, row.group, {name: compared(cell) for name, cell in row.cells.items()}) for row in table.rows)
    return replace(table, rows=tuple(rows))
