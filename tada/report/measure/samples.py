"""The test videos behind a metric, from the runs' scores.npz, so that networks can be compared video by video.

For an accuracy these are the videos that were classified correctly, for average precision each video's contribution.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tada.base import first_line
from tada.data import catalog
from tada.data.clips import IGNORED
from tada.metrics.accuracy import action_ranks, topk_hits
from tada.report.measure.results import RunResult, Unusable
from tada.report.paper.quantities import category_of

MEAN_CLASS = "mean_class"


@dataclass(frozen=True)
class Hits:
    """Videos by name, their labels [V], and for each seed whether they were got right [seeds, V].

    With `by_class` the metric is the mean over classes of the share of hits, with `category` the share among the videos
    of that class, else the share of hits. Where videos are segments of longer ones, `groups` has the longer one of each
    [V]: what is hard about it is hard in all its segments.
    """

    videos: npt.NDArray[np.str_]
    labels: npt.NDArray[np.integer]
    right: npt.NDArray[np.bool_]
    by_class: bool = False
    groups: npt.NDArray[np.str_] | None = None
    category: int | None = None

    def only(self, videos: npt.NDArray[np.str_]) -> "Hits":
        """Those of some of its videos, in their order."""
        places = _places(self.videos, videos)
        groups = None if self.groups is None else self.groups[places]
        labels, right = self.labels[places], self.right[:, places]
        return replace(self, videos=self.videos[places], labels=labels, right=right, groups=groups)

    def of_seeds(self, rows: Sequence[int]) -> "Hits":
        """Those of some of its seeds, by their rows."""
        return replace(self, right=self.right[rows])

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Contribution of each video in percent, [seeds, V]: their mean over videos is the metric."""
        return self.right * self.worth

    @property
    def worth(self) -> npt.NDArray[np.float64]:
        """What each video contributes if it is right, in percent [V]."""
        if self.category is not None:
            counted = self.labels == self.category
            return 100.0 * counted * (len(counted) / max(counted.sum(), 1))
        if not self.by_class:
            return np.full(len(self.labels), 100.0)
        _, place, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        return 100.0 * len(self.labels) / (len(counts) * counts[place])

    @property
    def most(self) -> float:
        """What a video contributes at most."""
        return float(self.worth.max())

    @property
    def by_seed(self) -> npt.NDArray[np.float64]:
        """The metric of each seed in percent."""
        return self.shares.mean(1)


@dataclass(frozen=True)
class Shares:
    """Contributions of videos to a metric that is no mean over them, in percent [seeds, V], by the jackknife.

    `by_seed` is the metric itself, from which the shares' mean differs by the jackknife's correction for bias. `most`
    is what a video contributes at most, if that is known: of an accuracy. Each counts by itself, so there are no
    `groups` as of `Hits`.
    """

    groups: ClassVar[None] = None

    videos: npt.NDArray[np.str_]
    shares: npt.NDArray[np.float64]
    by_seed: npt.NDArray[np.float64]
    most: float = 0.0

    def only(self, videos: npt.NDArray[np.str_]) -> "Shares":
        """Those of some of its videos, in their order."""
        places = _places(self.videos, videos)
        return Shares(self.videos[places], self.shares[:, places], self.by_seed, self.most)

    def of_seeds(self, rows: Sequence[int]) -> "Shares":
        """Those of some of its seeds, by their rows."""
        return replace(self, shares=self.shares[rows], by_seed=self.by_seed[rows])


Samples = Hits | Shares


def is_of_category(samples: Samples) -> bool:
    """Whether they are the videos of a single category."""
    return isinstance(samples, Hits) and samples.category is not None


def on_videos(samples: Samples, videos: npt.NDArray[np.str_]) -> Samples | None:
    """Samples on some videos; None where none of them is left.

    Of a category, they are contributions to a mean over all these videos. Those of other categories say nothing of it:
    each contributes the mean.
    """
    if not isinstance(samples, Hits) or samples.category is None:
        return samples.only(videos)
    there = samples.only(np.intersect1d(samples.videos, videos))
    if not len(there.videos):
        return None
    means = there.by_seed[:, None]
    shares = np.repeat(means, len(videos), 1)
    larger = len(videos) / len(there.videos)
    shares[:, np.isin(videos, there.videos)] += (there.shares - means) * larger
    return Shares(videos, shares, there.by_seed, 100.0 * larger)


def group_sums(by_video: npt.NDArray[np.float64], groups: npt.NDArray | None) -> npt.NDArray[np.float64]:
    """Contributions [seeds, V] summed up over groups of videos that belong together, [seeds, groups].

    They are taken around each seed's mean, so that a large group is no outlier for being large; the mean over groups
    is the mean over videos.
    """
    if groups is None:
        return by_video
    _, place = np.unique(groups, return_inverse=True)
    count = place.max() + 1
    means = by_video.mean(1, keepdims=True)
    sums = np.stack([np.bincount(place, row, count) for row in by_video - means])
    return means + sums * (count / by_video.shape[1])


