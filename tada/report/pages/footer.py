"""What stands under a table: scale, seeds, code, hardware, time, data, versions, tolerances and conventions.

What stands under a table of EPIC-KITCHENS-100's actions: how they are scored, and what the other way would give.

What stands under a table of localization: how detections are scored, and how good their proposals are.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tada.base.provenance import environment, git_state
from tada.report.measure.results import DONE, Results, RunResult
from tada.report.measure.values import Value, measure
from tada.report.paper.printed import show
from tada.report.paper.quantities import LayerSize, LibrarySize, Metric, NetworkSize, Structure
from tada.report.paper.tables import Table, Tolerance
from tada.runs.recipes import is_runnable, load_recipe
from tada.runs.settings import Scale

Line = tuple[str, str]
"""What a line is about, and what it says."""


PACKAGES = ("torch", "torchvision", "numpy", "decord", "fvcore")


MINI = (
    "mini: rendered videos and small networks. It can show orderings of rows and signs of differences, never levels: "
    "an accuracy's difference to the paper's says nothing here, so accuracies carry no verdict."
)


PAPER = "paper: the paper's datasets, networks and schedules; accuracies carry verdicts."


TESTED = (
    "released: the authors' checkpoints, tested and not trained. A verdict compares with what the authors publish for "
    "that very checkpoint, and says nothing about a training; rows without a checkpoint are only shown."
)


SCALES = {Scale.MINI: MINI, Scale.PAPER: PAPER, Scale.RELEASED: TESTED}


COUNTED = (
    "at full size whatever the scale. A FLOP is one multiply-add. Counted: convolutions and linear layers, those that "
    "generate calibration weights included. Not counted: batch norm, biases, pooling, activations, and the product of "
    "calibration and base weight. A count matches if it rounds to the printed digits."
)


COUNTED_LAYERS = (
    "by Table 1's convention: weights, no biases and batch norm; multiply-adds of convolutions, of the descriptors' "
    "pooling, and of the product of calibration and base weight. A count matches a formula if they are equal."
)


def footer(table: Table, results: Results) -> list[Line]:
    """All that a reader needs to judge the numbers of a table."""
    lines: list[Line] = []
    environments: list[dict[str, Any]] = []
    if table.runs:
        runs = results.all_runs(table.runs)
        lines += about_runs(runs, results)
        environments += [result.record["environment"] for result in runs if result.status == DONE]
    found = (results.complexity(*key) for key in sorted(table.complexities))
    complexities = [record for record in found if record]
    environments += [record["environment"] for record in complexities]
    if any(isinstance(one, LayerSize | LibrarySize | Structure) for one in table.quantities):
        environments.append(environment())  # counted while the table was built
    lines += action_scores(table, results) + localization(table, results)
    lines += about_code(environments) + _conventions(table, complexities)
    return lines + (_tolerances(table) if results.scale.gives_verdicts else [])


def about_runs(runs: Sequence[RunResult], results: Results) -> list[Line]:
    """Scale, seeds, data and cost of the runs behind a table or figure."""
    seeds = "seed 0" if results.seeds == 1 else f"seeds 0 to {results.seeds - 1}, mean ± standard deviation of one seed"
    lines = [("Scale", SCALES[results.scale])] + ([("Seeds", seeds)] if results.scale.trains else [])
    done = [result for result in runs if result.status == DONE]
    if len(done) < len(runs):
        states = Counter(result.status for result in runs)
        lines.append(("Runs", ", ".join(f"{count} {status}" for status, count in states.items())))
    if not done:
        return lines
    for dataset in sorted({result.run.dataset for result in done}):
        of = [result for result in done if result.run.dataset == dataset]
        records = [result.record["dataset"] for result in of]
        unit = "segments " if of[0].run.recipe.task == "localization" else ""
        lines.append((f"Data, {dataset}", "; ".join(f"{part} {_counts(records, part, unit)}" for part in records[0])))
    total = duration(sum(result.record["cost"]["wall_seconds"] for result in done))
    if any(result.record["environment"]["hardware"]["gpus"] for result in done):
        total += f" ({sum(result.record['cost']['device_hours'] for result in done):,.0f} GPU hours)"
    lines.append(("Time", f"{total} in {len(done)} runs: {_times(done)}"))
    return lines


def about_code(environments: Sequence[dict[str, Any]]) -> list[Line]:
    """Commits, hardware and versions that the results come from, and whether the code has changed since."""
    if not environments:
        return []
    commits = Counter(_commit(found) for found in environments)
    text = ", ".join(f"{name} ({count} results)" if len(commits) > 1 else name for name, count in commits.items())
    current = git_state()
    if len(commits) > 1:
        text = f"the results come from several states of the code: {text}"
    if any(found["git_commit"] != current["git_commit"] for found in environments):
        text += f"; the code is at {_commit(current)} now"
    hardware = Counter(_machine(found["hardware"]) for found in environments)
    versions = [
        f"{name} {', '.join(found)}" for name in PACKAGES if (found := _distinct(_versions(environments, name)))
    ]
    python = ", ".join(_distinct(found["python"] for found in environments))
    return [
        ("Code", text),
        ("Hardware", "; ".join(hardware)),
        ("Versions", ", ".join([f"Python {python}", *versions])),
    ]


def duration(seconds: float) -> str:
    """ "48 s", "12 min", "3.4 h" or "5.2 days"."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _counts(records: Sequence[dict[str, Any]], part: str, unit: str = "") -> str:
    """ "2,400 of 2,400 segments used", as a range where runs differ, with the number of skipped ones if any."""
    used = sorted({record[part]["used"] for record in records})
    listed = sorted({record[part]["listed"] for record in records})
    skipped = max(len(record[part]["skipped"]) for record in records)
    text = f"{used[0]:,}" if len(used) == 1 else f"{used[0]:,} to {used[-1]:,}"
    text += f" of {' or '.join(f'{n:,}' for n in listed)} {unit}used"
    return text + (f" ({skipped} skipped, named in metrics.json)" if skipped else "")


