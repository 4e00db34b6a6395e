"""Scale gpu on a processor: full-size networks, each trained for two steps on four rendered videos of its dataset."""

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
from tada.runs.recipes import load_recipe, render_spec
from tada.runs.trainer import train

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
