"""Proposals get classes, and become detections (Appendix A.2).

Classes come from a classification network: from its logits of the video's clips, which are read all along each
proposal; from clips of each proposal that it sees anew; or from the mean feature of the whole video. Where there are
features alone, softmax regression on the mean features of segments stands in for it.

A detection's score is the product of its proposal's score and its class's probability.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional as F

from tada.base.devices import ProcessGroup
from tada.base.processes import Interrupted
from tada.base.progress import Progress
from tada.data.clips import Label
from tada.data.views import IntervalSampling
from tada.localization.clips import ClipRequest, computed
from tada.localization.features import Features
from tada.localization.videos import Untrimmed
from tada.localization.windows import windows_of
from tada.metrics.average_precision import Floats
from tada.models.bmn import sampling_weights
from tada.runs.localization_settings import BmnSettings, ClipSettings, ProposalClasses

Scores = np.ndarray | dict[str, np.ndarray]
"""Probabilities of the classes, or of each task's classes."""


@dataclass(frozen=True)
class VideoProposals:
    """Proposals of a video, best first: [P] starts and ends in seconds, and scores."""

    video: Untrimmed
    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray


@dataclass
class Classified:
    """Scores of proposals.

    Attributes:
        scores: by video, float32 [P, classes], or a dict of them; in the order of the proposals.
        skipped: the reason for every video that could not be read.
    """

    scores: dict[str, Scores] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def probabilities(classifier: nn.Module, features: npt.NDArray[np.float32]) -> Scores:
    """Class probabilities of features [P, C], float32 [P, classes], or a dict of them.

    Args:
        classifier: the head of a network, or a `LinearClassifier`: maps [P, C] to logits; used in evaluation mode.
        features: one vector for each video or proposal.
    """
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        logits = classifier.eval()(torch.from_numpy(features).to(device))
    if isinstance(logits, dict):
        return {task: value.softmax(1).cpu().numpy() for task, value in logits.items()}
    return logits.softmax(1).cpu().numpy()


def classify_video(classifier: nn.Module, features: Features) -> Scores:
    """Class probabilities of a whole video, float32 [classes] or a dict of them: those of its mean feature (HACS).

    Args:
        classifier: as `probabilities` takes it.
        features: of the video.
    """
    mean = features.values.mean(0, keepdims=True, dtype=np.float64).astype(np.float32)
    scores = probabilities(classifier, mean)
    return {task: of_task[0] for task, of_task in scores.items()} if isinstance(scores, dict) else scores[0]


def logits_of(classifier: nn.Module, features: Features) -> Features:
    """The logits of a video's clips in place of their features: float32 [n, classes], those of several tasks in a row.

    Args:
        classifier: as `probabilities` takes it.
        features: of the video.
    """
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        logits = classifier.eval()(torch.from_numpy(np.array(features.values)).to(device))
    values = torch.cat(list(logits.values()), 1) if isinstance(logits, dict) else logits
    return Features(values.cpu().numpy(), features.times)


