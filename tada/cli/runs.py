"""The commands that look at runs and their jobs: `tada status`, `plan`, `cancel` and `logs`."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option(help="Folder of all results.")]


Runs = Annotated[
    list[str] | None, typer.Argument(help="E.g. ssv2/tada2d, paper/ssv2/tsn/seed0 or the folder of a run.")
]


WATCH_SECONDS = 5.0


def status(
    runs: Runs = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table on the screen, up to date.")] = False,
    results: Results = Path("results"),
) -> None:
    """Show how runs are doing: queued, running (epoch, loss, top-1 so far, time left), done, failed."""
    from rich.console import Console
    from rich.live import Live

    from tada.cluster.status import as_table, find_runs, run_states

    def table() -> object:
        return as_table(run_states(find_runs(results, runs or ()), results))

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


def plan(
    targets: Annotated[list[str] | None, typer.Argument(help="E.g. tables/table2.md, figure3 or all.")] = None,
    config: Annotated[list[str] | None, typer.Option(help="As for snakemake, e.g. scale=paper; repeatable.")] = None,
    results: Results = Path("results"),
) -> None:
    """Show what tables and figures need before anything is submitted: runs, device-hours, disk."""
    from rich.console import Console

    from tada.report.plan import as_table, make_plan

    made = make_plan(targets or ["all"], config or (), results)
    console = Console()
    console.print(f"Scale {made.scale}. Expected hours: {made.basis()}.", highlight=False)
    console.print(as_table(made))


def cancel(
    runs: Runs = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run that has a job.")] = False,
    results: Results = Path("results"),
) -> None:
    """Cancel the jobs of runs; what they have saved stays, and the next call continues from there."""
    from tada.base.errors import TadaError
    from tada.cluster.jobs import ClusterSettings, read_job
    from tada.cluster.scheduler import JobQueue, Snapshot, load_scheduler, repeat_while_busy
    from tada.cluster.status import find_runs

    if bool(runs) == everything:
        raise TadaError("name the runs whose jobs are to be cancelled, or --all")
    snapshots: dict[str, Snapshot] = {}
    cancelled = 0
    for run in find_runs(results, runs or ()):
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
        print("no run has a job in the queue")


def logs(
    runs: Annotated[list[str], typer.Argument(help="E.g. ssv2/tada2d, or the folder of a run.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="So many of each, from the end.")] = 20,
    results: Results = Path("results"),
) -> None:
    """Print the end of runs' logs, and where the rest is."""
    from tada.base.files import Tail
    from tada.cluster.jobs import job_folder, job_output, read_job
    from tada.cluster.status import find_runs

    tails = []
    for run in find_runs(results, runs):
        record = read_job(run)
        output = job_output(job_folder(run), record.id) if record else None
        more = f" (all that job {record.id} printed: {output})" if output and output.exists() else ""
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
