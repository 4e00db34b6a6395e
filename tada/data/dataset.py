"""Clips as tensors: what training and testing iterate over.

A sample is a function of its key and the seed alone. Order, number of workers, processes and restarts change none.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tada.base import TadaError
from tada.data.clips import IGNORED, Clip, Label
from tada.data.validation import SkipLog
from tada.data.video.random_access import FileFrames, Source
from tada.data.video.timeline import VideoError
from tada.data.views import Sampling, TestTransform, TrainTransform


class TrainClips(torch.utils.data.Dataset):
    """Randomly sampled, scaled, cropped and mirrored clips: (epoch, index) -> (uint8 [3, T, H, W], label).

    A mirrored clip has the label of its mirrored class. A video that cannot be decoded is noted in `skip_log`; in its
    place stands the next clip that can, with the label IGNORED, so that a batch keeps its size and nobody learns from
    it. Without a `skip_log`, VideoError is raised.

    Args:
        clips: of the split, those that are known to be unusable left out.
        sampling: which frames of a video are taken.
        transform: what is done to them.
        seed: with epoch and index, all that randomness depends on.
        mirror: class that a class becomes in the mirror, where it becomes another one.
        source: opens a clip's frames; its file by default.
        skip_log: takes the names of videos that turn out to be unusable, and says when they are too many.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        sampling: Sampling,
        transform: TrainTransform,
        *,
        seed: int,
        mirror: Mapping[int, int] | None = None,
        source: Source = FileFrames,
        skip_log: SkipLog | None = None,
    ) -> None:
        self.clips = clips
        self.sampling = sampling
        self.transform = transform
        self.seed = seed
        self.mirror = mirror or {}
        self.source = source
        self.skip_log = skip_log

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Label]:
        epoch, index = key
        for clip in _from(self.clips, index):
            rng = np.random.default_rng((self.seed, epoch, index))
            try:
                frames = self.source(clip)
                pixels = frames.read(self.sampling.train(frames.length, frames.fps, rng).tolist())
            except VideoError as error:
                _note(error, clip, self.skip_log)
                continue
            video, mirrored = self.transform(pixels, rng)
            return video, self._label(clip, mirrored) if clip is self.clips[index] else _ignored(clip.label)
        raise TadaError(f"none of {len(self.clips)} videos can be decoded")

    def _label(self, clip: Clip, mirrored: bool) -> Label:
        return self.mirror.get(clip.label, clip.label) if mirrored and isinstance(clip.label, int) else clip.label


class TestClips(torch.utils.data.Dataset):
    """All views of a video: index -> (uint8 [views, 3, T, H, W], label); each frame is decoded and resized once.

    A video that cannot be decoded is noted in `skip_log`; its views are black and its label is IGNORED. Without a
    `skip_log`, VideoError is raised.

    Args:
        clips: of the split, those that are known to be unusable left out.
        sampling: which frames of a video make a clip.
        transform: how these are resized and cropped.
        clips_per_video: spread over the video; views = clips_per_video * crops of the transform.
        source: opens a clip's frames; its file by default.
        skip_log: takes the names of videos that turn out to be unusable, and says when they are too many.
    """

    __test__ = False  # no test case, whatever pytest makes of its name

    def __init__(
        self,
        clips: Sequence[Clip],
        sampling: Sampling,
        transform: TestTransform,
        *,
        clips_per_video: int,
        source: Source = FileFrames,
        skip_log: SkipLog | None = None,
    ) -> None:
        self.clips = clips
        self.sampling = sampling
        self.transform = transform
        self.clips_per_video = clips_per_video
        self.source = source
        self.skip_log = skip_log

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, Label]:
        clip = self.clips[index]
        try:
            frames = self.source(clip)
            count = self.clips_per_video
            indices = np.stack([self.sampling.test(frames.length, frames.fps, i, count) for i in range(count)])
            needed, places = np.unique(indices, return_inverse=True)
            return self.transform(frames.read(needed.tolist()), places.reshape(indices.shape)), clip.label
        except VideoError as error:
            _note(error, clip, self.skip_log)
            size = self.transform.crop
            shape = (self.clips_per_video * self.transform.crops, 3, self.sampling.frames, size, size)
            return torch.zeros(shape, dtype=torch.uint8), _ignored(clip.label)


def _from(clips: Sequence[Clip], index: int) -> Iterator[Clip]:
    """The clip at `index` and, after it, all others in turn."""
    return (clips[(index + step) % len(clips)] for step in range(len(clips)))


def _note(error: VideoError, clip: Clip, skip_log: SkipLog | None) -> None:
    if skip_log is None:
        raise error
    skip_log.add(clip.name, error.reason)


def _ignored(label: Label) -> Label:
    return IGNORED if isinstance(label, int) else dict.fromkeys(label, IGNORED)
