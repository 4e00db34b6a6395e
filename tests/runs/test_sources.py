"""Where the values of recipes come from: every value of the paper's scale has a source, and faults are named."""

import re

import pytest
import yaml

from tada.base import TadaError, files
from tada.runs.recipes import Setting, load_recipe, recipe_sources, sourced_settings, without_sources

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
