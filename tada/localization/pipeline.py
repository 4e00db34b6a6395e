"""Localization by a trained network: features, proposals, classes, evaluation (section 6, Appendix A.2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tada.base import TadaError
from tada.base.devices import ProcessGroup
from tada.base.files import sha256, write_arrays
from tada.base.processes import StopFlag
from tada.base.progress import Progress
from tada.data.catalog import Place
from tada.data.clips import Counts, too_many
from tada.localization.bmn_training import BmnObjective, build_bmn
from tada.localization.classes import Scores, VideoProposals, fuse_actions, fuse_video
from tada.localization.feature_sources import FeatureSource, NetworkFeatureSource, ReleasedFeatureSource
from tada.localization.proposals import propose, soft_nms
from tada.localization.released import ReleasedResultSource, read_bmn
from tada.localization.submission import write_ek100, write_hacs
from tada.localization.videos import Untrimmed, UntrimmedSplits
from tada.localization.windows import TrainingWindows
from tada.metrics.average_precision import (
    action_precision,
    jackknife,
    mean_average_precision,
    of_known_actions,
    units_of,
)
from tada.metrics.recall import average_recall, uniform_proposals
from tada.runs.checkpoints import TrainingState, trained_checkpoint
from tada.runs.record import Checkpoint, TaskResult
from tada.runs.run import Run, check_classes
from tada.runs.trainer import train

LENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Quantiles of the training segments' lengths that the uniform windows have, which proposals are compared with."""


def localize(run: Run, data_root: str, stop: StopFlag, progress: Progress, group: ProcessGroup) -> TaskResult | None:
    """Locate actions in whole videos, by features of a network that another run has trained, or by released ones.

    It writes the run's checkpoint, which is of the proposal network; the features of every video, which are computed
    once; and detections.json, the dataset's official submission file.

    Args:
        run: on a dataset that the catalog has for localization.
        data_root: folder of videos and annotations, as `Place.parse` takes it. With "features", the folder of those
            that the authors have released for this network, neither videos nor a classification run are needed. With
            "classification", the folder of their results of it, these give the classes. At a release's scale "bmn",
            their checkpoint, is needed too, and nothing is trained.
        stop: asked after every step.
        progress: receives every phase and its steps.
        group: this process's place among those that share the videos. The main process alone trains.

    Returns:
        The results, in the main process alone: mAP at every threshold and their mean, per task if there are several;
        average recall of the proposals after soft-NMS, and of as many uniform windows. Counts are of segments.

    Raises:
        TadaError: the classification run is not done; or data, features or settings that do not fit.
        Interrupted: `stop` said so; what is finished is saved.
    """
    if not data_root:
        what = "videos" if run.scale.trains else "annotations"
        raise TadaError(f"{run} needs the {what} of {run.recipe.videos}: set their folder in config/config.yaml")
    place = Place.parse(data_root)
    given = {part: Path(place.options[part]) for part in Place.RELEASED if place.options.get(part)}
    shared = (run, place.without_released(), stop, progress, group)
    if not run.scale.trains:
        for part in Place.RELEASED:
            if part not in given:
                raise TadaError(
                    f"{run}: where is what the authors released? Set data.{run.recipe.videos}.{part}.{run.model} in "
                    "config/config.yaml"
                )
    source: FeatureSource
    if "classification" in given:
        source = ReleasedResultSource(*shared, given["features"], given["classification"])
    elif "features" in given:
        source = ReleasedFeatureSource(*shared, given["features"])
    else:
        source = NetworkFeatureSource(*shared)
    return _Localization(source, given.get("bmn"), stop, progress, group).run_all()


