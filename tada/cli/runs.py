"""Commands on data and runs: those that make results, and those that look after runs and their jobs."""

import os
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tada.base import TadaError, counted, unknown
from tada.base.files import file_to_write, write_json
from tada.base.typed_json import save_sealed
from tada.cli import completion
from tada.data.catalog import DATASETS, OWN, RECIPES, Place
from tada.runs.settings import GROUP, Scale

_SCALES = (
    "mini: rendered data, small networks; gpu: rendered data, the paper's networks; paper: the real ones; others: the "
    "authors' released networks"
)


def _scale_of_pages(name: str) -> Scale:
    """Of those at which the paper's tables and figures are made; raises TadaError where there is none of this name."""
    if name not in (valid := [one for one in Scale if one.of_paper]):
        raise unknown("scale", name, valid)
    return Scale(name)


ScaleOption = Annotated[
    Scale,
    typer.Option(
        help=f"{_SCALES}.", parser=_scale_of_pages, autocompletion=completion.scales_of_pages, metavar="<str>"
    ),
]

RunScaleOption = Annotated[
    Scale,
    typer.Option(
        help=f"{_SCALES}; own: videos of your own.",
        parser=Scale.named,
        autocompletion=completion.scales,
        metavar="<str>",
    ),
]

RenderedScaleOption = Annotated[
    Scale, typer.Option(help="mini or gpu.", parser=Scale.named, autocompletion=completion.scales, metavar="<str>")
]

DatasetArgument = Annotated[
    str,
    typer.Argument(
        help="; ".join(f"{entry.name}: {entry.title}" for entry in (*DATASETS.values(), OWN)) + ".",
        autocompletion=completion.datasets,
    ),
]

ModelArgument = Annotated[
    str, typer.Argument(help="A name of config/models.yaml, e.g. tada2d.", autocompletion=completion.models)
]

_file = partial(typer.Option, callback=file_to_write)
ResultsOption = Annotated[Path, typer.Option(help="Folder of all results.")]


def existing(results: Path) -> Path:
    """A folder that is read from; raises TadaError where there is none."""
    from tada.cluster.status import no_runs

    if not results.is_dir():
        raise TadaError(no_runs(results))
    return results


ExistingResultsOption = Annotated[Path, typer.Option(help="Folder of all results; it has to exist.", callback=existing)]

RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="E.g. ssv2/tada2d, paper/ssv2/tsn/seed0 or the folder of a run.", autocompletion=completion.runs
    ),
]

WATCH_SECONDS = 5.0

MOST_PROCESSES = 256
"""That a command may start on a machine: a slip of the keyboard does not bring it down."""

WorkersOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=MOST_PROCESSES,
        help="Processes; 0: one for each core.",
        callback=lambda workers: workers or os.cpu_count() or 1,
    ),
]

AnnotationsOption = Annotated[
    Path | None, typer.Option(help="Folder of the annotations, where they are not in that of --data.")
]

VideosOption = Annotated[Path | None, typer.Option(help="Folder of the videos, where they are not in that of --data.")]

LayoutOption = Annotated[
    str,
    typer.Option(
        help="Where the wrong one is recognised. "
        + "; ".join(f"{name}: {', '.join(entry.layouts)}" for name, entry in DATASETS.items() if entry.layouts)
        + "."
    ),
]


def _place(data: Path, annotations: Path | None, videos: Path | None, layout: str) -> Place:
    """Where a dataset lies, of what the options say."""
    options = {"annotations": annotations, "videos": videos, "layout": layout}
    return Place(data, {name: str(value) for name, value in options.items() if value})


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to fill; made if it is not there.")],
    models: Annotated[bool, typer.Option("--models", help="Copy models.yaml and the recipes, too.")] = False,
) -> None:
    """Lay out a project of one's own: the plan of all tables, config and profiles; nothing that is there changes."""
    from tada.base.files import lay_out_project

    lay_out_project(folder, models)
    print(f"wrote {folder}: workflow (the plan), config/config.yaml (what is asked for), profiles (where it runs)")
    if models:
        print(f"to use its models and recipes: export TADA_CONFIG={folder.absolute() / 'config'}")
    if find_spec("snakemake") is None:
        print("the plan needs Snakemake, which is not installed: pip install 'tada-reproducibility[suite,snakemake]'")
    print(f"next: cd {folder}; snakemake -n tables/table3b.md")


