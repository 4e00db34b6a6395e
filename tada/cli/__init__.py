"""`tada ...`: thin commands over the modules; Snakemake calls them, and so may anybody by hand."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tada.base.errors import TadaError
from tada.cli import reports, runs


class _CleanErrors(TyperGroup):
    """Errors of the user's input end with their message alone; anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TadaError as error:
            print(f"Error: {error}", file=sys.stderr)
            raise SystemExit(1) from None


app = typer.Typer(
    cls=_CleanErrors,
    help='Reproduces the tables and figures of "TAda! Temporally-Adaptive Convolutions for Video Understanding".',
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Scale = Annotated[
    str,
    typer.Option(help="mini: rendered data, small networks; paper: the real ones; released: the authors' networks."),
]


Results = Annotated[Path, typer.Option(help="Folder of all results.")]


WEIGHTS = "File of torchvision's ResNet-50, by default downloaded; at scale released, of the checkpoint to test."


Seeds = Annotated[int, typer.Option(help="Runs per row, with seeds 0, 1, ...")]


@app.command("list")
def list_targets() -> None:
    """Name every table, figure and page that can be asked for."""
    from tada.report.paper.figures import figure_names, load_figure
    from tada.report.paper.tables import PAGES, load_table, table_names

    for name in table_names():
        table = load_table(name)
        print(f"tables/{name}.md".ljust(26), f"{table.title}: {table.caption.split('. ')[0].rstrip('.')}")
    for name, about in PAGES.items():
        print(f"tables/{name}.md".ljust(26), about)
    for name in figure_names():
        figure = load_figure(name)
        print(f"figures/{name}.svg".ljust(26), f"{figure.title}: {figure.caption.split('. ')[0].rstrip('.')}")
    print(
        "results/overview.html".ljust(26), "Overview: all of these on one page, with the verdicts and the cost in front"
    )


@app.command()
def render(
    dataset: Annotated[str, typer.Argument(help="ssv2, k400 or ek100")],
    out: Annotated[Path | None, typer.Option(help="Folder to fill; by default data/mini/DATASET.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that render.")] = 1,
) -> None:
    """Render the video files of a mini dataset."""
    from tada.data import mini
    from tada.runs.recipes import render_spec

    mini.render(out or Path("data/mini") / dataset, render_spec(dataset), workers, dataset)


@app.command("check-data")
def check_data(
    dataset: Annotated[str, typer.Argument(help="ssv2, k400 or ek100")],
    data: Annotated[Path, typer.Option(help="Folder of videos and annotations.")],
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of the annotations, where they are not there.")
    ] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos, where they are not there.")] = None,
    layout: Annotated[
        str, typer.Option(help="Where it is mistaken. k400: csv, list, folders; ek100: videos, frames.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Read packets only, instead of decoding every frame.")] = False,
    min_frames: Annotated[int, typer.Option(help="Videos with fewer frames are short.")] = 8,
    workers: Annotated[int, typer.Option(help="Processes; 0: one for each core.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON report; by default results/data/DATASET.json.")] = None,
    results: Results = Path("results"),
) -> None:
    """Look through a dataset for missing, unreadable and short videos; goes on where it was interrupted."""
    import os

    from tada.data.catalog import Place
    from tada.data.validation import check_data

    given = {"annotations": annotations, "videos": videos, "layout": layout}
    place = Place(data, {name: str(value) for name, value in given.items() if value})
    workers = workers or os.cpu_count() or 1
    raise SystemExit(
        check_data(dataset, place, results=results, out=out, workers=workers, decode=not quick, min_frames=min_frames)
    )


