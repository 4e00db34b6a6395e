"""Which action a proposal, or a whole video, shows (Appendix A.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from tada.data.sampling import IntervalSampling
from tada.distributed import World
from tada.localization.clips import Reading
from tada.localization.extraction import read_clips
from tada.localization.features import Features
from tada.localization.settings import ClipSettings
from tada.localization.videos import Untrimmed
from tada.progress import Progress
from tada.training import Interrupted

Scores = np.ndarray | dict[str, np.ndarray]
"""Probabilities of the classes, or of each task's classes."""


@dataclass(frozen=True)
class Proposals:
    """Proposals of a video: [P] seconds each."""

    video: Untrimmed
    starts: np.ndarray
    ends: np.ndarray


@dataclass
class Classified:
    """Scores of proposals.

    Attributes:
        scores: by video, float32 [P, classes], or a dict of them; in the order of the proposals.
        skipped: the reason for every video that could not be read.
    """

    scores: dict[str, Scores] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def classify_video(model: nn.Module, features: Features) -> Scores:
    """Class probabilities of a whole video, float32 [classes] or a dict of them: those of its mean feature (HACS).

    Args:
        model: has `head`, which maps features [N, C] to logits; used in evaluation mode.
        features: of the video.
    """
    model.eval()
    mean = torch.from_numpy(features.values.mean(0, dtype=np.float64)).float()
    with torch.inference_mode():
        logits = model.head(mean[None].to(next(model.head.parameters()).device))
    return _apply(lambda value: value.softmax(1)[0].cpu().numpy(), logits)


def proposal_times(starts: np.ndarray, ends: np.ndarray, clips: int, settings: ClipSettings) -> np.ndarray:
    """When the frames of `clips` clips of each proposal are seen, in seconds [P * clips, T].

    They are spread over a proposal as test clips are over a video (tada.data.sampling.IntervalSampling): the first
    begins with it, and in one that is shorter than a clip the last frame is repeated.
    """
    rate = settings.target_fps
    sampling = IntervalSampling(settings.frames, settings.interval, rate)
    first = np.rint(np.maximum(starts, 0) * rate).astype(np.int64)
    lengths = np.maximum(np.rint(ends * rate).astype(np.int64) - first, 1)
    places = [sampling.test(int(length), rate, clip, clips) for length in lengths for clip in range(clips)]
    return (np.repeat(first, clips)[:, None] + np.stack(places)) / rate


def classify_proposals(
    model: nn.Module,
    proposals: Sequence[Proposals],
    settings: ClipSettings,
    *,
    clips: int,
    progress: Progress,
    world: World | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Classified:
    """Class probabilities of proposals, the mean over `clips` clips of each; a video is decoded once for all of them.

    As for dense features, the whole picture is looked at. What a clip shows of a proposal beyond the end of its video
    is the last frame.

    Args:
        model: maps [N, 3, T, H, W] to logits; used in evaluation mode.
        proposals: of different videos; of each at least one.
        settings: which clips; `stride` plays no part.
        clips: of each proposal; EPIC-KITCHENS-100: 6.
        progress: told about every video.
        world: this process's place among those that share the videos.
        stop: asked after every batch.

    Returns:
        what was found; in other processes than the first, of this process's share.

    Raises:
        Interrupted: `stop` said so, in whichever process.
    """
    world = world or World.single()
    model.to(world.device).eval()
    share = proposals[world.rank :: world.size]
    readings = [
        Reading(of.video.path, of.video.fps, proposal_times(of.starts, of.ends, clips, settings)) for of in share
    ]
    progress.start(total=len(share), unit="video", phase="classifying proposals")
    result, sums, stopping, done = Classified(), {}, False, 0
    with torch.inference_mode():
        for batch in read_clips(readings, settings):
            name, count = share[batch.video].video.name, len(share[batch.video].starts)
            if len(batch.indices):
                logits = model(batch.clips(world.device))
                which = (batch.indices // clips).to(world.device)
                for task, value in (logits if isinstance(logits, dict) else {"": logits}).items():
                    total = sums.setdefault((name, task), value.new_zeros((count, value.shape[1]), dtype=torch.float64))
                    total.index_add_(0, which, value.double().softmax(1))
            if batch.last:
                found = {task: (sums.pop(key) / clips) for key in list(sums) if key[0] == name for task in [key[1]]}
                if batch.fault and batch.ended is None:
                    result.skipped[name] = batch.fault
                else:
                    arrays = {task: value.float().cpu().numpy() for task, value in found.items()}
                    result.scores[name] = arrays.get("", arrays)
                done += 1
                progress.step(done)
            if stopping := stop() and done < len(share):
                break
    if world.any(stopping)[0]:
        raise Interrupted(f"classifying proposals stopped after {done} of {len(share)} videos")
    for part in (world.gather(result) or [])[1:]:
        result.scores |= part.scores
        result.skipped |= part.skipped
    return result


def _apply(function: Callable[[Tensor], np.ndarray], value: Tensor | dict[str, Tensor]) -> Scores:
    return {task: function(of) for task, of in value.items()} if isinstance(value, dict) else function(value)
