"""How the runs are doing: queued, running (how far), done, failed. Imports no torch, so that it answers at once."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tada.base import TadaError, counted, first_line, unknown
from tada.base.files import DamagedFile, DiskError, readable
from tada.base.progress import hours_and_minutes, read_progress
from tada.cluster.jobs import JobRecord, read_job
from tada.cluster.scheduler import JobQueue, JobSnapshot, JobState, Phase
from tada.runs.record import METRICS, last_outcome, read_record
from tada.runs.run import Run
from tada.runs.settings import Scale
from tada.runs.verification import first_fault

ORDER = ("running", "queued", "failed", "stopped", "outdated", "done")
"""What a person looks at first, first."""


HEADINGS = ("run", "state", "epoch", "loss", "top-1/mAP", "waits", "left", "")


MAIN_METRICS = ("top1", "top1_action", "map", "map_action")
"""The one that a run is known by."""


_COLOURS = {"running": "cyan", "queued": "yellow", "failed": "red", "stopped": "magenta", "done": "green"}


@dataclass(frozen=True)
class Status:
    """A run's state, one of `ORDER`; `progress` is what its process last noted, `remark` a reason or a job."""

    run: Run
    state: str
    progress: dict[str, Any] = field(default_factory=dict)
    remark: str = ""


def no_runs(results: Path) -> str:
    """Why there is no run to be shown, and what to do, in a line."""
    what = "no run in it" if results.is_dir() else "no such folder"
    return (
        f"{results.absolute()}: {what}; results lie where snakemake ran: go there, or name that folder (--results); "
        "`tada list` says what can be run"
    )


def find_runs(results: Path, names: Sequence[str] = ()) -> list[Run]:
    """The runs that have a folder in `results`; those that `names` mean, if there are any.

    Args:
        results: folder of all results.
        names: parts of a run's place from left to right, e.g. "ssv2/tada2d", "paper/ssv2/tsn/seed0" or its folder.

    Raises:
        TadaError: a name that means no run; the nearest are given, or why there is none.
    """
    models = (model for scale in Scale for dataset in _folders_in(results / scale) for model in _folders_in(dataset))
    folders = sorted(folder for model in models for folder in _folders_in(model))
    runs = {
        f"{scale}/{dataset}/{model}/{folder.name}": Run(
            Scale(scale), dataset, model, int(folder.name.removeprefix("seed")), results
        )
        for folder in folders
        for scale, dataset, model in [folder.parts[-4:-1]]
        if re.fullmatch("seed(0|[1-9][0-9]*)", folder.name)
    }
    if not names:
        return list(runs.values())
    found: dict[str, Run] = {}
    for name in names:
        asked = f"/{str(Path(name)).removeprefix(f'{results}/')}/"
        meant = {place: run for place, run in runs.items() if asked in f"/{place}/"}
        if not meant:
            places = {*runs, *(f"{run.dataset}/{run.model}" for run in runs.values())}
            raise unknown("run", name, places, none=no_runs(results))
        found |= meant
    return list(found.values())


def _folders_in(folder: Path) -> list[Path]:
    """Those in a folder, none where it is not there; raises DiskError where nobody may look into it."""
    with readable(folder):
        return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def run_states(runs: Iterable[Run], results: Path) -> list[Status]:
    """The state of every run, in the order in which a person wants to see them."""
    snapshots: dict[str, JobSnapshot] = {}
    found = [_run_state(run, results, snapshots) for run in runs]
    return sorted(found, key=lambda status: (ORDER.index(status.state), str(status.run)))


def summary(found: Sequence[Status]) -> str:
    """E.g. "12 runs: 2 running, 3 queued, 7 done"."""
    counts = Counter(status.state for status in found)
    parts = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    return counted(len(found), "run") + (f": {parts}" if parts else "")