def render(
    dataset: DatasetArgument,
    out: Annotated[Path | None, typer.Option(help="Folder to fill; by default data/SCALE/DATASET.")] = None,
    workers: WorkersOption = 0,
    scale: RenderedScaleOption = Scale.MINI,
) -> None:
    """Render the video files of a dataset, in the layout of the real one."""
    from tada.data import mini
    from tada.runs.recipes import render_spec

    mini.render(out or Path(scale.rendered_in, dataset), render_spec(dataset, scale), workers, dataset)


def check_data(
    dataset: DatasetArgument,
    data: Annotated[Path, typer.Option(help="Folder of videos and annotations; of your own, their CSV file.")],
    annotations: AnnotationsOption = None,
    videos: VideosOption = None,
    layout: LayoutOption = "",
    quick: Annotated[bool, typer.Option("--quick", help="Read packets only, instead of decoding every frame.")] = False,
    min_frames: Annotated[int, typer.Option(min=1, help="Videos with fewer frames are short.")] = 8,
    workers: WorkersOption = 0,
    out: Annotated[Path | None, _file(help="JSON report; by default results/data/DATASET.json.")] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Look through a dataset for missing, unreadable and short videos; goes on where it was interrupted."""
    from tada.data.validation import check_data

    place = _place(data, annotations, videos, layout)
    raise SystemExit(
        check_data(dataset, place, results=results, out=out, workers=workers, decode=not quick, min_frames=min_frames)
    )


def prepare(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder to fill; then use it in place of the dataset's.")],
    data: Annotated[Path | None, typer.Option(help="Folder of videos and annotations, which stay as they are.")] = None,
    annotations: AnnotationsOption = None,
    videos: VideosOption = None,
    layout: LayoutOption = "",
    short_side: Annotated[int, typer.Option(min=0, help="Pixels of the short side; 0: what the recipe needs.")] = 0,
    group: Annotated[int, typer.Option(min=0, help=f"Frames per keyframe; 0: 1 or {GROUP}, by the recipe.")] = 0,
    crf: Annotated[float, typer.Option(min=0, max=51, help="x264's CRF: smaller for better, larger files.")] = 18.0,
    workers: WorkersOption = 0,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what an earlier call has written to --out.")] = False,
) -> None:
    """Encode a dataset's videos anew, small and quick to read; goes on where it was interrupted."""
    from tada.base.progress import Progress
    from tada.data import prepared
    from tada.runs.recipes import load_recipe

    if remove:
        print(f"{out}: {counted(prepared.remove(out), 'file')} removed")
        return
    if data is None:
        raise TadaError("--data FOLDER: the dataset to prepare is not named")
    needs = load_recipe(Scale.PAPER, dataset, "tada2d")
    assert needs.task == "classification"  # a dataset's own recipe is
    side, frames = needs.quick_videos
    how = prepared.Preparation(dataset, short_side or side, group or frames, crf)
    place, progress = _place(data, annotations, videos, layout), Progress(dataset)
    try:
        made = prepared.prepare(dataset, place, out, how, workers, progress)
    except KeyboardInterrupt:
        print("stopped; the same command goes on there")
        raise SystemExit(130) from None
    finally:
        progress.close()
    print(f"{out}: {counted(made.videos, 'video')}: {made}")


def run(
    dataset: Annotated[
        str,
        typer.Argument(help=f"A recipe: {', '.join(RECIPES)}, or one of your own.", autocompletion=completion.recipes),
    ],
    model: ModelArgument,
    scale: RunScaleOption = Scale.MINI,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of weights, order, augmentation and dropout.")
    ] = 0,
    data: Annotated[str, typer.Option(help="Folder of videos and annotations; rendered: data/SCALE/DATASET.")] = "",
    weights: Annotated[str, typer.Option(help="File of ImageNet's ResNet-50, or of the released checkpoint.")] = "",
    results: ResultsOption = Path("results"),
    processes: Annotated[int, typer.Option(min=0, max=MOST_PROCESSES, help="On this machine; 0: one per GPU.")] = 0,
    cluster: Annotated[str, typer.Option(help="File of a cluster's settings: train there, by a job.")] = "",
    attempt: Annotated[int, typer.Option(help="Number of Snakemake's attempt; 0: by hand.")] = 0,
    record_failure: Annotated[bool, typer.Option(help="A failed run is an outcome: exit with 0 all the same.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Log the training in the run's folder: tensorboard --logdir results.")
    ] = False,
    compiles: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", show_default=False, help="Use torch.compile; default: for large networks on GPUs."
        ),
    ] = None,
) -> None:
    """Train and test one network, continuing where an interrupted attempt stopped."""
    from tada.cluster.launch import launch
    from tada.runs.run import Run

    this = Run(scale, dataset, model, seed, results)
    if this.scale.renders and not data:
        data = f"{this.scale.rendered_in}/{this.recipe.videos}"
    settings = Path(cluster) if cluster else None
    outcome = launch(this, data, attempt, processes, settings, weights, tensorboard, compiles)
    if outcome.failed and not record_failure:
        raise SystemExit(1)


