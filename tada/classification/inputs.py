"""Where a run's clips come from: the dataset on disk, as the recipe samples, resizes and crops it."""

import os
from collections.abc import Sequence
from pathlib import Path

from tada.base.errors import TadaError
from tada.base.progress import Progress
from tada.data import catalog, inspection
from tada.data.catalog import Place
from tada.data.clips import Annotations, Counts, Split
from tada.data.dataset import TestClips, TrainClips
from tada.data.inspection import SkipLog
from tada.data.video import cache
from tada.data.video.random_access import FileFrames, Source
from tada.data.views import IntervalSampling, Sampling, SegmentSampling, TestTransform, TrainTransform
from tada.runs.run import Run, check_classes


class Sources:
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
        self.annotations = _read(run, data)
        root = Place.parse(data).root
        self.sampling = sampling_of(run, frames)
        self._sources: dict[str, Source] = {}
        self._splits: dict[str, Split] = {}
        self._logs: dict[str, SkipLog] = {}
        for split in (getattr(self.annotations, name) for name in splits):
            usable, source = self._usable(split.check(self.recipe.data.max_skipped), root, progress)
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

    def counts(self) -> dict[str, Counts]:
        """For each split, the videos listed and used, and the names of those that could not be."""
        return {name: split.without(self._logs[name].read()).counts() for name, split in self._splits.items()}

    def describe(self) -> str:
        """One line about layout and number of videos."""
        parts = [f"{len(split.clips)} of {split.listed} {name} videos" for name, split in self._splits.items()]
        return f"{self.annotations.layout}: {', '.join(parts)}"

    def _usable(self, split: Split, root: Path, progress: Progress) -> tuple[Split, Source]:
        data = self.recipe.data
        workers = max(data.workers, 1)
        if data.cache:  # filled once, while whoever else needs it waits: with all processors
            frames = cache.build(split, root / ".cache", data.cache_short_side, os.cpu_count() or 1)
            return split.without(frames.skipped), frames
        record = self.run.results / "inspected" / f"{self.run.dataset}.jsonl"
        progress.start(total=len(split.clips), unit="video", phase=f"looking at {split.name} files")
        return inspection.inspect(split, record, workers, on_progress=lambda done, _: progress.step(done)), FileFrames

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


def _read(run: Run, data: str) -> Annotations:
    if not data and run.dataset in catalog.DATASETS:
        raise TadaError(
            f"scale {run.scale} needs the videos of {run.dataset}: set data.{run.dataset} in config/config.yaml to "
            f"their folder; {catalog.find(run.dataset).load_reader().EXPECTED}"
        )
    annotations = catalog.read(run.dataset, Place.parse(data))
    check_classes(annotations.classes, run, annotations.layout)
    return annotations


def sampling_of(run: Run, frames: int) -> Sampling:
    """Which frames of a video make a clip of that many frames, as the run's recipe says."""
    sampling = run.classification_recipe.sampling
    if sampling.kind == "segment":
        return SegmentSampling(frames)
    return IntervalSampling(frames, sampling.interval, sampling.target_fps)