class _Localization:
    """The steps, with what they share."""

    def __init__(
        self, source: FeatureSource, released: Path | None, stop: StopFlag, progress: Progress, group: ProcessGroup
    ) -> None:
        self.source, self.run, self.recipe = source, source.run, source.recipe
        self.released = None if self.run.scale.trains else released
        self.stop, self.progress, self.group = stop, progress, group

    def run_all(self) -> TaskResult | None:
        checkpoint = self.group.on_main(self._read_bmn)  # before anything long, since it may be refused
        splits = self.source.read()
        check_classes(splits.classes, self.run, splits.layout)
        self.progress.say(splits.layout)
        extraction = self.source.extract([*([] if self.released else splits.train), *splits.validation])
        for name, note in extraction.short.items():
            self.progress.say(f"{name}: {note}")
        for name, reason in extraction.skipped.items():
            self.progress.say(f"{name}: left out: {reason}")
        counts = _counts(splits, extraction.skipped, self.recipe.max_skipped)
        train, validation = (
            [video for video in videos if video.name not in extraction.skipped]
            for videos in (splits.train, splits.validation)
        )
        state = self.group.on_main(lambda: TrainingState() if self.released else self._train(train))
        proposals = self.group.broadcast(self.group.on_main(lambda: self._propose(validation)))
        probabilities = self.source.classify(train, validation, proposals)
        if state is None:  # the main process alone trains, and has the results
            return None
        metrics = self._evaluate(segment_table(validation), self._detections(proposals, probabilities), splits.classes)
        metrics |= self._recall(train, validation, proposals)
        if self.released:
            del counts["train"]  # of which nothing was used
        checkpoint = checkpoint or trained_checkpoint(self.run.file("checkpoint.pt"), self.bmn)
        return TaskResult(
            metrics=metrics,
            dataset=counts,
            initial=self.source.initial,
            checkpoint=checkpoint,
            curves=state.curves,
            training_seconds=state.seconds,
            resumes=state.resumes,
            data_wait=state.data_wait,
        )

    def _read_bmn(self) -> Checkpoint | None:
        """Take `bmn` from the authors' checkpoint, if that is to be tested; in the main process alone."""
        if self.released is None:
            return None
        self.bmn = read_bmn(self.released, self.recipe.bmn).to(self.group.device)
        return Checkpoint(self.released.name, sha256(self.released))

    def _train(self, videos: Sequence[Untrimmed]) -> TrainingState:
        """Train the network of proposals, `bmn`; in the main process alone."""
        run, settings = self.run, self.recipe.bmn
        channels = self.source.load(videos[0]).values.shape[1] if videos else 1
        torch.manual_seed(run.seed)
        self.bmn = build_bmn(channels, settings)
        windows = TrainingWindows(videos, self.source.load, settings, self.source.spacing, channels)
        return train(
            self.bmn,
            BmnObjective(windows, settings, channels, run.seed),
            seed=run.seed,
            checkpoint=run.file("checkpoint.pt"),
            identity={"signature": run.signature, "seed": run.seed, **self.source.features},
            progress=self.progress,
            group=ProcessGroup(0, 1, self.group.device),
            workers=self.recipe.clips.workers,
            epochs=settings.trained_epochs,
            stop=self.stop,
        )

    def _propose(self, videos: Sequence[Untrimmed]) -> list[VideoProposals]:
        """Proposals of each video after soft-NMS."""
        suppression = self.recipe.suppression
        self.progress.start(total=len(videos), unit="video", phase="proposals")
        proposals = []
        for done, video in enumerate(videos, 1):
            found = propose(self.bmn, video, self.source.load(video), self.recipe.bmn, self.source.spacing)
            order, scores = soft_nms(
                *found,
                duration=video.duration,
                sigma=suppression.sigma,
                low=suppression.low,
                gain=suppression.gain,
                keep=suppression.kept(video.duration),
            )
            proposals.append(VideoProposals(video, found.starts[order], found.ends[order], scores))
            self.progress.step(done)
        return proposals

    def _detections(self, proposals: Sequence[VideoProposals], probabilities: Mapping[str, Scores]) -> pd.DataFrame:
        """Proposals with classes, as the dataset's official submission file holds them."""
        how, tables = self.recipe.classification, []
        for of in proposals:
            name = of.video.name
            if name not in probabilities:
                continue
            classes = probabilities[name]
            if isinstance(classes, dict):
                table = fuse_actions(
                    name,
                    of.starts,
                    of.ends,
                    of.scores,
                    classes["verb"],
                    classes["noun"],
                    top_verbs=how.top_verbs,
                    top_nouns=how.top_nouns,
                    top=how.top,
                )
            else:
                table = fuse_video(name, of.starts, of.ends, of.scores, classes, how.top)
            tables.append(table)
        if not tables:
            raise TadaError(f"{self.run}: no video has proposals that could be classified; the log says why")
        return pd.concat(tables, ignore_index=True)

    def _evaluate(
        self, truth: pd.DataFrame, predictions: pd.DataFrame, classes: Sequence[str] | Mapping[str, Sequence[str]]
    ) -> dict[str, float]:
        """The metrics. Writes the submission file, and scores.npz: how much each video contributes to the metrics."""
        path = self.run.file("detections.json")
        if isinstance(classes, Mapping):
            write_ek100(path, predictions)
        else:
            write_hacs(path, predictions, classes)
        calls = 0

        def measure(videos: np.ndarray) -> dict[str, float]:
            nonlocal calls
            calls += 1
            self.progress.step(calls)
            in_truth, in_predictions = (table["video"].isin(videos) for table in (truth, predictions))
            return average_precisions(truth[in_truth], predictions[in_predictions], self.recipe.thresholds)

        names = sorted(set(truth["video"]))
        self.progress.start(total=len(set(units_of(names))), unit="evaluation", phase="evaluating")
        metrics = average_precisions(truth, predictions, self.recipe.thresholds)
        write_arrays(self.run.file("scores.npz"), jackknife(names, measure, metrics))
        return metrics

    def _recall(
        self,
        train: Sequence[Untrimmed],
        validation: Sequence[Untrimmed],
        proposals: Sequence[VideoProposals],
    ) -> dict[str, float]:
        """Average recall of the proposals, and of as many uniform windows, which no video decides."""
        ours = pd.concat(
            pd.DataFrame({"video": of.video.name, "start": of.starts, "end": of.ends, "score": of.scores})
            for of in proposals
        )
        lengths = np.quantile([segment.end - segment.start for video in train for segment in video.segments], LENGTHS)
        uniform = uniform_proposals({video.name: video.duration for video in validation}, lengths.tolist())
        truth, at, thresholds = segment_table(validation), self.recipe.recall_at, self.recipe.thresholds
        return {
            f"ar@{at}{suffix}": float(100.0 * average_recall(truth, table, (at,), thresholds).average[0])
            for suffix, table in (("", ours), ("_uniform", uniform))
        }


