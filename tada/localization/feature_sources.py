"""Where features and classes come from: a network that another run has trained, or features that are released."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tada.base.devices import ProcessGroup
from tada.base.errors import TadaError
from tada.base.processes import Interrupted, StopFlag
from tada.base.progress import Progress
from tada.data.catalog import Place
from tada.data.video.timeline import file_state
from tada.localization.classes import (
    Scores,
    VideoProposals,
    classify_proposals,
    classify_video,
    fit_linear,
    mean_features,
    probabilities,
)
from tada.localization.extraction import Extraction, extract
from tada.localization.features import (
    Features,
    FeatureStamp,
    ReleasedFeatures,
    check_finite,
    load_features,
    read_stamp,
    save_features,
)
from tada.localization.videos import Untrimmed, UntrimmedSplits, read_untrimmed
from tada.runs.checkpoints import finished_run, load_trained
from tada.runs.record import Initial
from tada.runs.run import Run


class FeatureSource(ABC):
    """Where a localization run has its features and the classes of its proposals from.

    Attributes:
        initial: where the weights come from, for the run's record.
        features: which features these are, for the identity of the checkpoint that is trained on them.
    """

    initial: Initial
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


class NetworkFeatureSource(FeatureSource):
    """The network of the same model and seed that was trained to classify the segments.

    Raises:
        TadaError: that run is not done.
    """

    def __init__(self, run: Run, place: Place, stop: StopFlag, progress: Progress, group: ProcessGroup) -> None:
        super().__init__(run, place, stop, progress, group)
        first = finished_run(run.initial)
        self.initial = Initial(
            run.initial.dataset, first.checkpoint.file, first.checkpoint.sha256, run.initial.signature
        )
        self.network = load_trained(run.initial)

    def read(self) -> UntrimmedSplits:
        """The videos."""
        return self._read(files=True)

    def extract(self, videos: Sequence[Untrimmed]) -> Extraction:
        """Compute the features that are missing; see `tada.localization.extraction.extract`."""
        found = extract(
            self.network,
            videos,
            self.run.file("features"),
            self.recipe.clips,
            checkpoint=self.initial.sha256,
            progress=self.progress,
            group=self.group,
            stop=self.stop,
        )
        return self.group.broadcast(found)

    def classify(
        self, train: Sequence[Untrimmed], validation: Sequence[Untrimmed], proposals: Sequence[VideoProposals]
    ) -> dict[str, Scores]:
        """Class probabilities by video: of the whole of it, or of each of its proposals."""
        if self.recipe.classification.of == "video":
            self.network.to(self.group.device)
            return {video.name: self._of_video(video) for video in validation}
        found = classify_proposals(
            self.network,
            [of for of in proposals if len(of.starts)],
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
        return classify_video(self.network, features)


class ReleasedFeatureSource(FeatureSource):
    """Features as the authors have released them, which a linear classifier gives classes; no video is looked at."""

    def __init__(
        self, run: Run, place: Place, stop: StopFlag, progress: Progress, group: ProcessGroup, folder: Path
    ) -> None:
        super().__init__(run, place, stop, progress, group)
        self.released = ReleasedFeatures(run.recipe.videos, folder)
        how = "softmax regression on the mean features of the training segments"
        self.features = {"features": str(folder)}
        self.initial = Initial("features", folder=str(folder), classifier=how)

    def read(self) -> UntrimmedSplits:
        """The videos, by their annotations."""
        return self._read(files=False)

    def extract(self, videos: Sequence[Untrimmed]) -> Extraction:
        """Put the files of each video together into one, which can be read in parts, unless that is done."""
        return self.group.broadcast(self.group.on_main(lambda: self._bring_in(videos)))

    def classify(
        self, train: Sequence[Untrimmed], validation: Sequence[Untrimmed], proposals: Sequence[VideoProposals]
    ) -> dict[str, Scores]:
        """Class probabilities by video: of its mean feature, or of the mean feature inside each of its proposals."""
        return self.group.on_main(lambda: self._classify(train, validation, proposals)) or {}

    def _bring_in(self, videos: Sequence[Untrimmed]) -> Extraction:
        folder, found = self.run.file("features"), Extraction()
        self.progress.start(total=len(videos), unit="video", phase="reading features")
        for done, video in enumerate(videos, 1):
            states = [file_state(path)[:2] for path in self.released.files(video.name)]
            identity = hashlib.sha256(json.dumps(["given", states, video.duration]).encode()).hexdigest()
            try:
                if read_stamp(folder, video.name) != (kept := FeatureStamp(identity, None)):
                    save_features(folder, video.name, self.released.read(video), kept)
                found.videos += 1
            except TadaError as error:
                found.skipped[video.name] = str(error)
            self._finished(done, len(videos))
        return found

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
            whole = {
                video.name: self.load(video).values.mean(0, keepdims=True, dtype=np.float64) for video in validation
            }
            return {name: probabilities(classifier, mean.astype(np.float32))[0] for name, mean in whole.items()}
        return {
            of.video.name: probabilities(classifier, mean_features(self.load(of.video), of.starts, of.ends))
            for of in proposals
            if len(of.starts)
        }

    def _finished(self, done: int, total: int) -> None:
        self.progress.step(done)
        if self.stop() and done < total:
            raise Interrupted(f"stopped after {done} of {total} videos; the features that were read are saved")
