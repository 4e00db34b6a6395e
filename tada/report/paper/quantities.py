"""Quantities: whatever can be measured, whether a cell of a table, a point of a figure or a statement names it.

Each is a plain value that says which runs and which networks' sizes it needs, so that work is planned without loading
any network. A text in braces, e.g. `{ssv2/tada2d}` or `{complexity/tada2d/gflops}`, names one; see `parse_quantity`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from tada.base import TadaError, unknown
from tada.data.catalog import RECIPES
from tada.models.registry import model_names

CLASSES, RESOLUTION = 400, 256
"""Classes and pixels of the input's sides at which networks are counted where nothing else is said (Table 2)."""


LayerSetting = tuple[tuple[str, int], ...]
"""Sizes of a single layer by their names in Table 1, e.g. (("Co", 64), ("k", 3))."""


@dataclass(frozen=True)
class Quantity:
    """Something to be measured; `kind` is what the CSV files call it."""

    kind: ClassVar[str]

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of the runs that it is measured on."""
        return set()

    @property
    def complexities(self) -> set[tuple[str, int, int]]:
        """(model, classes, resolution in pixels) of the networks that have to be counted for it."""
        return set()


@dataclass(frozen=True)
class Metric(Quantity):
    """A metric of a model's runs on a dataset, or of the summed scores of several models' runs.

    `name` is a key of metrics.json, e.g. "top1", or "mean_class", top-1 accuracy averaged over classes, or "class_0",
    that of the videos of one class by its number.
    """

    dataset: str
    models: tuple[str, ...]
    name: str

    kind = "metric"

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of the runs whose scores are summed."""
        return {(self.dataset, model) for model in self.models}


def category_of(metric: str) -> int | None:
    """Number of the class whose videos a metric is of, such as "class_30"; None of any other metric."""
    found = re.fullmatch(r"class_(\d+)", metric)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Difference(Quantity):
    """A metric less the same metric of a base network, seed by seed."""

    metric: Metric
    base: Metric

    kind = "delta"

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of the runs of both."""
        return self.metric.runs | self.base.runs


@dataclass(frozen=True)
class CurvePoint(Quantity):
    """A column of curves.csv, in percent, at a share (0 to 1) of the training."""

    dataset: str
    model: str
    column: str
    share: float

    kind = "curve"

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of the run."""
        return {(self.dataset, self.model)}


@dataclass(frozen=True)
class NetworkSize(Quantity):
    """Parameters in millions ("params") or GFLOPs ("gflops") of a network, less those of the model `minus`.

    Of an ensemble's networks it is the sum.
    """

    models: tuple[str, ...]
    count: str
    classes: int = CLASSES
    resolution: int = RESOLUTION
    minus: str | None = None

    kind = "complexity"

    @property
    def complexities(self) -> set[tuple[str, int, int]]:
        """(model, classes, resolution in pixels) of its networks."""
        return {(m, self.classes, self.resolution) for m in (*self.models, *([self.minus] if self.minus else []))}


@dataclass(frozen=True)
class LayerSize(Quantity):
    """Weights ("params"), multiply-adds ("flops") or thousands of millions of them ("gflops") of one layer (Table 1).

    The layer does the `operation` at the `setting`; the count of the operation `minus` is subtracted.
    """

    operation: str
    count: str
    setting: LayerSetting
    minus: str | None = None

    kind = "layer"


@dataclass(frozen=True)
class CalibrationCost(Quantity):
    """GFLOPs that a network's TAdaConvs add to its convolutions, by Table 1's terms for each layer.

    At `RESOLUTION` pixels. Table 2's convention, that of `NetworkSize`, leaves pooling and products of weights out.
    """

    model: str

    kind = "calibration"


@dataclass(frozen=True)
class LibrarySize(Quantity):
    """GFLOPs of a peer's network as another library builds it, e.g. "torchvision.s3d"; resolution in pixels."""

    network: str
    frames: int
    resolution: int

    kind = "library"


@dataclass(frozen=True)
class Structure(Quantity):
    """The layers of one stage of a network, or the size of that stage's output (Table A1). Its value is a text."""

    model: str
    stage: str
    output: bool = False

    kind = "structure"


@dataclass(frozen=True)
class InitialDifference(Quantity):
    """Largest difference between the outputs of two networks at initialisation, as a share of the largest output.

    Both are built from one seed (section 3.2 and Appendix F: it is zero).
    """

    base: str
    model: str

    kind = "initialisation"


def runs_of(quantities: Iterable[Quantity]) -> set[tuple[str, str]]:
    """(dataset, model) of every run that any of them needs."""
    return {run for quantity in quantities for run in quantity.runs}


def complexities_of(quantities: Iterable[Quantity]) -> set[tuple[str, int, int]]:
    """(model, classes, resolution in pixels) of every network that has to be counted for any of them."""
    return {size for quantity in quantities for size in quantity.complexities}


def parse_quantity(text: str, where: str, setting: Callable[[], LayerSetting]) -> Quantity:
    """The quantity that a text names, in one of the forms of workflow/schemas/claims.schema.yaml.

    Args:
        text: e.g. "ssv2/tada2d", "complexity/tada2d/gflops" or "start/tsn/tada2d".
        where: stands before the message of an error.
        setting: gives the sizes of single layers; called only where one is named.

    Raises:
        TadaError: not one of the forms, or a model or dataset that does not exist.
    """
    form, *rest = text.split("/")
    match form, rest:
        case "complexity", [model, ("gflops" | "params") as count]:
            return NetworkSize((_model(model, where),), count)
        case "layer", [operation, "gflops"]:
            return LayerSize(operation, "gflops", setting())
        case "calibration", [model, "gflops"]:
            return CalibrationCost(_model(model, where))
        case "start", [base, model]:
            return InitialDifference(_model(base, where), _model(model, where))
        case "curve", [dataset, model, point]:
            column, _, share = point.partition("@")
            return CurvePoint(_dataset(dataset, where), _model(model, where), column, float(share or 1))
        case dataset, [models, *name] if len(name) < 2:
            return Metric(_dataset(dataset, where), _models(models, where), name[0] if name else "top1")
    raise TadaError(f"{where}: {text!r} is no reference; see workflow/schemas/claims.schema.yaml for their forms")


def _models(text: str, where: str) -> tuple[str, ...]:
    return tuple(_model(name.strip(), where) for name in text.split("&"))


def _model(name: str, where: str) -> str:
    if name not in model_names():
        raise unknown("model", name, model_names(), where)
    return name


def _dataset(name: str, where: str) -> str:
    if name not in RECIPES:
        raise unknown("dataset", name, [*RECIPES, "complexity", "layer", "calibration", "start", "curve"], where)
    return name
