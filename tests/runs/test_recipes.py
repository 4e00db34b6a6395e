"""Signatures of the project's runs, and what the precision of the test does to a recipe and its signature."""

import hashlib
import shutil
from itertools import product

import pytest
import yaml

from tada.base import TadaError, files
from tada.data.catalog import RECIPES
from tada.models.registry import model_names
from tada.runs import recipes
from tada.runs.settings import Scale


@pytest.fixture
def with_precision(tiny_config, tmp_path):
    """A config folder whose Something-Something-V2 is tested in a precision; without any if that is None."""

    def folder(precision):
        place = shutil.copytree(tiny_config, tmp_path / str(precision))
        content = yaml.safe_load((place / "recipes/mini.yaml").read_text())
        if precision is not None:
            content["ssv2"]["test"]["precision"] = precision
        (place / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
        return place

    return folder


def test_the_default_precision_leaves_signatures_as_they_were(with_precision):
    resolved = [recipes.resolved("mini", "ssv2", "tada2d", with_precision(name)) for name in (None, "float32")]
    assert resolved[0] == resolved[1]
    assert resolved[0]["recipe"]["test"] == {"clips": 2, "crops": 3, "short_side": 20, "crop": 20}


def test_another_precision_is_another_run(with_precision):
    folders = [with_precision(name) for name in ("float32", "bfloat16", "float16")]
    assert len({recipes.signature(recipes.resolved("mini", "ssv2", "tada2d", folder)) for folder in folders}) == 3
    assert [recipes.load_recipe("mini", "ssv2", "tada2d", f).test.precision for f in folders][1:] == [
        "bfloat16",
        "float16",
    ]
    assert len({recipes.signature(recipes.resolved("mini", "k400", "tada2d", folder)) for folder in folders}) == 1


def test_an_unknown_precision_is_answered_with_the_nearest(with_precision):
    with pytest.raises(TadaError, match=r"ssv2\.test\.precision: unknown value 'bfloat'; did you mean 'bfloat16'"):
        recipes.load_recipe("mini", "ssv2", "tada2d", with_precision("bfloat"))


SIGNATURES = {
    "mini/ssv2/tsn": "fb1175115d28",
    "mini/ek100/tsn": "80c85f6ec3a6",
    "mini/ek100-localization/tsn": "6e071ceb085f",
    "mini/hacs-localization/tsn": "34b0805e36f1",
    "paper/k400/tsn": "474510d4e4fb",
    "paper/hacs/tsn": "77141e97f2c3",
    "paper/ek100-localization/tsn": "2093e03100a8",
    "first-release/ssv2/tada2d": "66cfc2e72118",
    "later-release/k400/tada2d-16f": "d06e80f66aeb",
}
"""Signatures of finished runs, some by name: whoever changes one asks for these runs anew."""


ALL_SIGNATURES = {
    Scale.MINI: (270, "79fcf405c164ab94455dd81208dd4a6f38465be26deefd99012f68ff23b5bf5b"),
    Scale.GPU: (270, "d51b57e3f91f9ec8bfe32741434c966debc620c4a27faae0c2174e58a63c905c"),
    Scale.PAPER: (270, "f2b927bb2d88944d259d54f4775af10bac5f00cb5cb2d80d0b1dfa9959bd28cc"),
    Scale.FIRST_RELEASE: (5, "d42e7904830e197904237dbd8e45cad7225e14ea3ddd4a8d1631c6610e9b3437"),
    Scale.LATER_RELEASE: (5, "9e121410c6e703ba0f0ea0cccb04b77d15cff10415020eabf67464e67227913f"),
}
"""Number and SHA-256 of all of a scale's."""


def test_finished_runs_stay_valid():
    found = {}
    for scale, dataset, model in product(ALL_SIGNATURES, RECIPES, model_names()):
        if recipes.is_runnable(scale, dataset, model):
            found[f"{scale}/{dataset}/{model}"] = recipes.signature(recipes.resolved(scale, dataset, model))
    assert {name: found[name] for name in SIGNATURES} == SIGNATURES
    for scale, expected in ALL_SIGNATURES.items():
        lines = sorted(f"{name} {value}" for name, value in found.items() if name.startswith(f"{scale}/"))
        assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()) == expected


