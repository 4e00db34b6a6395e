"""Records as finished runs leave them behind, for tests that need results and no training."""

import hashlib
from dataclasses import replace
from typing import Any

from tada.base.provenance import Environment, Hardware
from tada.data.clips import Counts
from tada.runs.record import Checkpoint, Cost, Initial, RunName, RunRecord, record_outcome, write_record
from tada.runs.run import Run

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


def plant_outcome(run: Run, error: str | None = None) -> None:
    """Write the outcome of a run that is done, or failed with `error`."""
    record_outcome(run, attempt=1, error=error)