def dense_probabilities(
    proposals: VideoProposals,
    logits: Features,
    classes: int | Mapping[str, int],
    how: ProposalClasses,
    bmn: BmnSettings,
    spacing: float,
    crops: int = 1,
) -> Scores:
    """Class probabilities of a video's proposals by the logits of its clips, float32 [P, classes], or a dict of them.

    As the authors' test does it: logits are resampled to the cells of BMN's windows. From a proposal's first to its
    last cell they are read at `how.clips * how.points` evenly spread points, by linear interpolation, and the mean of
    `how.points` neighbours makes a bin. Probabilities are the mean over bins and crops of the softmax, and over the
    windows that hold the proposal.

    Args:
        proposals: of the video, which start and end where cells do, or end with the video.
        logits: of its clips, [n, crops x classes] of the first task, crop after crop, then of the next.
        classes: how many there are, of each task.
        how: bins and points.
        bmn: the windows.
        spacing: seconds from a clip to the next.
        crops: parts of the picture that were looked at, each with its own logits.

    Raises:
        TadaError: logits that are not the video's or not finite.
    """
    tasks = classes if isinstance(classes, Mapping) else {"": classes}
    windows = windows_of(proposals.video, logits, replace(bmn, unit_features=False), spacing)
    cell = windows[0].cell
    first = np.rint(proposals.starts / cell).astype(int)
    lasting = np.ceil(proposals.ends / cell - 1e-6).astype(int) - first
    weights = sampling_weights(bmn.temporal, bmn.durations, how.clips, how.points, boundary_ratio=0.0)
    sums = {task: np.zeros((len(first), count)) for task, count in tasks.items()}
    held = np.zeros(len(first))
    for window in windows:
        begin = first - window.first
        (inside,) = np.nonzero((begin >= 0) & (begin + lasting <= bmn.temporal))
        rows = weights[(lasting[inside] - 1) * bmn.temporal + begin[inside]]
        read = rows.reshape(len(inside) * how.clips, bmn.temporal) @ window.features.T.astype(np.float64)
        offset = 0
        for task, count in tasks.items():
            values = read[:, offset : offset + crops * count].reshape(len(inside), how.clips, crops, count)
            offset += crops * count
            sums[task][inside] += softmax(values, axis=-1).mean((1, 2))
        held[inside] += 1
    means = {task: (total / held[:, None]).astype(np.float32) for task, total in sums.items()}
    return means.get("", means)


def proposal_times(starts: np.ndarray, ends: np.ndarray, clips: int, settings: ClipSettings) -> np.ndarray:
    """When the frames of `clips` clips of each proposal are seen, in seconds [P * clips, T].

    They are spread over a proposal as test clips are over a video (tada.data.views.IntervalSampling): the first
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
    proposals: Sequence[VideoProposals],
    settings: ClipSettings,
    *,
    clips: int,
    progress: Progress,
    group: ProcessGroup | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Classified:
    """Class probabilities of proposals, the mean over `clips` clips of each; a video is decoded once for all of them.

    As for dense features, the network sees the whole picture. Beyond the end of a video, clips repeat its last frame.

    Args:
        model: maps [N, 3, T, H, W] to logits; used in evaluation mode.
        proposals: of different videos; of each at least one.
        settings: which clips; `stride` plays no part.
        clips: of each proposal; EPIC-KITCHENS-100: 6.
        progress: receives every video.
        group: this process's place among those that share the videos.
        stop: asked after every batch.

    Returns:
        the scores; in other processes than the main one, those of this process's share.

    Raises:
        Interrupted: `stop` said so, in whichever process.
    """
    group = group or ProcessGroup.single()
    group.place(model.eval())
    share = proposals[group.rank :: group.size]
    requests = [
        ClipRequest(of.video.path, of.video.fps, proposal_times(of.starts, of.ends, clips, settings)) for of in share
    ]
    progress.start(total=len(share), unit="video", phase="classifying proposals")
    result, stopping, done = Classified(), False, 0
    sums: dict[str, dict[str, Tensor]] = {}  # by video and task
    with torch.inference_mode():
        for batch, logits in computed(model, requests, settings, group):
            name, count = share[batch.video].video.name, len(share[batch.video].starts)
            which = (batch.indices // clips).to(group.device)
            for task, value in logits.items():
                zeros = value.new_zeros((count, value.shape[1]), dtype=torch.float64)
                total = sums.setdefault(name, {}).setdefault(task, zeros)
                total.index_add_(0, which, value.double().softmax(1))
            if batch.last:
                means = {task: (total / clips).float().cpu().numpy() for task, total in sums.pop(name, {}).items()}
                if batch.fault and batch.ended is None:
                    result.skipped[name] = batch.fault
                else:
                    result.scores[name] = means.get("", means)
                done += 1
                progress.step(done)
            if stopping := stop() and done < len(share):
                break
    if group.any(stopping)[0]:
        raise Interrupted(f"classifying proposals stopped after {done} of {len(share)} videos")
    for part in (group.gather(result) or [])[1:]:
        result.scores |= part.scores
        result.skipped |= part.skipped
    return result


PENALTY = 1e-3
"""Factor of half the squared weights, beside the mean loss of a segment; features have a variance of 1."""


ITERATIONS = 200
"""Most steps of L-BFGS."""


class LinearClassifier(nn.Module):
    """Standardises features [N, C] and maps them to logits [N, classes], or a dict of them."""

    mean: Tensor
    spread: Tensor

    def __init__(self, mean: Tensor, spread: Tensor, classes: int | Mapping[str, int]) -> None:
        """`mean` and `spread` [C] of each channel; weights begin with zeros, since where they end is the same."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        sizes = classes if isinstance(classes, Mapping) else {"": classes}
        self.names = list(sizes)
        self.linear = nn.ModuleList(nn.Linear(len(mean), size) for size in sizes.values())
        for parameter in self.linear.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits of features [N, C]."""
        features = (features - self.mean) / self.spread
        logits = {name: linear(features) for name, linear in zip(self.names, self.linear, strict=True)}
        return logits.get("", logits)


def mean_features(features: Features, starts: Floats, ends: Floats) -> npt.NDArray[np.float32]:
    """The mean over the clips whose centres lie in each segment (seconds, [P]), [P, C]; if none does, the nearest's."""
    times = np.asarray(features.times)
    first, last = np.searchsorted(times, starts, "left"), np.searchsorted(times, ends, "right")
    nearest = np.searchsorted((times[1:] + times[:-1]) / 2, (np.asarray(starts) + np.asarray(ends)) / 2)
    empty = last <= first
    first, last = np.where(empty, nearest, first), np.where(empty, nearest + 1, last)
    means = [features.values[since:until].mean(0, dtype=np.float64) for since, until in zip(first, last, strict=True)]
    return np.array(means, np.float32).reshape(len(first), features.values.shape[1])