def test_localization_at_the_papers_scale_is_the_authors():
    epic, hacs = (recipes.load_recipe("paper", f"{name}-localization", "tada2d") for name in ("ek100", "hacs"))
    assert (epic.clips.spacing, hacs.clips.spacing) == pytest.approx((0.13333, 0.53333), abs=1e-5)
    assert [epic.suppression.kept(seconds) for seconds in (345.9, 0.5)] == [346, 1]
    assert (epic.suppression.low, epic.suppression.low + epic.suppression.gain) == (0.25, 0.9)
    assert (hacs.suppression.kept(345.9), hacs.suppression.low, hacs.suppression.gain) == (100, 0, 0)
    assert (epic.bmn.regression_power, hacs.bmn.regression_power) == (1.0, 1.2)
    assert (epic.bmn.unit_features, hacs.bmn.unit_features) == (False, True)
    assert epic.epochs == hacs.epochs == 9 and epic.bmn.epochs == hacs.bmn.epochs == 10


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("bmn", {"trained_epochs": 13}, r"ek100-localization: bmn.trained_epochs: 13 is more than epochs, 12"),
        ("suppression", {"keep": 40}, "ek100-localization: suppression: either keep or keep_every"),
        ("suppression", {"keep_every": 0}, r"ek100-localization.suppression.keep_every: "),
        ("bmn", {"anchor": 0}, r"ek100-localization.bmn.anchor: "),
        ("bmn", {"most": 500}, r"ek100-localization.bmn: unknown key 'most'"),
    ],
)
def test_localization_that_cannot_be_is_refused(part, change, message, tmp_path):
    shutil.copytree(recipes.files.CONFIG, tmp_path / "config")
    path = tmp_path / "config/recipes/mini.yaml"
    content = yaml.safe_load(path.read_text())
    content["ek100-localization"][part] |= change
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(TadaError, match=message) as caught:
        recipes.load_recipe("mini", "ek100-localization", "tada2d", tmp_path / "config")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", ["hacs-localization", "ssv2"])
def test_a_recipe_that_shows_nothing_is_named(dataset, tmp_path):
    content = yaml.safe_load((recipes.files.CONFIG / "recipes/mini.yaml").read_text())
    content["ssv2"]["data"].pop("render")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(TadaError, match=f"mini.yaml: {dataset}: no data.render"):
        recipes.render_spec(dataset, folder=tmp_path)


CONTRADICTIONS = [
    ("ssv2", "train", {"scale": [30, 24]}, "train: crop 24 and scale [30, 24]"),
    ("ssv2", "train", {"crop": 27}, "train: crop 27 and scale [24, 30]: expected crop <= smallest <= largest"),
    ("ssv2", "train", {"batch": 33}, "train.batch: 33 is no multiple of batch_per_device, 16"),
    ("ssv2", "train", {"warmup_epochs": 99}, "train.warmup_epochs: 99 is more than epochs"),
    ("ssv2", "test", {"crop": 64}, "test.crop: 64 is larger than short_side, 24"),
    ("ssv2", "network", {"widht": 16}, "ssv2.network: unknown key 'widht'; did you mean 'width'"),
    ("ssv2", "frames", {"16": {"train": {"epoch": 3}}}, "ssv2.frames.16.train: unknown key 'epoch'"),
    ("ssv2", "frames", {"16": {"test": {"crop": 64}}}, "ssv2, 16 frames: test.crop: 64 is larger than short_side"),
    ("hacs-localization", "bmn", {"durations": 9999}, "bmn.durations: 9999 is more than temporal"),
    (
        "hacs-localization",
        "bmn",
        {"window": 3.0, "stride": None},
        "bmn.window and bmn.stride: both in seconds, or both",
    ),
]


