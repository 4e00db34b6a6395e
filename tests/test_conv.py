"""TAdaConv against its definition: one kernel `α_t · W` for every frame, built and applied frame by frame."""

import inspect
import itertools
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tada.conv import (
    DIMENSIONS,
    Calibration,
    TAdaConv1d,
    TAdaConv2d,
    TAdaConv3d,
    VideoConv,
    calibrated,
    merged_frames,
    split_frames,
)


def awaken(conv, seed=0):
    """Give the last layer of every calibration weights, as training would, so that α is not 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in conv.modules():
        if isinstance(module, Calibration):
            nn.init.normal_(module.emit.weight, std=0.3, generator=generator)
    return conv


def descriptors(x):
    return x.mean((3, 4)).transpose(1, 2)


def calibrated_kernels(conv, x):
    """`[N, T, Cout, Cin / groups, kt, kh, kw]`: the kernel of every frame, by the definition of α."""
    alpha = conv.calibration(descriptors(x))  # [N, T, emitted]
    weight = conv.weight
    inputs = torch.ones(*alpha.shape[:2], conv.in_channels, dtype=x.dtype)
    outputs = torch.ones(*alpha.shape[:2], conv.out_channels, dtype=x.dtype)
    taps = torch.ones(*alpha.shape[:2], *conv.kernel_size, dtype=x.dtype)
    if conv.dimension == "k2":
        taps = alpha.reshape(taps.shape)
    first = 0
    if conv.dimension in ("cin", "cin-cout"):
        first = max(1, round(conv.proportion * conv.in_channels))
        inputs = torch.cat([alpha[..., :first], inputs[..., first:]], -1)
    rest = alpha[..., first:]
    if conv.dimension in ("cout", "cin-cout"):
        outputs = torch.cat([rest, outputs[..., rest.shape[-1] :]], -1)
    # A group's kernels see that group's input channels only.
    per_group = inputs.unflatten(2, (conv.groups, 1, -1)).expand(-1, -1, -1, conv.out_channels // conv.groups, -1)
    per_group = per_group.flatten(2, 3)  # [N, T, Cout, Cin / groups]
    scale = per_group[..., None, None, None] * outputs[..., None, None, None, None] * taps[:, :, None, None]
    return scale * weight


def reference(conv, x):
    """Eq. 3 with one convolution for every clip and output frame."""
    kernels = calibrated_kernels(conv, x)
    stride, padding, dilation = conv.stride, conv.padding, conv.dilation
    padded = F.pad(x, (0, 0, 0, 0, padding[0], padding[0]))
    reach = dilation[0] * (conv.kernel_size[0] - 1) + 1
    clips = []
    for n in range(x.shape[0]):
        frames = [
            F.conv3d(
                padded[n : n + 1, :, t : t + reach],
                kernels[n, t],
                conv.bias,
                (1, *stride[1:]),
                (0, *padding[1:]),
                dilation,
                conv.groups,
            )
            for t in range(0, x.shape[2], stride[0])
        ]
        clips.append(torch.cat(frames, 2))
    return torch.cat(clips)


GEOMETRIES = [
    (TAdaConv2d, {"kernel_size": 3, "padding": 1}),
    (TAdaConv2d, {"kernel_size": 3, "stride": 2, "padding": 1}),
    (TAdaConv2d, {"kernel_size": (3, 5), "stride": (1, 2), "padding": (0, 2), "dilation": (2, 1)}),
    (TAdaConv2d, {"kernel_size": 1}),
    (TAdaConv2d, {"kernel_size": 3, "padding": 1, "groups": 2}),
    (TAdaConv1d, {"kernel_size": 3, "padding": 1}),
    (TAdaConv1d, {"kernel_size": 5, "stride": 2, "padding": 2}),
    (TAdaConv1d, {"kernel_size": 3, "padding": 2, "dilation": 2}),
    (TAdaConv3d, {"kernel_size": 3, "padding": 1}),
    (TAdaConv3d, {"kernel_size": 3, "stride": (1, 2, 2), "padding": 1}),
    (TAdaConv3d, {"kernel_size": (3, 1, 3), "stride": 2, "padding": (1, 0, 1), "groups": 2}),
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=["channels-first", "-last"])
@pytest.mark.parametrize(("kind", "geometry"), GEOMETRIES)
@pytest.mark.parametrize(("dimension", "bias"), [*itertools.product(DIMENSIONS, [True, False])])
def test_values_and_gradients_are_those_of_a_kernel_per_frame(kind, geometry, dimension, bias, layout):
    torch.manual_seed(0)
    conv = awaken(kind(8, 4, **geometry, bias=bias, dimension=dimension)).double()
    x = torch.randn(2, 8, 5, 7, 6, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
    inputs = [x, *conv.parameters()]
    expected = reference(conv, x)
    direction = torch.randn_like(expected)
    given = conv(x)
    torch.testing.assert_close(given, expected, rtol=1e-10, atol=1e-10)
    wanted = torch.autograd.grad((expected * direction).sum(), inputs, allow_unused=True)
    for value, other in zip(torch.autograd.grad((given * direction).sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dimension", ["cin", "cout", "cin-cout"])
@pytest.mark.parametrize(("proportion", "calibrated_channels"), [(1 / 64, 1), (1 / 4, 4), (0.3, 5), (1, 16)])
def test_a_proportion_of_channels_is_calibrated_with_the_context_of_all(dimension, proportion, calibrated_channels):
    torch.manual_seed(0)
    conv = awaken(TAdaConv2d(16, 16, 3, padding=1, dimension=dimension, proportion=proportion)).double()
    emitted = calibrated_channels * (2 if dimension == "cin-cout" else 1)
    assert conv.calibration.emit.weight.shape == (emitted, 4, 3)
    assert conv.calibration.reduce.weight.shape == (4, 16, 3)
    x = torch.randn(2, 16, 4, 5, 5, dtype=torch.double)
    torch.testing.assert_close(conv(x), reference(conv, x))


def test_calibration_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    calibration = awaken(Calibration(8, 8)).double().eval()
    nn.init.normal_(calibration.norm.weight)
    nn.init.normal_(calibration.norm.running_mean)
    x = torch.randn(1, 8, 5, 3, 4, dtype=torch.double)
    v = x[0].mean((2, 3)).T  # [T, C]
    context = v + calibration.global_fc.weight @ v.mean(0) + calibration.global_fc.bias
    context = torch.cat([torch.zeros(1, 8), context, torch.zeros(1, 8)])  # the released code's zeros see the FC
    weight, norm = calibration.reduce.weight, calibration.norm
    for t in range(5):
        hidden = []
        for s in (t - 1, t, t + 1):
            if not 0 <= s < 5:
                hidden.append(torch.zeros(2, dtype=torch.double))
                continue
            h = sum(weight[:, :, k] @ context[s + k] for k in range(3)) + calibration.reduce.bias
            h = (h - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
            hidden.append(h.clamp(min=0))
        alpha = 1 + sum(calibration.emit.weight[:, :, k] @ hidden[k] for k in range(3))
        torch.testing.assert_close(calibration(descriptors(x))[0, t], alpha)


@pytest.mark.parametrize("kernels", [(1,), (3,), (1, 1), (3, 1), (1, 3)])
def test_context_of_a_frame_is_as_wide_as_the_kernels_say(kernels):
    torch.manual_seed(0)
    calibration = awaken(Calibration(8, 8, kernels, global_context=False, reduction=1)).double().eval()
    x = torch.randn(1, 8, 9, 2, 2, dtype=torch.double)
    changed = x.clone()
    changed[:, :, 4] += 1
    moved = (calibration(descriptors(x)) != calibration(descriptors(changed))).any(2)[0].nonzero().flatten().tolist()
    reach = sum(k // 2 for k in kernels)
    assert moved == list(range(4 - reach, 5 + reach))


def test_global_context_reaches_every_frame():
    torch.manual_seed(0)
    calibration = awaken(Calibration(8, 8, (1,))).double().eval()
    x = torch.randn(1, 8, 9, 2, 2, dtype=torch.double)
    changed = x.clone()
    changed[:, :, 4] += 1
    assert (calibration(descriptors(x)) != calibration(descriptors(changed))).any(2).all()


CONVOLUTIONS = [
    nn.Conv2d(8, 6, 3, stride=2, padding=1),
    nn.Conv2d(8, 6, (1, 3), padding=(0, 1), groups=2, bias=False),
    nn.Conv3d(8, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    nn.Conv3d(8, 6, (3, 1, 1), padding=(1, 0, 0)),
    nn.Conv3d(8, 6, 3, 2, 1, bias=False),
]


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=repr)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_takes_the_place_of_a_convolution(conv, dimension):
    x = torch.randn(2, 8, 5, 8, 8)
    new = calibrated(conv.eval(), dimension=dimension)
    per_frame = isinstance(conv, nn.Conv2d)
    expected = conv(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 5)).transpose(1, 2) if per_frame else conv(x)
    torch.testing.assert_close(new(x), expected, rtol=1e-5, atol=1e-5)
    assert not new.training
    assert new.weight.data_ptr() != conv.weight.data_ptr()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=["channels-first", "-last"])
@pytest.mark.parametrize(("kind", "geometry"), GEOMETRIES)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_equals_the_plain_convolution_to_the_bit_at_initialisation(kind, geometry, dimension, layout):
    torch.manual_seed(0)
    new = kind(8, 4, **geometry, dimension=dimension)
    geometry = (new.kernel_size, new.stride, new.padding, new.dilation, new.groups)
    plain = VideoConv(8, 4, *geometry)
    plain.load_state_dict(new.state_dict(), strict=False)
    x = torch.randn(2, 8, 5, 8, 8).contiguous(memory_format=layout)
    assert torch.equal(new(x), plain(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": "cni"}, "unknown calibration dimension 'cni'; expected one of cin, cout, cin-cout, k2"),
        ({"proportion": 0}, "above 0, at most 1"),
        ({"dimension": "k2", "proportion": 0.5}, "proportion 0.5 of k2"),
        ({"kernels": (2, 3)}, "odd size"),
        ({"kernels": (3, 3, 3)}, "one .* or two"),
        ({"padding": (0, 1, 1)}, "temporal padding of 1, not 0"),
        ({"padding": "same"}, "padding 'same': give it as numbers"),
    ],
)
def test_faults_of_construction_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TAdaConv3d(8, 8, 3, **{"padding": 1, **arguments})


def test_faults_of_replaced_convolutions_are_named():
    with pytest.raises(ValueError, match="'reflect'"):
        calibrated(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ValueError, match="as numbers"):
        calibrated(nn.Conv2d(8, 8, 3, padding="same"))


def test_faults_of_padding_are_named_by_all_kinds():
    with pytest.raises(ValueError, match="padding 'same': give it as numbers"):
        TAdaConv2d(8, 8, 3, padding="same")
    with pytest.raises(ValueError, match="'reflect': only zeros"):
        VideoConv(8, 8, 3, padding=1, padding_mode="reflect")


@pytest.mark.parametrize("layer", [nn.Linear(8, 8), nn.Conv1d(8, 8, 3), TAdaConv2d(8, 8, 3)], ids=repr)
def test_layers_that_cannot_be_replaced_are_refused(layer):
    with pytest.raises(TypeError, match=f"nn.Conv2d or nn.Conv3d, not of a {type(layer).__name__}"):
        calibrated(layer)


def test_a_network_of_frames_makes_clips_of_them_around_the_layer():
    conv = nn.Conv2d(8, 6, 3, padding=1)
    x = torch.randn(2 * 5, 8, 7, 7)
    layer = calibrated(conv)
    torch.testing.assert_close(merged_frames(layer(split_frames(x, batch=2))), conv(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(merged_frames(split_frames(x, 2)), x)


def test_an_input_that_does_not_fit_is_shown_beside_what_was_expected():
    with pytest.raises(ValueError, match=r"\[2, 4, 3, 8, 8\]: expected \[N, 8, T, H, W\]"):
        TAdaConv2d(8, 8, 3)(torch.randn(2, 4, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\[2, 8, 8, 8\]: expected .*frames become clips by `split_frames"):
        TAdaConv2d(8, 8, 3)(torch.randn(2, 8, 8, 8))


# Imports a module where torch, what torch itself imports, and the standard library are all that there is.
WITH_TORCH_ALONE = """
import sys
import torch
there = {name.partition(".")[0] for name in sys.modules} - {"tada"} | sys.stdlib_module_names

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in there and name not in sys.argv[1:]:
            raise ModuleNotFoundError(f"refused: {name}")

sys.meta_path.insert(0, Refuse())
module = __import__(sys.argv[-1], fromlist=["calibrated"])
x = torch.randn(2, 8, 3, 5, 5)
assert module.calibrated(torch.nn.Conv3d(8, 4, (1, 3, 3)))(x).shape == (2, 4, 3, 3, 3)
module.TAdaConv3d(8, 4, 3, padding=1)(x).sum().backward()
"""


def test_needs_torch_alone():
    subprocess.run([sys.executable, "-c", WITH_TORCH_ALONE, "tada", "tada.conv"], check=True)


def test_can_be_copied_to_another_project(tmp_path):
    shutil.copy(inspect.getfile(TAdaConv3d), tmp_path / "copied.py")
    subprocess.run([sys.executable, "-c", WITH_TORCH_ALONE, "copied"], cwd=tmp_path, check=True)


def test_the_check_for_torch_alone_notices_other_imports(tmp_path):
    for line, refused in (("import yaml", "yaml"), ("import tada.base", "tada")):
        (tmp_path / "copied.py").write_text(line)
        command = [sys.executable, "-c", WITH_TORCH_ALONE, "copied"]
        found = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert f"refused: {refused}" in found.stderr