def _times(done: Sequence[RunResult]) -> str:
    by_model: dict[str, list[float]] = {}
    for result in done:
        by_model.setdefault(result.run.model, []).append(result.record["cost"]["wall_seconds"])
    return ", ".join(f"{model} {duration(statistics.mean(seconds))}" for model, seconds in by_model.items())


def _commit(environment: dict[str, Any]) -> str:
    if environment["git_commit"] is None:
        return "not in a git checkout"
    return f"commit {environment['git_commit'][:10]}" + (
        " with uncommitted changes" if environment["git_dirty"] else ""
    )


def _machine(hardware: dict[str, Any]) -> str:
    gpus = Counter(hardware["gpus"])
    parts = [f"{hardware['cpu']}, {hardware['cores']} cores", *(f"{count} × {name}" for name, count in gpus.items())]
    return ", ".join(parts)


def _versions(environments: Iterable[dict[str, Any]], name: str) -> list[str]:
    return [environment["packages"][name] for environment in environments if name in environment["packages"]]


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))


def _tolerances(table: Table) -> list[Line]:
    """Which accuracies match; the reason once for all columns that share it."""
    headers = {column.name: f"{column.over} {column.header}".strip() for column in table.columns}
    by_tolerance: dict[Tolerance, list[str]] = {}
    for _, cell in table.cells():
        if cell.tolerance is not None:
            columns = by_tolerance.setdefault(cell.tolerance, [])
            if headers[cell.column] not in columns:
                columns.append(headers[cell.column])
    return [
        ("Tolerance", f"{', '.join(columns)} within {tolerance.value:g}. {tolerance.why}")
        for tolerance, columns in by_tolerance.items()
    ]


def _conventions(table: Table, complexities: Sequence[dict[str, Any]]) -> list[Line]:
    lines: list[Line] = []
    if sizes := sorted({(one.resolution, one.classes) for one in table.quantities if isinstance(one, NetworkSize)}):
        settings = " or ".join(f"{side}×{side} pixels and {classes} classes" for side, classes in sizes)
        lines.append(("Counting", f"one clip of {settings}, {COUNTED}"))
    if operators := sorted({name for record in complexities for name in record["uncounted"]}):
        lines.append(("Operators not counted", f"{', '.join(operators)} (how often: results/complexity)."))
    if layers := [one for one in table.quantities if isinstance(one, LayerSize)]:
        settings = ", ".join(f"{name} = {size}" for name, size in layers[0].setting)
        lines.append(("Counting, single layers", f"{settings}; {COUNTED_LAYERS}"))
    if any(isinstance(one, LibrarySize) for one in table.quantities):
        lines.append(('Verdict "library"', "the figure is that of a library's network, which is not quite the peer's."))
    return lines


_SHOWN = (
    "a pair of a verb and a noun scores the product of their probabilities in each view, averaged over the views "
    "(section 5.3)."
)


