"""Where the values of recipes come from: every value of the paper's scale has a source, and faults are named."""

import re

import pytest
import yaml

from tada.base import TadaError, files
from tada.base.yaml_files import without_sources
from tada.models.registry import model_names, model_options
from tada.runs.recipes import (
    Setting,
    load_recipe,
    network_settings,
    network_sources,
    recipe_sources,
    resolved,
    sourced_settings,
)

PAPER = files.CONFIG / "recipes/paper.yaml"


def check(entry, **others):
    return sourced_settings({"train": {"epochs": entry, **others}}, "paper.yaml: ssv2")


def test_every_value_of_the_papers_scale_has_a_source():
    found = recipe_sources()
    content = yaml.safe_load(PAPER.read_text())
    assert set(found) == set(content) - {"releases"}
    for name, settings in found.items():
        assert len(settings) > 20, name
        for one in settings:
            said = [text for text in (one.text, one.first, one.later) if text is not None]
            assert said or one.why, f"{name}: {one.name}"
            assert not one.section or re.fullmatch(r"[0-9A](\.[0-9])?", one.section), f"{name}: {one.name}"


def test_text_and_first_release_are_followed_where_they_agree():
    """The settings to which the paper's numbers belong, stated independently of the file."""
    train = load_recipe("paper", "ssv2", "tada2d").train
    assert (train.batch, train.batch_per_device, train.base_lr, train.scale) == (256, 16, 0.48, (256, 320))
    train = load_recipe("paper", "ssv2", "tada2d-16f").train
    assert (train.batch, train.batch_per_device, train.base_lr, train.scale) == (128, 8, 0.48, (256, 320))
    train = load_recipe("paper", "k400", "tada2d").train
    assert (train.batch, train.batch_per_device, train.base_lr, train.warmup_lr) == (256, 16, 0.24, 0.01)
    train = load_recipe("paper", "k400", "tada2d-16f").train
    assert (train.batch, train.batch_per_device, train.base_lr, train.scale) == (128, 8, 0.12, (256, 320))
    train = load_recipe("paper", "ek100", "tada2d").train
    assert (train.batch, train.base_lr, train.warmup_lr, train.warmup_epochs) == (256, 0.48, 0.01, 10)
    train = load_recipe("paper", "k400", "slowfast-4x16").train
    assert (train.batch, train.batch_per_device, train.base_lr) == (256, 16, 0.24)


def test_what_each_source_says_is_told_apart():
    (one,) = check({"value": 64, "text": "A.1", "first": "same", "later": 32, "why": "because"})
    assert one == Setting("train.epochs", 64, "A.1", 64, 64, 32, "because")
    (one,) = check({"value": 64, "text": {"A.1": 50}, "first": "same", "why": "because"})
    assert one == Setting("train.epochs", 64, "A.1", 50, 64, None, "because")
    (one,) = check({"value": [1, 2], "choice": "a reason"})
    assert one == Setting("train.epochs", [1, 2], "", None, None, None, "a reason")


@pytest.mark.parametrize("model", model_names())
def test_every_network_says_where_its_initial_weights_come_from(model):
    names = {"initial.head", "initial.last_gamma", "initial.imagenet"}
    if model_options(model)["network"] == "slowfast":
        names.add("slow_frames")
    settings = network_settings(model)
    assert {one.name for one in settings} == names
    for one in settings:
        part, _, key = one.name.partition(".")
        value = model_options(model)[part]
        assert one.value == (value[key] if key else value)
        assert one.value in (one.text, one.first, one.later)


def test_how_weights_start_is_part_of_what_trains_alone():
    assert resolved("mini", "ssv2", "slowonly+tada")["definition"]["initial"]["last_gamma"] == 0
    assert "initial" not in resolved("first-release", "ssv2", "tada2d")["definition"]


def test_a_network_without_sources_trains_nothing_at_the_papers_scale(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/paper.yaml").write_text(PAPER.read_text())
    entry = "\nother: {extends: slowonly, initial: {last_gamma: 1}}\n"
    (tmp_path / "models.yaml").write_text((files.CONFIG / "models.yaml").read_text() + entry)
    with pytest.raises(TadaError, match=r"models.yaml: other: initial\.last_gamma: 1 has no source"):
        load_recipe("paper", "ssv2", "other", tmp_path)
    chosen = entry.replace("1}", "{value: 1, choice: to see what it does}}")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/models.yaml").write_text((files.CONFIG / "models.yaml").read_text() + chosen)
    assert network_sources(tmp_path / "more")["other"][0].why == "to see what it does"
    inherited = {one.name: one.value for one in network_settings("other", tmp_path / "more")}
    assert inherited == {"initial.head": "normal", "initial.last_gamma": 1, "initial.imagenet": True}


def test_sources_are_taken_away():
    content = {"a": {"value": None, "choice": "x"}, "b": {"c": {"value": {"d": 1}, "text": "5"}, "e": 2}}
    assert without_sources(content) == {"a": None, "b": {"c": {"d": 1}, "e": 2}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (64, "paper.yaml: ssv2: train.epochs: 64 has no source; write {value: 64, text: SECTION}"),
        ({"value": 64}, "train.epochs: no source; name `text`, `first` or `later`, or give the reason of a `choice`"),
        ({"value": 64, "frist": "same"}, "train.epochs: unknown source 'frist'; did you mean 'first'"),
        ({"value": 64, "first": 32}, "train.epochs: a source says otherwise; `why` has to say why 64 is used"),
        ({"value": 64, "text": {"A.1": 32}}, "train.epochs: a source says otherwise"),
        ({"value": 64, "text": {"A.1": 32, "5": 64}}, "train.epochs: text: expected a section, or {section: what"),
        ({"value": 64, "text": "A.1", "choice": "no"}, "train.epochs: a choice is what no source says"),
    ],
)
def test_faults_are_named(entry, message):
    with pytest.raises(TadaError) as error:
        check(entry)
    assert message in str(error.value)


def test_a_value_without_a_source_trains_nothing(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "models.yaml").write_text((files.CONFIG / "models.yaml").read_text())
    content = yaml.safe_load(PAPER.read_text())
    content["k400"]["train"]["epochs"] = 100
    (tmp_path / "recipes/paper.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(TadaError, match=r"k400: train\.epochs: 100 has no source"):
        load_recipe("paper", "ssv2", "tada2d", tmp_path)