def as_table(found: Sequence[Status]) -> Group:
    """The states as a table for the terminal, and below it why runs failed or do not count any more, each reason once.

    Scale and seed stand with a run only where there are several.
    """
    table = Table(title=summary(found), title_justify="left", box=None, pad_edge=False)
    for name in HEADINGS:
        words = name in ("run", "state", "")
        table.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=bool(name))
    scales, seeds = ({getattr(status.run, of) for status in found} for of in ("scale", "seed"))
    reasons: dict[str, list[str]] = {}
    for status in found:
        run, colour = status.run, _COLOURS.get(status.state, "white")
        scale = f"{run.scale}/" if len(scales) > 1 else ""
        seed = f"/seed{run.seed}" if len(seeds) > 1 else ""
        name = f"{scale}{run.dataset}/{run.model}{seed}"
        if explained := status.state in ("failed", "outdated"):
            reasons.setdefault(status.remark, []).append(name)
        table.add_row(name, f"[{colour}]{status.state}[/]", *_figures(status), "" if explained else Text(status.remark))
    return Group(table, *(_reason(reason, names) for reason, names in reasons.items()))


def _reason(reason: str, names: Sequence[str]) -> Text:
    """Under the table, over its whole width: the runs that have a reason in common, the first three by name."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return Text.assemble("\n", (f"{', '.join(names[:3])}{more}: ", "bold"), reason)


def _run_state(run: Run, results: Path, snapshots: dict[str, JobSnapshot]) -> Status:
    try:
        done, outcome = read_record(run), last_outcome(run)
        fault = first_fault(run, done) if done else None
    except (DamagedFile, DiskError) as error:
        return Status(run, "failed", remark=str(error))
    except TadaError as error:
        return Status(run, "outdated", remark=str(error))
    if done is not None:
        if fault:
            return Status(run, "failed", remark=fault)
        return Status(run, "done", done.metrics)
    state, remark = "stopped", "the next call continues it"
    record = read_job(run)
    job = _active_job(record, results, snapshots) if record else None
    if job:
        state = "running" if job.phase in (Phase.RUNNING, Phase.ENDING) else "queued"
        remark = f"job {job.id} {job.place}"
    elif _locked(run):
        state, remark = "running", "on this machine"
    elif outcome is not None and outcome.failed:
        state, remark = "failed", first_line(outcome.error)
    elif run.file(METRICS).exists():
        return Status(run, "outdated", remark="its results are of another recipe or network")
    return Status(run, state, _progress(run), remark)


def _figures(status: Status) -> tuple[str, str, str, str, str]:
    """Epoch, loss, top-1 (or mAP), share of training's time that waits for data, and time left."""
    facts = status.progress
    prefix = "" if status.state == "done" else "val_"
    top1 = next((f"{facts[prefix + name]:.1f}" for name in MAIN_METRICS if prefix + name in facts), "")
    if status.state == "done":
        return "", "", top1, "", ""
    epoch = f"{facts['epoch']:.1f}/{status.run.recipe.epochs}" if "epoch" in facts else ""
    if facts.get("phase") == "testing":
        epoch = f"test {facts['done']}/{facts['total']}"
    loss = f"{facts['loss']:.3f}" if "loss" in facts else ""
    left = hours_and_minutes(facts["seconds_left"]) if status.state == "running" and "seconds_left" in facts else ""
    wait = f"{facts['data_wait']:.0%}" if "data_wait" in facts else ""
    return epoch, loss, top1, wait, left


def _progress(run: Run) -> dict[str, Any]:
    note = read_progress(run.file("progress.json"))
    return {**vars(note), **note.figures} if note else {}


def _locked(run: Run) -> bool:
    """Whether a process holds the run's folder; locks vanish with their process, however that ends."""
    if not run.file(".lock").is_file():
        return False
    try:
        with FileLock(run.file(".lock"), timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _active_job(record: JobRecord, results: Path, snapshots: dict[str, JobSnapshot]) -> JobState | None:
    """The job if it is queued or running, as its scheduler says, or last said; None where nobody can say."""
    if record.scheduler not in snapshots:
        queue = JobQueue(results, record.scheduler)
        try:
            snapshots[record.scheduler] = queue.snapshot()
        except TadaError:
            snapshots[record.scheduler] = JobSnapshot()
    snapshot = snapshots[record.scheduler]
    return snapshot.jobs[record.id] if snapshot.is_active(record.id) else None
