"""Records as finished runs leave them behind, for tests that need results and no training."""

import hashlib
import re
from dataclasses import replace
from typing import Any

from tada.base.provenance import Environment, Hardware
from tada.data.clips import Counts
from tada.runs.record import Checkpoint, Cost, Initial, RunName, RunRecord, record_outcome, write_record
from tada.runs.run import Run
from tada.runs.verification import is_finished

ENVIRONMENT = Environment(
    git_commit="0123456789abcdef",
    git_dirty=False,
    python="3.11.7",
    packages={"torch": "2.0", "decord": "0.6", "leftpad": "1"},
    hardware=Hardware(cpu="Z80", cores=1, gpus=[]),
)
COST = Cost(
    wall_seconds=60.0,
    training_seconds=50.0,
    device_hours=0.014,
    devices=1,
    peak_memory_bytes=1000,
    resumes=0,
    requeues=0,
)


def plant_record(run: Run, metrics: dict[str, float], **changes: Any) -> RunRecord:
    """Write the record of `run` as if it were finished; `changes` are other fields of it."""
    record = RunRecord(
        run=RunName(run.scale, run.dataset, run.model, run.seed),
        signature=run.signature,
        metrics=metrics,
        dataset={"train": Counts(100, 99, ["7"]), "validation": Counts(400, 400, [])},
        environment=ENVIRONMENT,
        cost=COST,
        initial=Initial("scratch"),
        checkpoint=Checkpoint("checkpoint.pt", ""),
        config={},
        files={},
    )
    record = replace(record, **changes)
    if not record.checkpoint.sha256:  # the same training on the same machine gives the same network
        made = repr((record.run, record.signature, record.metrics, record.environment.hardware))
        record = replace(record, checkpoint=Checkpoint("checkpoint.pt", hashlib.sha256(made.encode()).hexdigest()))
    write_record(run, record)
    return record


def plant_untrained(run: Run) -> None:
    """Leave behind what a finished run of classification does, with a network that has not learnt anything."""
    import torch

    from tada.models import build_model
    from tada.runs.checkpoints import TrainingState, save_state, trained_checkpoint

    if is_finished(run):
        return
    torch.manual_seed(0)
    model = build_model(run.model, run.recipe.classes, **run.recipe.network)
    run.folder.mkdir(parents=True)
    identity = {"signature": run.signature, "seed": run.seed}
    save_state(run.file("checkpoint.pt"), identity, model, torch.optim.SGD(model.parameters()), TrainingState())
    checkpoint = trained_checkpoint(run.file("checkpoint.pt"), model)
    plant_record(run, {}, checkpoint=checkpoint, config=run.configuration)


def plant_outcome(run: Run, error: str | None = None) -> None:
    """Write the outcome of a run that is done, or failed with `error`."""
    record_outcome(run, attempt=1, error=error)


def released_state(network):
    """The network's weights under the names of the authors' checkpoints."""
    inside = {
        "downsample.0": "short_cut", "downsample.1": "short_cut_bn",
        "conv2.calibration.global_fc": "conv_branch.b_rf.g", "conv2.calibration.reduce": "conv_branch.b_rf.a",
        "conv2.calibration.norm": "conv_branch.b_rf.bn", "conv2.calibration.emit": "conv_branch.b_rf.b",
        "bn2.pooled": "conv_branch.b_avgpool_bn", "bn1": "conv_branch.a_bn", "bn2": "conv_branch.b_bn",
        "bn3": "conv_branch.c_bn", "conv1": "conv_branch.a", "conv2": "conv_branch.b", "conv3": "conv_branch.c",
    }  # fmt: skip
    outside = {"stem.conv1": "backbone.conv1.a", "stem.bn1": "backbone.conv1.a_bn", "head.linear": "head.out"}
    state = {}
    for name, value in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        found = re.fullmatch(r"res(\d)\.(\d)\.(.+)", layer)
        theirs = f"backbone.conv{found[1]}.res_{int(found[2]) + 1}.{inside[found[3]]}" if found else outside[layer]
        state[f"{theirs}.{kind}"] = value
    return state
