"""Classification of actions by one network: its clips, its training, and the test of every view (section 5).

`RunClips` reads the dataset on disk as the recipe samples, resizes and crops it; `classify` trains and tests.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tada.base import TadaError
from tada.base.devices import ProcessGroup
from tada.base.files import write_arrays
from tada.base.processes import StopFlag
from tada.base.progress import Progress, Silent
from tada.classification.evaluation import accuracies, compare_precisions, describe_comparison, evaluate, not_finite
from tada.classification.training import ClassificationObjective
from tada.data import catalog, validation
from tada.data.catalog import Place
from tada.data.clips import Clip, Counts, Split
from tada.data.dataset import TestClips, TrainClips
from tada.data.validation import SkipLog
from tada.data.video import cache
from tada.data.video.random_access import FileFrames, Source
from tada.data.video.timeline import VideoError
from tada.data.views import IntervalSampling, Sampling, SegmentSampling, TestTransform, TrainTransform
from tada.models import build_model
from tada.models.blocks import Network
from tada.runs.checkpoints import TrainingState, released_network, set_initial_weights, trained_checkpoint
from tada.runs.record import Checkpoint, HalfPrecision, Initial, TaskResult
from tada.runs.run import Run, check_classes
from tada.runs.settings import SamplingSettings, Scale
from tada.runs.trained import TrainedNetwork
from tada.runs.trainer import train


class RunClips:
    """The training and validation clips of a run.

    Videos that cannot be used are found before the run where that is cheap (while the cache is filled, or by reading
    packets), are noted otherwise, and are counted in `counts`.

    Args:
        run: dataset, recipe and folder.
        data: folder of videos and annotations, or more about them (see `Place.parse`); empty where there is none.
        frames: frames of a clip.
        progress: receives work that takes long.
        splits: those that are needed.

    Raises:
        TadaError: no folder given, an unknown dataset layout, other classes than the recipe's, or more unusable videos
            than it allows.
    """

    def __init__(
        self,
        run: Run,
        data: str,
        frames: int,
        progress: Progress,
        splits: Sequence[str] = ("train", "validation"),
    ) -> None:
        self.run, self.recipe = run, run.classification_recipe
        place = _place(run, data)
        self.annotations = catalog.read(self.recipe.videos, place)
        check_classes(self.annotations.classes, run, self.annotations.layout)
        self.sampling = sampling_of(self.recipe.sampling, frames)
        self._sources: dict[str, Source] = {}
        self._splits: dict[str, Split] = {}
        self._logs: dict[str, SkipLog] = {}
        for split in (getattr(self.annotations, name) for name in splits):
            usable, source = self._usable(split.check(self.recipe.data.max_skipped), place.root, progress)
            self._splits[split.name] = usable.check(self.recipe.data.max_skipped)
            self._sources[split.name] = source
            log_file = run.file(f"skipped-{split.name}.jsonl")
            self._logs[split.name] = SkipLog(log_file, self._splits[split.name], self.recipe.data.max_skipped)

    @property
    def validation_names(self) -> list[str]:
        """Names of the validation clips, in the order of the datasets below."""
        return [clip.name for clip in self._splits["validation"].clips]

    def training(self) -> TrainClips:
        """(epoch, index) -> randomly sampled, scaled, cropped and mirrored clip."""
        recipe = self.recipe.train
        return TrainClips(
            self._splits["train"].clips,
            self.sampling,
            TrainTransform(recipe.scale, recipe.crop, recipe.flip),
            seed=self.run.seed,
            mirror=self.annotations.mirror,
            source=self._sources["train"],
            skip_log=self._logs["train"],
        )

    def all_views(self) -> TestClips:
        """Index -> every view that the recipe tests."""
        return self._validation(self.recipe.test.clips, self.recipe.test.crops)

    def single_view(self) -> TestClips:
        """Index -> the middle clip's central crop, for the validation curve."""
        return self._validation(clips=1, crops=1)

    def counts(self, not_finite: Sequence[str] = ()) -> dict[str, Counts]:
        """For each split, the videos listed and used, and the names of those that could not be.

        `not_finite`: those of the validation split that were tested in vain.
        """
        found = {name: split.without(self._logs[name].read()).counts() for name, split in self._splits.items()}
        return found | {"validation": replace(found["validation"], not_finite=list(not_finite) or None)}

    def describe(self) -> str:
        """One line about layout and number of videos."""
        parts = [f"{len(split.clips)} of {split.listed} {name} videos" for name, split in self._splits.items()]
        return f"{self.annotations.layout}: {', '.join(parts)}"

    def _usable(self, split: Split, root: Path, progress: Progress) -> tuple[Split, Source]:
        data = self.recipe.data
        workers = max(data.workers, 1)
        if data.cache:  # filled once, while whoever else needs it waits: with all processors
            place = cache.place(root, self.run.results / "cache" / self.run.recipe.videos)
            frames = cache.build(split, place, data.cache_short_side, os.cpu_count() or 1, progress.say)
            return split.without(frames.skipped), frames
        record = self.run.results / "inspected" / f"{self.recipe.videos}.jsonl"
        progress.start(total=len(split.clips), unit="video", phase=f"looking at {split.name} files")
        return validation.inspect(split, record, workers, on_progress=lambda done, _: progress.step(done)), FileFrames

    def _validation(self, clips: int, crops: int) -> TestClips:
        recipe = self.recipe.test
        return TestClips(
            self._splits["validation"].clips,
            self.sampling,
            TestTransform(recipe.short_side, recipe.crop, crops),
            clips_per_video=clips,
            source=self._sources["validation"],
            skip_log=self._logs["validation"],
        )


