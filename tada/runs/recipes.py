"""Recipes: how a dataset is trained and tested at a scale, and the signature that tells one such run from another.

Where features lie that config.yaml gives of a network. Imports no torch, so that plans are made at once.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tada.base import files
from tada.base.errors import unknown
from tada.base.yaml_files import load_yaml
from tada.models.registry import model_options
from tada.runs.settings import BmnSettings, Classification, ClipSettings, Suppression

SCALES = ("mini", "paper")


RELEASED = "released"
"""The scale of runs that test the authors' checkpoints as the paper's recipes say, and train nothing."""


LOCALIZATION = "-localization"
"""What the name of a dataset ends with where its actions are located in whole videos."""


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video make a clip (section 5): one of each segment, or every `interval`-th at `target_fps`."""

    kind: str
    interval: int = 8
    target_fps: float = 30.0


@dataclass(frozen=True)
class Train:
    """A training schedule (Appendix A.1). Sizes in pixels, rates per optimiser step over `batch` clips."""

    epochs: int
    warmup_epochs: float
    base_lr: float
    warmup_lr: float
    batch: int
    batch_per_device: int
    scale: tuple[int, int]
    crop: int
    flip: bool
    initial: str
    momentum: float = 0.9
    weight_decay: float = 1e-4
    precision: str = "float32"
    validate_every: int = 1
    optimizer: str = "sgd"


@dataclass(frozen=True)
class Test:
    """Views of a test video (section 5): `clips` in time times `crops` in space, sizes in pixels.

    `precision` is what the network computes in; validation while training goes on stays in float32.
    """

    clips: int
    crops: int
    short_side: int
    crop: int
    batch: int = 1
    precision: str = "float32"


@dataclass(frozen=True)
class Data:
    """How videos are brought in; nothing here but `render` changes a number."""

    render: dict[str, Any] | None = None
    cache: bool = False
    cache_short_side: int | None = None
    max_skipped: float = 0.01
    workers: int = 0


