"""Which validation videos a picture shows: by a rule, never by hand."""

from collections.abc import Sequence

import numpy as np

from tada.report.hits import Hits


def choose(rule: str, videos: int, base: Hits, other: Hits, certainty: np.ndarray) -> list[tuple[str, int]]:
    """Names and categories of up to `videos` videos, each of another category.

    Args:
        rule: "gained", videos that the other network gets right and the base does not, those of the highest certainty
            first; or "any", the first video by name of categories that are spread evenly over all.
        videos: how many.
        base: hits of a network; its first seed counts.
        other: hits of another network on the same videos in the same order.
        certainty: the other network's score of each video's right category, [V].
    """
    labels = other.labels
    if rule == "gained":
        gained = other.right[0] & ~base.right[0]
        order = [place for place in np.argsort(-certainty, kind="stable") if gained[place]]
    else:
        categories = np.unique(labels)
        spread = categories[np.linspace(0, len(categories) - 1, min(videos, len(categories))).round().astype(int)]
        by_name = sorted(range(len(labels)), key=lambda place: _key(other.videos[place]))
        order = [place for category in spread for place in by_name if labels[place] == category]
    return _one_each(order, labels, other.videos, videos)


def _one_each(order: Sequence[int], labels: np.ndarray, names: np.ndarray, videos: int) -> list[tuple[str, int]]:
    """The first place of every category, up to so many."""
    first: dict[int, int] = {}
    for place in order:
        first.setdefault(int(labels[place]), place)
    return [(str(names[place]), category) for category, place in list(first.items())[:videos]]


def _key(name: str) -> tuple[int, str]:
    """Numbers in their order, everything else by the alphabet."""
    return (int(name), "") if str(name).isdigit() else (-1, str(name))
