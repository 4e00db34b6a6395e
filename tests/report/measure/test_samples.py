"""Scores that no run has written: they are refused with a word, wherever they are asked for."""

import os

import numpy as np
import pytest

from tada.data.clips import IGNORED
from tada.report.measure.results import Unusable, read_run
from tada.report.measure.samples import read_hits, read_shares


def arrays(path, **changes):
    """A whole file in which some arrays are others."""
    with np.load(path) as file:
        content = {name: file[name] for name in file.files} | changes
    np.savez(path, **content)


DAMAGE = {
    "empty": lambda path: os.truncate(path, 0),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "foreign": lambda path: path.write_text("nonsense"),
    "deleted": lambda path: path.unlink(),
    "one array": lambda path: np.save(path.open("wb"), np.ones(4)),
    "no arrays": np.savez,
    "objects": lambda path: arrays(path, scores=np.array([{}, None], object)),
    "texts": lambda path: arrays(path, scores=np.full((4, 2), "high")),
    "NaN": lambda path: arrays(path, scores=np.full((4, 2), np.nan)),
    "other shape": lambda path: arrays(path, scores=np.ones(4)),
    "views in place of scores": lambda path: arrays(path, scores=np.ones((4, 3, 2))),
    "no videos": lambda path: arrays(path, scores=np.ones((0, 2)), labels=np.zeros(0, int), videos=np.zeros(0, "U1")),
    "fewer labels": lambda path: arrays(path, labels=np.zeros(2, int)),
    "labels in words": lambda path: arrays(path, labels=np.array(list("abcd"))),
    "a class that there is not": lambda path: arrays(path, labels=np.array([0, 1, 2, 0])),
    "a negative class": lambda path: arrays(path, labels=np.array([0, 1, -1, 0])),
    "a video twice": lambda path: arrays(path, videos=np.array(list("abca"))),
    "videos without names": lambda path: arrays(path, videos=np.arange(4)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_scores_that_cannot_be_used_are_refused_and_the_table_is_made(small, kind):
    run = small.hits("tada2d", [1, 1, 0, 1])
    small.hits("tsn", [1, 0, 0, 1])
    DAMAGE[kind](run.file("scores.npz"))
    with pytest.raises(Unusable, match=r"the scores of ssv2/tada2d seed 0 cannot be read: ."):
        read_hits([[read_run(run)]], "top1")
    small.build()
    assert small.cells()["tada2d", "top1"]["reproduced"] == "75"


@pytest.mark.parametrize("values", [np.ones(2), np.full(4, np.nan), np.ones((4, 2)), np.array([{}] * 4, object)])
def test_shares_that_cannot_be_used_are_refused(small, values):
    run = small.done("tada2d", map=30.0)
    np.savez(run.file("scores.npz"), videos=np.array(list("abcd")), shares_map=values)
    with pytest.raises(Unusable, match="cannot be read"):
        read_shares([[read_run(run)]], "map")


def test_scores_of_undecodable_videos_alone_are_refused(small):
    run = small.hits("tada2d", [1, 1, 0, 1])
    arrays(run.file("scores.npz"), labels=np.full(4, IGNORED))
    with pytest.raises(Unusable, match="no video that could be decoded"):
        read_hits([[read_run(run)]], "top1")
