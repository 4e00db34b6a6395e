"""Features of a whole video: one vector for each of many short clips, and the files that hold them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tada.errors import TadaError
from tada.files import replacing
from tada.localization.videos import Untrimmed

LATE = 1.0
"""Seconds that the last clip's centre may lie behind the end of its video, by its annotation."""


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
class Kept:
    """What a file of features tells of itself: what they were computed with, and what was wrong with the video."""

    identity: str
    note: str | None


def file_of(folder: Path, video: str) -> Path:
    """Where the features of a video lie."""
    return folder / f"{video}.npy"


def save_features(folder: Path, video: str, features: Features, kept: Kept) -> None:
    """Write a video's features in one step: a file of three arrays, the values, the times and what it was made from."""
    with replacing(file_of(folder, video)) as temporary, temporary.open("wb") as file:
        for array in (features.values, features.times, [kept.identity, kept.note or ""]):
            np.save(file, array)


def read_kept(folder: Path, video: str) -> Kept | None:
    """What a video's file tells of itself; None where there is none, or a damaged one."""
    try:
        return _read(file_of(folder, video))[1]
    except (OSError, ValueError, EOFError):
        return None


def load_features(folder: Path, video: Untrimmed) -> Features:
    """The features of a video that have been saved; the values are mapped, and read from disk where they are used.

    Raises:
        TadaError: there is no such file, or as `check_features`.
    """
    path = file_of(folder, video.name)
    try:
        features, _ = _read(path)
    except FileNotFoundError:
        raise TadaError(f"{path}: no features of {video.name} there") from None
    except (OSError, ValueError, EOFError) as error:
        raise TadaError(f"{path}: no file of features: {error}") from None
    check_features(features, video, path)
    return features


def _read(path: Path) -> tuple[Features, Kept]:
    values = np.load(path, mmap_mode="r")
    with path.open("rb") as file:
        file.seek(values.offset + values.nbytes)
        times = np.load(file)
        identity, note = np.load(file).tolist()
    return Features(values, times), Kept(identity, note or None)


def check_features(features: Features, video: Untrimmed, where: Path, channels: int | None = None) -> None:
    """Check features against what the video's annotation says; their values are not looked at (`check_finite`).

    Args:
        features: to be checked.
        video: whose they should be.
        where: file or folder that they come from.
        channels: C that they should have; None: any.

    Raises:
        TadaError: another number of times than of vectors, another width than `channels`, times that do not increase,
            or that go beyond the end of the video.
    """
    values, times = features.values, features.times
    about = f"{where}: features of {video.name}"
    if values.ndim != 2 or len(values) != len(times):
        raise TadaError(f"{about} are of shape {list(values.shape)} at {len(times)} times; expected [times, channels]")
    if not len(times):
        raise TadaError(f"{about}: there are none")
    if channels is not None and values.shape[1] != channels:
        raise TadaError(f"{about} have {values.shape[1]} channels, and {channels} are expected")
    if not (np.diff(times) > 0).all():
        clip = int(np.flatnonzero(np.diff(times) <= 0)[0])
        raise TadaError(f"{about}: {times[clip + 1]:.2f} s follows {times[clip]:.2f} s")
    if times[-1] > video.duration + LATE:
        raise TadaError(f"{about} go on until {times[-1]:.2f} s, and it lasts {video.duration:.2f} s")


def check_finite(features: Features, video: Untrimmed, where: Path) -> None:
    """Raise a TadaError where a value, of which every one is looked at, is not finite; says at what time."""
    finite = np.isfinite(features.values).all(1)
    if not finite.all():
        first = features.times[np.flatnonzero(~finite)[0]]
        raise TadaError(f"{where}: features of {video.name}: those at {first:.2f} s are not finite")
