"""Actions of EPIC-KITCHENS-100: pairs of a verb and a noun, scored by the product of their probabilities (section 5.3).

The paper follows Huang et al. (2021): the product is taken in every view and then summed over the views. The older way,
here called joint, sums verbs and nouns over the views first and multiplies then. Both are computed from saved scores.
"""

import numpy as np
import numpy.typing as npt

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

    Among equal scores the lower verb, then the lower noun, ranks first.

    Args:
        verbs: [videos, views, verb classes], probabilities. The views of several networks side by side are an ensemble.
        nouns: [videos, views, noun classes].
        verb: [videos], the right verb.
        noun: [videos], the right noun.
        joint: sum over the views before the product.

    Raises:
        ValueError: shapes that do not fit, or NaN among the scores.
    """
    if verbs.shape[:2] != nouns.shape[:2] or not len(verbs) == len(verb) == len(noun):
        shapes = f"verbs {verbs.shape}, nouns {nouns.shape}, labels {verb.shape} and {noun.shape}"
        raise ValueError(f"{shapes} do not fit: [videos, views, classes] twice, [videos] twice")
    ranks = np.empty(len(verb), np.int64)
    for first in range(0, len(verb), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        left, right = verbs[part].astype(np.float32), nouns[part].astype(np.float32)
        if np.isnan(left).any() or np.isnan(right).any():
            raise ValueError("NaN among the scores")
        if joint:
            left, right = left.mean(1, keepdims=True), right.mean(1, keepdims=True)
        pairs = (left.transpose(0, 2, 1) @ right).reshape(len(left), -1)
        truth = (verb[part] * nouns.shape[2] + noun[part])[:, None]
        score = np.take_along_axis(pairs, truth, 1)
        ahead = (pairs > score) | ((pairs == score) & (np.arange(pairs.shape[1]) < truth))
        ranks[part] = ahead.sum(1)
    return ranks