def average_precisions(truth: pd.DataFrame, predictions: pd.DataFrame, thresholds: Sequence[float]) -> dict[str, float]:
    """Mean average precision in percent: "map@0.5", ..., and their mean "map".

    With verbs and nouns: "map_verb", "map_noun" and "map_action" by the authors' evaluation, which the paper's numbers
    were made with (`of_known_actions`), and "map_verb_official" and "map_noun_official" by the official one. Both agree
    on actions.
    """
    if "verb" not in truth:
        return _named("map", mean_average_precision(truth, predictions, thresholds).percent())
    authors = action_precision(truth, of_known_actions(truth, predictions), thresholds)
    official = action_precision(truth, predictions, thresholds, ("verb", "noun"))
    tasks = authors | {f"{task}_official": found for task, found in official.items()}
    named = [_named(f"map_{task}", found.percent()) for task, found in tasks.items()]
    return {name: value for of_task in named for name, value in of_task.items()}


def segment_table(videos: Sequence[Untrimmed]) -> pd.DataFrame:
    """Segments of videos as a table: video, start, end (seconds), and label, or verb and noun."""
    rows = [
        {"video": video.name, "start": segment.start, "end": segment.end}
        | (segment.label if isinstance(segment.label, dict) else {"label": segment.label})
        for video in videos
        for segment in video.segments
    ]
    return pd.DataFrame(rows)


def _named(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """{"0.5": ..., "average": ...} as "map@0.5" and "map"."""
    return {prefix if name == "average" else f"{prefix}@{name}": value for name, value in values.items()}


def _counts(splits: UntrimmedSplits, unreadable: Mapping[str, str], most: float) -> dict[str, Counts]:
    """Segments of each split that are listed and used, and the names of those that are not.

    Raises:
        TadaError: more than the share `most` of them cannot be used.
    """
    counts = {}
    for name, videos in (("train", splits.train), ("validation", splits.validation)):
        lost = {
            f"{video.name} {segment.start:.2f}-{segment.end:.2f} s": unreadable[video.name]
            for video in videos
            if video.name in unreadable
            for segment in video.segments
        }
        skipped = {**splits.skipped[name], **lost}
        used = sum(len(video.segments) for video in videos if video.name not in unreadable)
        too_many(name, skipped, used + len(skipped), most)
        counts[name] = Counts(used + len(skipped), used, sorted(skipped))
    return counts
