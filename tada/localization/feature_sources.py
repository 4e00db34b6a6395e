"""Where features and classes come from (Appendix A.2).

Either a network that another run has trained computes the features of dense clips of each video, or they are files that
the authors have released. `extract` decodes each video once, and goes on where an earlier call has stopped.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tada.base import TadaError
from tada.base.devices import ProcessGroup
from tada.base.files import write_arrays
from tada.base.processes import Interrupted, StopFlag
from tada.base.progress import Progress, Silent
from tada.data.catalog import DATASETS, Place
from tada.data.video.timeline import VideoError, file_state
from tada.localization.classes import (
    Scores,
    VideoProposals,
    classify_proposals,
    classify_video,
    dense_probabilities,
    fit_linear,
    logits_of,
    mean_features,
    probabilities,
)
from tada.localization.clips import ClipBatch, ClipRequest, computed
from tada.localization.features import (
    Features,
    FeatureStamp,
    ReleasedFeatures,
    check_finite,
    covers,
    load_features,
    read_stamp,
    save_features,
)
from tada.localization.videos import Untrimmed, UntrimmedSplits, file_seconds, read_untrimmed
from tada.models.blocks import Network
from tada.runs.checkpoints import finished_run, initial_of, load_trained
from tada.runs.localization_settings import ClipSettings
from tada.runs.record import Initial
from tada.runs.run import Run
from tada.runs.settings import Scale
from tada.runs.trained import TrainedNetwork, as_json

SHORT = 1.0
"""Seconds that a video may end before its annotation says without being noted."""


@dataclass
class Extraction:
    """How the extraction of features went.

    Attributes:
        videos: number of those that have features.
        skipped: the reason for every one that could not be read, or ends so early that windows would not cover it.
        short: for every other one that ends before its annotation says, where it does.
    """

    videos: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)


class FeatureSource(ABC):
    """Gives a localization run its features, and the classes of its proposals.

    Attributes:
        initial: where the weights come from, for the run's record.
        features: names the features, for the identity of the checkpoint that is trained on them.
        spacing: seconds from a clip to the next.
    """

    initial: Initial
    spacing: float
    features: Mapping[str, str] = {}

    def __init__(self, run: Run, place: Place, stop: StopFlag, progress: Progress, group: ProcessGroup) -> None:
        self.run, self.recipe, self.place = run, run.localization_recipe, place
        self.stop, self.progress, self.group = stop, progress, group

    @abstractmethod
    def read(self) -> UntrimmedSplits:
        """The videos of the dataset."""

    @abstractmethod
    def extract(self, videos: Sequence[Untrimmed]) -> Extraction:
        """Write the features of videos that have none yet into the run's folder; the same result in all processes."""

    @abstractmethod
    def classify(
        self, train: Sequence[Untrimmed], validation: Sequence[Untrimmed], proposals: Sequence[VideoProposals]
    ) -> dict[str, Scores]:
        """Class probabilities by video: of the whole of it, or of each of its proposals; in the main process."""

    def load(self, video: Untrimmed) -> Features:
        """The features of a video that `extract` has written."""
        return load_features(self.run.file("features"), video)

    def _read(self, files: bool) -> UntrimmedSplits:
        with self.group.main_first():
            return read_untrimmed(self.recipe.videos, self.place, files)

    def _classify_by_logits(
        self, proposals: Sequence[VideoProposals], logits: Callable[[Untrimmed], Features], crops: int = 1
    ) -> dict[str, Scores]:
        """Class probabilities of each proposal by its video's `logits`, as `dense_probabilities` takes them."""
        self.progress.start(total=len(proposals), unit="video", phase="classifying proposals")
        how = (self.recipe.classes, self.recipe.classification, self.recipe.bmn, self.spacing, crops)
        scores: dict[str, Scores] = {}
        for done, of in enumerate(proposals, 1):
            if len(of.starts):
                scores[of.video.name] = dense_probabilities(of, logits(of.video), *how)
            self.progress.step(done)
            if self.stop() and done < len(proposals):
                raise Interrupted(f"classifying proposals stopped after {done} of {len(proposals)} videos")
        return scores


