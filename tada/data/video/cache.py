"""Frames of a split decoded once into one memory-mapped file, for the runs of a small dataset to share.

A folder of its own for every state of the split's files, so that a changed file is never answered from an old cache.
The folder appears under its name when it is whole; whoever comes while it is being filled waits.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock

from tada.base.files import read_json, write_json
from tada.base.processes import ordered_map
from tada.data.clips import Clip, Split
from tada.data.video.random_access import FileFrames
from tada.data.video.timeline import VideoError, file_state

FORMAT = 2
"""Part of a cache's name; raised whenever what is stored for the same files changes."""


@dataclass(frozen=True)
class CachedFrames:
    """Frames of a clip in the cache: how many, and at which rate (frames per second)."""

    length: int
    fps: float
    pixels: np.ndarray

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3], a copy; an index counts from the clip's first frame."""
        return self.pixels[np.asarray(indices)]


class FrameCache:
    """Decoded frames of a split; `FrameCache(...)(clip)` opens a clip's, as a `random_access.Source` does.

    Attributes:
        skipped: the reason for every clip that could not be decoded whole, by its name.
    """

    def __init__(self, folder: Path) -> None:
        index = read_json(folder / "index.json")
        self.skipped: dict[str, str] = index["skipped"]
        self._clips: dict[str, list] = index["clips"]
        self._file = folder / "frames.bin"
        self._pixels: np.ndarray | None = None

    def __call__(self, clip: Clip) -> CachedFrames:
        """The clip's frames; raises VideoError if it could not be decoded."""
        if clip.name in self.skipped:
            raise VideoError(clip.path, self.skipped[clip.name])
        offset, shape, fps = self._clips[clip.name]
        if self._pixels is None:  # mapped by the process that reads, be it the one that opened the cache or a worker
            self._pixels = np.memmap(self._file, np.uint8, "r") if self._file.stat().st_size else np.empty(0, np.uint8)
        return CachedFrames(shape[0], fps, self._pixels[offset : offset + int(np.prod(shape))].reshape(shape))

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pixels": None}  # workers map the file themselves, instead of receiving it


def build(split: Split, root: Path, short_side: int | None = None, workers: int = 1) -> FrameCache:
    """The cache of a split's clips below `root`, decoded now if it is not there.

    Args:
        split: the clips; those that cannot be decoded whole end up in `skipped` of the cache.
        root: folder of all caches of the dataset.
        short_side: frames are stored with their short side at this size in pixels; None: as they are.
        workers: processes that decode.
    """
    folder = root / f"{split.name}-{_fingerprint(split.clips, short_side)}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{split.name}.lock"):
        if not (folder / "index.json").exists():
            unfinished = root / f".{folder.name}.tmp"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _fill(unfinished, split.clips, short_side, workers)
            for outdated in root.glob(f"{split.name}-*"):
                shutil.rmtree(outdated)  # whoever has it mapped keeps what is mapped
            unfinished.replace(folder)
    return FrameCache(folder)


def _fill(folder: Path, clips: Sequence[Clip], short_side: int | None, workers: int) -> None:
    index: dict[str, list] = {}
    skipped: dict[str, str] = {}
    offset = 0
    with (folder / "frames.bin").open("wb") as file:
        decoded = ordered_map(partial(_decode, short_side=short_side), clips, workers)
        for clip, result in zip(clips, decoded, strict=True):
            if isinstance(result, str):
                skipped[clip.name] = result
                continue
            pixels, fps = result
            index[clip.name] = [offset, pixels.shape, fps]
            offset += file.write(np.ascontiguousarray(pixels).data)
    write_json(folder / "index.json", {"clips": index, "skipped": skipped})


def _decode(clip: Clip, short_side: int | None) -> tuple[np.ndarray, float] | str:
    """All frames of a clip and their rate, or the reason why there are none."""
    try:
        frames = FileFrames(clip)
        pixels = frames.read(range(frames.length))
    except VideoError as error:
        return error.reason
    if short_side is not None:
        from tada.data.views import resize_short_side  # torch loads slowly, and most caches do without it

        pixels = resize_short_side(pixels, short_side).permute(0, 2, 3, 1).numpy()
    return pixels, frames.fps


def _fingerprint(clips: Sequence[Clip], short_side: int | None) -> str:
    """Changes with the clips, their files' sizes and dates, and what is stored of them."""
    states = [[file_state(clip.path), clip.name, clip.start, clip.end] for clip in clips]
    return hashlib.sha256(json.dumps([FORMAT, short_side, states]).encode()).hexdigest()[:16]
