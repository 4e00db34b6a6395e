"""Parameters and FLOPs: the paper's figures to the printed digit, and three ways of counting against each other.

The layers of Table 1: against the formulas that the paper prints, and against what they compute.
"""

import functools
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tada.base import TadaError
from tada.complexity import (
    OPERATIONS,
    Correlation,
    PerFrameTAdaConv2d,
    calibration_macs,
    measure,
    measure_operation,
    report,
)
from tada.conv import TAdaConv2d
from tada.models import build_model
from tada.models.registry import model_names


@functools.cache
def without_values(name, classes=400):
    with torch.device("meta"):
        return build_model(name, classes).eval()


def parameters(name, classes=400):
    return sum(parameter.numel() for parameter in without_values(name, classes).parameters())


@functools.cache
def torch_count(name, classes=400, resolution=256):
    """Multiply-adds by torch's own counter, which needs no values and therefore no time."""
    model = without_values(name, classes)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, model.frames, resolution, resolution, device="meta"))
    assert counter.get_total_flops() % 2 == 0  # it counts a multiply-add as two
    return counter.get_total_flops() // 2


def closed_form(model, shape):
    """Multiply-adds from the geometry of the layers: output positions x inputs of one output."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    hooks = [
        module.register_forward_hook(add)
        for module in model.modules()
        if isinstance(module, (nn.Conv1d, nn.Conv3d, nn.Linear))
    ]
    with torch.no_grad():
        model(torch.empty(shape, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("name", model_names())
def test_fvcore_torch_and_closed_form_agree(name):
    torch.manual_seed(0)
    model = build_model(name, 14, depth=[1, 1, 2, 1], width=16).eval()
    shape = (2, 3, model.frames, 40, 40)
    counted = measure(model, shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(shape))
    assert counted.macs == counter.get_total_flops() // 2 == closed_form(model, shape)
    assert counted.params == sum(parameter.numel() for parameter in model.parameters())


OF_SHAPES = {"rsub", "view_as", "floor_divide"}
"""What a trace has and no tensor's values go through: arithmetic of sizes, and views."""


@pytest.mark.parametrize("name", ["tsn", "tada2d", "tada2d-mix", "tada2d-cin-cout", "tsm", "slowfast-8x8+tada"])
def test_without_fvcore_torch_counts_the_same(name, monkeypatch):
    pytest.importorskip("fvcore")
    model = build_model(name, 14, depth=[1, 1, 2, 1], width=16)
    shape = (2, 3, model.frames, 40, 40)
    by_fvcore = measure(model, shape)
    monkeypatch.setitem(sys.modules, "fvcore", None)  # as where it is not installed
    by_torch = measure(model, shape)
    assert by_torch.macs == by_fvcore.macs == sum(by_torch.by_operator.values())
    rest = {name: count for name, count in by_fvcore.uncounted.items() if name not in OF_SHAPES}
    if name == "tsm":  # of sizes, too: how many channels are shifted
        assert rest.pop("mul") == 2 * 5
    assert by_torch.uncounted == rest


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_fvcore_table_1_is_the_same(operation, monkeypatch):
    pytest.importorskip("fvcore")
    setting = {"Co": 8, "Ci": 8, "k": 3, "T": 4, "H": 6, "W": 5, "r": 4}
    by_fvcore = measure_operation(operation, setting)
    monkeypatch.setitem(sys.modules, "fvcore", None)
    assert measure_operation(operation, setting).macs == by_fvcore.macs


@pytest.mark.parametrize("name", ["tada2d", "slowfast-8x8+tada"])
def test_at_full_size_too(name):
    assert report(name, 400, 256)["macs"] == torch_count(name)


PRINTED = [  # Table 2, with the classes and resolution that the figures belong to
    ("slowonly", 32.454, 54.518),
    ("slowonly+tada", 35.604, 54.535),
    ("slowfast-4x16", 34.480, 36.099),
    ("slowfast-4x16+tada", 37.680, 36.109),
    ("slowfast-8x8", 34.566, 65.709),
    ("slowfast-8x8+tada", 37.767, 65.726),
    ("r2plus1d", 28.108, 49.552),
    ("r2plus1d+tada-2d", 29.997, 49.567),
    ("r2plus1d+tada-2d-1d", 31.886, 49.583),
    ("r3d", 46.981, 84.231),
    ("tada2d", 27.485, 43.126),
    ("tada2d-16f", 27.485, 86.250),
]


@pytest.mark.parametrize(("name", "millions", "gflops"), PRINTED)
def test_figures_of_tables_2_and_7(name, millions, gflops):
    assert parameters(name) / 1e6 == pytest.approx(millions, abs=0.00051)
    assert torch_count(name) / 1e9 == pytest.approx(gflops, abs=0.00051)


def test_tsm_at_224_pixels():
    assert torch_count("tsm", resolution=224) / 1e9 == pytest.approx(33.006, abs=0.0005)


@pytest.mark.parametrize(
    ("name", "millions", "gflops"),
    [
        ("tada2d", 3.1578, 0.01635),
        ("tada2d-cout", 3.1578, 0.01635),
        ("tada2d-cin-cout", 4.1009, 0.02389),
        ("tada2d-k2", 2.2402, 0.00901),
    ],
)
def test_increments_of_table_4(name, millions, gflops):
    assert (parameters(name) - parameters("tsn")) / 1e6 == pytest.approx(millions, abs=0.00005)
    assert (torch_count(name) - torch_count("tsn")) / 1e9 == pytest.approx(gflops, abs=0.000005)


