"""A trained network told by its checkpoint: what it computes, how its clips are taken, and what was measured of it.

`load_network` takes a checkpoint of this suite, with the record of its run beside it, or one that the authors released.
Nothing else is asked: today's recipes and models may have changed since. `export` writes it for other programs, with a
model card inside, and compares what these compute with what it computes.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tada.base import TadaError, unknown
from tada.base.files import replacing, sha256
from tada.base.typed_json import from_json
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.readers import read_annotations, read_text
from tada.data.views import MEAN, STD
from tada.models.blocks import Network
from tada.models.registry import build_network, model_options
from tada.models.weights import read_checkpoint, read_released
from tada.runs.checkpoints import load_state
from tada.runs.recipes import describe_classes, load_recipe, released_checkpoints
from tada.runs.record import METRICS, RunRecord, read_record_of
from tada.runs.settings import SamplingSettings, Scale, TestSettings


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
    published = (name for of in released_checkpoints()["checkpoints"].values() for name in of.get(dataset, {}))
    model = next((name for name in published if model_options(name)["frames"] == frames), None)
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


FORMATS = {
    "safetensors": ("safetensors",),
    "torch": (),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
"""What networks are exported to, and the packages that this needs."""


TOLERANCE = 1e-4
"""Largest difference of a logit, or share of the largest logit where that is above 1, that an export may have."""


def export(trained: TrainedNetwork, to: str, file: Path, names: Names) -> str:
    """Write a network for other programs, with its model card inside.

    All take float32 clips [N, 3, frames, H, W], normalised, any N, and give logits: `safetensors` the weights alone
    under this suite's names, `torch` a program of `torch.export`, `onnx` a graph. The last two are for the H and W of
    the network's test. What the file computes is compared with the network on random clips; a file that differs is not
    kept.

    Args:
        trained: the network.
        to: one of `FORMATS`.
        file: to be written.
        names: of its classes.

    Returns:
        what was compared, in words.

    Raises:
        TadaError: an unknown format, packages that are not there, or a file that computes something else.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    if missing := [name for name in FORMATS[to] if find_spec(name) is None]:
        raise TadaError(
            f"an export to {to} needs the packages {', '.join(missing)}: pip install 'tada-reproducibility[export]'"
        )
    network, card = trained.network.cpu(), model_card(trained, names)
    generator = torch.Generator().manual_seed(0)
    side = trained.test.crop
    clips = torch.randn(2, 3, network.frames, side, side, generator=generator)
    with replacing(file) as temporary, torch.inference_mode():
        computed = {"safetensors": _to_safetensors, "torch": _to_torch, "onnx": _to_onnx}[to](
            network, clips, card, temporary
        )
        others = torch.randn(3, 3, network.frames, side, side, generator=generator)
        difference = _difference(_logits(network(others)), computed(others))
    return f"logits of 3 random clips within {difference:.1g} of the network's"


def model_card(trained: TrainedNetwork, names: Names) -> dict[str, str]:
    """What a network is, what it was trained on, what was measured of it and what it takes, as texts."""
    record, test = trained.record, trained.test
    size = f"{trained.network.frames}, {test.crop}, {test.crop}"
    card: dict[str, Any] = {
        "network": trained.model,
        "trained on": trained.dataset,
        "classes": dict(names) if "" not in names else names[""],
        "input": f"float32 [N, 3, {size}]: RGB from 0 to 1, minus {MEAN}, divided by {STD}",
        "output": "logits [N, classes]" + "".join(f", {task}" for task in names if task),
        "sampling": asdict(trained.sampling),
        "test": asdict(test),
        "checkpoint sha256": trained.sha256,
        "torch": torch.__version__,
    }
    if record is None:
        card["from"] = "a checkpoint that the authors of TAda released"
    else:
        card |= {
            "scale": record.run.scale,
            "seed": record.run.seed,
            "signature": record.signature,
            "metrics": record.metrics,
            "data": {name: [counts.used, counts.listed] for name, counts in record.dataset.items()},
            "started from": record.initial.kind,
            "configuration": record.config,
            "code": record.environment.git_commit or "",
        }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in card.items()}


_Computed = Callable[[Tensor], list[Tensor]]
"""Clips -> logits of each task, as a written file computes them."""


def _logits(output: Tensor | Mapping[str, Tensor]) -> list[Tensor]:
    return list(output.values()) if isinstance(output, Mapping) else [output]


def _difference(expected: list[Tensor], found: list[Tensor]) -> float:
    """The largest difference of a logit; raises TadaError where it is above `TOLERANCE`."""
    largest = max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=True))
    allowed = TOLERANCE * max(1.0, *(float(one.abs().max()) for one in expected))
    if not largest <= allowed:  # not a number is no agreement
        raise TadaError(f"the exported file computes other logits, by up to {largest:.2g}; it was not kept")
    return largest


def _to_safetensors(network: Network, clips: Tensor, card: dict[str, str], file: Path) -> _Computed:
    from safetensors.torch import load_file, save

    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    file.write_bytes(save(weights, {**card, "format": "pt"}))  # that of `save_file` can be read by its owner alone
    read = load_file(file)
    return lambda others: _logits(torch.func.functional_call(network, read, (others,)))


def _program(network: Network, clips: Tensor) -> torch.export.ExportedProgram:
    """The network on any number of clips."""
    return torch.export.export(network, (clips,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def _to_torch(network: Network, clips: Tensor, card: dict[str, str], file: Path) -> _Computed:
    written = io.BytesIO()  # a file on a full disk would end the process, by an error in torch's clearing up
    torch.export.save(_program(network, clips), written, extra_files={"card.json": json.dumps(card)})
    file.write_bytes(written.getvalue())
    with file.open("rb") as stream:  # of a path torch expects another ending than a temporary file's
        read = torch.export.load(stream).module()
    return lambda others: _logits(read(others))


def _to_onnx(network: Network, clips: Tensor, card: dict[str, str], file: Path) -> _Computed:
    import onnxruntime

    tasks = network.head.classes if isinstance(network.head.classes, Mapping) else {"logits": 0}
    graph = torch.onnx.export(_program(network, clips), input_names=["clips"], output_names=list(tasks), verbose=False)
    if graph is None:
        raise TadaError("torch wrote no ONNX graph of the network")
    graph.model.metadata_props.update(card)
    graph.save(file, external_data=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda others: [torch.from_numpy(values) for values in session.run(None, {"clips": others.numpy()})]
