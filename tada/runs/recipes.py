"""Recipes: how a dataset is trained and tested at a scale, where each value comes from, and the signature of a run.

A recipe is read from `config/recipes/<scale>.yaml` into the dataclasses of `tada.runs.settings`. At the paper's scale a
value stands there with its sources, `{value: 256, text: A.1, first: same, later: 128, why: ...}`; the head of that file
explains the keys. Imports no torch, so that plans are made at once.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tada.base import TadaError, files, unknown
from tada.base.yaml_files import load_yaml, read_yaml, validate, without_sources
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.readers import own
from tada.models.registry import model_names, model_options
from tada.runs.localization_settings import BmnSettings, ClipSettings, ProposalClasses, SuppressionSettings
from tada.runs.settings import (
    RELEASES,
    ClassificationRecipe,
    DataSettings,
    LocalizationRecipe,
    Recipe,
    Resources,
    SamplingSettings,
    Scale,
    TestSettings,
    TrainSettings,
    contradictions,
)

SAME = "same"


_KIND = ("task", "videos")  # what a recipe is, and not a setting


_KEYS = ("value", "text", *RELEASES, "choice", "why")


_NETWORK_KEYS = ("initial", "slow_frames")  # options in models.yaml whose values name their sources


@dataclass(frozen=True)
class Setting:
    """One value of a recipe and what the sources say of it.

    Attributes:
        name: key in the recipe, e.g. "train.base_lr", or "16 frames: train.base_lr" where it differs by frames; of a
            network, its option, e.g. "initial.head".
        value: what is used.
        section: of the paper, where its text says something.
        text, first, later: what the text and the two releases say, `value` itself where they say the same; None where
            they say nothing.
        why: the reason of a choice, or why one source is followed and not another.
    """

    name: str
    value: Any
    section: str
    text: Any
    first: Any
    later: Any
    why: str


def has_sources(content: Mapping[str, Any]) -> bool:
    """Whether the values of a recipe file name their sources: it says which releases these are."""
    return isinstance(content, Mapping) and "releases" in content


def sourced_settings(recipe: Mapping[str, Any], where: str) -> list[Setting]:
    """Every value of a recipe with its sources, in the order of the file.

    Args:
        recipe: as it stands in the file.
        where: file and recipe, for messages.

    Raises:
        TadaError: a value without a source, an unknown key (such as a release that there is not), a choice that a
            source contradicts or supports, or sources that disagree without a word on why.
    """
    return [
        _setting(_name(path), value, f"{where}: {'.'.join(path)}")
        for path, value in _values(recipe, ())
        if path[0] not in _KIND
    ]


def _values(content: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, part in content.items():
        if isinstance(part, Mapping) and "value" not in part and part:
            yield from _values(part, (*path, str(key)))
        else:
            yield (*path, str(key)), part


def _name(path: tuple[str, ...]) -> str:
    if path[0] == "frames" and len(path) > 2:
        return f"{path[1]} frames: {'.'.join(path[2:])}"
    return ".".join(path)


def _setting(name: str, entry: Any, where: str) -> Setting:
    if not isinstance(entry, Mapping):
        raise TadaError(
            f"{where}: {entry!r} has no source; write {{value: {entry!r}, text: SECTION}} or "
            f"{{value: {entry!r}, choice: the reason}}"
        )
    for key in entry:
        if key not in _KEYS:
            raise unknown("source", key, _KEYS, where)
    for key in ("choice", "why"):
        if not isinstance(entry.get(key, ""), str):
            raise TadaError(f"{where}: {key}: expected the reason as text, found {entry[key]!r}")
    value, choice = entry["value"], entry.get("choice")
    section, text = _text(entry.get("text"), value, where)
    releases = {name: value if entry.get(name) == SAME else entry.get(name) for name in RELEASES}
    said = [found for found in (text, *releases.values()) if found is not None]
    if choice and said:
        raise TadaError(f"{where}: a choice is what no source says; leave out either `choice` or the sources")
    if not choice and not said:
        raise TadaError(f"{where}: no source; name `text`, `first` or `later`, or give the reason of a `choice`")
    if any(found != value for found in said) and not entry.get("why"):
        raise TadaError(f"{where}: a source says otherwise; `why` has to say why {value!r} is used")
    return Setting(name, value, section, text, releases["first"], releases["later"], choice or entry.get("why", ""))


def _text(text: Any, value: Any, where: str) -> tuple[str, Any]:
    """Section of the paper, and what it says."""
    if text is None:
        return "", None
    if isinstance(text, Mapping):
        if len(text) != 1:
            raise TadaError(f"{where}: text: expected a section, or {{section: what it says}}")
        section, says = next(iter(text.items()))
    elif isinstance(text, str):
        section, says = text, value
    else:
        raise TadaError(f"{where}: text: expected a section in quotes, found {text!r}")
    if not re.fullmatch(r"[0-9A-Z](\.[0-9]+)*", section):
        raise TadaError(f"{where}: text: {section!r} is no number of a section, such as '5' or 'A.1'")
    return section, says


@cache
def _load_scale(scale: str, folder: Path) -> dict[str, Any]:
    path = folder / "recipes" / Scale.named(scale).recipe_file
    content = read_yaml(path)
    if has_sources(content):
        _all_sources(content, path)  # a value without a source is refused before anything is trained with it
        network_sources(folder)
        content = {name: without_sources(recipe) for name, recipe in content.items() if name != "releases"}
    if scale == Scale.OWN:
        content = own.check_recipes(content, path)
    names = catalog.NAMES if scale != Scale.OWN else {"dataset": tuple(content), "recipe": tuple(content)}
    validate(content, "recipes", str(path), names)
    for name, recipe in content.items():
        if scale != Scale.OWN and "list" in recipe.get("data", {}):
            raise TadaError(f"{path}: {name}.data.list: videos of your own have recipes in {Scale.OWN.recipe_file}")
        catalog.check_labels(name, recipe.get("classes"), f"{path}: {name}.classes")
        options = {f"{name}.network": {"network": "resnet", **recipe.get("network", {})}}
        validate(options, "models", str(path))
        for frames in (None, *recipe.get("frames", {})):
            if faults := list(contradictions(_parts(recipe, frames))):
                where = f"{path}: {name}" + (f", {frames} frames" if frames else "")
                raise TadaError("\n".join(f"{where}: {fault}" for fault in faults))
    return content


def _parts(recipe: Mapping[str, Any], frames: str | None) -> dict[str, dict[str, Any]]:
    """The mappings of a recipe, with what differs for networks of so many frames."""
    changes = recipe.get("frames", {}).get(frames, {})
    return {key: {**value, **changes.get(key, {})} for key, value in recipe.items() if isinstance(value, Mapping)}


@cache
def recipe_sources(folder: Path = files.CONFIG) -> dict[str, list[Setting]]:
    """Every value of the recipes at the paper's scale with its sources, recipe -> settings in the file's order.

    Raises:
        TadaError: the file does not say which releases it cites, or a value's source is missing or contradicts it.
    """
    path = folder / "recipes" / Scale.PAPER.recipe_file
    content = read_yaml(path)
    if not has_sources(content):
        raise TadaError(f"{path}: `releases` has to name the authors' releases that the values are compared with")
    return _all_sources(content, path)


@cache
def network_sources(folder: Path = files.CONFIG) -> dict[str, list[Setting]]:
    """What `models.yaml` says, with sources, of options that no table of the paper tells: entry -> its own settings.

    Raises:
        TadaError: a value without a source, or sources that disagree without a reason.
    """
    entries = _network_entries(folder)
    own = {name: {key: entry[key] for key in _NETWORK_KEYS if key in entry} for name, entry in entries.items()}
    where = folder / "models.yaml"
    return {name: sourced_settings(settings, f"{where}: {name}") for name, settings in own.items() if settings}


@cache
def _network_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of models.yaml as they stand there, with sources; its faults are `model_names`' to tell."""
    model_names(folder)
    entries: dict[str, dict[str, Any]] = read_yaml(folder / "models.yaml")
    return entries


