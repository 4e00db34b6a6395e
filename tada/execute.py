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

from tada.base.processes import INTERRUPTED, Interrupted, StopFlag, collect_rarely, stop_without_parent

if __name__ == "__main__":
    collect_rarely()

import torch
from filelock import FileLock

from tada.base import TadaError
from tada.base.compilation import Compiler
from tada.base.devices import ProcessGroup, environment, peak_memory_bytes
from tada.base.files import disk_error, make_way, remove_leftovers, replacing, use_precision
from tada.base.progress import Progress, Silent, reporting
from tada.base.tensorboard import FOLDER, TensorBoard
from tada.classification.pipeline import classify
from tada.data.catalog import Place
from tada.data.prepared import Preparation, preparation
from tada.runs.record import (
    Computation,
    Cost,
    RecordedFile,
    RunName,
    RunRecord,
    TaskResult,
    last_outcome,
    record_outcome,
    write_record,
)
from tada.runs.run import Run
from tada.runs.verification import is_finished, remove_damage


def execute(
    run: Run,
    data_root: str,
    stop: StopFlag,
    weights: str = "",
    tensorboard: bool = False,
    compiles: bool | None = None,
) -> None:
    """Train and test `run` from where it stands, and write its record, curves.csv and scores.npz.

    A run of localization writes detections.json besides, and what each video adds to its metrics in place of scores.

    Two processes that execute the same run take turns: the second finds the first one's result.

    Args:
        run: dataset, model, seed, scale.
        data_root: folder of its videos and annotations, as `tada.data.catalog.Place.parse` takes it; empty: none.
        stop: asked after every step.
        weights: local file of torchvision's ResNet-50 for runs that start from it (empty: torchvision downloads it), or
            the released checkpoint that is tested.
        tensorboard: whether the training is logged for TensorBoard.
        compiles: whether networks are compiled; None: on a GPU, if they are large.

    Raises:
        TadaError: data or configuration that the user has to mend, or no package tensorboard where it is asked for.
        Interrupted: `stop` said so; the state is saved.
    """
    with ProcessGroup.from_environment() as group, ExitStack() as stack:
        progress: Progress = Silent()
        try:
            if group.is_main:
                for name in ("log.txt", ".lock"):
                    make_way(run.file(name))
                board = TensorBoard(run.file(FOLDER)) if tensorboard else None
                shown = reporting(str(run), run.file("log.txt"), run.file("progress.json"), board)
                progress = stack.enter_context(shown)
                stack.enter_context(FileLock(run.file(".lock")))
                remove_leftovers(run.folder, below=True)
            if group.any(group.is_main and is_finished(run))[0]:
                return
            for fault in remove_damage(run) if group.is_main else ():
                progress.say(fault)
            if run.scale.on_one_core:
                torch.set_num_threads(1)  # a row a core, and sums that do not depend on the machine's number of cores
            began = time.monotonic()
            code, pays = run.results / "cache" / "compiled", not run.scale.on_one_core
            compiler = Compiler.of(compiles, group.device, code, progress.say, pays)
            prepared = preparation(Place.parse(data_root)) if data_root else None
            if prepared:
                progress.say(f"prepared videos: {prepared}")
            computing = replace(group, compiler=compiler)
            result = _execute_task(run, data_root, weights, stop, progress, computing)
            if result:
                _record(run, result, prepared, time.monotonic() - began, computing)
                progress.say("done: " + ", ".join(f"{name} {value:.2f}" for name, value in result.metrics.items()))
        except Exception as error:
            reason = disk_error(error, _place(error, run)) or group.lost(error)
            clear = reason is not None or isinstance(error, TadaError | Interrupted)
            line = str(reason or error) if clear else traceback.format_exc()
            if group.is_main and isinstance(progress, Silent):  # there is no log yet
                print(f"[{run}] {line}", file=sys.stderr)
            progress.say(line)
            if reason:
                raise reason from None
            raise


def _place(error: Exception, run: Run) -> Path:
    """The file that an error is about, or the run's folder where it names none."""
    return Path(str(getattr(error, "filename", None) or run.folder))


