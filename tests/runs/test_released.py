"""A checkpoint in the authors' layout is tested instead of trained, and compared with what is published for it."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from planting import plant_outcome, plant_record

from tada.base import TadaError, files
from tada.base.files import sha256
from tada.data.clips import Counts
from tada.models import build_model, load_released
from tada.report.pages.tables import build_table
from tada.runs import recipes
from tada.runs.checkpoints import released_network
from tada.runs.record import Checkpoint, Initial, read_record
from tada.runs.run import Run
from tada.runs.settings import Scale


def released_state(network):
    """The network's weights under the names of the authors' checkpoints."""
    inside = {
        "downsample.0": "short_cut", "downsample.1": "short_cut_bn",
        "conv2.calibration.global_fc": "conv_branch.b_rf.g", "conv2.calibration.reduce": "conv_branch.b_rf.a",
        "conv2.calibration.norm": "conv_branch.b_rf.bn", "conv2.calibration.emit": "conv_branch.b_rf.b",
        "bn2.pooled": "conv_branch.b_avgpool_bn", "bn1": "conv_branch.a_bn", "bn2": "conv_branch.b_bn",
        "bn3": "conv_branch.c_bn", "conv1": "conv_branch.a", "conv2": "conv_branch.b", "conv3": "conv_branch.c",
    }  # fmt: skip
    outside = {"stem.conv1": "backbone.conv1.a", "stem.bn1": "backbone.conv1.a_bn", "head.linear": "head.out"}
    state = {}
    for name, value in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        found = re.fullmatch(r"res(\d)\.(\d)\.(.+)", layer)
        theirs = f"backbone.conv{found[1]}.res_{int(found[2]) + 1}.{inside[found[3]]}" if found else outside[layer]
        state[f"{theirs}.{kind}"] = value
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = build_model("tada2d", 3)
    torch.nn.init.normal_(network.head.linear.weight, std=1.0)
    path = tmp_path_factory.mktemp("released") / "k400 tada2d.pyth"
    config = json.dumps({"DATA": {"NUM_INPUT_FRAMES": 8}})
    torch.save({"epoch": 99, "model_state": released_state(network), "cfg": config}, path)
    return path


@pytest.fixture
def small_paper(tiny_config, tmp_path, monkeypatch):
    """A config folder whose recipes of full size are tiny, for this process and for commands."""
    folder = shutil.copytree(tiny_config, tmp_path / "config")
    shutil.copy(files.CONFIG / "released.yaml", folder)
    tiny = yaml.safe_load((folder / "recipes/mini.yaml").read_text())
    for recipe in tiny.values():
        del recipe["network"]
        recipe["data"] = {"max_skipped": 0.1}
        recipe["test"] = {**recipe["test"], "clips": 1}
    (folder / "recipes/paper.yaml").write_text(yaml.safe_dump(tiny))
    monkeypatch.setenv("TADA_CONFIG", str(folder))
    return folder


@pytest.fixture
def tiny_recipes(small_paper, monkeypatch):
    real = recipes.load_recipe, recipes.resolved
    monkeypatch.setattr(Run, "recipe", property(lambda r: real[0](r.scale, r.dataset, r.model, small_paper)))
    monkeypatch.setattr(Run, "configuration", property(lambda r: real[1](r.scale, r.dataset, r.model, small_paper)))


def test_a_checkpoint_is_tested_and_nothing_trained(checkpoint, tiny_k400, tiny_recipes, tmp_path):
    from tada.execute import execute

    run = Run("released", "k400", "tada2d", 0, tmp_path / "results")
    execute(run, str(tiny_k400), lambda: False, str(checkpoint))
    record = read_record(run)
    assert record.checkpoint == Checkpoint("k400 tada2d.pyth", sha256(checkpoint))
    assert record.initial == Initial("released") and "train" not in record.config["recipe"]
    assert record.dataset == {"validation": Counts(6, 6, [])}
    assert record.cost.training_seconds == 0 and record.cost.device_hours > 0
    left = {path.name for path in run.folder.glob("[a-z]*")} - {"progress.json"}  # which only longer work writes
    assert left == {"log.txt", "metrics.json", "scores.npz"}
    with np.load(run.file("scores.npz")) as scores:
        assert scores["views"].shape == (6, 3, 3)
        network = load_released(checkpoint, 8)
        views = views_of(run, tiny_k400)
        with torch.no_grad():
            expected = network(views).softmax(1)
        assert np.abs(scores["views"][2] - expected.numpy()).max() < 2e-3


def views_of(run, data):
    from tada.base.progress import Silent
    from tada.classification.pipeline import Sources
    from tada.data.views import normalise

    sources = Sources(run, str(data), frames=8, progress=Silent(), splits=("validation",))
    return normalise(sources.all_views()[2][0])


def test_training_does_not_enter_the_signature(small_paper):
    before = recipes.signature(recipes.resolved("released", "k400", "tada2d", small_paper))
    other = small_paper.parent / "other"
    shutil.copytree(small_paper, other)
    content = yaml.safe_load((other / "recipes/paper.yaml").read_text())
    content["k400"]["train"]["epochs"] = 77
    (other / "recipes/paper.yaml").write_text(yaml.safe_dump(content))
    assert recipes.signature(recipes.resolved("released", "k400", "tada2d", other)) == before
    content["k400"]["test"]["clips"] = 2
    (other / "recipes/paper.yaml").write_text(yaml.safe_dump(content))
    recipes._load_scale.cache_clear()
    assert recipes.signature(recipes.resolved("released", "k400", "tada2d", other)) != before


@pytest.mark.parametrize(
    ("dataset", "model", "message"),
    [
        ("k400", "tada2d-16f", "a network for 8 frames, and tada2d-16f takes 16"),
        ("ek100", "tada2d", r"a network for 3 classes, and ek100 has 2 noun and 3 verb"),
    ],
)
def test_the_checkpoint_of_another_network_is_refused(checkpoint, tiny_recipes, dataset, model, message):
    with pytest.raises(TadaError, match=message):
        released_network(Run("released", dataset, model, 0), checkpoint)
    with pytest.raises(TadaError, match=rf"Set released\.{dataset}\.{model} in config"):
        released_network(Run("released", dataset, model, 0), None)


def plant(folder, dataset, model, scores, **metrics):
    run = Run("released", dataset, model, 0, folder)
    plant_outcome(run)
    plant_record(run, metrics, dataset={"validation": Counts(4, 4, [])})
    np.savez(run.file("scores.npz"), videos=np.array(list("abcd")), labels=np.array([0, 1, 2, 0]), scores=scores)


def test_verdicts_compare_with_what_is_published_for_the_checkpoint(tmp_path):
    first = np.eye(6)[[0, 1, 3, 3]] + 0.1
    second = np.eye(6)[[0, 1, 2, 3]] * 3
    plant(tmp_path / "results", "ssv2", "tada2d", first, top1=64.0, top5=87.5)
    plant(tmp_path / "results", "ssv2", "tada2d-16f", second, top1=65.0, top5=89.2)
    build_table("table5", Scale.RELEASED, 1, tmp_path / "results", tmp_path)
    lines = (tmp_path / "table5.csv").read_text().splitlines()
    cells = {tuple(line.split(",")[1:3]): line for line in lines}
    page = (tmp_path / "table5.md").read_text()
    assert "# Table 5, released checkpoints" in page
    assert "64.2" in cells["tada2d", "top1"] and "match" in cells["tada2d", "top1"]
    assert "88.0" in cells["tada2d", "top5"] and "off" in cells["tada2d", "top5"]
    assert "65.6" in cells["tada2d-16f", "top1"] and "off" in cells["tada2d-16f", "top1"]
    assert ",66.7,75,," in cells["tada2d-en", "top1"]
    assert "published for this very checkpoint; the paper, whose network was another, prints 63.8" in page
    assert "within 0.3" in page and "tested and not trained" in page


def test_rows_without_a_checkpoint_are_only_shown(tmp_path):
    problems = build_table("table2", Scale.RELEASED, 1, tmp_path / "results", tmp_path)
    assert problems and all("complexity" in problem for problem in problems)
    assert "74.56" in (tmp_path / "table2.md").read_text()


def test_localization_cannot_be_run_without_training():
    with pytest.raises(TadaError, match="hacs-localization cannot be run at scale released, which trains nothing"):
        recipes.resolved("released", "hacs-localization", "tada2d")