def _place(run: Run, data: str) -> Place:
    """Where the videos of a run lie: in `data`, or where its recipe says."""
    own = run.classification_recipe.own
    if own is not None:
        if data:
            raise TadaError(f"{run}: its recipe names the videos, data.list: {own.path}; leave out --data {data}")
        return Place(Path(own.path))
    if not data and run.dataset in catalog.DATASETS:
        raise TadaError(
            f"scale {run.scale} needs the videos of {run.dataset}: set data.{run.dataset} in config/config.yaml to "
            f"their folder; {catalog.find(run.dataset).load_reader().EXPECTED}"
        )
    return Place.parse(data)


def sampling_of(sampling: SamplingSettings, frames: int) -> Sampling:
    """Which frames of a video make a clip of that many frames, as a recipe says."""
    if sampling.kind == "segment":
        return SegmentSampling(frames)
    return IntervalSampling(frames, sampling.interval, sampling.target_fps)


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
            clips = self._clips(model, "train", "validation")
            initial = set_initial_weights(model, self.run, imagenet)
        self.progress.say(clips.describe())
        state, file = self._train(model, clips), self.run.file("checkpoint.pt")
        checkpoint = self.group.broadcast(self.group.on_main(lambda: trained_checkpoint(file, model)))
        return self._test(model, clips, initial, checkpoint, state)

    def test_released(self, checkpoint: Path | None) -> TaskResult | None:
        released = released_network(self.run, checkpoint)
        with self.group.main_first():
            clips = self._clips(released.network, "validation")
        self.progress.say(clips.describe())
        tested = Checkpoint(released.loaded.file, released.loaded.sha256)
        return self._test(released.network, clips, Initial("released"), tested, TrainingState())

    def _clips(self, model: Network, *splits: str) -> RunClips:
        return RunClips(self.run, self.data_root, frames=model.frames, progress=self.progress, splits=splits)

    def _train(self, model: Network, clips: RunClips) -> TrainingState:
        test = self.recipe.test
        # One view of a video: a GPU takes as many of them at once as of all views in the test.
        batch = test.batch * (test.clips * test.crops if self.group.device.type == "cuda" else 1)

        def validate(network: nn.Module) -> dict[str, float]:
            scores = evaluate(
                network,
                clips.single_view(),
                videos=clips.validation_names,
                batch=batch,
                progress=Silent(),
                group=self.group,
                workers=self.recipe.data.workers,
            )
            if not scores:
                return {}
            self._not_finite(scores)
            return {f"val_{name}": value for name, value in accuracies(scores).items()}

        return train(
            model,
            ClassificationObjective(clips.training(), self.recipe.train, self.run.seed, validate),
            seed=self.run.seed,
            checkpoint=self.run.file("checkpoint.pt"),
            identity={"signature": self.run.signature, "seed": self.run.seed},
            progress=self.progress,
            group=self.group,
            workers=self.recipe.data.workers,
            stop=self.stop,
        )

    def _test(
        self, model: Network, clips: RunClips, initial: Initial, checkpoint: Checkpoint, state: TrainingState
    ) -> TaskResult | None:
        half_precision = self._compare_precisions(model, clips)
        scores = evaluate(
            model,
            clips.all_views(),
            videos=clips.validation_names,
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
            dataset=clips.counts(not_finite=self._not_finite(scores)),
            initial=initial,
            checkpoint=checkpoint,
            curves=state.curves,
            training_seconds=state.seconds,
            resumes=state.resumes,
            data_wait=state.data_wait,
            half_precision=half_precision,
        )

    def _not_finite(self, scores: dict[str, np.ndarray]) -> list[str]:
        """Names of the videos without finite scores, which are told."""
        names = not_finite(scores)
        if names:
            self.progress.say(
                f"the scores of {len(names)} of {len(scores['videos'])} videos are not finite, first those of "
                f"{names[0]}, and count as wrong; if the training's end does not mend this, lower train.base_lr or "
                "lengthen the warm-up"
            )
        return names

    def _compare_precisions(self, model: Network, clips: RunClips) -> HalfPrecision | None:
        """What half precision changes, where the recipe tests in it; in the main process alone."""
        test = self.recipe.test
        if test.precision == "float32" or not self.group.is_main:
            return None
        changed = compare_precisions(
            model,
            clips.all_views(),
            precision=test.precision,
            batch=test.batch,
            progress=self.progress,
            group=self.group,
            workers=self.recipe.data.workers,
        )
        self.progress.say(describe_comparison(changed))
        return changed