def groups_of(found: Iterable[Samples]) -> npt.NDArray | None:
    """The longer videos that the videos of several samples, the same in all, are segments of; None where they are none.

    Contributions to a mean, as of a category, no longer say it themselves.
    """
    return next((samples.groups for samples in found if samples.groups is not None), None)


def summed(parts: Sequence[tuple[float, Samples]], by_seed: npt.NDArray[np.float64]) -> Shares:
    """Contributions to a sum of metrics times their weights, all of the same seeds and videos.

    Where the videos are segments, the longer ones take their place. `by_seed` is the sum of the metrics.
    """
    by_video = np.sum([weight * samples.shares for weight, samples in parts], axis=0)
    units = group_sums(by_video, groups_of(samples for _, samples in parts))
    return Shares(np.arange(units.shape[1]).astype(str), units, by_seed)


def effective_number(groups: npt.NDArray) -> float:
    """The number of groups of equal size that tell as much as these: a few long videos have most of the segments."""
    _, sizes = np.unique(groups, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def within_of(units: npt.NDArray[np.float64]) -> float:
    """Variance of one seed's mean [seeds, U] that comes from what seeds do to single units: of the residual of both."""
    seeds, count = units.shape
    if seeds < 2 or count < 2:
        return 0.0
    residual = units - units.mean(0) - units.mean(1, keepdims=True) + units.mean()
    return float((residual**2).sum() / ((seeds - 1) * (count - 1)) / count)


def within_of_samples(samples: Samples) -> float:
    """`within_of` the test videos, or the longer ones that they are segments of."""
    return within_of(group_sums(samples.shares, samples.groups))


def _places(videos: npt.NDArray[np.str_], wanted: npt.NDArray[np.str_]) -> npt.NDArray[np.intp]:
    """Where the wanted videos stand among `videos`."""
    order = np.argsort(videos)
    return order[np.searchsorted(videos, wanted, sorter=order)]


def read_samples(seeds: Sequence[Sequence[RunResult]], metric: str) -> Samples:
    """The videos behind a metric of finished runs: for each seed, the runs whose scores are summed.

    Raises:
        Unusable: no scores.npz, or one that does not hold what is needed.
    """
    return read_shares(seeds, metric) if metric.startswith("map") else read_hits(seeds, metric)


def read_shares(seeds: Sequence[Sequence[RunResult]], metric: str) -> Shares:
    """Contributions of videos to a metric of localization, e.g. "map" or "map_action@0.5".

    They are pseudo-values of the jackknife, see `tada.metrics.average_precision.jackknife`.

    Args:
        seeds: finished runs, one for each seed.
        metric: a metric of their records.

    Raises:
        Unusable: no scores.npz, or one that does not hold the metric; or the runs are of an ensemble.
    """
    found, by_seed = [], []
    for runs in seeds:
        if len(runs) != 1:
            raise Unusable("detections of several networks are not summed")
        if runs[0].packed is not None:
            names, _, values = _archived(runs, metric)
            found.append((names, values))
        else:
            with _opened(runs[0]) as file:
                names, values = file["videos"], file[f"shares_{metric}"]
                if names.ndim != 1 or values.shape != names.shape or not np.isfinite(values).all():
                    raise ValueError(f"shares {values.shape} of videos {names.shape}, or not all finite")
                order = np.argsort(names)
                found.append((names[order], values[order]))
        by_seed.append(float(runs[0].record.metrics[metric]))
    videos = reduce(np.intersect1d, [names for names, _ in found])
    shares = [values[np.searchsorted(names, videos)] for names, values in found]
    return Shares(videos, np.stack(shares), np.array(by_seed))


def read_hits(seeds: Sequence[Sequence[RunResult]], metric: str) -> Hits:
    """Hits of runs: for each seed, the runs whose scores are summed (one, but for ensembles).

    Args:
        seeds: finished runs.
        metric: "top1", "top5", "top1_verb", "top1_action", "top1_action_joint", ..., "mean_class", or "class_0".

    Raises:
        Unusable: no scores.npz, or one that does not hold the metric's scores, or no video of the class.
    """
    category = category_of(metric)
    parts = [_of_seed(runs, metric if category is None else "top1") for runs in seeds]
    videos = reduce(np.intersect1d, [videos for videos, _, _ in parts])
    aligned = [Hits(v, labels, right[None]).only(videos) for v, labels, right in parts]
    right = np.concatenate([one.right for one in aligned])
    labels = aligned[0].labels
    if category is not None and category not in labels:
        raise Unusable(f"no tested video is of class {category}")
    data = catalog.find(seeds[0][0].run.recipe.videos)
    groups = np.array([data.video_of(name) for name in videos.tolist()]) if data.localization else None
    hits = Hits(videos, labels, right, metric.startswith(MEAN_CLASS), groups, category)
    return hits if category is None else hits.only(videos[labels == category])  # the others are no part of the sample


def _of_seed(runs: Sequence[RunResult], metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Videos in order of their names, labels and hits of one seed; videos that could not be decoded are left out."""
    name, _, task = metric.replace(MEAN_CLASS, "top1").partition("_")
    if name not in ("top1", "top5"):
        raise Unusable(f"{metric} is not a share of right videos")
    if runs[0].packed is not None:
        return _archived(runs, metric)
    k = int(name.removeprefix("top"))
    if task in ("action", "action_joint"):
        verb, noun = (_read(runs, "views", part) for part in ("verb", "noun"))
        counted = _counted(verb.labels)
        verbs, nouns = (found.scores[counted] for found in (verb, noun))
        truth = verb.labels[counted], noun.labels[counted]
        labels = np.where(counted, verb.labels * noun.scores.shape[-1] + noun.labels, IGNORED)[counted]
        return verb.videos[counted], labels, action_ranks(verbs, nouns, *truth, joint=task == "action_joint") < k
    found = _read(runs, "scores", task)
    counted = _counted(found.labels)
    labels = found.labels[counted]
    return found.videos[counted], labels, topk_hits(found.scores[counted], labels, k)


def _counted(labels: np.ndarray) -> np.ndarray:
    """Which videos could be decoded; raises Unusable if none could."""
    counted = labels != IGNORED
    if not counted.any():
        raise Unusable("scores of no video that could be decoded")
    return counted


def _archived(runs: Sequence[RunResult], metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Videos, labels and values of a snapshot's runs."""
    others = {result.run.model: result.record.checkpoint.sha256 for result in runs[1:]}
    found = runs[0].packed.samples(runs[0].run, metric, others) if runs[0].packed else None
    if found is None:
        raise Unusable(f"the snapshot does not hold the videos of {metric} of {' and '.join(str(r.run) for r in runs)}")
    return found


def read_scores(result: RunResult, videos: npt.NDArray[np.str_]) -> npt.NDArray[np.float32]:
    """A run's scores of some of its videos over all views, [videos, classes]; NaN for a video that it lacks.

    Raises:
        Unusable: as `read_hits`.
    """
    found = _read([result], "scores", "")
    places = np.searchsorted(found.videos, videos).clip(max=len(found.videos) - 1)
    known = found.videos[places] == videos
    return np.where(known[:, None], found.scores[places], np.nan)


@dataclass(frozen=True)
class _Scores:
    """In order of the videos' names; of several runs, scores are summed and views stand side by side.

    A video that one of them could not decode has the label IGNORED.
    """

    videos: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def _read(runs: Sequence[RunResult], kind: str, task: str) -> _Scores:
    """Scores [V, classes] or, of the kind "views", [V, views, classes]."""
    suffix = f"_{task}" if task else ""
    found: list[_Scores] = []
    for result in runs:
        with _opened(result) as file:
            order = np.argsort(file["videos"])
            arrays = (file[name][order] for name in ("videos", f"labels{suffix}", f"{kind}{suffix}"))
            found.append(_check(_Scores(*arrays), dimensions=3 if kind == "views" else 2))
        if not np.array_equal(found[0].videos, found[-1].videos):
            raise Unusable(f"the scores of {result.run} are of other videos than those they are summed with")
    counted = np.all([one.labels != IGNORED for one in found], axis=0)
    labels = np.where(counted, found[0].labels, IGNORED)
    if any((one.labels != labels)[counted].any() for one in found):
        raise Unusable(f"the scores of {' and '.join(str(one.run) for one in runs)} are of videos labelled differently")
    scores = [one.scores.astype(np.float32) for one in found]
    return _Scores(found[0].videos, labels, np.concatenate(scores, 1) if kind == "views" else np.sum(scores, axis=0))


@contextmanager
def _opened(result: RunResult) -> Iterator[Any]:
    """The arrays of a run's scores, each read when it is asked for."""
    if result.packed is not None:
        raise Unusable(f"{result.run} is of a snapshot, which holds no scores")
    try:
        with np.load(result.run.file("scores.npz")) as file:
            yield file
    except Exception as error:  # a damaged file, or one of other arrays, shows as one of many kinds of error
        raise Unusable(f"the scores of {result.run} cannot be read: {first_line(str(error))}") from None


def _check(found: _Scores, dimensions: int) -> _Scores:
    """The scores, if their shapes fit together; raises ValueError if not."""
    videos, labels, scores = found.videos, found.labels, found.scores
    fits = labels.shape == videos.shape == scores.shape[:1] and scores.ndim == dimensions
    if videos.ndim != 1 or not fits or not scores.size:
        raise ValueError(f"videos {videos.shape}, labels {labels.shape} and scores {scores.shape} do not fit together")
    if videos.dtype.kind != "U" or labels.dtype.kind not in "iu" or scores.dtype.kind != "f":
        raise ValueError(f"names of {videos.dtype}, labels of {labels.dtype} and scores of {scores.dtype}")
    if np.isinf(scores).any() or np.isnan(scores).all():  # some NaN: of videos that count as wrong
        raise ValueError("scores that are not finite")
    if len(np.unique(videos)) < len(videos):
        raise ValueError("a video that stands twice")
    known = labels[labels != IGNORED]
    if wrong := known[(known < 0) | (known >= scores.shape[-1])].tolist():
        raise ValueError(f"a label of class {wrong[0]} for scores of {scores.shape[-1]} classes")
    return found