class NetworkFeatureSource(FeatureSource):
    """The network of the same model and seed that was trained to classify the segments.

    Raises:
        TadaError: no run trains it at this scale, or that run is not done.
    """

    def __init__(self, run: Run, place: Place, stop: StopFlag, progress: Progress, group: ProcessGroup) -> None:
        super().__init__(run, place, stop, progress, group)
        classified = run.initial
        if classified is None:
            raise TadaError(f"{run}: at scale {run.scale} no run trains the network that computes features")
        self.initial = initial_of(classified, finished_run(classified))
        self.spacing = self.recipe.clips.spacing
        self.network = load_trained(classified)

    def read(self) -> UntrimmedSplits:
        """The videos."""
        return self._read(files=True)

    def extract(self, videos: Sequence[Untrimmed]) -> Extraction:
        """Compute the features that are missing; see `extract` of this module."""
        extraction = extract(
            self.network,
            videos,
            self.run.file("features"),
            self.recipe.clips,
            checkpoint=self.initial.sha256,
            progress=self.progress,
            group=self.group,
            stop=self.stop,
        )
        return self.group.broadcast(extraction)

    def classify(
        self, train: Sequence[Untrimmed], validation: Sequence[Untrimmed], proposals: Sequence[VideoProposals]
    ) -> dict[str, Scores]:
        """Class probabilities by video: of the whole of it, or of each of its proposals."""
        if self.recipe.classification.of == "video":
            self.network.to(self.group.device)
            return {video.name: self._of_video(video) for video in validation}
        if self.recipe.classification.of == "logits":
            return self.group.on_main(lambda: self._classify_by_logits(proposals, self._logits)) or {}
        found = classify_proposals(
            self.network,
            [of_video for of_video in proposals if len(of_video.starts)],
            self.recipe.clips,
            clips=self.recipe.classification.clips,
            progress=self.progress,
            group=self.group,
            stop=self.stop,
        )
        for name, reason in found.skipped.items():
            self.progress.say(f"{name}: its proposals cannot be classified: {reason}")
        return found.scores

    def _of_video(self, video: Untrimmed) -> Scores:
        features = self.load(video)
        check_finite(features, video, self.run.file("features"))
        return classify_video(self.network.head, features)

    def _logits(self, video: Untrimmed) -> Features:
        return logits_of(self.network.to(self.group.device).head, self.load(video))


class ReleasedFeatureSource(FeatureSource):
    """Features that the authors have released. A linear classifier on them gives classes; no video is read."""

    def __init__(
        self, run: Run, place: Place, stop: StopFlag, progress: Progress, group: ProcessGroup, folder: Path
    ) -> None:
        super().__init__(run, place, stop, progress, group)
        self.released = ReleasedFeatures(run.recipe.videos, folder)
        self.spacing = self.released.clips.stride / self.released.clips.fps
        how = "softmax regression on the mean features of the training segments"
        self.features = {"features": str(folder)}
        self.initial = Initial("features", folder=str(folder), classifier=how)

    def read(self) -> UntrimmedSplits:
        """The videos, by their annotations."""
        return self._read(files=False)

    def extract(self, videos: Sequence[Untrimmed]) -> Extraction:
        """Put the files of each video together into one, which can be read in parts, unless that is done."""
        return self.group.broadcast(self.group.on_main(lambda: self._convert(videos)))

    def classify(
        self, train: Sequence[Untrimmed], validation: Sequence[Untrimmed], proposals: Sequence[VideoProposals]
    ) -> dict[str, Scores]:
        """Class probabilities by video: of its mean feature, or of the mean feature inside each of its proposals."""
        return self.group.on_main(lambda: self._classify(train, validation, proposals)) or {}

    def _convert(self, videos: Sequence[Untrimmed]) -> Extraction:
        folder, result = self.run.file("features"), Extraction()
        self.progress.start(total=len(videos), unit="video", phase="reading features")
        for done, video in enumerate(videos, 1):
            states = [file_state(path)[:2] for path in self.released.files(video.name)]
            identity = hashlib.sha256(json.dumps(["given", states, video.duration]).encode()).hexdigest()
            try:
                if read_stamp(folder, video.name) != (stamp := FeatureStamp(identity, None)):
                    save_features(folder, video.name, self.released.read(video), stamp)
                result.videos += 1
            except TadaError as error:
                result.skipped[video.name] = str(error)
            self._finished(done, len(videos))
        return result

    def _classify(
        self, train: Sequence[Untrimmed], validation: Sequence[Untrimmed], proposals: Sequence[VideoProposals]
    ) -> dict[str, Scores]:
        self.progress.start(total=len(train), unit="video", phase="linear classifier")
        means = []
        for done, video in enumerate(train, 1):
            segments = np.array([(segment.start, segment.end) for segment in video.segments])
            means.append(mean_features(self.load(video), *segments.T))
            self._finished(done, len(train))
        labels = [segment.label for video in train for segment in video.segments]
        classifier = fit_linear(np.concatenate(means), labels, self.recipe.classes, self.group.device)
        if self.recipe.classification.of == "video":
            return {video.name: classify_video(classifier, self.load(video)) for video in validation}
        return {
            of.video.name: probabilities(classifier, mean_features(self.load(of.video), of.starts, of.ends))
            for of in proposals
            if len(of.starts)
        }

    def _finished(self, done: int, total: int) -> None:
        self.progress.step(done)
        if self.stop() and done < total:
            raise Interrupted(f"stopped after {done} of {total} videos; the features that were read are saved")


