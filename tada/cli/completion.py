"""Names that the shell completes: of tables, figures, models, datasets, scales and runs (`tada --install-completion`).

Each function takes what is typed so far and gives the names that begin so. A folder or spec that cannot be read gives
none: the command itself says what is wrong with it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from tada.base import TadaError
from tada.data.catalog import DATASETS, RECIPES
from tada.models.registry import model_names
from tada.report.paper.figures import figure_names
from tada.report.paper.tables import table_names
from tada.runs.settings import Scale

Completion = Callable[[str], list[str]]


def _beginning(names: Callable[[], Iterable[str]]) -> Completion:
    """Completes by `names`, which are asked for anew each time."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except TadaError:
            return []

    return complete


def _targets() -> list[str]:
    """What `tada plan` takes: each table and figure, and all of them."""
    return [
        "all",
        *(f"tables/{name}.md" for name in table_names()),
        *(f"figures/{name}.svg" for name in figure_names()),
    ]


def _settings() -> list[str]:
    """What has settings: a dataset and a model at the paper's scale."""
    return [f"{recipe}/{model}" for recipe in RECIPES for model in model_names()]


tables = _beginning(table_names)
figures = _beginning(figure_names)
models = _beginning(model_names)
datasets = _beginning(lambda: DATASETS)
recipes = _beginning(lambda: RECIPES)
scales = _beginning(lambda: Scale)
scales_of_pages = _beginning(lambda: [scale for scale in Scale if scale.of_paper])
targets = _beginning(_targets)
settings = _beginning(_settings)


def publishable(ctx: typer.Context, incomplete: str) -> list[str]:
    """What `tada publish` takes: runs that are there, tables and figures."""
    return [*runs(ctx, incomplete), *tables(incomplete), *figures(incomplete)]


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs of the folder of results that the command is about, as dataset/model or with their scale and seed."""
    from tada.cluster.status import find_runs

    results = Path(ctx.params.get("results") or "results")
    names: dict[str, None] = {}
    for run in find_runs(results):
        names |= dict.fromkeys((f"{run.dataset}/{run.model}", f"{run.scale}/{run.dataset}/{run.model}/seed{run.seed}"))
    return [name for name in names if name.startswith(incomplete)]