@dataclass(frozen=True)
class Predictions:
    """What a network says of videos.

    Attributes:
        scores: of each video that could be read, in the order asked for, and of each task ("" where there is one): the
            softmax scores averaged over all views, float32 [classes].
        faults: why each other video cannot be used.
    """

    scores: dict[Path, dict[str, np.ndarray]]
    faults: dict[str, str]


def predict(trained: TrainedNetwork, videos: Sequence[Path], progress: Progress) -> Predictions:
    """The scores that a test of `trained` gives these videos, each as a whole: the same views, the same evaluation.

    Args:
        trained: the network and how it was tested.
        videos: video files.
        progress: receives every video.
    """
    if Scale.named(trained.scale).on_one_core:
        torch.set_num_threads(1)  # as it was tested
    group, test = ProcessGroup.single(), trained.test
    classes = trained.network.head.classes
    label = 0 if isinstance(classes, int) else dict.fromkeys(classes, 0)
    found = Predictions({}, {})
    progress.start(total=len(videos), unit="video", phase="testing")
    for done, path in enumerate(videos, 1):
        views = TestClips(
            [Clip(str(path), path, label)],
            sampling_of(trained.sampling, trained.network.frames),
            TestTransform(test.short_side, test.crop, test.crops),
            clips_per_video=test.clips,
        )
        try:
            scores = evaluate(
                trained.network,
                views,
                videos=[str(path)],
                batch=1,
                progress=Silent(),
                group=group,
                precision=test.precision,
            )
            found.scores[path] = {
                name.removeprefix("scores").removeprefix("_"): values[0]
                for name, values in scores.items()
                if name.startswith("scores")
            }
        except VideoError as error:
            found.faults[str(path)] = error.reason
        progress.step(done)
    return found