def network_settings(model: str, folder: Path = files.CONFIG) -> list[Setting]:
    """Those of a model, with what it takes from the entries that it extends.

    Raises:
        TadaError: unknown model, or as `network_sources`.
    """
    model_options(model, folder)
    own = {one.name: one for one in network_sources(folder).get(model, [])}
    base = _network_entries(folder)[model].get("extends")
    inherited = {one.name: one for one in network_settings(base, folder)} if base else {}
    return list((inherited | own).values())


def _all_sources(content: Mapping[str, Any], path: Path) -> dict[str, list[Setting]]:
    """Those of every recipe of a file, checked."""
    validate(content["releases"], "releases", f"{path}: releases")
    for name, recipe in content.items():
        if not isinstance(recipe, Mapping):
            raise TadaError(f"{path}: {name}: expected the settings of a recipe, found {recipe!r}")
    return {name: sourced_settings(recipe, f"{path}: {name}") for name, recipe in content.items() if name != "releases"}


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
    """The authors' checkpoints: release -> dataset -> model -> published numbers; and their verdicts' tolerances."""
    return load_yaml(folder / "released.yaml", "released", catalog.NAMES)


def published(scale: Scale, dataset: str, model: str, folder: Path = files.CONFIG) -> dict[str, str] | None:
    """What the authors publish for the checkpoint of a release, by metric; None where they released none."""
    numbers: dict[str, dict[str, str]] = released_checkpoints(folder)["checkpoints"][scale.release].get(dataset, {})
    return numbers.get(model)


