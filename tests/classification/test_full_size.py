"""Scale gpu on a processor: full-size networks, each trained for two steps on four rendered videos of its dataset.

And what a step of its largest networks takes of a GPU's memory, by the sizes of tensors.
"""

from dataclasses import replace

import pytest
import torch

from tada.base.devices import ProcessGroup
from tada.base.progress import Silent
from tada.classification.pipeline import sampling_of
from tada.classification.training import ClassificationObjective
from tada.data import catalog, mini
from tada.data.catalog import Place
from tada.data.dataset import TrainClips
from tada.data.video.random_access import FileFrames
from tada.data.views import TrainTransform
from tada.models import build_model
from tada.report.cards import Card
from tada.runs.recipes import load_recipe, render_spec
from tada.runs.trainer import train

# One of each kind; R3D and the rest of the backbones with TAdaConv are in LARGEST.
NETWORKS = [("ssv2", "tada2d"), ("k400", "slowfast-4x16+tada"), ("ek100", "r2plus1d"), ("hacs", "slowonly")]


@pytest.mark.parametrize(("dataset", "model"), NETWORKS)
def test_two_steps_at_full_size(dataset, model, tmp_path):
    recipe = load_recipe("gpu", dataset, model)
    mini.render(tmp_path / "data", {**render_spec(dataset, "gpu"), "train": 4, "validation": 1}, 1, dataset)
    network = build_model(model, recipe.classes, **recipe.network)
    assert sum(p.numel() for p in network.parameters()) > 20e6 and recipe.train.crop == 112
    settings = replace(recipe.train, epochs=1, warmup_epochs=0, batch=2, batch_per_device=2, precision="float32")
    clips = TrainClips(
        catalog.read(dataset, Place(tmp_path / "data")).train.clips[:4],
        sampling_of(recipe.sampling, network.frames),
        TrainTransform(settings.scale, settings.crop, settings.flip),
        seed=0,
        source=FileFrames,
    )
    before = {name: value.clone() for name, value in network.named_parameters()}
    state = train(
        network,
        ClassificationObjective(clips, settings, 0, lambda model: {}),
        seed=0,
        checkpoint=tmp_path / "checkpoint.pt",
        identity={},
        progress=Silent(),
        group=ProcessGroup.single(),
        workers=0,
        stop=lambda: False,
    )
    assert state.step == 2 and all(torch.isfinite(value).all() for value in network.parameters())
    assert any((value != before[name]).any() for name, value in network.named_parameters())


LARGEST = [
    *(("ssv2", "tada2d-mix"), ("ssv2", "tada2d-16f"), ("ssv2", "tsm-16f"), ("ssv2", "slowfast-8x8+tada")),
    *(("k400", "slowonly+tada"), ("k400", "r2plus1d+tada-2d-1d"), ("hacs", "r3d+tada")),
]


def kept(model, clips, side):
    """Bytes that a step in bfloat16 keeps for its backward pass, and of weights, gradients and two moments in float32.

    By the sizes of tensors without values. A compiled step keeps less and computes some anew, but needs room to work.
    """
    sizes = {}

    def note(tensor):
        sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage()  # held, so that no other gets its address
        return tensor

    with torch.device("meta"):
        network = build_model(model, 13).to(torch.bfloat16)
        clip = torch.empty(clips, 3, network.frames, side, side, dtype=torch.bfloat16)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(clip)
    own = {value.untyped_storage()._cdata for value in network.parameters()}
    activations = sum(storage.nbytes() for address, storage in sizes.items() if address not in own)
    return activations + 16 * sum(value.numel() for value in network.parameters())


@pytest.fixture(scope="module")
def room():
    """How much more a measured step has taken of a GPU than its tensors say."""
    card = Card.named("h200")
    names = {"R2D": "tsn", "TAda2D": "tada2d"}
    found = [card.peaks["bfloat16"][form] / kept(name, card.clips, 224) for form, name in names.items()]
    assert min(found) > 1.2 and max(found) < 1.6 and max(found) - min(found) < 0.1
    return max(found)


@pytest.mark.parametrize(("dataset", "model"), LARGEST)
def test_a_step_fits_into_16_gigabytes(dataset, model, room):
    train = load_recipe("gpu", dataset, model).train
    assert room * kept(model, train.batch_per_device, train.crop) < 6e9
