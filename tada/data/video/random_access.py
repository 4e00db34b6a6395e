"""Frames of video files: with tada.data.video.timeline the only module that knows which library decodes.

A file is scanned once with PyAV: its frames in order of presentation, their times, and whether it ends before its
container says. decord then decodes, where it is installed and the file is of the plain kind that it gets right. PyAV
decodes all else and has the last word on every file that decord fails on. Both give the same pixels.

decord is not asked about every file because it repeats a neighbouring frame, silently, for one that it cannot decode;
because it may never return where the container counts more frames than there are; because it fails on some narrow
videos (48 or 72 pixels wide); and because it reads a file to its end before it gives the first frame.

Where the frames of a clip come from: its video file, or a cache (tada.data.video.cache) with the same two answers.
"""

import importlib.util
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from av.video.reformatter import VideoReformatter

from tada.data.clips import Clip
from tada.data.video.images import FrameFolder
from tada.data.video.timeline import Timeline, VideoError, VideoInfo, opened, part_of, scan, scan_part

DECORD_SECONDS = 60.0
"""After so long decord will not return any more; PyAV does the rest of this process's work."""


def probe(path: Path | str) -> VideoInfo:
    """What a file holds, by its packets; decodes nothing. Raises VideoError as `Video` does."""
    return Video(path).info


def read_frames(path: Path | str, indices: Sequence[int]) -> np.ndarray:
    """Frames of a file, uint8 RGB [n, H, W, 3]. Raises VideoError as `Video` and `Video.read` do."""
    return Video(path).read(indices)