def _check_published(scale: Scale, dataset: str, model: str, folder: Path) -> None:
    """Raises a TadaError, of one line, where the authors released no checkpoint of a model on a dataset."""
    model_options(model, folder)
    if published(scale, dataset, model, folder) is None:
        there = released_checkpoints(folder)["checkpoints"][scale.release]
        names = ", ".join(f"{one}/{name}" for one, models in there.items() for name in models)
        raise TadaError(
            f"{dataset}/{model}: the authors released no checkpoint of it; their {scale.release} release has {names}"
        )


def check_config(config: Mapping[str, Any], folder: Path = files.CONFIG) -> None:
    """Check the content of config.yaml, with all that --config has changed.

    Raises:
        TadaError: it breaks its schema (an unknown release does), there are features of a dataset without localization,
            a checkpoint that the authors have not released, or one file as that of two.
    """
    where = "config/config.yaml or --config"
    validate(config, "config", where, catalog.NAMES)
    for dataset, place in (config.get("data") or {}).items():
        if isinstance(place, Mapping):
            catalog.check_released(dataset, place, f"{where}: data.{dataset}")
    keys: dict[str, str] = {}
    for release, datasets in (config.get("released") or {}).items():
        for dataset, given in (datasets or {}).items():
            for model, file in given.items():
                _check_published(Scale.of_release(release), dataset, model, folder)
                key = f"released.{release}.{dataset}.{model}"
                if file and keys.setdefault(file, key) != key:
                    raise TadaError(f"{where}: {keys[file]} and {key} are the same file, {file}")


def with_scale(config: Mapping[str, Any]) -> dict[str, Any]:
    """The checked content of config.yaml, with the scale and seeds that `weights: released` stands for, if it is."""
    if config.get("weights") != "released":
        return dict(config)
    return {**config, "scale": Scale.of_release(config.get("release", "later")).value, "seeds": 1}