def complexity(
    model: ModelArgument,
    classes: Annotated[int, typer.Option(min=1, help="Classes of the head.")] = 400,
    resolution: Annotated[int, typer.Option(min=1, help="Height and width of the input in pixels.")] = 256,
    out: Annotated[Path | None, _file(help="JSON file to write.")] = None,
) -> None:
    """Count a network's parameters and multiply-adds at full size, by the paper's convention."""
    from tada.complexity import report

    record = report(model, classes, resolution)
    if out:
        save_sealed(out, record)
    print(f"{model}: {record['params'] / 1e6:.3f} M parameters, {record['macs'] / 1e9:.3f} GFLOPs")


def evaluate_detections(
    ground_truth: Annotated[Path, typer.Argument(help="JSON of HACS or ActivityNet, or EPIC_100_validation.csv.")],
    predictions: Annotated[Path, typer.Argument(help="Official submission file (JSON) of the same dataset.")],
    subset: Annotated[str, typer.Option(help="Subset of the ground truth, if it has several.")] = "validation",
    protocol: Annotated[
        str,
        typer.Option(help="official; or authors: EPIC-KITCHENS-100 as in Tables 8 and A3, by pairs that occur alone."),
    ] = "official",
    out: Annotated[Path | None, _file(help="JSON file to write.")] = None,
) -> None:
    """Score a submission file of temporal action localization: mAP at each threshold and on average, in percent."""
    from tada.localization.submission import score_files

    score = score_files(ground_truth, predictions, subset, protocol)
    if out:
        write_json(out, {"ground_truth": str(ground_truth), "predictions": str(predictions), **score.as_json()})
    print(score.as_text())


def status(
    runs: RunsArgument = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table on the screen and update it.")] = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Show how runs are doing: queued, running (epoch, loss, top-1 so far, time left), done, failed."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from tada.cluster.status import as_table, find_runs, no_runs, run_states

    def table() -> Group | Text:
        found = run_states(find_runs(results, runs or ()), results)
        return as_table(found) if found else Text(no_runs(results))

    console = Console()
    if not watch:
        console.print(table())
        return
    with Live(table(), console=console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(WATCH_SECONDS)
                live.update(table(), refresh=True)
        except KeyboardInterrupt:
            pass


def verify(
    mend: Annotated[bool, typer.Option("--mend", help="Remove damaged files that finished runs need no more.")] = False,
    results: ExistingResultsOption = Path("results"),
) -> None:
    """Look for damage in a folder of results: each file hashed, each accuracy computed again; status 1 if there is."""
    from tada.cluster.status import find_runs
    from tada.report.measure.integrity import inspect_results

    found = inspect_results(find_runs(results), results, mend)
    for fault in found.faults:
        print(fault)
    print(found)
    if found.faults:
        raise SystemExit(1)


def plan(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="E.g. tables/table2.md, figure3 or all.", autocompletion=completion.targets),
    ] = None,
    config: Annotated[list[str] | None, typer.Option(help="As for snakemake, e.g. scale=paper; repeatable.")] = None,
    results: ResultsOption = Path("results"),
    settings: Annotated[
        str,
        typer.Option(
            help="Instead: a run's settings at paper scale, e.g. ssv2/tada2d.", autocompletion=completion.settings
        ),
    ] = "",
    gpu: Annotated[str, typer.Option(help="Estimate the hours of this measured GPU, e.g. h200.")] = "",
) -> None:
    """Show what tables and figures need before anything is submitted: runs, device-hours, disk."""
    from rich.console import Console

    if settings:
        _show_settings(settings)
        return

    from tada.report.cards import needed_workers
    from tada.report.plan import as_table, make_plan

    made = make_plan(targets or ["all"], config or (), results, gpu)
    console = Console()
    console.print(f"Scale {made.scale}. Expected hours: {made.basis()}.", highlight=False)
    console.print(as_table(made))
    if (largest := made.memory()) is not None:
        name = f"{largest[1].dataset}/{largest[1].model}"
        console.print(
            f"Memory: {largest[0]:.1f} GB in a training step of {name}, which takes most; from the measured step's, in "
            "proportion to clips, pixels and FLOPs.",
            highlight=False,
        )
    if made.card and made.scale.gives_verdicts:  # what was measured of clips is of real ones
        for line in needed_workers(made.card, {run.recipe.videos for run in made.runs}):
            console.print(line, highlight=False)