def dense_times(duration: float, settings: ClipSettings) -> tuple[np.ndarray, np.ndarray]:
    """When the frames of dense clips are seen [n, T], and the clips' centres [n], in seconds.

    The video is divided into cells of `stride` frames, and each whose middle lies in the video has a clip around that;
    a video shorter than a cell has one around its own middle. Of a clip that reaches beyond the video, the first or
    last frame is repeated.
    """
    cell = settings.stride / settings.target_fps
    count = max(int(np.ceil(duration / cell - 0.5)), 1)
    # In half frames, where all of these are whole numbers, so that clips which share frames have equal times.
    centres = (2 * np.arange(count) + 1) * settings.stride
    if duration < cell:
        centres = np.array([duration * settings.target_fps])
    offsets = (2 * np.arange(settings.frames) - (settings.frames - 1)) * settings.interval
    times = (centres[:, None] + offsets).clip(0) / (2 * settings.target_fps)
    return times, centres / (2 * settings.target_fps)


def extract(
    model: Network,
    videos: Sequence[Untrimmed],
    folder: Path,
    settings: ClipSettings,
    *,
    checkpoint: str,
    progress: Progress,
    group: ProcessGroup | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Extraction:
    """Compute the features of every video that are not yet in `folder`.

    A file belongs to a checkpoint, settings and a video's file; one of any other is written anew. Processes share the
    videos among them.

    Args:
        model: has `features`, which maps [N, 3, T, H, W] to [N, C]; used in evaluation mode.
        videos: any, with names of their own.
        folder: of one file per video (`load_features`).
        settings: which clips.
        checkpoint: SHA-256 of the weights that `model` has.
        progress: receives every video.
        group: this process's place among those that share the work.
        stop: asked after every batch; once true, `Interrupted` is raised, and the videos that are finished stay so.

    Returns:
        the extraction of all videos; in other processes than the main one, that of this process's share.

    Raises:
        Interrupted: `stop` said so, in whichever process.
    """
    group = group or ProcessGroup.single()
    group.place(model.eval())
    share = videos[group.rank :: group.size]
    identities = {video.name: _identity(video, settings, checkpoint) for video in share}
    stamps = {video.name: read_stamp(folder, video.name) for video in share}
    finished = {name: stamp for name, stamp in stamps.items() if stamp and stamp.identity == identities[name]}
    missing = [video for video in share if video.name not in finished]
    result = Extraction()
    for video in share:
        if video.name in finished:
            _count(result, video, folder, finished[video.name].note)
    progress.start(total=len(share), done=len(finished), unit="video", phase="extracting features")
    parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    stopping, done = False, len(finished)
    with torch.inference_mode():
        requests = [_dense(video, settings) for video in missing]
        for batch, found in group.read_behind(computed(model.features, requests, settings, group)):
            for values in found.values():
                parts.setdefault(batch.video, []).append((batch.indices.numpy(), values.float().numpy()))
            if batch.last:
                video = missing[batch.video]
                if complete := _complete(video, parts.pop(batch.video, []), batch, settings, result):
                    features, note = complete
                    save_features(folder, video.name, features, FeatureStamp(identities[video.name], note))
                    _count(result, video, folder, note)
                done += 1
                progress.step(done)
            if stopping := stop() and done < len(share):
                break
    if group.any(stopping)[0]:
        raise Interrupted(f"extracting features stopped after {done} of {len(share)} videos; they are saved")
    of_processes = group.gather(result)
    return result if of_processes is None else _joined(of_processes)


def _dense(video: Untrimmed, settings: ClipSettings) -> ClipRequest:
    times, centres = dense_times(video.duration, settings)
    return ClipRequest(video.path, video.fps, times, centres)


def _complete(
    video: Untrimmed,
    parts: list[tuple[np.ndarray, np.ndarray]],
    last: ClipBatch,
    settings: ClipSettings,
    result: Extraction,
) -> tuple[Features, str | None] | None:
    """A video's features and what is to be noted of it; None where it could not be read."""
    if not parts or (last.fault and last.ended is None):
        result.skipped[video.name] = last.fault or "no clip of it lies before its end"
        return None
    note = None
    if last.ended is not None and (last.fault or last.ended < video.duration - SHORT):
        note = f"ends at {last.ended:.2f} s of {video.duration:.2f} s" + (f": {last.fault}" if last.fault else "")
    indices, values = (np.concatenate(of) for of in zip(*parts, strict=True))
    order = np.argsort(indices)
    return Features(values[order], dense_times(video.duration, settings)[1][indices[order]]), note


def _count(result: Extraction, video: Untrimmed, folder: Path, note: str | None) -> None:
    """Count a video whose features are in `folder`; `note` says where it ends, if that is too early."""
    if note and not covers(load_features(folder, video).times, video.duration):
        result.skipped[video.name] = note
        return
    result.videos += 1
    if note:
        result.short[video.name] = note


def _identity(video: Untrimmed, settings: ClipSettings, checkpoint: str) -> str:
    about = [checkpoint, settings.identity(), video.duration, video.fps, file_state(video.path)[:2]]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _joined(parts: Sequence[Extraction]) -> Extraction:
    return Extraction(
        videos=sum(part.videos for part in parts),
        skipped={video: reason for part in parts for video, reason in part.skipped.items()},
        short={video: reason for part in parts for video, reason in part.short.items()},
    )


def clip_settings(trained: TrainedNetwork, fps: float | None, interval: int | None, stride: int | None) -> ClipSettings:
    """Of which clips a network's features are: those of the recipe that locates actions with it, but for what is given.

    Raises:
        TadaError: there is no such recipe, and not all is given.
    """
    given = {"target_fps": fps, "interval": interval, "stride": stride}
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if trained.dataset in DATASETS and DATASETS[trained.dataset].localization:
        located = Run(Scale.named(trained.scale), f"{trained.dataset}-localization", trained.model, 0)
        return replace(located.localization_recipe.clips, **asked)
    if len(asked) < len(given):
        raise TadaError(
            f"{trained.file}: no recipe locates actions with a network of {trained.dataset}, and says of which clips "
            "features are; say it, as for HACS Segments: --fps 30 --interval 8 --stride 16"
        )
    return ClipSettings(frames=trained.network.frames, short_side=trained.test.short_side, **asked)


def write_features(
    trained: TrainedNetwork, files: Sequence[Path], out: Path, settings: ClipSettings, progress: Progress
) -> Extraction:
    """Write the features of whole videos as `extract` computes them, each to `out`/<name of its file>.npz.

    It holds `features` float32 [n, C], `times` float64 [n], the centre of each clip in seconds, and `about`, JSON of
    the network and the clips.

    Raises:
        TadaError: two files would have the same name.
    """
    names = [file.stem for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise TadaError(f"{twice}: two of the videos have this name; write their features to folders of their own")
    if Scale.named(trained.scale).on_one_core:
        torch.set_num_threads(1)  # as runs of its scale compute
    about = json.dumps({"network": as_json(trained), "clips": settings.identity()})
    result = Extraction()
    out.mkdir(parents=True, exist_ok=True)
    progress.start(total=len(files), unit="video", phase="extracting features")
    for done, file in enumerate(files, 1):
        try:
            video = Untrimmed(str(file.name), file, file_seconds(file), ())
            with TemporaryDirectory() as folder:
                found = extract(
                    trained.network, [video], Path(folder), settings, checkpoint=trained.sha256, progress=Silent()
                )
                if found.videos:
                    features = load_features(Path(folder), video)
                    arrays = {"features": features.values, "times": features.times, "about": np.array(about)}
                    write_arrays(out / f"{file.stem}.npz", arrays)
        except VideoError as error:
            found = Extraction(skipped={file.name: error.reason})
        result = _joined([result, found])
        progress.step(done)
    return result
