"""The value of every quantity: read from the records of runs, or found out on a built network or layer right here.

Layers are written in the notation of Table A1, e.g. "[1×1², 64; 1×3², 64; 1×1², 256] ×3". The peers' networks of
Table 7 are built by another library. Section 3.2 and Appendix F say that a network with TAdaConv computes, before any
training, the same as the one without; by how much two networks differ is measured, too.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tada.complexity import calibration_macs, measure_operation
from tada.models import build_model
from tada.report.measure.results import DONE, FAILED, PENDING, Problem, Results, RunResult
from tada.report.measure.samples import Samples, Unusable, read_samples
from tada.report.paper.quantities import (
    CLASSES,
    RESOLUTION,
    CalibrationCost,
    CurvePoint,
    Difference,
    InitialDifference,
    LayerSize,
    LibrarySize,
    Metric,
    NetworkSize,
    Quantity,
    Structure,
)
from tada.runs.record import METRICS

SIDE = 224
"""Height and width of Table A1's input; networks are built without values, so the size costs nothing."""


Shape = tuple[int, ...]


@cache
def _built(model: str) -> tuple[nn.Module, dict[str, tuple[Shape, Shape]]]:
    """The network and, for each of its direct parts, the shapes of its input and output."""
    with torch.device("meta"), torch.no_grad():
        network = build_model(model, 400).eval()
        shapes: dict[str, tuple[Shape, Shape]] = {}

        def watch(name: str) -> None:
            def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
                shapes[name] = (tuple(inputs[0].shape), tuple(output.shape))

            network.get_submodule(name).register_forward_hook(note)

        for name, _ in network.named_children():
            watch(name)
        network(torch.zeros(1, 3, network.frames, SIDE, SIDE))
    return network, shapes


def layers(model: str, stage: str) -> str:
    """The layers of a stage: "conv1", "res2" to "res5", or "head"."""
    network, shapes = _built(model)
    if stage == "conv1":
        conv = next(module for module in network.get_submodule("stem").modules() if isinstance(module, nn.Conv3d))
        return f"{_conv(conv)}; stride {conv.stride[0]}, {_squared(conv.stride[1:])}"
    if stage == "head":
        fed, _ = shapes["head"]
        pooled = ["global average pool"] if len(fed) == 2 else []
        return ", ".join(
            [*pooled, *("fc" for module in network.get_submodule("head").modules() if isinstance(module, nn.Linear))]
        )
    blocks = [_block(block) for block in network.get_submodule(stage).children()]
    return ", ".join(f"[{text}] ×{len(list(same))}" for text, same in groupby(blocks))


def output_size(model: str, stage: str) -> str:
    """Frames, height and width after a stage for a clip of 224×224 pixels, e.g. "8×56×56"."""
    _, shapes = _built(model)
    if stage == "head":
        fed, _ = shapes["head"]
        return "×".join(map(str, (*fed[2:], 1, 1, 1)[:3]))
    _, emitted = shapes["stem" if stage == "conv1" else stage]
    return "×".join(map(str, emitted[2:]))


def _block(block: nn.Module) -> str:
    """The convolutions on the residual branch, in order; those that generate calibration weights are none of them."""
    return "; ".join(
        _conv(module)
        for name, module in block.named_modules()
        if isinstance(module, nn.Conv3d) and not name.startswith("downsample")
    )


def _conv(conv: nn.Conv3d) -> str:
    return f"{conv.kernel_size[0]}×{_squared(conv.kernel_size[1:])}, {conv.out_channels}"


def _squared(pair: Shape) -> str:
    return f"{pair[0]}²" if pair[0] == pair[1] else f"{pair[0]}×{pair[1]}"


def _s3d(num_classes: int) -> nn.Module:
    from torchvision.models import video  # whose import takes as long as torch's, and one cell alone needs it

    network: nn.Module = video.s3d(num_classes=num_classes)
    return network


NETWORKS: dict[str, Callable[..., nn.Module]] = {"torchvision.s3d": _s3d}
"""Peers' networks by the name that a table's spec gives them."""


