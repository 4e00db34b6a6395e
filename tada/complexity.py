"""Parameters and FLOPs of a network, counted as the paper counts them in Tables 2, 4 and 7.

One multiply-add is one FLOP. Convolutions and linear layers count, those of the calibration function included. Batch
norms, biases, poolings, additions and element-wise products do not; what a network does beyond the counted operators is
listed beside the figure (`uncounted`). Input 256 x 256 and 400 classes unless a table says otherwise, batch 1.

Table 1 counts by another convention: see `tada.operations`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # fvcore scripts a function that is of no use here
    from fvcore.nn.jit_analysis import JitModelAnalysis
    from fvcore.nn.jit_handles import (
        Handle,
        addmm_flop_jit,
        bmm_flop_jit,
        conv_flop_jit,
        einsum_flop_jit,
        linear_flop_jit,
        matmul_flop_jit,
    )

COUNTED: Mapping[str, Handle] = {
    "aten::_convolution": conv_flop_jit,
    "aten::linear": linear_flop_jit,
    "aten::addmm": addmm_flop_jit,
    "aten::mm": matmul_flop_jit,
    "aten::bmm": bmm_flop_jit,
    "aten::matmul": matmul_flop_jit,
    "aten::einsum": einsum_flop_jit,
}

# Operators that compute nothing from values: they look at a tensor in another way, copy it, or read its shape.
_MOVES = """
    Int cat chunk clone constant_pad_nd contiguous copy_ detach dropout dropout_ expand expand_as feature_dropout
    flatten full index_select linspace movedim narrow new_zeros ones pad permute reshape roll select size slice split
    split_with_sizes squeeze stack t to transpose unbind unflatten unfold unsqueeze view zeros zeros_like
"""
MOVES = frozenset(f"aten::{name}" for name in _MOVES.split())


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


def measure(model: nn.Module, input_shape: Sequence[int], also: Mapping[str, Handle] | None = None) -> Complexity:
    """Parameters and multiply-adds of `model`, from one traced forward pass in evaluation mode.

    Args:
        model: any network of one tensor; its mode is left as it was.
        input_shape: of that tensor, e.g. `(1, 3, 8, 256, 256)`; the batch counts.
        also: more operators to count, as handles of fvcore.
    """
    parameter = next(model.parameters())
    example = torch.zeros(*input_shape, device=parameter.device, dtype=parameter.dtype)
    counted = {**COUNTED, **(also or {})}
    training = model.training
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which torch calls deprecated
            analysis = JitModelAnalysis(model.eval(), (example,)).set_op_handle(**counted)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            analysis._ignored_ops = set()  # operators that fvcore would drop without a word
            by_operator = {name: int(count) for name, count in sorted(analysis.by_operator().items())}
            rest = sorted(analysis.unsupported_ops().items())
    finally:
        model.train(training)
    return Complexity(
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(by_operator.values()),
        by_operator=by_operator,
        uncounted={name.removeprefix("aten::"): count for name, count in rest if name not in MOVES},
    )


def report(model: str, classes: int, resolution: int) -> dict[str, Any]:
    """The complexity of a model of `config/models.yaml` as `results/complexity/` keeps it, environment included."""
    from tada.models import build_model
    from tada.provenance import environment

    network = build_model(model, classes)
    shape = (1, 3, network.frames, resolution, resolution)
    return {
        "model": model,
        "classes": classes,
        "frames": network.frames,
        "resolution": resolution,
        **asdict(measure(network, shape)),
        "environment": environment(),
    }