@dataclass(frozen=True)
class Resources:
    """What a run asks of a cluster."""

    gpus: int = 0
    gpus_per_node: int = 8
    cpus_per_gpu: int = 1
    memory_gb_per_gpu: int = 8
    hours: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """Everything about a run of action classification but the network: see `config/recipes/`."""

    classes: int | dict[str, int]
    sampling: Sampling
    train: Train
    test: Test
    data: Data
    network: dict[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)

    @property
    def initial(self) -> str | None:
        """The dataset whose run comes first and gives the weights; None where there is none."""
        return None if self.train.initial in ("scratch", "imagenet") else self.train.initial

    @property
    def epochs(self) -> int:
        """Epochs of training."""
        return self.train.epochs

    @property
    def groups(self) -> int | None:
        """Parts of a step that can be computed side by side; None: any number of processes can share the work."""
        return max(self.train.batch // self.train.batch_per_device, 1)


@dataclass(frozen=True)
class LocalizationRecipe:
    """How actions are located with a network that classifies them (section 6, Appendix A.2).

    Attributes:
        initial: dataset of the run whose network is used.
        classes: that network's.
        network: that network's, as in `Recipe`.
        clips: what features are computed from; its `frames` are the network's.
        bmn: the network of proposals.
        suppression: which proposals are kept.
        classification: how these get classes.
        thresholds: intersections over union of the evaluation.
        recall_at: proposals per video whose recall is told.
        max_skipped: share of unusable segments above which a run fails.
        resources: what a run asks of a cluster.
    """

    initial: str
    classes: int | dict[str, int]
    network: dict[str, Any]
    clips: ClipSettings
    bmn: BmnSettings
    suppression: Suppression
    classification: Classification
    thresholds: tuple[float, ...]
    recall_at: int
    max_skipped: float = 0.01
    resources: Resources = field(default_factory=Resources)
    groups: None = None

    @property
    def epochs(self) -> int:
        """Epochs of training the network of proposals."""
        return self.bmn.epochs


@cache
def _load_scale(scale: str, folder: Path) -> dict[str, Any]:
    if scale not in (*SCALES, RELEASED):
        raise unknown("scale", scale, (*SCALES, RELEASED))
    return load_yaml(folder / "recipes" / f"{'paper' if scale == RELEASED else scale}.yaml", "recipes")


@cache
def released_checkpoints(folder: Path = files.CONFIG) -> dict[str, Any]:
    """The authors' checkpoints, dataset -> model -> published accuracies, and the tolerance of their verdicts."""
    return load_yaml(folder / "released.yaml", "released")


def videos_of(dataset: str) -> str:
    """The dataset whose videos a run uses: "hacs" of "hacs-localization", and of "hacs"."""
    return dataset.removesuffix(LOCALIZATION)


def load_recipe(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> Recipe | LocalizationRecipe:
    """The recipe of a dataset at a scale, with what differs for networks of the model's number of frames.

    Args:
        scale: "mini", "paper" or "released".
        dataset: "ssv2", "k400", "ek100", "hacs", "ek100-localization" or "hacs-localization".
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
    if dataset.endswith(LOCALIZATION):
        return _localization(recipes, dataset, frames)
    special = raw.get("frames", {}).get(str(frames), {})

    def part(kind: type, key: str) -> Any:
        values = {**raw.get(key, {}), **special.get(key, {})}
        return kind(**{name: tuple(value) if name == "scale" else value for name, value in values.items()})

    return Recipe(
        classes=raw["classes"],
        network=raw.get("network", {}),
        sampling=part(Sampling, "sampling"),
        train=part(Train, "train"),
        test=part(Test, "test"),
        data=part(Data, "data"),
        resources=part(Resources, "resources"),
    )


def _localization(recipes: dict[str, Any], dataset: str, frames: int) -> LocalizationRecipe:
    raw, first = recipes[dataset], recipes[videos_of(dataset)]
    special = raw.get("frames", {}).get(str(frames), {})
    return LocalizationRecipe(
        initial=videos_of(dataset),
        classes=first["classes"],
        network=first.get("network", {}),
        clips=ClipSettings(frames=frames, **{**raw["clips"], **special.get("clips", {})}),
        bmn=BmnSettings(**raw["bmn"]),
        suppression=Suppression(**raw["suppression"]),
        classification=Classification(**raw["classification"]),
        thresholds=tuple(raw["thresholds"]),
        recall_at=raw["recall_at"],
        max_skipped=raw.get("max_skipped", LocalizationRecipe.max_skipped),
        resources=Resources(**raw.get("resources", {})),
    )


def resolved(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> dict[str, Any]:
    """All that a run's numbers depend on, but for the seed, the code and the machine: JSON-ready.

    Left out, since they change speed and not numbers: workers, caching, cluster resources, videos per forward pass,
    the share of unusable videos that is tolerated.
    """
    recipe = load_recipe(scale, dataset, model, folder)
    values = _located_values(recipe) if isinstance(recipe, LocalizationRecipe) else _values(recipe)
    configuration = {
        "scale": scale,
        "dataset": dataset,
        "model": model,
        "definition": model_options(model, folder),
        "recipe": values,
    }
    if scale == RELEASED:
        del values["train"]
    elif recipe.initial:
        configuration["initial"] = signature(resolved(scale, recipe.initial, model, folder))
    return configuration


def _values(recipe: Recipe) -> dict[str, Any]:
    values = dataclasses.asdict(recipe)
    del values["resources"], values["test"]["batch"]
    # As it was before there was a choice, so that signatures stay.
    if recipe.test.precision == Test.precision:
        del values["test"]["precision"]
    if recipe.train.optimizer == Train.optimizer:
        del values["train"]["optimizer"]
    return {**values, "data": {"render": values["data"]["render"]}}


def _located_values(recipe: LocalizationRecipe) -> dict[str, Any]:
    values = dataclasses.asdict(recipe)
    for name in ("resources", "max_skipped", "groups", "initial", "classes", "network"):
        del values[name]  # the last three belong to the run that comes first
    return {**values, "clips": recipe.clips.identity()}


def signature(configuration: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that differ whenever a resolved configuration differs."""
    canonical = json.dumps(configuration, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def in_words(classes: int | dict[str, int]) -> str:
    """ "400", or "97 verb and 300 noun"."""
    if isinstance(classes, int):
        return str(classes)
    return " and ".join(f"{count} {task}" for task, count in classes.items())


def render_spec(dataset: str, folder: Path = files.CONFIG) -> dict[str, Any]:
    """What the mini version of a dataset shows: `data.render` of its recipe.

    Raises:
        TadaError: unknown dataset, or one that has no mini version.
    """
    recipes = _load_scale("mini", folder)
    if dataset not in recipes:
        raise unknown("dataset", dataset, recipes, where="config/recipes/mini.yaml")
    return recipes[dataset]["data"]["render"]


def is_runnable(scale: str, dataset: str, model: str, folder: Path = files.CONFIG) -> bool:
    """Whether there is a recipe for the dataset at this scale; if released, a checkpoint."""
    if scale == RELEASED and model not in released_checkpoints(folder)["checkpoints"].get(dataset, {}):
        return False
    return dataset in _load_scale(scale, folder)


def given_features(data: Mapping[str, Any], dataset: str, model: str, folder: Path = files.CONFIG) -> str:
    """Folder of the features that are given for a run; empty where they are to be extracted.

    Args:
        data: `data` of config.yaml.
        dataset: the run's, e.g. "hacs-localization"; of any other kind uses no features.
        model: the run's.
        folder: where models.yaml lies.

    Raises:
        TadaError: features are given of a network that does not exist.
    """
    place = data.get(videos_of(dataset))
    if not isinstance(place, Mapping) or not dataset.endswith(LOCALIZATION):
        return ""
    features = place.get("features") or {}
    for name in features:
        model_options(name, folder)
    return features.get(model) or ""