def fit_linear(
    features: npt.NDArray[np.float32],
    labels: Sequence[Label],
    classes: int | Mapping[str, int],
    device: torch.device | None = None,
) -> LinearClassifier:
    """The classifier with the least cross entropy (the sum over tasks) and penalty: a convex problem, without chance.

    Args:
        features: [n, C], of training segments; finite.
        labels: [n], classes, or a class for each task.
        classes: how many there are, of each task.
        device: where to compute; the CPU if None.
    """
    inputs = torch.from_numpy(features).to(device)
    model = LinearClassifier(inputs.mean(0), inputs.std(0, correction=0).clamp_min(1e-6), classes).to(device)
    targets = {
        name: torch.tensor([label[name] if isinstance(label, Mapping) else label for label in labels], device=device)
        for name in model.names
    }
    weights = [parameter for parameter in model.linear.parameters() if parameter.ndim > 1]
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = model(inputs)
        of_task = logits if isinstance(logits, dict) else {"": logits}
        losses = [F.cross_entropy(of_task[name], target) for name, target in targets.items()]
        penalties = [weight.square().sum() for weight in weights]
        value = torch.stack(losses).sum() + 0.5 * PENALTY * torch.stack(penalties).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return model.eval()


def fuse_video(
    video: str, starts: Floats, ends: Floats, scores: Floats, probabilities: npt.NDArray[np.floating], top: int = 1
) -> pd.DataFrame:
    """Every proposal with the classes of its whole video, as for HACS; score = proposal x class.

    Args:
        video: name of the video.
        starts: [n], seconds.
        ends: [n], seconds.
        scores: [n], of the proposals.
        probabilities: [classes], of the video. Among equal ones the lower class ranks first.
        top: classes per video; capped at the number there are.

    Returns:
        Columns video, label (class), start, end, score; a row per proposal and class, the proposals in their order.

    Raises:
        ValueError: shapes that do not fit, or a number that is not finite.
    """
    of_classes = np.asarray(probabilities, np.float64)
    starts, ends, scores = _checked(starts, ends, scores, of_classes)
    if of_classes.ndim != 1:
        raise ValueError(f"probabilities {of_classes.shape} must be [classes]")
    best = _highest(of_classes[None], top)[0]
    each = np.repeat(np.arange(len(starts)), len(best))
    label = np.tile(best, len(starts))
    score = scores[each] * of_classes[label]
    return pd.DataFrame({"video": video, "label": label, "start": starts[each], "end": ends[each], "score": score})


