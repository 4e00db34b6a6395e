"""Many clips of an untrimmed video, which is decoded once for all of them and never held in memory as a whole."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tada.base.compilation import repeated_to
from tada.base.devices import ProcessGroup
from tada.base.processes import watched
from tada.data.video.sequential import SequentialReader
from tada.data.video.timeline import VideoError
from tada.data.views import normalise, resize_short_side
from tada.runs.localization_settings import ClipSettings

_CHUNK = 16
"""Frames that are resized together; they are what is held at full size."""


@dataclass(frozen=True)
class ClipRequest:
    """What is to be read of a video.

    Attributes:
        path: a file, or a folder of images that were taken at `fps`.
        fps: None for a file.
        times: [n, T] seconds, when the frames of the n clips are seen.
        centres: [n] seconds; clips whose centre lies behind the end of the video are left out. None: none is.
    """

    path: Path
    fps: float | None
    times: np.ndarray
    centres: np.ndarray | None = None


@dataclass(frozen=True)
class ClipBatch:
    """Some clips of a video.

    Attributes:
        video: place of the video among those that are read.
        indices: [b] int64, which of its clips these are.
        frames: uint8 [m, 3, h, w], each frame of these clips once.
        places: [b, T] int64, places of the clips' frames in `frames`.
        last: there are no more clips of this video.
        ended: with the last ones, seconds at which the video ends; None where it goes on.
        fault: with the last ones, why it could not be decoded any further, or at all; None if it could.
    """

    video: int
    indices: Tensor
    frames: Tensor
    places: Tensor
    last: bool = False
    ended: float | None = None
    fault: str | None = None

    def clips(self, device: torch.device, least: int = 0) -> Tensor:
        """The normalised clips, float32 [b, 3, T, h, w]; frames that several clips have are moved once.

        Where there are fewer than `least`, the last one is repeated, so that compiled code meets one shape.
        """
        frames = self.frames.pin_memory() if device.type == "cuda" else self.frames
        places = repeated_to(least, self.places) if len(self.places) < least else self.places
        return normalise(frames.to(device, non_blocking=True)[places.to(device)].transpose(1, 2))


class ClipBatches(torch.utils.data.IterableDataset):
    """Batches of clips, video by video; with workers of a DataLoader, each reads every so many-th video.

    Within a video, clips come in the order of their last frames. A video that cannot be read is one empty batch, with
    the reason in `fault`.

    Args:
        requests: one for each video.
        short_side: of the frames in pixels; they are resized, and nothing is cut off.
        batch: most clips of a batch.
    """

    def __init__(self, requests: Sequence[ClipRequest], short_side: int, batch: int) -> None:
        self.requests, self.short_side, self.batch = requests, short_side, batch

    def __iter__(self) -> Iterator[ClipBatch]:
        worker = torch.utils.data.get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for video in range(first, len(self.requests), step):
            try:
                yield from _Reader(self, video).batches()
            except VideoError as error:
                nothing = torch.zeros(0, dtype=torch.int64)
                yield ClipBatch(video, nothing, nothing, nothing, last=True, fault=error.reason)


def read_clips(requests: Sequence[ClipRequest], settings: ClipSettings) -> Iterator[ClipBatch]:
    """The batches of all requests, read by `settings.workers` processes at most.

    Raises:
        TadaError: one of these processes has died.
    """
    dataset = ClipBatches(requests, settings.short_side, settings.batch)
    workers = min(settings.workers, len(requests))
    return watched(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers), workers, "clips")


def computed(
    network: Callable[[Tensor], Any], requests: Sequence[ClipRequest], settings: ClipSettings, group: ProcessGroup
) -> Iterator[tuple[ClipBatch, dict[str, Tensor]]]:
    """Each batch of all requests, with what a network makes of its clips, on the device; nothing of an empty batch.

    Args:
        network: maps normalised clips [b, 3, T, h, w] to [b, ...], called "", or to a dict of such; where networks are
            compiled, a batch is filled up for it, so that a video's clips are of one shape.
        requests, settings: of `read_clips`.
        group: whose device computes.
    """
    compiled = group.compiler.compile(network, dynamic=None)  # videos differ in size
    for batch in read_clips(requests, settings):
        count = len(batch.indices)
        least = settings.batch if group.compiler.active else count
        values = compiled(batch.clips(group.device, least)) if count else {}
        tasks = values if isinstance(values, dict) else {"": values}
        yield batch, {task: value[:count] for task, value in tasks.items()}


class _Reader:
    """Reads one video: keeps the resized frames from the first that a coming clip needs to the last one decoded."""

    def __init__(self, batches: ClipBatches, video: int) -> None:
        self.video, self.batch, self.short_side = video, batches.batch, batches.short_side
        self.request = batches.requests[video]
        self.times, places = np.unique(self.request.times, return_inverse=True)
        places = places.reshape(self.request.times.shape)
        self.order = np.argsort(places[:, -1], kind="stable")
        self.places = places[self.order]
        self.needed_from = np.minimum.accumulate(self.places[::-1, 0])[::-1]  # first time of this and later clips
        self.rows = np.empty(len(self.times), np.int64)  # which frame is seen at each time
        self.frames: deque[Tensor] = deque()  # resized, from number `dropped` on
        self.dropped = 0
        self.done = 0  # clips that were handed out

    def batches(self) -> Iterator[ClipBatch]:
        reader = SequentialReader(self.request.path, self.request.fps)
        decoded: list[np.ndarray] = []
        served = row = 0
        for count, frame in reader.frames(self.times):
            if decoded and frame.shape != decoded[0].shape:
                raise VideoError(self.request.path, "its frames differ in size")
            decoded.append(frame)
            self.rows[served : served + count] = row
            served, row = served + count, row + 1
            if len(decoded) == _CHUNK:
                self._resize(decoded)
                ready = int(np.searchsorted(self.places[:, -1], served))
                while ready - self.done > self.batch:  # one clip at least is left for the last batch
                    yield self._next(self.done + self.batch)
        self._resize(decoded)
        behind = len(self.order)
        if self.request.centres is not None and reader.ended is not None:
            self._restrict(self.request.centres[self.order] < reader.ended)
            behind = len(self.order)
        while behind - self.done > self.batch:
            yield self._next(self.done + self.batch)
        last = self._next(behind)
        yield ClipBatch(self.video, last.indices, last.frames, last.places, True, reader.ended, reader.fault)

    def _restrict(self, wanted: np.ndarray) -> None:
        """Leave out the clips that are not `wanted`, of those that were not handed out yet."""
        wanted[: self.done] = True
        self.order, self.places, self.needed_from = self.order[wanted], self.places[wanted], self.needed_from[wanted]

    def _resize(self, decoded: list[np.ndarray]) -> None:
        if decoded:
            self.frames.extend(resize_short_side(np.stack(decoded), self.short_side))
            if len({frame.shape for frame in self.frames}) > 1:
                raise VideoError(self.request.path, "its frames differ in size")
            decoded.clear()

    def _next(self, behind: int) -> ClipBatch:
        """The clips up to, not including, place `behind` in the order; frames before them are dropped."""
        if self.done < len(self.order):
            first = int(self.rows[self.needed_from[self.done]])
            for _ in range(first - self.dropped):
                self.frames.popleft()
            self.dropped = max(first, self.dropped)
        rows = self.rows[self.places[self.done : behind]]
        needed, places = np.unique(rows, return_inverse=True)
        frames = [self.frames[row - self.dropped] for row in needed]
        shape = self.frames[0].shape if self.frames else (3, 0, 0)
        batch = ClipBatch(
            self.video,
            torch.from_numpy(self.order[self.done : behind]),
            torch.stack(frames) if frames else torch.zeros((0, *shape), dtype=torch.uint8),
            torch.from_numpy(places.reshape(rows.shape)),
        )
        self.done = behind
        return batch
