"""Features of a whole video, one vector for each of many short clips: as values, and in files.

A run writes a file for each video, which is read in parts (`save_features`, `load_features`). `ReleasedFeatures` reads
the files that the authors have released, as they are; nothing in them is executed.

Released files of EPIC-KITCHENS-100 are `{video}_{start}_{end}.pkl`, one for every five seconds, with start and end in
milliseconds of the video. HACS has a file for each video, called after it, with "v_" before its identifier or without.
Each file holds a tensor [n, C], or an array. Clip k of a video is centred at (s - 1 + s k) / fps seconds, where s is
the stride: 8 frames at 60 per second (EPIC-KITCHENS-100), 16 at 30 (HACS; Appendix A.2). A file has the clips whose
centres lie in its part of the video: five seconds have 37 and 38 in turn, as the authors' code expects where it joins
them.
"""

import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tada.base import TadaError
from tada.base.files import DamagedFile, replacing
from tada.data.catalog import localization_of

if TYPE_CHECKING:
    from torch import Tensor

    from tada.localization.videos import Untrimmed

LATE = 1.0
"""Seconds that the last clip's centre may lie behind the end of its video, by its annotation."""

UNCOVERED, UNCOVERED_SHARE = 5.0, 0.1
"""Seconds, or the share of the video, that may lie before the first clip's centre, and after the last one's."""


@dataclass(frozen=True)
class Features:
    """Features of a video's clips, in the order of time.

    Attributes:
        values: float32 [n, C].
        times: float64 [n], the centre of each clip in seconds.
    """

    values: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class FeatureStamp:
    """Part of a file of features.

    Attributes:
        identity: hash of what the features were computed from.
        note: fault of the video, if it has one.
    """

    identity: str
    note: str | None


def file_of(folder: Path, video: str) -> Path:
    """The file of a video's features."""
    return folder / f"{video}.npy"


def save_features(folder: Path, video: str, features: Features, stamp: FeatureStamp) -> None:
    """Write a video's features in one step: a file of three arrays, the values, the times, and stamp with checksum."""
    about = [stamp.identity, stamp.note or "", _checksum(features)]
    with replacing(file_of(folder, video)) as temporary, temporary.open("wb") as file:
        for array in (features.values, features.times, about):
            np.save(file, array)


def read_stamp(folder: Path, video: str) -> FeatureStamp | None:
    """The stamp of a video's file; None where there is no file, or a damaged one: every value is read."""
    try:
        features, stamp, checksum = _read(file_of(folder, video))
    except (FileNotFoundError, DamagedFile):
        return None
    return stamp if _checksum(features) == checksum else None


def load_features(folder: Path, video: "Untrimmed") -> Features:
    """The features of a video that have been saved; the values are mapped, and read from disk where they are used.

    Raises:
        TadaError: there is no such file, or as `check_features`.
    """
    path = file_of(folder, video.name)
    try:
        features, _, _ = _read(path)
    except FileNotFoundError:
        raise TadaError(f"{path}: no features of {video.name} there") from None
    check_features(features, video, where=path)
    return features


def _read(path: Path) -> tuple[Features, FeatureStamp, str]:
    """Features, the values mapped, with stamp and checksum; raises FileNotFoundError or DamagedFile."""
    try:
        values = np.load(path, mmap_mode="r")
        with path.open("rb") as file:
            file.seek(values.offset + values.nbytes)
            times = np.load(file)
            identity, note, checksum = np.load(file).tolist()
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file, or one of another kind, shows as one of many kinds of error
        raise DamagedFile(f"{path}: no file of features ({error}); the next call makes it again") from None
    return Features(values, times), FeatureStamp(identity, note or None), checksum


def _checksum(features: Features) -> str:
    arrays = (np.ascontiguousarray(array) for array in (features.values, features.times))
    return " ".join(f"{array.dtype} {array.shape} {zlib.crc32(array.data):08x}" for array in arrays)