def load_recipe(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> Recipe:
    """The recipe of a dataset at a scale, with what differs for networks of the model's number of frames.

    Args:
        scale: the value of a `Scale`, e.g. "mini".
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
    parts = _parts(raw, str(frames))
    if raw.get("task") == LocalizationRecipe.task:
        return _localization(raw, parts, recipes[raw["videos"]], frames)
    videos = own.own_videos(parts["data"].pop("list", ""), f"config/recipes/{scale}.yaml: {dataset}.data.list")
    return ClassificationRecipe(
        videos=catalog.OWN.name if videos else dataset,
        classes=len(videos.classes) if videos else raw["classes"],
        own=videos,
        sampling=SamplingSettings(**parts["sampling"]),
        train=TrainSettings(**parts["train"] | {"scale": tuple(parts["train"]["scale"])} | files.wanted_precision()),
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

    Left out, since they change speed and not numbers: workers, caching, cluster resources (but see `tada.runs.trainer`
    on the number of devices), videos per forward pass, the share of unusable videos that is tolerated; at a scale that
    trains nothing, how weights start.

    Raises:
        TadaError: as `load_recipe`, or a run of which the authors released no checkpoint, at a scale that tests these.
    """
    recipe = load_recipe(scale, dataset, model, folder)
    values = recipe.identity() if Scale.named(scale).trains else recipe.tested()
    definition = model_options(model, folder)
    configuration = {"scale": scale, "dataset": dataset, "model": model, "definition": definition, "recipe": values}
    if not Scale.named(scale).trains:
        _check_published(Scale.named(scale), dataset, model, folder)
        definition.pop("initial", None)
    elif recipe.initial:
        configuration["initial"] = signature(resolved(scale, recipe.initial, model, folder))
    elif recipe.task == ClassificationRecipe.task and (file := recipe.initial_file):
        if not file.is_file():
            where = f"config/recipes/{Scale.named(scale).recipe_file}: {dataset}.train.initial"
            raise TadaError(f"{where}: {file}: no such file; give a checkpoint, scratch or imagenet")
        configuration["initial"] = files.sha256(file)
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


def render_spec(dataset: str, scale: str = Scale.MINI, folder: Path = files.CONFIG) -> dict[str, Any]:
    """What the rendered version of a dataset shows at a scale: `data.render` of its recipe, checked.

    Raises:
        TadaError: a scale that renders nothing, an unknown dataset, one that is not rendered, or videos that cannot be.
    """
    from tada.data.mini.rendering import RenderSpec  # PyAV, which other plans need not wait for

    if scale not in (rendered := [one for one in Scale if one.renders]):
        raise unknown("scale", scale, rendered)
    recipes, where = _load_scale(scale, folder), f"config/recipes/{scale}.yaml"
    if dataset not in recipes:
        raise unknown("dataset", dataset, recipes, where=where)
    spec: dict[str, Any] | None = recipes[dataset].get("data", {}).get("render")
    if spec is None:
        raise TadaError(f"{where}: {dataset}: no data.render, which says what its videos show")
    RenderSpec.of(spec, where=f"{where}: {dataset}.data.render")
    return spec


def is_runnable(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> bool:
    """Whether there is a recipe for the dataset at this scale; at a release's, a checkpoint."""
    if not Scale.named(scale).trains and published(Scale.named(scale), dataset, model, folder) is None:
        return False
    return dataset in _load_scale(scale, folder)


def released_parts(
    data: Mapping[str, Any], scale: str, dataset: str, model: str, folder: Path = files.CONFIG
) -> dict[str, str]:
    """What the authors released that a run of localization uses, by the names of `Place.RELEASED`; empty if nothing.

    Args:
        data: `data` of config.yaml. Only videos of the paper's size can have such parts there.
        scale: the run's.
        dataset: the run's, e.g. "hacs-localization".
        model: the run's.
        folder: where `recipes/` and `models.yaml` lie.

    Raises:
        TadaError: there are parts of a network that does not exist.
    """
    if Scale.named(scale).renders or not is_runnable(scale, dataset, model, folder):
        return {}
    recipe = load_recipe(scale, dataset, model, folder)
    place = data.get(recipe.videos)
    if not isinstance(place, Mapping) or recipe.task != LocalizationRecipe.task:
        return {}
    given = {part: place.get(part) or {} for part in Place.RELEASED}
    for name in {name for models in given.values() for name in models}:
        model_options(name, folder)
    return {part: models[model] for part, models in given.items() if models.get(model)}
