"""What a cell of a table is a measurement of. Plain values: what they need is planned without loading any network."""

from dataclasses import dataclass


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