def _show_settings(run: str) -> None:
    """Print what a run, `dataset/model`, is trained with at the paper's scale, and where each value comes from."""
    from rich.console import Console
    from rich.table import Table

    from tada.report.pages.settings import run_settings

    dataset, slash, model = run.partition("/")
    if not slash:
        raise TadaError(f"--settings {run}: expected a dataset and a model, e.g. ssv2/tada2d")
    table = Table(title=f"{run} at the paper's scale", title_justify="left", box=None, pad_edge=False)
    for head in ("setting", "value", "from"):
        table.add_column(head, overflow="fold")
    for line in run_settings(dataset, model):
        table.add_row(*line)
    Console().print(table, highlight=False)


def cancel(
    runs: RunsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run that has a job.")] = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Cancel the jobs of runs; what they have saved stays, and the next call continues from there."""
    from tada.cluster.jobs import ClusterSettings, read_job
    from tada.cluster.scheduler import JobQueue, JobSnapshot, load_scheduler, repeat_while_busy
    from tada.cluster.status import find_runs, no_runs

    if bool(runs) == everything:
        raise TadaError("name the runs whose jobs are to be cancelled, or --all")
    snapshots: dict[str, JobSnapshot] = {}
    cancelled = 0
    for run in (chosen := find_runs(results, runs or ())):
        record = read_job(run)
        if record and record.scheduler not in snapshots:
            snapshots[record.scheduler] = JobQueue(results, record.scheduler).current()
        if record and snapshots[record.scheduler].is_active(record.id):
            scheduler = load_scheduler(ClusterSettings(record.scheduler), results)
            repeat_while_busy(partial(scheduler.cancel, record.id))
            print(f"cancelled job {record.id} of {run}")
            cancelled += 1
        elif runs:
            print(f"{run} has no job in the queue")
    if not cancelled and everything:
        print("no run has a job in the queue" if chosen else no_runs(results))


def logs(
    runs: Annotated[
        list[str],
        typer.Argument(help="E.g. ssv2/tada2d, or the folder of a run.", autocompletion=completion.runs),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of each, from the end.")] = 20,
    results: ResultsOption = Path("results"),
) -> None:
    """Print the end of runs' logs, and where the rest is."""
    from tada.base.files import Tail
    from tada.cluster.jobs import job_folder, job_output, read_job
    from tada.cluster.status import find_runs

    tails = []
    for run in find_runs(results, runs):
        record = read_job(run)
        more = ""
        if record and (output := job_output(job_folder(run), record.id)).exists():
            more = f" (all that job {record.id} printed: {output})"
        print(f"==> {run.file('log.txt')}{more}", file=sys.stderr)
        tails.append(Tail(run.file("log.txt"), lines))
        sys.stdout.write(tails[-1].read())
    try:
        while follow:
            sys.stdout.flush()
            time.sleep(1.0)
            for tail in tails:
                sys.stdout.write(tail.read())
    except KeyboardInterrupt:
        pass
