"""What a cell of a table is a measurement of. Plain values: what they need is planned without loading any network.

What the claims' statements refer to, e.g. `ssv2/tada2d` or `complexity/tada2d/gflops`, as plain values.
"""

from dataclasses import dataclass

from tada.base.errors import TadaError, unknown
from tada.models.registry import model_names


@dataclass(frozen=True)
class Tolerance:
    """How far a reproduced accuracy may be from the reported one, in its own unit, and why that far."""

    value: float
    why: str


@dataclass(frozen=True)
class Metric:
    """An accuracy of a run, or of the summed scores of several runs: `name` is a key of metrics.json, e.g. "top1"."""

    dataset: str
    models: tuple[str, ...]
    name: str
    tolerance: Tolerance


@dataclass(frozen=True)
class Delta:
    """The difference of a column's value between this row and the row `base`, seed by seed."""

    column: str
    base: str
    tolerance: Tolerance


@dataclass(frozen=True)
class Complexity:
    """Parameters in millions or GFLOPs of a network (their sum for an ensemble), less those of the model `minus`."""

    models: tuple[str, ...]
    quantity: str
    classes: int
    resolution: int
    minus: str | None = None


@dataclass(frozen=True)
class Layer:
    """Weights ("params"), multiply-adds ("flops") or thousands of millions of them ("gflops") of one layer (Table 1).

    The layer does the `operation` at the table's `setting`; the count of the operation `minus` is subtracted.
    """

    operation: str
    quantity: str
    setting: tuple[tuple[str, int], ...]
    formula: bool = False
    minus: str | None = None


@dataclass(frozen=True)
class Structure:
    """The layers of one stage of a network, or the size of what that stage emits (Table A1)."""

    model: str
    stage: str
    output: bool = False


@dataclass(frozen=True)
class Library:
    """GFLOPs of a peer's network as another library builds it, e.g. "torchvision.s3d"; resolution in pixels."""

    network: str
    frames: int
    resolution: int


Measure = Metric | Delta | Complexity | Layer | Structure | Library


DATASETS = ("ssv2", "k400", "ek100", "hacs", "ek100-localization", "hacs-localization")


CLASSES, RESOLUTION = 400, 256
"""At which networks are counted (Table 2)."""


@dataclass(frozen=True)
class RunMetric:
    """A metric of a model's runs on a dataset, or of the summed scores of several models' runs.

    `name` is a key of metrics.json, or "mean_class": top-1 accuracy averaged over classes.
    """

    dataset: str
    models: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class CurvePoint:
    """A column of curves.csv at a share (0 to 1) of the training."""

    dataset: str
    model: str
    column: str
    share: float


@dataclass(frozen=True)
class Size:
    """GFLOPs ("gflops") or millions of parameters ("params") of a network with 400 classes for 256x256 pixels."""

    model: str
    quantity: str


@dataclass(frozen=True)
class LayerCost:
    """GFLOPs of one of Table 1's operations at footnote 2's sizes."""

    operation: str


@dataclass(frozen=True)
class Start:
    """Largest difference between the outputs of two networks of one seed before training, as a share of the largest."""

    base: str
    model: str


Reference = RunMetric | CurvePoint | Size | LayerCost | Start


def parse_reference(text: str, where: str) -> Reference:
    """The reference that stands in braces in a statement.

    Raises:
        TadaError: not a form of reference, or a model that does not exist; `where` stands before the message.
    """
    kind, *rest = text.split("/")
    match kind, rest:
        case "complexity", [model, ("gflops" | "params") as quantity]:
            return Size(_model(model, where), quantity)
        case "layer", [operation, "gflops"]:
            return LayerCost(operation)
        case "start", [base, model]:
            return Start(_model(base, where), _model(model, where))
        case "curve", [dataset, model, point]:
            column, _, share = point.partition("@")
            return CurvePoint(_dataset(dataset, where), _model(model, where), column, float(share or 1))
        case dataset, [models]:
            return RunMetric(_dataset(dataset, where), _models(models, where), "top1")
        case dataset, [models, name]:
            return RunMetric(_dataset(dataset, where), _models(models, where), name)
    raise TadaError(f"{where}: {text!r} is no reference; see workflow/schemas/claims.schema.yaml for their forms")


def _models(text: str, where: str) -> tuple[str, ...]:
    return tuple(_model(name.strip(), where) for name in text.split("&"))


def _model(name: str, where: str) -> str:
    if name not in model_names():
        raise unknown("model", name, model_names(), where)
    return name


def _dataset(name: str, where: str) -> str:
    if name not in DATASETS:
        raise unknown("dataset", name, [*DATASETS, "complexity", "layer", "start", "curve"], where)
    return name