@cache
def gflops(network: str, frames: int, resolution: int) -> Decimal:
    """GFLOPs of a network of `NETWORKS` for one clip of `frames` frames and `resolution` x `resolution` pixels.

    As everywhere, a FLOP is a multiply-add of a convolution or linear layer; torch's counter counts two for each. The
    network is built without values, so its size costs no time.
    """
    with torch.device("meta"), torch.no_grad():
        built = NETWORKS[network](num_classes=400).eval()
        with FlopCounterMode(display=False) as counter:
            built(torch.empty(1, 3, frames, resolution, resolution))
    return Decimal(counter.get_total_flops() // 2).scaleb(-9)


@cache
def calibration_gflops(model: str) -> Decimal:
    """GFLOPs that the network's TAdaConvs add, by Table 1's terms, for one clip; see `calibration_macs`."""
    with torch.device("meta"):
        network = build_model(model, CLASSES).eval()
    return Decimal(calibration_macs(network, (1, 3, network.frames, RESOLUTION, RESOLUTION))).scaleb(-9)


_CLIP_SIDE = 64
"""Height and width of the input; weights and layers are those of the full-size network."""


@cache
def largest_difference(base: str, model: str) -> float:
    """Largest absolute difference of their logits for a random clip, as a share of the largest logit.

    Both compute in evaluation mode and in float32, whose rounding leaves shares of 1e-6 where sums are ordered
    differently.

    Args:
        base: name of a network, e.g. "tsn".
        model: name of another that is fed the same number of frames, e.g. "tada2d".
    """
    one, two = _outputs(base), _outputs(model)
    return float((one - two).abs().max() / one.abs().max())


@cache
def _outputs(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    network = build_model(name, 400).eval()
    clip = torch.randn(1, 3, network.frames, _CLIP_SIDE, _CLIP_SIDE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network(clip)


Number = float | Decimal


@dataclass(frozen=True)
class Value:
    """A measurement: a number for each seed, a single one where there are no seeds, or a text for a structure.

    Attributes:
        status: "done" as soon as one seed is; `problems` then say what is wrong with the others.
        numbers: by seed, in the unit that the paper prints (accuracies in percent).
        exact: whether another measurement would give the same number, as with a count.
        wanted: number of seeds asked for.
        problems: why runs or sizes behind it are not there.
        sources: files that it was read from.
        runs: of each seed in `numbers` the runs behind it, whose videos are its samples but for a `share_of`.
        metric: what of these runs it is.
        share_of: number of videos that it is a share of, where these are not known one by one.
        sides: of a difference, what is subtracted from what.
    """

    status: str
    numbers: Mapping[int, Number] = field(default_factory=dict)
    text: str = ""
    exact: bool = False
    wanted: int = 1
    problems: tuple[Problem, ...] = ()
    sources: tuple[Path, ...] = ()
    runs: tuple[tuple[RunResult, ...], ...] = ()
    metric: str = ""
    share_of: int | None = None
    sides: tuple["Value", "Value"] | None = None

    @property
    def mean(self) -> Number | None:
        """Mean over the seeds that are done; None if there is none."""
        return sum(self.numbers.values()) / len(self.numbers) if self.numbers else None

    @property
    def log(self) -> Path | None:
        """The log of the first run that failed."""
        return next((problem.log for problem in self.problems if problem.log), None)

    @property
    def std(self) -> float | None:
        """Standard deviation of a single seed (n - 1 in the denominator); None with fewer than two seeds."""
        return statistics.stdev(map(float, self.numbers.values())) if len(self.numbers) > 1 else None

    @cached_property
    def samples(self) -> Samples | None:
        """The test videos behind it, read when they are first asked for; None if they are not known one by one."""
        try:
            return read_samples(self.runs, self.metric) if self.runs and self.share_of is None else None
        except Unusable:
            return None


def measure(quantity: Quantity, results: Results) -> Value:
    """The value of a quantity, whose status says whether it is there."""
    match quantity:
        case Metric():
            value = _metric(quantity, results)
        case Difference():
            value = _difference(_metric(quantity.metric, results), _metric(quantity.base, results))
        case CurvePoint():
            value = _curve_point(quantity, results)
        case NetworkSize():
            value = _network_size(quantity, results)
        case LayerSize():
            value = _exact(_layer_size(quantity))
        case CalibrationCost():
            value = _exact(calibration_gflops(quantity.model))
        case LibrarySize():
            value = _exact(gflops(quantity.network, quantity.frames, quantity.resolution))
        case InitialDifference():
            value = _exact(largest_difference(quantity.base, quantity.model))
        case Structure():
            describe = output_size if quantity.output else layers
            value = Value(DONE, text=describe(quantity.model, quantity.stage), exact=True)
        case _:
            raise TypeError(f"no way to measure a {type(quantity).__name__}")
    return value


def _exact(number: Number) -> Value:
    return Value(DONE, {0: number}, exact=True)


def _metric(quantity: Metric, results: Results) -> Value:
    """From the run's record or, where it does not say it, from the scores."""
    value = _by_seed(quantity.dataset, quantity.models, results, lambda runs: _of_one_seed(runs, quantity.name))
    return replace(value, metric=quantity.name)


def _of_one_seed(runs: tuple[RunResult, ...], name: str) -> float:
    metrics = runs[0].record.metrics if len(runs) == 1 else {}
    if name in metrics:
        return float(metrics[name])
    try:
        return float(read_samples([runs], name).by_seed[0])
    except Unusable as error:
        text = f"{METRICS} has no {name!r}, only {', '.join(metrics)}; {error}" if metrics else str(error)
        raise Unusable(text) from None


def _curve_point(quantity: CurvePoint, results: Results) -> Value:
    value = _by_seed(quantity.dataset, (quantity.model,), results, lambda runs: _on_curve(runs[0], quantity))
    part = "train" if quantity.column.startswith("train") else "validation"
    videos = [runs[0].record.dataset[part].used for runs in value.runs]
    return replace(value, metric=f"{quantity.column}@{quantity.share}", share_of=min(videos, default=None))


def _on_curve(result: RunResult, quantity: CurvePoint) -> float:
    """The last value of the column at or before a share of the epochs; the first one's where that is none."""
    try:
        curves = result.curves()
        rows = curves.iloc[: max(1, round(quantity.share * len(curves)))][quantity.column].dropna()
        return float(rows.iloc[-1])
    except (KeyError, ValueError, IndexError) as error:
        raise Unusable(f"curves.csv has no {quantity.column}: {error}") from None


def _by_seed(
    dataset: str, models: Sequence[str], results: Results, number: Callable[[tuple[RunResult, ...]], float]
) -> Value:
    """The number of each seed of which all models' runs are done."""
    seeds, problems = finished(dataset, models, results)
    numbers, used = {}, []
    for runs in seeds:
        try:
            numbers[runs[0].run.seed] = number(runs)
            used.append(runs)
        except Unusable as error:
            problems += (replace(runs[0], status=FAILED, reason=str(error)).problem,)
    return Value(
        _status(numbers, problems),
        numbers,
        wanted=results.seeds,
        problems=problems,
        sources=tuple(result.source for runs in used for result in runs),
        runs=tuple(used),
    )


def finished(
    dataset: str, models: Sequence[str], results: Results
) -> tuple[list[tuple[RunResult, ...]], tuple[Problem, ...]]:
    """For each seed of which all models' runs are done, those runs; and what is wrong with the other runs."""
    by_seed = list(zip(*(results.runs(dataset, model) for model in models), strict=True))
    seeds = [runs for runs in by_seed if all(run.status == DONE for run in runs)]
    problems = [run.problem for runs in by_seed for run in runs if run.status != DONE]
    return seeds, tuple(dict.fromkeys(problems))


def _difference(value: Value, base: Value) -> Value:
    """`value` less `base`, seed by seed; not there as long as they have no seed in common."""
    numbers = {
        seed: float(number) - float(base.numbers[seed])
        for seed, number in value.numbers.items()
        if seed in base.numbers
    }
    problems = tuple(dict.fromkeys(value.problems + base.problems))
    sources = tuple(dict.fromkeys(value.sources + base.sources))
    status = _status(numbers, problems)
    return Value(status, numbers, wanted=value.wanted, problems=problems, sources=sources, sides=(value, base))


def _status(numbers: Mapping[int, Number], problems: Sequence[Problem]) -> str:
    failed = any(problem.status == FAILED for problem in problems)
    return DONE if numbers else FAILED if failed else PENDING


def _network_size(quantity: NetworkSize, results: Results) -> Value:
    key, digits = ("params", 6) if quantity.count == "params" else ("macs", 9)
    total, problems, sources = Decimal(0), [], []
    counted = [*((model, 1) for model in quantity.models), *([(quantity.minus, -1)] if quantity.minus else [])]
    for model, sign in counted:
        record = results.complexity(model, quantity.classes, quantity.resolution)
        if record is None:
            network = f"complexity of {model} ({quantity.classes} classes, {quantity.resolution} pixels)"
            problems.append(Problem(network, PENDING, "not measured yet"))
            continue
        total += Decimal(sign * getattr(record, key)).scaleb(-digits)
        sources.append(results.complexity_file(model, quantity.classes, quantity.resolution))
    if problems:
        return Value(PENDING, problems=tuple(problems))
    return Value(DONE, {0: total}, exact=True, sources=tuple(sources))


def _layer_size(quantity: LayerSize) -> Decimal:
    def count(operation: str) -> int:
        counted = measure_operation(operation, dict(quantity.setting))
        return counted.params if quantity.count == "params" else counted.macs

    number = Decimal(count(quantity.operation) - (count(quantity.minus) if quantity.minus else 0))
    return number.scaleb(-9) if quantity.count == "gflops" else number
