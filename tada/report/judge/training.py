"""The noise of training that is known before a comparison: how far seeds of like networks lie apart.

Networks are alike that are trained on the same dataset at the same scale and measured by the same metric. Where these
have several seeds, here or in the scale's committed snapshot, the variances over seeds are pooled. The networks that
are compared are left out: their own seeds count by themselves (see `noise`). Else `paper.yaml` says what is assumed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tada.base import TadaError, files
from tada.report.judge.noise import NOTHING_KNOWN, UNKNOWN, NoiseSource, Training, weighted_sum
from tada.report.measure.archive import read_about, read_table
from tada.report.measure.results import Results
from tada.report.measure.samples import within_of_samples
from tada.report.measure.values import Value, measure
from tada.report.paper import about_paper
from tada.report.paper.quantities import CurvePoint, Difference, Metric, Quantity, category_of
from tada.runs.settings import Scale

SNAPSHOT = files.PROJECT / "snapshot"
"""The committed one, whose rows say how far the seeds of a scale's networks lie apart."""


def snapshot_folder(scale: Scale, root: Path) -> Path:
    """Where the snapshot of a scale lies: mini's is `root` itself, others lie in folders below it, by their names."""
    return root if scale is Scale.MINI else root / scale


ROWS = "rows"
"""The file of these rows, without its ending."""


ENOUGH = 8
"""Degrees of freedom from which on measured variances are preferred to what is assumed."""


COUNTED = 4
"""Degrees of freedom that a pooled variance counts as, since networks differ in their noise: see docs/statistics.md."""


@dataclass(frozen=True)
class SeedSpread:
    """How far the seeds of a network lie apart.

    Attributes:
        dataset: that of the runs.
        model: of an ensemble, its networks' names with " & " between them.
        metric: of the runs' records.
        seeds: number of seeds, two at least.
        variance: over seeds, in squared points.
        within: the part of it that differs from video to video.
    """

    dataset: str
    model: str
    metric: str
    seeds: int
    variance: float
    within: float


def seed_spread(metric: Metric, value: Value) -> SeedSpread | None:
    """That of a metric's runs; None of fewer than two seeds."""
    numbers = [float(number) for number in value.numbers.values()]
    if len(numbers) < 2:
        return None
    within = 0.0 if value.samples is None else within_of_samples(value.samples)
    variance = float(np.var(numbers, ddof=1))
    return SeedSpread(metric.dataset, " & ".join(metric.models), metric.name, len(numbers), variance, within)


@dataclass(frozen=True)
class SeedSpreads:
    """What is known of the noise of training at a scale: measured by (dataset, metric) and model, or assumed."""

    scale: Scale
    measured: Mapping[tuple[str, str], Mapping[str, tuple[SeedSpread, str]]] = field(default_factory=dict)

    def training(self, quantities: Iterable[Quantity]) -> Training:
        """For a comparison of quantities: from networks like theirs, but not theirs.

        Where several metrics are compared, the noise is that of the first that is measured. What is assumed holds for
        whole datasets: in a single category trainings differ by more, and nothing says by how much.
        """
        metrics = [metric for quantity in quantities for metric in metrics_of(quantity)]
        own = {model for metric in metrics for model in metric.models}
        for dataset, name in dict.fromkeys((metric.dataset, metric.name) for metric in metrics):
            measured = self.measured.get((dataset, name), {})
            others = [spread for model, (spread, _) in measured.items() if not own & set(model.split(" & "))]
            variance, within, freedom = _pooled(others)
            if freedom >= ENOUGH:
                return Training(variance, within, COUNTED, _source(dataset, list(measured.values())))
        of_a_category = any(category_of(metric.name) is not None for metric in metrics)
        return NOTHING_KNOWN if of_a_category and self.scale.trains else assumed(self.scale)


def _pooled(found: Sequence[SeedSpread]) -> tuple[float, float, int]:
    """Variance, what of it differs from video to video, and degrees of freedom of several networks together."""
    freedom = sum(spread.seeds - 1 for spread in found)
    if not freedom:
        return 0.0, 0.0, 0
    variance = sum(spread.variance * (spread.seeds - 1) for spread in found) / freedom
    return variance, sum(spread.within * (spread.seeds - 1) for spread in found) / freedom, freedom


def _source(dataset: str, measured: Sequence[tuple[SeedSpread, str]]) -> NoiseSource:
    """All networks that are pooled, so that a page on which each cell leaves out its own says it once."""
    variance, _, freedom = _pooled([spread for spread, _ in measured])
    places = " and ".join(dict.fromkeys(place for _, place in measured))
    words = (
        f"over the seeds of {len(measured)} networks on {dataset} {places} ({freedom} degrees of freedom, counted as "
        f"{COUNTED} since networks differ in it), less those that are compared"
    )
    return NoiseSource(words, variance**0.5)


