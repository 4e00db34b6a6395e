"""The noise of training that is known before a comparison: how far seeds of like networks lie apart.

Networks are alike that are trained on the same dataset at the same scale and measured by the same metric. Where these
have several seeds, here or in the scale's committed snapshot, the variances over seeds are pooled. The networks that
are compared are left out: their own seeds count by themselves (see `noise`). Else `paper.yaml` says what is assumed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

from tada.base import TadaError, files
from tada.report.judge.noise import NOTHING_KNOWN, Training, units_of, within_of
from tada.report.measure.samples import Hits
from tada.report.measure.values import Value
from tada.report.paper import about_paper
from tada.report.paper.quantities import CurvePoint, Difference, Metric, Quantity
from tada.runs.settings import Scale

SNAPSHOT = files.PROJECT / "snapshot" / "noise.csv"
"""Variances over seeds of a scale's networks, as `tada snapshot` writes them."""


ENOUGH = 8
"""Degrees of freedom from which on measured variances are preferred to what is assumed."""


MOST = 20
"""Degrees of freedom that a pooled variance counts as at most: networks differ in their noise, by some 16% then."""


@dataclass(frozen=True)
class SeedSpread:
    """How far the seeds of a network lie apart: a line of snapshot/noise.csv.

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
    samples, within = value.samples, 0.0
    if samples is not None:
        within = within_of(units_of(samples.shares, samples.groups if isinstance(samples, Hits) else None))
    variance = float(np.var(numbers, ddof=1))
    return SeedSpread(metric.dataset, " & ".join(metric.models), metric.name, len(numbers), variance, within)


@dataclass(frozen=True)
class SeedSpreads:
    """What is known of the noise of training at a scale: measured by (dataset, metric) and model, or assumed."""

    scale: Scale
    measured: Mapping[tuple[str, str], Mapping[str, tuple[SeedSpread, str]]] = field(default_factory=dict)

    def training(self, quantities: Iterable[Quantity]) -> Training:
        """For a comparison of quantities: from networks like theirs, but not theirs.

        Where several metrics are compared, the noise is that of the first that is measured.
        """
        metrics = [metric for quantity in quantities for metric in metrics_of(quantity)]
        own = {model for metric in metrics for model in metric.models}
        for dataset, name in dict.fromkeys((metric.dataset, metric.name) for metric in metrics):
            found = [
                one
                for model, one in self.measured.get((dataset, name), {}).items()
                if not own & set(model.split(" & "))
            ]
            freedom = sum(spread.seeds - 1 for spread, _ in found)
            if freedom >= ENOUGH:
                return _pooled(found, freedom, dataset)
        return assumed(self.scale)


def _pooled(found: Sequence[tuple[SeedSpread, str]], freedom: int, dataset: str) -> Training:
    variance, within = (
        sum(getattr(spread, name) * (spread.seeds - 1) for spread, _ in found) / freedom
        for name in ("variance", "within")
    )
    places = " and ".join(dict.fromkeys(place for _, place in found))
    counted = f", counted as {MOST}" if freedom > MOST else ""
    source = (
        f"{variance**0.5:.2f} points over the seeds of {len(found)} other networks on {dataset} {places} "
        f"({freedom} degrees of freedom{counted})"
    )
    return Training(variance, within, min(freedom, MOST), source)


def assumed(scale: Scale) -> Training:
    """What `paper.yaml` assumes at a scale; nothing where it says nothing. Checkpoints are not trained again."""
    if not scale.trains:
        return Training(0.0, 0.0, MOST, "none: these very checkpoints are tested")
    found = about_paper().training.get(scale)
    if found is None:
        return NOTHING_KNOWN
    source = f"{found.sd:g} points assumed, as if from {found.freedom:g} degrees of freedom. {found.why}"
    return Training(found.sd**2, 0.0, found.freedom, source)


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


def seed_spreads(scale: Scale, values: Mapping[Quantity, Value], snapshot: Path | None = None) -> SeedSpreads:
    """From measurements of a page, and from the snapshot for networks that have one seed here.

    Args:
        scale: of the measurements.
        values: by quantity.
        snapshot: the file of a committed snapshot, by default `SNAPSHOT`; it need not be there.

    Raises:
        TadaError: the file is damaged.
    """
    measured: dict[tuple[str, str], dict[str, tuple[SeedSpread, str]]] = {}
    committed = [(one, "in snapshot/") for one in read_spreads(snapshot or SNAPSHOT, scale)]
    here = [(one, "here") for one in spreads_of(values)]
    for spread, place in committed + here:
        measured.setdefault((spread.dataset, spread.metric), {})[spread.model] = (spread, place)
    return SeedSpreads(scale, measured)


def spreads_of(values: Mapping[Quantity, Value]) -> list[SeedSpread]:
    """Of every metric among measured quantities that has two seeds or more."""
    metrics = ((quantity, value) for quantity, value in values.items() if isinstance(quantity, Metric))
    return [found for metric, value in metrics if (found := seed_spread(metric, value))]


def read_spreads(path: Path, scale: Scale) -> list[SeedSpread]:
    """The lines of a scale in a file of `write_spreads`' form; none where there is no such file.

    Raises:
        TadaError: a column is missing or holds something else.
    """
    if not path.exists():
        return []
    try:
        frame = pd.read_csv(path, keep_default_na=False)
        lines = frame[frame["scale"] == scale].drop(columns="scale").to_dict("records")
        return [SeedSpread(**{str(name): value for name, value in line.items()}) for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise TadaError(f"{path}: not written by `tada snapshot`, which writes it anew: {error}") from None


def spreads_data(scale: Scale, spreads: Sequence[SeedSpread]) -> pd.DataFrame:
    """The lines of such a file."""
    lines = [{"scale": str(scale), **vars(one)} for one in spreads]
    return pd.DataFrame(lines, columns=["scale", *(one.name for one in fields(SeedSpread))]).round(6)
