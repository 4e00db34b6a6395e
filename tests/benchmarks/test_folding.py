"""Folded networks compute what the networks that they were made from compute."""

import pytest
import torch
from torch import nn

from benchmarks.folding import ScaledInPlace, fold_for_testing, scaled_in_place
from tada.conv import Calibration, TAdaConv2d, TAdaConv3d
from tada.models import build_model
from tada.models.registry import model_names


def trained(name, **overrides):
    """A small network with values as after some training, statistics that fit them included."""
    torch.manual_seed(0)
    model = build_model(name, 9, depth=[1, 2, 1, 1], width=16, **overrides).train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.3, 1.2)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
        if isinstance(module, Calibration):
            nn.init.normal_(module.emit.weight, std=0.2)
    with torch.no_grad():
        model(torch.randn(2, 3, model.frames, 32, 32))
    return model


@pytest.mark.parametrize("name", [name for name in model_names() if "of" not in name and "-res" not in name])
def test_folded_networks_compute_the_same(name):
    model = trained(name)
    folded = fold_for_testing(model)
    x = torch.randn(2, 3, model.frames, 32, 32)
    with torch.no_grad():
        expected = model.eval()(x)
        torch.testing.assert_close(folded(x), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 0.01


@pytest.mark.parametrize(("name", "left"), [("tsn", 0), ("tada2d", 0), ("r2plus1d+tada-2d-1d", 0), ("tada2d-max", 10)])
def test_no_batch_norm_is_left_but_those_around_a_maximum(name, left):
    folded = fold_for_testing(trained(name))
    assert sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in folded.modules()) == left


def test_the_network_itself_is_left_alone():
    model = trained("tada2d")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not fold_for_testing(model).training
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["tsn", "tada2d", "tada2d-k2", "slowfast-4x16+tada", "r2plus1d+tada-2d-1d"])
@pytest.mark.parametrize("fold", [False, True])
def test_channels_stay_last_from_end_to_end_for_a_single_clip(name, fold):
    model = fold_for_testing(trained(name)) if fold else trained(name).eval()
    others = []
    for part, module in model.named_modules():
        module.register_forward_hook(
            lambda _, inputs, y, part=part: others.append(part) if y.dim() == 5 and y.stride(1) != 1 else None
        )
    with torch.no_grad():
        model(torch.randn(1, 3, model.frames, 64, 64))
    assert others == []


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_scaling_in_place_computes_the_same_and_overwrites_channels_last_input(layout):
    torch.manual_seed(0)
    conv = TAdaConv2d(8, 6, 3, stride=2, padding=1).double().eval()
    nn.init.normal_(conv.calibration.emit.weight)
    x = torch.randn(2, 8, 4, 6, 6, dtype=torch.double).contiguous(memory_format=layout)
    expected, before = conv(x), x.clone()
    torch.testing.assert_close(scaled_in_place(conv)(x), expected)
    assert torch.equal(x, before) == (layout == torch.contiguous_format)  # whose frames are copied to be merged


@pytest.mark.parametrize(
    "conv",
    [TAdaConv2d(8, 8, 3, dimension="cin-cout"), TAdaConv2d(8, 8, 3, proportion=0.5), TAdaConv3d(8, 8, 3, padding=1)],
    ids=repr,
)
def test_other_calibrations_are_left_as_they_are(conv):
    assert scaled_in_place(conv) is conv


def test_a_folded_tada2d_scales_in_place():
    folded = fold_for_testing(trained("tada2d"))
    assert sum(isinstance(module, ScaledInPlace) for module in folded.modules()) == 5
