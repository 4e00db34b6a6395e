"""Executes one run in this process: data, training, testing, and the record of what was found."""

import csv
import json
import os
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from tada.base.devices import ProcessGroup, environment, peak_memory_bytes
from tada.base.errors import TadaError
from tada.base.files import replacing, sha256, write_arrays
from tada.base.processes import INTERRUPTED, Interrupted, StopFlag
from tada.base.progress import Progress, Silent, reporting
from tada.classification import evaluation
from tada.classification.evaluation import accuracies, evaluate
from tada.classification.inputs import Sources
from tada.classification.training import ClassificationObjective
from tada.data.clips import Counts
from tada.models import build_model
from tada.runs.checkpoints import TrainingState, released_network, set_initial_weights
from tada.runs.record import (
    Checkpoint,
    Cost,
    HalfPrecision,
    Initial,
    RunName,
    RunRecord,
    is_finished,
    last_outcome,
    record_outcome,
    write_record,
)
from tada.runs.run import Run
from tada.runs.settings import Scale
from tada.runs.trainer import train


def execute(run: Run, data_root: str, stop: StopFlag, weights: str = "") -> None:
    """Train and test `run` from where it stands, and write its record, curves.csv and scores.npz.

    A run of localization writes detections.json besides, and what each video adds to its metrics in place of scores.

    Two processes that execute the same run take turns: the second finds the first one's result.

    Args:
        run: dataset, model, seed, scale.
        data_root: folder of its videos and annotations, as `tada.data.catalog.Place.parse` takes it; empty: none.
        stop: asked after every step.
        weights: local file of torchvision's ResNet-50 for runs that start from it (empty: torchvision downloads it), or
            the released checkpoint that is tested.

    Raises:
        TadaError: data or configuration that the user has to mend.
        Interrupted: `stop` said so; the state is saved.
    """
    with ProcessGroup.from_environment() as group, ExitStack() as stack:
        progress: Progress = Silent()
        if group.is_main:
            progress = stack.enter_context(reporting(str(run), run.file("log.txt"), run.file("progress.json")))
            stack.enter_context(FileLock(run.file(".lock")))
        if group.any(group.is_main and is_finished(run))[0]:
            return
        if run.scale.renders:
            torch.set_num_threads(1)  # a row a core, and sums that do not depend on the machine's number of cores
        try:
            if run.recipe.task == "localization":
                _localize(run, data_root, stop, progress, group)
            else:
                _train_and_test(run, data_root, weights, stop, progress, group)
        except Exception as error:
            clear = isinstance(error, TadaError | Interrupted)
            progress.say(str(error) if clear else traceback.format_exc())
            raise


def _train_and_test(
    run: Run, data_root: str, weights: str, stop: StopFlag, progress: Progress, group: ProcessGroup
) -> None:
    began = time.monotonic()
    recipe, file = run.classification_recipe, Path(weights) if weights else None
    trained = run.scale.trains
    torch.manual_seed(run.seed)
    model = build_model(run.model, recipe.classes, **recipe.network) if trained else released_network(run, file)
    with group.main_first():
        splits = ("train", "validation") if trained else ("validation",)
        sources = Sources(run, data_root, frames=model.frames, progress=progress, splits=splits)
        initial = set_initial_weights(model, run, file) if trained else Initial(Scale.RELEASED)
    progress.say(sources.describe())
    common = {"group": group, "workers": recipe.data.workers, "stop": stop}
    if trained:
        state = _train(run, model, sources, progress, **common)
        digest = group.broadcast(sha256(run.file("checkpoint.pt")) if group.is_main else "")
        checkpoint = Checkpoint("checkpoint.pt", digest)
    else:
        state = TrainingState()
        checkpoint = Checkpoint(model.loaded.file, model.loaded.sha256)
    precision = {"precision": recipe.test.precision}
    changed = None
    if group.is_main and recipe.test.precision != "float32":
        views = {"batch": recipe.test.batch, "workers": recipe.data.workers}
        changed = evaluation.compare_precisions(model, sources.all_views(), group=group, **views, **precision)
        progress.say(evaluation.describe_comparison(changed))
    scores = evaluate(
        model,
        sources.all_views(),
        videos=sources.validation_names,
        batch=recipe.test.batch,
        **precision,
        progress=progress,
        partial=run.file("scores.partial.npz"),
        identity=checkpoint.sha256,
        **common,
    )
    if not group.is_main:
        return
    write_arrays(run.file("scores.npz"), scores)
    _write_results(
        run,
        metrics=accuracies(scores),
        dataset=sources.counts(),
        initial=initial,
        checkpoint=checkpoint,
        state=state,
        cost=_cost(state, time.monotonic() - began, group),
        progress=progress,
        half_precision=changed,
    )


