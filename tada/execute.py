"""Executes one run in this process: data, training, testing, and metrics.json with where its numbers come from."""

import json
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock

from tada.distributed import World
from tada.errors import TadaError
from tada.files import replacing, sha256, write_json
from tada.launch import INTERRUPTED, record_outcome
from tada.models import build_model
from tada.progress import Progress, Silent, reporting
from tada.provenance import environment, peak_memory_bytes
from tada.run import Run
from tada.sources import Sources
from tada.testing import accuracies, save_scores, test
from tada.training import Interrupted, State, train


class StopFlag:
    """True once the process was asked to stop (SIGTERM, Ctrl-C): work then ends at the next step, state saved."""

    def __init__(self) -> None:
        self.raised = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._raise)

    def _raise(self, _number: int, _frame: Any) -> None:
        self.raised = True

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.raised


def execute(run: Run, data_root: str, stop: StopFlag) -> None:
    """Train and test `run` from where it stands, and write its metrics.json, curves.csv and scores.npz.

    Two processes that execute the same run take turns: the second finds the first one's result.

    Raises:
        TadaError: data or configuration that the user has to mend.
        Interrupted: `stop` said so; the state is saved.
    """
    with (
        reporting(str(run), run.file("log.txt"), run.file("progress.json")) as progress,
        FileLock(run.file(".lock")),
    ):
        if run.read("metrics.json") is not None:
            return
        try:
            _train_and_test(run, data_root, stop, progress)
        except Exception as error:
            clear = isinstance(error, TadaError | Interrupted)
            progress.say(str(error) if clear else traceback.format_exc())
            raise


def _train_and_test(run: Run, data_root: str, stop: StopFlag, progress: Progress) -> None:
    began = time.monotonic()
    if run.scale == "mini":
        torch.set_num_threads(1)  # a row a core, and sums that do not depend on the machine's number of cores
    world = World.single()
    recipe = run.recipe
    torch.manual_seed(run.seed)
    model = build_model(run.model, recipe.classes, **recipe.network)
    sources = Sources(run, Path(data_root) if data_root else None, frames=model.frames, progress=progress)
    progress.say(sources.describe())
    common = {"batch": recipe.test.batch, "world": world, "workers": recipe.data.workers}

    def validate(network: torch.nn.Module) -> dict[str, float]:
        scores = test(network, sources.single_view(), videos=sources.validation_names, progress=Silent(), **common)
        return {f"val_{name}": value for name, value in accuracies(scores).items()}

    state = train(
        model,
        sources.training(),
        recipe.train,
        seed=run.seed,
        checkpoint=run.file("checkpoint.pt"),
        identity={"signature": run.signature, "seed": run.seed},
        validate=validate,
        progress=progress,
        world=world,
        workers=recipe.data.workers,
        stop=stop,
    )
    checkpoint_hash = sha256(run.file("checkpoint.pt"))
    scores = test(
        model,
        sources.all_views(),
        videos=sources.validation_names,
        progress=progress,
        partial=run.file("scores.partial.npz"),
        identity=checkpoint_hash,
        stop=stop,
        **common,
    )
    _write_results(run, sources, state, scores, checkpoint_hash, time.monotonic() - began, world)
    metrics = accuracies(scores)
    progress.say("done: " + ", ".join(f"{name} {value:.2f}" for name, value in metrics.items()))


def _write_results(
    run: Run,
    sources: Sources,
    state: State,
    scores: dict[str, Any],
    checkpoint_hash: str,
    seconds: float,
    world: World,
) -> None:
    save_scores(run.file("scores.npz"), scores)
    with replacing(run.file("curves.csv")) as temporary:
        pd.DataFrame(state.curves).to_csv(temporary, index=False)
    write_json(
        run.file("metrics.json"),
        {
            "run": {"scale": run.scale, "dataset": run.dataset, "model": run.model, "seed": run.seed},
            "signature": run.signature,
            "metrics": accuracies(scores),
            "dataset": sources.counts(),
            "environment": environment(),
            "cost": {
                "wall_seconds": seconds,
                "training_seconds": state.seconds,
                "device_hours": state.seconds * world.size / 3600,
                "devices": world.size,
                "peak_memory_bytes": peak_memory_bytes(),
                "resumes": state.resumes,
                "requeues": 0,
            },
            "checkpoint": {"file": "checkpoint.pt", "sha256": checkpoint_hash},
            "config": run.configuration,
        },
    )


def main(arguments: dict[str, Any]) -> int:
    """Execute the run that `arguments` name and write its outcome.json; returns the process's exit status."""
    data_root, attempt = arguments.pop("data_root"), arguments.pop("attempt")
    run = Run(**{**arguments, "results": Path(arguments["results"])})
    try:
        execute(run, data_root, StopFlag())
    except Interrupted:
        return INTERRUPTED
    except TadaError as error:
        record_outcome(run, attempt, error=str(error))
        return 1
    except Exception as error:
        record_outcome(run, attempt, error=f"{type(error).__name__}: {error}")
        return 1
    record_outcome(run, attempt)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
