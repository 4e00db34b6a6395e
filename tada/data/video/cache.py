"""Frames of a split decoded once into one memory-mapped file, for the runs of a small dataset to share.

A folder of its own for every state of the split's files, so that a changed file is never answered from an old cache.
The folder appears under its name when it is whole; whoever comes while it is being filled waits.

Damage is found by checksums. One of the whole index is compared when a cache is opened, and the cache is made anew if
it differs. Each clip has its own, compared by each process when it first reads the clip; a clip that differs is decoded
from its video and mended in the file.
"""

import os
import shutil
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from filelock import FileLock

from tada.base import TadaError
from tada.base.files import json_sha256, on_disk, read_json, write_json
from tada.base.processes import ordered_map
from tada.data.clips import Clip, Split
from tada.data.video.random_access import FileFrames
from tada.data.video.timeline import VideoError, file_state

FORMAT = 3
"""Part of a cache's name; raised whenever what is stored for the same files changes."""


class DamagedCache(TadaError):
    """A cache that is not as it was written."""


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

    Raises:
        DamagedCache: the index or the size of the file of frames is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        index = _read_index(folder)
        self.skipped: dict[str, str] = index["skipped"]
        self._clips: dict[str, list] = index["clips"]
        self._short_side: int | None = index["short_side"]
        self._file = folder / "frames.bin"
        self._pixels: np.ndarray | None = None
        self._checked: set[str] = set()
        self._damaged = False

    def __call__(self, clip: Clip) -> CachedFrames:
        """The clip's frames; raises VideoError if it could not be decoded."""
        if clip.name in self.skipped:
            raise VideoError(clip.path, self.skipped[clip.name])
        offset, shape, fps, checksum = self._clips[clip.name]
        stored = self._mapped()[offset : offset + int(np.prod(shape))]
        if clip.name not in self._checked:
            if zlib.crc32(stored.data) != checksum:
                return self._mend(clip)
            self._checked.add(clip.name)
        return CachedFrames(shape[0], fps, stored.reshape(shape))

    def __getstate__(self) -> dict:
        # Workers map the file themselves, instead of receiving it.
        return {**self.__dict__, "_pixels": None, "_checked": set()}

    def _mapped(self) -> np.ndarray:
        """All bytes, mapped by the process that reads, be it the one that opened the cache or a worker."""
        if self._pixels is None:
            self._pixels = np.memmap(self._file, np.uint8, "r") if self._file.stat().st_size else np.empty(0, np.uint8)
        return self._pixels

    def _mend(self, clip: Clip) -> CachedFrames:
        """The clip decoded from its video, and put where it belongs in the file."""
        if not self._damaged:
            self._damaged = True
            print(f"{self._file}: damaged at {clip.name}; such clips are decoded again", file=sys.stderr, flush=True)
        decoded = _decode(clip, self._short_side)
        if isinstance(decoded, str):
            raise VideoError(clip.path, decoded)
        pixels, fps = decoded
        offset, _, _, checksum = self._clips[clip.name]
        try:
            if zlib.crc32((content := np.ascontiguousarray(pixels)).data) == checksum:
                with self._file.open("r+b") as file:
                    file.seek(offset)
                    file.write(content.data)
        except OSError:  # a folder that is only read from: it is mended in memory, each time
            pass
        return CachedFrames(len(pixels), fps, pixels)


def place(root: Path, elsewhere: Path) -> Path:
    """The folder of a dataset's caches: in its own, where others find it, too, or `elsewhere` if that is read-only."""
    own = root / ".cache"
    try:
        own.mkdir(exist_ok=True)
        with TemporaryFile(dir=own):
            return own
    except OSError:
        return elsewhere


def build(
    split: Split,
    root: Path,
    short_side: int | None = None,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> FrameCache:
    """The cache of a split's clips below `root`, decoded now if it is not there, or damaged.

    Args:
        split: the clips; those that cannot be decoded whole end up in `skipped` of the cache.
        root: folder of all caches of the dataset.
        short_side: frames are stored with their short side at this size in pixels; None: as they are.
        workers: processes that decode.
        say: receives a line where a damaged cache is made anew.
    """
    folder = root / f"{split.name}-{_fingerprint(split.clips, short_side)}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{split.name}.lock"):
        if folder.exists():
            try:
                return FrameCache(folder)
            except DamagedCache as error:
                say(f"{error}; the videos are decoded again")
        unfinished = root / f".{folder.name}.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            with on_disk(unfinished):
                unfinished.mkdir()
                _fill(unfinished, split.clips, short_side, workers)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)  # it may be what fills the disk
            raise
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
            content = np.ascontiguousarray(pixels)
            index[clip.name] = [offset, pixels.shape, fps, zlib.crc32(content.data)]
            offset += file.write(content.data)
        file.flush()
        os.fsync(file.fileno())  # otherwise a crash may leave the folder's name with empty content
    content_of_index = {"clips": index, "skipped": skipped, "short_side": short_side, "bytes": offset}
    write_json(folder / "index.json", content_of_index | {"checksum": json_sha256(content_of_index)})


def _read_index(folder: Path) -> dict[str, Any]:
    frames, file = folder / "frames.bin", folder / "index.json"
    try:
        index = read_json(file)
        if index.pop("checksum") != json_sha256(index):
            raise DamagedCache(f"{file}: changed since it was written")
    except FileNotFoundError:
        raise DamagedCache(f"{file}: missing") from None
    except (ValueError, AttributeError, TypeError, KeyError):
        raise DamagedCache(f"{file}: not the index of a cache") from None
    size = frames.stat().st_size if frames.exists() else None
    if size != index["bytes"]:
        found = "missing" if size is None else f"{size} bytes instead of {index['bytes']}"
        raise DamagedCache(f"{frames}: {found}")
    return index


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
    states = [[file_state(clip.path, clip.fps), clip.name, clip.start, clip.end] for clip in clips]
    return json_sha256([FORMAT, short_side, states])[:16]
