"""Recipes: how a dataset is trained and tested at a scale, and the signature that tells one such run from another.

A recipe is read from `config/recipes/<scale>.yaml` into the dataclasses of `tada.runs.settings`. Imports no torch, so
that plans are made at once.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tada.base import files
from tada.base.errors import TadaError, unknown
from tada.base.yaml_files import load_yaml, read_yaml, validate
from tada.data import catalog
from tada.models.registry import model_options
from tada.runs import sources
from tada.runs.settings import (
    BmnSettings,
    ClassificationRecipe,
    ClipSettings,
    DataSettings,
    LocalizationRecipe,
    ProposalClasses,
    Recipe,
    Resources,
    SamplingSettings,
    Scale,
    SuppressionSettings,
    TestSettings,
    TrainSettings,
)


@cache
def _load_scale(scale: str, folder: Path) -> dict[str, Any]:
    path = folder / "recipes" / Scale.named(scale).recipe_file
    content = read_yaml(path)
    if sources.has_sources(content):
        recipe_sources(folder)  # a value without a source is refused before anything is trained with it
        content = {name: sources.plain(recipe) for name, recipe in content.items() if name != "releases"}
    validate(content, "recipes", str(path), catalog.NAMES)
    return content


@cache
def recipe_sources(folder: Path = files.CONFIG) -> dict[str, list[sources.Setting]]:
    """Every value of the recipes at the paper's scale with its sources, recipe -> settings in the file's order.

    Raises:
        TadaError: the file does not say which releases it cites, or a value's source is missing or contradicts it.
    """
    path = folder / "recipes" / Scale.PAPER.recipe_file
    content = read_yaml(path)
    if not sources.has_sources(content):
        raise TadaError(f"{path}: `releases` has to name the authors' releases that the values are compared with")
    return {name: sources.settings(recipe, f"{path}: {name}") for name, recipe in content.items() if name != "releases"}


def releases(folder: Path = files.CONFIG) -> dict[str, str]:
    """The authors' releases that the recipes are compared with, in words: "first", "later"."""
    about = dict(read_yaml(folder / "recipes" / Scale.PAPER.recipe_file)["releases"])
    repository = about.pop("repository")
    return {
        name: f"{repository}, commit {one['commit']} of {one['date']}; its networks: {one['says']}"
        for name, one in about.items()
    }


@cache
def released_checkpoints(folder: Path = files.CONFIG) -> dict[str, Any]:
    """The authors' checkpoints, dataset -> model -> published accuracies, and the tolerance of their verdicts."""
    return load_yaml(folder / "released.yaml", "released", catalog.NAMES)


def check_config(config: Mapping[str, Any], folder: Path = files.CONFIG) -> None:
    """Check the content of config.yaml, with all that --config has changed.

    Raises:
        TadaError: it breaks its schema, there are features of a dataset without localization, or a checkpoint
            that the authors have not released.
    """
    where = "config/config.yaml or --config"
    validate(config, "config", where, catalog.NAMES)
    for dataset, place in (config.get("data") or {}).items():
        if isinstance(place, Mapping) and "features" in place and catalog.find(dataset).localization is None:
            raise unknown("key", "features", place.keys() - {"features"}, f"{where}: data.{dataset}")
    for dataset, given in (config.get("released") or {}).items():
        published = released_checkpoints(folder)["checkpoints"]
        if dataset not in published:
            raise unknown("key", dataset, published, f"{where}: released")
        for model in given:
            if model not in published[dataset]:
                raise unknown("key", model, published[dataset], f"{where}: released.{dataset}")


def recipe_names(scale: str = Scale.PAPER, folder: Path = files.CONFIG) -> tuple[str, ...]:
    """Names of the recipes of a scale, e.g. "ssv2" and "hacs-localization"; a run calls its own its dataset."""
    return tuple(_load_scale(scale, folder))


