"""Checkpoints of runs: the state of a training that goes on, and the weights that a network begins or ends with.

Training state: `save_state`, `load_state` and `resume` hold everything that the training loop needs to go on. The
state before the last one is kept, for the case that the last one is damaged.

Weights: a run's network begins with those that its recipe names (Appendix A.1). Other runs read the network that a
finished run has trained. A run at a release's scale takes a checkpoint of the authors, and is tested only.
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tada.base import TadaError, first_line
from tada.base.files import DamagedFile, remove, replacing, sha256
from tada.models import build_model
from tada.models.blocks import Network
from tada.models.registry import model_options
from tada.models.weights import (
    Released,
    load_backbone,
    load_imagenet,
    read_checkpoint,
    read_released,
)
from tada.runs.recipes import describe_classes
from tada.runs.record import Checkpoint, Initial, RunRecord, last_outcome, read_record
from tada.runs.run import Run
from tada.runs.settings import RELEASES, Scale
from tada.runs.verification import is_finished

PARTS = frozenset({"identity", "model", "optimizer", "state"})
"""Of a checkpoint's content."""


@dataclass
class TrainingState:
    """How far a training is.

    Attributes:
        step: optimizer steps done.
        seconds: of training, over all attempts.
        resumes: how often it went on from a checkpoint.
        curves: a row an epoch.
        running: figures that are summed for the epoch's row.
        stepped: seconds that its steps took, the first of each attempt left out, whose batches nobody could prepare.
        waited: seconds of these in which it waited for batches.
    """

    step: int = 0
    seconds: float = 0.0
    resumes: int = 0
    curves: list[dict[str, float]] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)
    stepped: float = 0.0
    waited: float = 0.0

    @property
    def data_wait(self) -> float | None:
        """Share of the steps' time in which they waited for batches; None before there is any."""
        return self.waited / self.stepped if self.stepped else None


def save_state(
    path: Path, identity: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write everything that training needs to go on; the file is replaced as a whole, or not at all."""
    content = {
        "identity": identity,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "state": {name: getattr(state, name) for name in TrainingState.__dataclass_fields__},
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)
        if path.exists():
            path.replace(_previous(path))


def load_state(
    path: Path, identity: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> TrainingState | None:
    """Fill model and optimizer from a checkpoint of the same identity; None if there is none.

    Raises:
        DamagedFile: the file is damaged, or is no checkpoint of this network and optimizer, which are left as
            they were.
        TadaError: it cannot be read from its disk.
    """
    if not path.exists():
        return None
    content = read_checkpoint(path, "training state")
    missing = PARTS - content.keys() if isinstance(content, dict) else PARTS
    if missing:
        raise DamagedFile(f"{path}: no training state, it lacks {', '.join(sorted(missing))}")
    if content["identity"] != identity:
        return None
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict() if optimizer else {}))
    try:
        state = TrainingState(**content["state"])
        if not (isinstance(state.step, int) and isinstance(state.curves, list) and isinstance(state.running, dict)):
            raise TypeError("its state is of other types")
        model.load_state_dict(content["model"])
        if optimizer is not None:
            optimizer.load_state_dict(content["optimizer"])
            _check_shapes(optimizer)
            _lay_out(optimizer)
    except Exception as error:  # of another network, it shows as one of many kinds of error
        model.load_state_dict(before[0])
        if optimizer is not None:
            optimizer.load_state_dict(before[1])
        raise DamagedFile(f"{path}: of another network or optimizer ({first_line(str(error))})") from error
    state.resumes += 1
    return state


def resume(
    path: Path,
    identity: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    say: Callable[[str], None],
) -> TrainingState | None:
    """Fill model and optimizer from the newest state that can be used; None if training starts.

    A damaged file is removed, so that it takes the place of no good one. `say` receives a line where a file could not
    be used.
    """
    unusable, state = [], None
    for file in (path, _previous(path)):
        there = file.exists()
        try:
            if state := load_state(file, identity, model, optimizer):
                break
            unusable += [f"{file}: of another configuration or seed"] if there else []
        except DamagedFile as error:
            unusable.append(str(error))
            remove(file)
    if unusable:
        goes_on = f"training goes on from the state before, at step {state.step}" if state else "training starts again"
        say(f"{'; '.join(unusable)}; {goes_on}")
    return state


def _previous(path: Path) -> Path:
    """Where the state before the last one is kept."""
    return path.with_suffix(f".previous{path.suffix}")


def _check_shapes(optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError where the optimizer's memory of a parameter is of another shape than that."""
    for parameter, memory in optimizer.state.items():
        for name, value in memory.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"{name} is of shape {list(value.shape)} for weights {list(parameter.shape)}")


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's memory the layout of the parameters, where it was saved on another kind of device."""
    for parameter, memory in optimizer.state.items():
        for name, value in memory.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                memory[name] = torch.empty_like(parameter).copy_(value)


