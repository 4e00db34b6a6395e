"""A run: dataset x model x seed at a scale, trained once and used by every table and figure that needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tada.base import TadaError
from tada.runs.recipes import describe_classes, load_recipe, resolved, signature
from tada.runs.settings import ClassificationRecipe, LocalizationRecipe, Recipe, Scale


@dataclass(frozen=True)
class Run:
    """What is trained and tested together, and where its files lie."""

    scale: Scale
    dataset: str
    model: str
    seed: int
    results: Path = Path("results")

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", Scale.named(self.scale))  # where a user or a file names it

    @cached_property
    def folder(self) -> Path:
        """`results/<scale>/<dataset>/<model>/seed<k>`."""
        return self.results / self.scale / self.dataset / self.model / f"seed{self.seed}"

    @cached_property
    def recipe(self) -> Recipe:
        """How this run is trained and tested."""
        return load_recipe(self.scale, self.dataset, self.model)

    @property
    def classification_recipe(self) -> ClassificationRecipe:
        """The recipe, of a run that classifies; raises TypeError for any other."""
        if self.recipe.task != "classification":
            raise TypeError(f"{self}: a run of {self.recipe.task}")
        return self.recipe

    @property
    def localization_recipe(self) -> LocalizationRecipe:
        """The recipe, of a run that locates actions; raises TypeError for any other."""
        if self.recipe.task != "localization":
            raise TypeError(f"{self}: a run of {self.recipe.task}")
        return self.recipe

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """All that its numbers depend on, but for seed, code and machine."""
        return resolved(self.scale, self.dataset, self.model)

    @cached_property
    def signature(self) -> str:
        """Hash of the configuration; results of another signature belong to another run."""
        return signature(self.configuration)

    @property
    def initial(self) -> "Run | None":
        """The run of the same model and seed, on another dataset, whose weights this one starts from, if any."""
        dataset = self.recipe.initial if self.scale.trains else None
        return replace(self, dataset=dataset) if dataset else None

    def __str__(self) -> str:
        return f"{self.dataset}/{self.model} seed {self.seed}"

    def file(self, name: str) -> Path:
        """A file of this run, e.g. "metrics.json", "checkpoint.pt", "log.txt"."""
        return self.folder / name


def check_classes(names: Sequence[str] | Mapping[str, Sequence[str]], run: Run, layout: str) -> None:
    """Raise a TadaError where data, described by `layout`, has another number of classes than the run's recipe."""
    found = {task: len(of) for task, of in names.items()} if isinstance(names, Mapping) else len(names)
    if found != run.recipe.classes:
        raise TadaError(
            f"{layout}: these are {describe_classes(found)} classes, and the recipe of {run.dataset} at scale "
            f"{run.scale} is for {describe_classes(run.recipe.classes)}"
        )