class Video:
    """A video file, or the part of it from `start` to `end` (seconds; None: its beginning, its end).

    It is scanned on construction, of a long file as much as the part needs; no file stays open.

    Raises:
        VideoError: the file is missing or empty, is no video, ends before its container says, or before `start`.
    """

    def __init__(self, path: Path | str, start: float | None = None, end: float | None = None) -> None:
        self.path = Path(path)
        if start is None and end is None:
            self.info, self._timeline = scan(self.path)
            return
        part = scan_part(self.path, start or 0.0, end)
        if part is None:
            whole = scan(self.path)
            part = part_of(whole, start or 0.0, end)
            if part[0].frames == 0:
                raise VideoError(self.path, f"ends at {whole[0].duration:.2f} s, before {start:.2f} s")
        self.info, self._timeline = part

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames by their place in order of presentation, uint8 RGB [n, H, W, 3]; a part counts from its first frame.

        Each frame is decoded once, however often and in whatever order it is asked for.

        Raises:
            VideoError: the file has fewer frames than asked for, or one of them cannot be decoded.
        """
        wanted, order = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        if wanted[0] < 0 or wanted[-1] >= self.info.frames:
            raise VideoError(self.path, f"frame {wanted[-1]} was asked for, and it has {self.info.frames} frames")
        wanted = wanted + self._timeline.first
        frames = _decord_frames(self.path, wanted, len(self._timeline.times)) if self._timeline.plain else None
        if frames is None:
            frames = _pyav_frames(self.path, wanted, self._timeline)
        return frames if len(wanted) == len(order) and (order[1:] > order[:-1]).all() else frames[order]


def check(path: Path | str) -> VideoInfo:
    """What a file holds, after every frame of it has been decoded, one at a time.

    Raises:
        VideoError: as `Video` does, or because a frame cannot be decoded, or only in part.
    """
    path = Path(path)
    info, timeline = scan(path)
    missing = set(timeline.times.tolist())
    with opened(path) as (container, stream):
        for count, frame in enumerate(container.decode(stream)):
            time = frame.pts if timeline.exact else count
            if frame.is_corrupt:
                raise VideoError(path, f"damaged at {frame.time or count / info.fps:.2f} s")
            missing.discard(time)
    if missing:
        lost = int(np.searchsorted(timeline.times, min(missing)))
        raise VideoError(path, f"frame {lost} of {info.frames} cannot be decoded")
    return info


Run = tuple[int | None, np.ndarray]
"""Frames that are decoded in one go, and the keyframe where that starts; None: at the beginning of the file."""


def _pyav_frames(path: Path, wanted: np.ndarray, timeline: Timeline) -> np.ndarray:
    """Sorted frames, found by their times, so that none that is missing is taken for its neighbour."""
    runs = _runs(wanted, timeline)
    frames = _decode_runs(path, runs, timeline)
    if len(frames) < len(wanted) and any(start is not None for start, _ in runs):
        # The file's own list of keyframes may be wrong; decoding from the start depends on nothing.
        frames = _decode_runs(path, [(None, wanted)], timeline)
    if len(frames) < len(wanted):
        lost = next(int(index) for index in wanted if int(index) not in frames)
        raise VideoError(path, f"frame {lost} of {len(timeline.times)} cannot be decoded")
    return np.stack([frames[int(index)] for index in wanted])


def _runs(wanted: np.ndarray, timeline: Timeline) -> list[Run]:
    if not timeline.exact or not timeline.keys.size:
        return [(None, wanted)]
    keys = timeline.keys[np.searchsorted(timeline.keys, wanted, side="right").clip(1) - 1]
    starts = [0, *(np.flatnonzero(keys[1:] > wanted[:-1] + 1) + 1)]  # seek where that skips a frame at least
    return [
        (None if timeline.whole and keys[start] == 0 else int(keys[start]), run)
        for start, run in zip(starts, np.split(wanted, starts[1:]), strict=True)
    ]


def _decode_runs(path: Path, runs: list[Run], timeline: Timeline) -> dict[int, np.ndarray]:
    """Frames by index, those that the decoder gives."""
    convert = VideoReformatter().reformat  # one for all frames: setting it up costs more than a conversion
    frames: dict[int, np.ndarray] = {}
    with opened(path) as (container, stream):
        for start, run in runs:
            if start is not None:
                container.seek(int(timeline.times[start]), stream=stream)
            times = timeline.times[run] if timeline.exact else run
            missing = dict(zip(times.tolist(), run.tolist(), strict=True))
            for count, frame in enumerate(container.decode(stream)):
                time = frame.pts if timeline.exact else count
                if time in missing:
                    frames[missing.pop(time)] = convert(frame, format="rgb24").to_ndarray()
                if not missing or (time is not None and time >= times[-1]):
                    break
    return frames


@cache
def _decord() -> ModuleType | None:
    if importlib.util.find_spec("decord") is None:
        return None  # no wheel for this platform, e.g. Apple silicon
    import decord

    decord.logging.set_level(decord.logging.QUIET)  # PyAV tells what is wrong, once
    return decord


_decord_hangs = threading.Event()


def _decord_frames(path: Path, wanted: np.ndarray, frames: int) -> np.ndarray | None:
    """Sorted frames as decord decodes them; None where it fails or does not agree that there are `frames`."""
    decord = _decord()
    if decord is None or _decord_hangs.is_set():
        return None
    result: list[np.ndarray] = []

    def decode() -> None:
        try:
            # Below one frame of tolerance, so that a frame repeated in place of a broken one is an error.
            reader = decord.VideoReader(str(path), num_threads=1, fault_tol=0.5 / frames)
            if len(reader) == frames:
                result.append(reader.get_batch(wanted).asnumpy())
        except Exception:  # decord's own errors derive from nothing narrower
            pass

    # The library releases the interpreter's lock but cannot be interrupted, so it is waited for from outside.
    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    thread.join(DECORD_SECONDS)
    if thread.is_alive():
        _decord_hangs.set()
    return result[0] if result else None


class Frames(Protocol):
    """The frames of one clip: how many, at which rate (frames per second), and those asked for."""

    length: int
    fps: float

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3]; an index counts from the clip's first frame. Raises VideoError."""
        ...


Source = Callable[[Clip], Frames]
"""Opens a clip's frames; raises VideoError where they cannot be used."""


class FileFrames:
    """Frames of a clip decoded from its video file, or read from its folder of images, each once per request.

    Raises:
        VideoError: the file cannot be used, or ends before the annotated part begins.
    """

    def __init__(self, clip: Clip) -> None:
        if clip.fps is None:
            self._video = Video(clip.path, clip.start, clip.end)
        else:
            self._video = FrameFolder(clip.path, clip.fps, clip.start, clip.end)
        self.length, self.fps = self._video.info.frames, self._video.info.fps

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3]; an index counts from the clip's first frame. Raises VideoError."""
        return self._video.read(indices)
