"""Parameters and FLOPs, counted as the paper counts them.

Tables 2, 4 and 7 count networks (`measure`, `report`). One multiply-add is one FLOP. Convolutions and linear layers
count, those of the calibration function included. Batch norms, biases, poolings, additions and element-wise products do
not; what a network does beyond the counted operators is listed beside the figure (`uncounted`). Input 256 x 256 and 400
classes unless a table says otherwise, batch 1.

Table 1 and footnote 2 count single layers (`OPERATIONS`, `measure_operation`) by a convention of their own. Parameters
are those of convolution kernels alone. FLOPs are the multiply-adds of the convolutions and, for TAdaConv, two things
that the other tables leave out: the pooling of the frame descriptors (`Ci·T·H·W`) and the product of base and
calibration weight for every frame (`Co·Ci·k²·T`). TAdaConv is the published form there, with a kernel for every frame,
and without global context.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from tada.base import unknown
from tada.base.devices import environment
from tada.base.typed_json import to_json
from tada.conv import TAdaConv2d, TAdaConv3d, VideoConv, frame_descriptors, merged_frames, split_frames
from tada.models import build_model
from tada.models.blocks import temporal_shift, video_conv

# Operators that compute nothing from values: they look at a tensor in another way, copy it, or read its shape.
_MOVES = """
    Int _to_copy _unsafe_view alias as_strided cat chunk clone constant_pad_nd contiguous copy_ detach dropout dropout_
    empty empty_like expand expand_as feature_dropout flatten full index_select linspace movedim narrow new_zeros ones
    pad permute reshape roll select size slice split split_with_sizes squeeze stack t to transpose unbind unflatten
    unfold unsqueeze view zeros zeros_like
"""


MOVES = frozenset(_MOVES.split())


@dataclass(frozen=True)
class Complexity:
    """Size and cost of a network for one input.

    Attributes:
        params: all trainable numbers, those of batch norms and biases included.
        macs: multiply-adds of the counted operators, the paper's FLOPs.
        by_operator: `macs` split by operator.
        uncounted: operator -> how often it ran without being counted.
    """

    params: int
    macs: int
    by_operator: dict[str, int]
    uncounted: dict[str, int]

    def __str__(self) -> str:
        return f"{self.params / 1e6:.3f} M parameters, {self.macs / 1e9:.3f} GFLOPs"


READS, WRITES = "reads", "writes"
"""What an operator may cost that is counted in addition: the numbers that it reads, or those that it writes."""


def measure(model: nn.Module, input_shape: Sequence[int], also: Mapping[str, str] | None = None) -> Complexity:
    """Parameters and multiply-adds of `model`, from one forward pass in evaluation mode.

    Counted by fvcore, as most of the field does, or by torch where there is no fvcore or it cannot trace; they agree.

    Args:
        model: any network of one tensor; its mode is left as it was.
        input_shape: of that tensor, e.g. `(1, 3, 8, 256, 256)`; the batch counts.
        also: more operators to count, such as "mul", and whether each costs what it READS or WRITES.
    """
    parameter = next(model.parameters())
    example = torch.zeros(*input_shape, device=parameter.device, dtype=parameter.dtype)
    training = model.training
    try:
        with torch.no_grad():
            count = _count_by_fvcore if _has_fvcore() else _count_by_torch
            by_operator, rest = count(model.eval(), example, also or {})
    finally:
        model.train(training)
    return Complexity(
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(by_operator.values()),
        by_operator=dict(sorted(by_operator.items())),
        uncounted={name: count for name, count in sorted(rest.items()) if name not in MOVES},
    )


def _has_fvcore() -> bool:
    """Whether fvcore is there and can trace: Python 3.14 cannot."""
    return sys.version_info < (3, 14) and find_spec("fvcore") is not None


_Counts = tuple[Mapping[str, int], Mapping[str, int]]
"""Multiply-adds of the counted operators, and how often each other one ran."""


def _count_by_fvcore(model: nn.Module, example: Tensor, also: Mapping[str, str]) -> _Counts:
    """From a trace of the forward pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which torch calls deprecated
        from fvcore.nn import jit_handles as handles
        from fvcore.nn.jit_analysis import JitModelAnalysis

        counted = {
            "aten::_convolution": handles.conv_flop_jit,
            "aten::linear": handles.linear_flop_jit,
            "aten::addmm": handles.addmm_flop_jit,
            "aten::mm": handles.matmul_flop_jit,
            "aten::bmm": handles.bmm_flop_jit,
            "aten::matmul": handles.matmul_flop_jit,
            "aten::einsum": handles.einsum_flop_jit,
        }
        for name, cost in also.items():
            counted[f"aten::{name}"] = handles.elementwise_flop_counter(int(cost == READS), int(cost == WRITES))
        analysis = JitModelAnalysis(model, (example,)).set_op_handle(**counted)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis._ignored_ops = set()  # operators that fvcore would drop without a word
        macs = {name: int(count) for name, count in analysis.by_operator().items()}
        return macs, {name.removeprefix("aten::"): count for name, count in analysis.unsupported_ops().items()}


