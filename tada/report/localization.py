"""What stands under a table of localization: how detections are scored, and how good their proposals are."""

from collections.abc import Sequence

from tada.recipes import LOCALIZATION, RELEASED, is_runnable, load_recipe
from tada.report.measures import Metric
from tada.report.printed import show
from tada.report.results import DONE, Results
from tada.report.table_spec import Table
from tada.report.values import Value, accuracy

_PROTOCOLS = {
    "hacs-localization": "ActivityNet's",
    "ek100-localization": "EPIC-KITCHENS-100's, in which verbs, nouns and actions are ranked by the same scores",
}
_PRECISION = "the mean over classes of the interpolated average precision"
_DECIMALS = 1
_GIVEN = (
    "were given, as the authors released them; no network was trained for them. Actions were classified by a linear "
    "classifier on the given features"
)


def localization(table: Table, results: Results) -> list[tuple[str, str]]:
    """Lines on every dataset in whose videos the table locates actions; none for other tables."""
    lines: list[tuple[str, str]] = []
    if results.scale == RELEASED:
        return lines
    metrics = [what for what in table.measures if isinstance(what, Metric) and what.dataset.endswith(LOCALIZATION)]
    for dataset in sorted({what.dataset for what in metrics}):
        models = list(dict.fromkeys(model for what in metrics if what.dataset == dataset for model in what.models))
        if not is_runnable(results.scale, dataset, models[0]):
            continue
        recipe = load_recipe(results.scale, dataset, models[0])
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
    found = {model: accuracy(dataset, (model,), f"ar@{count}", results) for model in models}
    found = {model: value for model, value in found.items() if value.status == DONE}
    if not found:
        return []
    uniform = [_text(accuracy(dataset, (model,), f"ar@{count}_uniform", results)) for model in found]
    text = (
        f"average recall over the same thresholds, whatever the class, of {count} proposals per video: "
        f"{', '.join(f'{model} {_text(value)}' for model, value in found.items())}; "
        f"of as many uniform sliding windows: {', '.join(dict.fromkeys(uniform))}."
    )
    return [(f"Proposals, {dataset}", text)]


def _given(dataset: str, models: Sequence[str], results: Results) -> list[tuple[str, str]]:
    """Networks whose features were not extracted, if any."""
    done = [result for model in models for result in results.runs(dataset, model) if result.status == DONE]
    given = dict.fromkeys(of.run.model for of in done if of.record.get("initial", {}).get("kind") == "features")
    return [(f"Features, {dataset}", f"those of {', '.join(given)} {_GIVEN}.")] if given else []


def _text(value: Value) -> str:
    spread = f" ± {show(value.std, _DECIMALS)}" if value.std is not None else ""
    return show(value.mean, _DECIMALS) + spread
