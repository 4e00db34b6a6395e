"""Kinetics-400 and, starting from its weights, EPIC-KITCHENS-100: whole runs on tiny files in the real layouts."""

import json

import numpy as np
import pytest
import torch
import yaml
from planting import plant_outcome

from tada.base import TadaError
from tada.base.files import sha256
from tada.base.progress import Silent
from tada.classification.pipeline import RunClips
from tada.metrics.accuracy import action_ranks
from tada.models import build_model
from tada.runs import recipes
from tada.runs.checkpoints import set_initial_weights
from tada.runs.run import Run


def finish(process):
    output, _ = process.communicate(timeout=120)
    assert "Traceback" not in output, output
    return process.returncode, output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results of transfer")


@pytest.fixture
def start(tada_command, folder):
    def start(dataset, data, *arguments):
        return finish(tada_command("run", dataset, "tada2d", "--data", str(data), *arguments, cwd=folder))

    return start


def place(folder, dataset):
    return folder / "results/mini" / dataset / "tada2d/seed0"


def read(folder, dataset, name="metrics.json"):
    return json.loads((place(folder, dataset) / name).read_text())


def test_one_run_after_the_other(start, tiny_k400, tiny_ek100, folder):
    code, output = start("k400", tiny_k400)
    assert code == 0, output
    assert "official CSV" in output and "24 of 24 train videos" in output
    code, output = start("ek100", tiny_ek100)
    assert code == 0, output
    assert "24 of 24 train videos" in output
    first, second = read(folder, "k400"), read(folder, "ek100")
    assert second["initial"] == {
        "kind": "k400",
        "file": "checkpoint.pt",
        "sha256": sha256(place(folder, "k400") / "checkpoint.pt"),
        "signature": first["signature"],
        "weights": first["checkpoint"]["weights"],
    }
    assert second["config"]["initial"] == first["signature"]
    assert second["dataset"]["validation"] == {"listed": 6, "used": 6, "skipped": []}
    expected = {f"top{k}_{what}" for k in (1, 5) for what in ("verb", "noun", "action", "action_joint")}
    assert set(second["metrics"]) == expected
    with np.load(place(folder, "ek100") / "scores.npz") as scores:
        assert scores["views_verb"].shape == (6, 9, 3) and scores["views_noun"].shape == (6, 9, 2)
        ranks = action_ranks(*(scores[n] for n in ("views_verb", "views_noun", "labels_verb", "labels_noun")))
    assert second["metrics"]["top1_action"] == pytest.approx(100 * (ranks == 0).mean())


@pytest.fixture
def tiny_recipes(tiny_config, monkeypatch):
    """Lets this process use the tiny recipes, too."""
    real = recipes.load_recipe, recipes.resolved
    monkeypatch.setattr(Run, "recipe", property(lambda r: real[0](r.scale, r.dataset, r.model, tiny_config)))
    monkeypatch.setattr(Run, "configuration", property(lambda r: real[1](r.scale, r.dataset, r.model, tiny_config)))


def build(run):
    torch.manual_seed(0)
    return build_model(run.model, run.recipe.classes, **run.recipe.network)


def test_a_finished_run_gives_all_but_its_head(folder, tiny_recipes):
    run = Run("mini", "ek100", "tada2d", 0, folder / "results")
    model = build(run)
    head = model.head.linear["verb"].weight.clone()
    set_initial_weights(model, run, None)
    weights = torch.load(place(folder, "k400") / "checkpoint.pt", weights_only=True)["model"]
    own = model.state_dict()
    same = {name for name, value in weights.items() if name in own and torch.equal(value, own[name])}
    assert {name for name in own if not name.startswith("head.")} <= same
    assert torch.equal(model.head.linear["verb"].weight, head)
    with (place(folder, "k400") / "checkpoint.pt").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(TadaError, match=r"not what the record beside it was measured with"):
        set_initial_weights(model, run, None)


def test_the_first_run_has_to_be_done(tmp_path, tiny_recipes):
    run = Run("mini", "ek100", "tsn", 7, tmp_path)
    with pytest.raises(TadaError, match=r"k400/tsn seed 7, whose weights .*, is not done; `tada run k400 tsn"):
        set_initial_weights(build(run), run, None)
    plant_outcome(run.initial, "/x: no such folder; expected there:\n y")
    with pytest.raises(TadaError, match=r"whose weights this run starts from, failed: /x: no such folder"):
        set_initial_weights(build(run), run, None)


def test_a_network_may_refuse_the_weights_of_imagenet(tmp_path):
    run = Run("paper", "ssv2", "slowonly", 0, tmp_path)
    small = {"depth": [1, 1, 1, 1], "width": 16}
    with pytest.raises(TadaError, match=r"none.pth: no such file"):
        set_initial_weights(build_model("slowonly", 174, **small), run, tmp_path / "none.pth")
    model = build_model("slowonly", 174, **small, initial={"imagenet": False})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert set_initial_weights(model, run, tmp_path / "none.pth").kind == "scratch"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_other_classes_than_the_recipes_are_refused(tiny_k400, tiny_ek100, tiny_recipes):
    for dataset, data, message in (
        ("k400", tiny_k400, "these are 3 classes, and the recipe of k400 at scale paper is for 400"),
        ("ek100", tiny_ek100, "these are 3 verb and 2 noun classes, and the recipe .* for 97 verb and 300 noun"),
    ):
        with pytest.raises(TadaError, match=message):
            RunClips(Run("paper", dataset, "tsn", 0), str(data), frames=8, progress=Silent())


def test_the_first_runs_recipe_is_part_of_the_second_ones_signature(tmp_path, tiny_config):
    def signatures(changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / "recipes").mkdir(parents=True)
        content = yaml.safe_load((tiny_config / "recipes/mini.yaml").read_text())
        content["k400"]["train"] |= changes
        (folder / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
        (folder / "models.yaml").write_text((tiny_config / "models.yaml").read_text())
        return [recipes.signature(recipes.resolved("mini", dataset, "tada2d", folder)) for dataset in ("ssv2", "ek100")]

    before, after = signatures({}), signatures({"epochs": 3})
    assert before[0] == after[0] and before[1] != after[1]
