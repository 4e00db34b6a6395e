"""Dense features of untrimmed videos (Appendix A.2): each video decoded once, and done once."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tada.base.devices import ProcessGroup
from tada.base.processes import Interrupted
from tada.base.progress import Progress
from tada.data.video.timeline import file_state
from tada.localization.clips import ClipBatch, ClipBatches, ClipRequest
from tada.localization.features import Features, FeatureStamp, read_stamp, save_features
from tada.localization.videos import Untrimmed
from tada.runs.settings import ClipSettings

SHORT = 1.0
"""Seconds that a video may end before its annotation says without being noted."""


@dataclass
class Extraction:
    """What became of the videos.

    Attributes:
        videos: number of those that have features.
        skipped: the reason for every one that could not be read, by name.
        short: for every one that ends before its annotation says, where it does.
    """

    videos: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)


def dense_times(duration: float, settings: ClipSettings) -> tuple[np.ndarray, np.ndarray]:
    """When the frames of dense clips are seen [n, T], and the clips' centres [n], in seconds.

    The video is divided into cells of `stride` frames, and each whose middle lies in the video has a clip around that;
    a video shorter than a cell has one around its own middle. Of a clip that reaches beyond the video, the first or
    last frame is repeated.
    """
    cell = settings.stride / settings.target_fps
    count = max(int(np.ceil(duration / cell - 0.5)), 1)
    # In half frames, where all of these are whole numbers, so that clips which share frames have equal times.
    centres = (2 * np.arange(count) + 1) * settings.stride
    if duration < cell:
        centres = np.array([duration * settings.target_fps])
    offsets = (2 * np.arange(settings.frames) - (settings.frames - 1)) * settings.interval
    times = (centres[:, None] + offsets).clip(0) / (2 * settings.target_fps)
    return times, centres / (2 * settings.target_fps)


def extract(
    model: nn.Module,
    videos: Sequence[Untrimmed],
    folder: Path,
    settings: ClipSettings,
    *,
    checkpoint: str,
    progress: Progress,
    group: ProcessGroup | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Extraction:
    """Compute the features of every video that are not yet in `folder`.

    A file belongs to a checkpoint, settings and a video's file; one of any other is written anew. Processes share the
    videos among them.

    Args:
        model: has `features`, which maps [N, 3, T, H, W] to [N, C]; used in evaluation mode.
        videos: any, with names of their own.
        folder: of one file per video (`load_features`).
        settings: which clips.
        checkpoint: SHA-256 of the weights that `model` has.
        progress: told about every video.
        group: this process's place among those that share the work.
        stop: asked after every batch; once true, `Interrupted` is raised, and the videos that are finished stay so.

    Returns:
        what became of all videos; in other processes than the first, of this process's share.

    Raises:
        Interrupted: `stop` said so, in whichever process.
    """
    group = group or ProcessGroup.single()
    model.to(group.device).eval()
    share = videos[group.rank :: group.size]
    identities = {video.name: _identity(video, settings, checkpoint) for video in share}
    notes = {video.name: read_stamp(folder, video.name) for video in share}
    finished = {name: kept for name, kept in notes.items() if kept and kept.identity == identities[name]}
    missing = [video for video in share if video.name not in finished]
    result = Extraction(len(finished), {}, {name: kept.note for name, kept in finished.items() if kept.note})
    progress.start(total=len(share), done=len(finished), unit="video", phase="extracting features")
    parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    stopping, done = False, len(finished)
    with torch.inference_mode():
        for batch in read_clips([_dense(video, settings) for video in missing], settings):
            if len(batch.indices):
                values = model.features(batch.clips(group.device)).float().cpu().numpy()
                parts.setdefault(batch.video, []).append((batch.indices.numpy(), values))
            if batch.last:
                video = missing[batch.video]
                if complete := _complete(video, parts.pop(batch.video, []), batch, settings, result):
                    features, note = complete
                    save_features(folder, video.name, features, FeatureStamp(identities[video.name], note))
                done += 1
                progress.step(done)
            if stopping := stop() and done < len(share):
                break
    if group.any(stopping)[0]:
        raise Interrupted(f"extracting features stopped after {done} of {len(share)} videos; they are saved")
    return _joined(group.gather(result), result)


def read_clips(readings: Sequence[ClipRequest], settings: ClipSettings) -> torch.utils.data.DataLoader:
    """The `ClipBatch`es of videos."""
    dataset = ClipBatches(readings, settings.short_side, settings.batch)
    return torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=min(settings.workers, len(readings)))


def _dense(video: Untrimmed, settings: ClipSettings) -> ClipRequest:
    times, centres = dense_times(video.duration, settings)
    return ClipRequest(video.path, video.fps, times, centres)


def _complete(
    video: Untrimmed,
    parts: list[tuple[np.ndarray, np.ndarray]],
    last: ClipBatch,
    settings: ClipSettings,
    result: Extraction,
) -> tuple[Features, str | None] | None:
    """A video's features and what is to be noted of it; None where it could not be read."""
    if not parts or (last.fault and last.ended is None):
        result.skipped[video.name] = last.fault or "no clip of it lies before its end"
        return None
    note = None
    if last.ended is not None and (last.fault or last.ended < video.duration - SHORT):
        note = f"ends at {last.ended:.2f} s of {video.duration:.2f} s" + (f": {last.fault}" if last.fault else "")
        result.short[video.name] = note
    result.videos += 1
    indices, values = (np.concatenate(of) for of in zip(*parts, strict=True))
    order = np.argsort(indices)
    return Features(values[order], dense_times(video.duration, settings)[1][indices[order]]), note


def _identity(video: Untrimmed, settings: ClipSettings, checkpoint: str) -> str:
    about = [checkpoint, settings.identity(), video.duration, video.fps, file_state(video.path)[:2]]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _joined(parts: Sequence[Extraction] | None, own: Extraction) -> Extraction:
    def merged(name: str) -> Mapping[str, str]:
        return {video: reason for part in parts for video, reason in getattr(part, name).items()}

    if parts is None:
        return own
    videos = sum(part.videos for part in parts)
    return replace(own, videos=videos, skipped=merged("skipped"), short=merged("short"))
