"""The structure of the networks: Table A1's output sizes and convolutions."""

import pytest
import torch

from tada.conv import TAdaConv1d, TAdaConv2d, TAdaConv3d, VideoConv
from tada.models import build_model


def shapes_of_stages(model, size):
    shapes, stages = [], [model.stem, *(model.get_submodule(f"res{n}") for n in (2, 3, 4, 5))]
    for module in stages:
        module.register_forward_hook(lambda _, inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.randn(1, 3, model.frames, size, size))
    return shapes


def built(name, **overrides):
    with torch.device("meta"):
        return build_model(name, 400, **overrides).eval()


@pytest.mark.parametrize("name", ["tsn", "tada2d", "r2plus1d", "r3d", "tsm"])
def test_output_sizes_are_those_of_table_a1(name):
    with torch.device("meta"):
        assert shapes_of_stages(built(name), 224) == [
            (64, 8, 112, 112),
            (256, 8, 56, 56),
            (512, 8, 28, 28),
            (1024, 8, 14, 14),
            (2048, 8, 7, 7),
        ]


def test_slowonly_keeps_its_max_pool():
    with torch.device("meta"):
        assert shapes_of_stages(built("slowonly"), 256)[:2] == [(64, 8, 64, 64), (256, 8, 64, 64)]


def adaptive(model):
    return {name: type(module) for name, module in model.named_modules() if isinstance(module, TAdaConv3d)}


@pytest.mark.parametrize("name", ["tada2d", "tsn+tada", "slowonly+tada"])
def test_tadaconv_is_the_middle_convolution_of_all_sixteen_blocks(name):
    found = adaptive(built(name))
    assert len(found) == 16
    assert all(key.endswith("conv2") and kind is TAdaConv2d for key, kind in found.items())


def test_tadaconv_in_other_networks():
    assert set(adaptive(built("r3d+tada")).values()) == {TAdaConv3d}
    kinds = list(adaptive(built("r2plus1d+tada-2d-1d")).values())
    assert kinds.count(TAdaConv2d) == kinds.count(TAdaConv1d) == 16
    assert len(adaptive(built("slowfast-4x16+tada"))) == 32


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_tadaconv_in_one_stage(number):
    assert {name.split(".")[0] for name in adaptive(built(f"tsn+tada-res{number}"))} == {f"res{number}"}


def test_the_middle_convolution_carries_the_stride():
    convs = {name: module for name, module in built("tsn").named_modules() if isinstance(module, VideoConv)}
    strided = {name for name, conv in convs.items() if conv.stride[1] == 2}
    assert strided == {"stem.conv1"} | {f"res{n}.0.{part}" for n in (2, 3, 4, 5) for part in ("conv2", "downsample.0")}
    assert {conv.stride[0] for conv in convs.values()} == {1}


def test_features_are_pooled_over_the_clip():
    model = build_model("tsn", 7, depth=[1, 1, 1, 1], width=16).eval()
    x = torch.randn(2, 3, 8, 32, 32)
    assert model.features(x).shape == (2, 512)
    assert torch.equal(model(x), model.head.linear(model.features(x)))
