"""The feature files that the authors have released, read as they are; nothing in them is executed.

EPIC-KITCHENS-100: `{video}_{start}_{end}.pkl` for every five seconds, in milliseconds of the video. HACS: a file for
every video, called after it, with "v_" before its identifier or without. Each holds a tensor [n, C]. The k-th clip of a
file is centred at (s - 1 + s k) / fps seconds from the file's start, where s is the stride: 8 frames at 60 per second
(EPIC-KITCHENS-100), 16 at 30 (HACS; Appendix A.2).
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from torch import Tensor

from tada.errors import TadaError, unknown
from tada.localization.features import Features, check_features, check_finite
from tada.localization.videos import Untrimmed
from tada.models.checkpoints import read_checkpoint

CLIPS = {"ek100": (8, 60.0), "hacs": (16, 30.0)}
"""Stride in frames, and frames per second."""

SUFFIXES = (".pkl", ".pth", ".pt")

_PIECE = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")
_SLACK = 1.0
_SHARE = 0.02
"""A video's features may be this many seconds, or this share of it, shorter or longer than its annotation says."""


@dataclass(frozen=True, order=True)
class _Piece:
    """A file, and the part of its video (seconds) that it is about; up to infinity where its name does not say."""

    start: float
    end: float
    path: Path


class ReleasedFeatures:
    """The released features of a dataset's videos.

    Args:
        dataset: "ek100" or "hacs".
        folder: of the files; they may lie in folders of it.
        channels: C that they must have; None: the same for all, whatever the first has.

    Raises:
        TadaError: another dataset, or no such files in the folder.
    """

    def __init__(self, dataset: str, folder: Path, channels: int | None = None) -> None:
        if dataset not in CLIPS:
            raise unknown("dataset", dataset, CLIPS)
        self.dataset, self.folder, self.channels = dataset, folder, channels
        self.stride, self.fps = CLIPS[dataset]
        self._pieces: dict[str, list[_Piece]] = defaultdict(list)
        for path in folder.rglob("*"):
            if path.suffix in SUFFIXES:
                self._add(path)
        if not self._pieces:
            names = "{video}_{start}_{end}.pkl" if dataset == "ek100" else "{video}.pkl"
            raise TadaError(f"{folder}: no released features there; expected files {names}")

    def __contains__(self, video: str) -> bool:
        return bool(self._of(video))

    def files(self, video: str) -> list[Path]:
        """The files about a video, in the order of time."""
        return [piece.path for piece in sorted(self._of(video))]

    def read(self, video: Untrimmed) -> Features:
        """The features of a video.

        Raises:
            TadaError: there is no file of it, or a gap between its files; a file is damaged, would execute code, or
                holds something else than [n, C]; its width or length is another than expected.
        """
        pieces = sorted(self._of(video.name))
        if not pieces:
            raise TadaError(f"{self.folder}: no released features of {video.name}")
        if self.dataset == "hacs":
            pieces = [_Piece(0.0, video.duration, pieces[0].path)]
        values, times, reached = [], [], 0.0
        for piece in pieces:
            if abs(piece.start - reached) > 0.5 / self.fps:
                raise TadaError(
                    f"{piece.path}: begins at {piece.start:.3f} s of {video.name}, and the files before it end at "
                    f"{reached:.3f} s"
                )
            found = self._values(piece, video)
            values.append(found)
            times.append(piece.start + self._centres(len(found)))
            reached = piece.end
        if abs(reached - video.duration) > max(_SLACK, _SHARE * video.duration):
            raise TadaError(
                f"{pieces[-1].path}: is the last file of {video.name} and ends at {reached:.2f} s, and the video lasts "
                f"{video.duration:.2f} s"
            )
        features = Features(np.concatenate(values), np.concatenate(times))
        inside = features.times <= video.duration
        features = Features(features.values[inside], features.times[inside])
        check_features(features, video, self.folder, self.channels)
        check_finite(features, video, self.folder)
        return features

    def _add(self, path: Path) -> None:
        if self.dataset == "hacs":
            self._pieces[path.stem].append(_Piece(0.0, float("inf"), path))
        elif match := _PIECE.fullmatch(path.stem):
            self._pieces[match["video"]].append(_Piece(int(match["start"]) / 1000, int(match["end"]) / 1000, path))

    def _of(self, video: str) -> list[_Piece]:
        prefixed = self._pieces.get(f"v_{video}", []) if self.dataset == "hacs" else []
        return prefixed or self._pieces.get(video, [])

    def _centres(self, count: int) -> np.ndarray:
        return (self.stride - 1 + self.stride * np.arange(count)) / self.fps

    def _values(self, piece: _Piece, video: Untrimmed) -> np.ndarray:
        """The values in a file, checked against the time that it is about."""
        found = read_checkpoint(piece.path, "features")
        if not isinstance(found, Tensor) or found.ndim != 2:
            what = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise TadaError(f"{piece.path}: expected a tensor [n, C] of {video.name}, found {what}")
        self.channels = self.channels or found.shape[1]
        if found.shape[1] != self.channels:
            raise TadaError(
                f"{piece.path}: features of {video.name} have {found.shape[1]} channels, and {self.channels} are "
                "expected"
            )
        lasts = piece.end - piece.start
        expected = max(ceil((lasts * self.fps - self.stride + 1) / self.stride), 0)
        slack = max(_SLACK, _SHARE * lasts) if self.dataset == "hacs" else self.stride / self.fps
        if abs(len(found) - expected) > ceil(slack * self.fps / self.stride):
            raise TadaError(
                f"{piece.path}: {len(found)} features of {video.name}, and {expected} are expected of the "
                f"{lasts:.2f} s that it is about"
            )
        return found.float().numpy()