@pytest.mark.parametrize(("recipe", "part", "values", "message"), CONTRADICTIONS)
def test_what_cannot_be_true_together_is_named(tmp_path, recipe, part, values, message):
    folder = shutil.copytree(files.CONFIG, tmp_path / "config")
    content = yaml.safe_load((folder / "recipes/mini.yaml").read_text())
    content[recipe].setdefault(part, {}).update(values)
    (folder / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(TadaError) as error:
        recipes.load_recipe("mini", "ssv2", "tsn", folder)
    assert message in str(error.value) and "mini.yaml" in str(error.value)


@pytest.mark.parametrize(("values", "message"), [({"frames": [28, 20]}, "frames is [28, 20]"), ({"fps": 0}, "fps")])
def test_videos_that_cannot_be_rendered_are_named_when_planned(tmp_path, values, message):
    folder = shutil.copytree(files.CONFIG, tmp_path / "config")
    content = yaml.safe_load((folder / "recipes/mini.yaml").read_text())
    content["ssv2"]["data"]["render"].update(values)
    (folder / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(TadaError) as error:
        recipes.render_spec("ssv2", folder=folder)
    assert message in str(error.value) and "mini.yaml: ssv2.data.render" in str(error.value)


@pytest.mark.parametrize("model", ["tsn", "tada2d-16f", "slowfast-8x8+tada"])
@pytest.mark.parametrize("dataset", ["ssv2", "k400", "ek100", "hacs"])
def test_the_gpu_scale_trains_the_papers_networks_as_the_paper_does(dataset, model):
    here, paper = (recipes.load_recipe(scale, dataset, model) for scale in ("gpu", "paper"))
    assert here.network == paper.network == {}
    train, full = here.train, paper.train
    assert (train.batch_per_device, train.optimizer, train.momentum) == (
        full.batch_per_device,
        full.optimizer,
        full.momentum,
    )
    assert train.warmup_epochs / train.epochs == pytest.approx(full.warmup_epochs / full.epochs)
    if dataset != "hacs":  # AdamW's rate is that of another batch
        assert train.base_lr / train.batch == pytest.approx(full.base_lr / full.batch)
    sizes = [(one.train.scale, one.train.crop, one.test.short_side, one.test.crop) for one in (here, paper)]
    assert sizes == [((128, 160), 112, 128, 128), ((256, 320), 224, 256, 256)]
    assert train.initial in ("scratch", full.initial) and train.initial != "imagenet"


def test_a_precision_for_all_is_that_of_every_training_and_in_its_signature(monkeypatch):
    runs = [("mini", "ssv2", "tsn"), ("mini", "ek100", "tsn"), ("mini", "hacs-localization", "tsn")]
    monkeypatch.delenv(files.PRECISION, raising=False)
    plain = [recipes.signature(recipes.resolved(*run)) for run in runs]
    monkeypatch.setenv(files.PRECISION, "float32")
    assert [recipes.signature(recipes.resolved(*run)) for run in runs] == plain  # it is the recipes' own
    monkeypatch.setenv(files.PRECISION, "bfloat16")
    other = [recipes.resolved(*run) for run in runs]
    assert other[0]["recipe"]["train"]["precision"] == "bfloat16"
    assert not set(map(recipes.signature, other)) & set(plain)  # localization by the network that it starts from
    tested = ("first-release", "ssv2", "tada2d")
    assert recipes.signature(recipes.resolved(*tested)) == SIGNATURES["/".join(tested)]


def test_a_precision_that_there_is_not_is_named(monkeypatch):
    monkeypatch.setenv(files.PRECISION, "float16")
    with pytest.raises(TadaError, match=r"TADA_PRECISION: unknown precision 'float16'; did you mean"):
        recipes.load_recipe("mini", "ssv2", "tsn")


@pytest.mark.parametrize(
    ("dataset", "classes"), [("ek100", 14), ("ek100", {"verbs": 8, "noun": 6}), ("ssv2", {"verb": 8, "noun": 6})]
)
def test_classes_of_other_labels_than_the_datasets_are_refused_when_planned(dataset, classes, tmp_path):
    folder = shutil.copytree(files.CONFIG, tmp_path / "config")
    content = yaml.safe_load((folder / "recipes/mini.yaml").read_text())
    content[dataset]["classes"] = classes
    (folder / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(TadaError, match=rf"mini\.yaml: {dataset}\.classes: .*: expected (one|a) number"):
        recipes.load_recipe("mini", "ssv2", "tsn", folder)
