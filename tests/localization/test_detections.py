import itertools

import numpy as np
import pytest

from tada.localization.classes import fuse_actions, fuse_video


def reference_pairs(verbs, nouns, top_verbs, top_nouns, top):
    """The best pairs of one proposal, from all of them."""
    rank_verb = sorted(range(len(verbs)), key=lambda verb: (-verbs[verb], verb))[:top_verbs]
    rank_noun = sorted(range(len(nouns)), key=lambda noun: (-nouns[noun], noun))[:top_nouns]
    pairs = sorted(itertools.product(rank_verb, rank_noun), key=lambda pair: -verbs[pair[0]] * nouns[pair[1]])
    return [(verb, noun, verbs[verb] * nouns[noun]) for verb, noun in pairs[:top]]


@pytest.mark.parametrize(("top_verbs", "top_nouns", "top"), [(10, 30, 5), (2, 3, 5), (1, 1, 5), (50, 50, 3)])
def test_pairs_equal_the_reference(top_verbs, top_nouns, top):
    generator = np.random.default_rng(top_verbs)
    starts, scores = generator.random(20), generator.random(20)
    verbs, nouns = generator.dirichlet(np.ones(12), 20), generator.dirichlet(np.ones(40), 20)
    table = fuse_actions(
        "v", starts, starts + 1, scores, verbs, nouns, top_verbs=top_verbs, top_nouns=top_nouns, top=top
    )
    expected = [
        (start, verb, noun, score * value)
        for start, score, verb_row, noun_row in zip(starts, scores, verbs, nouns, strict=True)
        for verb, noun, value in reference_pairs(verb_row, noun_row, top_verbs, top_nouns, top)
    ]
    np.testing.assert_allclose(table[["start", "verb", "noun", "score"]].to_numpy(float), expected, rtol=1e-12)
    np.testing.assert_allclose(table["end"], table["start"] + 1)
    assert set(table["video"]) == {"v"}


def test_equal_probabilities_go_to_the_lower_class():
    table = fuse_actions("v", [0], [1], [1], np.full((1, 3), 1 / 3), np.full((1, 2), 1 / 2), top=3)
    assert table[["verb", "noun"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0]]


def test_all_proposals_of_a_video_take_its_class():
    table = fuse_video("v", [0, 5], [4, 9], [0.5, 0.25], np.array([0.1, 0.7, 0.2]))
    assert table.to_dict("list") == {
        "video": ["v", "v"], "label": [1, 1], "start": [0.0, 5.0], "end": [4.0, 9.0], "score": [0.35, 0.175],
    }  # fmt: skip


def test_several_classes_of_a_video():
    table = fuse_video("v", [0, 5], [4, 9], [0.5, 1.0], np.array([0.1, 0.7, 0.2]), top=2)
    assert table["label"].tolist() == [1, 2, 1, 2]
    np.testing.assert_allclose(table["score"], [0.35, 0.1, 0.7, 0.2])
    assert len(fuse_video("v", [0], [4], [1], np.array([0.5, 0.5]), top=9)) == 2


def test_no_proposals_give_an_empty_table_with_all_columns():
    nothing = np.zeros(0)
    assert list(fuse_video("v", nothing, nothing, nothing, np.ones(3))) == ["video", "label", "start", "end", "score"]
    table = fuse_actions("v", nothing, nothing, nothing, np.zeros((0, 97)), np.zeros((0, 300)))
    assert list(table) == ["video", "verb", "noun", "start", "end", "score"]
    assert len(table) == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        fuse_video("v", [0, 1], [4], [1], np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        fuse_video("v", [0], [4], [np.nan], np.ones(3))
    with pytest.raises(ValueError, match=r"must be \[classes\]"):
        fuse_video("v", [0], [4], [1], np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"must be \[1, classes\]"):
        fuse_actions("v", [0], [4], [1], np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="finite"):
        fuse_actions("v", [0], [4], [1], np.full((1, 3), np.inf), np.ones((1, 3)))
