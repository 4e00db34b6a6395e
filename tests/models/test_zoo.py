"""Every model of config/models.yaml: builds, starts out as the network without TAdaConv, refuses what does not fit."""

import re

import pytest
import torch

from tada.base import TadaError
from tada.conv import Calibration, VideoConv
from tada.models import build_model
from tada.models.registry import model_names, model_options

SMALL = {"depth": [1, 1, 1, 1], "width": 16}
NAMES = model_names()
ADAPTIVE = [name for name in NAMES if "tada" in model_options(name)]
OPEN = {"last_gamma": 1}  # so that residual branches, where TAdaConv stands, are not multiplied with zero


def build(name, seed=0, **overrides):
    torch.manual_seed(seed)
    return build_model(name, overrides.pop("num_classes", 14), **SMALL, **overrides)


def logits(model, x, training):
    torch.manual_seed(1)  # for the dropout
    with torch.no_grad():
        return model.train(training)(x)


def equal_outputs(model, other):
    x = torch.randn(2, 3, model.frames, 32, 32)
    return all(torch.equal(logits(model, x, mode), logits(other, x, mode)) for mode in (True, False))


def test_the_papers_models_are_all_there():
    assert len(NAMES) == len(set(NAMES)) == 45
    for name in ("tsn", "tsn+nonlin-k1-3", "tada2d", "tsn+tada-res5", "slowfast-8x8+tada", "tsm-16f"):
        assert name in NAMES


@pytest.mark.parametrize("name", ADAPTIVE)
def test_equals_the_network_without_tadaconv_to_the_bit_at_initialisation(name):
    assert equal_outputs(build(name, initial=OPEN), build(name, initial=OPEN, tada=None))


@pytest.mark.parametrize("name", ["tada2d", "tada2d-max", "tada2d-mix", "tada2d-k2", "tsn+avg-sc-sepbn"])
def test_tada2d_equals_tsn_to_the_bit_at_initialisation(name):
    assert equal_outputs(build(name), build("tsn"))


def in_slowfasts_family(name):
    return name.startswith(("slowonly", "slowfast"))


@pytest.mark.parametrize("name", NAMES)
def test_last_gammas_are_zero_in_slowfasts_family_alone(name):
    gammas = {key: value for key, value in build(name).state_dict().items() if re.search(r"bn\d\.weight$", key)}
    last = {key for key in gammas if key.endswith("bn3.weight")}
    assert len(last) == (8 if name.startswith("slowfast") else 4)
    for key, gamma in gammas.items():
        assert (gamma == (0 if key in last and in_slowfasts_family(name) else 1)).all(), key


@pytest.mark.parametrize("name", ["tsn", "tada2d", "r2plus1d", "r3d", "slowonly", "slowfast-8x8+tada"])
@pytest.mark.parametrize("classes", [400, {"verb": 97, "noun": 300}])
def test_heads_start_as_in_the_first_release(name, classes):
    linear = build(name, num_classes=classes).head.linear
    for layer in [linear] if isinstance(classes, int) else linear.values():
        weights, bound = layer.weight.detach(), layer.in_features**-0.5
        if in_slowfasts_family(name):  # as PySlowFast's
            assert weights.std().item() == pytest.approx(0.01, rel=0.02)
            assert weights.abs().max() > 0.035 and not layer.bias.any()
        else:  # PyTorch's default: U(-bound, bound)
            assert weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
            assert 0.99 * bound < weights.abs().max() <= bound
            assert layer.bias.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)
            assert layer.bias.abs().max() <= bound


@pytest.mark.parametrize("name", ["tada2d", "slowfast-8x8+tada", "r2plus1d+tada-2d-1d", "r3d+tada"])
def test_convolutions_and_calibrations_start_as_he_et_al_propose(name):
    """A standard deviation of sqrt(2 / fan out), where fan out is output channels times taps."""
    drawn = 0
    for key, module in build(name).named_modules():
        if isinstance(module, VideoConv):
            weights, biases = [module.weight], [module.bias]
        elif isinstance(module, Calibration):
            layers = [layer for layer in (module.global_fc, module.reduce) if layer is not None]
            weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
            assert not module.emit.weight.any(), key
        else:
            continue
        for weight in weights:
            std = (2 / (len(weight) * weight[0, 0].numel())) ** 0.5
            if weight.numel() > 2000:  # of fewer values the deviation is not known well enough
                assert weight.std().item() == pytest.approx(std, rel=0.1), key
                drawn += 1
        assert all(bias is None or not bias.any() for bias in biases), key
    assert drawn > 10


