"""The layers of Table 1 against the formulas that the paper prints, and against what they compute."""

import pytest
import torch

from tada.base.errors import TadaError
from tada.conv import TAdaConv2d
from tada.models.cost import OPERATIONS, Correlation, PerFrameTAdaConv2d, measure_operation

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
