"""Where numbers come from, in words: scale, seeds, data, time, code, hardware and versions of the runs behind them.

Tables, sentences, figures and the overview all say it in the same lines.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tada.base.provenance import Environment, Hardware, git_state
from tada.data.clips import Counts
from tada.report.measure.results import DONE, Results, RunResult
from tada.runs.settings import Scale

Line = tuple[str, str]
"""What a line is about, and what it says."""


PACKAGES = ("torch", "torchvision", "numpy", "decord", "fvcore")


SCALE_MEANINGS = {
    Scale.MINI: (
        "mini: rendered videos and small networks. It can show orderings of rows and signs of differences, never "
        "levels: an accuracy's difference to the paper's says nothing here, so accuracies carry no verdict."
    ),
    Scale.PAPER: "paper: the paper's datasets, networks and schedules; accuracies carry verdicts.",
    Scale.RELEASED: (
        "released: the authors' checkpoints, tested and not trained. A verdict compares with what the authors publish "
        "for that very checkpoint, and says nothing about a training; rows without a checkpoint are only shown."
    ),
}


def provenance(runs: Sequence[RunResult], results: Results) -> list[Line]:
    """All that can be said of the runs behind a figure or a page."""
    done = [run.record.environment for run in runs if run.status == DONE]
    return about_runs(runs, results) + about_code(done)


def about_runs(runs: Sequence[RunResult], results: Results) -> list[Line]:
    """Scale, seeds, data and cost of the runs behind a table or figure."""
    seeds = "seed 0" if results.seeds == 1 else f"seeds 0 to {results.seeds - 1}, mean ± standard deviation of one seed"
    lines = [("Scale", SCALE_MEANINGS[results.scale])] + ([("Seeds", seeds)] if results.scale.trains else [])
    done = [result for result in runs if result.status == DONE]
    if len(done) < len(runs):
        states = Counter(result.status for result in runs)
        lines.append(("Runs", ", ".join(f"{count} {status}" for status, count in states.items())))
    if not done:
        return lines
    for dataset in sorted({result.run.dataset for result in done}):
        of = [result for result in done if result.run.dataset == dataset]
        records = [result.record.dataset for result in of]
        unit = "segments " if of[0].run.recipe.task == "localization" else ""
        lines.append((f"Data, {dataset}", "; ".join(f"{part} {_counts(records, part, unit)}" for part in records[0])))
    total = rounded_time(sum(result.record.cost.wall_seconds for result in done))
    if any(result.record.environment.hardware.gpus for result in done):
        total += f" ({sum(result.record.cost.device_hours for result in done):,.0f} GPU hours)"
    lines.append(("Time", f"{total} in {len(done)} runs: {_times(done)}"))
    return lines


def about_code(environments: Sequence[Environment]) -> list[Line]:
    """Commits, hardware and versions that the results come from, and whether the code has changed since."""
    if not environments:
        return []
    commits = Counter(_commit(found.git_commit, found.git_dirty) for found in environments)
    text = ", ".join(f"{name} ({count} results)" if len(commits) > 1 else name for name, count in commits.items())
    commit, dirty = git_state()
    if len(commits) > 1:
        text = f"the results come from several states of the code: {text}"
    if any(found.git_commit != commit for found in environments):
        text += f"; the code is at {_commit(commit, dirty)} now"
    hardware = Counter(_machine(found.hardware) for found in environments)
    versions = [
        f"{name} {', '.join(found)}" for name in PACKAGES if (found := _distinct(_versions(environments, name)))
    ]
    python = ", ".join(_distinct(found.python for found in environments))
    return [
        ("Code", text),
        ("Hardware", "; ".join(hardware)),
        ("Versions", ", ".join([f"Python {python}", *versions])),
    ]


def rounded_time(seconds: float) -> str:
    """ "48 s", "12 min", "3.4 h" or "5.2 days"."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _counts(records: Sequence[Mapping[str, Counts]], part: str, unit: str = "") -> str:
    """ "2,400 of 2,400 segments used", as a range where runs differ, with the number of skipped ones if any."""
    used = sorted({record[part].used for record in records})
    listed = sorted({record[part].listed for record in records})
    skipped = max(len(record[part].skipped) for record in records)
    text = f"{used[0]:,}" if len(used) == 1 else f"{used[0]:,} to {used[-1]:,}"
    text += f" of {' or '.join(f'{n:,}' for n in listed)} {unit}used"
    return text + (f" ({skipped} skipped, named in metrics.json)" if skipped else "")


def _times(done: Sequence[RunResult]) -> str:
    by_model: dict[str, list[float]] = {}
    for result in done:
        by_model.setdefault(result.run.model, []).append(result.record.cost.wall_seconds)
    return ", ".join(f"{model} {rounded_time(statistics.mean(seconds))}" for model, seconds in by_model.items())


def _commit(commit: str | None, dirty: bool | None) -> str:
    if commit is None:
        return "not in a git checkout"
    return f"commit {commit[:10]}" + (" with uncommitted changes" if dirty else "")


def _machine(hardware: Hardware) -> str:
    gpus = Counter(hardware.gpus)
    parts = [f"{hardware.cpu}, {hardware.cores} cores", *(f"{count} × {name}" for name, count in gpus.items())]
    return ", ".join(parts)


def _versions(environments: Iterable[Environment], name: str) -> list[str]:
    return [environment.packages[name] for environment in environments if name in environment.packages]


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