def described(sources: Iterable[NoiseSource]) -> list[str]:
    """Each source of noise once; those of several metrics, which differ in the points alone, are one with a range."""
    points: dict[str, list[float]] = {}
    for source in sources:
        points.setdefault(source.words, []).extend([] if source.points is None else [source.points])
    return [f"{_range(numbers)}{words}" for words, numbers in points.items()]


def _range(points: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{end(points):.2f}" for end in (min, max)) if points else {}
    return f"{' to '.join(ends)} points " if ends else ""


def assumed(scale: Scale) -> Training:
    """What `paper.yaml` assumes at a scale; nothing where it says nothing. Checkpoints are not trained again."""
    if not scale.trains:
        return Training(0.0, 0.0, COUNTED, NoiseSource("none: these very checkpoints are tested"))
    found = about_paper().training.get(scale)
    if found is None:
        return NOTHING_KNOWN
    words = f"{found.sd:g} points assumed, as if from {found.freedom:g} degrees of freedom. {found.why}"
    return Training(found.sd**2, 0.0, found.freedom, NoiseSource(words))


def metrics_of(quantity: Quantity) -> list[Metric]:
    """The metrics of runs whose noise a quantity has; that of a curve's point is taken to be top-1's at the end."""
    match quantity:
        case Metric():
            return [quantity]
        case Difference():
            return [quantity.metric, quantity.base]
        case CurvePoint():
            return [Metric(quantity.dataset, (quantity.model,), "top1")]
        case _:
            return []


def seed_spreads(scale: Scale, values: Mapping[Quantity, Value], *, committed: bool = True) -> SeedSpreads:
    """From measurements of a page, and from the committed snapshot for networks of which a page has one seed.

    Args:
        scale: of the measurements.
        values: by quantity.
        committed: whether the snapshot is asked, too.

    Raises:
        TadaError: the snapshot is damaged.
    """
    measured: dict[tuple[str, str], dict[str, tuple[SeedSpread, str]]] = {}
    metrics = ((quantity, value) for quantity, value in values.items() if isinstance(quantity, Metric))
    here = [(found, "here") for metric, value in metrics if (found := seed_spread(metric, value))]
    kept = read_spreads(snapshot_folder(scale, SNAPSHOT), scale) if committed else []
    place = f"in {snapshot_folder(scale, Path('snapshot')).as_posix()}/"
    before = [(found, place) for found in kept]
    for spread, place in before + here:
        measured.setdefault((spread.dataset, spread.metric), {})[spread.model] = (spread, place)
    return SeedSpreads(scale, measured)


def read_spreads(snapshot: Path, scale: Scale) -> list[SeedSpread]:
    """Of the rows of a snapshot that have several seeds; none where there is no snapshot, or one of another scale.

    Raises:
        TadaError: it is damaged.
    """
    if not (path := snapshot / f"{ROWS}.csv").exists() or (about := read_about(snapshot)).scale != scale:
        return []
    rows = read_table(snapshot, ROWS, about).to_dict("records")
    try:
        return [
            SeedSpread(
                *(row["dataset"], row["model"], row["metric"]),
                *(int(row["seeds"]), float(row["std"]) ** 2, float(row["within"])),
            )
            for row in rows
            if int(row["seeds"]) > 1
        ]
    except (KeyError, ValueError) as error:
        raise TadaError(f"{path}: not as `tada snapshot` writes it ({error}); make it anew") from None


_COLUMNS = ("dataset", "model", "metric", "seeds", "wanted", "mean", "std", "within", "low", "high")


def rows_data(metrics: Sequence[Metric], results: Results) -> pd.DataFrame:
    """A snapshot's rows: a line for each metric, with the noise of training as these runs alone tell it."""
    values: dict[Quantity, Value] = {metric: measure(metric, results) for metric in metrics}
    spreads = seed_spreads(results.scale, values, committed=False)
    return pd.DataFrame([_row(metric, values[metric], spreads) for metric in metrics], columns=_COLUMNS)


def _row(metric: Metric, value: Value, spreads: SeedSpreads) -> dict[str, object]:
    """Over the seeds that are done: mean, its 95% interval, and standard deviation of one seed.

    `within` is the part of the squared deviation that differs from video to video; see `SeedSpread`.
    """
    line: dict[str, object] = {"dataset": metric.dataset, "model": " & ".join(metric.models), "metric": metric.name}
    line |= {"seeds": len(value.numbers), "wanted": value.wanted}
    line |= dict.fromkeys(("mean", "std", "within", "low", "high"), "")
    if value.mean is None:
        return line
    line["mean"] = f"{float(value.mean):.8g}"
    if (spread := seed_spread(metric, value)) is not None:
        line |= {"std": f"{spread.variance**0.5:.8g}", "within": f"{spread.within:.6g}"}
    estimate = weighted_sum([1.0], [value], spreads.training([metric]))
    if estimate.noise != UNKNOWN:
        line |= {"low": f"{estimate.low:.8g}", "high": f"{estimate.high:.8g}"}
    return line