def check_features(
    features: Features,
    video: "Untrimmed",
    *,
    where: Path | None = None,
    channels: int | None = None,
    whole: bool = False,
) -> None:
    """See that features fit a video as it is annotated. Their values are not looked at; `check_finite` does that.

    There is one vector at least, and a time for each. Times are finite and increase, and go at most `LATE` seconds
    beyond the video's end. A file of features may end early, as that of a video that is cut short does. Windows need
    the whole video: at its beginning and at its end, at most `UNCOVERED` seconds or `UNCOVERED_SHARE` of the video,
    whichever is longer, have no clip's centre.

    Args:
        features: to be checked.
        video: whose they should be.
        where: file or folder that they come from, for the message.
        channels: C that they must have; None: any.
        whole: they must cover the whole video.

    Raises:
        TadaError: they do not fit.
    """
    shape, times = list(features.values.shape), features.times
    about = f"{where}: features of video {video.name}" if where else f"features of video {video.name}"
    if len(shape) != 2 or 0 in shape or times.shape != (shape[0],):
        raise TadaError(f"{about} are of shape {shape} at {times.size} times; expected [clips, channels], not empty")
    if channels is not None and shape[1] != channels:
        raise TadaError(f"{about} have {shape[1]} channels, and {channels} are expected")
    if not np.isfinite(times).all():
        raise TadaError(f"{about}: the times of the clips are not all finite")
    if not (np.diff(times) > 0).all():
        clip = int(np.flatnonzero(np.diff(times) <= 0)[0])
        raise TadaError(f"{about}: {times[clip + 1]:.2f} s follows {times[clip]:.2f} s")
    if times[-1] > video.duration + LATE:
        raise TadaError(f"{about} go on until {times[-1]:.2f} s, and it lasts {video.duration:.2f} s")
    if whole and not covers(times, video.duration):
        raise TadaError(
            f"{about}: clips from {times[0]:.2f} s to {times[-1]:.2f} s do not cover the video of "
            f"{video.duration:.2f} s; are they features of another version of it?"
        )


def covers(times: np.ndarray, duration: float) -> bool:
    """Whether clips centred at `times` cover a video of `duration` seconds, so that it can be divided into windows."""
    gap = max(UNCOVERED, UNCOVERED_SHARE * duration)
    return bool(times[0] <= gap and times[-1] >= duration - gap)


def check_finite(features: Features, video: "Untrimmed", where: Path) -> None:
    """Look at every value; raises a TadaError with the time of the first that is not finite."""
    finite = np.isfinite(features.values).all(1)
    if not finite.all():
        first = features.times[np.flatnonzero(~finite)[0]]
        raise TadaError(f"{where}: features of {video.name}: those at {first:.2f} s are not finite")


SUFFIXES = (".pkl", ".pth", ".pt")

_PIECE = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")

_SLACK, _SHARE = 1.0, 0.02
"""Seconds, or share of the video, by which released features may be shorter or longer than its annotation says."""


@dataclass(frozen=True, order=True)
class _Piece:
    """A file, and the part of its video (seconds) that it is about; up to infinity where its name does not say."""

    start: float
    end: float
    path: Path


