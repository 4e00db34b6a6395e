"""What stands under a table of EPIC-KITCHENS-100's actions: how they are scored, and what the other way would give."""

from tada.report.measures import Metric
from tada.report.printed import show
from tada.report.results import DONE, Results
from tada.report.table_spec import Table
from tada.report.values import Value, accuracy

_SHOWN = (
    "a pair of a verb and a noun scores the product of their probabilities in each view, averaged over the views "
    "(section 5.3)."
)
_JOINT = "The joint variant, which averages over the views before it multiplies, gives"
_DECIMALS = 2


def action_scores(table: Table, results: Results) -> list[tuple[str, str]]:
    """A line if the table shows accuracies of actions, else none; see `tada.actions`."""
    headers = {column.name: f"{column.over} {column.header}".strip() for column in table.columns}
    joint: dict[str, list[str]] = {}
    shown = False
    for _, cell in table.cells():
        what = cell.measure
        if not isinstance(what, Metric) or what.name not in ("top1_action", "top5_action"):
            continue
        shown = True
        value = accuracy(what.dataset, what.models, f"{what.name}_joint", results)
        if value.status == DONE:
            joint.setdefault(headers[cell.column], []).append(f"{' + '.join(what.models)} {_text(value)}")
    if not shown:
        return []
    by_column = "; ".join(f"{header}: {', '.join(values)}" for header, values in joint.items())
    return [("Actions", f"{_SHOWN} {_JOINT} {by_column}." if joint else _SHOWN)]


def _text(value: Value) -> str:
    spread = f" ± {show(value.std, _DECIMALS)}" if value.std is not None else ""
    return show(value.mean, _DECIMALS) + spread