class Foreign(nn.Module):
    """Something with operators that nobody counts."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)

    def forward(self, x):
        return torch.erf(self.norm(self.conv(x))).cumsum(2).relu()


def test_uncounted_operators_are_listed_and_the_mode_is_kept():
    model = Foreign().train()
    counted = measure(model, (1, 3, 4, 5, 6))
    assert counted.macs == 4 * 3 * 27 * 4 * 5 * 6
    assert counted.uncounted == {"batch_norm": 1, "cumsum": 1, "erf": 1, "relu": 1}
    assert model.training
    assert not model.norm.num_batches_tracked


def test_report_says_what_was_counted():
    record = report("tsn", 174, 32)
    assert {key: record[key] for key in ("model", "classes", "frames", "resolution")} == {
        "model": "tsn",
        "classes": 174,
        "frames": 8,
        "resolution": 32,
    }
    assert record["macs"] == sum(record["by_operator"].values()) == torch_count("tsn", 174, 32)
    assert record["uncounted"]["batch_norm"] == 53
    assert record["environment"]["packages"]["torch"]


SETTING = {"Co": 64, "Ci": 64, "k": 3, "T": 8, "H": 56, "W": 56, "r": 4}
OTHER = {"Co": 24, "Ci": 24, "k": 5, "T": 4, "H": 9, "W": 7, "r": 2}

PARAMETERS = {
    "spatial": "Co*Ci*k**2",
    "temporal": "Co*Ci*k",
    "shift": "Co*Ci*k**2",
    "factorised": "Co*Ci*(k**2+k)",
    "volumetric": "Co*Ci*k**3",
    "correlation": "Ci*T*k**2",
    "tadaconv": "Co*Ci*k**2 + 2*Ci*Ci//r*k",
}
FLOPS = {
    "correlation": "Ci*k**2*T*H*W",
    "tadaconv": "Co*Ci*k**2*T*H*W + Ci*T*H*W + 2*Ci*Ci//r*k*T + Co*Ci*k**2*T",
}


@pytest.mark.parametrize("setting", [SETTING, OTHER])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_layers_count_what_the_formulas_say(operation, setting):
    counted = measure_operation(operation, setting)
    flops = FLOPS.get(operation, f"({PARAMETERS[operation]})*T*H*W")
    assert counted.params == eval(PARAMETERS[operation], {}, setting)
    assert counted.macs == eval(flops, {}, setting)


def test_footnote_2():
    gflops = {name: measure_operation(name, SETTING).macs / 1e9 for name in ("spatial", "factorised", "tadaconv")}
    assert {name: f"{value:.4f}" for name, value in gflops.items()} == {
        "spatial": "0.9248",
        "factorised": "1.2331",
        "tadaconv": "0.9268",
    }


@pytest.mark.parametrize("setting", [SETTING, OTHER])
def test_a_layers_calibration_is_what_the_formula_adds(setting):
    """Whatever form the layer computes in, and with global context, which Table 1 leaves out."""
    k = setting["k"]
    layer = TAdaConv2d(setting["Ci"], setting["Co"], k, padding=k // 2, kernels=(k, k), reduction=setting["r"])
    added = eval(f"{FLOPS['tadaconv']} - Co*Ci*k**2*T*H*W", {}, setting)
    for batch in (1, 3):
        assert calibration_macs(layer, [batch, *(setting[size] for size in ("Ci", "T", "H", "W"))]) == batch * added


def test_a_networks_calibration_by_table_1():
    """SlowOnly's sixteen layers, of which the first of res3 to res5 see a frame of twice the size."""
    with torch.device("meta"):
        network = build_model("slowonly+tada", 400).eval()
    sides = {64: [64] * 3, 128: [64, *[32] * 3], 256: [32, *[16] * 5], 512: [16, 8, 8]}
    layers = [(width, side) for width, found in sides.items() for side in found]
    added = sum(c * 8 * side**2 + 2 * c * c // 4 * 3 * 8 + c * c * 9 * 8 for c, side in layers)
    assert calibration_macs(network, (1, 3, 8, 256, 256)) == added == 125_550_592
    assert not any(module._forward_hooks for module in network.modules())


def test_unknown_operations_give_the_nearest():
    with pytest.raises(TadaError, match="did you mean 'spatial'"):
        measure_operation("spacial", SETTING)


@pytest.mark.parametrize("bias", [True, False])
def test_per_frame_form_is_the_same_function(bias):
    torch.manual_seed(0)
    ours = TAdaConv2d(8, 6, 3, stride=2, padding=1, bias=bias)
    torch.nn.init.normal_(ours.calibration.emit.weight)
    published = PerFrameTAdaConv2d(8, 6, 3, stride=2, padding=1, bias=bias)
    published.load_state_dict(ours.state_dict())
    x = torch.randn(2, 8, 4, 7, 7)
    torch.testing.assert_close(published(x), ours(x))


def test_correlation_is_the_weighted_sum_over_the_neighbourhood():
    torch.manual_seed(0)
    layer = Correlation(3, 4, 3).double()
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(1, 3, 4, 5, 5, dtype=torch.double)
    y, weight = layer(x), layer.weight.view(4, 3, 3, 3)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    for c, t, i, j in [(0, 0, 0, 0), (1, 2, 3, 4), (2, 3, 2, 2)]:
        near = padded[0, c, min(t + 1, 3), i : i + 3, j : j + 3]
        torch.testing.assert_close(y[0, c, t, i, j], (weight[t, c] * x[0, c, t, i, j] * near).sum())