class ReleasedFeatures:
    """The released features of a dataset's videos.

    Attributes:
        kind: what the files hold, for messages.

    Args:
        dataset: a name of `tada.data.catalog`, of a dataset of untrimmed videos.
        folder: of the files; they may lie in folders of it.
        channels: C that they must have; None: the same for all, whatever the first has.

    Raises:
        TadaError: another dataset, or no such files in the folder.
    """

    kind = "features"

    def __init__(self, dataset: str, folder: Path, channels: int | None = None) -> None:
        self.folder, self.channels = folder, channels
        self.clips = localization_of(dataset).clips
        self._pieces: dict[str, list[_Piece]] = defaultdict(list)
        for path in folder.rglob("*"):
            if path.suffix in SUFFIXES:
                self._add(path)
        if not self._pieces:
            names = "{video}_{start}_{end}.pkl" if self.clips.pieces else "{video}.pkl"
            raise TadaError(f"{folder}: no released {self.kind} there; expected files {names}")

    def __contains__(self, video: str) -> bool:
        return bool(self._of(video))

    def files(self, video: str) -> list[Path]:
        """The files about a video, in the order of time."""
        return [piece.path for piece in sorted(self._of(video))]

    def read(self, video: "Untrimmed") -> Features:
        """The features of a video.

        Raises:
            TadaError: there is no file of it, or a gap between its files; a file is damaged, would execute code, or
                holds something else than [n, C]; its width or length is another than expected.
        """
        pieces = sorted(self._of(video.name))
        if not pieces:
            raise TadaError(f"{self.folder}: no released {self.kind} of {video.name}")
        if not self.clips.pieces:
            pieces = [_Piece(0.0, video.duration, pieces[0].path)]
        values, times, reached = [], [], 0.0
        for piece in pieces:
            if abs(piece.start - reached) > 0.5 / self.clips.fps:
                raise TadaError(
                    f"{piece.path}: begins at {piece.start:.3f} s of {video.name}, and the files before it end at "
                    f"{reached:.3f} s"
                )
            found, centres = self._values(piece, video), self._centres(piece)
            known = centres[: len(found)]
            values.append(found[: len(known)])
            times.append(known)
            reached = piece.end
        if abs(reached - video.duration) > max(_SLACK, _SHARE * video.duration):
            raise TadaError(
                f"{pieces[-1].path}: is the last file of {video.name} and ends at {reached:.2f} s, and the video lasts "
                f"{video.duration:.2f} s"
            )
        features = Features(np.concatenate(values), np.concatenate(times))
        inside = features.times <= video.duration
        features = Features(features.values[inside], features.times[inside])
        check_features(features, video, where=self.folder)
        check_finite(features, video, self.folder)
        return features

    def _add(self, path: Path) -> None:
        if not self.clips.pieces:
            self._pieces[path.stem].append(_Piece(0.0, float("inf"), path))
        elif match := _PIECE.fullmatch(path.stem):
            self._pieces[match["video"]].append(_Piece(int(match["start"]) / 1000, int(match["end"]) / 1000, path))

    def _of(self, video: str) -> list[_Piece]:
        return self._pieces.get(f"{self.clips.prefix}{video}", []) or self._pieces.get(video, [])

    def _centres(self, piece: _Piece) -> np.ndarray:
        """Seconds of the clips' centres in a file's part of the video."""
        stride, fps = self.clips.stride, self.clips.fps
        first, last = (ceil((side * fps - (stride - 1)) / stride) for side in (piece.start, piece.end))
        return (stride - 1 + stride * np.arange(max(first, 0), max(last, 0))) / fps

    def matrix(self, path: Path, video: "Untrimmed") -> "Tensor":
        """The features in a file, [n, C]."""
        import torch  # here, since `tada verify` reads a run's own features without it
        from torch import Tensor

        from tada.models.weights import read_checkpoint

        found = read_checkpoint(path, self.kind)
        found = torch.from_numpy(found) if isinstance(found, np.ndarray) else found
        if not isinstance(found, Tensor) or found.ndim != 2:
            what = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise TadaError(f"{path}: expected a tensor [n, C] of {video.name}, found {what}")
        return found

    def _values(self, piece: _Piece, video: "Untrimmed") -> np.ndarray:
        """The values in a file, checked against the time that it is about."""
        found = self.matrix(piece.path, video)
        self.channels = self.channels or found.shape[1]
        if found.shape[1] != self.channels:
            raise TadaError(
                f"{piece.path}: {self.kind} of {video.name} have {found.shape[1]} channels, and {self.channels} are "
                "expected"
            )
        stride, fps = self.clips.stride, self.clips.fps
        lasts = piece.end - piece.start
        expected = len(self._centres(piece))
        slack = stride / fps if self.clips.pieces else max(_SLACK, _SHARE * lasts)
        if abs(len(found) - expected) > ceil(slack * fps / stride):
            raise TadaError(
                f"{piece.path}: {len(found)} {self.kind} of {video.name}, and {expected} are expected of the "
                f"{lasts:.2f} s that it is about"
            )
        return found.float().numpy()
