"""What stands under a table, so that a reader can judge its numbers: provenance, conventions and verdicts.

Tables of EPIC-KITCHENS-100's actions add how pairs of a verb and a noun are scored; tables of localization, how
detections are scored, and how good their proposals are.
"""

from collections.abc import Sequence
from dataclasses import replace

from tada.base.devices import environment
from tada.base.provenance import Environment
from tada.data.catalog import localization_of
from tada.report.measure.results import DONE, Line, Results, about_code, about_runs
from tada.report.measure.values import Value, measure
from tada.report.paper import about_paper
from tada.report.paper.printed import show
from tada.report.paper.quantities import Difference, LayerSize, LibrarySize, Metric, NetworkSize, Structure
from tada.report.paper.tables import Table
from tada.runs.recipes import is_runnable, load_recipe
from tada.runs.record import CountedNetwork

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
    environments: list[Environment] = []
    if table.runs:
        runs = results.all_runs(table.runs)
        lines += about_runs(runs, results)
        environments += [result.record.environment for result in runs if result.status == DONE]
    found = (results.complexity(*key) for key in sorted(table.complexities))
    complexities = [record for record in found if record]
    environments += [record.environment for record in complexities]
    if any(isinstance(one, LayerSize | LibrarySize | Structure) for one in table.quantities):
        environments.append(environment())  # counted while the table was built
    lines += action_scores(table, results) + localization(table, results)
    lines += about_code(environments) + _conventions(table, complexities)
    return lines + (_verdicts(table) if results.scale.gives_verdicts else [])


def _verdicts(table: Table) -> list[Line]:
    """Which accuracies match."""
    accuracies = [cell for _, cell in table.cells() if isinstance(cell.quantity, Metric | Difference)]
    tolerance = next((cell.tolerance for cell in accuracies if cell.tolerance), None)
    if tolerance is not None:
        said = f"what is published for a checkpoint matches within {tolerance.value:g}. {tolerance.why}"
        return [("Tolerance", said)]
    same = about_paper().same
    if not accuracies or same is None:
        return []
    said = (
        "the paper's accuracy is of a single training. A difference to it matches where its 90% interval, with the "
        f"noise of trainings here and there, lies within {same.points:g} points, is off where its 95% interval does "
        f"not hold zero, and is unclear else; a note says how many seeds would decide. {same.why}"
    )
    return [("Verdicts", said)]


def _conventions(table: Table, complexities: Sequence[CountedNetwork]) -> list[Line]:
    lines: list[Line] = []
    if sizes := sorted({(one.resolution, one.classes) for one in table.quantities if isinstance(one, NetworkSize)}):
        settings = " or ".join(f"{side}×{side} pixels and {classes} classes" for side, classes in sizes)
        lines.append(("Counting", f"one clip of {settings}, {COUNTED}"))
    if operators := sorted({name for record in complexities for name in record.uncounted}):
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


def action_scores(table: Table, results: Results) -> list[Line]:
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
    """Mean and standard deviation of a metric that is there."""
    if value.mean is None:
        raise ValueError(f"a metric that is {value.status} cannot be shown")
    spread = f" ± {show(value.std, decimals)}" if value.std is not None else ""
    return show(value.mean, decimals) + spread


_PRECISION = "the mean over classes of the interpolated average precision"


_MAP_DECIMALS = 1


_PRECOMPUTED = "were given, as the authors released them; no network was trained for them. Actions were classified by"


_GIVEN_BMN = "; proposals are those of the BMN that the authors released"


def localization(table: Table, results: Results) -> list[Line]:
    """Lines on every dataset in whose videos the table locates actions; none for other tables."""
    lines: list[Line] = []
    metrics = [what for what in table.quantities if isinstance(what, Metric)]
    for dataset in sorted({what.dataset for what in metrics}):
        models = list(dict.fromkeys(model for what in metrics if what.dataset == dataset for model in what.models))
        models = [model for model in models if is_runnable(results.scale, dataset, model)]
        if not models:
            continue
        recipe = load_recipe(results.scale, dataset, models[0])
        if recipe.task != "localization":
            continue
        printed = {what.name.partition("@")[2] for what in metrics if what.dataset == dataset} - {""}
        lines.append((f"Protocol, {dataset}", _protocol(recipe.videos, recipe.thresholds, len(printed))))
        lines += _official(dataset, table, results)
        lines += _proposals(dataset, models, recipe.recall_at, results)
        lines += _precomputed(dataset, models, results)
    return lines


def _protocol(dataset: str, thresholds: Sequence[float], printed: int) -> str:
    step = round(thresholds[1] - thresholds[0], 6)
    text = (
        f"{localization_of(dataset).protocol}: {_PRECISION} at intersections over union of {thresholds[0]:g} to "
        f"{thresholds[-1]:g} in steps of {step:g}; Avg. is the mean over all {len(thresholds)}"
    )
    return text + (f", of which {printed} are shown." if printed < len(thresholds) else ".")


_OF_KNOWN_ACTIONS = (
    "the authors' published evaluation leaves out predictions whose verb and noun never occur together in the ground "
    "truth, and so do the cells of verbs and nouns."
)


def _official(dataset: str, table: Table, results: Results) -> list[Line]:
    """What the official evaluation gives where the cells follow the authors' own: the averages of verbs and nouns."""
    averages: dict[str, list[str]] = {}
    judged = False
    for _, cell in table.cells():
        what = cell.quantity
        if not isinstance(what, Metric) or what.dataset != dataset or what.name not in ("map_verb", "map_noun"):
            continue
        judged = True
        value = measure(replace(what, name=f"{what.name}_official"), results)
        if value.status == DONE:
            averages.setdefault(" + ".join(what.models), []).append(
                f"{what.name.removeprefix('map_')} {_shown(value, _MAP_DECIMALS)} (reported: {cell.reported})"
            )
    if not judged:
        return []
    found = "; ".join(f"{model} {', '.join(values)}" for model, values in averages.items())
    text = f"{_OF_KNOWN_ACTIONS} Avg. by the official evaluation, which keeps them: {found}."
    return [(f"Verbs and nouns, {dataset}", text if found else _OF_KNOWN_ACTIONS)]


def _proposals(dataset: str, models: Sequence[str], count: int, results: Results) -> list[Line]:
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


def _precomputed(dataset: str, models: Sequence[str], results: Results) -> list[Line]:
    """Networks whose features were not extracted, by what classified their actions, if any."""
    done = [result for model in models for result in results.runs(dataset, model) if result.status == DONE]
    by_classifier: dict[str, list[str]] = {}
    for of in done:
        if of.record.initial.kind == "features":
            by_classifier.setdefault(of.record.initial.classifier, []).append(of.run.model)
    return [
        (
            f"Features, {dataset}",
            f"those of {', '.join(dict.fromkeys(of))} {_PRECOMPUTED} {classifier}"
            f"{'' if results.scale.trains else _GIVEN_BMN}.",
        )
        for classifier, of in by_classifier.items()
    ]