def _localize(run: Run, data_root: str, stop: StopFlag, progress: Progress, group: ProcessGroup) -> None:
    from tada.localization.pipeline import localize

    began = time.monotonic()
    found = localize(run, data_root, stop, progress, group)
    if found:
        cost = _cost(found.state, time.monotonic() - began, group)
        hours = cost.wall_seconds * group.size / 3600  # extracting features takes the most
        _write_results(
            run,
            metrics=found.metrics,
            dataset=found.counts,
            initial=found.initial,
            checkpoint=found.checkpoint,
            state=found.state,
            cost=replace(cost, device_hours=hours),
            progress=progress,
        )


def _train(
    run: Run,
    model: torch.nn.Module,
    sources: Sources,
    progress: Progress,
    group: ProcessGroup,
    workers: int,
    stop: StopFlag,
) -> TrainingState:
    recipe = run.classification_recipe

    def validate(network: torch.nn.Module) -> dict[str, float]:
        scores = evaluate(
            network,
            sources.single_view(),
            videos=sources.validation_names,
            batch=recipe.test.batch,
            progress=Silent(),
            group=group,
            workers=workers,
        )
        return {f"val_{name}": value for name, value in accuracies(scores).items()} if scores else {}

    return train(
        model,
        ClassificationObjective(sources.training(), recipe.train, run.seed, validate),
        seed=run.seed,
        checkpoint=run.file("checkpoint.pt"),
        identity={"signature": run.signature, "seed": run.seed},
        progress=progress,
        group=group,
        workers=workers,
        stop=stop,
    )


def _cost(state: TrainingState, seconds: float, group: ProcessGroup) -> Cost:
    return Cost(
        wall_seconds=seconds,
        training_seconds=state.seconds,
        device_hours=(state.seconds or seconds) * group.size / 3600,  # of a run that only tests, the test's
        devices=group.size,
        peak_memory_bytes=peak_memory_bytes(),
        resumes=state.resumes,
        requeues=int(os.environ.get("TADA_RESTARTS", "0")),
    )


def _write_results(
    run: Run,
    *,
    metrics: dict[str, float],
    dataset: dict[str, Counts],
    initial: Initial,
    checkpoint: Checkpoint,
    state: TrainingState,
    cost: Cost,
    progress: Progress,
    half_precision: HalfPrecision | None = None,
) -> None:
    """Write curves.csv, then the record, which says that the run is finished."""
    if state.curves:
        with replacing(run.file("curves.csv")) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=_columns(state.curves))
            writer.writeheader()
            writer.writerows(state.curves)
    record = RunRecord(
        run=RunName(run.scale, run.dataset, run.model, run.seed),
        signature=run.signature,
        metrics=metrics,
        dataset=dataset,
        environment=environment(),
        cost=cost,
        initial=initial,
        checkpoint=checkpoint,
        config=run.configuration,
        half_precision=half_precision,
    )
    write_record(run, record)
    progress.say("done: " + ", ".join(f"{name} {value:.2f}" for name, value in metrics.items()))


def _columns(curves: list[dict[str, float]]) -> list[str]:
    """Names of all columns; an epoch without validation lacks some."""
    return list(dict.fromkeys(name for row in curves for name in row))


def main(arguments: dict[str, Any], stop: StopFlag | None = None) -> int:
    """Execute the run that `arguments` name and write its outcome.json; returns the process's exit status."""
    place = {key: value for key, value in arguments.items() if key not in ("data_root", "weights", "attempt")}
    run = Run(**{**place, "results": Path(place["results"])})
    try:
        execute(run, arguments["data_root"], stop or StopFlag(), arguments["weights"])
    except Interrupted:
        return INTERRUPTED
    except TadaError as error:
        return _fail(run, arguments["attempt"], str(error))
    except Exception as error:
        return _fail(run, arguments["attempt"], f"{type(error).__name__}: {error}")
    if os.environ.get("RANK", "0") == "0":
        record_outcome(run, arguments["attempt"])
    return 0


def _fail(run: Run, attempt: int, error: str) -> int:
    """Note the first failure; those of other processes follow from it."""
    if last_outcome(run) is None:
        record_outcome(run, attempt, error=error)
    return 1


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