def set_initial_weights(model: Network, run: Run, imagenet: Path | None) -> Initial:
    """Fill `model` in place; returns what the run's record says of it.

    Args:
        model: freshly built.
        run: what `model` is trained for; `train.initial` of its recipe says what it starts from, unless that is
            ImageNet and `model.initial` refuses it; a file is one of another run or of the authors.
        imagenet: local file of torchvision's ResNet-50; None lets torchvision download it.

    Raises:
        TadaError: the file is missing, refused or of another network, or the run that comes first is not done.
    """
    kind, first = run.classification_recipe.train.initial, run.initial
    if kind == "scratch" or (kind == "imagenet" and not model.initial.imagenet):
        return Initial("scratch")
    if (file := run.classification_recipe.initial_file) is not None:
        loaded = load_backbone(model, file)
        return Initial("checkpoint", loaded.file, loaded.sha256)
    if first is None:
        loaded = load_imagenet(model, imagenet)
        return Initial(kind, loaded.file, loaded.sha256)
    load_backbone(model, _tested_weights(first))
    return initial_of(first, finished_run(first))


def initial_of(first: Run, record: RunRecord) -> Initial:
    """What is said of weights that a finished run, which has that record, has trained."""
    trained = record.checkpoint
    return Initial(first.dataset, trained.file, trained.sha256, first.signature, weights=trained.weights)


def finished_run(first: Run) -> RunRecord:
    """The record of a run that has to be done before another one.

    Raises:
        TadaError: it is not; says what became of it.
    """
    if (record := read_record(first)) is not None:
        return record
    outcome = last_outcome(first)
    state = f"failed: {first_line(outcome.error)}" if outcome and outcome.failed else "is not done"
    raise TadaError(f"{first}, whose weights this run starts from, {state}; `{_command(first)}` comes first")


def _tested_weights(run: Run) -> Path:
    """The file of weights that a finished run has tested.

    Raises:
        TadaError: it is not done, or the file is not what the record was measured with.
    """
    record = finished_run(run)
    checkpoint = record.checkpoint
    file = run.file(checkpoint.file)
    if record.imported and checkpoint.file not in record.files:
        raise TadaError(
            f"{run}: was imported from {record.imported.archive}, which has no weights; import an archive that was "
            f"published with --weights, or delete {run.folder} to have it trained here"
        )
    if not file.exists() or sha256(file) != checkpoint.sha256:
        fault = "is missing" if not file.exists() else "is not what the record beside it was measured with"
        raise TadaError(f"{run}: {file} {fault}; `{_command(run)}` mends it")
    return file


def _command(run: Run) -> str:
    return f"tada run {run.dataset} {run.model} --scale {run.scale} --seed {run.seed}"


def trained_checkpoint(file: Path, network: nn.Module) -> Checkpoint:
    """What is said of a trained network, and of the file that it was saved in."""
    return Checkpoint(file.name, sha256(file), weights_sha256(network))


def weights_sha256(network: nn.Module) -> str:
    """The SHA-256 of a network's weights: of name, type, shape and bytes of each parameter and buffer, by name.

    Where in memory they lie, and in what order, changes nothing.
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        values = value.detach().cpu().reshape(-1)  # row by row, also of channels_last
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(values.contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def load_trained(run: Run) -> Network:
    """The network that a finished run trained, in evaluation mode.

    Raises:
        TadaError: it is not done, or its checkpoint is missing, damaged or of another recipe.
    """
    file, recipe = _tested_weights(run), run.recipe
    network = build_model(run.model, recipe.classes, **recipe.network)
    identity = {"signature": run.signature, "seed": run.seed}
    if load_state(file, identity, network) is None:
        raise TadaError(f"{file}: of another recipe")
    return network.eval()


def released_network(run: Run, checkpoint: Path | None) -> Released:
    """The network of a run at a release's scale.

    Raises:
        TadaError: no file is given, or it is refused, of another architecture, of another dataset or for another
            number of frames; or the very file was tested as that of the other release.
    """
    if checkpoint is None:
        raise TadaError(
            f"{run}: where is the released checkpoint? Set released.{run.scale.release}.{run.dataset}.{run.model} in "
            "config/config.yaml to the file"
        )
    frames = model_options(run.model)["frames"]
    released = read_released(checkpoint, frames)
    if released.frames not in (None, frames):
        raise TadaError(f"{checkpoint}: a network for {released.frames} frames, and {run.model} takes {frames}")
    classes, wanted = released.network.head.classes, run.recipe.classes
    if classes != wanted:
        raise TadaError(
            f"{checkpoint}: a network for {describe_classes(classes)} classes, and {run.dataset} has "
            f"{describe_classes(wanted)}"
        )
    _refuse_twin(run, checkpoint, released.loaded.sha256)
    return released


def _refuse_twin(run: Run, checkpoint: Path, content: str) -> None:
    """Raise a TadaError if a file of this content (SHA-256) was tested as the same network of another release."""
    for release in RELEASES:
        other = replace(run, scale=Scale.of_release(release))
        record = read_record(other) if other != run and is_finished(other) else None
        if record and record.checkpoint.sha256 == content:
            raise TadaError(
                f"{checkpoint}: this very file (SHA-256 {content[:12]}...) was tested as that of the {release} "
                f"release; it cannot be both: correct `released` in config/config.yaml, or delete {other.folder}"
            )
