"""SlowFast's two pathways."""

import pytest
import torch

from tada.base import TadaError
from tada.models import build_model
from tada.models.networks import SlowFast


def built(name="slowfast-4x16", **overrides):
    torch.manual_seed(0)
    return build_model(name, 7, depth=[1, 1, 1, 1], width=16, **overrides).eval()


def seen_by(module, model, x):
    seen = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(x)
    return seen[0]


@pytest.mark.parametrize(
    ("name", "options", "frames"),
    [
        ("slowfast-4x16", {}, [0, 8, 16, 24]),  # what the authors' code takes out of 32
        ("slowfast-8x8", {}, [0, 4, 8, 12, 16, 20, 24, 28]),
        ("slowfast-8x8+tada", {}, [0, 4, 8, 12, 16, 20, 24, 28]),
        ("slowfast-4x16", {"slow_frames": "spread"}, [0, 10, 20, 31]),  # and what PySlowFast does
        ("slowfast-8x8", {"slow_frames": "spread"}, [0, 4, 8, 13, 17, 22, 26, 31]),
    ],
)
def test_frames_of_the_slow_pathway(name, options, frames):
    x = torch.arange(32.0)[None, None, :, None, None].expand(1, 3, 32, 32, 32)
    model = built(name, **options)
    assert seen_by(model.slow["stem"], model, x)[0, 0, :, 0, 0].tolist() == frames
    assert seen_by(model.fast["stem"], model, x)[0, 0, :, 0, 0].tolist() == list(range(32))


def test_other_slow_frames_are_named():
    with pytest.raises(TadaError, match="unknown value 'strided2'; did you mean 'strided'"):
        built(slow_frames="strided2")
    with pytest.raises(TadaError, match="unknown choice of slow frames 'spred'; did you mean 'spread'"):
        SlowFast(7, slow_frames="spred")


def test_widths_and_lateral_connections():
    model, x = built(), torch.randn(2, 3, 32, 32, 32)
    assert seen_by(model.slow["res2"], model, x).shape == (2, 16 + 2 * 2, 4, 8, 8)
    assert seen_by(model.fast["res2"], model, x).shape == (2, 2, 32, 8, 8)
    assert seen_by(model.slow["res5"], model, x).shape == (2, 256 + 2 * 32, 4, 2, 2)
    assert model.features(x).shape == (2, 512 + 64)
    assert [fusion[0].kernel_size for fusion in model.fuse.values()] == [(5, 1, 1)] * 4
    assert [fusion[0].kernel_size for fusion in built("slowfast-8x8").fuse.values()] == [(7, 1, 1)] * 4


def test_temporal_convolutions_stand_where_the_original_has_them():
    model = built()
    frames = {
        path: [pathway[f"res{n}"][0].conv1.kernel_size[0] for n in (2, 3, 4, 5)]
        for path, pathway in (("slow", model.slow), ("fast", model.fast))
    }
    assert frames == {"slow": [1, 1, 3, 3], "fast": [3, 3, 3, 3]}
    assert model.slow["stem"].conv1.kernel_size[0] == 1
    assert model.fast["stem"].conv1.kernel_size[0] == 5


def test_the_fast_pathway_reaches_the_slow_one():
    model, x = built(), torch.randn(1, 3, 32, 32, 32)
    changed = x.clone()
    changed[:, :, 11] += 1  # a frame that the slow pathway does not see itself
    width = 32 * 16
    assert not torch.equal(model.features(x)[:, :width], model.features(changed)[:, :width])