def load_recipe(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> Recipe:
    """The recipe of a dataset at a scale, with what differs for networks of the model's number of frames.

    Args:
        scale: "mini", "paper" or "released".
        dataset: name of the recipe, e.g. "ssv2" or "hacs-localization".
        model: a name of `config/models.yaml`; only its number of frames matters here.
        folder: where `recipes/` and `models.yaml` lie.

    Raises:
        TadaError: unknown scale, dataset or model, or a recipe file that breaks its schema.
    """
    recipes = _load_scale(scale, folder)
    if dataset not in recipes:
        raise unknown("dataset", dataset, recipes, where=f"config/recipes/{scale}.yaml")
    raw = recipes[dataset]
    frames = model_options(model, folder)["frames"]
    changes = raw.get("frames", {}).get(str(frames), {})
    parts = {key: {**value, **changes.get(key, {})} for key, value in raw.items() if isinstance(value, Mapping)}
    if raw.get("task") == LocalizationRecipe.task:
        return _localization(raw, parts, recipes[raw["videos"]], frames)
    return ClassificationRecipe(
        videos=dataset,
        classes=raw["classes"],
        sampling=SamplingSettings(**parts["sampling"]),
        train=TrainSettings(**{**parts["train"], "scale": tuple(parts["train"]["scale"])}),
        test=TestSettings(**parts["test"]),
        data=DataSettings(**parts["data"]),
        network=raw.get("network", {}),
        resources=Resources(**parts.get("resources", {})),
    )


def _localization(
    raw: Mapping[str, Any], parts: Mapping[str, Any], first: Mapping[str, Any], frames: int
) -> LocalizationRecipe:
    """A recipe of localization; `first` is the recipe that trains its network."""
    return LocalizationRecipe(
        videos=raw["videos"],
        classes=first["classes"],
        network=first.get("network", {}),
        clips=ClipSettings(frames=frames, **parts["clips"]),
        bmn=BmnSettings(**parts["bmn"]),
        suppression=SuppressionSettings(**parts["suppression"]),
        classification=ProposalClasses(**parts["classification"]),
        thresholds=tuple(raw["thresholds"]),
        recall_at=raw["recall_at"],
        max_skipped=raw.get("max_skipped", LocalizationRecipe.max_skipped),
        resources=Resources(**parts.get("resources", {})),
    )


def resolved(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> dict[str, Any]:
    """All that a run's numbers depend on, but for the seed, the code and the machine: JSON-ready.

    Left out, since they change speed and not numbers: workers, caching, cluster resources, videos per forward pass,
    the share of unusable videos that is tolerated.

    Raises:
        TadaError: as `load_recipe`, or a run of localization, which trains, at a scale that does not.
    """
    recipe = load_recipe(scale, dataset, model, folder)
    values = recipe.identity()
    configuration = {
        "scale": scale,
        "dataset": dataset,
        "model": model,
        "definition": model_options(model, folder),
        "recipe": values,
    }
    if not Scale.named(scale).trains:
        if recipe.task != ClassificationRecipe.task:
            raise TadaError(f"{dataset} cannot be run at scale {scale}, which trains nothing")
        del values["train"]
    elif recipe.initial:
        configuration["initial"] = signature(resolved(scale, recipe.initial, model, folder))
    return configuration


def signature(configuration: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that differ whenever a resolved configuration differs."""
    canonical = json.dumps(configuration, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def describe_classes(classes: int | dict[str, int]) -> str:
    """ "400", or "97 verb and 300 noun"."""
    if isinstance(classes, int):
        return str(classes)
    return " and ".join(f"{count} {task}" for task, count in classes.items())


def render_spec(dataset: str, folder: Path = files.CONFIG) -> dict[str, Any]:
    """What the mini version of a dataset shows: `data.render` of its recipe.

    Raises:
        TadaError: unknown dataset, or one that has no mini version.
    """
    recipes = _load_scale(Scale.MINI, folder)
    if dataset not in recipes:
        raise unknown("dataset", dataset, recipes, where="config/recipes/mini.yaml")
    spec: dict[str, Any] | None = recipes[dataset].get("data", {}).get("render")
    if spec is None:
        raise TadaError(f"config/recipes/mini.yaml: {dataset}: no data.render, which says what its videos show")
    return spec


def is_runnable(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> bool:
    """Whether there is a recipe for the dataset at this scale; if released, a checkpoint."""
    if not Scale.named(scale).trains and model not in released_checkpoints(folder)["checkpoints"].get(dataset, {}):
        return False
    return dataset in _load_scale(scale, folder)


def precomputed_features(
    data: Mapping[str, Any], scale: str, dataset: str, model: str, folder: Path = files.CONFIG
) -> str:
    """Folder of the features that a run of localization reads; empty where it is to extract them, or uses none.

    Args:
        data: `data` of config.yaml. Only videos of the paper's size can have features there.
        scale: the run's.
        dataset: the run's, e.g. "hacs-localization".
        model: the run's.
        folder: where `recipes/` and `models.yaml` lie.

    Raises:
        TadaError: there are features of a network that does not exist.
    """
    if Scale.named(scale).renders or not is_runnable(scale, dataset, model, folder):
        return ""
    recipe = load_recipe(scale, dataset, model, folder)
    place = data.get(recipe.videos)
    if not isinstance(place, Mapping) or recipe.task != LocalizationRecipe.task:
        return ""
    features = place.get("features") or {}
    for name in features:
        model_options(name, folder)
    return features.get(model) or ""