def _execute_task(
    run: Run, data_root: str, weights: str, stop: StopFlag, progress: Progress, group: ProcessGroup
) -> TaskResult | None:
    if run.recipe.task == "localization":
        from tada.localization.pipeline import localize  # imports pandas, which classification does without

        return localize(run, data_root, stop, progress, group)
    return classify(run, data_root, Path(weights) if weights else None, stop, progress, group)


def _record(run: Run, result: TaskResult, prepared: Preparation | None, seconds: float, group: ProcessGroup) -> None:
    """Write curves.csv, then the record, which says that the run is finished."""
    if result.curves:
        with replacing(run.file("curves.csv")) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=_columns(result.curves))
            writer.writeheader()
            writer.writerows(result.curves)
    record = RunRecord(
        run=RunName(run.scale, run.dataset, run.model, run.seed),
        signature=run.signature,
        metrics=result.metrics,
        dataset=result.dataset,
        environment=environment(),
        cost=_cost(run, result, seconds, group),
        initial=result.initial,
        checkpoint=result.checkpoint,
        config=run.configuration,
        files=_files(run, result),
        half_precision=result.half_precision,
        computation=Computation(group.tf32, group.compiler.active, group.compiler.obstacle),
        prepared=prepared,
    )
    write_record(run, record)


def _files(run: Run, result: TaskResult) -> dict[str, RecordedFile]:
    """Those that tables, figures and other runs read, as they are now."""
    names = ["scores.npz", *(["curves.csv"] if result.curves else [])]
    names += ["detections.json"] if run.recipe.task == "localization" else []
    names += [result.checkpoint.file] if run.file(result.checkpoint.file).exists() else []  # else it is the authors'
    return {name: RecordedFile.of(run.file(name)) for name in names}


def _cost(run: Run, result: TaskResult, seconds: float, group: ProcessGroup) -> Cost:
    # Most of it is training, or testing where nothing is trained; in localization, extracting features.
    most = seconds if run.recipe.task == "localization" else result.training_seconds or seconds
    return Cost(
        wall_seconds=seconds,
        training_seconds=result.training_seconds,
        device_hours=most * group.size / 3600,
        devices=group.size,
        peak_memory_bytes=peak_memory_bytes(),
        resumes=result.resumes,
        requeues=int(os.environ.get("TADA_RESTARTS", "0")),
        data_wait=result.data_wait,
    )


def _columns(curves: list[dict[str, float]]) -> list[str]:
    """Names of all columns; an epoch without validation lacks some."""
    return list(dict.fromkeys(name for row in curves for name in row))


def main(arguments: dict[str, Any], stop: StopFlag | None = None) -> int:
    """Execute the run that `arguments` name and write its outcome.json; returns the process's exit status."""
    use_precision(arguments.get("precision"))
    place = {key: arguments[key] for key in ("scale", "dataset", "model", "seed")}
    run = Run(**place, results=Path(arguments["results"]))
    # Of these a job that was queued by an earlier version says nothing.
    options = {"tensorboard": arguments.get("tensorboard", False), "compiles": arguments.get("compiles")}
    try:
        execute(run, arguments["data_root"], stop or StopFlag(), arguments["weights"], **options)
    except Interrupted:
        return INTERRUPTED
    except TadaError as error:
        return _fail(run, arguments["attempt"], str(error))
    except Exception as error:
        reason = disk_error(error, _place(error, run)) or f"{type(error).__name__}: {error}"
        return _fail(run, arguments["attempt"], str(reason))
    if os.environ.get("RANK", "0") == "0":
        record_outcome(run, arguments["attempt"])
    return 0


def _fail(run: Run, attempt: int, error: str) -> int:
    """Note the first failure; those of other processes follow from it."""
    try:
        if last_outcome(run) is None:
            record_outcome(run, attempt, error=error)
    except TadaError as unwritable:
        print(f"[{run}] {unwritable}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    stop_without_parent()  # or a killed `tada run` would leave it training beside the next one
    sys.exit(main(json.loads(sys.argv[1])))
