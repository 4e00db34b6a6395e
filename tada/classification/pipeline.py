"""Classification of actions by one network: it is trained, then every view of every video is tested (section 5)."""

from pathlib import Path

import torch
from torch import nn

from tada.base.devices import ProcessGroup
from tada.base.files import sha256, write_arrays
from tada.base.processes import StopFlag
from tada.base.progress import Progress, Silent
from tada.classification.evaluation import accuracies, compare_precisions, describe_comparison, evaluate
from tada.classification.inputs import Sources
from tada.classification.training import ClassificationObjective
from tada.models import build_model
from tada.models.blocks import Network
from tada.runs.checkpoints import TrainingState, released_network, set_initial_weights
from tada.runs.record import Checkpoint, HalfPrecision, Initial, TaskResult
from tada.runs.run import Run
from tada.runs.settings import Scale
from tada.runs.trainer import train


def classify(
    run: Run, data_root: str, weights: Path | None, stop: StopFlag, progress: Progress, group: ProcessGroup
) -> TaskResult | None:
    """Train and test the network of `run`, or test the one that the authors released, and write scores.npz.

    Args:
        run: of classification.
        data_root: folder of its videos and annotations, as `tada.data.catalog.Place.parse` takes it; empty: none.
        weights: torchvision's ResNet-50 for runs that start from it (None: torchvision downloads it), or the released
            checkpoint.
        stop: asked after every step.
        progress: receives all of it.
        group: the processes that share the work.

    Returns:
        The results, in the main process alone: the accuracies of `evaluation.accuracies`. Counts are of videos.

    Raises:
        TadaError: data, weights or settings that do not fit, or the run that gives the weights is not done.
        Interrupted: `stop` said so; what is finished is saved.
    """
    torch.manual_seed(run.seed)
    work = _Classification(run, data_root, stop, progress, group)
    return work.train_and_test(weights) if run.scale.trains else work.test_released(weights)


class _Classification:
    """The steps, with what they share."""

    def __init__(self, run: Run, data_root: str, stop: StopFlag, progress: Progress, group: ProcessGroup) -> None:
        self.run, self.recipe, self.data_root = run, run.classification_recipe, data_root
        self.stop, self.progress, self.group = stop, progress, group

    def train_and_test(self, imagenet: Path | None) -> TaskResult | None:
        model = build_model(self.run.model, self.recipe.classes, **self.recipe.network)
        with self.group.main_first():
            sources = self._sources(model, "train", "validation")
            initial = set_initial_weights(model, self.run, imagenet)
        self.progress.say(sources.describe())
        state, file = self._train(model, sources), self.run.file("checkpoint.pt")
        checkpoint = Checkpoint(file.name, self.group.broadcast(sha256(file) if self.group.is_main else ""))
        return self._test(model, sources, initial, checkpoint, state)

    def test_released(self, checkpoint: Path | None) -> TaskResult | None:
        released = released_network(self.run, checkpoint)
        with self.group.main_first():
            sources = self._sources(released.network, "validation")
        self.progress.say(sources.describe())
        tested = Checkpoint(released.loaded.file, released.loaded.sha256)
        return self._test(released.network, sources, Initial(Scale.RELEASED), tested, TrainingState())

    def _sources(self, model: Network, *splits: str) -> Sources:
        return Sources(self.run, self.data_root, frames=model.frames, progress=self.progress, splits=splits)

    def _train(self, model: Network, sources: Sources) -> TrainingState:
        def validate(network: nn.Module) -> dict[str, float]:
            scores = evaluate(
                network,
                sources.single_view(),
                videos=sources.validation_names,
                batch=self.recipe.test.batch,
                progress=Silent(),
                group=self.group,
                workers=self.recipe.data.workers,
            )
            return {f"val_{name}": value for name, value in accuracies(scores).items()} if scores else {}

        return train(
            model,
            ClassificationObjective(sources.training(), self.recipe.train, self.run.seed, validate),
            seed=self.run.seed,
            checkpoint=self.run.file("checkpoint.pt"),
            identity={"signature": self.run.signature, "seed": self.run.seed},
            progress=self.progress,
            group=self.group,
            workers=self.recipe.data.workers,
            stop=self.stop,
        )

    def _test(
        self, model: Network, sources: Sources, initial: Initial, checkpoint: Checkpoint, state: TrainingState
    ) -> TaskResult | None:
        half_precision = self._compare_precisions(model, sources)
        scores = evaluate(
            model,
            sources.all_views(),
            videos=sources.validation_names,
            batch=self.recipe.test.batch,
            precision=self.recipe.test.precision,
            progress=self.progress,
            partial=self.run.file("scores.partial.npz"),
            identity=checkpoint.sha256,
            group=self.group,
            workers=self.recipe.data.workers,
            stop=self.stop,
        )
        if not self.group.is_main:
            return None
        write_arrays(self.run.file("scores.npz"), scores)
        return TaskResult(
            metrics=accuracies(scores),
            dataset=sources.counts(),
            initial=initial,
            checkpoint=checkpoint,
            curves=state.curves,
            training_seconds=state.seconds,
            resumes=state.resumes,
            half_precision=half_precision,
        )

    def _compare_precisions(self, model: Network, sources: Sources) -> HalfPrecision | None:
        """What half precision changes, where the recipe tests in it; in the main process alone."""
        test = self.recipe.test
        if test.precision == "float32" or not self.group.is_main:
            return None
        changed = compare_precisions(
            model,
            sources.all_views(),
            precision=test.precision,
            batch=test.batch,
            group=self.group,
            workers=self.recipe.data.workers,
        )
        self.progress.say(describe_comparison(changed))
        return changed