@app.command()
def run(
    dataset: Annotated[str, typer.Argument(help="ssv2, k400, ek100 or hacs")],
    model: Annotated[str, typer.Argument(help="A name of config/models.yaml, e.g. tada2d.")],
    scale: Scale = "mini",
    seed: Annotated[int, typer.Option(help="Of initial weights, order, augmentation and dropout.")] = 0,
    data: Annotated[str, typer.Option(help="Folder of videos and annotations; by default data/mini/DATASET.")] = "",
    weights: Annotated[str, typer.Option(help=WEIGHTS)] = "",
    results: Results = Path("results"),
    processes: Annotated[int, typer.Option(help="On this machine; 0: one per GPU, or a single one.")] = 0,
    cluster: Annotated[str, typer.Option(help="Settings of the cluster that is to train it.")] = "",
    attempt: Annotated[int, typer.Option(help="Number noted in outcome.json.")] = 1,
    record_failure: Annotated[bool, typer.Option(help="A failed run is an outcome: exit with 0 all the same.")] = False,
) -> None:
    """Train and test one network, continuing where an interrupted attempt stopped."""
    from tada.cluster.launch import launch
    from tada.runs.run import Run

    this = Run(scale, dataset, model, seed, results)
    if this.scale.renders and not data:
        data = f"data/mini/{this.recipe.videos}"
    settings = Path(cluster) if cluster else None
    outcome = launch(this, data, attempt, processes, settings, weights)
    if outcome["status"] == "failed" and not record_failure:
        raise SystemExit(1)


@app.command()
def complexity(
    model: Annotated[str, typer.Argument(help="A name of config/models.yaml, e.g. tada2d.")],
    classes: Annotated[int, typer.Option(help="Classes of the head.")] = 400,
    resolution: Annotated[int, typer.Option(help="Height and width of the input in pixels.")] = 256,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Count a network's parameters and multiply-adds at full size, by the paper's convention."""
    from tada.complexity import report

    record = report(model, classes, resolution)
    if out:
        from tada.base.files import write_json

        write_json(out, record)
    print(f"{model}: {record['params'] / 1e6:.3f} M parameters, {record['macs'] / 1e9:.3f} GFLOPs")


@app.command()
def table(
    name: Annotated[str, typer.Argument(help="e.g. table3b")],
    scale: Scale = "mini",
    seeds: Seeds = 1,
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for the .md, .tex and .csv files.")] = Path("tables"),
) -> None:
    """Build a table of the paper from the results that are there; what is missing is shown as missing."""
    from tada.report.pages.tables import build_table

    for problem in build_table(name, scale, seeds, results, out):
        print(f"{name}: {problem}", file=sys.stderr)
    print(f"wrote {out / name}.md, .tex, .csv")


@app.command()
def audit(out: Annotated[Path, typer.Option(help="Folder for audit.md, .tex and .csv.")] = Path("tables")) -> None:
    """Recompute the paper's numbers that follow from others of its numbers; needs no results."""
    from tada.report.pages.audit import build_audit

    differ = build_audit(out)
    print(f"wrote {out / 'audit'}.md, .tex, .csv: {len(differ)} numbers and statements differ")


@app.command()
def claims(
    scale: Scale = "mini",
    seeds: Seeds = 1,
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for claims.md, .tex and .csv.")] = Path("tables"),
) -> None:
    """Judge the paper's sentences by the results that are there, at either scale."""
    from tada.report.pages.claims import build_claims

    problems = build_claims(scale, seeds, results, out)
    print(f"wrote {out / 'claims'}.md, .tex, .csv" + (f"; {len(problems)} results are missing" if problems else ""))


@app.command()
def overview(
    scale: Scale = "mini",
    seeds: Seeds = 1,
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("results/overview.html"),
) -> None:
    """Put everything that was built on one page, with the verdicts and the cost in front."""
    from tada.report.pages.overview import build_overview

    build_overview(scale, seeds, results, Path("tables"), Path("figures"), out)
    print(f"wrote {out}")


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="e.g. figure3")],
    scale: Scale = "mini",
    seeds: Seeds = 1,
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for the .svg, .png and .csv files.")] = Path("figures"),
    data: Annotated[str, typer.Option(help="Folder of the figure's dataset, where it shows videos or names.")] = "",
) -> None:
    """Draw a figure of the paper from the results that are there."""
    from tada.report.figures.build import build_figure

    for problem in build_figure(name, scale, seeds, results, out, data=data):
        print(f"{name}: {problem}", file=sys.stderr)
    print(f"wrote {out / name}.svg, .png, .csv")


for command in (runs.status, runs.plan, runs.cancel, runs.logs, reports.evaluate_detections):
    app.command()(command)


for command in (reports.snapshot, reports.readme):
    app.command()(command)


if __name__ == "__main__":
    app()
