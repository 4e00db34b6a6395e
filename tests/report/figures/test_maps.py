"""Figures 4 and A3: Grad-CAM against its definition, the selection of videos, and pictures of tiny networks."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("captum", reason="the pictures of activation maps need captum")

from planting import plant_record

from tada.base import TadaError
from tada.base.files import sha256
from tada.data import catalog
from tada.data.mini import render
from tada.data.views import normalise
from tada.models import build_model
from tada.report.figures import build_figure
from tada.report.figures.gradcam import Activation, ShownVideo, _said_of_object, activation_maps, select_videos
from tada.report.measure.samples import Hits
from tada.runs.checkpoints import TrainingState, load_trained, save_state
from tada.runs.record import Checkpoint
from tada.runs.run import Run
from tada.runs.settings import Scale

SMALL = {"depth": [1, 1, 1, 1], "width": 8}


def test_grad_cam_is_what_its_definition_says():
    torch.manual_seed(0)
    network = build_model("tada2d", 5, **SMALL).eval()
    clip = torch.randint(0, 256, (3, 8, 32, 32), dtype=torch.uint8)
    maps = activation_maps(network, "res3", clip, 2)
    outputs = {}
    network.res3.register_forward_hook(lambda module, inputs, output: outputs.update(output=output))
    logits = network(normalise(clip[None]))
    gradient = torch.autograd.grad(logits[0, 2], outputs["output"])[0]
    weights = gradient.mean((2, 3, 4), keepdim=True)
    heat = (weights * outputs["output"]).sum(1).clamp(min=0)[0].detach()  # [T, 4, 4]
    assert maps.shape == (8, 32, 32)
    expected = torch.nn.functional.interpolate(heat[:, None], size=(32, 32), mode="bilinear")[:, 0]
    np.testing.assert_allclose(maps, expected / expected.max(), atol=1e-5)
    assert maps.min() >= 0 and maps.max() == pytest.approx(1.0)


def hits(right, labels=(0, 0, 1, 1, 2, 2)):
    return Hits(np.array(["1", "2", "10", "11", "5", "6"]), np.array(labels), np.array([right], bool))


def test_gained_videos_are_the_most_certain_of_each_category():
    base, other = hits([1, 0, 0, 0, 0, 0]), hits([1, 1, 1, 1, 0, 1])
    certainty = np.array([0.9, 0.5, 0.6, 0.8, 0.99, 0.7])
    assert select_videos("gained", 2, base, other, certainty) == [("11", 1), ("6", 2)]
    assert select_videos("gained", 9, base, other, certainty) == [("11", 1), ("6", 2), ("2", 0)]
    assert select_videos("gained", 2, other, other, certainty) == []


def test_any_videos_do_not_depend_on_the_networks():
    names = [select_videos("any", 2, hits(b), hits(o), np.ones(6)) for b, o in (([0] * 6, [1] * 6), ([1] * 6, [0] * 6))]
    assert names[0] == names[1] == [("1", 0), ("5", 2)]


@pytest.fixture
def project(tmp_path, tiny_ssv2, tiny_config, monkeypatch, plant):
    """Untrained networks as if they were trained, on the tiny dataset: TSN always wrong, TAda2D right."""
    monkeypatch.setattr("tada.base.files.CONFIG", tiny_config)
    from tada.runs import recipes, run

    monkeypatch.setattr(recipes.load_recipe, "__defaults__", (tiny_config,))
    monkeypatch.setattr(recipes.resolved, "__defaults__", (tiny_config,))
    rows = json.loads((tiny_ssv2 / "something-something-v2-validation.json").read_text())
    videos, labels = [row["id"] for row in rows], [number % 3 for number in range(len(rows))]
    for model in ("tsn", "r2plus1d", "tada2d"):
        one = run.Run("mini", "ssv2", model, 0, plant.results)
        right = np.array(labels) if model == "tada2d" else (np.array(labels) + 1) % 3
        plant.scores(plant.done(model, top1=50.0), np.eye(3)[right] * 0.8, labels, videos)
        torch.manual_seed(0)
        network = build_model(model, 3, **one.recipe.network)
        identity = {"signature": one.signature, "seed": 0}
        save_state(one.file("checkpoint.pt"), identity, network, torch.optim.SGD(network.parameters()), TrainingState())
        plant_record(one, {"top1": 50.0}, checkpoint=Checkpoint("checkpoint.pt", sha256(one.file("checkpoint.pt"))))
    return str(tiny_ssv2)


def build(plant, name, data):
    problems = build_figure(name, Scale.MINI, 1, plant.results, plant.out, data=data)
    ids = {element.get("id") for element in ET.parse(plant.out / f"{name}.svg").iter()}
    return problems, ids, pd.read_csv(plant.out / f"{name}.csv", dtype={"video": str})


@pytest.mark.parametrize(("name", "videos"), [("figure4", 2), ("figureA3", 3)])
def test_pictures(plant, project, name, videos):
    problems, ids, frame = build(plant, name, project)
    assert problems == []
    assert frame["video"].nunique() == videos  # of three categories
    assert len(frame) == videos * 3 * 8
    assert {f"{video}-{model}" for video in frame["video"] for model in ("tsn", "r2plus1d", "tada2d")} <= ids
    shares = frame.groupby(["video", "model"])["share"].sum()
    assert ((shares - 1).abs() < 0.01).all() or (shares == 0).any()
    assert set(frame[frame["model"] == "tada2d"]["predicted"] == frame[frame["model"] == "tada2d"]["category"]) == {
        True
    }
    svg = (plant.out / f"{name}.svg").read_text(encoding="utf-8")
    assert "TSN ✗ p = 0.80" in svg and "TAda2D ✓ p = 0.80" in svg and "mini scale" in svg
    assert "share of the row's maximum" in svg and 'id="axes_' in svg
    assert "the object: " not in svg and frame["on_object"].isna().all()  # nobody knows where it is


def test_share_on_the_object_by_hand():
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0] = [[1.0, 0.5], [0.25, 0.25]]
    masks = np.zeros((2, 2, 2), bool)
    masks[:, 0, 1] = True
    video = ShownVideo("1", 0, np.zeros((2, 2, 2, 3), np.uint8), (), masks)
    activation = Activation(maps, np.ones(3, np.float32))
    assert (video.on_object(activation), video.covered) == (0.25, 0.25)
    assert video.on_object(Activation(maps * 0, activation.scores)) is None
    assert replace(video, masks=None).on_object(activation) is None


@pytest.mark.parametrize(
    ("on", "said"),
    [(1.0, "on the object: 67% (50%)"), (0.5, "misses the object: 50% (50%)")],
)
def test_a_map_that_misses_the_object_is_said_to(on, said):
    masks = np.array([[[True, False]]])
    video = ShownVideo("1", 0, np.zeros((1, 1, 2, 3), np.uint8), (), masks)
    assert _said_of_object(video, Activation(np.array([[[on, 0.5]]], np.float32), np.ones(2, np.float32))) == said


def test_pictures_of_rendered_videos_say_what_lies_on_the_object(plant, project, tmp_path):
    render(tmp_path / "ssv2", {"train": 13, "validation": 13, "seed": 1})
    annotations = catalog.read("ssv2", catalog.Place(tmp_path / "ssv2"))
    clips = [clip for clip in annotations.validation.clips if clip.label < 3]
    videos, labels = [clip.name for clip in clips], np.array([clip.label for clip in clips])
    for model in ("tsn", "r2plus1d", "tada2d"):
        right = labels if model == "tada2d" else (labels + 1) % 3
        plant.scores(Run("mini", "ssv2", model, 0, plant.results), np.eye(3)[right] * 0.8, labels, videos)
    problems, _, frame = build(plant, "figure4", str(tmp_path / "ssv2"))
    assert problems == [] and frame["on_object"].between(0, 1).any()
    assert frame["covered"].between(0.02, 0.5).all()
    assert re.search(r"(on|misses) the object: \d+% \(\d+%\)", (plant.out / "figure4.svg").read_text(encoding="utf-8"))


def test_a_missing_network_is_a_row_that_says_so(plant, project):
    plant.failed("r2plus1d", "loss is NaN")
    problems, _, frame = build(plant, "figure4", project)
    assert len(problems) == 1 and "r2plus1d" in problems[0]
    assert set(frame["model"]) == {"tsn", "tada2d"}
    assert "not there yet" in (plant.out / "figure4.svg").read_text(encoding="utf-8")


def test_without_runs_videos_or_checkpoints_the_picture_says_why(plant, project, tmp_path):
    problems, _, frame = build(plant, "figure4", str(tmp_path / "nowhere"))
    assert problems[0].endswith("no such folder") and frame.empty
    (plant.results / "mini/ssv2/tsn/seed0/checkpoint.pt").unlink()
    problems, _, frame = build(plant, "figure4", project)
    assert "checkpoint.pt is missing; `tada run ssv2 tsn --scale mini --seed 0` mends it" in problems[0]
    assert set(frame["model"]) == {"r2plus1d", "tada2d"}
    plant.failed("tada2d", "loss is NaN")
    problems, _, frame = build(plant, "figure4", project)
    assert any("loss is NaN" in problem for problem in problems) and frame.empty
    with pytest.raises(TadaError, match="missing"):
        load_trained(Run("mini", "ssv2", "tsn", 0, plant.results))
