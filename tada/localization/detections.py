"""Proposals of a video and class probabilities become detections (appendix A.2)."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from tada.metrics.average_precision import Floats


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
    probabilities = np.asarray(probabilities, np.float64)
    starts, ends, scores = _proposals(starts, ends, scores, probabilities)
    if probabilities.ndim != 1:
        raise ValueError(f"probabilities {probabilities.shape} must be [classes]")
    best = _best(probabilities[None], top)[0]
    each = np.repeat(np.arange(len(starts)), len(best))
    label = np.tile(best, len(starts))
    score = scores[each] * probabilities[label]
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
    verbs, nouns = np.asarray(verbs, np.float64), np.asarray(nouns, np.float64)
    starts, ends, scores = _proposals(starts, ends, scores, verbs, nouns)
    if verbs.ndim != 2 or nouns.ndim != 2 or not len(verbs) == len(nouns) == len(starts):
        raise ValueError(f"verbs {verbs.shape} and nouns {nouns.shape} must be [{len(starts)}, classes]")
    verb, noun = _best(verbs, top_verbs), _best(nouns, top_nouns)
    verb_value, noun_value = np.take_along_axis(verbs, verb, 1), np.take_along_axis(nouns, noun, 1)
    pairs = (verb_value[:, :, None] * noun_value[:, None, :]).reshape(len(starts), verb.shape[1] * noun.shape[1])
    chosen = _best(pairs, top)
    each = np.repeat(np.arange(len(starts)), chosen.shape[1])
    score = (scores[:, None] * np.take_along_axis(pairs, chosen, 1)).ravel()
    width = noun.shape[1]
    return pd.DataFrame({
        "video": video,
        "verb": np.take_along_axis(verb, chosen // width, 1).ravel(),
        "noun": np.take_along_axis(noun, chosen % width, 1).ravel(),
        "start": starts[each],
        "end": ends[each],
        "score": score,
    })  # fmt: skip


def _best(values: Floats, number: int) -> npt.NDArray[np.int64]:
    """The places of each row's highest values, the highest first, of equal ones the first."""
    return np.argsort(-values, axis=1, kind="stable")[:, :number]


def _proposals(starts: Floats, ends: Floats, scores: Floats, *others: Floats) -> tuple[Floats, Floats, Floats]:
    starts, ends, scores = (np.asarray(values, np.float64) for values in (starts, ends, scores))
    if not starts.shape == ends.shape == scores.shape == (starts.size,):
        raise ValueError(f"starts {starts.shape}, ends {ends.shape} and scores {scores.shape} do not fit: all [n]")
    if not all(np.isfinite(values).all() for values in (starts, ends, scores, *others)):
        raise ValueError("proposals and probabilities must be finite numbers")
    return starts, ends, scores
