"""A checkpoint in the authors' layout is tested instead of trained, and compared with what is published for it."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from planting import plant_outcome, plant_record, released_state

from tada.base import TadaError, files
from tada.base.files import sha256
from tada.data.clips import Counts
from tada.models import build_model, load_released
from tada.report.pages.tables import build_table
from tada.report.paper.quantities import Metric
from tada.report.paper.tables import Paper, against_published
from tada.runs import recipes
from tada.runs.checkpoints import released_network
from tada.runs.record import Checkpoint, Initial, read_record
from tada.runs.run import Run
from tada.runs.settings import Scale


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

    run = Run("later-release", "k400", "tada2d", 0, tmp_path / "results")
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
    from tada.classification.pipeline import RunClips
    from tada.data.views import normalise

    clips = RunClips(run, str(data), frames=8, progress=Silent(), splits=("validation",))
    return normalise(clips.all_views()[2][0])


def test_training_does_not_enter_the_signature(small_paper):
    before = recipes.signature(recipes.resolved("later-release", "k400", "tada2d", small_paper))
    other = small_paper.parent / "other"
    shutil.copytree(small_paper, other)
    content = yaml.safe_load((other / "recipes/paper.yaml").read_text())
    content["k400"]["train"]["epochs"] = 77
    (other / "recipes/paper.yaml").write_text(yaml.safe_dump(content))
    assert recipes.signature(recipes.resolved("later-release", "k400", "tada2d", other)) == before
    content["k400"]["test"]["clips"] = 2
    (other / "recipes/paper.yaml").write_text(yaml.safe_dump(content))
    recipes._load_scale.cache_clear()
    assert recipes.signature(recipes.resolved("later-release", "k400", "tada2d", other)) != before


@pytest.mark.parametrize(
    ("dataset", "model", "message"),
    [
        ("k400", "tada2d-16f", "a network for 8 frames, and tada2d-16f takes 16"),
        ("ek100", "tada2d", r"a network for 3 classes, and ek100 has 2 noun and 3 verb"),
    ],
)
def test_the_checkpoint_of_another_network_is_refused(checkpoint, tiny_recipes, dataset, model, message):
    with pytest.raises(TadaError, match=message):
        released_network(Run("first-release", dataset, model, 0), checkpoint)
    with pytest.raises(TadaError, match=rf"Set released\.first\.{dataset}\.{model} in config"):
        released_network(Run("first-release", dataset, model, 0), None)


def test_one_file_is_not_of_both_releases(checkpoint, tiny_recipes, tmp_path):
    later, first = (Run(f"{name}-release", "k400", "tada2d", 0, tmp_path) for name in ("later", "first"))
    plant_record(later, {"top1": 76.7}, checkpoint=Checkpoint("another name.pyth", sha256(checkpoint)))
    with pytest.raises(TadaError, match=r"k400 tada2d\.pyth: this very file \(SHA-256 .*\) was tested as .* the later"):
        released_network(first, checkpoint)
    assert released_network(later, checkpoint).loaded.sha256 == sha256(checkpoint)
    plant_record(later, {"top1": 76.7}, checkpoint=Checkpoint("another file.pyth", "0" * 64))
    assert released_network(first, checkpoint).loaded.sha256 == sha256(checkpoint)


def test_a_checkpoint_of_neither_release_is_named_in_one_line(tmp_path):
    path = tmp_path / "slowonly.pyth"
    torch.save(
        {"model_state": {"backbone.conv1.a.weight": torch.zeros(64, 3, 1, 7, 7), "head.out.bias": torch.zeros(4)}}, path
    )
    with pytest.raises(TadaError) as caught:
        load_released(path)
    expected = (
        "no TAda2D of any release: of its 2 tensors (backbone.conv1.a.weight, head.out.bias, ...) none calibrates"
    )
    assert str(caught.value) == f"{path}: {expected}"


@pytest.mark.parametrize(
    ("scale", "dataset", "model"),
    [
        ("first-release", "k400", "slowfast-8x8"), ("later-release", "k400", "slowonly+tada"),
        ("first-release", "ssv2", "tsn"), ("later-release", "k400", "r2plus1d"), ("first-release", "k400", "r3d+tada"),
        ("later-release", "ek100", "tada2d"), ("first-release", "hacs-localization", "tada2d"),
    ],
)  # fmt: skip
def test_what_was_not_released_is_said_in_one_line(scale, dataset, model, checkpoint, tmp_path):
    from tada.execute import execute

    message = (
        f"{dataset}/{model}: the authors released no checkpoint of it; their {scale.split('-')[0]} release has k400/"
    )
    with pytest.raises(TadaError) as caught:
        execute(Run(scale, dataset, model, 0, tmp_path), "", lambda: False, str(checkpoint))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert not recipes.is_runnable(scale, dataset, model)


def test_a_release_is_what_the_user_says():
    assert Scale.of_release("first").release == "first" and Scale.LATER_RELEASE.release == "later"
    assert Scale.MINI.release == Scale.PAPER.release == ""
    with pytest.raises(TadaError, match="unknown release 'second'; valid names: first, later"):
        Scale.of_release("second")


CONFIG = {"scale": "mini", "seeds": 3, "data": {}, "weights": "released"}


def test_the_release_decides_the_scale():
    found = [
        recipes.with_scale({**CONFIG, **more})["scale"] for more in ({}, {"release": "first"}, {"release": "later"})
    ]
    assert found == ["later-release", "first-release", "later-release"]
    assert recipes.with_scale(CONFIG)["seeds"] == 1
    assert recipes.with_scale({**CONFIG, "weights": "trained"}) == {**CONFIG, "weights": "trained"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"release": "frist"}, "release: unknown value 'frist'; did you mean 'first'"),
        ({"released": {"second": {}}}, "released: unknown key 'second'; valid names: first, later"),
        ({"released": {"first": {"k400": {"tada3d": "a"}}}}, "unknown model 'tada3d'; did you mean 'tada2d"),
        (
            {"released": {"later": {"k400": {"slowonly": "a"}}}},
            "k400/slowonly: the authors released no checkpoint of it",
        ),
        (
            {"released": {"first": {"ssv2": {"tada2d": "/a"}}, "later": {"ssv2": {"tada2d": "/a"}}}},
            r"released\.first\.ssv2\.tada2d and released\.later\.ssv2\.tada2d are the same file, /a",
        ),
    ],
)
def test_a_release_that_cannot_be_is_named(more, message):
    with pytest.raises(TadaError, match=message) as caught:
        recipes.check_config({**CONFIG, **more})
    assert "\n" not in str(caught.value)


def test_the_first_release_has_the_numbers_of_the_paper():
    compared = 0
    for table in Paper().tables.values():
        for row, cell in against_published(table, Scale.FIRST_RELEASE).cells():
            if isinstance(cell.quantity, Metric) and len(cell.quantity.models) == 1:
                compared += 1
                assert cell.reported == table_cell(table, row.id, cell.column).reported
    assert compared == 10 + 18  # accuracies, and mAP in Table 8


def table_cell(table, row, column):
    return next(one for one in table.rows if one.id == row).cells[column]


def plant(folder, dataset, model, scores, scale="later-release", **metrics):
    run = Run(scale, dataset, model, 0, folder)
    plant_outcome(run)
    plant_record(run, metrics, dataset={"validation": Counts(4, 4, [])})
    np.savez(run.file("scores.npz"), videos=np.array(list("abcd")), labels=np.array([0, 1, 2, 0]), scores=scores)


def test_verdicts_compare_with_what_is_published_for_the_checkpoint(tmp_path):
    first = np.eye(6)[[0, 1, 3, 3]] + 0.1
    second = np.eye(6)[[0, 1, 2, 3]] * 3
    plant(tmp_path / "results", "ssv2", "tada2d", first, top1=64.0, top5=87.5)
    plant(tmp_path / "results", "ssv2", "tada2d-16f", second, top1=65.0, top5=89.2)
    build_table("table5", Scale.LATER_RELEASE, 1, tmp_path / "results", tmp_path)
    lines = (tmp_path / "table5.csv").read_text().splitlines()
    cells = {tuple(line.split(",")[1:3]): line for line in lines}
    page = (tmp_path / "table5.md").read_text()
    assert "# Table 5, later-release checkpoints" in page
    assert "64.2" in cells["tada2d", "top1"] and "match" in cells["tada2d", "top1"]
    assert "88.0" in cells["tada2d", "top5"] and "off" in cells["tada2d", "top5"]
    assert "65.6" in cells["tada2d-16f", "top1"] and "off" in cells["tada2d-16f", "top1"]
    assert ",66.7,75,," in cells["tada2d-en", "top1"]
    assert "published for this very checkpoint; the paper, whose network was another, prints 63.8" in page
    assert "within 0.3" in page and "tested and not trained" in page


def test_the_first_release_is_compared_with_the_paper(tmp_path):
    first, second = np.eye(6)[[0, 1, 3, 3]] + 0.1, np.eye(6)[[0, 1, 2, 3]] * 3
    plant(tmp_path / "results", "ssv2", "tada2d", first, "first-release", top1=63.9, top5=87.3)
    plant(tmp_path / "results", "ssv2", "tada2d-16f", second, "first-release", top1=65.6, top5=89.1)
    build_table("table5", Scale.FIRST_RELEASE, 1, tmp_path / "results", tmp_path)
    cells = {tuple(line.split(",")[1:3]): line for line in (tmp_path / "table5.csv").read_text().splitlines()}
    page = (tmp_path / "table5.md").read_text()
    assert "# Table 5, first-release checkpoints" in page
    assert "63.8" in cells["tada2d", "top1"] and "match" in cells["tada2d", "top1"]
    assert "87.7" in cells["tada2d", "top5"] and "off" in cells["tada2d", "top5"]
    assert "65.2" in cells["tada2d-16f", "top1"] and "off" in cells["tada2d-16f", "top1"]
    assert "match" in cells["tada2d-16f", "top5"]
    assert "published for this very checkpoint; the paper prints 63.8" in page
    assert "the reported number is the paper's." in page and "network was another" not in page


def test_rows_without_a_checkpoint_are_only_shown(tmp_path):
    problems = build_table("table2", Scale.LATER_RELEASE, 1, tmp_path / "results", tmp_path)
    assert problems and all("complexity" in problem for problem in problems)
    assert "74.56" in (tmp_path / "table2.md").read_text()