# What torch runs for an operator -> the name that a trace has of it.
_TRACED = {
    "_native_batch_norm_legit_no_training": "batch_norm",
    "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
}


class _Ran(TorchDispatchMode):
    """Notes which operators run that torch's counter of FLOPs does not know, and what those of `also` cost."""

    def __init__(self, also: Mapping[str, str]) -> None:
        super().__init__()
        self.also = also
        self.macs: Counter[str] = Counter()
        self.rest: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func` and take note of it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in self.also:
            self.macs[f"aten::{name}"] += (args[0] if self.also[name] == READS else result).numel()
        elif func.overloadpacket not in flop_registry:
            self.rest[_TRACED.get(name, name)] += 1
        return result


def _count_by_torch(model: nn.Module, example: Tensor, also: Mapping[str, str]) -> _Counts:
    """From the operators that torch runs, of which its own counter takes a multiply-add as two."""
    with _Ran(also) as ran, FlopCounterMode(display=False) as counter:
        model(example)
    flops = counter.get_flop_counts().get("Global", {})
    return {f"aten::{packet.__name__}": count // 2 for packet, count in flops.items()} | ran.macs, ran.rest


def calibration_macs(model: nn.Module, input_shape: Sequence[int]) -> int:
    """What the TAdaConvs of a network cost beyond the convolutions that they take the place of, in multiply-adds.

    By the terms of Table 1, `Ci·THW + 2·Ci·Ci/r·k·T + Co·Ci·k²·T`, summed over all layers: the pooling of the frame
    descriptors, the convolutions along time, and the product of base and calibration weight for every frame, whatever
    form the layer computes in. As there, the linear map of the global descriptor is left out.

    Args:
        model: a network of one tensor, on any device; on "meta" it costs no time.
        input_shape: of that tensor, e.g. `(1, 3, 8, 256, 256)`; the batch counts.
    """
    total = 0

    def count(layer: TAdaConv3d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        along_time = sum(conv.weight.numel() for conv in layer.calibration.modules() if isinstance(conv, nn.Conv1d))
        clips, frames = inputs[0].shape[0], inputs[0].shape[2]
        total += inputs[0].numel() + clips * (along_time * frames + layer.weight.numel() * output.shape[2])

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, TAdaConv3d)]
    try:
        with torch.no_grad():
            model(torch.zeros(*input_shape, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def report(model: str, classes: int, resolution: int) -> dict[str, Any]:
    """The complexity of a model of `config/models.yaml` as `results/complexity/` keeps it, environment included."""
    network = build_model(model, classes)
    shape = (1, 3, network.frames, resolution, resolution)
    return {
        "model": model,
        "classes": classes,
        "frames": network.frames,
        "resolution": resolution,
        **asdict(measure(network, shape)),
        "environment": to_json(environment()),
    }


# What Table 1 counts in addition: a sum costs what it reads (the pooling), a product what it writes (the kernels).
_ALSO = {"sum": READS, "mul": WRITES}


class PerFrameTAdaConv2d(TAdaConv2d):
    """TAdaConv as published: builds the kernel of every frame and convolves all frames as groups of one convolution.

    The same function as `TAdaConv2d` over input channels, kept for Table 1 and as the baseline of the benchmarks.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Eq. 3 to the letter: `[N, Cin, T, H, W] -> [N, Cout, T, H', W']`."""
        merged = merged_frames(x)
        alpha = self.calibration(frame_descriptors(merged, x.shape[0])).flatten(0, 1)  # [N * T, Cin]
        kernels = (alpha[:, None, :, None, None] * self.weight.squeeze(2)).flatten(0, 1)
        joined = merged.reshape(1, -1, *x.shape[3:])
        y = F.conv2d(joined, kernels, None, self.stride[1:], self.padding[1:], self.dilation[1:], len(merged))
        y = split_frames(y.view(len(merged), self.out_channels, *y.shape[2:]), x.shape[0])
        return y if self.bias is None else y + self.bias[:, None, None, None]


class Shift(nn.Module):
    """TSM's temporal shift before a spatial convolution."""

    def __init__(self, c_in: int, c_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = video_conv(c_in, c_out, 1, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, Cin, T, H, W] -> [N, Cout, T, H, W]`."""
        return self.conv(temporal_shift(x))


class Correlation(nn.Module):
    """A frame's positions correlated with their neighbourhood in the next, under learned weights (Wang et al., 2020).

    The weights `Ci x T x k²` differ by channel, frame and neighbour. Since a position's own value is common to all its
    neighbours, their weighted sum is one depth-wise convolution of the next frame, times the value.
    """

    def __init__(self, channels: int, frames: int, kernel: int) -> None:
        super().__init__()
        self.channels, self.frames, self.kernel = channels, frames, kernel
        self.weight = nn.Parameter(torch.ones(frames * channels, 1, kernel, kernel))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, Ci, T, H, W] -> [N, Ci, T, H, W]`; the last frame is correlated with itself."""
        following = torch.cat([x[:, :, 1:], x[:, :, -1:]], 2).transpose(1, 2).flatten(1, 2)
        near = F.conv2d(following, self.weight, padding=self.kernel // 2, groups=self.frames * self.channels)
        return x * near.unflatten(1, (self.frames, self.channels)).transpose(1, 2)


def _tadaconv(c_in: int, c_out: int, k: int, r: int) -> nn.Module:
    published: dict[str, Any] = {"kernels": (k, k), "global_context": False, "reduction": r}
    return PerFrameTAdaConv2d(c_in, c_out, k, padding=k // 2, bias=False, **published)


OPERATIONS: Mapping[str, Callable[[Mapping[str, int]], nn.Module]] = {
    "spatial": lambda s: video_conv(s["Ci"], s["Co"], 1, s["k"]),
    "temporal": lambda s: video_conv(s["Ci"], s["Co"], s["k"], 1),
    "shift": lambda s: Shift(s["Ci"], s["Co"], s["k"]),
    "factorised": lambda s: nn.Sequential(
        video_conv(s["Ci"], s["Co"], 1, s["k"]), video_conv(s["Co"], s["Co"], s["k"], 1)
    ),
    "volumetric": lambda s: video_conv(s["Ci"], s["Co"], s["k"], s["k"]),
    "correlation": lambda s: Correlation(s["Ci"], s["T"], s["k"]),
    "tadaconv": lambda s: _tadaconv(s["Ci"], s["Co"], s["k"], s["r"]),
}
"""Rows of Table 1 -> a layer on `[N, Ci, T, H, W]`, from sizes by the table's symbols."""


def measure_operation(operation: str, setting: Mapping[str, int]) -> Complexity:
    """Parameters and multiply-adds of a layer, measured on the layer by the convention of Table 1 (see the module).

    Args:
        operation: a key of `OPERATIONS`; "factorised" is (2+1)D, "volumetric" 3D.
        setting: sizes `Co`, `Ci`, `k`, `T`, `H`, `W` and, for TAdaConv, `r`.

    Raises:
        TadaError: an unknown operation.
    """
    if operation not in OPERATIONS:
        raise unknown("operation", operation, OPERATIONS)
    layer = OPERATIONS[operation](setting)
    shape = (1, setting["Ci"], setting["T"], setting["H"], setting["W"])
    counted = measure(layer, shape, _ALSO if operation == "tadaconv" else None)
    kernels = [module.weight for module in layer.modules() if isinstance(module, (VideoConv, nn.Conv1d, Correlation))]
    return replace(counted, params=sum(kernel.numel() for kernel in kernels))
