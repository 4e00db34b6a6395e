"""Weights that a run starts from, as its recipe says (Appendix A.1), and networks that finished runs have trained."""

from pathlib import Path
from typing import Any

from torch import nn

from tada.errors import TadaError
from tada.models import build_model
from tada.models.weights import load_backbone, load_imagenet
from tada.run import Run
from tada.training import load_state


def set_initial_weights(model: nn.Module, run: Run, imagenet: Path | None) -> dict[str, Any]:
    """Fill `model` in place; returns what metrics.json tells of it: kind, and file and SHA-256 if there is one.

    Args:
        model: freshly built.
        run: what `model` is trained for; `train.initial` of its recipe says what it starts from.
        imagenet: local file of torchvision's ResNet-50; None lets torchvision download it.

    Raises:
        TadaError: the file is missing, refused or of another network, or the run that comes first is not done.
    """
    initial = run.recipe.train.initial
    if initial == "scratch":
        return {"kind": initial}
    if initial == "imagenet":
        loaded = load_imagenet(model, imagenet)
        return {"kind": initial, "file": loaded.file, "sha256": loaded.sha256}
    record = finished_run(run.initial)
    loaded = load_backbone(model, run.initial.file(record["checkpoint"]["file"]))
    if loaded.sha256 != record["checkpoint"]["sha256"]:
        raise TadaError(f"{run.initial}: {loaded.file} is not what metrics.json beside it was measured with")
    return {"kind": initial, "file": loaded.file, "sha256": loaded.sha256, "signature": run.initial.signature}


def finished_run(first: Run) -> dict[str, Any]:
    """The metrics.json of a run that has to be done before another one.

    Raises:
        TadaError: it is not; says what became of it.
    """
    if (record := first.read("metrics.json")) is not None:
        return record
    outcome = first.read("outcome.json")
    state = f"failed: {outcome['error'].splitlines()[0]}" if outcome and outcome["error"] else "is not done"
    raise TadaError(
        f"{first}, whose weights this run starts from, {state}; "
        f"`tada run {first.dataset} {first.model} --scale {first.scale} --seed {first.seed}` comes first"
    )


def load_trained(run: Run) -> nn.Module:
    """The network that a finished run trained, in evaluation mode.

    Raises:
        TadaError: its checkpoint is missing, damaged or of another recipe.
    """
    recipe = run.recipe
    network = build_model(run.model, recipe.classes, **recipe.network)
    identity = {"signature": run.signature, "seed": run.seed}
    if load_state(run.file("checkpoint.pt"), identity, network) is None:
        raise TadaError(f"{run.file('checkpoint.pt')}: missing, or of another recipe")
    return network.eval()