def test_base_weights_of_another_seed_are_others():
    assert not equal_outputs(build("tada2d", seed=1), build("tsn"))


@pytest.mark.parametrize("name", ADAPTIVE)
def test_every_parameter_is_trained(name):
    model = build(name, initial=OPEN).train()
    for module in model.modules():
        if isinstance(module, Calibration):  # as after a first step: the last layer starts at zero
            torch.nn.init.normal_(module.emit.weight, std=0.1)
    x = torch.randn(2, 3, model.frames, 32, 32)
    model(x).square().sum().backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []


def test_heads_by_name():
    model = build("tsn", num_classes={"verb": 5, "noun": 7}).eval()
    scores = model(torch.randn(2, 3, 8, 32, 32))
    assert {name: tuple(score.shape) for name, score in scores.items()} == {"verb": (2, 5), "noun": (2, 7)}


@pytest.mark.parametrize("name", ["tsn", "slowfast-4x16"])
@pytest.mark.parametrize("shape", [(2, 3, 7, 32, 32), (2, 4, 8, 32, 32), (3, 8, 32, 32)])
def test_an_input_that_does_not_fit_is_refused(name, shape):
    model = build(name)
    with pytest.raises(TadaError) as caught:
        model(torch.randn(shape))
    assert f"{list(shape)}: expected [N, 3, {model.frames}, H, W]" in str(caught.value)


def test_unknown_names_and_options_give_the_nearest():
    with pytest.raises(TadaError, match="unknown model 'tada2'; did you mean 'tada2d"):
        build_model("tada2", 14)
    with pytest.raises(TadaError, match="tsn: unknown key 'dpeth'; did you mean 'depth'"):
        build_model("tsn", 14, dpeth=[1, 1, 1, 1])
    with pytest.raises(TadaError, match=r"tsn.tada: unknown key 'dimesion'; did you mean 'dimension'"):
        build_model("tsn", 14, tada={"dimesion": "cin"})
    with pytest.raises(TadaError, match="slowonly: unknown key 'alpha'"):
        build_model("slowonly", 14, alpha=4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"depth": [1, 1, 1]}, "tsn.depth: .* too short"),
        ({"kind": "2d+1"}, r"did you mean '2\+1d'"),
        ({"initial": {"head": "unifrom"}}, "tsn.initial.head: unknown value 'unifrom'; did you mean 'uniform'"),
        ({"initial": {"last_gama": 0}}, "tsn.initial: unknown key 'last_gama'; did you mean 'last_gamma'"),
        ({"aggregation": {"pool": "mean"}}, "tsn.aggregation.pool: unknown value 'mean'"),
        ({"aggregation": {"shortcut": False, "separate_bn": True}}, "needs the shortcut"),
        ({"tada": {"temporal": True}}, "3x1x1 convolution"),
        ({"tada": {"kernels": [2]}}, r"^options of a model: tsn: kernels \[2\]: expected one"),
        ({"tada": {"dimension": "k2", "proportion": 0.5}}, "^options of a model: tsn: proportion 0.5 of k2: expected"),
    ],
)
def test_options_that_do_not_go_together_are_refused(overrides, message):
    with pytest.raises(TadaError, match=message):
        build_model("tsn", 14, **{**SMALL, **overrides})


def test_slowfast_needs_frames_that_alpha_divides():
    with pytest.raises(TadaError, match="multiple of 8 frames, not 12"):
        build("slowfast-4x16", frames=12)


def test_networks_without_values_can_be_built_and_run():
    with torch.device("meta"):
        model = build_model("tada2d", 400)
        assert model.eval()(torch.randn(1, 3, 8, 256, 256)).shape == (1, 400)


@pytest.mark.parametrize(("classes", "parameters"), [(400, 27_485_472), (174, 27_022_398)])
def test_tada2d_has_exactly_the_released_parameters(classes, parameters):
    with torch.device("meta"):
        model = build_model("tada2d", classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("name", ["tada2d", "r3d+tada"])
def test_export_gives_the_same(name):
    model = build(name).eval()
    x = torch.randn(2, 3, model.frames, 32, 32)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


@pytest.mark.parametrize("name", ["tada2d", "r2plus1d+tada-2d-1d"])
def test_compilation_sees_one_whole_graph(name):
    model = build(name, dropout=0.0).train()
    x = torch.randn(2, 3, model.frames, 32, 32)
    expected = model(x)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(x), expected)