def fuse_actions(
    video: str,
    starts: Floats,
    ends: Floats,
    scores: Floats,
    verbs: npt.NDArray[np.floating],
    nouns: npt.NDArray[np.floating],
    *,
    top_verbs: int = 10,
    top_nouns: int = 30,
    top: int = 5,
) -> pd.DataFrame:
    """Every proposal with its most probable pairs of a verb and a noun, as for EPIC-KITCHENS-100.

    Of the pairs of its `top_verbs` verbs and `top_nouns` nouns the `top` most probable remain; score = proposal x verb
    x noun. Among equal ones the pair of the better ranked verb, then noun, is first; of equal verbs the lower class.

    Args:
        video: name of the video.
        starts: [n], seconds.
        ends: [n], seconds.
        scores: [n], of the proposals.
        verbs: [n, verb classes], probabilities.
        nouns: [n, noun classes], probabilities.
        top_verbs: verbs that are paired; capped at the number there are, as the others.
        top_nouns: nouns that are paired.
        top: pairs per proposal.

    Returns:
        Columns video, verb, noun, start, end, score; a row per proposal and pair, the proposals in their order.

    Raises:
        ValueError: shapes that do not fit, or a number that is not finite.
    """
    of_verbs, of_nouns = np.asarray(verbs, np.float64), np.asarray(nouns, np.float64)
    starts, ends, scores = _checked(starts, ends, scores, of_verbs, of_nouns)
    if of_verbs.ndim != 2 or of_nouns.ndim != 2 or not len(of_verbs) == len(of_nouns) == len(starts):
        raise ValueError(f"verbs {of_verbs.shape} and nouns {of_nouns.shape} must be [{len(starts)}, classes]")
    verb, noun = _highest(of_verbs, top_verbs), _highest(of_nouns, top_nouns)
    verb_value, noun_value = np.take_along_axis(of_verbs, verb, 1), np.take_along_axis(of_nouns, noun, 1)
    pairs = (verb_value[:, :, None] * noun_value[:, None, :]).reshape(len(starts), verb.shape[1] * noun.shape[1])
    best = _highest(pairs, top)
    each = np.repeat(np.arange(len(starts)), best.shape[1])
    score = (scores[:, None] * np.take_along_axis(pairs, best, 1)).ravel()
    width = noun.shape[1]
    return pd.DataFrame({
        "video": video,
        "verb": np.take_along_axis(verb, best // width, 1).ravel(),
        "noun": np.take_along_axis(noun, best % width, 1).ravel(),
        "start": starts[each],
        "end": ends[each],
        "score": score,
    })  # fmt: skip


def _highest(values: Floats, number: int) -> npt.NDArray[np.int64]:
    """The places of each row's highest values, the highest first, of equal ones the first."""
    return np.argsort(-values, axis=1, kind="stable")[:, :number]


def _checked(starts: Floats, ends: Floats, scores: Floats, *others: Floats) -> tuple[Floats, Floats, Floats]:
    starts, ends, scores = (np.asarray(values, np.float64) for values in (starts, ends, scores))
    if not starts.shape == ends.shape == scores.shape == (starts.size,):
        raise ValueError(f"starts {starts.shape}, ends {ends.shape} and scores {scores.shape} do not fit: all [n]")
    if not all(np.isfinite(values).all() for values in (starts, ends, scores, *others)):
        raise ValueError("proposals and probabilities must be finite numbers")
    return starts, ends, scores
