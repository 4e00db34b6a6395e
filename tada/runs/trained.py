"""A trained network told by its checkpoint: what it computes, how its clips are taken, and what was measured of it.

`load_network` takes a checkpoint of this suite, with the record of its run beside it, or one that the authors released.
Nothing else is asked: today's recipes and models may have changed since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tada.base import TadaError
from tada.base.files import sha256
from tada.base.typed_json import from_json
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.readers import read_annotations, read_text
from tada.models.blocks import Network
from tada.models.registry import build_network, model_options
from tada.models.weights import read_checkpoint, read_released
from tada.runs.checkpoints import load_state
from tada.runs.recipes import describe_classes, load_recipe
from tada.runs.record import METRICS, RunRecord, read_record_of
from tada.runs.settings import SamplingSettings, Scale, TestSettings

RELEASED = ("tada2d", "tada2d-16f")
"""Networks that the authors released checkpoints of."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and all that its scores depend on.

    Attributes:
        network: in evaluation mode.
        file: the checkpoint.
        sha256: of its content.
        scale, dataset, model: of the run that trained it; of a released one, of the recipe that it is tested with.
        sampling: which frames make a clip.
        test: which views are scored.
        record: of the run; None of a released one.
    """

    network: Network
    file: Path
    sha256: str
    scale: str
    dataset: str
    model: str
    sampling: SamplingSettings
    test: TestSettings
    record: RunRecord | None

    @property
    def classes(self) -> Mapping[str, int]:
        """Number of classes of each task; "" where there is one."""
        classes = self.network.head.classes
        return {"": classes} if isinstance(classes, int) else classes

    def __str__(self) -> str:
        return f"{self.model} of {self.dataset}, {'a released one' if self.record is None else f'scale {self.scale}'}"


def load_network(checkpoint: Path) -> TrainedNetwork:
    """The network of a checkpoint.

    Args:
        checkpoint: `checkpoint.pt` of a finished run with its `metrics.json` beside it, or a file of the authors.

    Raises:
        TadaError: the file is missing, damaged, refused or of something else, or is not what its record was measured
            with, or there is no record; says which.
    """
    content = read_checkpoint(checkpoint)
    if isinstance(content, Mapping) and "model_state" in content:
        return _released(checkpoint)
    try:
        record = read_record_of(checkpoint.parent)
    except FileNotFoundError:
        raise TadaError(
            f"{checkpoint}: neither a checkpoint that the authors released, nor one with the record of its run beside "
            f"it, {checkpoint.parent / METRICS}, which says what network it is; give the checkpoint in the folder of a "
            "finished run"
        ) from None
    return _of_a_run(checkpoint, record)


def _of_a_run(checkpoint: Path, record: RunRecord) -> TrainedNetwork:
    config, where = record.config, str(checkpoint.parent / METRICS)
    recipe = _part(config, "recipe", where)
    if "classes" not in recipe:
        raise TadaError(
            f"{checkpoint}: a network that proposes segments, of {record.run.dataset}; give the checkpoint of the run "
            f"that gave it its features, {record.initial.kind}/{record.run.model}"
        )
    content = sha256(checkpoint)
    if content != record.checkpoint.sha256:
        raise TadaError(
            f"{checkpoint}: not the checkpoint that {where} was measured with; the two belong together in one folder"
        )
    definition, classes = _part(config, "definition", where), recipe["classes"]
    network = build_network(record.run.model, definition, classes, **recipe.get("network", {}))
    if load_state(checkpoint, {"signature": record.signature, "seed": record.run.seed}, network) is None:
        raise TadaError(f"{checkpoint}: of another run than {where}")
    return TrainedNetwork(
        network=network.eval(),
        file=checkpoint,
        sha256=content,
        scale=record.run.scale,
        dataset=record.run.dataset,
        model=record.run.model,
        sampling=from_json(SamplingSettings, recipe.get("sampling"), f"{where}: config.recipe.sampling"),
        test=from_json(TestSettings, recipe.get("test"), f"{where}: config.recipe.test"),
        record=record,
    )


def _part(config: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """A mapping of the configuration in a record."""
    part = config.get(key)
    if not isinstance(part, dict):
        raise TadaError(f"{where}: its config has no {key}, which says how the network is built and tested")
    return part


def _released(checkpoint: Path) -> TrainedNetwork:
    released = read_released(checkpoint)
    classes, frames = released.network.head.classes, released.network.frames
    dataset = next((entry.name for entry in catalog.DATASETS.values() if entry.classes == classes), None)
    model = next((name for name in RELEASED if model_options(name)["frames"] == frames), None)
    if dataset is None or model is None:
        raise TadaError(
            f"{checkpoint}: a released network for {describe_classes(classes)} classes and {frames} frames; there is "
            "no recipe that says how it is tested"
        )
    recipe = load_recipe(Scale.PAPER, dataset, model)
    if recipe.task != "classification":
        raise TypeError(f"{dataset}: a recipe of {recipe.task}")
    return TrainedNetwork(
        network=released.network,
        file=checkpoint,
        sha256=released.loaded.sha256,
        scale=Scale.PAPER,
        dataset=dataset,
        model=model,
        sampling=recipe.sampling,
        test=recipe.test,
        record=None,
    )


Names = Mapping[str, tuple[str, ...]]
"""Names of the classes of each task, "" where there is one."""


def names_in(file: Path, trained: TrainedNetwork) -> Names:
    """The names of a network's classes in a file: one a line, in the order of the classes; or JSON, a list or, where
    there are several tasks, {"verb": [...], "noun": [...]}.

    Raises:
        TadaError: the file is missing or malformed, or has names of another number of classes.
    """
    if file.suffix == ".json":
        content = read_annotations(file)
    else:
        content = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    tasks = content if isinstance(content, dict) else {"": content}
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in tasks.values()):
        raise TadaError(f'{file}: expected names of classes, ["...", ...], or {{"verb": [...], "noun": [...]}}')
    return _fitting({task: tuple(names) for task, names in tasks.items()}, trained, str(file))


def recorded_names(trained: TrainedNetwork) -> Names | None:
    """The names of a network's classes where its record has them: of videos of one's own."""
    own = trained.record.config["recipe"].get("own") if trained.record else None
    return {"": tuple(own["classes"])} if own else None


def names_of_dataset(trained: TrainedNetwork, data: str) -> Names:
    """The names of a network's classes, as its dataset has them, which lies at `data` (see `Place.parse`).

    Raises:
        TadaError: it cannot be read, or has another number of classes.
    """
    classes = catalog.read(trained.dataset, Place.parse(data)).classes
    return _fitting(classes if isinstance(classes, dict) else {"": classes}, trained, data)


def numbered(trained: TrainedNetwork) -> Names:
    """Names for want of names: "class 0", "class 1", ..."""
    return {task: tuple(f"class {number}" for number in range(count)) for task, count in trained.classes.items()}


def _fitting(names: Names, trained: TrainedNetwork, where: str) -> Names:
    found = {task: len(of) for task, of in names.items()}
    if found != trained.classes:
        raise TadaError(
            f"{where}: these are names of {_count(found)} classes, and {trained.file} tells "
            f"{_count(trained.classes)} apart; give the names of those, in their order"
        )
    return names


def _count(classes: Mapping[str, int]) -> str:
    return describe_classes(classes[""] if set(classes) == {""} else dict(classes))


def as_json(trained: TrainedNetwork) -> dict[str, Any]:
    """Which network it is, for files that are made with it."""
    return {
        "checkpoint": str(trained.file),
        "sha256": trained.sha256,
        "model": trained.model,
        "dataset": trained.dataset,
        "scale": str(trained.scale),
        **({} if trained.record is None else {"signature": trained.record.signature, "seed": trained.record.run.seed}),
    }


def highest(scores: Any, names: tuple[str, ...], count: int) -> list[dict[str, Any]]:
    """The classes of the highest scores [classes], highest first; of equal ones the first."""
    order = sorted(range(len(names)), key=lambda number: (-float(scores[number]), number))[:count]
    return [{"class": number, "name": names[number], "score": float(scores[number])} for number in order]