_JOINT = "The joint variant, which averages over the views before it multiplies, gives"


_ACTION_DECIMALS = 2


def action_scores(table: Table, results: Results) -> list[tuple[str, str]]:
    """A line if the table shows accuracies of actions, else none; see `tada.metrics.accuracy`."""
    headers = {column.name: f"{column.over} {column.header}".strip() for column in table.columns}
    joint: dict[str, list[str]] = {}
    shown = False
    for _, cell in table.cells():
        what = cell.quantity
        if not isinstance(what, Metric) or what.name not in ("top1_action", "top5_action"):
            continue
        shown = True
        value = measure(replace(what, name=f"{what.name}_joint"), results)
        if value.status == DONE:
            joint.setdefault(headers[cell.column], []).append(
                f"{' + '.join(what.models)} {_shown(value, _ACTION_DECIMALS)}"
            )
    if not shown:
        return []
    by_column = "; ".join(f"{header}: {', '.join(values)}" for header, values in joint.items())
    return [("Actions", f"{_SHOWN} {_JOINT} {by_column}." if joint else _SHOWN)]


def _shown(value: Value, decimals: int) -> str:
    spread = f" ± {show(value.std, decimals)}" if value.std is not None else ""
    return show(value.mean, decimals) + spread


_PROTOCOLS = {
    "hacs-localization": "ActivityNet's",
    "ek100-localization": "EPIC-KITCHENS-100's, in which verbs, nouns and actions are ranked by the same scores",
}


_PRECISION = "the mean over classes of the interpolated average precision"


_MAP_DECIMALS = 1


_GIVEN = (
    "were given, as the authors released them; no network was trained for them. Actions were classified by a linear "
    "classifier on the given features"
)


def localization(table: Table, results: Results) -> list[tuple[str, str]]:
    """Lines on every dataset in whose videos the table locates actions; none for other tables."""
    lines: list[tuple[str, str]] = []
    metrics = [what for what in table.quantities if isinstance(what, Metric)]
    for dataset in sorted({what.dataset for what in metrics}):
        models = list(dict.fromkeys(model for what in metrics if what.dataset == dataset for model in what.models))
        if not is_runnable(results.scale, dataset, models[0]):
            continue
        recipe = load_recipe(results.scale, dataset, models[0])
        if recipe.task != "localization":
            continue
        printed = {what.name.partition("@")[2] for what in metrics if what.dataset == dataset} - {""}
        lines.append((f"Protocol, {dataset}", _protocol(dataset, recipe.thresholds, len(printed))))
        lines += _proposals(dataset, models, recipe.recall_at, results)
        lines += _given(dataset, models, results)
    return lines


def _protocol(dataset: str, thresholds: Sequence[float], printed: int) -> str:
    step = round(thresholds[1] - thresholds[0], 6)
    text = (
        f"{_PROTOCOLS[dataset]}: {_PRECISION} at intersections over union of {thresholds[0]:g} to {thresholds[-1]:g} "
        f"in steps of {step:g}; Avg. is the mean over all {len(thresholds)}"
    )
    return text + (f", of which {printed} are shown." if printed < len(thresholds) else ".")


def _proposals(dataset: str, models: Sequence[str], count: int, results: Results) -> list[tuple[str, str]]:
    """Average recall of each network's proposals, and of windows that do not look at the video."""
    found = {model: measure(Metric(dataset, (model,), f"ar@{count}"), results) for model in models}
    found = {model: value for model, value in found.items() if value.status == DONE}
    if not found:
        return []
    by_windows = [measure(Metric(dataset, (model,), f"ar@{count}_uniform"), results) for model in found]
    uniform = [_shown(value, _MAP_DECIMALS) for value in by_windows]
    text = (
        f"average recall over the same thresholds, whatever the class, of {count} proposals per video: "
        f"{', '.join(f'{model} {_shown(value, _MAP_DECIMALS)}' for model, value in found.items())}; "
        f"of as many uniform sliding windows: {', '.join(dict.fromkeys(uniform))}."
    )
    return [(f"Proposals, {dataset}", text)]


def _given(dataset: str, models: Sequence[str], results: Results) -> list[tuple[str, str]]:
    """Networks whose features were not extracted, if any."""
    done = [result for model in models for result in results.runs(dataset, model) if result.status == DONE]
    given = dict.fromkeys(of.run.model for of in done if of.record.get("initial", {}).get("kind") == "features")
    return [(f"Features, {dataset}", f"those of {', '.join(given)} {_GIVEN}.")] if given else []
