"""Accuracies from saved scores; shared by testing and by reports, which need no second pass over the videos.

Actions of EPIC-KITCHENS-100: pairs of a verb and a noun, scored by the product of their probabilities (section 5.3).

The paper follows Huang et al. (2021): the product is taken in every view and then summed over the views. The older way,
here called joint, sums verbs and nouns over the views first and multiplies then. Both are computed from saved scores.
"""

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]


Labels = npt.NDArray[np.integer]


def topk_accuracy(scores: Scores, labels: Labels, k: int) -> float:
    """Share of samples, in percent, whose label is among the k highest scores; see `topk_hits`."""
    return float(100.0 * topk_hits(scores, labels, k).mean())


def topk_hits(scores: Scores, labels: Labels, k: int) -> npt.NDArray[np.bool_]:
    """Whether each sample's label is among its k highest scores, [samples].

    Among equal scores the lower class index ranks first, so that a constant output earns no credit by chance. A sample
    with NaN among its scores is wrong.

    Args:
        scores: [samples, classes].
        labels: [samples], class indices.
        k: at least 1; capped at the number of classes.

    Raises:
        ValueError: no samples, or shapes that do not fit.
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} do not fit: [samples, classes], [samples]")
    if len(labels) == 0:
        raise ValueError("accuracy of no samples is undefined")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (best == labels[:, None]).any(axis=1) & ~np.isnan(scores).any(axis=1)


_AT_ONCE = 64
"""Videos whose pairs are in memory together; 97 verbs x 300 nouns take 116 kB each."""


def action_ranks(
    verbs: npt.NDArray[np.floating],
    nouns: npt.NDArray[np.floating],
    verb: npt.NDArray[np.integer],
    noun: npt.NDArray[np.integer],
    joint: bool = False,
) -> npt.NDArray[np.int64]:
    """How many pairs score higher than the right one, for each video; 0 is top-1.

    Among equal scores the lower verb, then the lower noun, ranks first. A video with NaN among its scores ranks behind
    all pairs.

    Args:
        verbs: [videos, views, verb classes], probabilities. The views of several networks side by side are an ensemble.
        nouns: [videos, views, noun classes].
        verb: [videos], the right verb.
        noun: [videos], the right noun.
        joint: sum over the views before the product.

    Raises:
        ValueError: shapes that do not fit.
    """
    if verbs.shape[:2] != nouns.shape[:2] or not len(verbs) == len(verb) == len(noun):
        shapes = f"verbs {verbs.shape}, nouns {nouns.shape}, labels {verb.shape} and {noun.shape}"
        raise ValueError(f"{shapes} do not fit: [videos, views, classes] twice, [videos] twice")
    ranks = np.empty(len(verb), np.int64)
    for first in range(0, len(verb), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        left, right = verbs[part].astype(np.float32), nouns[part].astype(np.float32)
        lost = np.isnan(left).any((1, 2)) | np.isnan(right).any((1, 2))
        if joint:
            left, right = left.mean(1, keepdims=True), right.mean(1, keepdims=True)
        pairs = (left.transpose(0, 2, 1) @ right).reshape(len(left), -1)
        truth = (verb[part] * nouns.shape[2] + noun[part])[:, None]
        score = np.take_along_axis(pairs, truth, 1)
        ahead = (pairs > score) | ((pairs == score) & (np.arange(pairs.shape[1]) < truth))
        ranks[part] = np.where(lost, pairs.shape[1], ahead.sum(1))
    return ranks
